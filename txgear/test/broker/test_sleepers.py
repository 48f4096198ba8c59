"""Tests of L{txgear.broker.sleepers}."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.queues import Function
from txgear.broker.sleepers import WAKE_SECONDS, Peer, Roster


class RosterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.roster = Roster()
        self.queue = Function(b"f")
        self.other = Function(b"g")

    def worker(self, *queues: Function) -> Peer:
        peer = Peer(1, "192.0.2.1")
        for queue in queues:
            queue.workers[peer] = None
            peer.abilities[queue] = 0.0
        return peer

    def sleeper(self, *queues: Function) -> Peer:
        peer = self.worker(*queues)
        self.roster.fall_asleep(peer)
        return peer

    def test_a_sleeper_is_asleep_until_it_rises(self) -> None:
        peer = self.sleeper(self.queue)
        self.assertTrue(peer.asleep)
        self.assertTrue(self.roster.asleep)
        self.assertIsNone(self.roster.rise(peer))
        self.assertFalse(peer.asleep)
        self.assertFalse(self.roster.asleep)

    def test_one_that_never_slept_may_rise(self) -> None:
        self.assertIsNone(self.roster.rise(self.worker(self.queue)))

    def test_falling_asleep_twice_is_falling_asleep_once(self) -> None:
        peer = self.sleeper(self.queue)
        self.assertIsNone(self.roster.fall_asleep(peer))
        self.assertEqual(self.roster.sleepers(self.queue, 9), [peer])
        self.roster.rise(peer)
        self.assertEqual(self.roster.sleepers(self.queue, 9), [])

    def test_one_that_is_woken_is_woken_for_a_queue(self) -> None:
        peer = self.sleeper(self.queue)
        self.roster.wake(self.queue, peer, 5.0)
        self.assertEqual((peer.asleep, peer.woken_for, self.queue.woken), (False, self.queue, 1))
        self.assertEqual(self.roster.sleepers(self.queue, 9), [])
        self.assertIs(self.roster.rise(peer), self.queue)
        self.assertEqual((peer.woken_for, self.queue.woken), (None, 0))

    def test_one_that_is_woken_may_fall_asleep_again(self) -> None:
        peer = self.sleeper(self.queue)
        self.roster.wake(self.queue, peer, 5.0)
        self.assertIs(self.roster.fall_asleep(peer), self.queue)
        self.assertEqual((peer.asleep, peer.woken_for, self.queue.woken), (True, None, 0))
        self.assertEqual(self.roster.next_overdue(), inf)

    def test_sleepers_are_those_who_can_do_it(self) -> None:
        both = self.sleeper(self.queue, self.other)
        one = self.sleeper(self.queue)
        self.worker(self.queue)
        self.assertEqual(self.roster.sleepers(self.queue, 9), [both, one])
        self.assertEqual(self.roster.sleepers(self.other, 9), [both])
        self.assertEqual(self.roster.sleepers(Function(b"h"), 9), [])

    def test_no_more_than_are_wanted_and_the_longest_asleep_first(self) -> None:
        sleepers = [self.sleeper(self.queue) for _ in range(4)]
        self.roster.fall_asleep(sleepers[0])
        self.assertEqual(self.roster.sleepers(self.queue, 2), sleepers[1:3])

    def test_who_was_woken_is_overdue_after_a_while(self) -> None:
        first, second = self.sleeper(self.queue), self.sleeper(self.queue)
        self.assertEqual(self.roster.next_overdue(), inf)
        self.assertIsNone(self.roster.pop_overdue(1e9))
        self.roster.wake(self.queue, first, 5.0)
        self.roster.wake(self.queue, second, 6.0)
        self.assertEqual(self.roster.next_overdue(), 5.0 + WAKE_SECONDS)
        self.assertIsNone(self.roster.pop_overdue(5.0 + WAKE_SECONDS - 0.01))
        self.assertIs(self.roster.pop_overdue(5.0 + WAKE_SECONDS), self.queue)
        self.assertEqual((first.asleep, first.woken_for, self.queue.woken), (False, None, 1))
        self.assertEqual(self.roster.next_overdue(), 6.0 + WAKE_SECONDS)

    def test_a_peer_shows_where_it_is(self) -> None:
        self.assertEqual(repr(Peer(7, "192.0.2.1")), "<Peer 7 192.0.2.1>")

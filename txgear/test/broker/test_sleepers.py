"""Tests of L{txgear.broker.sleepers}."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Function, Peer
from txgear.broker.sleepers import WAKE_SECONDS, Sleepers
from txgear.broker.timers import Timers
from txgear.test.support.broker import FakeOutbox


class SleepersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.outbox = FakeOutbox()
        self.sleepers = Sleepers(self.outbox.send, Timers())
        self.function = Function(b"f")
        self.other = Function(b"g")

    def worker(self, *functions: Function) -> Peer:
        peer = Peer(1, "192.0.2.1")
        for function in functions:
            function.workers[peer] = None
            peer.abilities[function] = 0.0
        return peer

    def sleeper(self, *functions: Function) -> Peer:
        peer = self.worker(*functions)
        self.sleepers.sleep(peer)
        return peer

    def test_a_sleeper_is_asleep_until_it_rises(self) -> None:
        peer = self.sleeper(self.function)
        self.assertTrue(peer.asleep)
        self.assertTrue(self.sleepers.asleep)
        self.assertIsNone(self.sleepers.awake(peer))
        self.assertFalse(peer.asleep)
        self.assertFalse(self.sleepers.asleep)

    def test_one_that_never_slept_may_rise(self) -> None:
        self.assertIsNone(self.sleepers.awake(self.worker(self.function)))

    def test_falling_asleep_twice_is_falling_asleep_once(self) -> None:
        peer = self.sleeper(self.function)
        self.assertIsNone(self.sleepers.sleep(peer))
        self.assertEqual(self.sleepers.find(self.function, 9), [peer])
        self.sleepers.awake(peer)
        self.assertEqual(self.sleepers.find(self.function, 9), [])

    def test_one_that_is_woken_is_woken_for_a_queue(self) -> None:
        peer = self.sleeper(self.function)
        self.sleepers.send_noop(self.function, peer, 5.0)
        self.assertEqual((peer.asleep, peer.woken_for, self.function.woken), (False, self.function, 1))
        self.assertEqual(self.sleepers.find(self.function, 9), [])
        self.assertIs(self.sleepers.awake(peer), self.function)
        self.assertEqual((peer.woken_for, self.function.woken), (None, 0))

    def test_one_that_is_woken_may_fall_asleep_again(self) -> None:
        peer = self.sleeper(self.function)
        self.sleepers.send_noop(self.function, peer, 5.0)
        self.assertIs(self.sleepers.sleep(peer), self.function)
        self.assertEqual((peer.asleep, peer.woken_for, self.function.woken), (True, None, 0))
        self.assertEqual(self.sleepers.next_overdue(), inf)

    def test_sleepers_are_those_who_can_do_it(self) -> None:
        both = self.sleeper(self.function, self.other)
        one = self.sleeper(self.function)
        self.worker(self.function)
        self.assertEqual(self.sleepers.find(self.function, 9), [both, one])
        self.assertEqual(self.sleepers.find(self.other, 9), [both])
        self.assertEqual(self.sleepers.find(Function(b"h"), 9), [])

    def test_no_more_than_are_wanted_and_the_longest_asleep_first(self) -> None:
        sleepers = [self.sleeper(self.function) for _ in range(4)]
        self.sleepers.sleep(sleepers[0])
        self.assertEqual(self.sleepers.find(self.function, 2), sleepers[1:3])

    def test_who_was_woken_is_overdue_after_a_while(self) -> None:
        first, second = self.sleeper(self.function), self.sleeper(self.function)
        self.assertEqual(self.sleepers.next_overdue(), inf)
        self.assertIsNone(self.sleepers.pop_overdue(1e9))
        self.sleepers.send_noop(self.function, first, 5.0)
        self.sleepers.send_noop(self.function, second, 6.0)
        self.assertEqual(self.sleepers.next_overdue(), 5.0 + WAKE_SECONDS)
        self.assertIsNone(self.sleepers.pop_overdue(5.0 + WAKE_SECONDS - 0.01))
        self.assertIs(self.sleepers.pop_overdue(5.0 + WAKE_SECONDS), self.function)
        self.assertEqual((first.asleep, first.woken_for, self.function.woken), (False, None, 1))
        self.assertEqual(self.sleepers.next_overdue(), 6.0 + WAKE_SECONDS)
        # It is remembered which NOOP was in vain.
        self.assertEqual((first.missed, second.missed), (5.0, 0.0))
        self.assertEqual(self.sleepers.woken_at(second), 6.0)

    def test_a_peer_shows_where_it_is(self) -> None:
        self.assertEqual(repr(Peer(7, "192.0.2.1")), "<Peer 7 192.0.2.1>")

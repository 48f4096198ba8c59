"""Tests of L{txgear.broker.sleepers}: those who can do a great many functions, or wait for a read."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Function, Peer
from txgear.broker.sleepers import BROAD, Sleepers
from txgear.broker.states import QUEUED
from txgear.broker.timers import Timers
from txgear.protocol.constants import HIGH, LOW, NORMAL
from txgear.test.support.broker import FakeOutbox, make_job


class SleepersTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.outbox = FakeOutbox()
        self.sleepers = Sleepers(self.outbox.send, Timers())
        self.function = Function(b"f")
        self.many = [Function(b"%d" % number) for number in range(BROAD)]
        self.peers: list[Peer] = []

    def tearDown(self) -> None:
        self.sleepers.check(self.peers)

    def sleeper(self, *functions: Function) -> Peer:
        peer = Peer(len(self.peers), "192.0.2.1")
        self.peers.append(peer)
        for function in functions:
            self.sleepers.add_ability(peer, function, 0.0, 1.0)
        self.sleepers.sleep(peer)
        return peer

    def queue(self, count: int, priority: int = NORMAL) -> None:
        """So many jobs of the function can be handed out."""
        for _ in range(count):
            job = make_job(self.function, priority=priority)
            job.state = QUEUED
            self.function.lanes.append(job)

    def found(self, wanted: int = 9) -> list[Peer]:
        return self.sleepers.find(self.function, wanted)


class BroadTests(SleepersTestCase):
    def test_they_come_after_all_others(self) -> None:
        broad = [self.sleeper(*self.many, self.function) for _ in range(2)]
        narrow = self.sleeper(self.function)
        self.sleeper(*self.many, Function(b"g"))
        self.assertEqual(self.found(), [narrow, *broad])
        self.assertEqual(self.found(2), [narrow, broad[0]])
        self.sleepers.awake(broad[0])
        self.assertEqual(self.found(), [narrow, broad[1]])

    def test_one_that_learns_one_more(self) -> None:
        """It is looked for elsewhere, and found."""
        peer = self.sleeper(self.function, *self.many[1:])
        later = self.sleeper(self.function)
        self.assertEqual(self.found(), [peer, later])
        self.sleepers.add_ability(peer, self.many[0], 0.0, 1.0)
        self.assertEqual(self.found(), [later, peer])
        self.sleepers.add_ability(peer, Function(b"g"), 0.0, 1.0)
        self.sleepers.remove_abilities(peer, self.many[:2], 5.0)
        self.assertEqual(self.found(), [later, peer])

    def test_one_that_sleeps_and_learns(self) -> None:
        peer = self.sleeper(self.many[0])
        self.assertEqual(self.found(), [])
        self.sleepers.add_ability(peer, self.function, 7.0, 1.0)
        self.assertEqual((self.found(), peer.abilities[self.function]), ([peer], 7.0))

    def test_what_is_said_again_is_the_newest(self) -> None:
        """And has another timeout."""
        peer = self.sleeper(self.function, self.many[0])
        self.sleepers.add_ability(peer, self.function, 7.0, 1.0)
        self.assertEqual(list(peer.abilities.items()), [(self.many[0], 0.0), (self.function, 7.0)])

    def test_what_is_given_up(self) -> None:
        peer = self.sleeper(self.function, self.many[0])
        self.sleepers.remove_abilities(peer, [self.function], 5.0)
        self.assertEqual(
            (self.found(), self.function.workers, list(peer.abilities)), ([], {}, [self.many[0]])
        )
        self.assertEqual(self.function.counts.worker_left, 5.0)
        self.sleepers.awake(peer)
        self.sleepers.remove_abilities(peer, [self.many[0]], 5.0)
        self.assertEqual(peer.abilities, {})

    def test_when_the_last_has_given_it_up(self) -> None:
        one, other = self.sleeper(self.function), self.sleeper(self.function)
        self.sleepers.remove_abilities(one, [self.function], 5.0)
        self.assertEqual(self.function.counts.worker_left, 0.0)
        self.sleepers.remove_abilities(other, [self.function], 6.0)
        self.assertEqual(self.function.counts.worker_left, 6.0)


class BarredTests(SleepersTestCase):
    def test_who_waits_for_a_read_is_for_that_and_what_is_before_it(self) -> None:
        barred = self.sleeper(self.function)
        self.assertFalse(self.sleepers.barred)
        self.sleepers.bar(barred, NORMAL)
        self.assertTrue(self.sleepers.barred)
        self.queue(1, LOW)
        self.assertEqual(self.found(), [])
        self.queue(1, HIGH)
        self.assertEqual(self.found(), [barred])
        self.function.woken = 1
        self.assertEqual(self.found(), [])
        self.function.woken = 0

    def test_no_more_of_them_than_there_are_such_jobs(self) -> None:
        barred = [self.sleeper(self.function) for _ in range(3)]
        for peer in barred:
            self.sleepers.bar(peer, HIGH)
        other = self.sleeper(self.function)
        self.queue(2, HIGH)
        self.queue(5, LOW)
        self.assertEqual(self.found(), [other, barred[0]])
        self.assertEqual(self.found(1), [other])

    def test_when_nothing_is_read_any_more(self) -> None:
        peer, other = self.sleeper(self.function), self.sleeper(self.function)
        self.sleepers.bar(peer, HIGH)
        self.sleepers.bar(other, LOW)
        self.assertEqual(self.sleepers.unbar(HIGH), [peer])
        self.assertEqual((peer.barred, self.found()), (None, [peer]))
        self.sleepers.awake(other)
        self.assertEqual((other.barred, self.sleepers.unbar(LOW), self.sleepers.barred), (None, [], False))

    def test_one_that_learns_waits_no_more(self) -> None:
        peer = self.sleeper(self.many[0])
        self.sleepers.bar(peer, HIGH)
        self.sleepers.add_ability(peer, self.function, 0.0, 1.0)
        self.assertEqual((peer.barred, self.found()), (None, [peer]))

    def test_nor_one_that_gives_something_up(self) -> None:
        peer = self.sleeper(self.function, self.many[0])
        self.sleepers.bar(peer, HIGH)
        self.sleepers.remove_abilities(peer, [self.many[0]], 5.0)
        self.assertEqual((peer.barred, self.found()), (None, [peer]))


class CheckTests(SleepersTestCase):
    def assert_found(self) -> None:
        """The check finds that something is wrong."""
        self.assertRaises(AssertionError, self.sleepers.check, self.peers)

    def test_one_that_would_not_be_found(self) -> None:
        peer = self.sleeper(self.function)
        del self.function.sleepers[peer]
        self.assert_found()
        self.function.sleepers[peer] = None
        peer.asleep = False
        self.assert_found()
        peer.asleep = True

    def test_one_that_is_counted_twice(self) -> None:
        peer = self.sleeper(self.function)
        self.sleepers.send_noop(self.function, peer, 5.0)
        self.sleepers.check(self.peers)
        self.function.woken += 1
        self.assert_found()
        self.function.woken -= 1

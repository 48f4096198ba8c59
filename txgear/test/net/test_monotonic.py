"""
Tests for L{txgear.net.monotonic}.
"""

from __future__ import annotations

import time

from twisted.internet.base import ReactorBase
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txgear import use_monotonic_clock


class Bare(ReactorBase):
    """What Twisted's reactors have in common, and nothing else."""

    def installWaker(self) -> None:
        """Nobody wakes it."""


class OwnTime(Bare):
    def seconds(self) -> float:
        return 1.0


class MonotonicClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Bare()

    def test_it_counts_on_from_the_wall_clock(self) -> None:
        before = time.time()
        use_monotonic_clock(self.reactor)
        first = self.reactor.seconds()
        self.assertTrue(before - 1 < first < before + 10)
        self.assertTrue(first <= self.reactor.seconds() < first + 10)

    def test_twice_is_once(self) -> None:
        use_monotonic_clock(self.reactor)
        seconds = self.reactor.seconds
        use_monotonic_clock(self.reactor)
        self.assertIs(self.reactor.seconds, seconds)

    def test_timers_that_are_set_already_stay_and_are_moved_by_it(self) -> None:
        call = self.reactor.callLater(100, int)
        due = call.getTime()
        use_monotonic_clock(self.reactor)
        self.assertEqual(call.getTime(), due)
        call.reset(200)
        self.assertTrue(0 <= call.getTime() - self.reactor.seconds() - 200 + 10 <= 10)
        self.assertIs(call.seconds, self.reactor.seconds)

    def test_new_timers_are_set_by_it(self) -> None:
        use_monotonic_clock(self.reactor)
        calls: list[int] = []
        self.reactor.callLater(0, calls.append, 1)
        self.reactor.callLater(1000, calls.append, 2)
        self.reactor.runUntilCurrent()
        self.assertEqual(calls, [1])
        timeout = self.reactor.timeout()
        assert timeout is not None
        self.assertTrue(900 < timeout <= 1000)

    def test_what_has_a_clock_of_its_own_is_refused(self) -> None:
        for other in (Clock(), OwnTime()):
            with self.assertRaises(TypeError):
                use_monotonic_clock(other)

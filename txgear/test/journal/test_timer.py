"""Tests of L{txgear.journal.timer}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txgear.journal.timer import Timer


class TimerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.calls: list[float] = []
        self.timer = Timer(self.clock, lambda: self.calls.append(self.clock.seconds()))

    def test_it_makes_one_call(self) -> None:
        self.timer.start(2)
        self.assertTrue(self.timer.running)
        self.clock.advance(2)
        self.clock.advance(9)
        self.assertEqual((self.calls, self.timer.running), ([2.0], False))

    def test_one_that_is_running_goes_on(self) -> None:
        self.timer.start(2)
        self.timer.start(1)
        self.clock.advance(1)
        self.assertEqual(self.calls, [])
        self.clock.advance(1)
        self.assertEqual(self.calls, [2.0])

    def test_it_is_cancelled(self) -> None:
        self.timer.start(2)
        self.timer.cancel()
        self.timer.cancel()
        self.assertEqual((self.timer.running, self.clock.getDelayedCalls()), (False, []))

    def test_it_starts_again(self) -> None:
        """After it was cancelled, or in its own call, where it is not running any more."""
        timer = Timer(self.clock, lambda: timer.start(1))
        timer.start(5)
        timer.cancel()
        timer.start(1)
        self.clock.advance(1)
        self.assertTrue(timer.running)
        self.assertEqual([call.getTime() for call in self.clock.getDelayedCalls()], [2.0])

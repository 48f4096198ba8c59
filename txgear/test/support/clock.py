"""
What tells the time in the unit tests: nothing moves before the test says so.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

START: Final = 1000.0
"""When tests begin, in seconds since the epoch."""


class FakeWallClock:
    """
    A wall clock that is set by hand.

    @ivar ahead: what it is ahead of the server's time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ahead = 0.0

    def __call__(self) -> float:
        return self._clock.seconds() + self.ahead


class ClockTestCase(SynchronousTestCase):
    """A test with a clock, which must have nothing left to call when the test ends."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.addCleanup(self._nothing_left)

    def _nothing_left(self) -> None:
        self.clock.advance(0)
        self.assertEqual([], self.clock.getDelayedCalls())

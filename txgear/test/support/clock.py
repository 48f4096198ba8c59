"""
What tells the time in the unit tests: nothing moves before the test says so.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
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


class Agenda:
    """
    Time as one number. Whoever waits lets it pass, and what is on the agenda is done meanwhile: so what
    others do happens in the middle of what one does.

    @ivar now: the time.
    """

    def __init__(self) -> None:
        self.now = START
        self._order = count(1)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Have something done after so long, in the middle of whatever else is done then."""
        heappush(self._agenda, (self.now + seconds, next(self._order), act))

    def spend(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self._agenda and self._agenda[0][0] <= until:
            at, _, act = heappop(self._agenda)
            self.now = max(self.now, at)
            act()
        self.now = max(self.now, until)


class ClockTestCase(SynchronousTestCase):
    """A test with a clock, which must have nothing left to call when the test ends."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.addCleanup(self._nothing_left)

    def _nothing_left(self) -> None:
        self.clock.advance(0)
        self.assertEqual([], self.clock.getDelayedCalls())

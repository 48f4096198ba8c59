"""
How late the reactor is: a timer that measures by how much it comes too late.

Whatever holds the reactor makes everybody wait, and nobody else sees it: a plugin that computes, a machine
that is out of memory, a process that was stopped. What is short and lies between two beats of the timer goes
unseen.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from txgear.histogram import Histogram

BEAT: Final = 0.25
"""Seconds between two measurements. Each costs some microseconds."""
BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds that part the histogram: from what a busy turn takes to what peers give a server up for."""
SPAN: Final = 60.0
"""Seconds for which the worst is remembered, at the least."""
PARTS: Final = 12
"""Parts of that time of which each has its worst."""
KEPT: Final = 10 * PARTS
"""Parts whose worst is kept, for a chart: ten minutes."""


class Lag:
    """
    Measures the lag of one reactor.

    @ivar last: seconds by which the timer was late the last time.
    @ivar measured: all that was measured since the start.
    """

    def __init__(self, clock: IReactorTime) -> None:
        """
        @param clock: the reactor.
        """
        self._clock = clock
        self._timer: IDelayedCall | None = None
        self._due = 0.0
        self.last = 0.0
        self.measured = Histogram(BOUNDS)
        # The worst of each of the last parts, by the number of the part.
        self._worst: dict[int, float] = {}

    def start(self) -> None:
        """Measure from now on."""
        if self._timer is None:
            self._set_timer(self._clock.seconds())

    def _set_timer(self, now: float) -> None:
        self._due = now + BEAT
        self._timer = self._clock.callLater(BEAT, self._beat)

    def _beat(self) -> None:
        now = self._clock.seconds()
        self.last = lag = max(now - self._due, 0.0)
        self.measured.add(lag)
        part = int(now * PARTS / SPAN)
        worst = self._worst
        worst[part] = max(worst.get(part, 0.0), lag)
        for old in [each for each in worst if each <= part - KEPT]:
            del worst[old]
        self._set_timer(now)

    def worst(self) -> float:
        """The longest lag of the last minute, in seconds; with one that is just under way."""
        now = self._clock.seconds()
        first = int(now * PARTS / SPAN) - PARTS
        found = max((lag for part, lag in self._worst.items() if part >= first), default=0.0)
        return found if self._timer is None else max(found, now - self._due)

    def recent(self) -> list[float | None]:
        """
        The worst of each of the last L{KEPT} parts of time, the oldest first, in seconds; C{None} where
        nothing was measured. The last one is not over.
        """
        last = int(self._clock.seconds() * PARTS / SPAN)
        return [self._worst.get(part) for part in range(last - KEPT + 1, last + 1)]

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

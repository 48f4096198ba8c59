"""
The time of a server: what it is, what the wall clock says, and the one timer by which it is woken.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from txgear.broker.timers import LOOK_SECONDS, Timers

STEP_SECONDS: Final = 0.05
"""
Seconds that the wall clock is ahead or behind at the least if it was set. Two readings are never of the
same moment.
"""


class ServerTime:
    """
    Two times, and a timer. The server's own time started as the wall clock's, and nobody can set it.

    @ivar timer_at: when the timer goes off, by the server's time: C{inf} where it is not set.
    """

    def __init__(
        self,
        clock: IReactorTime,
        wall_seconds: Callable[[], float],
        timers: Timers,
        due: Callable[[float], object],
    ) -> None:
        """
        @param clock: has the server's time.
        @param wall_seconds: reads the wall clock, in seconds since the epoch.
        @param timers: those of the broker, which are told what the wall clock is ahead.
        @param due: called with the server's time when the timer goes off.
        """
        self._clock = clock
        self._seconds: Callable[[], float] = clock.seconds
        self._wall_seconds = wall_seconds
        self._timers = timers
        self._due = due
        self._next_check = -inf
        self._timer: IDelayedCall | None = None
        self.timer_at = inf

    def seconds(self) -> float:
        """
        The server's time now: spans are measured by it. It started as the wall clock's, but
        that may have been set since; see L{wall_clock}.
        """
        now = self._seconds()
        if now >= self._next_check:
            self._check_wall_clock(now)
        return now

    def wall_clock(self) -> float:
        """The time by the wall clock now, in seconds since the epoch: times that somebody names are by it."""
        now = self._seconds()
        self._check_wall_clock(now)
        return now + self._timers.offset

    def _check_wall_clock(self, now: float) -> None:
        """Has it been set?"""
        self._next_check = now + LOOK_SECONDS
        offset = self._wall_seconds() - now
        if abs(offset - self._timers.offset) >= STEP_SECONDS:
            self._timers.set_offset(offset, now)

    def set_timer(self, deadline: float) -> None:
        """
        Set the one timer of the server. A timer that is too early is left alone: it finds nothing to do and
        is set anew, once, instead of being moved at each turn.

        @param deadline: the server's time, before L{timer_at}.
        """
        if self._timer is not None:
            self._timer.cancel()
        self.timer_at = deadline
        self._timer = self._clock.callLater(max(deadline - self.seconds(), 0.0), self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self.timer_at = inf
        now = self._seconds()
        self._check_wall_clock(now)
        self._due(now)

    def stop(self) -> None:
        """Set no timer any more: none is before L{timer_at} from now on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.timer_at = -inf

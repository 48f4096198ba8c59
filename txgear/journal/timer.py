"""
A timer that is running or not.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Timer:
    """
    Makes one call when its time has come, unless it is cancelled before.

    @ivar running: whether the call is still to come.
    """

    __slots__ = ("_call", "_clock", "_delayed", "running")

    def __init__(self, clock: IReactorTime, call: Callable[[], None]) -> None:
        """
        @param call: made by the clock.
        """
        self._clock = clock
        self._call = call
        self._delayed: IDelayedCall | None = None
        self.running = False

    def start(self, seconds: float) -> None:
        """Make the call after so many seconds; if the timer is running already, that stands."""
        if not self.running:
            self.running = True
            self._delayed = self._clock.callLater(seconds, self._time_has_come)

    def cancel(self) -> None:
        """Do not make the call."""
        delayed, self._delayed = self._delayed, None
        self.running = False
        if delayed is not None:
            delayed.cancel()

    def _time_has_come(self) -> None:
        self._delayed = None
        self.running = False
        self._call()

"""
When it is looked how far other servers are with tasks of this one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

PAUSE_SECONDS: Final = 0.5
"""Seconds from an answer of another server to the next look at how far it is."""


class Looks:
    """
    The looks at how far others are that are to come.

    @param clock: a reactor, or a clock.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: set[IDelayedCall] = set()
        self._stopped = False

    def after_a_pause(self, look: Callable[[], None]) -> None:
        """Look then, if the server is there still."""
        if self._stopped:
            return

        def now() -> None:
            self._waiting.remove(call)
            look()

        call = self._clock.callLater(PAUSE_SECONDS, now)
        self._waiting.add(call)

    def stop(self) -> None:
        """The server ends: look no more."""
        self._stopped = True
        for call in self._waiting:
            call.cancel()
        self._waiting.clear()

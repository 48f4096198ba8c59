"""
Until when a store is surely this server's, where others may take over what it has there.

They may once its lease has stood still for its length; so until a moment before that, counted from the begin
of the last change, nobody has. Whatever asks compares the time itself: a process that was stopped goes on
with what its peers have sent before any timer tells it how late it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime

from txgear.journal.link import Link

MARGIN: Final = 1.0
"""Seconds before another server may take a part from which on its owner relies on it no more."""
LAPSED: Final = "The server has not heard of its store for so long that others may have its jobs"
"""Why nothing is kept then, for clients."""


class Trust:
    """
    @ivar until: when it ends, by the clock, unless something changes at the store before.
    """

    def __init__(self, link: Link, clock: IReactorTime, seconds: float) -> None:
        """
        @param seconds: of a lease.
        """
        self._link = link
        self._clock = clock
        self._seconds = seconds - MARGIN
        self.until = link.changed_at + self._seconds

    def renewed(self, tell: Callable[[float, float], None]) -> None:
        """
        Something has changed at the store.

        @param tell: called with until when it is surely ours, and with the time.
        """
        self.until = self._link.changed_at + self._seconds
        tell(self.until, self._clock.seconds())

    @property
    def left(self) -> float:
        """Seconds of it that are left; 0.0 if it has ended."""
        return max(self.until - self._clock.seconds(), 0.0)

    @property
    def lapsed(self) -> bool:
        """Whether it has ended."""
        return self._clock.seconds() >= self.until

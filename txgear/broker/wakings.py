"""
What has its time, and is not in memory: jobs that may begin, that expire, or that are to be forgotten. They
are taken in when that comes near; then the timers have them, as they have all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from txgear.broker.records import Waking

if TYPE_CHECKING:
    from txgear.broker.records import JobRecord
    from txgear.broker.timers import Timers

AHEAD: Final = 10.0
"""Seconds before its time when a job is taken in."""
CROWDED_AHEAD: Final = 0.5
"""The same where there is no room."""
PAGE: Final = 1000
"""Jobs that are asked for at once."""
PATIENCE: Final = 1.0
"""Seconds until a store is asked again that has not answered."""


class Rows(Protocol):
    """What takes jobs in: L{txgear.broker.stock.Stock}."""

    @property
    def may_wake(self) -> bool:
        """Whether anything that is not in memory may have its time."""

    @property
    def crowded(self) -> bool:
        """Whether there is no room for more in memory."""

    def wake(self, question: Waking, then: Callable[[Sequence[JobRecord] | None, float], None]) -> None:
        """See L{Stock.wake<txgear.broker.stock.Stock.wake>}."""


class Wakings:
    """
    The time up to which all is in memory that has its time, and the questions that move it on.

    Times are by the wall clock: those of the store are.
    """

    __slots__ = ("_after", "_asking", "_missed", "_pause", "_stock", "_stopped", "_timers", "_until")

    def __init__(self, stock: Rows, timers: Timers) -> None:
        self._stock = stock
        self._timers = timers
        # All is in memory up to this time, or behind it up to this time and number.
        self._until = -inf
        self._after = (-inf, 0)
        self._asking = False
        # The earliest time of those that have left the memory while the store is being asked.
        self._missed = inf
        self._pause = -inf
        self._stopped = False

    def left(self, wake: float) -> None:
        """
        A job has left the memory.

        @param wake: its time; 0.0 for none.
        """
        if wake:
            if self._asking:
                # It may lie before all that the answer is about.
                self._missed = min(self._missed, wake)
            self._go_back(wake)

    def _go_back(self, wake: float) -> None:
        """Something with this time is not in memory."""
        if wake <= self._until or wake <= self._after[0]:
            before = wake - CROWDED_AHEAD
            self._until = min(self._until, before)
            self._after = min(self._after, (before, 0))

    def stop(self) -> None:
        """Take nothing in any more: the server drains."""
        self._stopped = True

    def expire(self, now: float) -> float:
        """
        Ask for what comes next, if it is time.

        @return: when to look again, by the server's time; infinite for not before something changes.
        """
        if self._asking or self._stopped or not self._stock.may_wake:
            return inf
        if now < self._pause:
            return self._pause
        if (due := self._timers.next_due(now)) <= now:
            # First what is here.
            return due
        ahead = CROWDED_AHEAD if self._stock.crowded else AHEAD
        if (look := self._until - ahead / 2 - self._timers.offset) > now:
            return look
        self._ask(self._timers.wall(now) + ahead)
        return inf

    def _ask(self, until: float) -> None:
        self._asking = True

        def done(records: Sequence[JobRecord] | None, later: float) -> None:
            self._asking = False
            self._timers.call_at(later)
            if records is None:
                self._pause = later + PATIENCE
            elif len(records) < PAGE:
                self._until, self._after = until, (until, 0)
            else:
                self._after = records[-1].wake, records[-1].number
            missed, self._missed = self._missed, inf
            self._go_back(missed)

        self._stock.wake(Waking(until, self._after, PAGE), done)

"""
What has its time, and is not in memory: jobs that may begin, that expire, or that are to be forgotten. They
are taken in when that comes near; then the timers have them, as they have all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from txgear.broker.records import Waking
from txgear.broker.timers import LOOK_SECONDS

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
FAR: Final = 1e11
"""A time by the wall clock, in seconds since the epoch, that no server comes to: the year 5138."""


class Rows(Protocol):
    """What takes jobs in: L{txgear.broker.rows.stock.Stock}."""

    @property
    def may_wake(self) -> bool:
        """Whether anything that is not in memory may have its time."""

    @property
    def crowded(self) -> bool:
        """Whether there is no room for more in memory."""

    def wake(self, question: Waking, then: Callable[[Sequence[JobRecord] | None, float], None]) -> None:
        """See L{Stock.wake<txgear.broker.rows.stock.Stock.wake>}."""

    def find(self, question: Waking, then: Callable[[Sequence[JobRecord] | None, float], None]) -> None:
        """See L{Stock.find<txgear.broker.rows.stock.Stock.find>}."""


def _wake_of(record: JobRecord) -> tuple[float, int]:
    """Where a job is in the order of a L{Waking}."""
    return record.wake or record.due, record.number


class Wakings:
    """
    The time up to which all is in memory that has its time, and the questions that move it on. Where nothing
    comes soon the store is asked what comes next, and then no more until that is near.

    Times are by the wall clock: those of the store are.
    """

    __slots__ = ("_after", "_asking", "_left", "_pause", "_stock", "_stopped", "_timers", "_until")

    def __init__(self, stock: Rows, timers: Timers) -> None:
        self._stock = stock
        self._timers = timers
        # All is in memory up to this time, or behind it up to this time and number.
        self._until = -inf
        self._after = (-inf, 0)
        self._asking = False
        # The first time of those that have left the memory since the store was asked.
        self._left = inf
        self._pause = -inf
        self._stopped = False

    def forget(self) -> None:
        """There are others that are not in memory; their times may be any."""
        self._left = -inf
        if not self._asking:
            self._go_back()

    def left(self, wake: float) -> None:
        """
        A job has left the memory.

        @param wake: its time; 0.0 for none.
        """
        if not wake:
            return
        self._left = min(self._left, wake)
        if not self._asking:
            self._go_back()
        # A job leaves earlier than that; where it is to be there earlier, it is looked for then.
        self._timers.call_at(wake - 2 * CROWDED_AHEAD - self._timers.offset)

    def _go_back(self) -> None:
        """Not all is in memory any more: some has left it."""
        if self._left <= max(self._until, self._after[0]):
            before = self._left - CROWDED_AHEAD
            self._until = min(self._until, before)
            self._after = min(self._after, (before, 0))
        self._left = inf

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
            # The wall clock may be set meanwhile.
            return min(look, now + LOOK_SECONDS)
        self._ask(now + self._timers.offset + ahead)
        return inf

    def _ask(self, until: float) -> None:
        self._asking = True

        def done(records: Sequence[JobRecord] | None, later: float) -> None:
            if records is None:
                self._pause = later + PATIENCE
            elif len(records) == PAGE:
                self._after = _wake_of(records[-1])
            else:
                self._until, self._after = until, (until, 0)
                if not records:
                    self._stock.find(Waking(FAR, self._after, 1), self._next_known)
                    return
            self._answered(later)

        self._stock.wake(Waking(until, self._after, PAGE), done)

    def _next_known(self, found: Sequence[JobRecord] | None, later: float) -> None:
        """What comes next is not before this; if the store does not answer it is asked as if it came soon."""
        if found is not None:
            next_wake = _wake_of(found[0])[0] if found else FAR
            self._until = max(self._until, next_wake - CROWDED_AHEAD)
            self._after = (self._until, 0)
        self._answered(later)

    def _answered(self, later: float) -> None:
        self._asking = False
        self._go_back()
        self._timers.call_at(later)

"""
Jobs that are to be in memory together, though it takes several questions to the store to find them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from txgear.broker.ended.archive import Told
    from txgear.broker.model import Job
    from txgear.broker.records import JobRecord


class Holder(Protocol):
    """What has jobs in memory: L{txgear.broker.rows.stock.Stock}."""

    def hold_all(self, records: Sequence[JobRecord], now: float) -> list[Job]:
        """See L{Stock.hold_all<txgear.broker.rows.stock.Stock.hold_all>}."""

    def release_all(self, jobs: Sequence[Job], now: float) -> None:
        """See L{Stock.release_all<txgear.broker.rows.stock.Stock.release_all>}."""


class Together:
    """The answers to some questions: what they have found is held until the last is there."""

    __slots__ = ("_answered", "_jobs", "_left", "_stock", "_then")

    def __init__(self, stock: Holder, questions: int, then: Callable[[bool, float], None]) -> None:
        """
        @param questions: how many answers there are to come; at least 1.
        @param then: called once, after the last: with whether the store has answered all, and the time of
            the server.
        """
        self._stock = stock
        self._left = questions
        self._then = then
        self._answered = True
        self._jobs: list[Job] = []

    def answered(
        self, told: Told, records: Sequence[JobRecord] | None, workloads: Mapping[int, bytes], now: float
    ) -> None:
        """
        One of the answers is there; see L{Asking<txgear.broker.ports.Asking>}.

        @param told: called with what the store has of the jobs, when these are in memory.
        """
        if records is None:
            self._answered = False
        else:
            self._jobs += self._stock.hold_all(records, now)
            told(records)
        self._left -= 1
        if not self._left:
            self._then(self._answered, now)
            self._stock.release_all(self._jobs, now)

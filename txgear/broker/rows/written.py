"""
Jobs of which something was on its way to the store, and is there: need they still be in memory? A batch that
is written may have very many, so some of them are looked at in each turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from txgear.broker.ended.archive import Archive
    from txgear.broker.model import Job
    from txgear.broker.ports import Journal
    from txgear.broker.table import JobTable
    from txgear.broker.timers import Timers

SETTLED: Final = 500
"""Jobs that are looked at in one turn: two milliseconds."""


class Written:
    """
    The numbers of those that are to be looked at.
    """

    __slots__ = ("_archive", "_journal", "_numbers", "_settle", "_settle_ended", "_table", "_timers")

    def __init__(
        self,
        table: JobTable,
        archive: Archive,
        timers: Timers,
        journal: Journal | None,
        settle: Callable[[Job, float], None],
        settle_ended: Callable[[Iterable[Job], float], None],
    ) -> None:
        """
        @param journal: C{None} where nothing is ever written.
        @param settle: looks at one that has not ended, and
        @param settle_ended: at some that have, of which nothing else is on its way.
        """
        self._table = table
        self._archive = archive
        self._timers = timers
        self._journal = journal
        self._settle = settle
        self._settle_ended = settle_ended
        self._numbers: deque[int] = deque()

    def __len__(self) -> int:
        """How many are still to be looked at."""
        return len(self._numbers)

    def add(self, numbers: Iterable[int], now: float) -> None:
        """Something of these jobs was on its way to the store, and is there."""
        self._numbers.extend(numbers)
        self.work(now)

    def work(self, now: float) -> None:
        """Look at the next ones."""
        waiting, journal = self._numbers, self._journal
        if not waiting:
            return
        assert journal is not None
        live, ended = self._table.jobs, self._archive.jobs
        settled = journal.settled([waiting.popleft() for _ in range(min(len(waiting), SETTLED))])
        over = (job for number in settled if (job := ended.get(number)) is not None and job.stored)
        self._settle_ended(over, now)
        # In a lane only the last one can become a row.
        found = [job for number in settled if (job := live.get(number)) is not None]
        for job in sorted(found, key=attrgetter("place"), reverse=True):
            self._settle(job, now)
        if waiting:
            self._timers.call_at(now)

"""
How the store does: how long commits take, how much is in each, and what it has refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from txgear.broker.records import Batch
from txgear.histogram import Histogram
from txgear.journal.batches import Refusals, write_all

if TYPE_CHECKING:
    from txgear.interfaces import IJobStore

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds of a commit: from a fast disk to a database that is as good as lost."""
LATELY_SECONDS: Final = 300.0
"""Seconds that what was lately goes back at the least; it is twice that at the most."""
ROWS: Final = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000)
"""Rows of a batch."""

Carried = tuple[Refusals, float]
"""What the store has refused of a batch, and the seconds that it took."""


class Figures:
    """
    Counts batches, never jobs.

    @ivar commits: seconds of each batch that was written, on the store's thread.
    @ivar rows: jobs, changes, results, deletions and values of each.
    @ivar refused_jobs: new jobs that the store would not keep.
    @ivar refused_results: results that it would not keep.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        """
        @param seconds: measures how long a commit takes; called on the store's thread as well.
        """
        self._seconds = seconds
        self.commits = Histogram(SECONDS)
        # Commits since some moment of the last minutes, and those of the minutes before it.
        self._new = Histogram(SECONDS)
        self._old = Histogram(SECONDS)
        self._since = seconds()
        self.rows = Histogram(ROWS)
        self.refused_jobs = 0
        self.refused_results = 0

    def carry(self, store: IJobStore, batch: Batch) -> Carried:
        """Write a batch, as L{write_all} does, and see how long it takes. Blocks."""
        began = self._seconds()
        refusals = write_all(store, batch)
        return refusals, self._seconds() - began

    def written(self, batch: Sequence[Sequence[object]], carried: Carried) -> None:
        """A batch was written."""
        refusals, seconds = carried
        self.commits.add(seconds)
        self._turn_over()
        self._new.add(seconds)
        self.rows.add(sum(map(len, batch)))
        self.refused_jobs += len(refusals.new_jobs)
        self.refused_results += len(refusals.results)

    def lately(self) -> Histogram:
        """Seconds of the commits of the last L{LATELY_SECONDS}, and of up to as many before."""
        self._turn_over()
        return self._new.plus(self._old)

    def _turn_over(self) -> None:
        passed = self._seconds() - self._since
        if passed >= LATELY_SECONDS:
            self._old = self._new if passed < 2 * LATELY_SECONDS else Histogram(SECONDS)
            self._new = Histogram(SECONDS)
            self._since += passed

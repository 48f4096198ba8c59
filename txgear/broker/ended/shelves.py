"""
Jobs that have ended and count together, in the order of their ends: those that are in memory, and rows of the
store that are not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from math import ceil, inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from txgear.broker.model import Job
    from txgear.broker.records import Lane
    from txgear.policies import Retention

MOST_AT_ONCE: Final = 100
"""Jobs that make room for one at the most: when the bounds were lowered, that takes some ends."""


class LaneRows:
    """
    The jobs of one lane that are not in memory.

    @ivar lane: the lane.
    @ivar count: how many they are.
    @ivar bytes: the sum of their sizes.
    @ivar read_to: the places of all of them are higher than this.
    """

    __slots__ = ("bytes", "count", "lane", "read_to")

    def __init__(self, lane: Lane, read_to: int) -> None:
        self.lane = lane
        self.count = 0
        self.bytes = 0
        self.read_to = read_to


class Counted(ABC):
    """
    Some that count together, in the order of their ends.

    @ivar rows: how many there are that are not in memory, and
    @ivar lanes: in which lanes of the store those are; only where there is one.
    @ivar bytes: the sum of the sizes of all.
    @ivar asked: whether somebody waits for the store to make room here.
    """

    __slots__ = ("asked", "bytes", "lanes", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self.lanes: dict[Lane, LaneRows] = {}
        self.bytes = 0
        self.asked = False

    @property
    @abstractmethod
    def count(self) -> int:
        """How many there are."""

    @abstractmethod
    def mix(self) -> None:
        """The last one that was added did not end after all others."""

    @abstractmethod
    def in_order(self) -> Iterable[Job]:
        """Those in memory, in the order of their ends; this must not change while they are looked at."""

    def count_rows(self, rows: LaneRows, count: int, size: int) -> None:
        """
        So many more are not in memory, or fewer.

        @param rows: all those of their lane, which are counted already.
        @param size: bytes of them.
        """
        self.rows += count
        self.bytes += size
        if rows.count:
            self.lanes[rows.lane] = rows
        else:
            self.lanes.pop(rows.lane, None)

    # Bounds

    def exceeds(self, bounds: Retention) -> bool:
        """Whether there are too many; one is never too many."""
        return _exceed(self.count, self.bytes, bounds)

    def excess(self, bounds: Retention) -> int:
        """About how many there are too many; L{MOST_AT_ONCE} at the most, and at least 1."""
        count, beyond = self.count, 0
        if bounds.jobs:
            beyond = count - bounds.jobs
        if 0 < bounds.bytes < self.bytes:
            beyond = max(beyond, ceil(count * (self.bytes - bounds.bytes) / self.bytes))
        return min(max(beyond, 1), MOST_AT_ONCE)

    def surplus(self, bounds: Retention, up_to: float = inf) -> list[Job]:
        """
        The oldest that are too many by these bounds; never the newest, and not very many at once.

        @param up_to: all are in memory of which the places are not higher than this.
        """
        count, size = self.count, self.bytes
        found: list[Job] = []
        if _exceed(count, size, bounds):
            for job in islice(self.in_order(), MOST_AT_ONCE):
                if not _exceed(count, size, bounds) or job.place > up_to:
                    break
                found.append(job)
                count -= 1
                size -= job.size
        return found

    def check(self, jobs: Iterable[Job]) -> None:
        """
        Is each that is here counted?

        @param jobs: those in memory.
        @raise AssertionError: one is not.
        """
        assert self.count, self
        sizes = sum(job.size for job in jobs), sum(rows.bytes for rows in self.lanes.values())
        assert self.bytes == sum(sizes), (self.bytes, sizes)
        assert self.rows == sum(rows.count for rows in self.lanes.values()), self.lanes


class Shelf(Counted):
    """
    Some that are found by their numbers: of one function the dead, or those of them that died of one thing;
    or those of all functions that are kept by settings of their own.

    @ivar jobs: those in memory, by number; see L{in_order}.
    @ivar last: when the last of the dead here has died, by the server's time; 0.0 where that is not known.
    """

    __slots__ = ("_mixed", "jobs", "last")

    def __init__(self) -> None:
        super().__init__()
        # The oldest leave: in a plain dict whoever looks for the first passes over their holes.
        self.jobs: OrderedDict[int, Job] = OrderedDict()
        self.last = 0.0
        self._mixed = False

    @property
    def count(self) -> int:
        return len(self.jobs) + self.rows

    def add(self, job: Job) -> None:
        """One more, which has just ended; its size is to stay as it is."""
        self.jobs[job.number] = job
        self.bytes += job.size

    def remove(self, job: Job) -> bool:
        """
        One less, if it is here and in memory.

        @return: whether it was.
        """
        if self.jobs.pop(job.number, None) is None:
            return False
        self.bytes -= job.size
        return True

    def mix(self) -> None:
        self._mixed = True

    def in_order(self) -> Collection[Job]:
        if self._mixed:
            # Of jobs that a store has places say in which order they have ended.
            for number, _ in sorted(self.jobs.items(), key=lambda item: item[1].place):
                self.jobs.move_to_end(number)
            self._mixed = False
        return self.jobs.values()

    def newest(self) -> Iterator[Job]:
        """Those in memory, the last that ended first."""
        self.in_order()
        return reversed(self.jobs.values())


def _exceed(count: int, size: int, bounds: Retention) -> bool:
    return count > 1 and (0 < bounds.jobs < count or 0 < bounds.bytes < size)

"""
What is in memory of a queue that is longer than the memory.

The workloads of stored jobs are counted against a budget, and so are all jobs that are in memory. Of what is
over it only the store has the jobs: rows (L{txgear.broker.overflow}). They are read as their turn comes,
a piece at a time, with as many workloads as fit; those of the others are read after that. A job without its
workload, and all that are behind it in its lane, are PAGED: the lane itself holds only what can be handed out
at once, in order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Final

from txgear.protocol.constants import PRIORITIES

if TYPE_CHECKING:
    from txgear.broker.model import Function, Job
    from txgear.broker.overflow import Overflow
    from txgear.broker.table import JobTable
    from txgear.broker.tenants import Tenant

READ_BYTES: Final = 4 * 1024 * 1024
"""Workloads that are read at once: milliseconds of a disk, and enough to be rare."""
READ_SHARE: Final = 16
"""What part of the budget that is at the most."""
DRY_SHARE: Final = 1024
"""
What part of the budget an empty lane is read beyond it, when others' backlogs
fill that: a read for each job would be slow.
"""
READ_JOBS: Final = 1000
"""Jobs whose workloads are read at once."""
READ_ROWS: Final = 2000
"""
Jobs that are read at once, with their workloads as far as these are L{READ_BYTES}: they come into memory in
one turn, of some milliseconds. Fewer, and workers wait: the store is asked in turn with what is written, and
where a batch takes thirty milliseconds workers have done more than five hundred jobs meanwhile.
"""
AHEAD: Final = 4000
"""Jobs of one lane that are read ahead: more than all its workers do until the next are there."""
JOB_BYTES: Final = 800
"""What a job in memory takes beside its workload, about; measured, with a unique of 36 bytes."""
HISTORY_BYTES: Final = 900
"""What its history takes besides, about; measured, with one attempt and a message of 20 characters."""


PATIENCE: Final = 2.0
"""
Seconds for which jobs of lower priorities wait for one that is being read: far more than a
store that answers takes, and short where one does not.
"""


class Pager:
    """
    One server's budget for workloads.

    @ivar used: bytes of stored jobs' workloads that are in memory.
    @ivar trusted: until when whoever wants what is being read is to wait for it.
    @ivar unreadable: the jobs that are delayed as theirs could not be read.
    @ivar read: reads rows of a lane: its function, priority and tenant, behind which place, how many, and
        how many bytes of workloads. It is not called again before L{arrived}; whoever takes rows in sets it.
    """

    read: Callable[[Function, int, Tenant | None, int, int, int], None]

    def __init__(self, budget: int, table: JobTable, load: Callable[[list[Job]], None]) -> None:
        """
        @param budget: bytes that L{memory} is to stay below. Only what workers would wait for otherwise is
            read beyond it.
        @param table: has all that have not ended and are in memory.
        @param load: has the workloads of some jobs read; not called again before L{arrived}.
        """
        self.used = 0
        self.unreadable: set[Job] = set()
        self._table = table
        self._jobs = table.jobs
        self._budget = budget
        self._chunk = min(READ_BYTES, budget // READ_SHARE)
        self._load = load
        self._loading = False
        self._stopped = False
        self.trusted = 0.0
        # Lanes that want a read, by priority. None waits for another's whole backlog: each read is a piece.
        self._asking: list[OrderedDict[Function, None]] = [OrderedDict() for _ in PRIORITIES]

    @property
    def memory(self) -> int:
        """Bytes that jobs and their workloads take."""
        return self.used + JOB_BYTES * len(self._jobs) + HISTORY_BYTES * self._table.histories

    @property
    def crowded(self) -> bool:
        """Whether there is no room for more."""
        return self.memory > self._budget

    def has_room(self, job: Job) -> bool:
        """Whether a job that is in the store may stay in memory: it will be wanted soon, or there is room."""
        lanes = job.function.lanes
        others = HISTORY_BYTES * self._table.histories
        # As in memory, which is one call more for each job that has been stored.
        if self.used + JOB_BYTES * len(self._jobs) + others + job.size > self._budget:
            return lanes.ready < len(job.function.workers) and not lanes.behind(job)
        # What is behind those that are held does not show in the overflow.
        return not ((lanes.overflow or lanes.held) and lanes.behind(job))

    def count(self, job: Job) -> None:
        """A job's workload is in memory and stays there for now."""
        self.used += job.size

    def yield_room(self, job: Job) -> None:
        """A stored job goes behind the others: give its workload up if there is no room."""
        # What cannot be read is still not known to be readable.
        if job.workload and (self.crowded or job.function.lanes.behind(job)):
            self.drop(job)

    def drop(self, job: Job) -> None:
        """A stored job's workload is wanted no more, if it is in memory at all."""
        if job.workload:
            self.used -= job.size
            job.workload = b""
        elif self.unreadable:
            self.unreadable.discard(job)

    def ask(self, function: Function, priority: int, now: float) -> None:
        """Something has come behind this lane or has left it: read ahead if that is due."""
        lanes = function.lanes
        if priority in lanes.overflow and (function.workers or not lanes.counts[priority]):
            self._asking[priority][function] = None
            self.go_on(now)

    def trusts(self, now: float) -> bool:
        """Whether something is being read, and will soon be there."""
        return self._loading and now < self.trusted

    def arrived(self) -> None:
        """What was asked for has been read; L{go_on} follows when it is in its place."""
        self._loading = False

    def stop(self) -> None:
        """Read no more rows: the server drains."""
        self._stopped = True

    def go_on(self, now: float) -> None:
        """Read what else is asked for."""
        while not self._loading:
            # The highest priority; of one, who has asked first.
            priority = next((priority for priority in PRIORITIES if self._asking[priority]), None)
            if priority is None:
                return
            function, _ = self._asking[priority].popitem(last=False)
            overflow, ready = function.lanes.to_read(priority)
            if overflow is None:
                continue
            if jobs := self._choose(function, priority, overflow, ready):
                self._begin(now)
                self._load(jobs)
            elif count := self._rows_wanted(function, priority, overflow, ready):
                owner, after = overflow.next_rows()
                self._begin(now)
                self.read(
                    function, priority, owner, after, count, max(self._chunk, 1) if function.workers else 0
                )

    def _begin(self, now: float) -> None:
        self._loading = True
        self.trusted = now + PATIENCE

    def _missing(self, function: Function, priority: int, ready: int) -> int:
        """How many jobs a lane lacks for the workers of its function."""
        # Where tenants share a function, one may have nothing in memory when its turn comes.
        return min(max(len(function.workers) - function.lanes.counts[priority], 0 if ready else 1), READ_JOBS)

    def _spare(self, ready: int) -> int:
        """Beyond the budget, how many bytes more than the workers need at once."""
        if ready:
            return 0
        little = self.memory <= self._budget + self._chunk
        return self._chunk if little else self._budget // DRY_SHARE

    def _choose(self, function: Function, priority: int, overflow: Overflow[Job], ready: int) -> list[Job]:
        """
        Whose workloads to read for a lane: where there is room a good piece, and
        otherwise as many as it has workers, or a piece if it is dry; a good one if
        lanes like that have not taken much yet.
        """
        if not function.workers:
            return []
        missing = self._missing(function, priority, ready)
        memory = self.memory
        crowded = memory + self._chunk > self._budget
        spare = self._spare(ready)
        chosen: list[Job] = []
        size = 0
        for index, job in enumerate(islice(overflow.before_rows(), READ_JOBS)):
            if job.loaded and not index:
                # Of this lane some are about to be let in, and only then it shows what it lacks.
                return []
            if crowded and index >= missing and size >= spare:
                break
            if not job.loaded:
                if chosen and size + job.size > self._chunk:
                    break
                # The first may be larger than a piece.
                if not missing and memory + size + job.size > self._budget:
                    break
                chosen.append(job)
                size += job.size
        return chosen

    def _rows_wanted(self, function: Function, priority: int, overflow: Overflow[Job], ready: int) -> int:
        """
        How many rows to read for a lane: without workers its first one, which says since when it waits.
        """
        if self._stopped or not overflow.rows or overflow.first() is not None:
            return 0
        if not function.workers:
            return 0 if ready else 1
        if ready >= AHEAD:
            return 0
        room = max(self._budget - self.memory, self._spare(ready)) // JOB_BYTES
        if function.bytes:
            # Those whose workloads are not read with them are looked at once more.
            room = min(room, self._chunk * function.total // function.bytes)
        return min(max(self._missing(function, priority, ready), room), READ_ROWS)

    def check(self, jobs: Iterable[Job]) -> None:
        """
        Is what is in memory counted right? For tests.

        @param jobs: all that have not ended.
        @raise AssertionError: it is not.
        """
        used = sum(len(job.workload) for job in jobs if job.stored)
        assert self.used == used, (self.used, used)

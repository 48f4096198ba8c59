"""
Which workloads are in memory, so that a queue can be longer than the memory.

Workloads of stored jobs are counted against a budget. What is over it is
dropped and read again as its turn comes. A job without its workload, and all
that are behind it in its lane, are PAGED: the lane itself holds only what can
be handed out at once, in order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Final

from txgear.protocol.constants import PRIORITIES

if TYPE_CHECKING:
    from txgear.broker.model import Function, Job

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
"""Jobs that are read at once."""


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
    """

    def __init__(self, budget: int, load: Callable[[list[Job]], None]) -> None:
        """
        @param budget: bytes that C{used} is to stay below. Only what workers
            would wait for otherwise is read beyond it.
        @param load: has the workloads of some jobs read; not called again before L{arrived}.
        """
        self.used = 0
        self.unreadable: set[Job] = set()
        self._budget = budget
        self._chunk = min(READ_BYTES, budget // READ_SHARE)
        self._load = load
        self._loading = False
        self.trusted = 0.0
        # Lanes that want a read, by priority. None waits for another's whole backlog: each read is a piece.
        self._asking: list[OrderedDict[Function, None]] = [OrderedDict() for _ in PRIORITIES]

    def admit(self, job: Job, waits: bool) -> None:
        """
        A job has been stored that is about to be queued or delayed: keep its
        workload if it will be wanted soon and there is room.

        @param waits: whether its time is still to come.
        """
        function = job.function
        crowded = self.used + job.size > self._budget and function.lanes.ready >= len(function.workers)
        if waits or crowded or function.lanes.behind(job):
            job.workload = b""
        else:
            self.used += job.size

    def count(self, job: Job) -> None:
        """A job's workload is in memory and stays there for now."""
        self.used += job.size

    def yield_room(self, job: Job) -> None:
        """A stored job goes behind the others: give its workload up if there is no room."""
        # What cannot be read is still not known to be readable.
        if job.workload and (self.used > self._budget or job.function.lanes.behind(job)):
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
        if priority in function.lanes.overflow and function.workers:
            self._asking[priority][function] = None
        self.go_on(now)

    def trusts(self, now: float) -> bool:
        """Whether something is being read, and will soon be there."""
        return self._loading and now < self.trusted

    def arrived(self) -> None:
        """What was asked for has been read; L{go_on} follows when it is in its place."""
        self._loading = False

    def go_on(self, now: float) -> None:
        """Read what else is asked for."""
        while not self._loading:
            # The highest priority; of one, who has asked first.
            priority = next((priority for priority in PRIORITIES if self._asking[priority]), None)
            if priority is None:
                return
            function, _ = self._asking[priority].popitem(last=False)
            jobs = self._choose(function, priority)
            if jobs:
                self._loading = True
                self.trusted = now + PATIENCE
                self._load(jobs)

    def _choose(self, function: Function, priority: int) -> list[Job]:
        """
        What to read for a lane: where there is room a good piece, and
        otherwise as many jobs as it has workers, or a piece if it is dry; a good one if
        lanes like that have not taken much yet.
        """
        lanes = function.lanes
        overflow, ready = lanes.to_read(priority)
        if overflow is None or not function.workers:
            return []
        # Where tenants share a function, one may have nothing in memory when its turn comes.
        missing = min(max(len(function.workers) - lanes.counts[priority], 0 if ready else 1), READ_JOBS)
        crowded = self.used + self._chunk > self._budget
        # Beyond the budget, how many bytes more than the workers need at once.
        spare = 0
        if not ready:
            little = self.used <= self._budget + self._chunk
            spare = self._chunk if little else self._budget // DRY_SHARE
        chosen: list[Job] = []
        size = 0
        for index, job in enumerate(islice(overflow.upcoming(), READ_JOBS)):
            if job.loaded and not index:
                # Of this lane some are about to be let in, and only then it shows what it lacks.
                return []
            if crowded and index >= missing and size >= spare:
                break
            if not job.loaded:
                if chosen and size + job.size > self._chunk:
                    break
                # The first may be larger than a piece.
                if not missing and self.used + size + job.size > self._budget:
                    break
                chosen.append(job)
                size += job.size
        return chosen

    def check(self, jobs: Iterable[Job]) -> None:
        """
        Is what is in memory counted right? For tests.

        @param jobs: all that have not ended.
        @raise AssertionError: it is not.
        """
        used = sum(len(job.workload) for job in jobs if job.stored)
        assert self.used == used, (self.used, used)

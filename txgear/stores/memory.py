"""
A store in memory, for tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest

from zope.interface import implementer

from txgear.broker.keys import HASH_BITS, hash_of
from txgear.broker.records import (
    LAST_NUMBER,
    Batch,
    ByKey,
    ByNumber,
    HistoryChunk,
    InLane,
    JobRecord,
    Lane,
    LaneCount,
    LastInLane,
    Question,
    StoredValue,
    Waking,
    WithUnique,
    key_of_record,
    lane_of,
    last_of_each,
)
from txgear.errors import StoreRefused, StoreUnavailable, StoreUnusable
from txgear.interfaces import IHistoryStore


@implementer(IHistoryStore)
class MemoryStore:
    """
    A store for tests. What it keeps outlives L{close}, but not the process: a
    server can be started again with the same object. The methods are those of
    L{IHistoryStore}.
    """

    name = "memory:"

    def __init__(self) -> None:
        self._is_open = False
        self._jobs: dict[int, JobRecord] = {}
        self._workloads: dict[int, bytes] = {}
        self._results: dict[int, bytes] = {}
        self._values: dict[tuple[int, bytes], StoredValue] = {}
        self._history: dict[int, bytes] = {}
        self._next = 1

    def open(self) -> None:
        """See L{IJobStore.open}."""
        if self._is_open:
            raise StoreUnusable("the store in memory is in use by another server")
        self._is_open = True

    def reserve(self, count: int) -> int:
        """See L{IJobStore.reserve}."""
        self._check_open()
        if self._next + count > LAST_NUMBER:
            raise StoreRefused("the job numbers are used up")
        first = self._next
        self._next += count
        return first

    def replay(self, after: int, limit: int) -> list[JobRecord]:
        """See L{IJobStore.replay}."""
        self._check_open()
        return [
            self._jobs[number] for number in nsmallest(limit, (each for each in self._jobs if each > after))
        ]

    def write(self, batch: Batch) -> None:
        """See L{IJobStore.write}."""
        self._check_open()
        jobs = {job.number: job for job, _ in batch.new_jobs}
        if len(jobs) < len(batch.new_jobs) or not jobs.keys().isdisjoint(self._jobs):
            raise StoreRefused("a job of that number is kept already")
        self._jobs.update(jobs)
        self._workloads.update((job.number, bytes(workload)) for job, workload in batch.new_jobs)
        for change in batch.changes:
            if (job := self._jobs.get(change.number)) is not None:
                self._jobs[change.number] = job._replace(
                    function=change.function, priority=change.priority, digest=change.digest
                )
                if change.workload is not None:
                    self._jobs[change.number] = self._jobs[change.number]._replace(size=len(change.workload))
                    self._workloads[change.number] = change.workload
        for update in batch.updates:
            if (job := self._jobs.get(update.number)) is not None:
                size = job.size if update.size is None else update.size
                self._jobs[update.number] = job._replace(**{**update._asdict(), "size": size})
        for number, result in batch.results:
            self._workloads[number] = b""
            self._results[number] = result
        for number in (*batch.deleted, *batch.deleted_all):
            for kept in (self._jobs, self._workloads, self._results):
                kept.pop(number, None)
        for value in batch.values:
            self._values.pop((value.kind, value.name), None)
            if value.value:
                self._values[value.kind, value.name] = value._replace(number=0)

    def workloads(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """See L{IJobStore.workloads}."""
        self._check_open()
        return {number: self._workloads[number] for number in numbers if number in self._workloads}

    def results(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """See L{IJobStore.results}."""
        self._check_open()
        return {number: self._results[number] for number in numbers if self._results.get(number)}

    def lanes(self) -> list[LaneCount]:
        """See L{IJobStore.lanes}."""
        self._check_open()
        found: dict[Lane, tuple[int, int]] = {}
        for job in self._jobs.values():
            lane = lane_of(job)
            jobs, size = found.get(lane, (0, 0))
            found[lane] = jobs + 1, size + job.size
        return [LaneCount(lane, *count) for lane, count in found.items()]

    def rows(self, question: Question, workloads: dict[int, bytes] | None = None) -> list[JobRecord]:
        """See L{IJobStore.rows}."""
        self._check_open()
        jobs = self._jobs.values()
        if isinstance(question, ByNumber):
            found = [self._jobs[number] for number in dict.fromkeys(question.numbers) if number in self._jobs]
        elif isinstance(question, ByKey):
            keys = set(question.keys)
            found = last_of_each(job for job in jobs if key_of_record(job) in keys)
        elif isinstance(question, WithUnique):
            named = [job for job in jobs if job.place > question.after and job.unique == question.unique]
            found = nsmallest(question.limit, named, key=lambda job: job.place)
        elif isinstance(question, InLane):
            lying = [job for job in jobs if job.place > question.after and lane_of(job) == question.lane]
            found = nsmallest(question.limit, lying, key=lambda job: job.place)
        elif isinstance(question, LastInLane):
            lying = [job for job in jobs if lane_of(job) == question.lane]
            found = sorted(lying, key=lambda job: job.place)[-1:]
        elif isinstance(question, Waking):
            until, after, limit = question
            waking = [((job.wake or job.due, job.number), job) for job in jobs if job.wake or job.due]
            in_time = [each for each in waking if after < each[0] and each[0][0] <= until]
            found = [job for _, job in nsmallest(limit, in_time, key=lambda each: each[0])]
        else:
            found = self.replay(question.after, question.limit)
        return [job._replace(kind=lane_of(job).kind, wake=job.wake or job.due) for job in found]

    def hashes(self, after: int, limit: int) -> list[int]:
        """See L{IJobStore.hashes}."""
        self._check_open()
        keys = [(job.number, key_of_record(job)) for job in self._jobs.values()]
        # Below 2**63.
        most = 1 << (63 - HASH_BITS)
        every = [number % most << HASH_BITS | hash_of(key) for number, key in keys if key is not None]
        return nsmallest(limit, (each for each in every if each > after))

    def values(self) -> list[StoredValue]:
        """See L{IJobStore.values}."""
        self._check_open()
        return list(self._values.values())

    def known(self, numbers: Sequence[int]) -> set[int]:
        """See L{IJobStore.known}."""
        self._check_open()
        return self._jobs.keys() & set(numbers)

    def put_history(self, chunks: Sequence[HistoryChunk], deleted: Sequence[int]) -> None:
        """See L{IHistoryStore.put_history}."""
        self._check_open()
        for number in deleted:
            self._history.pop(number, None)
        self._history.update(chunks)

    def history(self, after: int, limit: int) -> list[HistoryChunk]:
        """See L{IHistoryStore.history}."""
        self._check_open()
        numbers = nsmallest(limit, (number for number in self._history if number > after))
        return [(number, self._history[number]) for number in numbers]

    def close(self, next_number: int | None) -> None:
        """See L{IJobStore.close}."""
        if self._is_open and next_number is not None:
            self._next = next_number
        self._is_open = False

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailable("the store is not open")

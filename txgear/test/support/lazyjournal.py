"""
A journal for the floor C{broker} whose store takes its time: whatever is asked of it, or is to be written, is
done when the test says so, one call after the other; what is answered is what the store had then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from txgear.broker.model import Job
from txgear.broker.ports import Asking, JournalListener, Reading
from txgear.broker.records import (
    Batch,
    JobChange,
    JobRecord,
    JobUpdate,
    Naming,
    StoredValue,
)
from txgear.protocol.packets import Data
from txgear.stores.memory import MemoryStore
from txgear.test.support.fakejournal import HiddenKeys


@dataclass
class Changes:
    """What is to be written in one call, by the numbers of jobs."""

    new_jobs: dict[int, tuple[Job, JobRecord, Data]] = field(default_factory=dict)
    updates: dict[int, JobUpdate] = field(default_factory=dict)
    changes: dict[int, JobChange] = field(default_factory=dict)
    results: dict[int, bytes] = field(default_factory=dict)
    deleted: dict[int, None] = field(default_factory=dict)
    values: dict[tuple[int, bytes], StoredValue] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.numbers or self.values)

    @property
    def numbers(self) -> set[int]:
        """The jobs of which there is anything."""
        return {*self.new_jobs, *self.updates, *self.changes, *self.results, *self.deleted}

    def batch(self) -> Batch:
        new_jobs = [(record, workload) for _, record, workload in self.new_jobs.values()]
        return Batch(
            new_jobs,
            list(self.updates.values()),
            (),
            list(self.results.items()),
            list(self.deleted),
            list(self.values.values()),
            list(self.changes.values()),
        )


ELSEWHERE: Final = 10**12
"""By so much the numbers of another server's jobs are higher than those of the same ones here."""


class LazyJournal(HiddenKeys):
    """
    A L{Journal<txgear.broker.ports.Journal>}.

    @ivar store: what it writes to.
    @ivar listener: whom it tells.
    @ivar gathering: what is to be written next.
    @ivar asking: the questions that are not at the store yet.
    @ivar loading: the jobs whose workloads are asked for.
    @ivar elsewhere: by the numbers of new jobs at the store, the other server's that are the same.
    """

    unavailable: str | None = None
    unavailable_detail: str | None = None
    closing = False
    unavailable_since = 0.0
    backlogged = False
    crowded = False
    clustered = False

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.listener: JournalListener
        self.gathering = Changes()
        self.asking: deque[Asking] = deque()
        self.loading: list[Job] | None = None
        self.reading: deque[Reading] = deque()
        self.hide_only(store.replay(0, 10**9))
        # What is at the store: what is written, and what is to be called when the answer is there.
        self._writing = Changes()
        self.elsewhere: dict[int, JobRecord] = {}
        self._end: Callable[[float], None] | None = None

    # What the broker wants

    def retry_soon(self) -> None:
        """It answers all the same."""

    def has_room(self, size: int) -> bool:
        return True

    def add(self, job: Job, record: JobRecord, workload: Data) -> None:
        self.gathering.new_jobs[record.number] = job, record, bytes(workload)
        # What was said of the job before its addition is in the addition.
        self.gathering.updates.pop(record.number, None)
        self.gathering.changes.pop(record.number, None)

    def update(self, update: JobUpdate) -> None:
        self.gathering.updates[update.number] = update

    def change(self, change: JobChange) -> None:
        earlier = self.gathering.changes.get(change.number)
        if earlier is not None and change.workload is None:
            change = change._replace(workload=earlier.workload)
        self.gathering.changes[change.number] = change

    def delete(self, number: int) -> None:
        self.gathering.deleted[number] = None

    def delete_all(self, number: int) -> None:
        self.gathering.deleted[number] = None

    def put_result(self, number: int, result: bytes) -> None:
        self.gathering.results[number] = result

    def put_value(self, value: StoredValue) -> None:
        self.gathering.values[value.kind, value.name] = value

    def share(self, value: StoredValue) -> None:
        """There are no other servers."""

    def name(self, naming: Naming) -> None:
        raise AssertionError("nobody else has the store")

    def read(self, reading: Reading) -> None:
        self.reading.append(reading)

    def load(self, jobs: list[Job]) -> None:
        assert self.loading is None, "one read at a time"
        self.loading = jobs

    def ask(self, asking: Asking) -> None:
        self.asking.append(asking)

    def pending(self, number: int) -> bool:
        return number in self.gathering.numbers or number in self._writing.numbers

    def settled(self, numbers: Iterable[int]) -> set[int]:
        return {number for number in numbers if not self.pending(number)}

    # What the store does

    @property
    def busy(self) -> bool:
        """Whether a call is at the store."""
        return self._end is not None

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        waiting = self.asking or self.loading is not None or self.reading
        return not (self.busy or self.gathering or waiting)

    def end(self, now: float) -> None:
        """The call that is at the store is back, if there is one."""
        if self._end is not None:
            end, self._end = self._end, None
            end(now)

    def begin_write(self, *, elsewhere: bool = False) -> None:
        """
        @param elsewhere: whether another server has jobs by now that are the same as the new ones.
        """
        if self.busy or not self.gathering:
            return
        self._writing, self.gathering = self.gathering, Changes()
        self.elsewhere = {
            number: record._replace(number=ELSEWHERE + number)
            for number, (_, record, _) in self._writing.new_jobs.items()
            if elsewhere and record.unique
        }
        self._end = self._written

    def _written(self, now: float) -> None:
        written, self._writing = self._writing, Changes()
        others = [(written.new_jobs.pop(number)[0], record) for number, record in self.elsewhere.items()]
        self.elsewhere = {}
        self.store.write(written.batch())
        for job, record in others:
            is_so = self.listener.joined(job, record, now)
            assert is_so, "it has not ended"
        self.listener.stored((job for job, _, _ in written.new_jobs.values()), now)
        if written.results:
            self.listener.result_stored(written.results)
        if numbers := {*written.updates, *written.changes}:
            self.listener.written(sorted(numbers), now)

    def begin_answers(self, most: int, lost: bool) -> None:
        """
        @param most: how many questions are carried out in this call.
        @param lost: whether the store does not answer.
        """
        if self.busy or not self.asking:
            return
        asked = [self.asking.popleft() for _ in range(min(most, len(self.asking)))]
        found = [(asking, *self._find(asking)) for asking in asked]

        def end(now: float) -> None:
            for asking, records, workloads in found:
                workloads.update(
                    (number, self._newest(number, workload)) for number, workload in workloads.items()
                )
                asking.done(None if lost else records, {} if lost else workloads, now)
            if lost:
                self.listener.answers(now)

        self._end = end

    def _find(self, asking: Asking) -> tuple[list[JobRecord], dict[int, bytes]]:
        records = self.store.rows(asking.question)
        chosen, size = [], 0
        for record in records:
            size += record.size
            if size > asking.most_bytes:
                break
            chosen.append(record.number)
        return records, self.store.workloads(chosen)

    def _newest(self, number: int, workload: bytes) -> bytes:
        """The workload of a job, as it is or will be."""
        for changes in (self._writing, self.gathering):
            change = changes.changes.get(number)
            if change is not None and change.workload is not None:
                workload = change.workload
        return workload

    def begin_load(self) -> None:
        if self.busy or self.loading is None:
            return
        jobs = self.loading
        found = self.store.workloads([job.number for job in jobs])

        def end(now: float) -> None:
            self.loading = None
            workloads = [
                (job, self._newest(job.number, found[job.number]) if job.number in found else None)
                for job in jobs
            ]
            self.listener.loaded(workloads, now)

        self._end = end

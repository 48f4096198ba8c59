"""
For the floor C{broker}: a journal that waits for the test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from txgear.broker.keys import Key
from txgear.broker.model import Job, Reply
from txgear.broker.ports import Asking, Reading
from txgear.broker.records import (
    Batch,
    JobChange,
    JobRecord,
    JobUpdate,
    LaneCount,
    Naming,
    NewJob,
    StoredValue,
    key_of_record,
)
from txgear.protocol.packets import Data
from txgear.stores.memory import MemoryStore
from txgear.test.support.clock import START


def moved(record: JobRecord, move: JobUpdate) -> JobRecord:
    """A job as a store has it after a move."""
    return record._replace(
        **{name: value for name, value in move._asdict().items() if name != "size" or value is not None}
    )


def changed(record: JobRecord, change: JobChange) -> JobRecord:
    """A job as a store has it after a change."""
    size = record.size if change.workload is None else len(change.workload)
    return record._replace(
        function=change.function, priority=change.priority, digest=change.digest, size=size
    )


class HiddenKeys:
    """
    What a journal knows of jobs that are not in memory, as if it were never wrong.

    @ivar hidden: how many jobs with each key there are.
    """

    hidden: Counter[Key]

    def hide_only(self, records: Iterable[JobRecord]) -> None:
        """None is in memory of these, which are all that there are."""
        keys = map(key_of_record, records)
        self.hidden = Counter(key for key in keys if key is not None)

    def hide(self, key: Key) -> None:
        self.hidden[key] += 1

    def hide_all(self, keys: Iterable[Key]) -> None:
        self.hidden.update(keys)

    def show(self, key: Key) -> None:
        self.hidden[key] -= 1

    def may_hide(self, key: Key) -> bool:
        return self.hidden[key] > 0


class Adding(NamedTuple):
    """A job that a journal is to add to the store, and the reply that waits for that."""

    job: Job
    record: JobRecord
    workload: Data
    reply: Reply


class FakeJournal(HiddenKeys):
    """
    A journal that does nothing by itself, and what a store behind it would have.

    @ivar unavailable: why no job can be kept.
    @ivar detail: the same in the words of the store, where it has others.
    @ivar unavailable_since: since when.
    @ivar closing: whether the server ends.
    @ivar backlogged: whether too much has gathered.
    @ivar crowded: whether too much is on its way.
    @ivar room: bytes of the largest result that there is room for.
    @ivar asked: how often somebody was refused.
    @ivar adding: the jobs whose outcome the broker has not been told.
    @ivar updates: all that was told.
    @ivar changes: all that was told.
    @ivar deleted: all that was told.
    @ivar results: what was told, by number.
    @ivar deleted_all: all that was told.
    @ivar stored_values: the last of each that was told.
    @ivar clustered: whether other servers have the same store.
    @ivar names: the last of each that was told, by number.
    @ivar reading: what is asked for by those who want one.
    @ivar asking: the questions that are not answered.
    @ivar silent: whether no question is answered from now on.
    @ivar unsettled: jobs of which something is on its way, by number.
    @ivar loading: the jobs whose workloads are asked for, if any are.
    @ivar loads: how many jobs were asked for each time.
    """

    def __init__(self) -> None:
        self.unavailable: str | None = None
        self.detail = ""
        self.closing = False
        self.unavailable_since = 0.0
        self.backlogged = False
        self.crowded = False
        self.room = 10**9
        self.asked = 0
        self.adding: list[Adding] = []
        self.updates: list[JobUpdate] = []
        self.changes: list[JobChange] = []
        self.deleted: list[int] = []
        self.loading: list[Job] | None = None
        self.loads: list[int] = []
        self.results: dict[int, bytes] = {}
        self.deleted_all: list[int] = []
        self.stored_values: dict[tuple[int, bytes], StoredValue] = {}
        self.clustered = False
        self.names: dict[int, Naming] = {}
        self.reading: list[Reading] = []
        self.asking: list[Asking] = []
        self.silent = False
        self.unsettled: set[int] = set()
        self.hide_only([])
        self._kept: dict[int, NewJob] = {}
        self._moved: dict[int, JobUpdate] = {}
        self._changed: dict[int, JobChange] = {}
        # What a server has found that has started since.
        self._settled: set[int] = set()

    @property
    def unavailable_detail(self) -> str | None:
        return self.detail or self.unavailable

    def retry_soon(self) -> None:
        self.asked += 1

    def has_room(self, size: int) -> bool:
        return size <= self.room

    def add(self, job: Job, record: JobRecord, workload: Data) -> None:
        assert job.reply is not None
        self.adding.append(Adding(job, record, workload, job.reply))
        # What was said of the job before its addition is in the addition.
        self._moved.pop(record.number, None)
        self._changed.pop(record.number, None)

    def update(self, update: JobUpdate) -> None:
        self.updates.append(update)
        self._moved[update.number] = update

    def change(self, change: JobChange) -> None:
        self.changes.append(change)
        self._settled.discard(change.number)
        earlier = self._changed.get(change.number)
        if earlier is not None and change.workload is None:
            change = change._replace(workload=earlier.workload)
        self._changed[change.number] = change

    def _workload(self, number: int) -> bytes | None:
        """What a job has, as it is in the store or on its way there."""
        kept, change = self._kept.get(number), self._changed.get(number)
        if kept is not None and change is not None and change.workload is not None:
            return change.workload
        return None if kept is None else bytes(kept[1])

    def corrected(self, number: int) -> bool:
        """Whether a job has got a new workload that the store may refuse still."""
        change = self._changed.get(number)
        return change is not None and change.workload is not None and number not in self._settled

    def refuse_workload(self, number: int) -> bytes:
        """
        The new workload of this job is not taken.

        @return: the one that it has.
        """
        self._changed[number] = self._changed[number]._replace(workload=None)
        return bytes(self._kept[number][1])

    def delete(self, number: int) -> None:
        self.deleted.append(number)

    def load(self, jobs: list[Job]) -> None:
        assert self.loading is None, "one read at a time"
        self.loading = jobs
        self.loads.append(len(jobs))

    def put_result(self, number: int, result: bytes) -> None:
        self.results[number] = result

    def delete_all(self, number: int) -> None:
        self.deleted_all.append(number)
        self.results.pop(number, None)

    def put_value(self, value: StoredValue) -> None:
        self.stored_values[value.kind, value.name] = value

    def share(self, value: StoredValue) -> None:
        self.put_value(value)

    def name(self, naming: Naming) -> None:
        self.names[naming.number] = naming

    def read(self, reading: Reading) -> None:
        self.reading.append(reading)

    def ask(self, asking: Asking) -> None:
        if self.silent:
            asking.done(None, {}, START)
        else:
            self.asking.append(asking)

    def pending(self, number: int) -> bool:
        return number in self.unsettled or any(adding.job.number == number for adding in self.adding)

    def settled(self, numbers: Iterable[int]) -> set[int]:
        return {number for number in numbers if not self.pending(number)}

    def _as_store(self) -> MemoryStore:
        store = MemoryStore()
        store.open()
        store.write(Batch([(record, self._workload(record.number) or b"") for record in self.kept()], (), ()))
        return store

    def lanes(self) -> list[LaneCount]:
        """What a server that starts now finds."""
        return self._as_store().lanes()

    def answer(self, now: float) -> None:
        """The first question is answered, by what the store has."""
        asking = self.asking.pop(0)
        store = self._as_store()
        records = store.rows(asking.question)
        workloads: dict[int, bytes] = {}
        size = 0
        for record in records:
            size += record.size
            if size > asking.most_bytes:
                break
            workloads[record.number] = self._workload(record.number) or b""
        asking.done(records, workloads, now)

    def answer_readings(self) -> None:
        """What was asked for is read, as far as it is there."""
        readings, self.reading = self.reading, []
        for reading in readings:
            workload = self._workload(reading.number)
            reading.done(self.results.get(reading.number) if reading.result else workload)

    def settle(self) -> Job:
        """The first that is on its way is written."""
        adding = self.adding.pop(0)
        self.put(adding.record, adding.workload)
        return adding.job

    def put(self, record: JobRecord, workload: Data = b"") -> None:
        """This is in the store."""
        self._kept[record.number] = record, workload

    def fetch(self, most: int | None = None) -> list[tuple[Job, bytes | None]]:
        """
        What was asked for is read, as far as it is there.

        @param most: how many of the jobs, the first ones; the others are still to come.
        """
        assert self.loading is not None, "nothing is asked for"
        jobs = self.loading[:most]
        self.loading = self.loading[len(jobs) :] or None
        return [(job, self._workload(job.number)) for job in jobs]

    def lose(self, job: Job) -> None:
        """Somebody has taken this out of the store."""
        del self._kept[job.number]

    def kept(self) -> list[JobRecord]:
        """What a server that starts now finds."""
        found = []
        for number in sorted(self._kept.keys() - set(self.deleted) - set(self.deleted_all)):
            record = self._kept[number][0]
            if (change := self._changed.get(number)) is not None:
                record = changed(record, change)
            move = self._moved.get(number)
            found.append(moved(record, move) if move is not None else record)
        return found

    def restart(self) -> None:
        """The server has gone: only what the store has is left."""
        self.adding, self.loading, self.unavailable = [], None, None
        self.asking.clear()
        self.unsettled.clear()
        self.hide_only(self.kept())
        self._settled = set(self._changed)

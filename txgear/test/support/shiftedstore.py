"""
The contract of stores for those that several servers have at once: each has a part of the job numbers only,
and there are others whose jobs are none of its business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from twisted.python.components import proxyForInterface

from txgear.broker.history import owned_by
from txgear.broker.records import (
    DEAD,
    KEPT,
    WAITING,
    Batch,
    ByNumber,
    InOrder,
    JobRecord,
    JobUpdate,
    Lease,
    Naming,
    Question,
    StoredValue,
    Waking,
    key_of_record,
)
from txgear.broker.states import DONE
from txgear.interfaces import IPartedStore
from txgear.protocol.constants import HIGH
from txgear.stores.partedstore import PartedStore
from txgear.test.support.batches import adding, deleting_all, setting_values, stored
from txgear.test.support.stores import StoreContract

LAST: Final = 2**38
"""Any part has so many numbers, wherever in its first half the first one is."""
STEP: Final = 2**16
"""Numbers that are moved by a multiple of it are as far from each other's places as they were."""


class ShiftedStore(proxyForInterface(IPartedStore)):  # type: ignore[misc]
    """
    A store of which whoever uses it has the job numbers from 1 on, though they are others in it. A number
    that is reserved is as it is. The handle that goes with a time of a schedule is left out.

    Each job that is added with a unique has a name of its own to the other servers: the contract has several
    jobs with one unique, of which a cluster has one only.

    @ivar original: the store.
    @ivar base: what the numbers are moved by.
    """

    original: PartedStore
    base = 0

    def _in(self, number: int) -> int:
        return min(number + self.base, 2**63 - 1)

    def _job(self, job: JobRecord) -> JobRecord:
        return job._replace(number=self._in(job.number))

    def _moved(self, changes: Iterable[Any]) -> list[Any]:
        return [each._replace(number=self._in(each.number)) for each in changes]

    def _out(self, records: Iterable[JobRecord]) -> list[JobRecord]:
        return [record._replace(number=record.number - self.base) for record in records]

    def replay(self, after: int, limit: int) -> list[JobRecord]:
        return self._out(self.original.replay(self._in(after), limit))

    def rows(self, question: Question, workloads: dict[int, bytes] | None = None) -> list[JobRecord]:
        if isinstance(question, ByNumber):
            question = ByNumber([self._in(number) for number in question.numbers])
        elif isinstance(question, InOrder):
            question = question._replace(after=self._in(question.after))
        elif isinstance(question, Waking):
            time, number = question.after
            question = question._replace(after=(time, self._in(number)))
        brought: dict[int, bytes] | None = None if workloads is None else {}
        records = self._out(self.original.rows(question, brought))
        if workloads is not None and brought is not None:
            workloads.update((number - self.base, workload) for number, workload in brought.items())
        return records

    def write(self, batch: Batch) -> None:
        self.original.write(
            batch._replace(
                new_jobs=[(self._job(job), workload) for job, workload in batch.new_jobs],
                updates=self._moved(batch.updates),
                deleted=[self._in(number) for number in batch.deleted],
                results=[(self._in(number), result) for number, result in batch.results],
                deleted_all=[self._in(number) for number in batch.deleted_all],
                values=[each._replace(number=each.number and self._in(each.number)) for each in batch.values],
                changes=self._moved(batch.changes),
                names=[
                    Naming(self._in(job.number), job.function, b"%d" % job.number)
                    for job, _ in batch.new_jobs
                    if key_of_record(job) is not None
                ],
            )
        )

    def workloads(self, numbers: Sequence[int]) -> dict[int, bytes]:
        found = self.original.workloads([self._in(number) for number in numbers])
        return {number - self.base: workload for number, workload in found.items()}

    def results(self, numbers: Sequence[int]) -> dict[int, bytes]:
        found = self.original.results([self._in(number) for number in numbers])
        return {number - self.base: result for number, result in found.items()}

    def values(self) -> list[StoredValue]:
        return [
            each._replace(text="") if each.text.startswith("H:test:") else each
            for each in self.original.values()
        ]

    def known(self, numbers: Sequence[int]) -> set[int]:
        return {number - self.base for number in self.original.known([self._in(each) for each in numbers])}


def add_theirs(neighbour: PartedStore) -> None:
    """
    Have the neighbour keep some jobs for each question that the contract asks, with functions and uniques
    that the contract has, too.
    """
    first = neighbour.reserve(9)
    web = owned_by("web")
    jobs = [
        stored(first, unique=b"u", size=5),
        stored(first + 1, unique=b"a", priority=HIGH, history=web, size=5),
        stored(first + 2, unique=b"-", digest=bytes(range(16)), size=5),
        stored(first + 3, due=0.1, size=5)._replace(kind=WAITING),
        stored(first + 4, function=b"g", unique=b"u", history=web, size=5),
        *(stored(first + more, function=b"%d" % more, size=5) for more in range(5, 8)),
        stored(first + 8, function=b"8", size=5000),
    ]
    neighbour.write(adding(*((job, (b"their" * 1000)[: job.size]) for job in jobs)))
    neighbour.write(
        Batch(
            (),
            [
                JobUpdate(first + 5, first + 5, 1e9, 0, 6, DONE, 1.0, web, KEPT),
                JobUpdate(first + 6, first + 6, 0.0, 1, 5, 0, 1.0, None, DEAD),
            ],
            (),
            [(first + 5, b"result")],
        )
    )


class SharedContract(StoreContract):
    """
    For a test case: the store is one that several servers have, and another one has jobs there all the time.
    What has come to an end and is opened again is another server, which takes over what that one had. All
    tests may have the same database.

    @ivar neighbour: the other one's store, which is open, and has the jobs of L{add_theirs}.
    """

    store: ShiftedStore
    neighbour: PartedStore
    theirs: Lease
    last = LAST
    far = (LAST // 2, LAST - 2**30)

    def make_parted(self) -> PartedStore:
        """A store beside the neighbour's, which is not open."""
        raise NotImplementedError

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the database by another way than the stores do."""
        raise NotImplementedError

    def make_store(self) -> ShiftedStore:
        return ShiftedStore(self.make_parted())

    def setUp(self) -> None:
        self.base = -1
        (self.theirs,) = (lease for lease in self.neighbour.leases() if lease.is_ours)
        self.before = self.their_rows()
        self.addCleanup(self.see_theirs)
        super().setUp()
        # The test before this one may have left something.
        store = self.store.original
        store.write(deleting_all(job.number for job in store.replay(0, 1_000_000)))
        store.write(setting_values(*(each._replace(value=0.0) for each in store.values())))

    def open_store(self) -> None:
        """
        Have the numbers where they were, or begin with those of the new part where nothing is left of the old
        one.
        """
        super().open_store()
        store = self.store.original
        for lease in store.leases():
            if not lease.owner:
                store.take(lease)
        ours = [lease for lease in store.leases() if lease.is_ours]
        if not any(lease.first <= self.base < lease.end for lease in ours):
            self.base = -(-store.reserve(1) // STEP) * STEP
        self.store.base = self.base

    def their_rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that there is of the neighbour's part, by table."""
        is_theirs = f"number BETWEEN {self.theirs.first} AND {self.theirs.end - 1} ORDER BY number"
        jobs = ("txgear_jobs", "txgear_workloads", "txgear_results", "txgear_claims")
        found = {table: self.execute(f"SELECT * FROM {table} WHERE {is_theirs}") for table in jobs}  # noqa: S608
        found["txgear_lanes"] = self.execute(
            f"SELECT * FROM txgear_lanes WHERE part = {self.theirs.part} ORDER BY lane"  # noqa: S608
        )
        return found

    def see_theirs(self) -> None:
        """The neighbour has what it had, and finds it."""
        self.assertEqual(self.their_rows(), self.before)
        for table, rows in self.before.items():
            self.assertTrue(rows, table)
        self.neighbour.renew()
        self.assertEqual(len(self.neighbour.replay(0, 100)), 9)

"""
Where a store has the workloads of its jobs: tests of the contract of L{IJobStore}, as in
L{txgear.test.support.stores}. Small ones are in the rows of the jobs, others in a table of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from txgear.broker.records import Batch, InLane, JobChange, JobUpdate, Lane
from txgear.broker.states import DEAD, DONE
from txgear.protocol.constants import NORMAL
from txgear.stores.batchwriter import MOST_INLINE
from txgear.test.support.batches import (
    adding,
    addition,
    changing,
    deleting,
    deleting_all,
    updating,
    with_results,
)
from txgear.test.support.stores import ALL_BYTES, StoreContract

EMPTY, SMALL = b"", b"small"
LAST: Final = (ALL_BYTES * MOST_INLINE)[:MOST_INLINE]
"""The largest that is in a job's row."""
FIRST: Final = LAST + b"!"
"""The smallest that is not."""
LARGE: Final = ALL_BYTES * 1000
KINDS: Final = (EMPTY, SMALL, LAST, FIRST, LARGE)

IN_ROWS: Final = (
    "SELECT COALESCE(SUM(CASE WHEN workload IS NULL THEN 0 ELSE 1 END), 0) FROM txgear_jobs WHERE {where}"
)
IN_TABLE: Final = "SELECT COUNT(*) FROM txgear_workloads WHERE {where}"
OUT: Final = (
    "INSERT INTO txgear_workloads SELECT number, workload FROM txgear_jobs"
    " WHERE LENGTH(workload) > 0 AND {where}",
    "UPDATE txgear_jobs SET workload = NULL WHERE {where}",
)
"""Leaves them as a version before has them."""
ASTRAY: Final = (
    "SELECT number FROM txgear_workloads WHERE {where} AND number NOT IN"
    " (SELECT number FROM txgear_jobs WHERE workload IS NULL)"
)
"""What belongs to no job, or to one that has its workload in its row."""


class WorkloadContract(StoreContract):
    """
    For a test case that is a L{StoreContract}.

    @cvar ours: says, in SQL, which rows are not those of others.
    @cvar brings: whether workloads come with jobs.
    """

    ours = "1 = 1"
    brings: ClassVar[bool] = True

    def execute(self, sql: str) -> list[Any]:
        """Ask the database by another way than the store does, or have it do something."""
        raise NotImplementedError

    def ask(self, sql: str) -> list[Any]:
        return self.execute(sql.format(where=self.ours))

    def places(self) -> tuple[int, int]:
        """How many workloads are in the rows of jobs, and how many in the other table."""
        ((rows,),), ((table,),) = self.ask(IN_ROWS), self.ask(IN_TABLE)
        return int(rows), table

    def move_out(self) -> None:
        for each in OUT:
            self.ask(each)

    def fill(self) -> None:
        """One job of each kind, from 1 on."""
        self.store.write(adding(*(addition(number, each) for number, each in enumerate(KINDS, 1))))

    def workloads(self, numbers: Sequence[int] = range(1, 10)) -> dict[int, bytes]:
        return self.store.workloads(numbers)

    def see(self, workloads: Sequence[bytes]) -> None:
        """These are the workloads of the jobs from 1 on, and nothing is astray."""
        self.assertEqual(self.workloads(), dict(enumerate(workloads, 1)))
        self.assertEqual(self.ask(ASTRAY), [])

    def test_small_ones_are_in_the_rows_of_jobs(self) -> None:
        self.fill()
        self.see(KINDS)
        self.assertEqual(self.places(), (3, 2))
        self.reopen()
        self.see(KINDS)

    def test_many_of_all_sizes(self) -> None:
        sizes = [size % (2 * MOST_INLINE) for size in range(0, 97 * 700, 97)]
        self.store.write(adding(*(addition(number, LARGE[:size]) for number, size in enumerate(sizes, 1))))
        found = self.workloads(range(1, 1000))
        self.assertEqual(list(map(len, map(found.__getitem__, range(1, 701)))), sizes)
        self.store.write(deleting(range(1, 1000)))
        self.assertEqual(self.places(), (0, 0))

    def test_they_stay_where_a_version_before_has_put_them(self) -> None:
        """And go with their jobs from there."""
        self.fill()
        self.move_out()
        self.assertEqual(self.places(), (0, 4))
        self.see(KINDS)
        self.store.write(updating(JobUpdate(2, 20, 0.0, 1), JobUpdate(3, 30, 5.5, 1)))
        self.reopen()
        self.see(KINDS)
        self.store.write(
            Batch([addition(6, SMALL)], [JobUpdate(2, 2, 9.5, 0, 1, DONE, 1.5)], [3], [(2, b"r")], [4])
        )
        self.assertEqual(self.workloads(), {1: EMPTY, 2: EMPTY, 5: LARGE, 6: SMALL})
        self.assertEqual(self.places(), (2, 1))
        self.store.write(deleting_all([1, 2, 5, 6]))
        self.assertEqual(self.places(), (0, 0))

    def test_they_outlive_retries_and_death(self) -> None:
        for moved in (False, True):
            self.fill()
            if moved:
                self.move_out()
            numbers = range(1, 6)
            self.store.write(updating(*(JobUpdate(number, number + 50, 3.5, 2) for number in numbers)))
            self.see(KINDS)
            dead = (JobUpdate(number, number + 50, 9.5, 3, None, DEAD, 2.5, b"{}") for number in numbers)
            self.store.write(updating(*dead))
            self.see(KINDS)
            self.store.write(updating(*(JobUpdate(number, number, 0.0, 0) for number in numbers)))
            self.reopen()
            self.see(KINDS)
            self.store.write(deleting(numbers))
            self.assertEqual(self.places(), (0, 0))

    def test_results_take_their_places_wherever_they_are(self) -> None:
        """In the update of the job, or without one."""
        for moved in (False, True):
            for updates in ((), tuple(JobUpdate(number, 1, 9.5, 0, 1, DONE, 1.5) for number in range(1, 6))):
                self.fill()
                if moved:
                    self.move_out()
                results = [(number, b"r") for number in range(1, 6)]
                for _ in range(2):
                    self.store.write(Batch((), updates, (), results))
                    self.see([EMPTY] * 5)
                    self.assertEqual(self.places(), (5, 0))
                self.assertEqual(self.store.results(range(9)), dict(results))
                self.store.write(deleting_all(range(1, 6)))
                self.assertEqual(self.store.results(range(9)), {})

    def test_changes_across_the_bound(self) -> None:
        for moved in (False, True):
            for new in KINDS:
                self.fill()
                if moved:
                    self.move_out()
                changes = [JobChange(number, b"f", NORMAL, None, new) for number in range(1, 6)]
                for _ in range(2):
                    self.store.write(changing(*changes))
                    self.see([new] * 5)
                # A change of something else.
                self.store.write(changing(*(each._replace(workload=None) for each in changes)))
                self.see([new] * 5)
                self.store.write(deleting(range(1, 6)))
                self.assertEqual(self.places(), (0, 0))

    def test_changes_and_ends_in_one_batch(self) -> None:
        """What has just come to the other table goes from there as well."""
        changes = [JobChange(number, b"f", NORMAL, None, LARGE) for number in range(1, 6)]
        for results, deleted_all in (((), range(1, 6)), ([(n, b"r") for n in range(1, 6)], ())):
            self.fill()
            self.store.write(Batch((), (), (), results, deleted_all, changes=changes))
            self.assertEqual(self.ask(ASTRAY), [])
            self.assertEqual(self.places()[1], 0)
            self.store.write(deleting_all(range(1, 6)))

    def test_of_a_batch_that_is_refused_nothing_is_moved(self) -> None:
        self.fill()
        wrong = Batch(
            [addition(5)],
            (),
            [4],
            [(2, b"r")],
            changes=[JobChange(3, b"f", NORMAL, None, LARGE), JobChange(5, b"f", NORMAL, None, SMALL)],
        )
        with self.assertRaises(Exception):  # noqa: B017 - which one others test
            self.store.write(wrong)
        self.see(KINDS)
        self.assertEqual(self.places(), (3, 2))

    def test_lists_have_none(self) -> None:
        self.fill()
        self.assertEqual([each.size for each in self.store.replay(0, 9)], list(map(len, KINDS)))
        rows = self.store.rows(InLane(Lane(b"f", "", NORMAL), 0, 9))
        self.assertEqual(rows, [each._replace(kind=NORMAL) for each in self.store.replay(0, 9)])

    def test_those_in_rows_come_with_them_where_they_are_wanted(self) -> None:
        question = InLane(Lane(b"f", "", NORMAL), 0, 9)
        self.fill()
        expected = dict(enumerate(KINDS[:3], 1)) if self.brings else {}
        for kept in (expected, {}):
            brought: dict[int, bytes] = {}
            self.assertEqual(self.store.rows(question, brought), self.store.rows(question))
            self.assertEqual(brought, kept)
            self.move_out()

    def test_ended_without_a_result(self) -> None:
        self.fill()
        self.store.write(with_results((1, EMPTY), (3, EMPTY), (5, EMPTY)))
        self.assertEqual(self.workloads([1, 3, 5]), dict.fromkeys((1, 3, 5), EMPTY))
        self.assertEqual(self.ask(ASTRAY), [])

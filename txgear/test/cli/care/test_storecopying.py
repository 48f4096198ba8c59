"""
Tests for L{txgear.cli.care.storecopying}.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import PAUSED, SCHEDULED, SIGNING_KEY, JobRecord, NewJob, Result, StoredValue
from txgear.broker.states import DEAD, DONE
from txgear.cli.base.statuses import CommandError
from txgear.cli.care.storecopying import CHUNK_BYTES, PAGE, Copied, Copy
from txgear.errors import StoreRefused, StoreUnavailable
from txgear.protocol.constants import HIGH
from txgear.stores import make_store
from txgear.stores.dialects import StoreDialect
from txgear.stores.sql import SqlStore
from txgear.test.support.batches import adding, addition, deleting, deleting_all, setting_values, stored

JOBS: list[tuple[JobRecord, bytes, bytes | None]] = [
    (stored(1, size=3, created=5.0), b"one", None),
    (stored(2, function=b"\xff\0", unique=b"u", priority=HIGH, due=9.5, prefix=b"H:other"), b"", None),
    (stored(7, digest=b"d" * 16, reducer=b"r", size=1, history=b'{"retries": 3}', place=12), b"w", None),
    (stored(8, size=4, state=DEAD, ended=7.0, history=b"{}"), b"dead", None),
    (stored(9, size=6, state=DONE, ended=8.0, due=99.0), b"", b"result"),
    (stored(10, state=DONE, ended=8.5), b"", None),
]
"""Some of everything: records, workloads, results."""


class StoreCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.old, self.new = self.opened(self.mktemp()), self.opened(self.mktemp())
        self.old.take_over(
            [(job, workload) for job, workload, _ in JOBS],
            [b"i" * 32],
            [(job.number, result) for job, _, result in JOBS if result],
        )
        self.old.reserve(100)
        self.old.write(
            setting_values(
                StoredValue(PAUSED, b"f", 3.5, text="by me"),
                StoredValue(SCHEDULED, b"nightly", 1000.0),
                StoredValue(SIGNING_KEY, b"", 2.0, text="key"),
            )
        )
        self.old.put_history([(number, b"chunk %d" % number) for number in range(1, 150)], [])

    def opened(self, path: str) -> SqlStore:
        store = make_store(f"sqlite:///{path}")
        store.open()
        self.addCleanup(store.close, None)
        return store

    def copy(self, store: SqlStore | None = None) -> Copy:
        copy = Copy(self.old, store or self.new)
        total = copy.count()
        copy.run()
        self.assertEqual(copy.check(total), "")
        return copy

    def assert_same(self) -> None:
        records = [job for job, _, _ in JOBS]
        self.assertEqual(self.new.replay(0, 100), records)
        self.assertEqual(self.old.replay(0, 100), records)
        numbers = [job.number for job in records]
        self.assertEqual(self.new.workloads(numbers), {job.number: workload for job, workload, _ in JOBS})
        self.assertEqual(self.new.results(numbers), {9: b"result"})
        self.assertEqual(set(self.new.values()), set(self.old.values()))
        self.assertEqual(self.new.history(0, 1000), self.old.history(0, 1000))
        self.assertEqual(self.new.imported([b"i" * 32]), {b"i" * 32})


class Watched(SqlStore):
    """A store that says when it is renewed, and when it is read at length."""

    def __init__(self, dialect: StoreDialect, events: list[str]) -> None:
        super().__init__(dialect)
        self._events = events

    def renew(self) -> None:
        self._events.append("renew")
        super().renew()

    def workloads(self, numbers: Sequence[int]) -> dict[int, bytes]:
        self._events.append("workloads")
        return super().workloads(numbers)


class CopyTests(StoreCase):
    def test_all_of_it(self) -> None:
        said: list[int] = []
        copy = Copy(self.old, self.new)
        self.assertEqual(copy.count(), 6)
        copy.run(said.append)
        self.assertEqual(copy.check(6), "")
        self.assert_same()
        self.assertEqual(said[-1], 6)
        report = copy.report
        self.assertEqual((report.jobs, report.ended, report.known), (6, 3, 0))
        self.assertEqual((report.values, report.chunks, report.digests), (3, 149, 1))

    def test_numbers_go_on(self) -> None:
        """No number is given twice, also if only some of it was copied."""
        first = self.old.reserve(0)
        self.copy()
        self.assertEqual(self.new.reserve(1), first)
        self.copy()
        self.assertEqual(self.new.reserve(0), first + 1)

    def test_twice_is_once(self) -> None:
        self.copy()
        report = self.copy().report
        self.assert_same()
        self.assertEqual(report, Copied(known=6))

    def test_what_was_done_since_then_does_not_come_back(self) -> None:
        """The other store has gone on: jobs are done, a function goes on, a schedule has run."""
        self.copy()
        self.new.write(deleting_all([1, 9]))
        self.new.write(
            setting_values(StoredValue(PAUSED, b"f", 0.0), StoredValue(SCHEDULED, b"nightly", 2000.0))
        )
        self.new.put_history([(150, b"new"), (149, b"other")], [])
        self.new.write(adding(addition(self.new.reserve(1), b"new")))
        report = self.copy().report
        self.assertEqual((report.jobs, report.known), (0, 6))
        self.assertEqual(self.new.known([1, 9]), set())
        values = {(value.kind, value.name): value.value for value in self.new.values()}
        self.assertEqual(values[SCHEDULED, b"nightly"], 2000.0)
        self.assertNotIn((PAUSED, b"f"), values)
        self.assertTrue(report.own_history)
        self.assertEqual(self.new.history(149, 10), [(150, b"new")])

    def test_a_schedule_has_run_later_there(self) -> None:
        self.new.write(setting_values(StoredValue(SCHEDULED, b"nightly", 2000.0)))
        self.copy()
        self.assertIn(StoredValue(SCHEDULED, b"nightly", 2000.0), self.new.values())

    def test_many(self) -> None:
        """More than a page, and more bytes than a transaction has."""
        self.old.write(adding(*(addition(1000 + number, b"x") for number in range(PAGE + 5))))
        self.old.write(adding(*(addition(9000 + number, bytes(CHUNK_BYTES // 2)) for number in range(4))))
        report = self.copy().report
        self.assertEqual(report.jobs, len(JOBS) + PAGE + 9)
        self.assertEqual(self.new.replay(0, 10000), self.old.replay(0, 10000))
        self.assertEqual(len(self.new.workloads([9003])[9003]), CHUNK_BYTES // 2)

    def test_nobody_takes_a_store_that_is_only_read(self) -> None:
        """However large the jobs of one page are, which are written to the other one only."""
        self.old.write(adding(*(addition(9000 + number, bytes(CHUNK_BYTES)) for number in range(3))))
        events: list[str] = []
        old = Watched(self.old._dialect, events)
        self.old.close(None)
        old.open()
        self.addCleanup(old.close, None)
        Copy(old, self.new).run()
        self.assertNotIn("workloads workloads", " ".join(events))
        self.assertEqual(events.count("workloads"), 4)

    def test_a_chain(self) -> None:
        """What the first copy has noted is of no matter to the second."""
        self.copy()
        third = self.opened(self.mktemp())
        copy = Copy(self.new, third)
        copy.run()
        self.assertEqual(copy.check(6), "")
        self.assertEqual((copy.report.jobs, copy.report.values, copy.report.digests), (6, 3, 1))
        self.assertEqual(third.imported([b"i" * 32]), {b"i" * 32})
        self.assertEqual(set(third.values()), set(self.old.values()))


class RefusalTests(StoreCase):
    def refusal(self) -> str:
        """Why it cannot be done; nothing is written."""
        before = self.new.replay(0, 1000)
        error = self.assertRaises(CommandError, Copy(self.old, self.new).count)
        self.assertEqual(self.new.replay(0, 1000), before)
        return str(error)

    def test_another_queue(self) -> None:
        self.new.write(adding(addition(7)))
        self.assertIn("a job with the number 7 that is another one", self.refusal())

    def test_other_numbers_are_no_trouble(self) -> None:
        self.new.write(adding(addition(500)))
        self.copy()
        self.assertEqual(self.new.known([1, 500]), {1, 500})

    def test_the_old_one_was_used_since(self) -> None:
        """What was done there would be done again."""
        self.copy()
        self.old.write(deleting([1]))
        self.assertIn("job 1 was copied, and ", self.refusal())


class Failing(SqlStore):
    """
    A store that takes some transactions only.

    @ivar left: how many more it takes; C{None} for all.
    @ivar refused: a number of a job that it does not take.
    """

    left: int | None = None
    refused = 0

    def take_over(
        self, new_jobs: Sequence[NewJob], digests: Sequence[bytes], results: Sequence[Result] = ()
    ) -> None:
        if self.left is not None:
            if not self.left:
                raise StoreUnavailable("gone")
            self.left -= 1
        if self.refused in [job.number for job, _ in new_jobs]:
            raise StoreRefused("too large")
        super().take_over(new_jobs, digests, results)


class CopiedTests(SynchronousTestCase):
    def test_one_is_no_plural(self) -> None:
        self.assertEqual(
            list(Copied(jobs=1, ended=1, known=1, values=1, digests=1, chunks=1).lines()),
            [
                "1 job copied, 1 of them over and kept",
                "1 job copied before",
                "1 value, 1 piece of the history, 1 note of takeovers",
            ],
        )
        self.assertEqual(
            list(Copied(jobs=120437, values=3, chunks=41).lines()),
            [
                "120,437 jobs copied, 0 of them over and kept",
                "3 values, 41 pieces of the history, 0 notes of takeovers",
            ],
        )


class FailureTests(StoreCase):
    def setUp(self) -> None:
        super().setUp()
        self.new.close(None)
        self.path = self.mktemp()
        self.failing = self.begun()

    def begun(self) -> Failing:
        dialect = make_store(f"sqlite:///{self.path}")._dialect
        self.new = store = Failing(dialect)
        store.open()
        self.addCleanup(store.close, None)
        return store

    def test_it_ends_anywhere(self) -> None:
        """Whatever transaction is the last one, the next run does what is left, and nothing twice."""
        self.old.write(adding(*(addition(1000 + number, bytes(CHUNK_BYTES // 3)) for number in range(6))))
        rounds = done = 0
        while done < len(JOBS) + 6:
            rounds += 1
            self.failing.left = 1
            copy = Copy(self.old, self.failing)
            copy.count()
            self.assertRaises(StoreUnavailable, copy.run)
            done += copy.report.jobs
            self.assertEqual(copy.report.known + copy.report.jobs, done)
        self.assertGreater(rounds, 2)
        self.failing.left = None
        self.assertEqual(self.copy().report.known, done)
        self.assertEqual(self.failing.replay(0, 100), self.old.replay(0, 100))
        self.assertEqual(set(self.failing.values()), set(self.old.values()))

    def test_one_that_is_not_taken(self) -> None:
        """The others are; it is named, and tried again the next time."""
        self.failing.refused = 7
        report = self.copy().report
        self.assertEqual((report.jobs, report.refused), (5, {"too large": (1, ["H:test:7"])}))
        self.assertIn("1 not copied, too large: H:test:7", list(report.lines()))
        self.failing.refused = 0
        self.assertEqual(self.copy().report.jobs, 1)

    def test_one_that_has_got_lost(self) -> None:
        """It is noticed at the end."""
        copy = Copy(self.old, self.failing)
        total = copy.count()
        copy.run()
        self.failing.write(deleting([1]))
        self.assertEqual(copy.check(total), "1 job is missing, and 0 are different")
        self.assertIn("there were 7 jobs", copy.check(total + 1))

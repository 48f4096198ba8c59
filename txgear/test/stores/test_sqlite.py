"""Tests of L{txgear.stores.sql} on SQLite files."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import stat
import sys
from contextlib import closing
from typing import Any
from unittest import SkipTest

from sqlalchemy import event
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import KEPT, NAMED, READY, Batch, JobRecord, JobUpdate, Waking
from txgear.broker.states import DONE
from txgear.errors import StoreRefused, StoreUnavailable, StoreUnusable
from txgear.interfaces import IHistoryStore
from txgear.stores import make_store, schema
from txgear.stores.memory import MemoryStore
from txgear.stores.sql import SqlStore
from txgear.test.support.batches import adding, addition, deleting, stored
from txgear.test.support.storequestions import QuestionContract
from txgear.test.support.stores import HistoryContract
from txgear.test.support.storeworkloads import WorkloadContract


class SQLiteCase(SynchronousTestCase):
    """A file, and the stores on it."""

    def setUp(self) -> None:
        self.path = os.path.realpath(self.mktemp())
        self.store = self.make_store()

    def make_store(self, own_folder: bool = False) -> SqlStore:
        store = make_store(f"sqlite:///{self.path}", own_folder=own_folder)
        self.addCleanup(lambda: store.close(None))
        return store

    def fill(self) -> None:
        """Leave a closed store with three jobs."""
        self.store.open()
        self.store.write(adding(addition(1, b"one"), addition(2), addition(3, b"three" * 1000)))
        self.store.close(None)

    def other(self) -> sqlite3.Connection:
        """What another program does with the file."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(connection.close)
        return connection

    def each_connection(self, statement: str) -> None:
        """Have the store's next connections start with a statement."""

        def run(connection: Any, record: Any) -> None:
            connection.execute(statement).fetchall()

        event.listen(self.store._dialect.engine, "connect", run)

    def driver(self) -> Any:
        """The store's own connection."""
        assert self.store._connection is not None
        return self.store._connection.connection.driver_connection

    def pragma(self, text: str) -> Any:
        """Say or ask a pragma there."""
        rows = self.driver().execute(f"PRAGMA {text}").fetchall()
        return rows[0][0] if rows else None

    def refusal_to_open(self, store: SqlStore | None = None) -> str:
        """Why the store cannot be used."""
        with self.assertRaises(StoreUnusable) as caught:
            (store or self.store).open()
        text = str(caught.exception)
        for noise in ("\n", "SELECT", "sqlalche", "sqlite3."):
            self.assertNotIn(noise, text)
        self.assertIn(self.store.name, text)
        return text


class SQLiteContractTests(HistoryContract, QuestionContract, WorkloadContract, SynchronousTestCase):
    brings = False

    def setUp(self) -> None:
        self.path = os.path.realpath(self.mktemp())
        super().setUp()

    def execute(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as file:
            return file.execute(sql).fetchall()

    def make_store(self) -> IHistoryStore:
        return make_store(f"sqlite:///{self.path}")


class FileTests(SQLiteCase):
    def test_the_file_and_its_folder_are_for_the_owner_alone(self) -> None:
        self.path = os.path.join(self.path, "new", "jobs.sqlite")
        self.store = self.make_store(own_folder=True)
        self.addCleanup(os.umask, os.umask(0))
        self.store.open()
        self.store.write(adding(addition(1)))
        folder = os.path.dirname(self.path)
        self.assertEqual(stat.S_IMODE(os.stat(folder).st_mode), 0o700)
        names = sorted(os.listdir(folder))
        self.assertEqual(names, ["jobs.sqlite", "jobs.sqlite-shm", "jobs.sqlite-wal", "jobs.sqlite.lock"])
        for name in names:
            self.assertEqual(stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode), 0o600, name)

    def test_it_is_durable(self) -> None:
        self.store.open()
        self.assertEqual(self.pragma("journal_mode"), "wal")
        self.assertEqual(self.pragma("synchronous"), 2)
        self.assertEqual(self.pragma("secure_delete"), 0)

    def test_what_it_says_of_itself(self) -> None:
        self.store.open()
        report = self.store.report()
        self.assertEqual(report.database, f"SQLite {sqlite3.sqlite_version}")
        self.assertEqual(dict(report.settings), {"journal_mode": "wal", "synchronous": "FULL"})
        self.assertEqual((report.schema, report.doubts), (schema.REVISIONS[-1], ()))
        assert report.size is not None
        assert report.log_size is not None
        self.assertGreater(report.log_size, 0)
        self.assertEqual(report.size, self.pragma("page_count") * self.pragma("page_size"))
        # What is in force is told, and not what was set when it was opened.
        self.driver().execute("PRAGMA synchronous = NORMAL")
        (doubt,) = self.store.report().doubts
        self.assertIn("synchronous is NORMAL", doubt)

    def test_a_log_that_is_gone_has_no_size(self) -> None:
        self.store.open()
        os.remove(f"{self.path}-wal")
        self.assertIsNone(self.store.report().log_size)

    def test_the_lock_says_who_has_it(self) -> None:
        self.store.open()
        text = self.refusal_to_open(self.make_store())
        self.assertIn(f"in use by another server, process {os.getpid()}", text)
        self.assertIn(f"{self.path}.lock", text)

    def test_a_lock_that_does_not_say_who_has_it(self) -> None:
        self.store.open()
        os.truncate(f"{self.path}.lock", 0)
        self.assertIn("process unknown", self.refusal_to_open(self.make_store()))

    def test_who_comes_by_a_link_meets_the_same_lock(self) -> None:
        self.store.open()
        link = os.path.realpath(self.mktemp())
        os.symlink(self.path, link)
        with self.assertRaises(StoreUnusable):
            make_store(f"sqlite:///{link}").open()

    def test_a_backup_can_be_made_while_it_is_open(self) -> None:
        self.store.open()
        self.store.write(adding(addition(1, b"one")))
        with closing(sqlite3.connect(self.mktemp())) as copy:
            self.other().backup(copy)
            self.store.write(adding(addition(2)))
            self.path = copy.execute("PRAGMA database_list").fetchone()[2]
        restored = self.make_store()
        restored.open()
        self.assertEqual(restored.replay(0, 10), [stored(1, size=3)])
        self.assertEqual(restored.workloads([1]), {1: b"one"})

    def test_a_folder_is_no_file(self) -> None:
        os.mkdir(self.path)
        self.assertIn("it is a folder", self.refusal_to_open())

    def test_a_folder_that_cannot_be_made(self) -> None:
        with open(self.path, "wb"):
            pass
        self.path = os.path.join(self.path, "folder", "jobs.sqlite")
        self.store = self.make_store(own_folder=True)
        self.assertIn(f"cannot make {os.path.dirname(self.path)}: Not a dir", self.refusal_to_open())

    def test_a_folder_that_somebody_has_named(self) -> None:
        """A slip of the pen is no new, empty queue."""
        self.path = os.path.join(self.path, "jobs.sqlite")
        self.store = self.make_store()
        self.assertIn(f"there is no folder {os.path.dirname(self.path)}", self.refusal_to_open())
        self.assertFalse(os.path.exists(os.path.dirname(self.path)))

    def test_a_lock_file_that_cannot_be_made(self) -> None:
        os.mkdir(f"{self.path}.lock")
        said = self.refusal_to_open()
        self.assertIn(f"cannot open the lock file {self.path}.lock: Is a directory", said)
        self.assertIn(f"let the server's user write the folder {os.path.dirname(self.path)}, or name", said)

    def test_a_lock_file_that_cannot_be_locked(self) -> None:
        def fail(file: Any, operation: int) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        self.patch(fcntl, "flock", fail)
        self.assertRegex(self.refusal_to_open(), r"cannot lock the file .*\.lock: No locks available")


class ManyWorkloadsTests(SQLiteCase):
    """More than come as a column each."""

    def setUp(self) -> None:
        super().setUp()
        self.store.open()
        self.kept = {number: bytes(range(256))[number:] * (number % 3) for number in range(1, 300, 2)}
        self.store.write(adding(*(addition(number, kept) for number, kept in self.kept.items())))

    def test_they_are_any_bytes_or_none(self) -> None:
        self.assertEqual(self.store.workloads(range(400)), self.kept)
        self.assertEqual(self.store.workloads(range(0, 400, 2)), {})

    def test_what_somebody_has_put_there(self) -> None:
        self.other().execute("UPDATE txgear_jobs SET workload = 'ä€' WHERE number = 101")
        self.other().execute("UPDATE txgear_jobs SET workload = NULL WHERE number = 103")
        self.other().execute("INSERT INTO txgear_workloads VALUES (103, 1.5)")
        self.kept.update({101: "ä€".encode(), 103: b"1.5"})
        self.assertEqual(self.store.workloads(range(400)), self.kept)


class AlikeTests(SQLiteCase):
    """New jobs are written with what is the same of all of them only once."""

    def setUp(self) -> None:
        super().setUp()
        self.store.open()

    def check(self, *jobs: JobRecord) -> None:
        self.store.write(adding(*((job, b"x" * job.size) for job in jobs)))
        self.assertEqual(self.store.replay(0, 100), list(jobs))
        self.assertEqual(self.store.workloads([jobs[0].number]), {jobs[0].number: b"x" * jobs[0].size})

    def test_one_job(self) -> None:
        self.check(stored(7, unique=b"u", digest=b"d" * 16, size=3))

    def test_jobs_that_differ_in_nothing(self) -> None:
        with self.assertRaises(StoreRefused):
            self.store.write(adding(addition(1), addition(1)))
        self.assertEqual(self.store.replay(0, 100), [])

    def test_jobs_that_differ_in_their_numbers_only(self) -> None:
        self.check(*(stored(number, created=5.5) for number in range(1, 12)))

    def test_each_column_may_be_another_of_one_of_them(self) -> None:
        alike = stored(1, place=50, size=1, created=5.5)
        others = (
            {"place": 51},
            {"prefix": b"H:other"},
            {"function": b"g"},
            {"unique": b"u"},
            {"digest": b"d" * 16},
            {"reducer": b"r"},
            {"priority": 2},
            {"due": 7.5},
            {"retries": 3},
            {"size": 2},
            {"created": 6.5},
        )
        for place in (0, 1, 3):
            for other in others:
                jobs = [alike._replace(number=number) for number in range(1, 5)]
                jobs[place] = jobs[place]._replace(**other)
                self.check(*jobs)
                self.store.write(deleting(range(1, 5)))


class ChangedTogetherTests(SQLiteCase):
    """Many jobs are changed by one statement; a store in memory says what is to come of it."""

    def setUp(self) -> None:
        super().setUp()
        self.store.open()
        self.memory = MemoryStore()
        self.memory.open()
        self.write(adding(*(addition(number, b"x" * 5) for number in range(1, 41))))

    def write(self, batch: Batch) -> None:
        for store in (self.store, self.memory):
            store.write(batch)

    def check(self, *updates: JobUpdate) -> None:
        self.write(Batch((), updates, ()))
        self.assertEqual(self.store.replay(0, 100), self.memory.replay(0, 100))
        self.assertEqual(sorted(self.store.lanes()), sorted(self.memory.lanes()))
        question = Waking(1e12, (0.0, 0), 100)
        self.assertEqual(self.store.rows(question), self.memory.rows(question))

    def test_jobs_that_differ_in_their_numbers_only(self) -> None:
        self.check(*(JobUpdate(number, 50, 0.0, 1) for number in range(1, 41)))

    def test_each_field_may_be_another_of_one_of_them(self) -> None:
        alike = JobUpdate(0, 50, 9.5, 1, 3, DONE, 5.5, b"{}", KEPT)
        others = (
            {"place": 51},
            {"due": 7.5},
            {"retries": 3},
            {"size": None},
            {"size": 4},
            {"ended": 6.5},
            {"history": None},
            {"history": b'{"copy_of":"H:h:1"}'},
            {"kind": NAMED},
            {"wake": 4.5},
            {"state": 0, "kind": READY, "due": 0.0},
            {"state": 0, "kind": READY},
        )
        for place in (0, 7, 15):
            for other in others:
                updates = [alike._replace(number=number) for number in range(1, 17)]
                updates[place] = updates[place]._replace(**other)
                self.check(*updates)

    def test_the_last_one_of_a_job_counts(self) -> None:
        first = [JobUpdate(number, number, 0.0, 1, 7) for number in range(1, 33)]
        again = [JobUpdate(number, 100 - number, 0.0, 2) for number in range(1, 33)]
        self.check(*(each for both in zip(first, again, strict=True) for each in both))
        self.check(*again, *first)

    def test_one_that_is_not_kept(self) -> None:
        self.check(*(JobUpdate(number, 50, 0.0, 1) for number in range(30, 60)))


class OldSQLiteTests(SQLiteCase):
    def test_one_that_is_too_old(self) -> None:
        self.patch(sqlite3.dbapi2, "sqlite_version_info", (3, 32, 3))
        self.assertIn("is 3.32.3, and has to be 3.33 or newer: use another Python", self.refusal_to_open())


class TroubleTests(SQLiteCase):
    def setUp(self) -> None:
        super().setUp()
        self.fill()
        self.store.open()

    def test_a_file_that_is_locked_by_another_program(self) -> None:
        self.pragma("busy_timeout = 0")
        other = self.other()
        other.execute("BEGIN IMMEDIATE")
        with self.assertRaises(StoreUnavailable) as caught:
            self.store.write(deleting([1]))
        self.assertEqual(str(caught.exception), "database is locked")
        # Nothing but open and close may follow, and no other server comes in between.
        with self.assertRaises(StoreUnavailable):
            self.store.known([1])
        self.assertIn("in use by another server", self.refusal_to_open(self.make_store()))
        self.each_connection("PRAGMA busy_timeout = 0")
        with self.assertRaises(StoreUnavailable):
            self.store.open()
        other.execute("COMMIT")
        self.store.open()
        self.assertEqual(self.store.known([1, 2]), {1, 2})
        self.store.write(deleting([1]))
        self.assertEqual(self.store.known([1, 2]), {2})

    def test_it_asks_for_no_more_patience_than_others_have(self) -> None:
        self.assertEqual(self.store.timeout, 0.0)

    def test_a_connection_that_is_given_up_is_closed(self) -> None:
        """However long somebody keeps the exception: the last one that is closed removes the log."""
        self.pragma("busy_timeout = 0")
        self.each_connection("PRAGMA busy_timeout = 0")
        other = self.other()
        other.execute("BEGIN IMMEDIATE")
        exceptions = [
            self.assertRaises(StoreUnavailable, self.store.write, adding(addition(4))),
            self.assertRaises(StoreUnavailable, self.store.open),
        ]
        other.close()
        self.assertFalse(os.path.exists(f"{self.path}-wal"), exceptions)
        self.store.open()
        self.store.write(adding(addition(4)))

    def test_a_locked_file_can_be_read(self) -> None:
        self.other().execute("BEGIN IMMEDIATE")
        self.assertEqual(self.store.workloads([1, 2]), {1: b"one", 2: b""})
        self.assertEqual(len(self.store.replay(0, 10)), 3)

    def test_closing_a_locked_file_keeps_the_numbers(self) -> None:
        first = self.store.reserve(100)
        self.pragma("busy_timeout = 0")
        other = self.other()
        other.execute("BEGIN IMMEDIATE")
        self.store.close(first)
        other.execute("COMMIT")
        self.store.open()
        self.assertEqual(self.store.reserve(1), first + 100)

    def test_a_full_disk(self) -> None:
        before = self.store.replay(0, 10)
        self.pragma(f"max_page_count = {self.pragma('page_count') + 10}")
        large = [addition(number, bytes(10_000)) for number in range(4, 30)]
        with self.assertRaises(StoreRefused) as caught:
            self.store.write(Batch(large, [JobUpdate(1, 5, 5.0, 5)], [2]))
        self.assertEqual(str(caught.exception), "database or disk is full")
        self.assertEqual(self.store.replay(0, 10), before)
        self.store.write(adding(large[0]))
        self.store.write(deleting([4]))
        self.pragma("max_page_count = 1000000")
        self.store.write(adding(*large))
        self.assertEqual(len(self.store.replay(0, 100)), 29)

    def test_a_disk_that_is_full_from_the_start(self) -> None:
        self.store.close(None)
        os.unlink(self.path)
        self.each_connection("PRAGMA max_page_count = 2")
        self.assertIn("is full: make room", self.refusal_to_open())

    def test_a_workload_that_is_too_large(self) -> None:
        if sys.version_info < (3, 11):
            raise SkipTest("Python 3.10 cannot set SQLite's limits")
        self.driver().setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000)
        with self.assertRaises(StoreRefused):
            self.store.write(adding(addition(4), addition(5, bytes(10_001))))
        self.assertEqual(self.store.known([1, 4, 5]), {1})

    def test_a_defect_of_the_caller_leaves_the_store_as_it_was(self) -> None:
        with self.assertRaises(OverflowError):
            self.store.write(adding(addition(4), addition(2**63)))
        self.assertEqual(self.store.known([1, 4]), {1})
        self.store.write(adding(addition(4)))
        self.assertEqual(self.store.known([1, 4]), {1, 4})

    def test_opened_again_while_it_is_open(self) -> None:
        self.store.open()
        self.assertEqual(self.store.known([1]), {1})


class MovingInTests(SQLiteCase):
    def setUp(self) -> None:
        super().setUp()
        self.store.open()

    def test_what_was_taken_over_is_known(self) -> None:
        digests = [bytes([number]) * 32 for number in range(200)] + [
            bytes(31) + b"%c" % n for n in range(1, 100)
        ]
        self.assertEqual(self.store.imported(digests), set())
        jobs = [addition(number, b"w") for number in range(1, 290)]
        self.store.take_over(jobs, digests[:290])
        self.store.write(deleting(range(1, 290)))
        self.assertEqual(self.store.imported(digests), set(digests[:290]))
        self.assertEqual(self.store.imported([]), set())

    def test_jobs_and_digests_go_together(self) -> None:
        self.store.take_over([addition(1)], [b"1" * 32])
        for jobs, digests in (([addition(2)], [b"2" * 32, b"1" * 32]), ([addition(1)], [b"2" * 32])):
            with self.assertRaises(StoreRefused):
                self.store.take_over(jobs, digests)
        self.assertEqual(self.store.known([1, 2]), {1})
        self.assertEqual(self.store.imported([b"1" * 32, b"2" * 32]), {b"1" * 32})

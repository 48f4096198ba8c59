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

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import event, inspect
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import (
    DEAD,
    KEPT,
    NAMED,
    OWN,
    PAUSED,
    READY,
    SCHEDULED,
    WAITING,
    Batch,
    InOrder,
    JobChange,
    JobRecord,
    JobUpdate,
    NewJob,
    StoredValue,
    Waking,
)
from txgear.broker.states import DONE, TO_ENDED
from txgear.errors import StoreRefused, StoreUnavailable, StoreUnusable
from txgear.interfaces import IHistoryStore
from txgear.stores import make_store, migrations, schema
from txgear.stores.memory import MemoryStore
from txgear.stores.sql import SqlStore
from txgear.test.support.batches import (
    adding,
    addition,
    changing,
    deleting,
    deleting_all,
    setting_values,
    stored,
    with_results,
)
from txgear.test.support.extras import PROPERTY, given, st
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


PAGE = 4096
"""SQLite's size of a page."""


def damage(path: str, workload: bytes) -> None:
    """Damage a page with a part of this workload, in a closed file: it begins with the next one's number."""
    with open(path, "r+b") as file:
        pages = file.read()
        for start in range(0, len(pages), PAGE):
            page = pages[start : start + PAGE]
            # Not the page of the table, which has parts of others.
            if workload * 3 in page and 0 < int.from_bytes(page[:4], "big") < len(pages) // PAGE:
                file.seek(start)
                file.write(b"\xff" * 4)
                return
    raise AssertionError("there is no such page")


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


class DamageTests(SQLiteCase):
    def test_a_file_of_something_else(self) -> None:
        with open(self.path, "wb") as file:
            file.write(b"no database " * 1000)
        self.assertIn("it is no SQLite database: move it away", self.refusal_to_open())

    def test_a_damaged_file(self) -> None:
        self.fill()
        with open(self.path, "r+b") as file:
            file.seek(4096)
            file.write(b"\x55" * 4096 * 8)
        self.assertIn("it is damaged: restore it from a backup", self.refusal_to_open())

    def test_damage_that_is_found_later(self) -> None:
        self.fill()
        self.store.open()
        other = self.other()
        other.execute("PRAGMA writable_schema = ON")
        other.execute("UPDATE sqlite_master SET rootpage = 1 WHERE name = 'txgear_workloads'")
        other.execute("PRAGMA schema_version = 1000")
        with self.assertRaises(StoreUnavailable):
            self.store.workloads([1])
        self.assertIn("restore it from a backup", self.refusal_to_open())

    def test_a_file_that_cannot_be_written(self) -> None:
        self.fill()
        self.each_connection("PRAGMA query_only = ON")
        text = self.refusal_to_open()
        self.assertIn("attempt to write a readonly database: let the server's user write the file", text)

    def test_a_place_without_a_write_ahead_log(self) -> None:
        def connect(*arguments: Any) -> sqlite3.Connection:
            return sqlite3.connect(":memory:", isolation_level=None)

        event.listen(self.store._dialect.engine, "do_connect", connect)
        self.assertIn("name a file on a local disk", self.refusal_to_open())

    def test_tables_of_somebody_else(self) -> None:
        self.other().execute("CREATE TABLE txgear_jobs (id INTEGER)")
        self.assertIn("its tables are not txgear's", self.refusal_to_open())

    def test_a_table_that_somebody_has_dropped(self) -> None:
        self.fill()
        self.other().execute("DROP TABLE txgear_numbers")
        text = self.refusal_to_open()
        self.assertIn("txgear_numbers: its tables are not all there: restore it from a backup", text)

    def test_the_numbers_are_gone(self) -> None:
        self.fill()
        self.other().execute("DELETE FROM txgear_numbers")
        self.assertIn("txgear_numbers has 0 rows instead of one", self.refusal_to_open())

    def test_errors_that_are_not_the_databases(self) -> None:
        for error, expected in ((TypeError("odd\noption"), StoreUnusable), (KeyboardInterrupt(), None)):
            store = self.make_store()

            def fail(connection: Any, record: Any, error: BaseException = error) -> None:
                raise error

            event.listen(store._dialect.engine, "connect", fail)
            with self.assertRaises(expected or type(error)) as caught:
                store.open()
            self.assertNotIn("\n", str(caught.exception))
            store.close(None)
        self.store.open()


class DamagedWorkloadTests(SQLiteCase):
    """A page of one workload is damaged."""

    def setUp(self) -> None:
        super().setUp()
        self.store.open()
        self.store.write(
            adding(*[addition(number, b"%d of them." % number * 3000) for number in range(1, 6)])
        )
        self.store.close(None)
        damage(self.path, b"3 of them.")
        self.store.open()

    def write_twice(self, batch: Batch) -> None:
        """The first time the damage is met with."""
        with self.assertRaises(StoreUnavailable):
            self.store.write(batch)
        self.store.open()
        self.store.write(batch)

    def test_the_others_are_read(self) -> None:
        with self.assertRaises(StoreUnavailable):
            self.store.workloads([1, 2, 3])
        self.store.open()
        self.assertEqual(set(self.store.workloads([1, 2, 4, 5])), {1, 2, 4, 5})

    def test_its_job_can_end(self) -> None:
        """With others, in each way; the row that cannot be removed is nobody's then."""
        self.write_twice(deleting([2, 3, 4]))
        self.assertEqual(self.store.known(range(10)), {1, 5})
        self.assertEqual(set(self.store.workloads(range(10))), {1, 5})
        self.store.write(deleting_all([1, 3, 5]))
        self.assertEqual(self.store.known(range(10)), set())

    def test_it_is_the_first_one(self) -> None:
        self.store.write(deleting([1, 2]))
        self.store.close(None)
        self.store.open()
        self.assertEqual(self.store.known(range(10)), {3, 4, 5})

    def test_it_cannot_be_replaced(self) -> None:
        """The others can, and so can all else of its job."""
        batch = changing(JobChange(3, b"g", 0, None, b"new"), JobChange(4, b"g", 0, None, b"new"))
        with self.assertRaises(StoreUnavailable):
            self.store.write(batch)
        self.store.open()
        for _ in range(2):
            with self.assertRaises(StoreRefused) as caught:
                self.store.write(batch)
            self.assertEqual(
                str(caught.exception), "the workload of job 3 is damaged, and cannot be replaced"
            )
        self.store.write(changing(JobChange(3, b"g", 0, None), batch.changes[1]))
        self.assertEqual(self.store.workloads([4]), {4: b"new"})
        self.assertEqual([job.function for job in self.store.replay(2, 2)], [b"g", b"g"])

    def test_it_can_have_a_result(self) -> None:
        self.write_twice(with_results((3, b"result"), (4, b"another")))
        self.assertEqual(self.store.results([3, 4]), {3: b"result", 4: b"another"})


class SchemaTests(SQLiteCase):
    def test_the_revisions_lead_to_the_tables(self) -> None:
        self.store.open()
        self.assert_newest()

    def assert_newest(self) -> None:
        """The tables are those of the newest revision."""
        connection = self.store._connection
        assert connection is not None
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": schema.REVISION_TABLE,
                "compare_type": True,
                "compare_server_default": True,
                # Keys have a table in place of it.
                "include_object": lambda thing, name, *others: name != schema.BY_KEY.name,
            },
        )
        # It takes several, whatever its annotation says.
        metadata: Any = [schema.jobs.metadata, schema.keys.metadata]
        self.assertEqual(compare_metadata(context, metadata), [])
        self.assertEqual(migrations.revision(connection), schema.REVISIONS[-1])
        self.assertEqual(
            {table.name for table in (*schema.TABLES, schema.history, schema.keys)} | {schema.REVISION_TABLE},
            set(inspect(connection).get_table_names()),
        )

    def test_each_revision_is_a_file(self) -> None:
        folder = os.path.join(os.path.dirname(migrations.__file__), "versions")
        names = sorted(name[:4] for name in os.listdir(folder) if name[0].isdigit())
        self.assertEqual(names, list(schema.REVISIONS))

    def test_an_upgrade_that_was_interrupted_is_done_again(self) -> None:
        self.fill()
        self.other().execute("DELETE FROM txgear_schema")
        self.store.open()
        self.assertEqual(len(self.store.replay(0, 10)), 3)
        self.assertEqual(self.store.reserve(1), 1)

    def test_a_database_of_the_first_revision(self) -> None:
        """Its jobs are kept as they are, and what is new of them is nothing."""
        jobs = self.fill_first_revision()
        self.store.open()
        self.assertEqual(self.store.replay(0, 10), jobs)
        self.assertEqual(self.store.workloads([1, 2]), {1: b"one", 2: b""})
        self.assertEqual((self.store.results([1, 2]), self.store.values()), ({}, []))
        self.assertEqual(self.store.imported([b"i" * 32]), {b"i" * 32})
        self.assertEqual(self.store.reserve(1), 100)
        self.store.write(
            Batch(
                [(stored(3, created=5.5, history=b"{}"), b"")],
                [JobUpdate(1, 1, 9.5, 0, 6, DONE, 7.5)],
                (),
                [(1, b"result")],
            )
        )
        self.assertEqual(self.store.results([1]), {1: b"result"})
        self.assertEqual(self.store.replay(2, 10), [stored(3, created=5.5, history=b"{}")])
        self.assertEqual((self.store.replay(0, 1)[0].state, self.store.replay(0, 1)[0].size), (DONE, 6))
        self.assert_newest()

    def test_an_upgrade_from_the_first_revision_that_was_interrupted(self) -> None:
        """Not by SQLite, where it is one transaction; but it shows that it may be anywhere."""
        steps = (
            "ALTER TABLE txgear_jobs ADD COLUMN created DOUBLE DEFAULT 0 NOT NULL",
            "ALTER TABLE txgear_jobs ADD COLUMN state SMALLINT DEFAULT 0 NOT NULL",
            "ALTER TABLE txgear_jobs ADD COLUMN ended DOUBLE DEFAULT 0 NOT NULL",
            "ALTER TABLE txgear_jobs ADD COLUMN life BLOB",
            "CREATE TABLE txgear_results (number INTEGER NOT NULL PRIMARY KEY, result BLOB NOT NULL)",
        )
        for count in range(len(steps) + 1):
            self.path = os.path.realpath(self.mktemp())
            self.store = self.make_store()
            jobs = self.fill_first_revision()
            for step in steps[:count]:
                self.other().execute(step)
            self.store.open()
            self.assertEqual(self.store.replay(0, 10), jobs)
            self.assert_newest()

    def test_an_upgrade_from_the_second_revision_that_was_interrupted(self) -> None:
        steps = (
            "ALTER TABLE txgear_marks ADD COLUMN note BLOB",
            "CREATE TABLE txgear_history (number INTEGER NOT NULL PRIMARY KEY, chunk BLOB NOT NULL)",
        )
        for count in range(len(steps) + 1):
            self.path = os.path.realpath(self.mktemp())
            self.store = self.make_store()
            self.make_revision("0002")
            other = self.other()
            other.execute("INSERT INTO txgear_marks VALUES (?, 1, ?, 5.5)", (bytes(32), b"f"))
            for step in steps[:count]:
                other.execute(step)
            self.store.open()
            self.assertEqual(self.store.values(), [StoredValue(PAUSED, b"f", 5.5)])
            self.assertEqual(self.store.history(0, 10), [])
            self.assert_newest()

    def test_history_that_is_no_bytes(self) -> None:
        self.store.open()
        self.store.put_history([(1, b"one")], [])
        other = self.other()
        for number, value in ((2, "two"), (3, 3), (4, 4.5)):
            other.execute("INSERT INTO txgear_history VALUES (?, ?)", (number, value))
        self.assertEqual(self.store.history(0, 10), [(1, b"one"), (2, b""), (3, b""), (4, b"")])

    def make_revision(self, revision: str) -> None:
        """Leave a file with the tables of an earlier revision."""
        connection = self.store._dialect.engine.connect()
        self.store._dialect.prepare()
        migrations.upgrade(connection, revision)
        connection.commit()
        connection.close()
        self.store.close(None)

    def fill_first_revision(self) -> list[JobRecord]:
        """Leave a file as the first revision made it, with two jobs in it."""
        self.make_revision("0001")
        jobs = [
            stored(1, place=9, function=b"\0\xff", unique=b"u", due=0.5, retries=3, size=3),
            stored(2, digest=b"d" * 16, unique=b"-", reducer=b"r", priority=0),
        ]
        other = self.other()
        self.assertEqual(other.execute("SELECT version_num FROM txgear_schema").fetchall(), [("0001",)])
        columns = [row[1] for row in other.execute("PRAGMA table_info(txgear_jobs)")]
        self.assertEqual(len(columns), 11)
        for job in jobs:
            other.execute("INSERT INTO txgear_jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", job[:11])
        other.execute("INSERT INTO txgear_workloads VALUES (1, ?)", (b"one",))
        other.execute("UPDATE txgear_numbers SET next = 100")
        other.execute("INSERT INTO txgear_imported VALUES (?)", (b"i" * 32,))
        return jobs

    def test_a_revision_that_is_not_known_yet(self) -> None:
        self.fill()
        self.other().execute("UPDATE txgear_schema SET version_num = '0999'")
        self.assertIn("was written by a newer txgear (its schema is 0999,", self.refusal_to_open())
        self.assertEqual(self.other().execute("SELECT count(*) FROM txgear_jobs").fetchone(), (3,))


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


NUMBERS = st.integers(1, 12)
TIMES = st.floats(0, 1e10)
LIVES = st.none() | st.binary(max_size=5)


@st.composite
def new_jobs(draw: st.DrawFn) -> NewJob:
    job, workload = addition(draw(NUMBERS), draw(st.binary(max_size=5)))
    return job._replace(created=draw(TIMES), history=draw(LIVES)), workload


MOVES = st.builds(
    JobUpdate,
    NUMBERS,
    NUMBERS,
    TIMES,
    st.integers(0, 9),
    st.none() | st.integers(0, 2**40),
    st.sampled_from([0, *TO_ENDED]),
    TIMES,
    LIVES,
    st.sampled_from([READY, WAITING, KEPT, DEAD + OWN]),
    TIMES,
)
VALUES = st.builds(
    StoredValue, st.sampled_from([PAUSED, SCHEDULED]), st.sampled_from([b"", b"f", b"g"]), TIMES
)


@st.composite
def batches(draw: st.DrawFn, kept: set[int]) -> Batch:
    """
    A batch that a journal may write. Its results are of jobs that are kept or new, and it deletes none yet.

    @param kept: the jobs that there are, of which some may have results.
    """
    added = draw(st.lists(new_jobs(), max_size=6))
    there = sorted(kept | {job.number for job, _ in added})
    results = draw(st.dictionaries(st.sampled_from(there), st.binary(max_size=5))) if there else {}
    values = draw(st.lists(VALUES, max_size=4, unique_by=lambda value: (value.kind, value.name)))
    return Batch(
        added,
        draw(st.lists(MOVES, max_size=6)),
        [],
        list(results.items()),
        draw(st.lists(NUMBERS, max_size=6)),
        values,
    )


class ModelTests(SQLiteCase):
    @PROPERTY
    @given(st.data())
    def test_it_agrees_with_the_store_in_memory(self, data: st.DataObject) -> None:
        self.store.open()
        # What is tried here is not the disk.
        self.pragma("synchronous = OFF")
        memory = MemoryStore()
        memory.open()
        self.store.write(deleting_all(range(1, 13)))
        self.store.write(setting_values(*(value._replace(value=0.0) for value in self.store.values())))
        having_results: set[int] = set()
        for _ in range(data.draw(st.integers(1, 5))):
            batch = data.draw(batches(memory.known(range(13))))
            having_results |= {number for number, _ in batch.results}
            # Those that have results are deleted with them.
            deleted = data.draw(st.lists(NUMBERS, max_size=6))
            batch = batch._replace(deleted=[number for number in deleted if number not in having_results])
            outcomes = []
            for store in (self.store, memory):
                try:
                    store.write(batch)
                except StoreRefused:
                    outcomes.append(False)
                else:
                    outcomes.append(True)
            self.assertEqual(*outcomes)
            # More than are read as a column each.
            numbers = range(1, 40)
            everything = InOrder(0, 99)
            self.assertEqual(self.store.rows(everything), memory.rows(everything))
            self.assertEqual(
                [job[:15] for job in self.store.replay(0, 99)], [job[:15] for job in memory.replay(0, 99)]
            )
            self.assertEqual(self.store.workloads(numbers), memory.workloads(numbers))
            self.assertEqual(self.store.results(numbers), memory.results(numbers))
            self.assertEqual(self.store.known(numbers), memory.known(numbers))
            self.assertEqual(sorted(self.store.values()), sorted(memory.values()))
            self.assertEqual(sorted(self.store.lanes()), sorted(memory.lanes()))

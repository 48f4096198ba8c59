"""Tests of L{txgear.stores.migrations} on SQLite files: those of earlier versions, and of later ones."""

from __future__ import annotations

import os
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from txgear.broker.records import PAUSED, Batch, JobRecord, JobUpdate, StoredValue
from txgear.broker.states import DONE
from txgear.stores import migrations, schema
from txgear.test.stores.test_sqlite import SQLiteCase
from txgear.test.support.batches import stored


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

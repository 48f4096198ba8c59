"""Tests of L{txgear.stores.claims}, with SQLite in memory; tests/test_cluster_claims.py has real ones."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.schema import CreateTable
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import PAUSED, SCHEDULED, Batch, DoneElsewhere, Naming, NewJob, StoredValue
from txgear.broker.states import DEAD, DONE
from txgear.stores import schema
from txgear.stores.claims import Claims
from txgear.stores.parts import Parts
from txgear.stores.places import Tally
from txgear.stores.repeats import Undone
from txgear.stores.sqlite import SQLite
from txgear.stores.statements import ROW_BYTES, Statements
from txgear.stores.verdicts import Verdict
from txgear.test.support.batches import adding, addition, deleting, deleting_all, stored


def named(number: int, unique: bytes = b"u", **rest: bytes) -> NewJob:
    return stored(number, unique=unique, **rest), b""  # type: ignore[arg-type]


def sha256(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


class QuickStatements(Statements):
    """Those of a database that works out what stands for names by itself, as those of servers do."""

    text_of_claim = (
        "INSERT OR IGNORE INTO txgear_claims (digest, number) SELECT substr(sha256(joined(?, uniq, function,"
        " digest)), 1, 16), number FROM txgear_jobs WHERE number IN ({}) ORDER BY 1"
    )

    def claim(self, cursor: DBAPICursor, salt: bytes, numbers: Sequence[int]) -> int:
        marks = ", ".join("?" * len(numbers))
        cursor.execute(self.text_of_claim.format(marks), (salt, *numbers))
        return cursor.rowcount

    @staticmethod
    def joined(salt: bytes, unique: bytes, function: bytes, digest: bytes | None) -> bytes:
        """What is to be the same in Python and in each database's SQL."""
        return salt + bytes([len(unique)]) + unique + function + (digest or b"")


class ClaimsTestCase(SynchronousTestCase):
    def make_statements(self, statements: Statements) -> Statements:
        return statements

    def setUp(self) -> None:
        dialect = SQLite("/jobs")
        self.statements = self.make_statements(dialect.statements)
        self.connection = sqlite3.connect(":memory:")
        self.addCleanup(self.connection.close)
        self.connection.create_function("joined", 4, QuickStatements.joined)
        self.connection.create_function("sha256", 1, sha256)
        self.cursor: Any = self.connection.cursor()
        for table in (schema.jobs, schema.claims, schema.stored_values):
            self.cursor.execute(str(CreateTable(table).compile(dialect=self.statements.dialect)))
        self.salt = b"s" * 16
        self.claims = Claims(self.statements, dialect.questions, lambda: self.salt)

    def write(self, batch: Batch) -> list[StoredValue]:
        """As a store does it, as far as it matters; what values are left."""
        self.connection.commit()
        if batch.new_jobs:
            columns = [
                *Parts(b"").new_columns(batch.new_jobs, Tally()),
                [workload for _, workload in batch.new_jobs],
            ]
            self.statements.insert_jobs(self.cursor, columns, [ROW_BYTES] * len(batch.new_jobs))
        try:
            values = self.claims.take(self.cursor, batch)
        except DoneElsewhere:
            self.connection.rollback()
            raise
        gone = [*batch.deleted, *batch.deleted_all]
        self.claims.let_go(self.cursor, batch, gone)
        self.statements.delete(self.cursor, schema.jobs, gone)
        return values

    def held(self) -> list[int]:
        self.cursor.execute("SELECT number FROM txgear_claims ORDER BY number")
        return [number for (number,) in self.cursor.fetchall()]

    def joined(self, batch: Batch) -> dict[int, int]:
        """By the numbers of a batch's jobs those that have their names."""
        error = self.assertRaises(DoneElsewhere, self.write, batch)
        return {number: record.number for number, record in error.joined.items()}


class NamesTests(ClaimsTestCase):
    def test_one_of_each(self) -> None:
        """A name is a function and a unique, or a function and a workload."""
        digest = b"d" * 16
        self.write(
            adding(
                *(named(1), named(2, function=b"g"), named(3, b"v"), addition(4), named(5, b"-")),
                named(6, b"-", digest=digest),
                # What looks like the others'.
                named(7, b"", function=b"f1:u"),
                named(8, digest, function=b"f"),
            )
        )
        self.assertEqual(self.held(), [1, 2, 3, 6, 8])
        self.assertEqual(self.joined(adding(named(9), addition(10), named(11, b"new"))), {9: 1})
        self.assertEqual(self.joined(adding(named(9, b"-", digest=digest))), {9: 6})
        self.write(adding(named(9, b"-", digest=b"e" * 16)))

    def test_whoever_does_not_know_the_salt_cannot_find_the_same(self) -> None:
        self.write(adding(named(1)))
        self.salt = b"t" * 16
        self.write(adding(named(2)))
        self.assertEqual(self.held(), [1, 2])

    def test_very_many(self) -> None:
        self.write(adding(*(named(number, b"%d" % number) for number in range(1, 700))))
        again = adding(*(named(number + 1000, b"%d" % number) for number in range(1, 700)))
        self.assertEqual(self.joined(again), {number + 1000: number for number in range(1, 700)})
        self.write(deleting(range(1, 700)))
        self.assertEqual(self.held(), [])

    def test_it_ends(self) -> None:
        self.write(adding(named(1), named(2, b"v"), named(3, b"w")))
        self.write(deleting([1])._replace(deleted_all=[2]))
        self.assertEqual(self.held(), [3])
        self.write(adding(named(4), named(5, b"v")))
        self.assertEqual(self.held(), [3, 4, 5])

    def test_one_ends_and_one_comes_at_once(self) -> None:
        self.write(adding(named(1)))
        self.write(Batch([named(2)], (), [1]))
        self.assertEqual(self.held(), [2])
        self.write(Batch([named(3)], (), (), deleted_all=[2]))
        self.assertEqual(self.held(), [3])
        # Two of them at once, of which one has ended already.
        self.write(Batch([named(4), named(5)], (), [3, 4]))
        self.assertEqual(self.held(), [5])
        self.write(Batch([named(6), named(7)], (), [5, 6, 7]))
        self.assertEqual(self.held(), [])

    def test_of_two_in_one_batch_the_last_has_it(self) -> None:
        self.write(adding(named(1), named(2)))
        self.assertEqual(self.held(), [2])

    def test_a_claim_that_does_not_count(self) -> None:
        """Its job is not there, has ended otherwise than done, or has another name."""
        changes: list[tuple[str, tuple[Any, ...]]] = [
            ("DELETE FROM txgear_jobs", ()),
            ("UPDATE txgear_jobs SET state = ?", (DEAD,)),
            ("UPDATE txgear_jobs SET function = ?", (b"g",)),
        ]
        for change in changes:
            with self.subTest(change):
                self.write(adding(named(1)))
                self.cursor.execute(*change)
                self.write(adding(named(2)))
                self.assertEqual(self.held(), [2])
                self.cursor.execute("DELETE FROM txgear_jobs")
                self.write(deleting([2]))

    def test_one_that_is_done_counts(self) -> None:
        """Until somebody says that it does not, whoever that is."""
        self.write(adding(named(1)))
        self.cursor.execute("UPDATE txgear_jobs SET state = ?", (DONE,))
        self.assertEqual(self.joined(adding(named(2))), {2: 1})
        self.write(adding(named(2))._replace(names=[Naming(1)]))
        self.assertEqual(self.held(), [2])

    def test_what_is_said_of_one(self) -> None:
        self.write(adding(named(1), named(2, b"v")))
        self.write(Batch((), (), (), names=[Naming(1, b"g", b"u"), Naming(2)]))
        self.cursor.execute("UPDATE txgear_jobs SET function = ?", (b"g",))
        self.assertEqual(self.held(), [1])
        batch = adding(named(3), named(4, b"v"), named(5, function=b"g"))
        self.assertEqual(self.joined(batch), {5: 1})
        # Another has that: it goes without.
        self.write(adding(named(3)))
        self.write(Batch((), (), (), names=[Naming(1, b"f", b"u")]))
        self.assertEqual(self.held(), [3])
        # Of one that is over nothing is.
        self.write(Batch((), (), [1], names=[Naming(1, b"f", b"x")]))
        self.assertEqual(self.held(), [3])

    def test_what_is_said_of_a_new_one(self) -> None:
        self.write(adding(named(1), named(2, b"v"))._replace(names=[Naming(1, b"f", 5), Naming(2)]))
        self.assertEqual(self.held(), [1])
        number = (5).to_bytes(16, "big")
        self.cursor.execute("UPDATE txgear_jobs SET uniq = ?, digest = ? WHERE number = 1", (b"-", number))
        self.assertEqual(self.joined(adding(named(3, b"-", digest=number), named(4))), {3: 1})

    def test_somebody_takes_it_meanwhile(self) -> None:
        """It is tried again from the beginning."""
        self.write(adding(named(1)))
        held = self.claims._held

        def changed(cursor: Any, digests: list[bytes]) -> dict[bytes, int]:
            found = held(cursor, digests)
            cursor.execute("UPDATE txgear_claims SET number = 7")
            return found

        self.claims._held = changed  # type: ignore[method-assign]
        self.cursor.execute("DELETE FROM txgear_jobs")
        undone = self.assertRaises(Undone, self.write, adding(named(2)))
        self.assertEqual(undone.verdict, Verdict.CONFLICT)


class QuickNamesTests(NamesTests):
    """The same where the database works out by itself what stands for the names of new jobs."""

    def make_statements(self, statements: Statements) -> Statements:
        return QuickStatements(statements.dialect)

    def test_it_is_one_statement(self) -> None:
        """Where no name is anybody's; and where one is its digest is the same."""
        said: list[str] = []
        self.connection.set_trace_callback(said.append)
        digest = b"d" * 16
        rows = [named(1), named(2, b"v", function=b"g"), addition(3), named(4, b"-", digest=digest)]
        self.write(adding(*rows))
        self.assertEqual(len([text for text in said if "txgear_claims" in text]), 1)
        self.assertEqual(self.held(), [1, 2, 4])
        again = [named(11), named(12, b"v", function=b"g"), named(14, b"-", digest=digest)]
        self.assertEqual(self.joined(adding(*again)), {11: 1, 12: 2, 14: 4})

    def test_a_job_that_gets_another_name_at_once(self) -> None:
        """Its own is not taken."""
        self.write(adding(named(1))._replace(names=[Naming(1, b"f", b"v")]))
        self.write(adding(named(2)))
        self.cursor.execute("UPDATE txgear_jobs SET uniq = ? WHERE number = 1", (b"v",))
        self.assertEqual(self.joined(adding(named(3, b"v"))), {3: 1})


class TimesTests(ClaimsTestCase):
    def due(self, number: int, at: float, name: bytes = b"s") -> Batch:
        return adding(addition(number))._replace(values=[StoredValue(SCHEDULED, name, at, number)])

    def mark(self, at: float, number: int = 0, text: str = "") -> Batch:
        return Batch((), (), (), values=[StoredValue(SCHEDULED, b"s", at, number, text)])

    def marks(self) -> list[tuple[bytes, float, bytes | None]]:
        self.cursor.execute("SELECT name, value, note FROM txgear_marks ORDER BY name")
        return list(self.cursor.fetchall())

    def passed(self, batch: Batch) -> dict[int, bytes]:
        error = self.assertRaises(DoneElsewhere, self.write, batch)
        assert isinstance(error, DoneElsewhere)
        self.assertEqual(error.joined, {})
        return error.passed

    def test_each_time_is_one_job(self) -> None:
        self.write(self.due(1, 60.0))
        self.write(self.due(2, 60.0, b"t"))
        self.assertEqual(self.marks(), [(b"s", 60.0, b"H:test:1"), (b"t", 60.0, b"H:test:2")])
        for at in (60.0, 59.0):
            self.assertEqual(self.passed(self.due(3, at)), {3: b"H:test:1"})
        self.write(self.due(3, 60.5))
        self.assertEqual(self.marks()[0], (b"s", 60.5, b"H:test:3"))

    def test_a_time_without_a_job_of_its_own(self) -> None:
        self.write(self.mark(60.0))
        self.assertEqual(self.passed(self.due(1, 60.0)), {1: b""})
        self.write(self.mark(120.0, text="H:other:9"))
        self.assertEqual(self.passed(self.due(1, 120.0)), {1: b"H:other:9"})
        self.write(self.mark(119.0, text="H:other:8"))
        self.assertEqual(self.marks(), [(b"s", 120.0, b"H:other:9")])

    def test_it_is_put_back(self) -> None:
        """Where it came with a job that is not to be there after all, and nobody was later."""
        self.write(self.due(1, 60.0))
        self.write(self.mark(0.5, 2, "H:test:2"))
        self.assertEqual(self.marks(), [(b"s", 60.0, b"H:test:1")])
        self.write(self.mark(0.5, 1, "H:test:1"))
        self.assertEqual(self.marks(), [(b"s", 0.5, None)])
        self.write(self.due(3, 60.0))

    def test_what_is_no_time(self) -> None:
        """That is put as it is."""
        values = [StoredValue(PAUSED, b"f", 1.0), StoredValue(SCHEDULED, b"s", 0.0)]
        batch = self.due(1, 60.0)
        self.assertEqual(self.write(batch._replace(values=[*values, *batch.values])), values)

    def test_one_that_has_joined_another(self) -> None:
        """It has no time."""
        self.write(adding(named(1)))
        batch = adding(named(2))._replace(values=[StoredValue(SCHEDULED, b"s", 60.0, 2)])
        self.assertEqual(self.joined(batch), {2: 1})
        self.assertEqual(self.marks(), [])


class UnchangedTests(ClaimsTestCase):
    def test_jobs_without_names_cost_no_statement(self) -> None:
        said: list[str] = []
        self.connection.set_trace_callback(said.append)
        batch = adding(addition(1), addition(2))
        self.assertEqual(self.claims.take(self.cursor, batch), [])
        self.claims.let_go(self.cursor, deleting_all([1, 2]), ())
        self.assertEqual(said, [])

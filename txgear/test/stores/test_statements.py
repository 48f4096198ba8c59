"""Tests of L{txgear.stores.statements}, and of what the dialects make of errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.sql import ClauseElement
from twisted.trial.unittest import SynchronousTestCase

from txgear.stores import schema
from txgear.stores.dialects import StoreDialect
from txgear.stores.lanecounts import LaneCounts
from txgear.stores.mysql import MySQL, MySQLStatements
from txgear.stores.places import Tally
from txgear.stores.postgresql import PostgreSQL
from txgear.stores.sql import OPENING_ADVICE
from txgear.stores.sqlite import SQLite
from txgear.stores.statements import MOST_ROWS, row_slices
from txgear.stores.verdicts import Verdict
from txgear.test.support.extras import PROPERTY, given, needs, st


class RunsTests(SynchronousTestCase):
    def rows(self, weights: Sequence[int], most: int = 1000) -> list[int]:
        return [run.stop - run.start for run in row_slices(weights, most)]

    def test_few_sizes(self) -> None:
        self.assertEqual(self.rows([]), [])
        self.assertEqual(self.rows([1]), [1])
        self.assertEqual(self.rows([1] * 7), [4, 2, 1])
        self.assertEqual(self.rows([1] * (2 * MOST_ROWS + 66)), [MOST_ROWS, MOST_ROWS, 64, 2])

    def test_no_run_is_too_heavy(self) -> None:
        self.assertEqual(self.rows([300] * 8), [2, 2, 2, 2])
        self.assertEqual(self.rows([1000, 1001, 5, 5]), [1, 1, 2])
        self.assertEqual(self.rows([1, 1, 1, 9999]), [2, 1, 1])

    @PROPERTY
    @given(st.lists(st.integers(0, 600), max_size=700), st.integers(0, 2000))
    def test_every_row_is_in_one_run(self, weights: list[int], most: int) -> None:
        cut = list(row_slices(weights, most))
        self.assertEqual(
            [row for run in cut for row in range(run.start, run.stop)], list(range(len(weights)))
        )
        for run in cut:
            size = run.stop - run.start
            self.assertEqual(size & (size - 1), 0)
            self.assertTrue(size == 1 or sum(weights[run]) <= most)


class ListsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.key_lists = SQLite("/jobs").statements.key_lists

    def test_the_last_key_fills_a_list_up(self) -> None:
        self.assertEqual(list(self.key_lists([])), [])
        self.assertEqual(list(self.key_lists([7])), [(7,)])
        self.assertEqual(list(self.key_lists([1, 2, 3, 4, 5])), [(1, 2, 3, 4, 5, 5, 5, 5)])

    @PROPERTY
    @given(st.lists(st.integers(), max_size=700))
    def test_every_key_is_in_its_turn(self, keys: list[int]) -> None:
        cut = list(self.key_lists(keys))
        self.assertTrue(all(len(part) in (1, 2, 4, 8, 16, 32, 64, 128, MOST_ROWS) for part in cut))
        self.assertEqual([key for part in cut for key in part][: len(keys)], keys)
        self.assertTrue(all(key == keys[-1] for part in cut[-1:] for key in part[len(keys) % MOST_ROWS :]))


class TextsTests(SynchronousTestCase):
    def test_sql(self) -> None:
        statements = SQLite("/jobs").statements
        insert = "INSERT INTO txgear_workloads (number, workload) VALUES (?, ?), (?, ?)"
        delete = "DELETE FROM txgear_workloads WHERE txgear_workloads.number IN (?, ?)"
        self.assertEqual(statements._insert_text(schema.workloads, 2), insert)
        self.assertEqual(statements._delete_text(schema.workloads.c.number, 2), delete)
        self.assertIs(statements._insert_text(schema.jobs, 256), statements._insert_text(schema.jobs, 256))

    @needs("pymysql")
    def test_mysql_has_those_of_new_jobs_at_once(self) -> None:
        """They are for any number of rows: no submit waits until they are made."""
        made: list[str] = []

        class Noting(MySQLStatements):
            def text(self, clause: ClauseElement) -> str:
                made.append(super().text(clause))
                return made[-1]

        statements = Noting(MySQL("mysql://db/jobs", None, 5.0).statements.dialect)
        counts = LaneCounts(statements)
        said: Any = Said()
        there = set(made)
        made.clear()
        for table in (schema.jobs, schema.workloads, schema.lanes):
            statements.insert(said, table, [(1,), (2,)], [1, 1])
        statements.known(said, schema.lanes, [1, 2])
        counts.before(said, Tally(), [1, 2])
        self.assertEqual(made, [])
        texts = [text for text, _ in said.texts]
        self.assertEqual(len(texts), 5)
        self.assertEqual(
            [text.split()[0] for text in texts], ["INSERT", "INSERT", "INSERT", "SELECT", "SELECT"]
        )
        # Of an INSERT the rows follow.
        self.assertTrue(
            all(any(each.startswith(text.removesuffix("%s")) for each in there) for text in texts)
        )


class Said:
    """A cursor that is told statements, each of which changes three rows."""

    rowcount = 3

    def __init__(self) -> None:
        self.texts: list[tuple[Any, ...]] = []

    def execute(self, *said: Any) -> None:
        self.texts.append(said)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return []


class ClaimTests(SynchronousTestCase):
    """How the names of new jobs are taken; tests/test_cluster_claims.py has what comes of it."""

    def claimed(self, dialect: StoreDialect, numbers: Sequence[int]) -> tuple[int, list[tuple[Any, ...]]]:
        said: Any = Said()
        return dialect.statements.claim(said, b"salt", numbers), said.texts

    @needs("psycopg")
    def test_postgresql(self) -> None:
        """One statement, which says no more than the first and the last number where it can."""
        text = (
            "INSERT INTO txgear_claims (digest, number) SELECT substr(sha256(%s::bytea ||"
            " set_byte('\\x00'::bytea, 0, length(uniq)) || uniq || function || coalesce(digest, '')), 1, 16),"
            " number FROM txgear_jobs WHERE number {} ORDER BY 1 ON CONFLICT DO NOTHING"
        )
        dialect = PostgreSQL("postgresql://db/jobs", None, 5.0)
        rows, some = "BETWEEN %s AND %s", "= ANY(%s::bigint[])"
        for numbers, where, parameters in (
            ([5, 6, 7], rows, (5, 7)),
            ([7, 5, 6], rows, (5, 7)),
            ([5], rows, (5, 5)),
            ([5, 7], some, ("{5,7}",)),
            ([5, 6, 8], some, ("{5,6,8}",)),
        ):
            said = text.format(where), (b"salt", *parameters)
            self.assertEqual(self.claimed(dialect, numbers), (3, [said]))

    @needs("pymysql")
    def test_mysql(self) -> None:
        """It names each row, and not too many of them: of a thousand MariaDB makes a table."""
        text = (
            "INSERT IGNORE INTO txgear_claims (digest, number) SELECT LEFT(UNHEX(SHA2(CONCAT(%s,"
            " CHAR(LENGTH(uniq)), uniq, function, COALESCE(digest, '')), 256)), 16), number FROM txgear_jobs"
            " FORCE INDEX (PRIMARY) WHERE number IN (%s) ORDER BY 1"
        )
        dialect = MySQL("mysql://db/jobs", None, 5.0)
        for numbers, lists in (([5, 6, 8], [[5, 6, 8]]), (range(300), [range(256), range(256, 300)])):
            claimed, said = self.claimed(dialect, numbers)
            self.assertEqual((claimed, [each for each, _ in said]), (3 * len(lists), [text] * len(lists)))
            self.assertEqual([salt for _, (salt, _) in said], [b"salt"] * len(lists))
            self.assertEqual([listed.values for _, (_, listed) in said], lists)

    def test_sqlite(self) -> None:
        """Nobody shares it."""
        self.assertEqual(self.claimed(SQLite("/jobs"), [5]), (0, []))


class ErrorsTests(SynchronousTestCase):
    """What drivers raise, where no server can be made to."""

    def check(self, dialect: StoreDialect, error: BaseException, refuses: bool, advice: str) -> None:
        verdict = dialect.verdict(error)
        self.assertEqual(verdict is Verdict.REFUSED, refuses, repr(error))
        if verdict is Verdict.READ_ONLY:
            self.assertIn(advice, OPENING_ADVICE[verdict])
            return
        self.assertIn(advice, dialect.remedy(error))
        self.assertTrue(advice or not dialect.remedy(error), repr(error))

    @needs("psycopg")
    def test_postgresql(self) -> None:
        import psycopg

        dialect = PostgreSQL("postgresql://db/jobs", None, 5.0)
        for state, refuses, advice in (
            ("53100", True, ""),
            ("54000", True, ""),
            ("53300", False, ""),
            ("57P03", False, ""),
            ("57014", False, ""),
            ("55P03", False, ""),
            ("28P01", False, "password"),
            ("3D000", False, "database"),
            ("42501", False, "let the server's user"),
            ("42P01", False, "not all there"),
            ("25006", False, "read-only"),
        ):
            error = psycopg.errors.lookup(state)("some words")
            self.check(dialect, error, refuses, advice)
            self.assertEqual(dialect.message(error), "some words")
        for message, advice in (
            ('FATAL:  password authentication failed for user "me"', "password"),
            ('FATAL:  database "jobs" does not exist', "password"),
            ("fe_sendauth: no password supplied", "--store-password-file or TXGEAR_STORE_PASSWORD gives"),
            ('FATAL:  no pg_hba.conf entry for host "::1"', "password"),
            ('FATAL:  role "me" is not permitted to log in', "password"),
            ("FATAL:  the database system is starting up", ""),
            ("Connection refused", ""),
        ):
            self.check(dialect, psycopg.OperationalError(message), False, advice)
        self.check(dialect, psycopg.ProgrammingError('invalid connection option "a"'), False, "URL")

    @needs("pymysql")
    def test_mysql(self) -> None:
        import pymysql

        dialect = MySQL("mysql://db/jobs", None, 5.0)
        for number, message, refuses, advice in (
            (1021, "Disk full", True, ""),
            (1114, "The table is full", True, ""),
            (1118, "Row size too large", True, ""),
            (1030, 'Got error 28 "No space left on device" from storage engine', True, ""),
            (1030, 'Got error 5 "Input/output error" from storage engine', False, ""),
            (1040, "Too many connections", False, ""),
            (1205, "Lock wait timeout exceeded", False, ""),
            (2003, "Can't connect", False, ""),
            (2013, "Lost connection", False, ""),
            (1045, "Access denied", False, "password"),
            (1049, "Unknown database", False, "database"),
            (1142, "INSERT command denied", False, "let the server's user"),
            (1146, "Table doesn't exist", False, "not all there"),
            (1290, "running with the --read-only option", False, "read-only"),
        ):
            error = pymysql.OperationalError(number, message)
            self.check(dialect, error, refuses, advice)
            self.assertEqual(dialect.message(error), message)
        for odd in (pymysql.Error("Already closed"), pymysql.InterfaceError()):
            self.check(dialect, odd, False, "")
        self.assertEqual(dialect.message(pymysql.Error("Already closed")), "Already closed")

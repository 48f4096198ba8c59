"""Tests of L{txgear.stores.listed}, and of what PyMySQL's connection and cursor make of it."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, cast
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from txgear.stores import schema
from txgear.stores.listed import Rows, Selected, Values
from txgear.stores.mysql import MySQL
from txgear.stores.statements import MOST_ROWS
from txgear.test.support.extras import PROPERTY, given, needs, reason, st

if not reason("pymysql"):
    from pymysql import Connection, ProgrammingError

    from txgear.stores.pymysqlconnection import PyMySQLConnection

VALUES = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.binary(max_size=20),
    st.none(),
    st.text(max_size=20),
    st.booleans(),
)


class Kind(IntEnum):
    ONE = 1


@skipUnless(not reason("pymysql"), reason("pymysql"))
class WritingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = cast(Any, PyMySQLConnection(defer_connect=True))
        self.driver = cast(Any, Connection(defer_connect=True))
        # What the database says of itself: backslashes escape.
        self.connection.server_status = self.driver.server_status = 0

    def written(self, text: str, *parameters: Any) -> str:
        found: str = self.connection.cursor().mogrify(text, parameters)
        return found

    def test_values(self) -> None:
        values = [1, -2.5, 1e300, b"\x00'\\", None]
        self.assertEqual(
            self.written("a IN (%s) AND b = %s", Values(values), 7),
            "a IN (1, -2.5e0, 1e+300, X'00275c', NULL) AND b = 7",
        )

    def test_rows(self) -> None:
        rows = [(1, b"", None), (2, b"\xff", 0.5)]
        self.assertEqual(self.written("VALUES %s", Rows(rows)), "VALUES (1, X'', NULL), (2, X'ff', 0.5e0)")

    def test_a_table(self) -> None:
        self.assertEqual(self.written("(%s) AS t", Selected([1])), "(SELECT 1 AS value) AS t")
        self.assertEqual(
            self.written("(%s)", Selected([b"\x01", "it's", 3])),
            r"(SELECT X'01' AS value UNION ALL SELECT 'it\'s' UNION ALL SELECT 3)",
        )

    def test_a_table_of_mariadb(self) -> None:
        """It has rows by themselves, which MySQL writes in another way."""
        self.connection.server_version = "5.5.5-10.11.19-MariaDB-0+deb12u1"
        self.assertEqual(self.written("(%s) AS t", Selected([1])), "(SELECT 1 AS value) AS t")
        self.assertEqual(
            self.written("(%s)", Selected([b"\x01", "it's", 3])),
            r"(SELECT X'01' AS value UNION ALL VALUES ('it\'s'), (3))",
        )

    def test_others_are_left_to_the_driver(self) -> None:
        self.assertEqual(self.written("%s", Values(["it's %s", True, Kind.ONE])), r"'it\'s %s', 1, '1'")
        self.assertEqual(self.written("%s", "it's"), r"'it\'s'")

    def test_what_is_no_number(self) -> None:
        for value in (float("inf"), float("nan")):
            error = self.assertRaises(ProgrammingError, self.written, "%s", Values([value]))
            self.assertIn("can not be used with MySQL", str(error))

    @PROPERTY
    @given(st.lists(VALUES, min_size=1, max_size=5))
    def test_it_is_what_the_driver_writes(self, values: list[Any]) -> None:
        # Of bytes there are several ways, by its version.
        values = [value for value in values if not isinstance(value, bytes)] or [0]
        each = [self.driver.cursor().mogrify("%s", (value,)) for value in values]
        self.assertEqual([self.written("%s", value) for value in values], each)
        self.assertEqual(self.written("%s", Values(values)), ", ".join(each))
        self.assertEqual(self.written("%s", Rows([values])), f"({', '.join(each)})")


class ListsTests(SynchronousTestCase):
    """How L{MySQL} divides keys and rows among statements."""

    @needs("pymysql")
    def setUp(self) -> None:
        self.statements = MySQL("mysql://db/jobs", None, 5.0).statements

    def rows(self, weights: list[int], most: int = 1000) -> list[int]:
        self.statements.most_bytes = most
        rows = [(number,) for number in range(len(weights))]
        parts = list(self.statements.row_lists(rows, weights))
        self.assertTrue(all(count == 1 for count, _ in parts))
        self.assertEqual([row for _, (part,) in parts for row in part.rows], rows)
        return [len(part.rows) for _, (part,) in parts]

    @needs("pymysql")
    def test_rows(self) -> None:
        self.assertEqual(self.rows([]), [])
        self.assertEqual(self.rows([1]), [1])
        self.assertEqual(self.rows([1] * 7), [7])
        self.assertEqual(self.rows([1] * (2 * MOST_ROWS + 66), 10_000), [MOST_ROWS, MOST_ROWS, 66])
        self.assertEqual(self.rows([300] * 8), [3, 3, 2])
        self.assertEqual(self.rows([1000, 1001, 5, 5]), [1, 1, 2])
        self.assertEqual(self.rows([1, 1, 1, 9999, 1]), [3, 1, 1])

    @needs("pymysql")
    def test_keys(self) -> None:
        self.assertEqual(list(self.statements.key_lists([])), [])
        parts = [part.values for (part,) in self.statements.key_lists(list(range(MOST_ROWS + 3)))]
        self.assertEqual(parts, [list(range(MOST_ROWS)), [256, 257, 258]])

    @needs("pymysql")
    def test_texts(self) -> None:
        insert = "INSERT INTO txgear_workloads (number, workload) VALUES %s"
        self.assertEqual(self.statements._insert_text(schema.workloads, 1), insert)
        missing = "INSERT IGNORE INTO txgear_workloads (number, workload) VALUES %s"
        self.assertEqual(self.statements._insert_missing_text(schema.workloads, 1), missing)
        known = (
            "SELECT txgear_workloads.number \nFROM txgear_workloads \nWHERE txgear_workloads.number IN (%s)"
        )
        self.assertEqual(self.statements._known_text(schema.workloads, 1), known)

    @needs("pymysql")
    def test_deletions(self) -> None:
        said: list[tuple[str, list[int]]] = []

        class Cursor:
            def execute(self, text: str, parameters: tuple[Selected]) -> None:
                said.append((text, list(parameters[0].values)))

        keys = list(range(MOST_ROWS + 2))
        self.statements.delete(cast(Any, Cursor()), schema.workloads, keys)
        self.statements.delete_by(cast(Any, Cursor()), schema.claims.c.number, [5])
        self.statements.delete_by(cast(Any, Cursor()), schema.claims.c.number, [])
        text = (
            "DELETE txgear_{0} FROM (%s) AS gone STRAIGHT_JOIN txgear_{0} ON txgear_{0}.number = gone.value"
        )
        self.assertEqual(
            said,
            [
                (text.format("workloads"), keys[:MOST_ROWS]),
                (text.format("workloads"), keys[MOST_ROWS:]),
                (text.format("claims"), [5]),
            ],
        )

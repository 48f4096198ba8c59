"""Tests of L{txgear.stores.pipelining}; tests/test_pipelining.py has a real database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from twisted.trial.unittest import SynchronousTestCase

from txgear.test.support.extras import needs

if TYPE_CHECKING:
    from txgear.stores.pipelining import PipeliningCursor


class Result:
    """What comes of a statement: as many rows as the number at its end says."""

    def __init__(self, text: str) -> None:
        self.command_tuples = int(text.rpartition(" ")[2]) or None


class FakeConnection:
    """
    psycopg's connection, and its cursor for COPY.

    @ivar sent: what was sent in each round trip.
    """

    def __init__(self) -> None:
        self.sent: list[object] = []

    @property
    def copying(self) -> FakeConnection:
        return self

    def together(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[Result]:
        texts = [text % tuple(parameters) for text, parameters in statements]
        self.sent.append(texts)
        return list(map(Result, texts))

    def copy(self, text: str) -> str:
        self.sent.append(text)
        return "copy"


@needs("psycopg")
class PipeliningTests(SynchronousTestCase):
    cursor: PipeliningCursor

    def setUp(self) -> None:
        from txgear.stores.pipelining import PipeliningCursor

        self.driver = FakeConnection()
        self.cursor = PipeliningCursor(cast(Any, self.driver))

    def test_what_nobody_asks_for_waits(self) -> None:
        self.cursor.execute("a %s", (1,))
        self.cursor.executemany("b %s %s", [(2, 3), (4, 5)])
        self.assertEqual(self.driver.sent, [])
        self.cursor.send()
        self.assertEqual(self.driver.sent, [["a 1", "b 2 3", "b 4 5"]])

    def test_nothing_waits(self) -> None:
        self.cursor.executemany("a %s", [])
        self.cursor.send()
        self.assertEqual(self.driver.sent, [])

    def test_rows_are_those_of_the_last_statement(self) -> None:
        self.cursor.execute("a 1")
        self.cursor.execute("b 2")
        self.assertEqual(self.cursor.rowcount, 2)
        self.assertEqual(self.cursor.rowcount, 2)
        self.cursor.execute("c 0")
        self.assertEqual(self.cursor.rowcount, 0)
        self.assertEqual(self.driver.sent, [["a 1", "b 2"], ["c 0"]])

    def test_copy_comes_after_what_waits(self) -> None:
        self.cursor.execute("a 1")
        self.assertEqual(self.cursor.copy("COPY"), "copy")
        self.assertEqual(self.driver.sent, [["a 1"], "COPY"])

    def test_closed(self) -> None:
        self.cursor.execute("a 1")
        self.cursor.close()
        self.cursor.send()
        self.assertEqual(self.driver.sent, [])

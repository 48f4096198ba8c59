"""Tests of L{txgear.stores.gathering}."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import StoreTaken
from txgear.stores.gathering import MOST_TEXT, GatheringCursor
from txgear.stores.mysql import MySQL
from txgear.test.support.extras import needs


class Failed(Exception):
    """What the driver raises."""


class FakeDriver:
    """
    PyMySQL's connection, and its cursor: a statement changes as many rows as the number at its end says, or
    fails if that is no number.

    @ivar sent: the texts that were sent.
    @ivar is_closed: whether the cursor is.
    """

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.rowcount = -1
        self.is_closed = False
        self._left: list[str] = []

    def cursor(self) -> FakeDriver:
        return self

    def mogrify(self, text: str, parameters: Sequence[Any] | None) -> str:
        return text if parameters is None else text % tuple(parameters)

    def execute(self, text: str, parameters: Sequence[Any] | None = None) -> None:
        assert not parameters
        assert not self._left, "the results of the text before were not read"
        self.sent.append(text)
        self._left = text.split("; ")
        self.nextset()

    def nextset(self) -> None:
        statement = self._left.pop(0)
        number = statement.rpartition(" ")[2]
        if number.isdigit():
            self.rowcount = int(number)
        elif statement != "COMMIT":
            self._left.clear()
            raise Failed(statement)

    def fetchall(self) -> list[int]:
        assert not self._left
        return [self.rowcount]

    def close(self) -> None:
        self.is_closed = True


class GatheringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.driver = FakeDriver()
        self.cursor = GatheringCursor(cast(Any, self.driver))
        self.heard: list[int] = []

    def test_what_nobody_asks_for_waits_for_the_commit(self) -> None:
        self.cursor.execute("a %s", (1,))
        self.cursor.executemany("b %s %s", [(2, 3), (4, 5)])
        self.assertEqual(self.driver.sent, [])
        self.cursor.commit()
        self.assertEqual(self.driver.sent, ["a 1; b 2 3; b 4 5; COMMIT"])
        self.assertTrue(self.driver.is_closed)

    def test_a_percent_sign_without_parameters(self) -> None:
        self.cursor.execute("a %s 1")
        self.cursor.commit()
        self.assertEqual(self.driver.sent, ["a %s 1; COMMIT"])

    def test_rows_are_those_of_the_last_statement(self) -> None:
        self.cursor.execute("a 1")
        self.cursor.execute("b 2")
        self.assertEqual(list(self.cursor.fetchall()), [2])
        self.cursor.execute("c 3")
        self.assertEqual(self.cursor.rowcount, 3)
        self.assertEqual(self.cursor.rowcount, 3)
        self.assertEqual(self.driver.sent, ["a 1; b 2", "c 3"])

    def test_nothing_but_the_commit(self) -> None:
        self.cursor.execute("a 1")
        self.cursor.fetchall()
        self.cursor.commit()
        self.assertEqual(self.driver.sent, ["a 1", "COMMIT"])

    def test_who_is_to_hear_of_rows_does_so_before_the_commit(self) -> None:
        def hear(rows: int) -> None:
            self.heard.append(rows)
            self.assertNotIn("COMMIT", self.driver.sent[-1])

        self.cursor.execute("fence 1")
        self.cursor.tell(hear)
        self.cursor.execute("b 2")
        self.assertEqual(self.heard, [])
        self.cursor.commit()
        self.assertEqual(self.heard, [1])
        self.assertEqual(self.driver.sent, ["fence 1; b 2", "COMMIT"])

    def test_each_hears_of_its_own(self) -> None:
        for statement in ("a 1", "b 2", "c 3"):
            self.cursor.execute(statement)
            if statement != "b 2":
                self.cursor.tell(self.heard.append)
        self.cursor.fetchall()
        self.assertEqual(self.heard, [1, 3])

    def test_the_commit_goes_along_when_all_have_heard(self) -> None:
        self.cursor.execute("fence 1")
        self.cursor.tell(self.heard.append)
        self.cursor.execute("b 2")
        self.cursor.fetchall()
        self.cursor.execute("c 3")
        self.cursor.commit()
        self.assertEqual(self.driver.sent, ["fence 1; b 2", "c 3; COMMIT"])

    def hear_and_look(self, rows: int) -> None:
        """As a fence does that has changed nothing."""
        self.cursor.execute("look 7")
        raise StoreTaken(f"{rows} rows, {list(self.cursor.fetchall())}")

    def test_who_hears_may_ask_more_and_end_it(self) -> None:
        self.cursor.execute("fence 0")
        self.cursor.tell(self.hear_and_look)
        self.cursor.execute("b 2")
        error = self.assertRaises(StoreTaken, self.cursor.commit)
        self.assertEqual(str(error), "0 rows, [7]")
        self.assertEqual(self.driver.sent, ["fence 0; b 2", "look 7"])
        self.cursor.close()
        self.assertTrue(self.driver.is_closed)

    def test_what_is_heard_counts_more_than_an_error_that_comes_after(self) -> None:
        self.cursor.execute("fence 0")
        self.cursor.tell(self.hear_and_look)
        self.cursor.execute("duplicate")
        self.assertRaises(StoreTaken, self.cursor.fetchall)

    def test_an_error(self) -> None:
        """It is that of its statement; nobody hears of those behind it, and they are not sent again."""
        self.cursor.execute("fence 1")
        self.cursor.tell(self.heard.append)
        self.cursor.execute("conflict")
        self.cursor.execute("c 3")
        self.cursor.tell(self.heard.append)
        error = self.assertRaises(Failed, self.cursor.commit)
        self.assertEqual(str(error), "conflict")
        self.assertEqual(self.heard, [1])
        self.cursor.close()
        self.assertEqual(self.driver.sent, ["fence 1; conflict; c 3"])

    def test_the_first_fails(self) -> None:
        self.cursor.execute("gone")
        self.cursor.tell(self.heard.append)
        self.assertRaises(Failed, self.cursor.fetchall)
        self.assertEqual(self.heard, [])

    def test_what_waits_at_the_end_is_not_sent(self) -> None:
        self.cursor.execute("a 1")
        self.cursor.tell(self.heard.append)
        self.cursor.close()
        self.assertEqual((self.driver.sent, self.heard), ([], []))

    def test_a_text_has_a_bound(self) -> None:
        half = "x" * (MOST_TEXT // 2)
        for number in range(3):
            self.cursor.execute(f"{half[:-2]} {number}")
        self.assertEqual([text.count("; ") for text in self.driver.sent], [1])
        self.cursor.execute(f"{half * 3} 3")
        self.cursor.execute("last 4")
        self.cursor.commit()
        self.assertEqual([text.count("; ") for text in self.driver.sent], [1, 0, 0, 1])


class FenceTests(SynchronousTestCase):
    """What L{MySQL} makes of it."""

    @needs("pymysql")
    def test_it_waits_in_a_transaction_only(self) -> None:
        dialect = MySQL("mysql://db/jobs", None, 5.0)
        driver: Any = FakeDriver()
        heard: list[int] = []
        dialect.execute_first(driver, driver, "fence 1", (), heard.append)
        self.assertEqual((heard, driver.sent), ([1], ["fence 1"]))
        cursor = dialect.transaction(driver)
        dialect.execute_first(driver, cursor, "fence 2", (), heard.append)
        cursor.execute("b 3")
        self.assertEqual((heard, driver.sent), ([1], ["fence 1"]))
        dialect.commit(driver, cursor)
        self.assertEqual((heard, driver.sent), ([1, 2], ["fence 1", "fence 2; b 3", "COMMIT"]))

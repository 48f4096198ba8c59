"""Tests of L{txgear.stores.questions} and L{txgear.stores.lanecounts}, as far as they are SQLite's."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.keys import HASH_BITS
from txgear.broker.records import ByKey, InLane, Lane, Waking, WithUnique
from txgear.stores.lanecounts import MOST_EMPTY
from txgear.stores.places import SEGMENT_BITS, SEGMENTS, WIDE_BITS
from txgear.stores.sql import SqlStore
from txgear.stores.sqlite import SQLite
from txgear.test.support.batches import adding, deleting
from txgear.test.support.storequestions import Indexed, job

COUNT = 2000
FOUND = [f"(subquery-{number})" for number in (2, 3, 4, 5)]
"""What is found by an index, and looked through once more: for the last ones, or to be put together."""


class QuestionCase(SynchronousTestCase):
    dialect: type[SQLite] = SQLite

    def setUp(self) -> None:
        self.store = SqlStore(self.dialect(os.path.realpath(self.mktemp())))
        self.addCleanup(lambda: self.store.close(None))
        self.store.open()

    def driver(self) -> Any:
        assert self.store._connection is not None
        return self.store._connection.connection.driver_connection


class PlanTests(QuestionCase):
    """Nothing is read but what is found, whatever SQLite knows of the table."""

    def setUp(self) -> None:
        super().setUp()
        self.store.write(
            adding(
                *(
                    job(number, function=b"f%d" % (number % 3), unique=b"u%d" % number, due=number % 7 * 1.0)
                    for number in range(1, COUNT + 1)
                )
            )
        )

    def steps(self, text: str, parameters: tuple[Any, ...]) -> list[str]:
        """How SQLite finds the rows of a statement."""
        return [row[3] for row in self.driver().execute(f"EXPLAIN QUERY PLAN {text}", parameters)]

    def test_each_is_answered_by_an_index(self) -> None:
        questions, counts = self.store._questions, self.store._lanes
        texts: list[tuple[str, tuple[Any, ...]]] = [
            *((questions._lane_text(100, wanted), (1, 2, b"f")) for wanted in (False, True)),
            (questions._last_text, (1, b"f")),
            (questions._waking_text(100, True, 0), (1.0, 2)),
            (questions._waking_text(100, False, 0), (1.0, 2.0)),
            (questions._waking_text(100, True, 4), (1.0, 2, 0, 5, 9, 100)),
            (questions._waking_text(100, False, 4), (1.0, 2.0, 0, 5, 9, 100)),
            (questions._order_text(100), (7, 1000)),
            (questions._numbers_text(4), (1, 2, 3, 4)),
            (questions._keys_text(4), (1, 2, 3, 4)),
            (questions._unique_text(4, 100, 0), (1, 2, 3, 4, b"u", 5)),
            (questions._unique_text(4, 100, 4), (1, 2, 3, 4, b"u", 5, 0, 5, 9, 100)),
            (questions._keys_text(4, True), (1, 2, 3, 4)),
            (questions._unique_text(4, 100, 0, True), (1, 2, 3, 4, b"u", 5)),
            (questions._hashes_text(100, 0), (-1, 5, -1)),
            (questions._probes, tuple(range(64))),
            (counts._sums_text(4), (1, 2, 3, 4)),
            (counts._count, (1, 2, 3)),
        ]
        for analyzed in (False, True):
            if analyzed:
                self.driver().execute("ANALYZE")
            for text, parameters in texts:
                steps = self.steps(text, parameters)
                self.assertTrue(any("SEARCH" in step for step in steps), (text, steps))
                for step in steps:
                    # One constant row is scanned where each column is a question of its own, and what was
                    # found where only the last of it is wanted.
                    scanned = step.startswith("SCAN") and step.split()[1]
                    self.assertIn(scanned, (False, "CONSTANT", "anon_1", *FOUND), (text, steps))
                    if "lane" in text.partition("WHERE")[2] or "wake" in text.partition("WHERE")[2]:
                        self.assertNotIn("ORDER BY", step)

    def test_it_does_not_ask_for_more_than_it_needs(self) -> None:
        """Steps of SQLite's machine, of which a scan of all takes tens of thousands."""
        for question in (
            InLane(Lane(b"f1", "", 3), 100, 5),
            ByKey([b"u500", b"none"]),
            WithUnique(b"u500", 0, 5),
            Waking(9.0, (5.0, 100), 3),
        ):
            steps = 0

            def count() -> None:
                nonlocal steps
                steps += 100

            self.store.rows(question)
            self.driver().set_progress_handler(count, 100)
            self.assertTrue(self.store.rows(question))
            self.driver().set_progress_handler(None, 100)
            self.assertLess(steps, 3000, question)


class SegmentTests(QuestionCase):
    """
    Keys are found in whatever segment they are, where there is an index of them.

    @ivar STEP: how far two jobs are apart that are in different segments where these are narrow.
    """

    STEP = 1 << SEGMENT_BITS
    dialect = Indexed

    def add(self, numbers: range) -> None:
        """Sixteen to a batch."""
        for start in range(0, len(numbers), 16):
            part = numbers[start : start + 16]
            self.store.write(adding(*(job(number, unique=b"u%d" % number) for number in part)))

    def segments(self) -> int:
        """In how many there are keys."""
        text = "SELECT count(DISTINCT ukey >> ?) FROM txgear_jobs"
        count: int = self.driver().execute(text, (HASH_BITS,)).fetchall()[0][0]
        return count

    def found(self, numbers: range) -> list[int]:
        rows = self.store.rows(ByKey([b"u%d" % number for number in numbers]))
        return sorted(row.number for row in rows)

    def test_they_are_narrow_while_there_are_few(self) -> None:
        few = range(self.STEP, 100 * self.STEP, self.STEP)
        self.add(few)
        self.assertEqual((self.segments(), self.found(few)), (99, list(few)))

    def test_they_are_wide_where_there_are_many(self) -> None:
        many = range(self.STEP, 481 * self.STEP, self.STEP)
        self.add(many)
        self.assertLess(self.segments(), 200)
        self.assertEqual(self.found(many), list(many))

    def test_they_are_narrow_again_when_the_jobs_have_ended(self) -> None:
        many = range(self.STEP, 481 * self.STEP, self.STEP)
        self.add(many)
        self.store.write(deleting(many))
        wide = 1 << WIDE_BITS
        later = range(wide * 100, wide * 170, wide)
        self.add(later)
        self.store.write(deleting(later))
        last = range(wide * 200, wide * 201, self.STEP)
        self.add(last)
        self.assertEqual((self.segments(), self.found(last)), (len(last), list(last)))

    def test_those_before_the_first_ones_again(self) -> None:
        last = range((SEGMENTS - 80) * self.STEP, (SEGMENTS + 2) * self.STEP, self.STEP)
        self.add(last)
        self.store.close(None)
        self.store.open()
        self.assertEqual(self.found(last), list(last))


class LaneRowsTests(QuestionCase):
    def rows(self) -> int:
        count: int = self.driver().execute("SELECT count(*) FROM txgear_lanes").fetchall()[0][0]
        return count

    def test_lanes_that_come_and_go_leave_little(self) -> None:
        self.store.write(adding(job(1, b"stays", function=b"stays")))
        most = 0
        for start in range(2, 6 * MOST_EMPTY, 300):
            numbers = range(start, start + 300)
            self.store.write(adding(*(job(number, function=b"f%d" % number) for number in numbers)))
            self.store.write(deleting(numbers))
            most = max(most, self.rows())
        self.assertGreater(most, MOST_EMPTY // 2)
        self.assertLess(most, 2 * MOST_EMPTY)
        (count,) = self.store.lanes()
        self.assertEqual((count.lane.function, count.jobs, count.bytes), (b"stays", 1, 5))

    def test_many_lanes_with_jobs_stay(self) -> None:
        self.store.write(adding(*(job(number, function=b"f%d" % number) for number in range(1, 3000))))
        self.store.write(deleting(range(1, 3000, 3)))
        for start in range(3000, 9000, 500):
            numbers = range(start, start + 500)
            self.store.write(adding(*(job(number, function=b"f%d" % number) for number in numbers)))
            self.store.write(deleting(numbers))
        self.assertEqual(len(self.store.lanes()), 1999)
        self.assertTrue(all(count.jobs == 1 for count in self.store.lanes()))

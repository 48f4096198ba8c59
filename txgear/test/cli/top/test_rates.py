"""Tests of L{txgear.cli.top.rates}."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.top.rates import SECONDS, Rates


def counted(name: str, submitted: int | None, completed: int | None = 0, failed: int | None = 0) -> Any:
    row = {"function": name, "submitted": submitted, "completed": completed, "failed": failed}
    return {**row, "submitted_rate": 77.0, "completed_rate": 77.0, "failed_rate": 77.0}


class RatesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rates = Rates()

    def look(self, time: float, *rows: Any, total: Any = None) -> list[float]:
        """The first rate of all functions together, and of each row."""
        totals, found = self.rates.of(time, total or counted("all", 0), rows)
        return [totals["submitted_rate"], *(row["submitted_rate"] for row in found)]

    def test_the_first_look(self) -> None:
        """There is only what the server says."""
        self.assertEqual(self.look(5.0, counted("f", 9)), [77.0, 77.0])

    def test_two_looks(self) -> None:
        self.look(5.0, counted("f", 10, 4, 1), total=counted("", 100))
        totals, [row] = self.rates.of(7.0, counted("", 150), [counted("f", 14, 8, 2)])
        self.assertEqual(totals["submitted_rate"], 25.0)
        self.assertEqual((row["submitted_rate"], row["completed_rate"], row["failed_rate"]), (2.0, 2.0, 0.5))

    def test_it_is_about_the_last_seconds(self) -> None:
        for time in range(int(SECONDS)):
            self.look(float(time), counted("f", 100 * time))
        for time in range(int(SECONDS), 2 * int(SECONDS)):
            found = self.look(float(time), counted("f", 900))
        self.assertEqual(found, [0.0, 0.0])

    def test_looks_one_after_the_other(self) -> None:
        """In no time nothing can be counted; and what is kept is bounded."""
        self.look(1.0, counted("f", 10))
        for step in range(1000):
            found = self.look(1.0 + step / 1000, counted("f", 10 + step))
        self.assertAlmostEqual(found[1], 1000.0)
        self.assertLess(len(self.rates._looks), 3)

    def test_a_row_that_was_not_seen_before(self) -> None:
        self.look(1.0, counted("f", 10))
        self.assertEqual(self.look(3.0, counted("f", 12), counted("g", 5)), [0.0, 1.0, 77.0])

    def test_another_server(self) -> None:
        """Counts begin anew: there are no jobs that came a second before that."""
        self.look(500.0, counted("f", 10))
        self.assertEqual(self.look(3.0, counted("f", 12)), [77.0, 77.0])
        self.assertEqual(self.look(5.0, counted("f", 16)), [0.0, 2.0])

    def test_what_goes_back(self) -> None:
        """A function that was forgotten, and is there again."""
        self.look(1.0, counted("f", 10))
        self.assertEqual(self.look(3.0, counted("f", 2))[1], 77.0)

    def test_what_is_not_counted(self) -> None:
        """Functions beyond a thousand have no counts."""
        self.look(1.0, counted("f", None, None, None))
        self.assertEqual(self.look(3.0, counted("f", None, None, None)), [0.0, 77.0])

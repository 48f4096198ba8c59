"""
Tests for L{txgear.cli.probe.benchview}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.probe.benchrun import Latencies, Load, Measured
from txgear.cli.probe.benchview import ROWS, WIDTH, as_json, rows, warnings


def latencies(*values: float) -> Latencies:
    """These times."""
    found = Latencies()
    for value in values:
        found.add(value)
    return found


class HistogramTests(SynchronousTestCase):
    """Rows of a histogram."""

    def test_each_job_is_in_one_row(self) -> None:
        """However far they lie apart; there are not too many rows, and no bar is too long."""
        for values in (
            [0.001],
            [0.001] * 5 + [0.002],
            [1e-5, 100.0],
            [1e-6, 500.0],
            [number / 1000 for number in range(1, 500)],
        ):
            found = rows(latencies(*values))
            cells = [row.split("\t") for row in found]
            self.assertEqual(sum(int(row[1]) for row in cells), len(values))
            self.assertLessEqual(len(found), ROWS)
            self.assertEqual(max(len(row[2]) for row in cells if len(row) > 2), WIDTH)

    def test_last_row_ends_with_the_longest(self) -> None:
        """The bounds of buckets are odd numbers; the longest time is what was measured."""
        self.assertTrue(rows(latencies(0.001, 0.25))[-1].startswith("   250ms"))

    def test_few_are_seen(self) -> None:
        """One among thousands has a bar all the same."""
        self.assertIn("\t#", rows(latencies(*[0.001] * 10_000, 0.1))[-1])


class MeasuredTests(SynchronousTestCase):
    """What is written of a measurement."""

    def measured(self, own: float, machine: float | None) -> Measured:
        found = Measured("a:1", Load(True, 100, 10, 5.0))
        found.jobs, found.seconds, found.own, found.machine = 200, 5.0, own, machine
        found.latencies["accepted"].add(0.5)
        return found

    def test_json(self) -> None:
        """Seconds and shares; a latency that was not measured is 0."""
        said = as_json(self.measured(0.25, None))
        self.assertEqual((said["rate"], said["own_share"], said["machine_share"]), (40.0, 0.25, None))
        self.assertEqual(said["latencies"]["accepted"]["p99"], 0.5)
        self.assertEqual(said["latencies"]["begun"]["mean"], 0.0)
        self.assertEqual([each["jobs"] for each in said["latencies"]["accepted"]["histogram"]], [1])

    def test_warnings(self) -> None:
        """They are there when a limit is not the server's, and only then."""
        self.assertEqual(warnings(self.measured(0.5, 0.5)), [])
        self.assertEqual(warnings(self.measured(0.5, None)), [])
        [said] = warnings(self.measured(0.97, 0.5))
        self.assertIn("this process was busy 97%", said)
        self.assertEqual(len(warnings(self.measured(0.97, 0.99))), 2)

"""
Tests for L{txgear.cli.probe.benchrun}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.probe.benchrun import BOUNDS, STEP, Latencies


class LatencyTests(SynchronousTestCase):
    """Times in bounded memory."""

    def test_none(self) -> None:
        """Without any all is 0."""
        found = Latencies()
        self.assertEqual((found.least, found.most, found.quantile(0.5)), (0.0, 0.0, 0.0))

    def test_one(self) -> None:
        """One is the least, the most, and all between."""
        found = Latencies()
        found.add(0.0123)
        self.assertEqual({found.least, found.most, found.quantile(0.01), found.quantile(1.0)}, {0.0123})

    def test_percentiles_are_right_to_a_step(self) -> None:
        """Whatever is measured, to the width of a bucket."""
        for scale in (1e-5, 1e-3, 0.1, 50.0):
            found = Latencies()
            for number in range(1, 1001):
                found.add(scale * number / 1000)
            for share in (0.1, 0.5, 0.9, 0.99):
                if scale * share > BOUNDS[0]:
                    self.assertLess(abs(found.quantile(share) / (scale * share) - 1), STEP - 1)
            self.assertEqual((found.least, found.most), (scale / 1000, scale))

    def test_beyond_all_buckets(self) -> None:
        """What takes longer than any bucket is counted, and the longest is right."""
        found = Latencies()
        found.add(0.001)
        found.add(1000.0)
        self.assertEqual((found.histogram.count, found.most), (2, 1000.0))
        self.assertLessEqual(found.quantile(1.0), 1000.0)

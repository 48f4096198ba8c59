"""Tests of L{txgear.histogram}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.histogram import Histogram


class HistogramTests(SynchronousTestCase):
    def test_a_value_is_in_the_first_bucket_that_has_room_for_it(self) -> None:
        histogram = Histogram((1, 2, 5))
        for value in (0, 1, 1.5, 2, 2.5, 5, 5.5, 1000):
            histogram.add(value)
        self.assertEqual(histogram.counts, [2, 2, 2, 2])
        self.assertEqual(histogram.sum, 1017.5)

    def test_nothing_is_counted_at_first(self) -> None:
        histogram = Histogram((1, 2))
        self.assertEqual((histogram.counts, histogram.sum), ([0, 0, 0], 0.0))

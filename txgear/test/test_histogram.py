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

    def test_quantiles(self) -> None:
        histogram = Histogram((1, 2, 5))
        self.assertIsNone(histogram.quantile(0.5))
        for value in (0.5, 0.6, 1.5, 1.6):
            histogram.add(value)
        for share, expected in ((0.25, 0.5), (0.5, 1.0), (0.75, 1.5), (1.0, 2.0)):
            self.assertEqual(histogram.quantile(share), expected, share)
        histogram.add(100)
        self.assertEqual(histogram.quantile(1.0), 5)
        self.assertEqual(histogram.count, 5)

    def test_the_values_of_two(self) -> None:
        one, other = Histogram((1, 2)), Histogram((1, 2))
        one.add(1)
        other.add(3)
        both = one.plus(other)
        self.assertEqual((both.counts, both.sum, one.counts), ([1, 0, 1], 4.0, [1, 0, 0]))

"""Tests of L{txgear.broker.counts}."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.counts import (
    BOUNDS,
    BUCKETS,
    EDGES,
    FAILURES,
    VALUES,
    Counts,
    bucket,
    count_all,
    cumulative,
    quantile_buckets,
    quantiles,
    word_of,
)
from txgear.errors import QUEUE_FULL, AccessDenied, QueueError
from txgear.test.support.extras import PROPERTY, given, st


def histogram(*seconds: float) -> list[int]:
    """These times, counted."""
    counted = [0] * BUCKETS
    for each in seconds:
        counted[bucket(each)] += 1
    return counted


class BucketTests(SynchronousTestCase):
    def test_they_are_narrow(self) -> None:
        for lower, upper in pairwise(EDGES):
            self.assertLess(lower, upper)
            self.assertLessEqual(upper / lower, 4 / 3 + 1e-9)

    def test_from_less_than_a_millisecond_to_a_week(self) -> None:
        self.assertEqual((EDGES[0], EDGES[-1]), (0.0001, 7 * 86400.0))
        self.assertEqual((BUCKETS, len(VALUES)), (len(EDGES) + 1,) * 2)

    def test_an_edge_belongs_to_what_is_below_it(self) -> None:
        for index, edge in enumerate(EDGES):
            self.assertEqual((bucket(edge), bucket(edge * 1.0001)), (index, index + 1))

    def test_what_cannot_be_and_what_is_very_long(self) -> None:
        self.assertEqual((bucket(-5.0), bucket(0.0), bucket(1e9)), (0, 0, BUCKETS - 1))

    def test_what_stands_for_a_bucket_is_near_all_that_is_in_it(self) -> None:
        for index, (lower, upper) in enumerate(pairwise(EDGES), 1):
            self.assertLess(max(upper / VALUES[index], VALUES[index] / lower), 1.16)


class CountAllTests(SynchronousTestCase):
    @PROPERTY
    @given(st.lists(st.floats(-1.0, 1e7) | st.sampled_from(EDGES), max_size=200))
    def test_it_is_the_same_as_each_by_itself(self, seconds: list[float]) -> None:
        expected = histogram(*seconds)
        counted = [1] * BUCKETS
        self.assertAlmostEqual(count_all(counted, times := list(seconds)), sum(seconds), delta=1e-3)
        self.assertEqual(([number - 1 for number in counted], times), (expected, []))


class CumulativeTests(SynchronousTestCase):
    def test_the_coarse_bounds_are_some_of_the_fine_ones(self) -> None:
        self.assertLessEqual(set(BOUNDS), set(EDGES))
        self.assertEqual(list(BOUNDS), sorted(BOUNDS))

    def test_nothing(self) -> None:
        self.assertEqual(cumulative(histogram()), [0] * (len(BOUNDS) + 1))

    @PROPERTY
    @given(st.lists(st.floats(0, 1e7) | st.sampled_from(EDGES), max_size=50))
    def test_the_fine_ones_add_up(self, seconds: list[float]) -> None:
        expected = [sum(each <= bound for each in seconds) for bound in BOUNDS]
        self.assertEqual(cumulative(histogram(*seconds)), [*expected, len(seconds)])


class QuantileTests(SynchronousTestCase):
    def test_of_nothing_there_are_none(self) -> None:
        self.assertEqual(quantile_buckets(histogram(), 0.5, 0.99), [None, None])
        self.assertEqual(quantiles(histogram(), 0.5), [None])

    def test_of_one_time_all_are_the_same(self) -> None:
        self.assertEqual(quantile_buckets(histogram(0.3), 0.5, 0.95, 0.99), [bucket(0.3)] * 3)

    def test_the_ends(self) -> None:
        self.assertEqual(quantiles(histogram(0.0, 1e9), 0.5, 0.99), [EDGES[0], EDGES[-1]])

    @PROPERTY
    @given(st.lists(st.floats(0.001, 1e5), min_size=1, max_size=200))
    def test_they_are_near(self, seconds: list[float]) -> None:
        ordered = sorted(seconds)
        shares = 0.5, 0.95, 0.99
        for share, found in zip(shares, quantiles(histogram(*seconds), *shares), strict=True):
            exact = ordered[bisect_left(range(1, len(ordered) + 1), share * len(ordered))]
            assert found is not None
            self.assertLess(max(found / exact, exact / found), 1.16)


class CountsTests(SynchronousTestCase):
    def test_nothing_at_first(self) -> None:
        counts = Counts()
        self.assertEqual((counts.submitted, counts.failed, counts.ended, counts.live), (0, {}, 0.0, 0))
        self.assertEqual(counts.waits, [0] * BUCKETS)

    def test_reasons_are_told_apart(self) -> None:
        self.assertEqual(len(set(FAILURES)), 10)
        counts = Counts()
        for reason in ("fail", "lost", "fail"):
            counts.fail(reason, 5.0)
        self.assertEqual((counts.failed, counts.failures, counts.ended), ({"fail": 2, "lost": 1}, 3, 5.0))

    def test_refusals_are_told_apart(self) -> None:
        counts = Counts()
        for error in (
            QueueError("full", why=QUEUE_FULL),
            AccessDenied("no"),
            QueueError("?"),
            AccessDenied(""),
        ):
            counts.refuse(word_of(error), 5.0)
        self.assertEqual(counts.refused_at, dict.fromkeys(counts.refused, 5.0))
        self.assertEqual(counts.refused, {"queue_full": 1, "access_denied": 2, "queue_error": 1})

    def test_live_are_those_that_came_and_have_not_ended(self) -> None:
        counts = Counts()
        counts.submitted, counts.restored, counts.requeued, counts.completed = 5, 3, 1, 4
        counts.fail("fail", 1.0)
        self.assertEqual(counts.live, 4)

    def test_new_times_show_at_once(self) -> None:
        counts = Counts()
        for _ in range(2):
            counts.new_waits += [3.0]
            counts.new_runs += [0.5, 0.25]
        self.assertEqual((counts.waited, counts.ran), (6.0, 1.5))
        self.assertEqual((counts.waits, counts.runs), (histogram(3.0, 3.0), histogram(0.5, 0.25, 0.5, 0.25)))
        counts.new_waits.append(1.0)
        counts.new_runs.append(1.0)
        self.assertEqual((counts.waits[bucket(1.0)], counts.runs[bucket(1.0)]), (1, 1))

    def test_they_are_added_up(self) -> None:
        one, other = Counts(), Counts()
        for number, counts in enumerate((one, other), 1):
            for name in ("submitted", "joined", "restored", "requeued", "completed", "retried"):
                setattr(counts, name, number)
            counts.fail("fail", 10.0 - number)
            counts.refuse("queue_full", 10.0 - number)
            counts.new_waits += [EDGES[number]] * number
            counts.new_runs += [0.0, 2.0 * number]
            counts.worker_left = 5.0 - number
        other.fail("lost", 7.0)
        other.refuse("store_refused", 1.0)
        waits = one.waits
        one.add(other)
        self.assertEqual((one.submitted, one.joined, one.restored, one.requeued), (3, 3, 3, 3))
        self.assertEqual((one.completed, one.retried), (3, 3))
        self.assertEqual(
            (one.failed, one.refused), ({"fail": 2, "lost": 1}, {"queue_full": 2, "store_refused": 1})
        )
        self.assertEqual((one.waits[:4], one.runs[:2]), ([0, 1, 2, 0], [2, 0]))
        self.assertEqual((one.waited, one.ran), (EDGES[1] + 2 * EDGES[2], 6.0))
        self.assertEqual((one.worker_left, one.ended), (4.0, 9.0))
        self.assertEqual(one.refused_at, {"queue_full": 9.0, "store_refused": 1.0})
        self.assertIs(one.waits, waits)
        self.assertEqual((other.submitted, other.failures), (2, 2))

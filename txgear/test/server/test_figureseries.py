"""Tests of L{txgear.server.figureseries}."""

from __future__ import annotations

from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.counts import VALUES, Counts, bucket
from txgear.server.figurerows import NOTHING, ROW, Figures, unpack
from txgear.server.figureseries import IDLE, SPANS, Series, Tally


def counted(submitted: int = 0, completed: int = 0, failed: int = 0, *waits: float) -> Counts:
    counts = Counts()
    counts.submitted, counts.completed = submitted, completed
    for _ in range(failed):
        counts.fail("fail", 0.0)
    for seconds in waits:
        counts.waits[bucket(seconds)] += 1
    return counts


class TallyTests(SynchronousTestCase):
    def test_what_has_come_since(self) -> None:
        tally, counts = Tally(), counted(5, 2, 1, 0.5)
        since = tally.advance(counts)
        assert since is not None
        self.assertEqual((since.numbers, sum(since.waits)), ([5, 2, 1], 1))
        self.assertIsNone(tally.advance(counts))
        counts.submitted += 1
        since = tally.advance(counts)
        assert since is not None
        self.assertEqual((since.numbers, sum(since.waits), sum(since.runs)), ([1, 0, 0], 0, 0))

    def test_times_alone_are_something(self) -> None:
        for name in ("waits", "runs"):
            tally, counts = Tally(), Counts()
            getattr(counts, name)[3] += 1
            since = tally.advance(counts)
            assert since is not None
            self.assertEqual(getattr(since, name)[3], 1)

    def test_two_are_added(self) -> None:
        one, other = Tally(), Tally()
        one.advance(counted(5, 2, 1, 0.5))
        other.advance(counted(1, 1, 1, 0.5, 2.0))
        one.add(other)
        self.assertEqual((one.numbers, one.waits[bucket(0.5)], one.waits[bucket(2.0)]), ([6, 3, 2], 2, 1))


class SeriesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.series = Series(b"f")

    def test_spans(self) -> None:
        self.assertEqual([span.seconds * span.steps for span in SPANS], [3600, 86400])
        for fine, coarse in pairwise(SPANS):
            self.assertEqual(coarse.seconds % fine.seconds, 0)
            self.assertLessEqual(coarse.seconds // fine.seconds, fine.steps)
        for span in SPANS:
            self.assertEqual(span.steps % span.block, 0)

    def test_at_first_there_is_nothing(self) -> None:
        self.assertTrue(self.series.empty)
        self.assertEqual(
            (self.series.get(0, 7), self.series.rows(0, 1, 9), self.series.newest()), (NOTHING, b"", 0)
        )
        self.assertEqual(self.series.highest(0, 1, 9), IDLE)

    def test_a_step(self) -> None:
        since = Tally().advance(counted(5, 2, 1, 0.5, 0.5, 60.0))
        self.series.put(0, 100, Figures(queued=7, oldest=2.5), since)
        figures, times = unpack(self.series.get(0, 100))
        self.assertEqual(figures, Figures(5, 2, 1, queued=7, oldest=2.5))
        self.assertEqual(times[:3], [VALUES[bucket(0.5)], VALUES[bucket(60.0)], VALUES[bucket(60.0)]])
        self.assertEqual(times[3:], [None] * 3)
        self.assertEqual((self.series.newest(), self.series.empty), (1010, False))

    def test_nothing_takes_no_memory(self) -> None:
        self.series.put(0, 100, IDLE, None)
        self.series.put_row(1, 100, NOTHING)
        self.assertTrue(self.series.empty)

    def test_rows_of_several_steps(self) -> None:
        self.series.put(0, 101, Figures(workers=1), None)
        self.assertEqual(self.series.rows(0, 100, 3), NOTHING + self.series.get(0, 101) + NOTHING)
        self.assertEqual((self.series.rows(0, 90, 5), self.series.rows(0, 102, 5)), (b"", b""))

    def test_the_highest_of_several(self) -> None:
        for step, queued in ((100, 5), (101, 9), (103, 2)):
            self.series.put(0, step, Figures(3, queued=queued, running=10 - queued, oldest=queued / 2), None)
        highest = Figures(queued=9, running=8, oldest=4.5)
        self.assertEqual(self.series.highest(0, 100, 5), highest)
        self.assertEqual(self.series.highest(0, 104, 5), IDLE)

    def test_what_is_old_is_forgotten(self) -> None:
        self.series.put(0, 100, Figures(workers=1), None)
        self.series.put(1, 3, Figures(workers=1), None)
        self.series.forget_old(0, 100 + SPANS[0].steps - 1)
        self.assertEqual(len(self.series.get(0, 100)), ROW)
        self.assertNotEqual(self.series.get(0, 100), NOTHING)
        self.series.forget_old(0, 100 + SPANS[0].steps)
        self.assertEqual((self.series.get(0, 100), self.series.empty), (NOTHING, False))
        self.series.forget_old(1, 3 + SPANS[1].steps)
        self.assertTrue(self.series.empty)
        self.series.forget_old(1, 9999)

    def test_its_counts_are_anothers_now(self) -> None:
        other, counts = Series(), counted(5, 2, 1, 0.5)
        self.series.counts = counts
        self.series.marks[0].advance(counts)
        other.marks[0].advance(counted(1))
        self.series.forget_counts(other)
        self.assertIsNone(self.series.counts)
        self.assertEqual((other.marks[0].numbers, other.marks[1].numbers), ([6, 2, 1], [0, 0, 0]))
        self.assertEqual(self.series.marks[0].numbers, [0, 0, 0])

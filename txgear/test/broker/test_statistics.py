"""Tests of L{txgear.broker.statistics}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.counts import Counts
from txgear.broker.statistics import MOST_COUNTED, Statistics


class StatisticsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.statistics = Statistics()

    def fill(self) -> list[bytes]:
        """As many functions as are counted by themselves."""
        names = [b"f%d" % number for number in range(MOST_COUNTED)]
        for name in names:
            self.statistics.begin(name).submitted = 1
        return names

    def end(self, *names: bytes) -> None:
        for name in names:
            self.statistics.end(name, self.statistics.by_name[name])

    def test_each_name_has_its_own(self) -> None:
        one, other = self.statistics.begin(b"f"), self.statistics.begin(b"g")
        self.assertIsNot(one, other)
        self.assertEqual(self.statistics.by_name, {b"f": one, b"g": other})
        self.assertEqual(list(self.statistics.all()), [one, other, self.statistics.other])

    def test_they_outlive_the_function(self) -> None:
        counts = self.statistics.begin(b"f")
        self.end(b"f")
        self.assertIs(self.statistics.by_name[b"f"], counts)
        self.assertIs(self.statistics.begin(b"f"), counts)

    def test_beyond_the_bound_all_are_counted_together(self) -> None:
        self.fill()
        for name in (b"one more", b"another"):
            self.assertIs(self.statistics.begin(name), self.statistics.other)
            self.assertNotIn(name, self.statistics.by_name)
        self.statistics.end(b"another", self.statistics.other)
        self.assertIs(self.statistics.begin(b"another"), self.statistics.other)

    def test_the_one_that_went_first_makes_room(self) -> None:
        """What has been counted of it is not lost."""
        names = self.fill()
        self.end(names[7], names[3], names[5])
        # Used again.
        self.statistics.begin(names[7])
        self.end(names[7])
        for gone in (names[3], names[5], names[7]):
            new = self.statistics.begin(b"instead of " + gone)
            self.assertIsNot(new, self.statistics.other)
            self.assertNotIn(gone, self.statistics.by_name)
        self.assertEqual(len(self.statistics.by_name), MOST_COUNTED)
        self.assertEqual(self.statistics.other.submitted, 3)
        self.assertEqual(sum(counts.submitted for counts in self.statistics.all()), MOST_COUNTED)

    def test_a_refusal_makes_no_name_known(self) -> None:
        counts = self.statistics.begin(b"f")
        for name in (b"f", b"unknown", b"f"):
            self.statistics.refuse(name, "queue_full", 5.0)
        self.assertEqual(counts.refused, {"queue_full": 2})
        self.assertEqual(self.statistics.other.refused, {"queue_full": 1})
        self.assertEqual(list(self.statistics.by_name), [b"f"])


class CheckTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.statistics = Statistics()
        self.counts = self.statistics.begin(b"f")
        self.live: dict[bytes, Counts] = {b"f": self.counts, b"g": self.statistics.other}

    def fails(self, jobs: int = 0, running: int = 0) -> None:
        self.assertRaises(AssertionError, self.statistics.check, self.live, jobs, running)

    def test_all_is_right(self) -> None:
        self.counts.submitted = 2
        self.counts.waits[5] = 1
        self.statistics.check(self.live, 2, 1)

    def test_a_job_is_not_counted(self) -> None:
        self.fails(jobs=1)

    def test_a_time_is_not_counted(self) -> None:
        self.fails(running=1)

    def test_another_counts(self) -> None:
        self.live[b"f"] = Counts()
        self.fails()

    def test_one_that_is_there_may_be_put_out(self) -> None:
        self.statistics.end(b"f", self.counts)
        self.fails()

    def test_one_that_has_gone_stays_for_ever(self) -> None:
        del self.live[b"f"]
        self.fails()

    def test_too_many(self) -> None:
        self.live |= {name: self.statistics.begin(name) for name in map(str.encode, map(str, range(1000)))}
        self.statistics.by_name[b"more"] = self.live[b"more"] = Counts()
        self.fails()

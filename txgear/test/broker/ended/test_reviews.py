"""Tests of L{txgear.broker.ended.reviews}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.ended.reviews import MOST_REVIEWED, MOST_REVIEWS, Reviews, check_name
from txgear.broker.ended.shelves import LaneRows
from txgear.broker.history import Aside
from txgear.broker.model import Function, Job
from txgear.broker.records import ASIDE, Lane
from txgear.errors import InvalidArgument, ServerError
from txgear.test.support.broker import make_job

A = Aside("a", 5.0, "ops")
B = Aside("b", 6.0, "")


class NameTests(SynchronousTestCase):
    def test_names(self) -> None:
        for name in ("a", "_", "7", "Mail-2026.11", "\xe4rger", "x" * 64):
            check_name(name)
        for name in ("", "-", "-a", ".a", "a b", "a/b", "a=b", "a\n", "x" * 65, "\u202ea", "<a>"):
            self.assertRaises(InvalidArgument, check_name, name)


class ReviewsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reviews = Reviews()
        self.f, self.g = Function(b"f"), Function(b"g")
        self.number = 0

    def put(self, aside: Aside = A, function: Function | None = None, size: int = 3) -> Job:
        self.number += 1
        job = make_job(function or self.f, self.number, workload=b"w" * size)
        self.reviews.add(job, aside)
        self.reviews.check()
        return job

    def test_what_is_in_one(self) -> None:
        first, second, third = self.put(), self.put(function=self.g, size=5), self.put()
        self.put(B)
        review = self.reviews.by_name["a"]
        self.assertEqual((review.aside, list(review.jobs)), (A, [1, 2, 3]))
        self.assertEqual(review.sizes, {self.f: (2, 6), self.g: (1, 5)})
        self.assertEqual([self.reviews.count(each) for each in (self.f, self.g)], [3, 1])
        self.assertIs(self.reviews.of(second), review)
        self.assertEqual((self.reviews.name_of(first), self.reviews.name_of(third)), ("a", "a"))
        other = make_job(self.f, 9)
        self.assertEqual((self.reviews.of(other), self.reviews.name_of(other)), (None, ""))
        self.assertEqual(self.reviews.count(Function(b"h")), 0)

    def test_one_that_is_taken_out_leaves_nothing(self) -> None:
        other, first, second = self.put(), self.put(), self.put(function=self.g)
        for job in (other, first):
            self.assertTrue(self.reviews.remove(job))
        self.reviews.check()
        self.assertFalse(self.reviews.remove(first))
        self.assertEqual(self.reviews.by_name["a"].sizes, {self.g: (1, 3)})
        self.assertTrue(self.reviews.remove(second))
        self.reviews.check()
        self.assertEqual(self.reviews.by_name, {})

    def test_a_name_for_one(self) -> None:
        for name in ("review-1", "review-2", "review-3"):
            self.assertEqual(self.reviews.free_name(), name)
            check_name(name)
            self.put(Aside(name, 1.0, ""))
        self.reviews.remove(self.reviews.by_name["review-2"].jobs[2])
        self.assertEqual(self.reviews.free_name(), "review-2")

    def test_bounds(self) -> None:
        for _ in range(MOST_REVIEWED):
            self.number += 1
            self.reviews.add(make_job(self.f, self.number), A)
        error = self.assertRaises(ServerError, self.reviews.check_room, "a")
        self.assertEqual(error.code, "REVIEW_FULL")
        for number in range(MOST_REVIEWS - 1):
            self.reviews.check_room(f"r{number}")
            self.put(Aside(f"r{number}", 1.0, ""))
        self.reviews.check_room("r1")
        error = self.assertRaises(ServerError, self.reviews.check_room, "b")
        self.assertEqual(error.code, "TOO_MANY_REVIEWS")
        self.assertRaises(InvalidArgument, self.reviews.check_room, "-")

    def test_those_that_are_not_in_memory_are_counted(self) -> None:
        """While a server starts that has some."""
        self.put()
        lanes = []
        for function, tenant, count in ((self.f, "", 2), (self.f, "web", 1), (self.g, "", 5)):
            rows = LaneRows(Lane(function.name, tenant, ASIDE), 0)
            rows.count = count
            self.reviews.count_rows(function, rows)
            lanes.append(rows)
        self.assertEqual([self.reviews.count(each) for each in (self.f, self.g)], [4, 5])
        self.assertEqual([self.reviews.rows(each) for each in (self.f, self.g)], [3, 5])
        lanes[0].count = 0
        self.reviews.count_rows(self.f, lanes[0])
        self.reviews.count_rows(self.f, lanes[0])
        self.assertEqual(list(self.reviews.lanes), [lanes[1].lane, lanes[2].lane])
        self.reviews.check()

    def test_what_is_wrong_is_found(self) -> None:
        job = self.put()
        for name, wrong in (("size", 7), ("number", 9), ("function", self.g)):
            right = getattr(job, name)
            setattr(job, name, wrong)
            self.assertRaises(AssertionError, self.reviews.check)
            setattr(job, name, right)
        self.reviews.check()
        review = self.reviews.by_name.pop("a")
        self.assertRaises(AssertionError, self.reviews.check)
        self.reviews.by_name["b"] = review
        self.assertRaises(AssertionError, self.reviews.check)

"""Tests of L{txgear.broker.ended.shelves}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.ended.shelves import MOST_AT_ONCE, LaneRows, Shelf
from txgear.broker.model import Job
from txgear.broker.records import KEPT, Lane
from txgear.policies import Retention
from txgear.test.support.broker import make_job


class ShelfTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.shelf = Shelf()
        self.jobs: list[Job] = []

    def put(self, size: int = 0) -> Job:
        job = make_job(number=len(self.jobs) + 1, workload=b"w" * size)
        self.jobs.append(job)
        self.shelf.add(job)
        return job

    def put_rows(self, tenant: str, count: int, size: int) -> LaneRows:
        rows = LaneRows(Lane(b"f", tenant, KEPT), 0)
        rows.count, rows.bytes = count, size
        self.shelf.count_rows(rows, count, size)
        return rows

    def test_what_is_there_is_counted(self) -> None:
        first, second = self.put(3), self.put(5)
        self.assertEqual((self.shelf.count, self.shelf.bytes), (2, 8))
        self.assertTrue(self.shelf.remove(first))
        self.assertFalse(self.shelf.remove(first))
        self.assertEqual((self.shelf.count, self.shelf.bytes), (1, 5))
        self.assertEqual(list(self.shelf.in_order()), [second])

    def test_rows_are_counted_too(self) -> None:
        self.put(3)
        rows, others = self.put_rows("", 2, 20), self.put_rows("somebody", 1, 7)
        self.assertEqual((self.shelf.count, self.shelf.rows, self.shelf.bytes), (4, 3, 30))
        self.assertEqual(list(self.shelf.lanes.values()), [rows, others])
        for left in (1, 0):
            rows.count -= 1
            self.shelf.count_rows(rows, -1, -10)
            self.assertEqual(self.shelf.rows, left + 1)
            self.assertEqual(list(self.shelf.lanes.values()), [rows, others] if left else [others])

    def test_it_is_seen_where_one_is_not_counted(self) -> None:
        jobs = [self.put(3), self.put(5)]
        rows = self.put_rows("", 2, 20)
        self.shelf.check(jobs)
        self.assertRaises(AssertionError, self.shelf.check, jobs[:1])
        rows.count -= 1
        self.assertRaises(AssertionError, self.shelf.check, jobs)
        self.assertRaises(AssertionError, Shelf().check, [])

    def test_by_their_places_where_they_came_in_any_order(self) -> None:
        jobs = [self.put() for _ in range(4)]
        for job, place in zip(jobs, (8, 6, 9, 7), strict=True):
            job.place = place
        self.assertEqual(list(self.shelf.in_order()), jobs)
        self.assertEqual(next(self.shelf.newest()), jobs[3])
        self.shelf.mix()
        expected = [jobs[1], jobs[3], jobs[0], jobs[2]]
        self.assertEqual(next(self.shelf.newest()), jobs[2])
        self.assertEqual(list(self.shelf.in_order()), expected)
        self.assertEqual(list(self.shelf.jobs), [job.number for job in expected])

    def test_what_is_too_many_is_the_oldest(self) -> None:
        jobs = [self.put(10) for _ in range(5)]
        for bounds, surplus in (
            (Retention(1.0), []),
            (Retention(1.0, jobs=5), []),
            (Retention(1.0, jobs=3), jobs[:2]),
            (Retention(1.0, bytes=50), []),
            (Retention(1.0, bytes=49), jobs[:1]),
            (Retention(1.0, bytes=15), jobs[:4]),
            (Retention(1.0, jobs=4, bytes=20), jobs[:3]),
            (Retention(1.0, jobs=1, bytes=1), jobs[:4]),
        ):
            self.assertEqual(self.shelf.surplus(bounds), surplus)
            self.assertEqual(self.shelf.exceeds(bounds), bool(surplus))
            self.assertEqual(self.shelf.surplus(bounds, jobs[0].place), surplus[:1])

    def test_rows_make_it_too_many(self) -> None:
        jobs = [self.put(10) for _ in range(2)]
        self.put_rows("", 3, 30)
        self.assertEqual(self.shelf.surplus(Retention(1.0, jobs=3)), jobs)
        self.assertEqual(self.shelf.surplus(Retention(1.0, bytes=49)), jobs[:1])

    def test_not_too_many_at_once(self) -> None:
        jobs = [self.put() for _ in range(MOST_AT_ONCE * 2)]
        self.assertEqual(self.shelf.surplus(Retention(1.0, jobs=1)), jobs[:MOST_AT_ONCE])

    def test_about_how_many_are_too_many(self) -> None:
        self.put_rows("", 10, 100)
        for bounds, excess in (
            (Retention(1.0, jobs=7), 3),
            (Retention(1.0, jobs=7, bytes=55), 5),
            (Retention(1.0, bytes=100), 1),
            (Retention(1.0, jobs=20), 1),
        ):
            self.assertEqual(self.shelf.excess(bounds), excess)
        self.put_rows("somebody", 1000, 0)
        self.assertEqual(self.shelf.excess(Retention(1.0, jobs=7)), MOST_AT_ONCE)

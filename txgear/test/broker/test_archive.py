"""Tests of L{txgear.broker.archive}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.archive import MOST_AT_ONCE, Archive
from txgear.broker.jobs import DEAD, DONE, Job
from txgear.broker.queues import Function
from txgear.policies import Retention
from txgear.test.support.broker import make_job


class ArchiveTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.archive = Archive()
        self.queue = Function(b"f")
        self.number = 0

    def job(self, size: int = 0, state: int = DONE, unique: bytes = b"", since: float = 0.0) -> Job:
        """One that has ended, and is not in the archive."""
        self.number += 1
        job = make_job(self.queue, self.number, unique=unique, workload=b"w" * size)
        job.state = state
        job.since = since
        return job

    def put(self, size: int = 0, state: int = DONE, unique: bytes = b"", since: float = 0.0) -> Job:
        job = self.job(size, state, unique, since)
        self.archive.put(job, since + 60)
        return job

    def shelf(self, dead: bool) -> tuple[list[Job], int]:
        shelf = self.archive.shelf(self.queue, dead)
        return list(shelf.jobs.values()), shelf.bytes

    def test_the_dead_and_others_have_shelves_of_their_own(self) -> None:
        dead, done = self.put(3, DEAD), self.put(5)
        self.assertEqual((self.shelf(True), self.shelf(False)), (([dead], 3), ([done], 5)))
        self.assertEqual((list(self.archive.jobs.values()), self.queue.kept), ([dead, done], 2))

    def test_functions_too(self) -> None:
        self.put(3)
        self.queue = Function(b"g")
        self.assertEqual(self.shelf(False), ([], 0))

    def test_one_that_is_removed_leaves_nothing(self) -> None:
        first, second = self.put(3, unique=b"u"), self.put(5)
        self.archive.data[first.number] = b"www"
        self.archive.remove(first)
        self.assertEqual((self.shelf(False), self.queue.kept), (([second], 5), 1))
        self.assertEqual((self.archive.data, self.archive.find(self.queue, b"u")), ({}, None))
        self.archive.remove(second)
        self.assertEqual((self.archive.jobs, self.archive._shelves), ({}, {}))

    def test_the_last_one_has_the_unique(self) -> None:
        first, second = self.put(unique=b"u"), self.put(unique=b"u")
        self.assertIs(self.archive.find(self.queue, b"u"), second)
        self.archive.remove(first)
        self.assertIs(self.archive.newest(b"u"), second)
        self.archive.remove(second)
        self.assertIsNone(self.archive.newest(b"u"))

    def test_of_the_same_name_the_last_that_is_there(self) -> None:
        first, second, third = (self.put(unique=b"u", since=float(number)) for number in range(3))
        other = self.put(unique=b"v")
        for gone, last in ((third, second), (first, second), (second, None)):
            self.archive.remove(gone)
            self.assertIs(self.archive.find(self.queue, b"u"), last)
        self.assertEqual((self.archive._older, self.archive.newest(b"v")), ({}, other))

    def test_the_last_that_was_done(self) -> None:
        self.assertIsNone(self.archive.find_done(self.queue, b"u"))
        dead = self.put(state=DEAD, unique=b"u")
        self.assertIsNone(self.archive.find_done(self.queue, b"u"))
        done = self.put(unique=b"u")
        self.assertIs(self.archive.find_done(self.queue, b"u"), done)
        later = self.put(state=DEAD, unique=b"u")
        self.assertIs(self.archive.find_done(self.queue, b"u"), done)
        self.assertIs(self.archive.find(self.queue, b"u"), later)
        for job in (later, dead):
            self.archive.remove(job)
        self.assertIs(self.archive.newest(b"u"), done)

    def test_their_time(self) -> None:
        job, gone = self.put(since=1.0), self.put(since=0.5)
        self.archive.remove(gone)
        self.assertEqual((gone.due, self.archive.agenda.next_due()), (0.0, 61.0))
        self.assertIs(self.archive.agenda.pop_due(61.0), job)

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
            self.assertEqual(self.archive.surplus(jobs[-1], bounds), surplus)

    def test_not_too_many_at_once(self) -> None:
        jobs = [self.put() for _ in range(MOST_AT_ONCE * 2)]
        self.assertEqual(self.archive.surplus(jobs[-1], Retention(1.0, jobs=1)), jobs[:MOST_AT_ONCE])

    def test_one_that_is_stripped_is_known_and_counts_no_more(self) -> None:
        first, second = self.put(10, unique=b"u"), self.put(10)
        self.archive.data[first.number] = b"w" * 10
        self.archive.strip(first)
        self.assertEqual((self.shelf(False), first.size, self.archive.data), (([second], 10), 0, {}))
        self.assertIs(self.archive.find(self.queue, b"u"), first)
        self.archive.strip(first)
        self.archive.remove(first)
        self.assertEqual((self.shelf(False), self.queue.kept), (([second], 10), 1))

    def test_they_can_be_put_into_the_order_of_their_ends(self) -> None:
        late, early, middle = self.put(since=3.0), self.put(since=1.0), self.put(since=2.0)
        dead = self.put(state=DEAD, since=0.0)
        self.archive.sort()
        self.assertEqual(self.shelf(False)[0], [early, middle, late])
        self.assertEqual(list(self.archive.jobs), [job.number for job in (dead, early, middle, late)])

    def test_those_of_the_same_name_too(self) -> None:
        late, early = self.put(unique=b"u", since=3.0), self.put(unique=b"u", since=1.0)
        self.assertIs(self.archive.newest(b"u"), early)
        self.archive.sort()
        self.assertIs(self.archive.newest(b"u"), late)
        self.archive.remove(late)
        self.assertIs(self.archive.newest(b"u"), early)

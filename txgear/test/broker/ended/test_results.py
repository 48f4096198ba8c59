"""Tests of L{txgear.broker.ended.results}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.ended.results import RUN, Results
from txgear.broker.ended.shelves import LaneRows
from txgear.broker.model import Function, Job, Run
from txgear.broker.records import KEPT, Lane
from txgear.broker.states import DONE
from txgear.broker.timerqueue import TimerQueue
from txgear.policies import Retention
from txgear.test.support.broker import make_job


class ResultsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.due: TimerQueue[Job | Run] = TimerQueue()
        self.results = Results(self.due)
        self.function = Function(b"f")
        self.number = 0

    def put(self, until: float = 60.0, size: int = 0) -> Job:
        self.number += 1
        job = make_job(self.function, self.number, workload=b"w" * size)
        job.state = DONE
        job.due = until
        self.results.add((job,))
        self.results.check_all(self.function)
        return job

    def test_what_is_there_is_counted(self) -> None:
        first, second = self.put(size=3), self.put(size=5)
        rows = LaneRows(Lane(b"f", "", KEPT), 0)
        rows.count, rows.bytes = 2, 9
        self.results.count_rows(rows, 2, 9)
        self.assertEqual((self.results.count, self.results.there, self.results.bytes), (4, 2, 17))
        self.results.remove(first)
        self.results.check_all(self.function)
        self.assertEqual((self.results.count, self.results.there, self.results.bytes), (3, 1, 14))
        self.assertEqual((list(self.results.in_order()), first.run, first.due), ([second], None, 0.0))

    def test_those_that_are_to_be_forgotten_in_turn_wait_together(self) -> None:
        jobs = [self.put(60.0), self.put(60.0), self.put(70.0)]
        self.assertEqual((len(self.due), self.due.next_due()), (1, 60.0))
        sooner = self.put(50.0)
        self.assertEqual((len(self.due), self.due.next_due()), (2, 50.0))
        self.assertIs(self.due.pop_due(50.0), sooner.run)
        self.assertIs(self.due.pop_due(60.0), jobs[0].run)
        self.assertEqual([job.due for job in (*jobs, sooner)], [60.0, 60.0, 70.0, 50.0])
        self.assertEqual(list(self.results.in_order()), [*jobs, sooner])

    def test_a_run_is_not_very_long(self) -> None:
        jobs = [self.put() for _ in range(RUN + 1)]
        self.assertEqual(len(self.due), 2)
        self.assertEqual(list(self.results.in_order()), jobs)

    def test_nothing_waits_where_nothing_is_left(self) -> None:
        first, second, third = self.put(60.0), self.put(50.0), self.put(40.0)
        for job, left in ((second, 2), (first, 1), (third, 0)):
            self.results.remove(job)
            self.assertEqual(len(self.due), left)
        self.assertEqual((self.results.count, list(self.results.in_order())), (0, []))

    def test_by_their_places_where_they_came_in_any_order(self) -> None:
        jobs = [self.put(60.0 + number, size=number) for number in range(4)]
        rows = LaneRows(Lane(b"f", "", KEPT), 0)
        rows.count, rows.bytes = 1, 7
        self.results.count_rows(rows, 1, 7)
        for job, place in zip(jobs, (8, 6, 9, 7), strict=True):
            job.place = place
        run = jobs[0].run
        self.results.mix()
        expected = [jobs[1], jobs[3], jobs[0], jobs[2]]
        for _ in range(2):
            self.assertEqual(list(self.results.in_order()), expected)
            self.results.check_all(self.function)
        self.assertEqual([job.due for job in jobs], [60.0, 61.0, 62.0, 63.0])
        self.assertEqual((self.results.there, self.results.bytes), (4, 13))
        # As they are in runs in which each is to be forgotten after those before it.
        self.assertEqual((len(self.due), self.due.next_due()), (2, 60.0))
        # Who is just at it finds nothing in it.
        assert run is not None
        self.assertEqual(run.jobs, {})

    def test_the_oldest_are_too_many(self) -> None:
        jobs = [self.put(60.0 - number) for number in range(3)]
        self.assertEqual(self.results.surplus(Retention(60.0, 2)), jobs[:1])

    def test_what_is_wrong_is_found(self) -> None:
        first, second = self.put(60.0), self.put(61.0)
        run = first.run
        assert run is not None
        for thing, name, wrong in (
            (self.results, "there", 3),
            (self.results, "bytes", 1),
            (first, "due", 62.0),
            (run, "due", 60.5),
            (run, "last", 60.5),
            (second, "run", None),
            (second, "number", 7),
            (second, "function", Function(b"g")),
        ):
            right = getattr(thing, name)
            setattr(thing, name, wrong)
            self.assertRaises(AssertionError, self.results.check_all, self.function)
            setattr(thing, name, right)
        self.results.check_all(self.function)

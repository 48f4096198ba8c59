"""Tests of L{txgear.broker.lanes}: what is behind a lane, and not in memory."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.lanes import EACH, Lanes
from txgear.broker.lanes import LOW as LOW_LEVEL
from txgear.broker.model import Job
from txgear.broker.overflow import Rows
from txgear.broker.states import DELAYED, PAGED, QUEUED
from txgear.broker.tenants import Tenant
from txgear.protocol.constants import HIGH, LOW, NORMAL
from txgear.test.support.broker import make_job


class RowsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.lanes: Lanes[Job] = Lanes()

    def tearDown(self) -> None:
        self.lanes.check()

    def job(self, place: int, state: int = PAGED) -> Job:
        job = make_job(number=place)
        job.state = state
        return job

    def row(self, place: int, owner: Tenant | None = None) -> bool:
        return self.lanes.add_rows(NORMAL, owner, 1, place)

    def queue(self, place: int) -> Job:
        job = self.job(place, QUEUED)
        self.lanes.append(job)
        return job

    def take_in(self, place: int) -> Job:
        job = self.job(place)
        self.lanes.append_overflow(job)
        self.lanes.take_row(NORMAL, None)
        return job

    def test_they_count_and_open_a_lane(self) -> None:
        self.assertEqual([self.row(1), self.row(2)], [True, False])
        self.assertEqual(
            [self.lanes.add_rows(HIGH, None, 3), self.lanes.add_rows(HIGH, None, 1)], [True, False]
        )
        self.assertEqual((self.lanes.ready, self.lanes.paged, self.lanes.rows_count), (0, 6, 6))
        self.assertEqual([self.lanes.total_of(priority) for priority in (HIGH, NORMAL, LOW)], [4, 2, 0])
        self.assertEqual(self.lanes.owners(), {None})

    def test_a_lane_that_has_something_is_open(self) -> None:
        self.queue(1)
        self.assertEqual((self.row(2), self.lanes.add_rows(NORMAL, None, 1)), (False, False))

    def test_whose_they_are(self) -> None:
        owner = Tenant("a")
        self.row(1, owner)
        found = [self.lanes.has_rows(NORMAL, each) for each in (owner, None)]
        self.assertEqual((found, self.lanes.has_rows(LOW, owner)), ([True, False], False))
        self.assertEqual((list(self.lanes.rows(NORMAL)), self.lanes.rows(LOW)), ([owner], {}))

    def test_those_that_come_in_are_in_order(self) -> None:
        for place in (1, 3):
            self.row(place)
        later = self.job(2)
        self.lanes.append_overflow(later)
        first = self.take_in(1)
        self.assertEqual(self.lanes.read(NORMAL, None, 0, 1), 0)
        self.assertIs(self.lanes.pop_loaded(NORMAL, None), first)
        first.state = QUEUED
        self.lanes.append(first)
        last = self.take_in(3)
        self.assertEqual(self.lanes.all(), [first, later, last])

    def squeeze_in(self, place: int) -> bool:
        return self.lanes.squeeze_in(self.job(place, QUEUED))

    def places(self) -> list[int]:
        return [job.place for job in self.lanes.all()]

    def test_one_that_comes_late(self) -> None:
        """It is before those that have come meanwhile, and where nobody has it comes as all do."""
        self.assertFalse(self.squeeze_in(2))
        self.queue(1)
        self.assertFalse(self.squeeze_in(2))
        gone = self.queue(4)
        self.queue(7)
        self.queue(9)
        self.lanes.remove(gone)
        gone.state = DELAYED
        self.assertTrue(self.squeeze_in(8))
        self.assertTrue(self.squeeze_in(3))
        self.assertEqual((self.places(), self.lanes.ready), ([1, 3, 7, 8, 9], 5))
        # Those are not in order, and it is no worse for it.
        self.queue(2)
        self.assertFalse(self.squeeze_in(6))

    def test_one_that_comes_late_though_others_are_behind(self) -> None:
        self.queue(1)
        self.queue(9)
        self.row(12)
        self.assertTrue(self.squeeze_in(8))
        later = self.job(11)
        self.lanes.append_overflow(later)
        self.assertTrue(self.squeeze_in(7))
        self.assertEqual(self.places(), [1, 7, 8, 9, 11])
        self.lanes.remove_overflow(later)
        self.row(5)
        self.assertFalse(self.squeeze_in(6))
        self.assertTrue(self.squeeze_in(4))

    def test_one_that_comes_late_where_others_are_behind_that_came_before(self) -> None:
        self.queue(9)
        self.lanes.append_overflow(self.job(5))
        self.assertEqual((self.squeeze_in(6), self.squeeze_in(4)), (False, True))

    def test_there_are_fewer(self) -> None:
        self.lanes.add_rows(NORMAL, None, 3)
        self.assertEqual(
            (self.lanes.read(LOW, None, 0, None), self.lanes.read(NORMAL, None, 0, None)), (0, 3)
        )
        self.assertEqual((self.lanes.paged, self.lanes.overflow), (0, {}))

    def test_the_first_go_into_the_lane_at_once(self) -> None:
        for place in (1, 2, 3):
            self.row(place)
        self.assertTrue(self.lanes.has_rows_only(NORMAL, None, 0))
        jobs = [self.job(place, QUEUED) for place in (1, 2)]
        self.lanes.take_rows(NORMAL, None, jobs)
        self.assertEqual((self.lanes.ready, self.lanes.paged, self.lanes.all()), (2, 1, jobs))
        last = self.job(3, QUEUED)
        self.lanes.take_rows(NORMAL, None, [last])
        self.assertEqual((self.lanes.overflow, self.lanes.all()), ({}, [*jobs, last]))

    def test_more_than_were_known_do_too(self) -> None:
        self.row(1)
        self.lanes.take_rows(NORMAL, None, [self.job(place, QUEUED) for place in (1, 2)])
        self.assertEqual((self.lanes.ready, self.lanes.paged), (2, 0))

    def test_not_where_anything_else_is_behind_it(self) -> None:
        self.assertFalse(self.lanes.has_rows_only(NORMAL, None, 0))
        self.row(3)
        found = [self.lanes.has_rows_only(NORMAL, None, after) for after in (2, 3)]
        self.assertEqual((found, self.lanes.has_rows_only(NORMAL, Tenant("a"), 0)), ([True, False], False))
        self.lanes.append_overflow(self.job(4))
        self.assertFalse(self.lanes.has_rows_only(NORMAL, None, 0))

    def test_those_of_other_lanes(self) -> None:
        rows = Rows(4)
        rows.count = 2
        self.lanes.fill_rows(NORMAL, None, rows)
        self.assertEqual((self.lanes.paged, self.lanes.rows(NORMAL)), (2, {None: rows}))

    def test_which_can_become_rows(self) -> None:
        self.assertTrue(self.lanes.may_pass_by(self.job(1)))
        self.assertIsNone(self.lanes.last(NORMAL, None))
        one, two = self.job(2), self.job(3)
        for job in (one, two):
            self.lanes.append_overflow(job)
        self.assertIs(self.lanes.last(NORMAL, None), two)
        self.assertEqual([self.lanes.may_spare(job) for job in (one, two)], [False, True])
        self.assertEqual([self.lanes.may_pass_by(self.job(place)) for place in (1, 4)], [False, True])

    def test_which_can_follow_rows(self) -> None:
        self.assertFalse(self.lanes.may_follow(self.job(9), None))
        self.lanes.append_overflow(self.job(5))
        self.assertFalse(self.lanes.may_follow(self.job(9), None))
        self.lanes.add_rows(NORMAL, None, 1, 7)
        self.assertEqual([self.lanes.may_follow(self.job(place), None) for place in (4, 8)], [False, True])

    def test_when_to_look_for_more(self) -> None:
        for place in range(1, LOW_LEVEL):
            self.queue(place)
        self.assertTrue(self.lanes.is_low(NORMAL))
        self.queue(LOW_LEVEL)
        self.assertFalse(self.lanes.is_low(NORMAL))

    def test_how_often_that_is_looked_at(self) -> None:
        for place in range(1, 3 * EACH):
            self.queue(place)
        asked = []
        while self.lanes.ready:
            if self.lanes.is_low(NORMAL):
                asked.append(self.lanes.ready)
            self.lanes.take(NORMAL)
        self.assertEqual(asked, [3 * EACH - 1, 2 * EACH - 1, *range(EACH - 1, 0, -1)])

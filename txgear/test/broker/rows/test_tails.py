"""Tests of L{txgear.broker.rows.tails}."""

from __future__ import annotations

from txgear.broker.model import Job
from txgear.broker.paging import JOB_BYTES
from txgear.broker.rows.tails import SETTLED, Tails
from txgear.broker.states import NEW
from txgear.test.support.broker import DurableBrokerTestCase


class TailsTests(DurableBrokerTestCase):
    queue_memory = JOB_BYTES + 10

    def setUp(self) -> None:
        super().setUp()
        self.tails = Tails(self.broker.timers, self.settle)
        self.looked: list[Job] = []
        self.crowded = True

    def settle(self, job: Job, now: float) -> None:
        self.looked.append(job)
        self.broker.stock.settle(job, now)
        if job.state == NEW and self.crowded:
            self.tails.spared(job, now)

    def paged(self, count: int) -> list[Job]:
        """So many behind one that has room; nobody waits for them any more."""
        self.fixture.store(b"")
        jobs = self.fixture.store_waited_for(*[b"four"] * count)
        for job in jobs:
            job.clients = ()
        return jobs

    def work(self) -> list[Job]:
        self.looked.clear()
        self.tails.work(self.fixture.now)
        return self.looked

    def test_those_before_it_follow_up_to_the_first(self) -> None:
        jobs = self.paged(4)
        self.tails.spared(jobs[0], self.fixture.now)
        self.assertEqual((len(self.tails), self.broker.timers.deadline), (1, self.fixture.now))
        self.assertEqual(self.work(), [jobs[3], jobs[2], jobs[1], jobs[0]])
        self.assertEqual((sorted(self.broker.table.jobs), len(self.tails)), ([1, jobs[0].number], 0))

    def test_up_to_one_that_stays(self) -> None:
        jobs = self.paged(4)
        self.broker.stock.hold(jobs[2])
        self.tails.spared(jobs[0], self.fixture.now)
        self.assertEqual(self.work(), [jobs[3], jobs[2]])
        self.assertEqual(len(self.tails), 0)

    def test_until_there_is_room(self) -> None:
        jobs = self.paged(4)
        self.crowded = False
        self.tails.spared(jobs[0], self.fixture.now)
        self.assertEqual((self.work(), len(self.tails)), ([jobs[3]], 0))

    def test_nothing_is_left_of_a_lane(self) -> None:
        (job,) = self.paged(1)
        self.fixture.cancel(job)
        self.tails.spared(job, self.fixture.now)
        self.assertEqual((self.work(), len(self.tails)), ([], 0))

    def test_a_great_many_are_looked_at_in_several_turns(self) -> None:
        jobs = self.paged(SETTLED + 2)
        self.tails.spared(jobs[0], self.fixture.now)
        self.assertEqual((len(self.work()), len(self.tails)), (SETTLED, 1))
        self.assertEqual((self.work(), len(self.tails)), ([jobs[1], jobs[0]], 0))

    def test_there_is_nothing(self) -> None:
        self.assertEqual(self.work(), [])

    def test_those_that_were_written_in_pieces(self) -> None:
        """Of each piece it is told that it is there when others are behind it."""
        jobs = self.paged(9)
        numbers = [job.number for job in jobs]
        self.journal.unsettled.update(numbers)
        for piece in (numbers[:3], numbers[3:6], numbers[6:]):
            self.journal.unsettled.difference_update(piece)
            self.broker.store_events.written(piece, self.fixture.now)
        self.fixture.pass_time(0)
        self.assertEqual(sorted(self.broker.table.jobs), [1, numbers[0]])
        self.broker.stock.check()


class RoomTests(DurableBrokerTestCase):
    queue_memory = 5 * JOB_BYTES

    def test_those_for_which_there_is_room_stay(self) -> None:
        jobs = self.fixture.store_waited_for(*[b"four"] * 9)
        for job in jobs:
            job.clients = ()
        self.broker.store_events.written([jobs[8].number], self.fixture.now)
        self.fixture.pass_time(0)
        self.assertEqual(sorted(self.broker.table.jobs), [1, 2, 3, 4])

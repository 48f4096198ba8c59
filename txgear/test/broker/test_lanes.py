"""Tests of L{txgear.broker.lanes}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.entries import SLACK
from txgear.broker.lanes import Lanes
from txgear.broker.model import Job
from txgear.broker.overflow import Overflow
from txgear.broker.states import DELAYED, DONE, PAGED, QUEUED, RUNNING
from txgear.protocol.constants import HIGH, LOW, NORMAL
from txgear.test.support.broker import make_job, overflowed, queued


def entries(lanes: Lanes[Job], priority: int = NORMAL) -> int:
    """How many a lane has, tombstones and stale ones included."""
    odds = lanes._odds.get(priority)
    return len(lanes._lanes[priority] or ()) + (len(odds.returned._heap) if odds is not None else 0)


class LanesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.lanes: Lanes[Job] = Lanes()
        self.made = 0

    def job(self, priority: int = NORMAL) -> Job:
        self.made += 1
        return make_job(None, self.made, priority=priority)

    def add(self, priority: int = NORMAL) -> Job:
        job = self.job(priority)
        job.state = QUEUED
        self.lanes.append(job)
        return job

    def take(self, priority: int = NORMAL) -> Job:
        job = self.lanes.take(priority)
        job.state = RUNNING
        return job

    def lose(self, job: Job, retries: int = 1) -> None:
        job.state = QUEUED
        job.retries = retries
        self.lanes.put_back(job)

    def end(self, job: Job) -> None:
        self.lanes.remove(job)
        job.state = DONE

    def test_first_in_first_out_in_each_lane(self) -> None:
        order = (LOW, NORMAL, LOW, NORMAL, NORMAL, LOW)
        jobs = [self.add(priority) for priority in order]
        self.assertEqual(self.lanes.counts, [0, 3, 3])
        for priority in (LOW, NORMAL):
            expected = [job for job in jobs if job.priority == priority]
            self.assertEqual([self.take(priority) for _ in range(3)], expected)
        self.assertEqual((self.lanes.counts, self.lanes.ready), ([0, 0, 0], 0))

    def test_the_heads_are_those_that_came_first(self) -> None:
        """Of each priority; those that have come back count by themselves, and what is over does not."""
        self.assertEqual(self.lanes.heads(), [])
        high, jobs = self.add(HIGH), [self.add() for _ in range(6)]
        self.assertEqual(self.lanes.heads(), [high, jobs[0]])
        back = [self.take(), self.take(), self.take()]
        self.lose(back[1])
        self.lose(back[0])
        self.assertEqual(self.lanes.heads(), [high, back[0], jobs[3]])
        self.end(jobs[4])
        self.end(back[0])
        self.end(jobs[3])
        self.assertEqual(self.lanes.heads(), [high, back[1], jobs[5]])
        self.end(jobs[5])
        self.assertEqual(self.lanes.heads(), [high, back[1]])
        behind = self.job(LOW)
        behind.state = PAGED
        self.lanes.append_overflow(behind)
        self.assertEqual(self.lanes.heads(), [behind, high, back[1]])
        self.lanes.check()

    def test_a_head_is_not_over(self) -> None:
        jobs = [self.add() for _ in range(3)]
        self.end(jobs[1])
        self.take()
        self.assertEqual(self.lanes.heads(), [jobs[2]])
        self.lanes.check()

    def test_the_next_is_seen_without_being_taken(self) -> None:
        """Whatever has left before it, or is just about to; those that have come back are first."""
        jobs = [self.add() for _ in range(7)]
        self.assertIs(self.lanes.head(NORMAL), jobs[0])
        back = [self.take() for _ in range(3)]
        for job in back:
            self.lose(job)
        self.end(back[0])
        self.lanes.remove(back[1])
        self.assertIs(self.lanes.head(NORMAL, back[1]), back[2])
        back[1].state = DONE
        self.end(back[2])
        self.end(jobs[4])
        self.lanes.remove(jobs[3])
        self.assertIs(self.lanes.head(NORMAL, jobs[3]), jobs[5])
        jobs[3].state = DONE
        self.assertEqual((self.lanes.head(NORMAL), self.lanes.startable), (jobs[5], 2))
        self.lanes.check()
        self.assertEqual([self.take(), self.take()], jobs[5:])

    def test_all_at_once(self) -> None:
        """As if they had come one by one."""
        jobs = [self.job(LOW) for _ in range(6)]
        for job in jobs:
            job.state = QUEUED if job.number < 5 else PAGED
        self.lanes.fill(LOW, jobs[1::-1], jobs[2:4], jobs[4:])
        self.lanes.fill(HIGH, [], [], [])
        self.lanes.check()
        self.assertEqual((self.lanes.ready, self.lanes.paged, self.lanes.total_of(LOW)), (4, 2, 6))
        self.assertEqual([self.take(LOW) for _ in range(4)], jobs[:4])
        self.assertEqual(self.lanes.firsts(), [jobs[4]])

    def test_what_was_behind_the_last_that_was_taken(self) -> None:
        """It may have left already, or be about to."""
        jobs = [self.add() for _ in range(5)]
        self.end(jobs[1])
        self.take()
        self.lanes.remove(jobs[2])
        self.assertIs(self.lanes.head(NORMAL, jobs[2]), jobs[3])
        jobs[2].state = DONE
        self.assertEqual([self.take(), self.take()], jobs[3:])

    def test_all_by_what_they_are(self) -> None:
        """Those that have come back, those in the lane, those behind it."""
        jobs = [self.add() for _ in range(4)]
        self.lose(self.take())
        self.end(jobs[2])
        self.assertEqual(self.lanes.kinds(NORMAL), ([jobs[0]], [jobs[1], jobs[3]], []))
        self.assertEqual(self.lanes.kinds(LOW), ([], [], []))

    def test_it_says_when_a_lane_begins_and_ends(self) -> None:
        self.assertTrue(self.lanes.append(self.job()))
        self.assertFalse(self.lanes.append(self.job()))
        self.assertTrue(self.lanes.append(self.job(HIGH)))
        one, other = self.add(LOW), self.add(LOW)
        self.assertFalse(self.lanes.remove(one))
        one.state = DONE
        self.assertTrue(self.lanes.remove(other))
        other.state = DONE
        self.assertTrue(self.lanes.put_back(self.job(LOW)))
        self.assertFalse(self.lanes.put_back(self.job(LOW)))

    def test_those_that_ended_are_passed_over(self) -> None:
        jobs = [self.add() for _ in range(5)]
        for gone in (0, 1, 3):
            self.end(jobs[gone])
        self.assertEqual((self.lanes.counts, self.lanes.ready), ([0, 2, 0], 2))
        self.assertEqual(queued(self.lanes), [jobs[2], jobs[4]])
        self.assertEqual([self.take(), self.take()], [jobs[2], jobs[4]])

    def test_the_first_to_end_takes_those_behind_it_along_that_ended_before(self) -> None:
        jobs = [self.add() for _ in range(4)]
        for gone in (1, 2, 0):
            self.end(jobs[gone])
        self.assertEqual(self.lanes.all(), [jobs[3]])
        self.assertIs(self.take(), jobs[3])

    def test_one_that_comes_back_is_first(self) -> None:
        first, second = self.add(), self.add()
        self.lose(self.take())
        self.assertEqual(queued(self.lanes), [first, second])

    def test_those_that_come_back_keep_their_order(self) -> None:
        jobs = [self.add() for _ in range(6)]
        for _ in range(4):
            self.take()
        self.end(jobs[4])
        for index in (2, 0, 3, 1):
            self.lose(jobs[index])
        self.assertEqual(queued(self.lanes), [*jobs[:4], jobs[5]])

    def test_one_that_comes_back_is_before_those_that_never_left(self) -> None:
        jobs = [self.add() for _ in range(3)]
        self.lose(self.take())
        self.assertEqual(self.lanes.all(), jobs)
        self.assertEqual([self.take() for _ in range(3)], jobs)
        self.assertEqual(self.lanes.all(), [])

    def test_one_that_ends_after_it_came_back_is_passed_over(self) -> None:
        jobs = [self.add() for _ in range(4)]
        for _ in range(2):
            self.take()
        self.lose(jobs[0])
        self.lose(jobs[1])
        self.end(jobs[0])
        self.assertEqual([self.take() for _ in range(3)], jobs[1:])
        self.assertEqual((self.lanes.ready, self.lanes.all()), (0, []))

    def test_the_last_of_those_that_came_back_may_end(self) -> None:
        jobs = [self.add() for _ in range(2)]
        self.lose(self.take())
        self.end(jobs[0])
        self.assertEqual(self.take(), jobs[1])
        self.lose(jobs[1])
        self.end(jobs[1])
        self.assertEqual((self.lanes.ready, self.lanes.all()), (0, []))

    def test_husks_of_those_that_came_back_do_not_pile_up(self) -> None:
        jobs = [self.add() for _ in range(10 * SLACK)]
        for _ in jobs[1:]:
            self.take()
        for job in jobs[1:-1]:
            self.lose(job)
        keep = self.add()
        for job in jobs[2:-1]:
            self.end(job)
        self.assertLess(entries(self.lanes), 2 * SLACK)
        self.assertEqual(queued(self.lanes), [jobs[1], jobs[-1], keep])
        last = [self.add() for _ in range(10 * SLACK)]
        self.end(jobs[1])
        for job in last[1:-1]:
            self.end(job)
        self.assertLess(entries(self.lanes), 2 * SLACK)
        self.assertEqual(queued(self.lanes), [jobs[-1], keep, last[0], last[-1]])

    def test_who_ends_the_newest_first_sweeps_nothing(self) -> None:
        jobs = [self.add() for _ in range(10 * SLACK)]
        self.end(jobs[-2])
        lane = self.lanes._lanes[NORMAL]
        assert lane is not None
        for job in [jobs[-1], *jobs[-3:3:-1]]:
            self.end(job)
        self.assertIs(self.lanes._lanes[NORMAL], lane)
        self.assertEqual(list(lane), jobs[:4])

    def test_those_that_come_back_to_an_empty_lane_keep_their_order(self) -> None:
        jobs = [self.add() for _ in range(3)]
        for _ in range(3):
            self.take()
        for index in (1, 2, 0):
            self.lose(jobs[index])
        self.assertEqual(queued(self.lanes), jobs)

    def test_tombstones_do_not_pile_up(self) -> None:
        keep = self.add()
        for _ in range(10 * SLACK):
            self.end(self.add())
        self.assertLess(entries(self.lanes), 2 * SLACK)
        self.assertEqual(queued(self.lanes), [keep])
        self.end(keep)
        self.assertEqual(self.lanes.all(), [])

    def test_the_queued_ones_by_priority(self) -> None:
        low, normal, high = self.add(LOW), self.add(NORMAL), self.add(HIGH)
        self.assertEqual(queued(self.lanes), [high, normal, low])


class OverflowTests(SynchronousTestCase):
    """What is behind the lanes."""

    def setUp(self) -> None:
        self.lanes: Lanes[Job] = Lanes()
        self.made = 0

    def add(self, priority: int = NORMAL, workload: bytes = b"") -> Job:
        self.made += 1
        job = make_job(None, self.made, priority=priority, workload=workload)
        job.state = PAGED
        self.lanes.append_overflow(job)
        return job

    def unload(self, *jobs: Job) -> None:
        for job in jobs:
            job.workload = b""

    def pop(self, priority: int = NORMAL) -> Job | None:
        job = self.lanes.pop_loaded(priority, None)
        if job is not None:
            job.state = QUEUED
        return job

    def end(self, job: Job) -> None:
        self.lanes.remove_overflow(job)
        job.state = DONE

    def test_they_come_out_in_order_as_far_as_they_are_loaded(self) -> None:
        jobs = [self.add(workload=b"x") for _ in range(4)]
        self.unload(jobs[2])
        self.assertEqual([self.pop() for _ in range(3)], [jobs[0], jobs[1], None])
        jobs[2].workload = b"x"
        self.assertEqual([self.pop() for _ in range(3)], [jobs[2], jobs[3], None])

    def test_each_priority_has_its_own(self) -> None:
        low, normal, high = self.add(LOW), self.add(NORMAL), self.add(HIGH)
        self.assertEqual(overflowed(self.lanes), [high, normal, low])
        self.assertIs(self.pop(NORMAL), normal)
        self.assertEqual(set(self.lanes.overflow), {HIGH, LOW})
        self.assertEqual(overflowed(self.lanes), [high, low])

    def test_where_others_are_behind(self) -> None:
        """Of each priority."""
        low, normal, last = self.add(LOW), self.add(), self.add()
        self.assertEqual([self.lanes.behind(make_job(priority=p)) for p in (HIGH, NORMAL)], [False, True])
        self.assertEqual(self.lanes.firsts(), [normal, low])
        self.assertEqual((self.lanes.to_read(HIGH), self.lanes.to_read(LOW)[1]), ((None, 0), 0))
        self.assertIs(self.lanes.to_read(NORMAL)[0], self.lanes.overflow[NORMAL])
        self.assertEqual(self.lanes.kinds(NORMAL), ([], [], [normal, last]))

    def test_there_is_none_where_nothing_is_behind(self) -> None:
        self.assertIsNone(self.pop())
        self.pop_all([self.add(), self.add()])
        self.end(self.add())
        self.assertEqual((self.lanes.overflow, self.lanes.paged, overflowed(self.lanes)), ({}, 0, []))

    def pop_all(self, expected: list[Job]) -> None:
        self.assertEqual([self.pop() for _ in expected], expected)

    def test_those_that_ended_are_passed_over(self) -> None:
        jobs = [self.add() for _ in range(5)]
        for gone in (0, 1, 3):
            self.end(jobs[gone])
        self.assertEqual((self.lanes.paged, self.lanes.overflow[NORMAL].count), (2, 2))
        self.assertEqual(overflowed(self.lanes), [jobs[2], jobs[4]])
        self.pop_all([jobs[2], jobs[4]])

    def test_the_first_of_none_is_none(self) -> None:
        overflow: Overflow[Job] = Overflow()
        self.assertIsNone(overflow.first())
        job = make_job()
        job.state = DONE
        overflow.items.append(job)
        self.assertIsNone(overflow.first())

    def test_tombstones_do_not_pile_up(self) -> None:
        keep = self.add()
        for _ in range(10 * SLACK):
            self.end(self.add())
        self.assertLess(len(self.lanes.overflow[NORMAL].items), 2 * SLACK)
        self.assertEqual(overflowed(self.lanes), [keep])

    def test_nor_those_between_others(self) -> None:
        jobs = [self.add() for _ in range(10 * SLACK)]
        for job in jobs[1:-1]:
            self.end(job)
        self.assertLess(len(self.lanes.overflow[NORMAL].items), 2 * SLACK)
        self.assertEqual(overflowed(self.lanes), [jobs[0], jobs[-1]])

    def test_they_count_as_queued(self) -> None:
        for priority in (LOW, LOW, NORMAL):
            self.add(priority)
        job = make_job(None, 9, priority=LOW)
        job.state = QUEUED
        self.lanes.append(job)
        self.assertEqual([self.lanes.total_of(priority) for priority in (HIGH, NORMAL, LOW)], [0, 1, 3])
        self.assertEqual((self.lanes.ready, self.lanes.paged), (1, 3))


class RowsTests(SynchronousTestCase):
    """What is behind a lane is not in memory."""

    def test_they_may_go_into_the_lane_if_they_are_the_first(self) -> None:
        lanes: Lanes[Job] = Lanes()
        self.assertFalse(lanes.has_rows_only(NORMAL, None, 0))
        overflow = lanes.overflow[NORMAL] = Overflow()
        overflow.add_rows(None, 1, 5)
        self.assertTrue(lanes.has_rows_only(NORMAL, None, 4))
        # This was asked for when none was before it; by now one is.
        overflow.add_rows(None, 1, 3)
        self.assertFalse(lanes.has_rows_only(NORMAL, None, 4))
        self.assertTrue(lanes.has_rows_only(NORMAL, None, 2))
        overflow.append(make_job(None, 2))
        self.assertFalse(lanes.has_rows_only(NORMAL, None, 2))


class WithdrawTests(SynchronousTestCase):
    """Items that are taken out of a lane, to be put into some lane again."""

    def setUp(self) -> None:
        self.lanes: Lanes[Job] = Lanes()
        self.place = 0

    def tearDown(self) -> None:
        self.lanes.check()

    def add(self, count: int = 1, priority: int = NORMAL) -> list[Job]:
        return [self.put(make_job(None, self.place + 1, priority=priority)) for _ in range(count)]

    def put(self, job: Job, priority: int | None = None) -> Job:
        """Behind all others."""
        self.place += 1
        job.place, job.state = self.place, QUEUED
        if priority is not None:
            job.priority = priority
        self.lanes.append(job)
        return job

    def withdraw(self, job: Job) -> bool:
        emptied = self.lanes.withdraw(job)
        job.state = DELAYED
        return emptied

    def take_all(self, priority: int = NORMAL) -> list[Job]:
        found = []
        while self.lanes.counts[priority]:
            found.append(self.lanes.take(priority))
            found[-1].state = RUNNING
        return found

    def test_from_wherever_it_is_it_comes_behind_the_others(self) -> None:
        for which in range(4):
            jobs = self.add(4)
            self.assertFalse(self.withdraw(jobs[which]))
            self.lanes.check()
            self.put(jobs[which])
            self.lanes.check()
            self.assertIs(self.lanes.head(NORMAL), jobs[0 if which else 1])
            expected = [job for job in jobs if job is not jobs[which]] + [jobs[which]]
            self.assertEqual(queued(self.lanes), expected)
            self.assertEqual(self.take_all(), expected)

    def test_the_last_one_leaves_nothing(self) -> None:
        (job,) = self.add()
        self.assertTrue(self.withdraw(job))
        self.assertEqual((self.lanes.counts, entries(self.lanes)), ([0, 0, 0], 0))

    def test_into_another_lane_and_back(self) -> None:
        """Its first entry is not taken for it, nor its second."""
        jobs = self.add(5)
        for priority in (HIGH, NORMAL, HIGH, NORMAL):
            self.withdraw(jobs[2])
            self.lanes.check()
            self.put(jobs[2], priority)
            self.add(1, priority)
        self.assertEqual(self.lanes.counts, [2, 7, 0])
        found = self.take_all()
        self.assertEqual(found[:4], [jobs[0], jobs[1], jobs[3], jobs[4]])
        self.assertEqual(found.count(jobs[2]), 1)
        self.assertIs(found[5], jobs[2])
        self.assertNotIn(jobs[2], self.take_all(HIGH))

    def test_one_that_has_come_back_from_a_worker(self) -> None:
        jobs = self.add(4)
        back = [self.lanes.take(NORMAL) for _ in range(3)]
        for job in back:
            job.state = QUEUED
            self.lanes.put_back(job)
        self.withdraw(back[1])
        self.lanes.check()
        self.put(back[1])
        self.assertEqual(queued(self.lanes), [jobs[0], jobs[2], jobs[3], jobs[1]])
        self.assertEqual(self.take_all(), [jobs[0], jobs[2], jobs[3], jobs[1]])

    def test_one_comes_back_twice(self) -> None:
        """In between it was in another lane, so that it has another place."""
        jobs = self.add(3)
        for job in jobs[:2]:
            self.assertIs(self.lanes.take(NORMAL), job)
            job.state = QUEUED
        self.lanes.put_back(jobs[0])
        self.lanes.put_back(jobs[1])
        self.withdraw(jobs[0])
        self.put(jobs[0])
        self.assertIs(self.lanes.take(NORMAL), jobs[1])
        jobs[1].state = RUNNING
        self.assertEqual(self.take_all(), [jobs[2], jobs[0]])
        jobs[0].state = QUEUED
        self.lanes.put_back(jobs[0])
        self.assertEqual(self.take_all(), [jobs[0]])

    def test_one_that_was_withdrawn_and_comes_again_can_end(self) -> None:
        jobs = self.add(5)
        self.withdraw(jobs[2])
        self.put(jobs[2])
        self.lanes.remove(jobs[2])
        jobs[2].state = DONE
        self.lanes.check()
        self.lanes.remove(jobs[0])
        jobs[0].state = DONE
        self.lanes.check()
        self.assertEqual(self.take_all(), [jobs[1], jobs[3], jobs[4]])

    def test_the_next_is_seen_behind_what_was_withdrawn(self) -> None:
        jobs = self.add(4)
        self.withdraw(jobs[1])
        self.put(jobs[1])
        self.withdraw(jobs[0])
        self.assertIs(self.lanes.head(NORMAL), jobs[2])
        self.assertEqual(self.lanes.heads(), [jobs[2]])
        self.put(jobs[0])
        self.assertEqual(self.take_all(), [jobs[2], jobs[3], jobs[1], jobs[0]])

    def test_what_is_stale_does_not_pile_up(self) -> None:
        """However often the same few go up and down, with others that stay before and behind them."""
        keep = self.add(3)
        jobs = self.add(6)
        for turn in range(20 * SLACK):
            job = jobs[turn % 6]
            self.withdraw(job)
            self.put(job, HIGH if job.priority == NORMAL else NORMAL)
            self.lanes.check()
            self.assertLess(entries(self.lanes) + entries(self.lanes, HIGH), 5 * SLACK)
        self.assertEqual(len(self.take_all()) + len(self.take_all(HIGH)), len(keep) + 6)

    def test_a_long_lane_is_emptied_from_its_middle(self) -> None:
        jobs = self.add(10 * SLACK)
        for job in jobs[1:-1]:
            self.withdraw(job)
            self.put(job, LOW)
        self.assertLess(entries(self.lanes), 4 * SLACK)
        self.assertEqual(self.take_all(), [jobs[0], jobs[-1]])
        self.assertEqual(self.take_all(LOW), jobs[1:-1])

    def test_from_the_overflow(self) -> None:
        for which in range(4):
            jobs = [make_job(None, number) for number in range(1, 5)]
            for job in jobs:
                job.state = PAGED
                self.lanes.append_overflow(job)
            job = jobs[which]
            for _ in range(2):
                self.lanes.remove_overflow(job, again=True)
                self.assertEqual(self.lanes.paged, 3)
                job.state = DELAYED
                self.lanes.check()
                job.state = PAGED
                job.place += 10
                self.lanes.append_overflow(job)
                self.lanes.check()
            expected = [each for each in jobs if each is not job] + [job]
            self.assertEqual(overflowed(self.lanes), expected)
            found = []
            while (first := self.lanes.pop_loaded(job.priority, job.tenant)) is not None:
                first.state = RUNNING
                found.append(first)
            self.assertEqual(found, expected)

    def test_what_is_stale_in_an_overflow_does_not_pile_up(self) -> None:
        jobs = [make_job(None, number) for number in range(1, 9)]
        for job in jobs:
            job.state = PAGED
            self.lanes.append_overflow(job)
        for turn in range(10 * SLACK):
            job = jobs[1 + turn % 7]
            self.lanes.remove_overflow(job, again=True)
            self.lanes.append_overflow(job)
            self.lanes.check()
            self.assertLess(len(self.lanes.overflow[NORMAL].items), 3 * SLACK)

    def test_two_of_one_in_the_count_are_found(self) -> None:
        jobs = self.add(2)
        self.lanes.append(jobs[0])
        self.assertRaises(AssertionError, self.lanes.check)
        self.lanes.remove(jobs[0])
        self.lanes = Lanes()


class SweepTests(SynchronousTestCase):
    """Tombstones."""

    def setUp(self) -> None:
        self.lanes: Lanes[Job] = Lanes()

    def tearDown(self) -> None:
        self.lanes.check()

    def returned(self, count: int) -> list[Job]:
        """Jobs that have come back to a lane in which nothing has ever been."""
        jobs = [make_job(None, number) for number in range(count)]
        for job in jobs:
            job.state = QUEUED
            self.lanes.put_back(job)
        return jobs

    def test_of_those_that_came_back_to_an_empty_lane(self) -> None:
        jobs = self.returned(4 * SLACK)
        for job in jobs[1:-1]:
            self.lanes.remove(job)
            job.state = DONE
        self.assertLess(entries(self.lanes), 2 * SLACK)
        self.assertEqual(queued(self.lanes), [jobs[0], jobs[-1]])

    def test_those_that_are_left_are_taken_one_after_the_other(self) -> None:
        jobs = self.returned(3)
        for job in jobs:
            self.assertIs(self.lanes.take(NORMAL), job)
            job.state = RUNNING

    def test_of_an_overflow_whose_newest_go_first(self) -> None:
        jobs = [make_job(None, number) for number in range(3)]
        for job in jobs:
            job.state = PAGED
            self.lanes.append_overflow(job)
        for job in reversed(jobs[1:]):
            self.lanes.remove_overflow(job)
            job.state = DONE
        self.assertEqual(self.lanes.all(), jobs[:1])


class CheckTests(SynchronousTestCase):
    def test_counts_that_are_wrong(self) -> None:
        lanes: Lanes[Job] = Lanes()
        queued, paged = make_job(None, 1), make_job(None, 2)
        queued.state, paged.state = QUEUED, PAGED
        lanes.append(queued)
        lanes.append_overflow(paged)
        lanes.check()
        for wrong, right in ((DONE, QUEUED), (PAGED, QUEUED)):
            queued.state = wrong
            self.assertRaises(AssertionError, lanes.check)
            queued.state = right
        paged.state = DONE
        self.assertRaises(AssertionError, lanes.check)
        paged.state = PAGED
        for name in ("ready", "paged"):
            setattr(lanes, name, 7)
            self.assertRaises(AssertionError, lanes.check)
            setattr(lanes, name, 1)
        lanes.check()

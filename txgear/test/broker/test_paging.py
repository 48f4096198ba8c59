"""Tests of L{txgear.broker.paging}, as the broker uses it: queues that are longer than the memory."""

from __future__ import annotations

from typing import Any

from txgear.broker.model import Job, Peer
from txgear.broker.paging import DRY_SHARE, READ_BYTES, READ_JOBS, READ_SHARE
from txgear.broker.records import UNREADABLE_SECONDS
from txgear.broker.states import DELAYED, PAGED, QUEUED
from txgear.protocol.constants import HIGH, LOW, NORMAL, WORK_FAIL
from txgear.test.support.broker import BrokerFixture, DurableBrokerTestCase, overflowed, queued, record
from txgear.test.support.clock import START

BIG = b"x" * 40


class PagedTestCase(DurableBrokerTestCase):
    """Two big workloads fit into memory; one is more than is read ahead."""

    queue_memory = 100

    def states(self, jobs: list[Job]) -> list[int]:
        return [job.state for job in jobs]

    def flood(self, count: int, workload: bytes = BIG, **rest: Any) -> list[Job]:
        return self.fixture.store(*[workload] * count, **rest)

    def fill(self) -> None:
        """Use up all memory, and that by which it may be exceeded."""
        self.fixture.worker(b"full")
        self.flood(1, b"x" * 2 * self.queue_memory, function=b"full")

    def drain_queue(self, *workers: Peer) -> list[Job]:
        """All that the workers are handed in turn and do at once; the store answers when it is asked."""
        done: list[Job] = []
        for _ in range(1000):
            for worker in workers:
                if (job := self.fixture.grab(worker)) is not None:
                    self.assertEqual(len(job.workload), job.size)
                    done.append(job)
                    self.complete(worker, job)
            if self.journal.loading is not None:
                self.fixture.read()
            elif not any(self.broker.dispatcher.rings):
                break
        return done


class DryTests(PagedTestCase):
    """The backlog of a function that nobody does fills the memory."""

    queue_memory = 100 * DRY_SHARE

    def setUp(self) -> None:
        super().setUp()
        self.fill()
        self.jobs = self.flood(30, b"x" * 10)

    def test_a_dry_lane_is_read_a_small_piece(self) -> None:
        self.fixture.worker(b"f")
        self.assertEqual(self.journal.loading, self.jobs[:10])

    def test_one_that_is_not_is_read_no_more(self) -> None:
        worker = self.fixture.worker(b"f")
        self.fixture.read()
        self.assertIsNone(self.journal.loading)
        for job in self.jobs[:9]:
            self.assertIs(self.fixture.grab(worker), job)
        self.assertIsNone(self.journal.loading)
        self.assertIs(self.fixture.grab(worker), self.jobs[9])
        self.assertEqual(self.journal.loading, self.jobs[10:20])


class OverBudgetTests(PagedTestCase):
    def test_what_fits_stays_in_memory(self) -> None:
        jobs = self.flood(2)
        self.assertEqual(self.states(jobs), [QUEUED] * 2)
        self.assertEqual(self.fixture.memory, 80)

    def test_the_budget_may_be_used_up(self) -> None:
        jobs = self.flood(4, b"x" * 25)
        self.assertEqual((self.states(jobs), self.fixture.memory), ([QUEUED] * 4, 100))

    def test_what_does_not_is_dropped_and_behind(self) -> None:
        jobs = self.flood(4)
        self.assertEqual(self.states(jobs), [QUEUED, QUEUED, PAGED, PAGED])
        self.assertEqual([job.workload for job in jobs], [BIG, BIG, b"", b""])
        self.assertEqual(self.fixture.memory, 80)

    def test_so_is_all_that_comes_later_in_its_lane(self) -> None:
        """Though it would fit."""
        jobs = [*self.flood(3), *self.flood(1, b"x"), *self.flood(1, b"")]
        self.assertEqual(self.states(jobs), [QUEUED, QUEUED, PAGED, PAGED, PAGED])
        self.assertEqual((jobs[3].workload, self.fixture.memory), (b"", 80))

    def test_another_lane_is_not_behind_it(self) -> None:
        self.flood(3)
        high, other = self.flood(1, b"x", priority=HIGH), self.flood(1, b"x", function=b"g")
        self.assertEqual(self.states(high + other), [QUEUED] * 2)

    def test_a_worker_that_would_wait_for_it_gets_it_beyond_the_budget(self) -> None:
        self.flood(2, function=b"g")
        for _ in range(2):
            self.fixture.worker(b"f")
        jobs = self.flood(3)
        self.assertEqual(self.states(jobs), [QUEUED, QUEUED, PAGED])
        self.assertEqual(self.fixture.memory, 160)

    def test_foreground_jobs_are_not_counted_and_keep_their_turn(self) -> None:
        client = self.fixture.connect()
        self.fixture.submit(client, workload=BIG * 10)
        self.flood(3)
        late = self.fixture.submit(client, workload=BIG)
        self.assertEqual((late.state, late.workload, self.fixture.memory), (PAGED, BIG, 80))
        self.flood(1)
        late_empty = self.fixture.submit(client)
        numbers = [job.number for job in self.drain_queue(self.fixture.worker(b"f"))]
        self.assertEqual(numbers, [1, 2, 3, 4, 5, 6, late_empty.number])
        self.assertEqual(self.fixture.memory, 0)

    def test_a_foreground_job_behind_others_may_be_made_a_background_job(self) -> None:
        client = self.fixture.connect()
        self.flood(3)
        job = self.fixture.submit(client, unique=b"u", workload=BIG)
        self.fixture.submit(None, unique=b"u")
        self.fixture.commit()
        self.assertEqual((job.state, job.workload, self.fixture.memory), (PAGED, BIG, 120))
        self.assertEqual(len(self.drain_queue(self.fixture.worker(b"f"))), 4)
        self.assertEqual(self.fixture.memory, 0)

    def test_all_are_counted_and_shown(self) -> None:
        self.flood(4)
        self.flood(1, priority=LOW)
        function = self.broker.functions.by_name[b"f"]
        self.assertEqual((function.lanes.ready, function.lanes.paged, function.total), (2, 3, 5))
        self.assertEqual([function.lanes.total_of(priority) for priority in (HIGH, NORMAL, LOW)], [0, 4, 1])
        self.broker.operations.limit_function(b"f", (5, 5, 5))
        with self.assertRaisesRegex(Exception, "Job queue is full"):
            self.fixture.submit(None)

    def test_they_are_found_joined_and_cancelled_as_others_are(self) -> None:
        client = self.fixture.connect()
        self.flood(2)
        (job,) = self.flood(1, unique=b"u")
        self.assertIs(self.broker.table.by_handle(job.handle), job)
        self.assertIs(self.fixture.submit(client, unique=b"u"), job)
        self.fixture.cancel(job)
        self.assertEqual(self.fixture.heard(client), [(WORK_FAIL, job.handle)])
        self.assert_gone(job)
        self.assertEqual(
            (self.journal.deleted, job.function.lanes.paged, job.function.lanes.overflow), ([3], 0, {})
        )

    def test_a_client_that_joined_and_goes_changes_nothing(self) -> None:
        client = self.fixture.connect()
        self.flood(2)
        (job,) = self.flood(1, unique=b"u")
        self.fixture.submit(client, unique=b"u")
        self.fixture.leave(client)
        self.assertEqual(job.state, PAGED)

    def test_the_function_is_not_forgotten(self) -> None:
        self.flood(3)
        for job in list(self.broker.table.jobs.values())[:2]:
            self.fixture.cancel(job)
        self.assertEqual(list(self.broker.functions.by_name), [b"f"])
        self.assertIs(self.broker.operations.drop_function(b"f"), False)


class ReadTests(PagedTestCase):
    """What is read, and when."""

    def test_nothing_for_a_function_without_workers(self) -> None:
        self.flood(5)
        self.fixture.worker(b"g")
        self.assertEqual(self.journal.loads, [])

    def test_nothing_while_workers_have_enough(self) -> None:
        self.flood(3)
        self.fixture.worker(b"f")
        self.assertEqual(self.journal.loads, [])

    def test_as_many_as_there_are_workers_where_there_is_no_room(self) -> None:
        self.fill()
        jobs = self.flood(9, b"x")
        workers = [self.fixture.worker(b"f")]
        self.assertEqual(self.journal.loading, jobs[:1])
        workers += [self.fixture.worker(b"f") for _ in range(4)]
        self.fixture.read()
        self.assertEqual(self.journal.loading, jobs[1:5])
        self.fixture.read()
        self.assertEqual((self.journal.loading, jobs[0].function.lanes.ready), (None, 5))

    def test_a_good_piece_for_a_dry_lane_where_there_is_little_beyond_the_room(self) -> None:
        self.flood(2, b"x" * 50, function=b"g")
        jobs = self.flood(20, b"x")
        self.fixture.worker(b"f")
        self.assertEqual(self.journal.loading, jobs[: self.queue_memory // READ_SHARE])

    def test_a_good_piece_where_there_is(self) -> None:
        for number in range(1, 20):
            self.journal.put(record(number, size=2), b"xx")
        jobs = self.fixture.restart()
        self.fixture.worker(b"f")
        self.assertEqual(self.journal.loading, jobs[: self.queue_memory // READ_SHARE // 2])
        while self.journal.loading is not None:
            self.fixture.read()
        self.assertEqual((self.fixture.memory, self.states(jobs)), (38, [QUEUED] * 19))

    def test_one_that_is_larger_than_a_good_piece_is_read_too_if_there_is_room(self) -> None:
        for number in range(1, 4):
            self.journal.put(record(number, size=40), BIG)
        jobs = self.fixture.restart()
        self.fixture.worker(b"f")
        self.assertEqual(self.journal.loading, jobs[:1])
        self.fixture.read()
        self.assertEqual(self.journal.loading, jobs[1:2])
        self.fixture.read()
        self.assertEqual((self.journal.loading, self.fixture.memory), (None, 80))
        self.assertEqual(self.states(jobs), [QUEUED, QUEUED, PAGED])

    def test_no_more_than_so_many_bytes_at_once(self) -> None:
        self.fixture = BrokerFixture(journal=self.journal)
        for number in range(1, 6):
            self.journal.put(record(number, size=READ_BYTES // 3))
        jobs = self.fixture.restart()
        self.fixture.worker(b"f")
        self.assertEqual(self.journal.loading, jobs[:3])

    def test_no_more_than_so_many_jobs_at_once(self) -> None:
        self.fixture = BrokerFixture(journal=self.journal)
        for number in range(1, READ_JOBS + 3):
            self.journal.put(record(number, size=1), b"x")
        self.fixture.restart()
        self.fixture.worker(b"f")
        self.fixture.read()
        self.fixture.read()
        self.assertEqual(self.journal.loads, [READ_JOBS, 2])

    def test_ahead_as_room_is_made(self) -> None:
        jobs = self.flood(6)
        worker = self.fixture.worker(b"f")
        self.assertIs(self.fixture.grab(worker), jobs[0])
        self.assertEqual((jobs[0].function.lanes.ready, self.journal.loading), (1, None))
        self.complete(worker, jobs[0])
        self.assertIs(self.fixture.grab(worker), jobs[1])
        self.assertEqual(self.journal.loading, [jobs[2]])

    def test_in_order_with_others_that_were_never_dropped(self) -> None:
        client = self.fixture.connect()
        jobs = self.flood(3)
        jobs += [self.fixture.submit(client, workload=b"fore")]
        jobs += self.flood(2)
        jobs += [self.fixture.submit(client)]
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), jobs)
        self.assertEqual(self.fixture.memory, 0)

    def test_only_what_is_not_there_and_still_wanted(self) -> None:
        client = self.fixture.connect()
        self.fill()
        one, other, gone = self.flood(3, b"x")
        there = self.fixture.submit(client, workload=b"x")
        (last,) = self.flood(1, b"x")
        self.fixture.cancel(gone)
        workers = [self.fixture.worker(b"f") for _ in range(5)]
        self.assertEqual(self.journal.loading, [one])
        self.fixture.read()
        self.assertEqual(self.journal.loading, [other, last])
        self.assertEqual(self.drain_queue(*workers), [one, other, there, last])

    def test_one_read_at_a_time(self) -> None:
        """The journal itself sees to it that there is no second."""
        self.flood(2, function=b"x")
        for function in (b"f", b"g", b"h"):
            self.flood(3, function=function)
        workers = [self.fixture.worker(b"f", b"g", b"h") for _ in range(3)]
        self.assertEqual(self.journal.loads, [1])
        self.assertEqual(len(self.drain_queue(*workers)), 9)

    def test_high_lanes_are_read_first_and_functions_take_turns(self) -> None:
        self.fill()
        wanted = [(b"f", NORMAL), (b"f", HIGH), (b"g", NORMAL)]
        jobs = {(name, each): self.flood(3, function=name, priority=each) for name, each in wanted}
        worker = self.fixture.worker(b"f", b"g")
        done: list[Job] = []
        for _ in range(30):
            if (job := self.fixture.grab(worker)) is not None:
                self.complete(worker, job)
                done.append(job)
            elif self.journal.loading is not None:
                self.fixture.read()
        low = [job for pair in zip(jobs[b"f", NORMAL], jobs[b"g", NORMAL], strict=True) for job in pair]
        self.assertEqual(done, jobs[b"f", HIGH] + low)

    def test_some_that_have_changed_their_lane_meanwhile(self) -> None:
        """All are in their lanes before it shows what these lack: no more is read than that."""
        self.fixture.worker(b"full")
        self.flood(1, b"x" * 98, function=b"full")
        jobs = self.flood(4, b"one")
        worker = self.fixture.worker(b"f")
        self.assertEqual(self.journal.loading, jobs[:2])
        self.broker.operations.reprioritise(jobs[0], HIGH, self.fixture.now)
        self.fixture.read()
        self.assertEqual((self.states(jobs), self.journal.loading), ([QUEUED, QUEUED, PAGED, PAGED], None))
        self.assertEqual(self.drain_queue(worker), jobs)

    def test_its_arrival_wakes_as_many_as_can_do_something(self) -> None:
        for wakeups in (0, 1):
            self.journal = type(self.journal)()
            self.fixture = BrokerFixture(wakeups=wakeups, journal=self.journal, queue_memory=3200)
            for number in range(1, 4):
                self.journal.put(record(number, size=4), b"work")
            self.fixture.restart()
            sleepers = [self.fixture.sleeper(b"f") for _ in range(5)]
            self.assertEqual(self.fixture.woken(), [])
            self.fixture.read()
            self.assertEqual(self.fixture.woken(), sleepers[:3])

    def test_a_worker_that_falls_asleep_meanwhile_is_woken_when_it_is_there(self) -> None:
        self.flood(2, function=b"g")
        (job,) = self.flood(1)
        sleeper = self.fixture.sleeper(b"f")
        self.assertEqual(self.fixture.outbox.take(), [])
        self.fixture.read()
        self.assertEqual(self.fixture.woken(), [sleeper])
        self.assertIs(self.fixture.grab(sleeper), job)

    def test_workers_that_left_meanwhile(self) -> None:
        self.flood(2, function=b"g")
        (job,) = self.flood(1)
        worker = self.fixture.worker(b"f")
        self.fixture.leave(worker)
        self.fixture.read()
        self.assertEqual((job.state, self.fixture.memory), (QUEUED, 120))
        self.assertIs(self.fixture.grab(self.fixture.worker(b"f")), job)

    def test_workers_that_left_before_it_was_their_turn(self) -> None:
        for number, function in enumerate((b"f", b"g"), 1):
            self.journal.put(record(number, function=function, size=1), b"x")
        jobs = self.fixture.restart()
        self.fixture.worker(b"f")
        self.fixture.leave(self.fixture.worker(b"g"))
        self.fixture.read()
        self.assertEqual(self.journal.loads, [1])
        self.fixture.worker(b"g")
        self.assertEqual(self.journal.loading, jobs[1:])

    def test_a_lane_that_was_emptied_before_it_was_its_turn(self) -> None:
        self.flood(2, function=b"x")
        self.flood(2, function=b"f")
        (job,) = self.flood(1, function=b"g")
        for function in (b"f", b"g"):
            self.fixture.worker(function)
        self.fixture.cancel(job)
        self.fixture.read()
        self.assertEqual(self.journal.loads, [1])

    def test_it_does_not_keep_the_next_from_its_turn(self) -> None:
        self.flood(2, function=b"x")
        first, gone, other = [self.flood(1, function=function)[0] for function in (b"f", b"g", b"h")]
        for function in (b"f", b"g", b"h"):
            self.fixture.worker(function)
        self.fixture.cancel(gone)
        self.assertEqual(self.journal.loading, [first])
        self.fixture.read()
        self.assertEqual(self.journal.loading, [other])

    def test_a_budget_of_nothing_lets_workers_work(self) -> None:
        self.fixture = BrokerFixture(journal=self.journal, queue_memory=0)
        jobs = self.flood(5) + self.flood(1, b"")
        self.assertEqual((self.states(jobs), self.fixture.memory), ([PAGED] * 6, 0))
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), jobs)

    def test_husks_do_not_hold_up_the_rest(self) -> None:
        self.flood(2, function=b"x")
        jobs = self.flood(10)
        for job in jobs[:3] + jobs[4:9]:
            self.fixture.cancel(job)
        self.fixture.worker(b"f")
        self.fixture.worker(b"f")
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), [jobs[3], jobs[9]])


class GoneTests(PagedTestCase):
    """Jobs that go while others are behind them: nobody is stuck."""

    def test_one_that_is_cancelled_while_it_is_read(self) -> None:
        self.flood(2, function=b"x")
        jobs = self.flood(2)
        self.fixture.worker(b"f")
        self.assertEqual(self.journal.loading, jobs[:1])
        self.fixture.cancel(jobs[0])
        self.fixture.read()
        self.assertEqual((jobs[0].workload, self.fixture.memory), (b"", 80))
        self.assertEqual(self.journal.loading, jobs[1:])

    def test_the_last_of_a_function_that_is_cancelled_while_it_is_read(self) -> None:
        self.flood(2, function=b"x")
        (job,) = self.flood(1)
        self.fixture.leave(self.fixture.worker(b"f"))
        self.fixture.cancel(job)
        self.assertEqual(list(self.broker.functions.by_name), [b"x"])
        self.fixture.read()
        self.assertEqual((list(self.broker.functions.by_name), self.fixture.memory), ([b"x"], 80))

    def test_the_only_one_that_was_in_memory(self) -> None:
        self.flood(2, function=b"x")
        jobs = self.flood(3)
        self.fixture.sleeper(b"f")
        self.fixture.read()
        self.assertEqual((self.states(jobs), self.journal.loading), ([QUEUED, PAGED, PAGED], None))
        self.fixture.cancel(jobs[0])
        self.assertEqual(self.journal.loading, [jobs[1]])

    def test_the_one_that_the_rest_was_behind(self) -> None:
        client = self.fixture.connect()
        (job,) = self.flood(3)[2:]
        behind = self.fixture.submit(client)
        self.assertEqual(behind.state, PAGED)
        self.fixture.cancel(job)
        self.assertEqual(behind.state, QUEUED)
        self.assertEqual(behind.function.lanes.overflow, {})

    def test_and_a_worker_sleeps(self) -> None:
        client, sleeper = self.fixture.connect(), self.fixture.sleeper(b"f")
        self.flood(2, function=b"x")
        job, paged = self.flood(2)
        behind = self.fixture.submit(client)
        self.fixture.grab(sleeper)
        self.fixture.sleep(sleeper)
        self.fixture.outbox.take()
        self.assertEqual(self.states([job, paged, behind]), [job.state, PAGED, PAGED])
        self.fixture.cancel(paged)
        self.assertEqual(behind.state, QUEUED)
        self.assertEqual(self.fixture.woken(), [sleeper])

    def test_a_client_that_goes_with_what_was_in_memory(self) -> None:
        client = self.fixture.connect()
        self.flood(2, function=b"x")
        self.fixture.submit(client)
        (paged,) = self.flood(1)
        self.fixture.sleeper(b"f")
        self.assertEqual(self.journal.loading, None)
        self.fixture.leave(client)
        self.assertEqual(self.journal.loading, [paged])

    def test_one_that_could_not_be_stored(self) -> None:
        client = self.fixture.connect()
        self.flood(2, function=b"x")
        job = self.fixture.submit(client, unique=b"u")
        (paged,) = self.flood(1)
        self.fixture.submit(None, unique=b"u")
        self.fixture.worker(b"f")
        self.fixture.leave(client)
        self.assertEqual((job.state, self.journal.loading), (QUEUED, None))
        self.fixture.refuse()
        self.assert_gone(job)
        self.assertEqual(self.journal.loading, [paged])

    def test_one_whose_workload_the_store_has_lost(self) -> None:
        client = self.fixture.connect()
        self.flood(2, function=b"x")
        lost, *others = self.flood(1, unique=b"u") + self.flood(2)
        self.fixture.submit(client, unique=b"u")
        worker = self.fixture.worker(b"f")
        self.journal.lose(lost)
        self.fixture.read()
        self.assertEqual(self.fixture.heard(client), [(WORK_FAIL, lost.handle)])
        self.assert_gone(lost)
        self.assertEqual((self.journal.deleted, self.fixture.memory), ([lost.number], 80))
        self.assertEqual(self.drain_queue(worker), others)

    def test_the_last_whose_workload_the_store_has_lost(self) -> None:
        self.flood(2, function=b"x")
        (lost,) = self.flood(1)
        self.fixture.leave(self.fixture.worker(b"f"))
        self.journal.lose(lost)
        self.fixture.read()
        self.assert_gone(lost)
        self.assertEqual(list(self.broker.functions.by_name), [b"x"])


class ComeBackTests(PagedTestCase):
    """Jobs that come back from workers to a queue that is longer than the memory."""

    def lose(self) -> Job:
        """The next job's worker goes."""
        worker = self.fixture.worker(b"f")
        job = self.fixture.grab(worker)
        assert job is not None
        self.fixture.leave(worker)
        return job

    def test_the_first_time_before_all_others(self) -> None:
        jobs = self.flood(5)
        self.lose()
        self.assertEqual(queued(jobs[0].function.lanes), jobs[:2])
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), jobs)

    def test_also_to_a_lane_that_is_empty_meanwhile(self) -> None:
        jobs = self.flood(5)
        workers = [self.fixture.worker(b"f") for _ in range(2)]
        for worker in workers:
            self.fixture.grab(worker)
        self.assertEqual((jobs[0].function.lanes.ready, jobs[0].function.lanes.paged), (0, 3))
        for worker in reversed(workers):
            self.fixture.leave(worker)
        self.assertEqual(queued(jobs[0].function.lanes), jobs[:2])

    def test_from_the_second_time_on_behind_all_others_without_its_workload(self) -> None:
        job, *others = self.flood(5)
        self.lose()
        self.lose()
        self.assertEqual((job.state, job.workload, self.fixture.memory), (PAGED, b"", 40))
        self.assertEqual(overflowed(job.function.lanes), [*others[1:], job])
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), [*others, job])
        self.assertEqual(self.fixture.memory, 0)

    def test_with_it_where_there_is_room(self) -> None:
        job, other = self.flood(2)
        self.lose()
        self.lose()
        self.assertEqual((job.state, job.workload, self.fixture.memory), (QUEUED, BIG, 80))
        self.assertEqual(queued(job.function.lanes), [other, job])

    def test_without_it_where_there_is_none(self) -> None:
        (job,) = self.flood(1)
        self.lose()
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        others = [self.fixture.worker(b"g") for _ in range(2)]
        self.flood(2, function=b"g")
        self.assertEqual(self.fixture.memory, 120)
        self.fixture.leave(worker)
        self.assertEqual((job.state, job.workload, self.fixture.memory), (PAGED, b"", 80))
        self.assertEqual(len(self.drain_queue(self.fixture.worker(b"f"), *others)), 3)

    def test_a_foreground_job_keeps_its_workload_behind_them(self) -> None:
        client = self.fixture.connect()
        job = self.fixture.submit(client, workload=BIG)
        others = self.flood(3)
        self.lose()
        self.lose()
        self.assertEqual((job.state, job.workload, self.fixture.memory), (PAGED, BIG, 80))
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), [*others, job])

    def test_jobs_that_kill_their_workers_do_not_fill_the_memory(self) -> None:
        self.flood(20)
        for _ in range(100):
            worker = self.fixture.worker(b"f")
            while self.fixture.grab(worker) is None:
                self.fixture.read()
            self.assertLessEqual(self.fixture.memory, self.queue_memory + len(BIG))
            self.fixture.leave(worker)
        while self.journal.loading is not None:
            self.fixture.read()
        self.assertEqual(len(self.drain_queue(self.fixture.worker(b"f"))), 20)

    def test_one_whose_time_comes_is_behind_all_others(self) -> None:
        (later,) = self.flood(1, due=START + 10)
        jobs = self.flood(3)
        self.fixture.pass_time(10)
        self.assertEqual((later.state, overflowed(jobs[0].function.lanes)), (PAGED, [jobs[2], later]))
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), [*jobs, later])


class DrainTests(PagedTestCase):
    """The server drains: what is stored stays there, whether it is in memory or not."""

    def test_they_wait_for_good(self) -> None:
        jobs = self.flood(4)
        worker = self.fixture.worker(b"f")
        self.fixture.drain()
        self.assertEqual(self.states(jobs), [DELAYED] * 4)
        self.assertEqual(self.fixture.counts(), {b"f": (0, 4, 0, 1)})
        self.assertEqual((jobs[0].function.lanes.paged, jobs[0].function.lanes.overflow), (0, {}))
        self.assertTrue(self.broker.drained)
        self.assertIsNone(self.fixture.grab(worker))
        self.assertEqual(self.journal.deleted, [])

    def test_one_that_is_being_read_too(self) -> None:
        self.flood(2, function=b"x")
        (job,) = self.flood(1)
        self.fixture.worker(b"f")
        self.fixture.drain()
        self.fixture.read()
        self.assertEqual((job.state, job.workload), (DELAYED, b""))
        self.assertTrue(self.broker.drained)

    def test_those_that_clients_wait_for_come_into_the_lane(self) -> None:
        client, worker = self.fixture.connect(), self.fixture.worker(b"f")
        self.flood(2, function=b"x")
        self.flood(2)
        foreground = self.fixture.submit(client)
        self.assertEqual(foreground.state, PAGED)
        self.fixture.drain()
        self.assertEqual(foreground.state, QUEUED)
        self.assertFalse(self.broker.drained)
        self.assertEqual(self.drain_queue(worker), [foreground])
        self.assertTrue(self.broker.drained)

    def test_or_are_read(self) -> None:
        client = self.fixture.connect()
        self.flood(3)
        (job,) = self.flood(1, unique=b"u")
        self.fixture.submit(client, unique=b"u")
        self.fixture.drain()
        self.assertEqual(job.state, PAGED)
        self.assertFalse(self.broker.drained)
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), [job])
        self.assertTrue(self.broker.drained)

    def test_one_whose_clients_leave_makes_way_for_the_next(self) -> None:
        client, other = self.fixture.connect(), self.fixture.connect()
        self.flood(2)
        (job,) = self.flood(1, unique=b"u")
        self.fixture.submit(client, unique=b"u")
        foreground = self.fixture.submit(other)
        self.fixture.drain()
        self.assertEqual((job.state, foreground.state), (PAGED, PAGED))
        self.fixture.leave(client)
        self.assertEqual((job.state, foreground.state), (DELAYED, QUEUED))

    def test_one_that_waits_for_good_gives_back_what_it_took(self) -> None:
        jobs = self.flood(3)
        self.fixture.drain()
        for job in jobs:
            self.fixture.cancel(job)
        self.assertEqual((self.fixture.memory, self.broker.table.jobs), (0, {}))


class UnreadableTests(PagedTestCase):
    """Workloads that the store has, and cannot read."""

    def setUp(self) -> None:
        super().setUp()
        self.jobs = self.flood(4)
        self.worker = self.fixture.worker(b"f")
        self.assertEqual(self.fixture.grab_all(self.worker), self.jobs[:2])
        assert self.journal.loading is not None
        self.loading = self.journal.loading
        self.journal.loading = None
        self.broker.store_events.loaded([], self.fixture.now, self.loading)

    def test_the_others_go_on(self) -> None:
        self.assertEqual(self.broker.store_events.unreadable, set(self.loading))
        self.assertEqual(self.states(self.loading), [DELAYED] * len(self.loading))
        self.assertEqual(
            self.drain_queue(self.worker), [job for job in self.jobs[2:] if job not in self.loading]
        )

    def test_one_that_is_not_wanted_any_more_is_forgotten(self) -> None:
        for job in self.loading:
            self.fixture.cancel(job)
            self.assert_gone(job)
        self.assertEqual(self.broker.store_events.unreadable, set())

    def test_it_is_tried_again_after_a_while(self) -> None:
        self.fixture.pass_time(UNREADABLE_SECONDS)
        self.assertEqual(set(self.drain_queue(self.worker)), set(self.jobs[2:]))
        self.assertEqual(self.broker.store_events.unreadable, set())

    def test_one_that_goes_behind_others_is_still_not_known_to_be_readable(self) -> None:
        self.fixture.leave(self.worker)
        self.fixture.pass_time(UNREADABLE_SECONDS)
        self.assertEqual(self.states(self.loading), [PAGED] * len(self.loading))
        self.fill()
        for job in self.loading:
            self.broker.operations.reprioritise(job, LOW, self.fixture.now)
        self.assertEqual(self.broker.store_events.unreadable, set(self.loading))

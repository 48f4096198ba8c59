"""Tests of L{txgear.broker.paging}: jobs that leave a queue longer than the memory, and come back to it."""

from __future__ import annotations

from txgear.broker.model import Job
from txgear.broker.states import PAGED, QUEUED, RUNNING
from txgear.protocol.constants import NORMAL, WORK_FAIL
from txgear.test.broker.test_paging import BIG, PagedTestCase
from txgear.test.support.broker import (
    overflowed,
    queued,
)
from txgear.test.support.clock import START


class GoneTests(PagedTestCase):
    """Jobs that go while others are behind them: nobody is stuck."""

    def setUp(self) -> None:
        super().setUp()
        self.fill()
        self.filled = self.fixture.memory

    def test_one_that_is_cancelled_while_it_is_read(self) -> None:
        jobs = self.flood_waited_for(2)
        self.fixture.worker(b"f")
        self.assertEqual(self.workloads_asked, self.numbers(jobs[:1]))
        self.fixture.cancel(jobs[0])
        self.fixture.read()
        self.assertEqual((jobs[0].workload, self.fixture.memory), (b"", self.filled))
        self.assertEqual(self.workloads_asked, self.numbers(jobs[1:]))

    def test_the_last_of_a_function_that_is_cancelled_while_it_is_read(self) -> None:
        (job,) = self.flood_waited_for(1)
        self.fixture.leave(self.fixture.worker(b"f"))
        self.fixture.cancel(job)
        self.assertEqual(list(self.broker.functions.by_name), [b"full"])
        self.fixture.read()
        self.assertEqual((list(self.broker.functions.by_name), self.fixture.memory), ([b"full"], self.filled))

    def test_the_only_one_that_was_in_memory(self) -> None:
        jobs = self.flood(3)
        self.fixture.sleeper(b"f")
        self.fixture.read_all()
        self.assertEqual(self.states(jobs), [QUEUED, None, None])
        first = self.there(jobs[0])
        assert first is not None
        self.fixture.cancel(first)
        self.assertEqual(self.rows_asked, (b"f", NORMAL, jobs[0].number, 1))

    def test_the_one_that_the_rest_was_behind(self) -> None:
        client = self.fixture.connect()
        (job,) = self.flood_waited_for(1)
        behind = self.fixture.submit(client)
        self.assertEqual(behind.state, PAGED)
        self.fixture.cancel(job)
        self.assertEqual(behind.state, QUEUED)
        self.assertEqual(behind.function.lanes.overflow, {})

    def test_and_a_worker_sleeps(self) -> None:
        client, sleeper = self.fixture.connect(), self.fixture.sleeper(b"f")
        job, paged = self.flood_waited_for(2)
        behind = self.fixture.submit(client)
        self.fixture.grab(sleeper)
        self.fixture.sleep(sleeper)
        self.fixture.outbox.take()
        self.assertEqual(self.states([job, paged, behind]), [RUNNING, PAGED, PAGED])
        self.fixture.cancel(paged)
        self.assertEqual(behind.state, QUEUED)
        self.assertEqual(self.fixture.woken(), [sleeper])

    def test_a_client_that_goes_with_what_was_in_memory(self) -> None:
        client = self.fixture.connect()
        self.fixture.submit(client)
        (row,) = self.flood(1)
        self.fixture.sleeper(b"f")
        self.assertTrue(self.idle)
        self.fixture.leave(client)
        self.assertEqual(self.rows_asked, (b"f", NORMAL, row.number - 1, 1))

    def test_one_that_could_not_be_stored(self) -> None:
        client = self.fixture.connect()
        job = self.fixture.submit(client, unique=b"u")
        (row,) = self.flood(1)
        self.fixture.submit(None, unique=b"u")
        self.fixture.worker(b"f")
        self.fixture.leave(client)
        self.assertEqual((job.state, self.idle), (QUEUED, True))
        self.fixture.refuse()
        self.assert_gone(job)
        self.assertEqual(self.rows_asked, (b"f", NORMAL, row.number - 1, 1))

    def test_one_whose_workload_the_store_has_lost(self) -> None:
        lost, *others = self.flood_waited_for(1) + self.flood(2)
        client = next(iter(lost.clients))
        worker = self.fixture.worker(b"f")
        self.journal.lose(lost)
        self.fixture.read()
        self.assertEqual(self.fixture.heard(client), [(WORK_FAIL, lost.handle)])
        self.assert_gone(lost)
        self.assertEqual((self.journal.deleted, self.fixture.memory), ([lost.number], self.filled))
        self.assertEqual(self.drain_queue(worker), self.numbers(others))

    def test_the_last_whose_workload_the_store_has_lost(self) -> None:
        (lost,) = self.flood_waited_for(1)
        self.fixture.leave(self.fixture.worker(b"f"))
        self.journal.lose(lost)
        self.fixture.read()
        self.assert_gone(lost)
        self.assertEqual(list(self.broker.functions.by_name), [b"full"])


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
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), self.numbers(jobs))

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
        self.assertEqual(overflowed(job.function.lanes), [job])
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), self.numbers([*others, job]))
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
        self.assertEqual((job.state, job.workload), (PAGED, BIG))
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), self.numbers([*others, job]))

    def test_jobs_that_kill_their_workers_do_not_fill_the_memory(self) -> None:
        self.flood(20)
        for _ in range(100):
            worker = self.fixture.worker(b"f")
            while self.fixture.grab(worker) is None:
                self.fixture.read()
            self.assertLessEqual(self.fixture.memory, self.queue_memory + len(BIG))
            self.fixture.leave(worker)
            self.broker.store_events.written(list(self.broker.table.jobs), self.fixture.now)
            # What is put behind the others is a row again; another comes back for the first time.
            self.assertLessEqual(len(self.broker.table.jobs), 4)
        self.fixture.read_all()
        self.assertEqual(len(self.drain_queue(self.fixture.worker(b"f"))), 20)

    def test_one_whose_time_comes_is_behind_all_others(self) -> None:
        (later,) = self.flood(1, due=START + 10)
        jobs = self.flood(3)
        self.fixture.pass_time(10)
        self.assertEqual((later.state, overflowed(jobs[0].function.lanes)), (PAGED, [later]))
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), self.numbers([*jobs, later]))

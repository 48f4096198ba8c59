"""Tests of L{txgear.broker.paging}, as the broker uses it: queues that are longer than the memory."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.counts import UNREADABLE
from txgear.broker.history import History
from txgear.broker.lanes import LOW as LOW_LEVEL
from txgear.broker.model import Function, Job, Peer
from txgear.broker.paging import (
    AHEAD,
    DRY_SHARE,
    HISTORY_BYTES,
    JOB_BYTES,
    READ_BYTES,
    READ_ROWS,
    Pager,
)
from txgear.broker.records import InLane
from txgear.broker.rules import QUEUE_MEMORY
from txgear.broker.states import DELAYED, PAGED, QUEUED
from txgear.broker.table import JobTable
from txgear.broker.tenants import Quota, Tenant
from txgear.protocol.constants import HIGH, LOW, NORMAL
from txgear.test.support.broker import (
    BrokerFixture,
    DurableBrokerTestCase,
    make_job,
    record,
)

BIG = b"x" * 40


class PagedTestCase(DurableBrokerTestCase):
    """Two jobs with big workloads fit into memory, and nothing else."""

    queue_memory = 2 * (JOB_BYTES + len(BIG)) + 20

    def start(self, queue_memory: int, *sizes: int, **rest: Any) -> None:
        """Another server, with these jobs in its store."""
        self.journal = type(self.journal)()
        for number, size in enumerate(sizes, 1):
            self.journal.put(record(number, size=size), b"x" * size)
        self.fixture = BrokerFixture(journal=self.journal, queue_memory=queue_memory, **rest)
        self.broker.store_events.reserve(len(sizes) + 1, 10_000)
        self.fixture.begin()
        self.fixture.answer()

    def there(self, job: Job) -> Job | None:
        """The same job, if it is in memory."""
        return self.broker.table.jobs.get(job.number)

    def states(self, jobs: list[Job]) -> list[int | None]:
        """C{None} for those that are rows."""
        found = [self.there(job) for job in jobs]
        return [None if job is None else job.state for job in found]

    def flood(self, count: int, workload: bytes = BIG, **rest: Any) -> list[Job]:
        """One after the other: as long as it is not stored a job is in memory."""
        return [job for _ in range(count) for job in self.fixture.store(workload, **rest)]

    def flood_waited_for(self, count: int, workload: bytes = BIG, **rest: Any) -> list[Job]:
        """The same, and a client waits for each: all stay in memory, though not their workloads."""
        return self.fixture.store_waited_for(*[workload] * count, **rest)

    def fill(self) -> None:
        """Use up all memory, and that by which it may be exceeded."""
        self.fixture.worker(b"full")
        self.flood(1, b"x" * 2 * self.queue_memory, function=b"full")

    def assert_grabs(self, worker: Peer, job: Job) -> None:
        """This worker gets just this job."""
        found = self.fixture.grab(worker)
        self.assertEqual(None if found is None else found.number, job.number)

    @property
    def rows_asked(self) -> tuple[bytes, int, int, int] | None:
        """Of which rows more are being read: of which function and priority, after which place, how many."""
        if not self.journal.asking:
            return None
        (asking,) = self.journal.asking
        question = asking.question
        assert isinstance(question, InLane)
        self.assertEqual(question.lane.tenant, "")
        return question.lane.function, question.lane.kind, question.after, question.limit

    def numbers(self, jobs: list[Job] | None) -> list[int] | None:
        return None if jobs is None else [job.number for job in jobs]

    @property
    def workloads_asked(self) -> list[int] | None:
        """Whose workloads are being read."""
        return self.numbers(self.journal.loading)

    @property
    def idle(self) -> bool:
        """Whether nothing is being read."""
        return self.journal.loading is None and not self.journal.asking

    def drain_queue(self, *workers: Peer) -> list[int]:
        """All that the workers are handed in turn and do at once; the store answers when it is asked."""
        done: list[int] = []
        for _ in range(1000):
            for worker in workers:
                if (job := self.fixture.grab(worker)) is not None:
                    self.assertEqual(len(job.workload), job.size)
                    done.append(job.number)
                    self.complete(worker, job)
            self.broker.check()
            if not self.idle:
                self.fixture.read()
            elif not any(self.broker.dispatcher.rings):
                break
        return done


class OverBudgetTests(PagedTestCase):
    def test_what_fits_stays_in_memory(self) -> None:
        jobs = self.flood(2)
        self.assertEqual(self.states(jobs), [QUEUED] * 2)
        self.assertEqual(self.fixture.memory, 80)

    def test_jobs_count_as_well(self) -> None:
        self.flood(2)
        pager = self.broker.pager
        assert pager is not None
        self.assertEqual((pager.memory, pager.crowded), (80 + 2 * JOB_BYTES, False))
        self.fixture.submit(self.fixture.connect())
        self.assertEqual((pager.memory, pager.crowded), (80 + 3 * JOB_BYTES, True))

    def test_the_budget_may_be_used_up(self) -> None:
        jobs = self.flood(2, b"x" * 50)
        self.assertEqual((self.states(jobs), self.fixture.memory), ([QUEUED] * 2, 100))

    def test_what_does_not_is_a_row(self) -> None:
        jobs = self.flood(4)
        self.assertEqual(self.states(jobs), [QUEUED, QUEUED, None, None])
        self.assertEqual([job.workload for job in jobs], [BIG, BIG, b"", b""])
        self.assertEqual((self.fixture.memory, self.broker.table.rows), (80, 2))

    def test_so_is_all_that_comes_later_in_its_lane(self) -> None:
        """Though it would fit."""
        jobs = self.flood(3)
        self.fixture.cancel(jobs[0])
        jobs = [*jobs[1:], *self.flood(1, b"x"), *self.flood(1, b"")]
        self.assertEqual(self.states(jobs), [QUEUED, None, None, None])

    def test_another_lane_is_not_behind_it(self) -> None:
        jobs = self.flood(3)
        self.fixture.cancel(jobs[0])
        self.assertEqual(self.states(self.flood(1, b"x", priority=HIGH)), [QUEUED])

    def test_nor_another_function(self) -> None:
        jobs = self.flood(3)
        self.fixture.cancel(jobs[0])
        self.assertEqual(self.states(self.flood(1, b"x", function=b"g")), [QUEUED])

    def test_a_worker_that_would_wait_for_it_gets_it_beyond_the_budget(self) -> None:
        self.flood(2, function=b"g")
        for _ in range(2):
            self.fixture.worker(b"f")
        jobs = self.flood(3)
        self.assertEqual(self.states(jobs), [QUEUED, QUEUED, None])
        self.assertEqual(self.fixture.memory, 160)

    def test_one_that_a_client_waits_for_stays_without_its_workload(self) -> None:
        self.flood(2)
        (job,) = self.flood_waited_for(1)
        self.assertEqual((self.states([job]), job.workload, self.fixture.memory), ([PAGED], b"", 80))
        self.assertEqual(self.broker.table.rows, 0)

    def test_foreground_jobs_keep_their_workloads_and_their_turn(self) -> None:
        client = self.fixture.connect()
        self.fixture.submit(client, workload=BIG * 10)
        jobs = self.flood(3)
        late = self.fixture.submit(client, workload=BIG)
        self.assertEqual(self.states(jobs), [QUEUED, None, None])
        self.assertEqual((late.state, late.workload, self.fixture.memory), (PAGED, BIG, 40))
        self.flood(1)
        self.fixture.submit(client)
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), [1, 2, 3, 4, 5, 6, 7])
        self.assertEqual(self.fixture.memory, 0)

    def test_a_foreground_job_behind_others_may_be_made_a_background_job(self) -> None:
        client = self.fixture.connect()
        self.flood(3)
        job = self.fixture.submit(client, unique=b"u", workload=BIG)
        self.fixture.submit(None, unique=b"u")
        self.fixture.commit()
        self.assertEqual((job.state, job.workload, self.fixture.memory), (PAGED, BIG, 120))
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), [1, 2, 3, 4])
        self.assertEqual(self.fixture.memory, 0)

    def test_all_are_counted_and_shown(self) -> None:
        self.flood(4)
        self.flood(1, priority=LOW)
        function = self.broker.functions.by_name[b"f"]
        self.assertEqual((function.lanes.ready, function.lanes.paged, function.total), (2, 3, 5))
        self.assertEqual([function.lanes.total_of(priority) for priority in (HIGH, NORMAL, LOW)], [0, 4, 1])
        self.assertEqual((function.bytes, len(self.broker.table)), (5 * len(BIG), 5))
        self.broker.operations.limit_function(b"f", (5, 5, 5))
        with self.assertRaisesRegex(Exception, "Job queue is full"):
            self.fixture.submit(None)

    def test_a_client_that_joined_and_goes_changes_nothing(self) -> None:
        client = self.fixture.connect()
        self.flood(2)
        job = self.fixture.submit(None, unique=b"u", workload=BIG)
        self.fixture.submit(client, unique=b"u")
        self.fixture.commit()
        self.fixture.leave(client)
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), [1, 2, job.number])

    def test_the_function_is_not_forgotten(self) -> None:
        for job in self.flood(3)[:2]:
            self.fixture.cancel(job)
        self.assertEqual(list(self.broker.functions.by_name), [b"f"])
        self.assertIs(self.broker.operations.drop_function(b"f"), False)


class RowsTests(PagedTestCase):
    """Which rows are read, and when."""

    def test_none_for_a_function_without_workers_that_has_something_in_memory(self) -> None:
        self.flood(5)
        self.fixture.worker(b"g")
        self.assertTrue(self.idle)

    def test_the_first_one_where_there_is_nothing(self) -> None:
        """It says since when the queue waits; its workload nobody needs."""
        self.fill()
        jobs = self.flood(3)
        self.assertEqual(self.rows_asked, (b"f", NORMAL, jobs[0].number - 1, 1))
        self.assertEqual(self.journal.asking[0].most_bytes, 0)
        self.fixture.read()
        self.assertEqual((self.states(jobs), self.idle), ([PAGED, None, None], True))

    def test_none_while_workers_have_enough(self) -> None:
        self.flood(3)
        self.fixture.worker(b"f")
        self.assertTrue(self.idle)

    def test_as_many_as_there_are_workers_where_there_is_no_room(self) -> None:
        self.fill()
        jobs = self.flood(9, b"x")
        self.fixture.read()
        self.fixture.worker(b"f")
        self.assertEqual(self.workloads_asked, [jobs[0].number])
        for _ in range(4):
            self.fixture.worker(b"f")
        self.fixture.read()
        self.assertEqual(self.rows_asked, (b"f", NORMAL, jobs[0].number, 4))
        self.fixture.read()
        self.assertEqual((self.states(jobs), self.idle), ([QUEUED] * 5 + [None] * 4, True))

    def test_as_many_as_there_is_room_for(self) -> None:
        self.start(20 * (JOB_BYTES + 1), *[1] * 30)
        self.fixture.worker(b"f")
        self.fixture.read()
        self.assertEqual(self.rows_asked, (b"f", NORMAL, 1, 19))
        self.fixture.read_all()
        self.assertEqual((len(self.broker.table.jobs), self.broker.table.rows), (20, 10))

    def test_no_more_than_so_many_at_once(self) -> None:
        self.start(QUEUE_MEMORY, *[0] * (READ_ROWS + 10))
        self.fixture.worker(b"f")
        self.assertEqual(self.rows_asked, (b"f", NORMAL, 1, READ_ROWS))
        self.assertEqual(self.journal.asking[0].most_bytes, READ_BYTES)

    def test_no_further_ahead_than_so_many(self) -> None:
        self.start(QUEUE_MEMORY, *[0] * (AHEAD + READ_ROWS + 10))
        worker = self.fixture.worker(b"f")
        self.fixture.read_all()
        function = self.broker.functions.by_name[b"f"]
        ready = function.lanes.ready
        self.assertGreaterEqual(ready, AHEAD)
        self.assertLess(ready, AHEAD + READ_ROWS)
        while self.idle:
            self.fixture.grab(worker)
        # Not for each that is taken: some time before there is nothing left.
        self.assertEqual(function.lanes.ready, LOW_LEVEL - 1)

    def test_with_their_workloads_as_far_as_they_go(self) -> None:
        self.start(QUEUE_MEMORY, 1, READ_BYTES // 2, READ_BYTES // 2, 1, 1)
        self.fixture.worker(b"f")
        self.fixture.read()
        self.assertEqual(self.rows_asked, (b"f", NORMAL, 1, 4))
        self.fixture.read()
        self.assertEqual(
            [job.state for job in self.broker.table.jobs.values()], [QUEUED, QUEUED, QUEUED, PAGED, PAGED]
        )
        self.assertEqual(self.workloads_asked, [4, 5])
        self.fixture.read()
        self.assertEqual(self.broker.functions.by_name[b"f"].lanes.ready, 5)

    def test_no_more_than_come_with_their_workloads(self) -> None:
        """What comes without is looked at once more when its workload is read."""
        self.start(QUEUE_MEMORY, *[READ_BYTES // 4] * 9)
        self.fixture.worker(b"f")
        self.fixture.read()
        self.assertEqual(self.rows_asked, (b"f", NORMAL, 1, 4))
        self.fixture.read()
        self.assertEqual(self.broker.functions.by_name[b"f"].lanes.ready, 5)

    def test_as_many_as_there_are_workers_however_large(self) -> None:
        self.start(QUEUE_MEMORY, *[READ_BYTES] * 9)
        for _ in range(3):
            self.fixture.worker(b"f")
        self.fixture.read()
        self.assertEqual(self.rows_asked, (b"f", NORMAL, 1, 2))

    def test_one_that_is_as_long_as_it_was_is_taken(self) -> None:
        """Somebody has changed the store: that is found where workloads alone are read."""
        self.start(QUEUE_MEMORY, 1, 2)
        self.journal.put(record(2, size=2), b"other")
        self.fixture.worker(b"f")
        self.fixture.read_all()
        self.assertEqual(list(self.broker.table.jobs), [1])
        self.assertEqual(self.journal.deleted, [2])

    def test_ahead_as_room_is_made(self) -> None:
        jobs = self.flood(6)
        worker = self.fixture.worker(b"f")
        self.assertIs(self.fixture.grab(worker), jobs[0])
        self.assertTrue(self.idle)
        self.complete(worker, jobs[0])
        self.assertIs(self.fixture.grab(worker), jobs[1])
        self.assertEqual(self.rows_asked, (b"f", NORMAL, 2, 1))

    def test_in_order_with_others_that_were_never_rows(self) -> None:
        client = self.fixture.connect()
        jobs = self.flood(3)
        jobs += [self.fixture.submit(client, workload=b"fore")]
        jobs += self.flood(2)
        jobs += [self.fixture.submit(client)]
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), self.numbers(jobs))
        self.assertEqual(self.fixture.memory, 0)

    def test_one_read_at_a_time(self) -> None:
        """The journal itself sees to it that there is no second."""
        self.fill()
        for function in (b"f", b"g", b"h"):
            self.flood(3, function=function)
        workers = [self.fixture.worker(b"f", b"g", b"h") for _ in range(3)]
        self.assertEqual(len(self.journal.asking), 1)
        self.assertEqual(len(self.drain_queue(*workers)), 9)

    def test_high_lanes_are_read_first_and_functions_take_turns(self) -> None:
        self.fill()
        wanted = [(b"f", NORMAL), (b"f", HIGH), (b"g", NORMAL)]
        jobs = {(name, each): self.flood(3, function=name, priority=each) for name, each in wanted}
        low = [job for pair in zip(jobs[b"f", NORMAL], jobs[b"g", NORMAL], strict=True) for job in pair]
        done = self.drain_queue(self.fixture.worker(b"f", b"g"))
        self.assertEqual(done, self.numbers(jobs[b"f", HIGH] + low))

    def test_its_arrival_wakes_as_many_as_can_do_something(self) -> None:
        for wakeups in (0, 1):
            self.start(QUEUE_MEMORY, 4, 4, 4, wakeups=wakeups)
            sleepers = [self.fixture.sleeper(b"f") for _ in range(5)]
            self.assertEqual(self.fixture.woken(), [])
            self.fixture.read_all()
            self.assertEqual(self.fixture.woken(), sleepers[:3])

    def test_workers_that_left_meanwhile(self) -> None:
        self.fill()
        jobs = self.flood(2)
        worker = self.fixture.worker(b"f")
        self.fixture.read()
        self.fixture.leave(worker)
        self.fixture.read_all()
        self.assertEqual(self.states(jobs), [QUEUED, None])
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), self.numbers(jobs))

    def test_a_lane_that_was_emptied_before_it_was_its_turn(self) -> None:
        self.fill()
        self.flood(1)
        (job,) = self.flood_waited_for(1, function=b"g")
        self.fixture.worker(b"g")
        self.fixture.cancel(job)
        self.fixture.read()
        self.assertTrue(self.idle)

    def test_less_than_was_thought(self) -> None:
        """Somebody has taken them out of the store."""
        self.flood(2)
        jobs = self.flood(3)
        for job in jobs[1:]:
            self.journal.lose(job)
        function = jobs[0].function
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), [1, 2, jobs[0].number])
        self.assertEqual((function.total, function.bytes, self.broker.table.rows), (0, 0, 0))
        self.assertEqual(function.counts.failed, {UNREADABLE: 2})

    def test_a_store_that_does_not_answer(self) -> None:
        self.fill()
        jobs = self.flood(2)
        asking = self.journal.asking.pop()
        asking.done(None, {}, self.fixture.now)
        self.assertTrue(self.idle)
        self.broker.store_events.answers(self.fixture.now)
        self.fixture.read()
        self.assertEqual(self.states(jobs), [PAGED, None])

    def test_a_budget_of_nothing_lets_workers_work(self) -> None:
        self.start(0)
        jobs = self.flood(5) + self.flood(1, b"")
        self.assertEqual((self.states(jobs), self.fixture.memory), ([None] * 6, 0))
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), self.numbers(jobs))

    def test_those_of_a_drained_server_are_not(self) -> None:
        self.fill()
        self.flood(3)
        self.fixture.read()
        self.fixture.drain()
        self.fixture.pass_time(1)
        self.fixture.worker(b"f")
        self.assertTrue(self.idle)


class DryTests(PagedTestCase):
    """The backlog of a function that nobody does fills the memory."""

    queue_memory = 10 * JOB_BYTES * DRY_SHARE

    def setUp(self) -> None:
        super().setUp()
        self.fill()
        self.jobs = self.flood(30, b"x" * 10)
        self.fixture.read()

    def test_a_dry_lane_is_read_a_small_piece(self) -> None:
        worker = self.fixture.worker(b"f")
        self.assertEqual(self.workloads_asked, [self.jobs[0].number])
        self.fixture.read()
        self.assertTrue(self.idle)
        self.fixture.grab(worker)
        self.assertEqual(self.rows_asked, (b"f", NORMAL, self.jobs[0].number, 10))

    def test_one_that_is_not_is_read_no_more(self) -> None:
        worker = self.fixture.worker(b"f")
        self.fixture.read()
        self.fixture.grab(worker)
        self.fixture.read_all()
        for _ in range(9):
            self.assertIsNotNone(self.fixture.grab(worker))
            self.assertTrue(self.idle)
        self.assertIsNotNone(self.fixture.grab(worker))
        self.assertEqual(self.rows_asked, (b"f", NORMAL, self.jobs[10].number, 10))


class DrainTests(PagedTestCase):
    """The server drains: what is stored stays there, whether it is in memory or not."""

    def test_they_wait_for_good(self) -> None:
        jobs = self.flood(4)
        worker = self.fixture.worker(b"f")
        self.fixture.drain()
        self.assertEqual(self.states(jobs), [DELAYED, DELAYED, None, None])
        function = jobs[0].function
        self.assertEqual((function.waiting, function.total), (4, 4))
        self.assertEqual((function.lanes.paged, function.lanes.overflow), (0, {}))
        self.assertTrue(self.broker.drained)
        self.assertIsNone(self.fixture.grab(worker))
        self.assertEqual(self.journal.deleted, [])

    def test_one_that_is_being_read_too(self) -> None:
        self.fill()
        (job,) = self.flood_waited_for(1)
        self.fixture.worker(b"f")
        for client in list(job.clients):
            self.fixture.leave(client)
        self.fixture.drain()
        self.fixture.read()
        self.assertEqual((job.state, job.workload), (DELAYED, b""))
        self.assertTrue(self.broker.drained)

    def test_those_that_clients_wait_for_come_into_the_lane(self) -> None:
        client, worker = self.fixture.connect(), self.fixture.worker(b"f")
        self.fill()
        self.flood(2)
        foreground = self.fixture.submit(client)
        self.assertEqual(foreground.state, PAGED)
        self.fixture.drain()
        self.assertEqual(foreground.state, QUEUED)
        self.assertFalse(self.broker.drained)
        self.assertEqual(self.drain_queue(worker), [foreground.number])
        self.assertTrue(self.broker.drained)

    def test_or_are_read(self) -> None:
        self.flood(3)
        (job,) = self.flood_waited_for(1)
        self.fixture.drain()
        self.assertEqual(job.state, PAGED)
        self.assertFalse(self.broker.drained)
        self.assertEqual(self.drain_queue(self.fixture.worker(b"f")), [job.number])
        self.assertTrue(self.broker.drained)

    def test_one_whose_clients_leave_makes_way_for_the_next(self) -> None:
        self.flood(2)
        (job,) = self.flood_waited_for(1)
        foreground = self.fixture.submit(self.fixture.connect())
        self.fixture.drain()
        self.assertEqual((job.state, foreground.state), (PAGED, PAGED))
        for client in list(job.clients):
            self.fixture.leave(client)
        self.assertEqual((job.state, foreground.state), (DELAYED, QUEUED))

    def test_one_that_waits_for_good_gives_back_what_it_took(self) -> None:
        jobs = self.flood(2)
        self.fixture.drain()
        for job in jobs:
            self.fixture.cancel(job)
        self.assertEqual((self.fixture.memory, self.broker.table.jobs), (0, {}))


class AloneTests(SynchronousTestCase):
    """A pager that nobody has."""

    def test_a_lane_into_which_some_are_about_to_come_is_not_read_for(self) -> None:
        """Only then it shows what it lacks."""
        loads: list[list[Job]] = []
        table = JobTable(b"H:test")
        jobs = table.jobs
        pager = Pager(10 * JOB_BYTES, table, loads.append)
        function = Function(b"f")
        function.workers[Peer(1, "192.0.2.1")] = None
        for number in (1, 2):
            job = jobs[number] = make_job(function, number, workload=BIG)
            job.state = PAGED
            function.lanes.append_overflow(job)
        jobs[2].workload = b""
        pager.ask(function, NORMAL, 0.0)
        self.assertEqual(loads, [])
        jobs[1].workload = b""
        pager.ask(function, NORMAL, 0.0)
        self.assertEqual(loads, [[jobs[1], jobs[2]]])

    def test_histories_are_counted(self) -> None:
        """They take as much memory as the jobs: there is room for half as many."""
        table = JobTable(b"H:test")
        pager = Pager(2 * JOB_BYTES + HISTORY_BYTES, table, lambda jobs: None)
        tried, other = make_job(number=1), make_job(number=2)
        tried.history = History()
        table.add(tried)
        self.assertEqual(pager.memory, JOB_BYTES + HISTORY_BYTES)
        self.assertTrue(pager.has_room(other))
        table.add(other)
        self.assertEqual((pager.crowded, pager.has_room(other)), (False, True))
        table.remove(other)
        other.history = History()
        table.add(other)
        self.assertEqual((pager.crowded, pager.has_room(other)), (True, False))
        table.remove(tried)
        self.assertEqual((pager.crowded, pager.memory), (False, JOB_BYTES + HISTORY_BYTES))


class HeldTests(SynchronousTestCase):
    def test_what_one_has_behind_who_is_held(self) -> None:
        """A job that comes is behind that, as it is of others: its workload is not wanted before."""
        pager = Pager(1_000_000, JobTable(b"H:test"), lambda jobs: None)
        tenant = Tenant("a")
        tenant.quota, tenant.running = Quota(running=1), 1
        first, second = make_job(number=1), make_job(number=2)
        lanes = second.function.share()
        first.tenant = second.tenant = tenant
        first.state = PAGED
        self.assertTrue(pager.has_room(second))
        lanes.append_overflow(first)
        self.assertEqual((lanes.overflow, pager.has_room(second)), ({}, False))

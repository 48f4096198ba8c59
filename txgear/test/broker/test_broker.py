"""Tests of L{txgear.broker.broker}: what becomes of a job, rule by rule."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Job
from txgear.broker.states import DONE, QUEUED, RUNNING
from txgear.errors import ArgumentTooLarge, JobNotFound
from txgear.protocol.constants import (
    HIGH,
    LOW,
    MAX_UNIQUE,
    NORMAL,
    WORK_COMPLETE,
    WORK_FAIL,
)
from txgear.protocol.packets import Pieces
from txgear.test.support.broker import BrokerFixture, BrokerTestCase, queued
from txgear.test.support.clock import START


class OrderTests(BrokerTestCase):
    def submit(self, function: bytes, priority: int) -> Job:
        return self.fixture.submit(None, function, priority=priority)

    def test_first_in_first_out_within_a_function_and_priority(self) -> None:
        jobs = [self.fixture.submit(None) for _ in range(5)]
        self.assertEqual(self.fixture.grab_all(self.fixture.worker(b"f")), jobs)

    def test_priority_is_global_over_a_workers_functions(self) -> None:
        wanted = [(b"f", HIGH), (b"g", HIGH), (b"g", NORMAL), (b"f", NORMAL), (b"f", LOW)]
        jobs = {each: self.submit(*each) for each in reversed(wanted)}
        order = [jobs[b"g", HIGH], jobs[b"f", HIGH], jobs[b"f", NORMAL], jobs[b"g", NORMAL], jobs[b"f", LOW]]
        self.assertEqual(self.fixture.grab_all(self.fixture.worker(b"f", b"g")), order)

    def test_functions_take_turns_within_a_priority(self) -> None:
        many = [self.submit(b"many", NORMAL) for _ in range(4)]
        few = [self.submit(b"few", NORMAL) for _ in range(2)]
        worker = self.fixture.worker(b"few", b"many")
        self.assertEqual(self.fixture.grab_all(worker), [many[0], few[0], many[1], few[1], many[2], many[3]])

    def test_functions_take_turns_where_there_are_more_of_them_than_abilities(self) -> None:
        names = [b"f%d" % number for number in range(9)]
        jobs = {name: [self.submit(name, NORMAL) for _ in range(2)] for name in names}
        worker = self.fixture.worker(b"f7", b"f3", b"f5")
        order = [jobs[name][turn] for turn in range(2) for name in (b"f3", b"f5", b"f7")]
        self.assertEqual(self.fixture.grab_all(worker), order)

    def test_a_worker_gets_only_what_it_can_do(self) -> None:
        for functions in ([b"f"], [b"f", b"g", b"h"]):
            for function in functions:
                self.fixture.submit(None, function)
            self.assertEqual(self.fixture.grab_all(self.fixture.worker(b"x")), [])
            self.assertEqual(self.fixture.grab_all(self.fixture.worker(b"x", b"y", b"z", b"w")), [])

    def test_a_worker_may_hold_several_jobs(self) -> None:
        client = self.fixture.connect()
        jobs = [self.fixture.submit(client) for _ in range(2)]
        worker = self.fixture.worker(b"f")
        self.fixture.grab_all(worker)
        for job in reversed(jobs):
            self.complete(worker, job)
        self.assertEqual(
            self.fixture.heard(client), [(WORK_COMPLETE, job.handle, b"done") for job in reversed(jobs)]
        )


class UniqueTests(BrokerTestCase):
    def test_the_same_unique_of_the_same_function_is_the_same_job(self) -> None:
        for unique in (b"u", b"x" * MAX_UNIQUE):
            first = self.fixture.submit(None, unique=unique, workload=b"one")
            self.assertIs(self.fixture.submit(None, unique=unique, workload=b"other", priority=HIGH), first)
            self.assertEqual((first.workload, first.priority), (b"one", NORMAL))
            self.assertEqual(first.function.total, len(self.broker.table.jobs))

    def test_uniques_of_64_bytes_are_kept_whole(self) -> None:
        first, other = (self.fixture.submit(None, unique=b"x" * 63 + last) for last in (b"1", b"2"))
        self.assertIsNot(first, other)
        self.assertEqual(first.unique, b"x" * 63 + b"1")

    def test_longer_ones_are_refused(self) -> None:
        with self.assertRaisesRegex(ArgumentTooLarge, "^ARGUMENT_TOO_LARGE: Unique value too large$"):
            self.fixture.submit(None, unique=b"x" * 65)
        with self.assertRaisesRegex(ArgumentTooLarge, "Unique value too large"):
            self.fixture.submit(None, reducer=b"x" * 65)
        self.assertEqual(self.fixture.counts(), {})

    def test_another_function_makes_another_job(self) -> None:
        first = self.fixture.submit(None, b"f", b"u")
        other = self.fixture.submit(None, b"g", b"u")
        self.assertIsNot(first, other)
        self.assertIs(self.broker.table.by_unique(b"u"), other)

    def test_empty_uniques_are_never_joined(self) -> None:
        self.assertIsNot(self.fixture.submit(None), self.fixture.submit(None))

    def test_a_dash_is_the_workload(self) -> None:
        first = self.fixture.submit(None, unique=b"-", workload=b"one")
        self.assertIs(self.fixture.submit(None, unique=b"-", workload=Pieces([b"o", b"ne"])), first)
        self.assertIsNot(self.fixture.submit(None, unique=b"-", workload=b"other"), first)
        self.assertIsNot(self.fixture.submit(None, b"g", unique=b"-", workload=b"one"), first)
        self.assertIsNone(self.broker.table.by_unique(b"-"))

    def test_a_dash_without_a_workload_is_never_joined(self) -> None:
        self.assertIsNot(self.fixture.submit(None, unique=b"-"), self.fixture.submit(None, unique=b"-"))

    def test_a_job_that_ended_is_not_joined(self) -> None:
        worker = self.fixture.worker(b"f")
        first = self.fixture.submit(None, unique=b"u")
        self.fixture.grab(worker)
        self.complete(worker, first)
        self.assert_gone(first)
        self.assertIsNot(self.fixture.submit(None, unique=b"u"), first)

    def test_all_who_joined_hear_of_it_the_newest_first(self) -> None:
        clients = [self.fixture.connect() for _ in range(3)]
        job = self.fixture.submit(clients[0], unique=b"u")
        worker = self.fixture.worker(b"f")
        self.fixture.submit(clients[1], unique=b"u")
        self.fixture.grab(worker)
        self.fixture.submit(clients[2], unique=b"u")
        self.complete(worker, job)
        self.assertEqual(
            self.fixture.outbox.take(),
            [(client, (WORK_COMPLETE, job.handle, b"done")) for client in reversed(clients)],
        )

    def test_a_client_that_joined_twice_hears_twice(self) -> None:
        client = self.fixture.connect()
        for _ in range(2):
            job = self.fixture.submit(client, unique=b"u")
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.broker.reports.work_fail(worker, job.handle, self.fixture.now)
        self.assertEqual(self.fixture.heard(client), [(WORK_FAIL, job.handle)] * 2)


class LeavingClientTests(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()

    def test_an_abandoned_queued_job_is_gone_at_once(self) -> None:
        job = self.fixture.submit(self.client, unique=b"u")
        self.fixture.leave(self.client)
        self.assert_gone(job)
        self.assertEqual(self.fixture.counts(), {})
        self.assertIsNot(self.fixture.submit(None, unique=b"u"), job)

    def test_a_foreground_job_that_a_background_request_joined_survives(self) -> None:
        job = self.fixture.submit(self.client, unique=b"u")
        self.fixture.submit(None, unique=b"u")
        self.fixture.leave(self.client)
        self.assertIs(self.fixture.grab(self.fixture.worker(b"f")), job)

    def test_a_background_job_that_a_client_joined_survives(self) -> None:
        job = self.fixture.submit(None, unique=b"u")
        self.fixture.submit(self.client, unique=b"u")
        self.fixture.leave(self.client)
        self.assertIs(self.fixture.grab(self.fixture.worker(b"f")), job)

    def test_a_job_lives_as_long_as_one_client_waits(self) -> None:
        other = self.fixture.connect()
        job = self.fixture.submit(self.client, unique=b"u")
        self.fixture.submit(other, unique=b"u")
        self.fixture.submit(self.client, unique=b"u")
        self.fixture.leave(self.client)
        self.assertEqual(list(job.clients), [other])
        self.fixture.leave(other)
        self.assert_gone(job)

    def test_a_running_job_goes_on_and_its_result_goes_nowhere(self) -> None:
        worker = self.fixture.worker(b"f")
        job = self.fixture.submit(self.client, unique=b"u")
        self.fixture.grab(worker)
        self.fixture.leave(self.client)
        self.assertIs(self.broker.table.by_handle(job.handle), job)
        self.complete(worker, job)
        self.assertEqual(self.fixture.outbox.take(), [])
        self.assert_gone(job)

    def test_an_abandoned_running_job_is_alive_again_when_joined(self) -> None:
        worker = self.fixture.worker(b"f")
        job = self.fixture.submit(self.client, unique=b"u")
        self.fixture.grab(worker)
        self.fixture.leave(self.client)
        other = self.fixture.connect()
        self.assertIs(self.fixture.submit(other, unique=b"u"), job)
        self.fixture.leave(worker)
        second = self.fixture.worker(b"f")
        self.assertIs(self.fixture.grab(second), job)
        self.complete(second, job)
        self.assertEqual(self.fixture.heard(other), [(WORK_COMPLETE, job.handle, b"done")])

    def test_an_abandoned_running_job_ends_with_its_worker(self) -> None:
        worker = self.fixture.worker(b"f")
        job = self.fixture.submit(self.client)
        self.fixture.grab(worker)
        self.fixture.leave(self.client)
        self.fixture.leave(worker)
        self.assert_gone(job)
        self.assertEqual(self.fixture.counts(), {})


class LostJobTests(BrokerTestCase):
    """A worker goes with its job, or overruns its time."""

    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.jobs = [self.fixture.submit(self.client) for _ in range(4)]

    def lose(self, count: int = 1) -> None:
        """A worker takes this many jobs and goes."""
        worker = self.fixture.worker(b"f")
        for _ in range(count):
            self.fixture.grab(worker)
        self.fixture.leave(worker)

    def order(self) -> list[Job]:
        return queued(self.jobs[0].function.lanes)

    def test_the_first_time_a_job_keeps_its_turn(self) -> None:
        self.lose()
        self.assertEqual(self.order(), self.jobs)
        self.assertEqual([job.retries for job in self.jobs], [1, 0, 0, 0])

    def test_several_keep_their_order(self) -> None:
        self.lose(3)
        self.assertEqual(self.order(), self.jobs)

    def test_those_of_several_workers_keep_their_order(self) -> None:
        workers = [self.fixture.worker(b"f") for _ in range(3)]
        for worker in workers:
            self.fixture.grab(worker)
        for index in (1, 0, 2):
            self.fixture.leave(workers[index])
        self.assertEqual(self.order(), self.jobs)

    def test_from_the_second_time_on_it_goes_behind_all_others(self) -> None:
        first, *others = self.jobs
        self.lose()
        self.lose()
        self.assertEqual(self.order(), [*others, first])
        self.lose(4)
        self.assertEqual(self.order(), [*others, first])
        self.assertEqual(first.retries, 3)
        self.lose(2)
        self.assertEqual(self.order(), [others[2], first, *others[:2]])

    def test_it_stays_in_its_priority(self) -> None:
        high = self.fixture.submit(None, priority=HIGH)
        self.lose(2)
        self.assertEqual(self.order(), [high, *self.jobs])

    def test_its_progress_is_forgotten(self) -> None:
        worker = self.fixture.worker(b"f")
        job = self.fixture.grab(worker)
        assert job is not None
        self.broker.reports.work_status(worker, job.handle, b"1", b"2", (1, 2), self.fixture.now)
        self.fixture.leave(worker)
        self.assertEqual((job.progress, job.worker, job.state), ((0, 0), None, QUEUED))

    def test_its_clients_are_not_told(self) -> None:
        self.lose(4)
        self.assertEqual(self.fixture.outbox.take(), [])

    def test_a_sleeper_is_woken_for_it(self) -> None:
        worker = self.fixture.worker(b"f")
        self.fixture.grab_all(worker)
        sleepers = [self.fixture.sleeper(b"f") for _ in range(5)]
        self.fixture.leave(worker)
        self.assertEqual(self.fixture.woken(), sleepers[:4])

    def test_saying_cant_do_is_losing_it(self) -> None:
        worker = self.fixture.worker(b"f", b"g")
        other = self.fixture.submit(self.client, b"g")
        self.fixture.grab_all(worker)
        self.broker.cant_do(worker, b"f", self.fixture.now)
        self.assertEqual(self.order(), self.jobs)
        self.assertEqual([job.retries for job in (*self.jobs, other)], [1, 1, 1, 1, 0])
        with self.assertRaises(JobNotFound):
            self.complete(worker, self.jobs[0])
        self.complete(worker, other)

    def test_one_that_speaks_our_packets_goes_on_with_what_it_has(self) -> None:
        worker = self.fixture.worker(b"f", b"g")
        worker.extended = True
        self.fixture.grab_all(worker)
        more = self.fixture.submit(self.client)
        self.broker.cant_do(worker, b"f", self.fixture.now)
        self.assertIsNone(self.fixture.grab(worker))
        for job in self.jobs:
            self.assertEqual((job.worker, job.retries), (worker, 0))
            self.complete(worker, job)
        self.assertEqual((more.state, worker.running), (QUEUED, {}))
        self.broker.check()

    def test_resetting_abilities_is_losing_all(self) -> None:
        worker = self.fixture.worker(b"f", b"g")
        other = self.fixture.submit(self.client, b"g")
        self.fixture.grab_all(worker)
        self.broker.reset_abilities(worker, self.fixture.now)
        self.assertEqual([job.state for job in (*self.jobs, other)], [QUEUED] * 5)
        self.assertIsNone(self.fixture.grab(worker))

    def test_cant_do_of_what_it_cannot_do_changes_nothing(self) -> None:
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.broker.cant_do(worker, b"x", self.fixture.now)
        self.fixture.submit(None, b"g")
        self.broker.cant_do(worker, b"g", self.fixture.now)
        self.assertEqual(self.jobs[0].worker, worker)


class RetriesTests(SynchronousTestCase):
    def runs(self, retries: int) -> int:
        """How often a job runs whose workers all go, and whether its client hears that it failed."""
        fixture = BrokerFixture(retries)
        client = fixture.connect()
        job = fixture.submit(client, unique=b"u")
        runs = 0
        while runs < 10 and not job.ended:
            worker = fixture.worker(b"f")
            self.assertIs(fixture.grab(worker), job)
            fixture.leave(worker)
            runs += 1
        if job.ended:
            self.assertEqual(fixture.heard(client), [(WORK_FAIL, job.handle)])
            self.assertEqual(fixture.broker.table.jobs, {})
        return runs

    def test_as_often_as_was_set(self) -> None:
        for retries, runs in ((0, 1), (1, 1), (2, 2), (3, 3)):
            self.assertEqual(self.runs(retries), runs)

    def test_without_a_bound(self) -> None:
        self.assertEqual(self.runs(-1), 10)

    def test_a_background_job_is_given_up_too(self) -> None:
        fixture = BrokerFixture(retries=0)
        fixture.submit(None)
        worker = fixture.worker(b"f")
        fixture.grab(worker)
        fixture.leave(worker)
        self.assertEqual(fixture.counts(), {})


class TimeoutTests(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.worker = self.fixture.worker(b"f", timeout=5.0)

    def grab(self) -> Job:
        job = self.fixture.submit(self.client)
        self.assertIs(self.fixture.grab(self.worker), job)
        return job

    def test_a_job_that_overruns_its_time_is_lost(self) -> None:
        job = self.grab()
        self.fixture.pass_time(4.9)
        self.assertEqual(job.state, RUNNING)
        self.fixture.pass_time(0.1)
        self.assertEqual((job.state, job.retries), (QUEUED, 1))
        with self.assertRaises(JobNotFound):
            self.complete(self.worker, job)
        self.assertIs(self.fixture.grab(self.fixture.worker(b"f")), job)

    def test_each_job_has_its_own_time(self) -> None:
        jobs = []
        for _ in range(3):
            jobs.append(self.grab())
            self.fixture.pass_time(1.0)
        self.complete(self.worker, jobs[1])
        self.fixture.pass_time(2.0)
        self.assertEqual([job.state for job in jobs], [QUEUED, DONE, RUNNING])
        self.fixture.pass_time(2.0)
        self.assertEqual([job.state for job in jobs], [QUEUED, DONE, QUEUED])

    def test_a_job_that_ended_in_time_is_never_delivered_again(self) -> None:
        job = self.grab()
        self.complete(self.worker, job)
        self.fixture.pass_time(10.0)
        self.assertIsNone(self.fixture.grab(self.worker))
        self.assertEqual(self.fixture.counts(), {b"f": (0, 0, 0, 1)})

    def test_falling_asleep_does_not_stop_it(self) -> None:
        job = self.grab()
        self.fixture.sleep(self.worker)
        self.fixture.pass_time(5.0)
        self.assertEqual(job.retries, 1)
        self.assertEqual(self.fixture.woken(), [self.worker])

    def test_saying_can_do_again_replaces_it_for_later_jobs(self) -> None:
        first = self.grab()
        self.broker.can_do(self.worker, b"f", 0.0, self.fixture.now)
        second = self.grab()
        self.fixture.pass_time(100.0)
        self.assertEqual((first.retries, second.retries), (1, 0))

    def test_the_last_one_fails_for_good(self) -> None:
        fixture = BrokerFixture(retries=1)
        client, worker = fixture.connect(), fixture.worker(b"f", timeout=5.0)
        job = fixture.submit(client)
        fixture.grab(worker)
        fixture.pass_time(5.0)
        self.assertEqual(fixture.heard(client), [(WORK_FAIL, job.handle)])
        self.assertEqual(fixture.broker.table.jobs, {})


class CancelTests(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.job = self.fixture.submit(self.client, unique=b"u")

    def cancel(self) -> None:
        self.fixture.cancel(self.job)
        self.assertEqual(self.fixture.heard(self.client), [(WORK_FAIL, self.job.handle)])
        self.assert_gone(self.job)

    def test_a_queued_job(self) -> None:
        self.cancel()
        self.assertEqual(self.fixture.counts(), {})
        self.assertIsNone(self.fixture.grab(self.fixture.worker(b"f")))

    def test_a_running_job_is_never_heard_of_again(self) -> None:
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.cancel()
        with self.assertRaises(JobNotFound):
            self.complete(worker, self.job)
        self.fixture.leave(worker)
        self.assertEqual(self.fixture.outbox.take(), [])
        self.assertEqual(self.fixture.counts(), {})

    def test_a_job_that_waits_for_its_time(self) -> None:
        later = self.fixture.submit(None, due=START + 10)
        self.fixture.cancel(later)
        self.assert_gone(later)
        self.fixture.pass_time(20.0)
        self.assertEqual(self.fixture.grab_all(self.fixture.worker(b"f")), [self.job])

    def test_twice_is_once(self) -> None:
        self.cancel()
        self.assertFalse(self.broker.operations.cancel(self.job.handle, self.fixture.now))
        for handle in (
            b"H:test:99",
            b"",
            b"H:test:",
            b"H:test:x",
            b"H:test:02",
            b"H:fast:2",
            b"H:test:" + b"2" * 99,
        ):
            self.assertFalse(self.broker.operations.cancel(handle, self.fixture.now))

    def test_the_others_keep_their_order(self) -> None:
        others = [self.fixture.submit(None) for _ in range(3)]
        self.fixture.cancel(others[1])
        self.assertEqual(self.fixture.grab_all(self.fixture.worker(b"f")), [self.job, others[0], others[2]])

    def test_its_unique_is_free(self) -> None:
        self.cancel()
        self.assertIsNot(self.fixture.submit(None, unique=b"u"), self.job)

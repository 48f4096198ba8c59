"""Tests of what holds a function's jobs back, or refuses them: rate, concurrency, pause, its bounds."""

from __future__ import annotations

from math import inf
from typing import Any

from txgear.broker.model import Job, Peer
from txgear.broker.records import PAUSED, SCHEDULED, StoredValue
from txgear.broker.sleepers import WAKE_SECONDS
from txgear.broker.states import DELAYED, QUEUED
from txgear.errors import ArgumentTooLarge, QueueError
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import HIGH, LOW, MAX_FUNCTION, NOOP
from txgear.test.support.broker import BrokerFixture, BrokerTestCase, DurableBrokerTestCase
from txgear.test.support.clock import START
from txgear.test.support.fakejournal import FakeJournal


class LimitsTestCase(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.worker = self.fixture.worker(b"f")

    def submit(self, count: int, function: bytes = b"f", **rest: Any) -> list[Job]:
        return [self.fixture.submit(None, function, **rest) for _ in range(count)]

    def sleepers(self, count: int) -> list[Peer]:
        return [self.fixture.sleeper(b"f") for _ in range(count)]


class ConcurrencyTests(LimitsTestCase):
    def test_no_more_run_at_once(self) -> None:
        self.fixture.set(concurrency=2)
        jobs = self.submit(3)
        self.assertEqual(self.fixture.grab_all(self.worker), jobs[:2])
        self.assertIsNone(self.fixture.grab(self.fixture.worker(b"f")))
        self.complete(self.worker, jobs[0])
        self.assertEqual(self.fixture.grab_all(self.worker), jobs[2:])

    def test_whatever_ends_one_makes_room(self) -> None:
        for end in (
            lambda fixture, worker, job: fixture.broker.reports.work_complete(
                worker, job.handle, b"", fixture.now
            ),
            lambda fixture, worker, job: fixture.broker.reports.work_fail(worker, job.handle, fixture.now),
            lambda fixture, worker, job: fixture.broker.reports.work_exception(
                worker, job.handle, b"", fixture.now
            ),
            lambda fixture, worker, job: fixture.leave(worker),
            lambda fixture, worker, job: fixture.broker.cant_do(worker, b"f", fixture.now),
            lambda fixture, worker, job: fixture.cancel(job),
            lambda fixture, worker, job: fixture.pass_time(5),
        ):
            fixture = BrokerFixture(retries=1)
            fixture.set(concurrency=1, timeout=5)
            worker = fixture.worker(b"f")
            first, second = fixture.submit(None), fixture.submit(None)
            self.assertIs(fixture.grab(worker), first)
            sleeper = fixture.sleeper(b"f")
            self.assertEqual(fixture.woken(), [])
            end(fixture, worker, first)
            self.assertEqual(fixture.woken(), [sleeper])
            self.assertIs(fixture.grab(sleeper), second)

    def test_one_that_waits_for_its_next_attempt_takes_no_room(self) -> None:
        self.fixture.set(concurrency=1, retries=1, backoff=60)
        first, second = self.submit(2)
        self.fails(self.worker, self.grabbed(self.worker, first))
        self.grabbed(self.worker, second)
        self.fixture.pass_time(60)
        self.assertEqual(first.state, QUEUED)
        self.assertIsNone(self.fixture.grab(self.worker))
        self.complete(self.worker, second)
        self.grabbed(self.worker, first)

    def test_no_more_are_woken_than_there_is_room_for(self) -> None:
        self.fixture.set(concurrency=2)
        sleepers = self.sleepers(4)
        jobs = self.submit(4)
        self.assertEqual(self.fixture.woken(), sleepers[:2])
        self.grabbed(sleepers[0], jobs[0])
        self.grabbed(sleepers[1], jobs[1])
        self.assertEqual(self.fixture.woken(), [])
        self.complete(sleepers[0], jobs[0])
        self.assertEqual(self.fixture.woken(), sleepers[2:3])
        self.complete(sleepers[1], jobs[1])
        self.assertEqual(self.fixture.woken(), sleepers[3:])

    def test_who_falls_asleep_beside_jobs_that_are_held_sleeps(self) -> None:
        self.fixture.set(concurrency=1)
        jobs = self.submit(2)
        self.grabbed(self.fixture.worker(b"f"), jobs[0])
        self.fixture.sleep(self.worker)
        self.assertEqual(self.fixture.woken(), [])
        self.fixture.cancel(jobs[0])
        self.assertEqual(self.fixture.woken(), [self.worker])

    def test_nor_is_one_woken_when_another_was_for_the_only_room(self) -> None:
        self.fixture.set(concurrency=1)
        (sleeper,) = self.sleepers(1)
        self.submit(2)
        self.assertEqual(self.fixture.woken(), [sleeper])
        self.fixture.sleep(self.worker)
        self.assertEqual(self.fixture.woken(), [])
        self.fixture.pass_time(WAKE_SECONDS)
        self.assertEqual(self.fixture.woken(), [self.worker])

    def test_who_learns_the_function_sleeps_on(self) -> None:
        self.fixture.set(concurrency=1)
        jobs = self.submit(2)
        self.grabbed(self.worker, jobs[0])
        sleeper = self.fixture.sleeper(b"g")
        self.broker.can_do(sleeper, b"f", 0.0, self.fixture.now)
        self.assertEqual(self.fixture.woken(), [])

    def test_other_functions_go_on(self) -> None:
        self.fixture.set(concurrency=1)
        worker = self.fixture.worker(b"f", b"g")
        jobs = [*self.submit(2), *self.submit(2, b"g", priority=LOW)]
        self.assertEqual(self.fixture.grab_all(worker), [jobs[0], jobs[2], jobs[3]])

    def test_every_priority_is_held_and_comes_back_in_order(self) -> None:
        self.fixture.set(concurrency=1)
        low, high = self.fixture.submit(None, priority=LOW), self.fixture.submit(None, priority=HIGH)
        self.grabbed(self.worker, high)
        higher = self.fixture.submit(None, priority=HIGH)
        self.assertIsNone(self.fixture.grab(self.worker))
        self.complete(self.worker, high)
        self.grabbed(self.worker, higher)
        self.complete(self.worker, higher)
        self.grabbed(self.worker, low)

    def test_it_may_be_changed_while_jobs_run(self) -> None:
        self.fixture.set(concurrency=1)
        jobs = self.submit(5)
        self.grabbed(self.worker, jobs[0])
        sleepers = self.sleepers(3)
        self.assertEqual(self.fixture.woken(), [])
        self.fixture.set(concurrency=3)
        self.assertEqual(self.fixture.woken(), sleepers[:2])
        self.assertEqual(self.fixture.grab_all(self.worker), jobs[1:3])
        self.fixture.set(concurrency=2)
        self.complete(self.worker, jobs[0])
        self.assertIsNone(self.fixture.grab(self.worker))
        self.complete(self.worker, jobs[1])
        self.grabbed(self.worker, jobs[3])
        self.fixture.set(retries=1)
        self.assertEqual((jobs[4].function.throttle, jobs[4].function.throttled), (None, False))
        self.grabbed(self.worker, jobs[4])

    def test_jobs_that_are_held_can_be_cancelled(self) -> None:
        self.fixture.set(concurrency=1)
        jobs = self.submit(3)
        self.grabbed(self.worker, jobs[0])
        self.fixture.cancel(jobs[1])
        self.complete(self.worker, jobs[0])
        self.grabbed(self.worker, jobs[2])

    def test_the_server_drains_what_is_held(self) -> None:
        self.fixture.set(concurrency=1)
        client = self.fixture.connect()
        jobs = [self.fixture.submit(client) for _ in range(2)]
        self.grabbed(self.worker, jobs[0])
        self.fixture.drain()
        self.complete(self.worker, jobs[0])
        self.assertFalse(self.broker.drained)
        self.grabbed(self.worker, jobs[1])
        self.complete(self.worker, jobs[1])
        self.assertTrue(self.broker.drained)


class RateTests(LimitsTestCase):
    def test_jobs_start_as_tokens_come(self) -> None:
        self.fixture.set(rate="1/s")
        jobs = self.submit(3)
        self.grabbed(self.worker, jobs[0])
        self.assertIsNone(self.fixture.grab(self.worker))
        self.fixture.pass_time(0.999)
        self.assertIsNone(self.fixture.grab(self.worker))
        self.fixture.pass_time(0.001)
        self.grabbed(self.worker, jobs[1])
        self.assertIsNone(self.fixture.grab(self.worker))
        self.fixture.pass_time(1)
        self.grabbed(self.worker, jobs[2])

    def test_a_burst_after_a_pause(self) -> None:
        self.fixture.set(rate={"jobs": "2/s", "burst": 3})
        jobs = self.submit(8)
        self.assertEqual(self.fixture.grab_all(self.worker), jobs[:3])
        self.fixture.pass_time(1)
        self.assertEqual(self.fixture.grab_all(self.worker), jobs[3:5])
        self.fixture.pass_time(100)
        self.assertEqual(self.fixture.grab_all(self.worker), jobs[5:])

    def test_over_a_long_time_it_is_kept_exactly(self) -> None:
        self.fixture.set(rate="7/s")
        self.submit(200)
        started = 0
        while self.fixture.now < START + 9.99:
            started += len(self.fixture.grab_all(self.worker))
            self.fixture.pass_time(self.fixture.next_call - self.fixture.now)
        self.assertEqual(started, 70)

    def test_a_sleeper_is_woken_when_a_token_comes(self) -> None:
        self.fixture.set(rate="1/s")
        sleepers = self.sleepers(3)
        jobs = self.submit(3)
        self.assertEqual(self.fixture.woken(), sleepers[:1])
        for number in range(3):
            self.grabbed(sleepers[number], jobs[number])
            self.assertEqual(self.fixture.woken(), [])
            self.fixture.pass_time(0.999)
            self.assertEqual(self.fixture.woken(), [])
            self.fixture.pass_time(0.001)
            self.assertEqual(self.fixture.woken(), sleepers[number + 1 : number + 2])

    def test_for_as_many_tokens_as_there_are(self) -> None:
        self.fixture.set(rate={"jobs": "1/s", "burst": 3})
        sleepers = self.sleepers(5)
        self.submit(5)
        self.assertEqual(self.fixture.woken(), sleepers[:3])

    def test_one_that_comes_when_there_is_no_token_wakes_nobody(self) -> None:
        self.fixture.set(rate="1/s")
        self.submit(1)
        self.fixture.grab(self.worker)
        (sleeper,) = self.sleepers(1)
        self.submit(1)
        self.assertEqual(self.fixture.woken(), [])
        self.fixture.pass_time(1)
        self.assertEqual(self.fixture.woken(), [sleeper])

    def test_nobody_is_called_when_nothing_waits_for_a_token(self) -> None:
        self.fixture.set(rate="1/s")
        self.submit(1)
        self.fixture.grab(self.worker)
        self.assertEqual(self.fixture.next_call, START + 1)
        self.fixture.pass_time(1)
        self.assertEqual(self.fixture.next_call, inf)

    def test_each_attempt_takes_one(self) -> None:
        self.fixture.set(rate="1/s", retries=1, backoff=0)
        (job,) = self.submit(1)
        self.fails(self.worker, self.grabbed(self.worker, job))
        self.assertIsNone(self.fixture.grab(self.worker))
        self.fixture.pass_time(1)
        self.grabbed(self.worker, job)

    def test_together_with_concurrency(self) -> None:
        self.fixture.set(rate="1/s", concurrency=1)
        first, second, third = self.submit(3)
        self.grabbed(self.worker, first)
        self.fixture.pass_time(5)
        self.assertIsNone(self.fixture.grab(self.worker))
        self.complete(self.worker, first)
        self.grabbed(self.worker, second)
        self.complete(self.worker, second)
        self.assertIsNone(self.fixture.grab(self.worker))
        self.fixture.pass_time(1)
        self.grabbed(self.worker, third)

    def test_a_function_that_nobody_uses_finds_its_bucket_as_it_left_it(self) -> None:
        """Somebody who starts a worker for each job calls no more often for that."""
        self.fixture.set(rate="1/h")
        (job,) = self.submit(1)
        self.complete(self.worker, self.grabbed(self.worker, job))
        self.fixture.leave(self.worker)
        self.assertEqual(self.fixture.counts(), {b"f": (0, 0, 0, 0)})
        self.fixture.pass_time(1800)
        worker = self.fixture.worker(b"f")
        (job,) = self.submit(1)
        self.assertIsNone(self.fixture.grab(worker))
        self.fixture.pass_time(1800)
        self.complete(worker, self.grabbed(worker, job))
        self.fixture.leave(worker)
        self.fixture.pass_time(3600)
        self.assertEqual((self.fixture.counts(), self.fixture.next_call), ({}, inf))

    def test_nor_does_it_wait_for_more_than_the_next_token(self) -> None:
        self.fixture.set(rate={"jobs": "1/s", "burst": 3})
        for job in self.submit(3):
            self.complete(self.worker, self.grabbed(self.worker, job))
        self.fixture.leave(self.worker)
        self.fixture.pass_time(1)
        (job,) = self.submit(1)
        self.grabbed(self.fixture.worker(b"f"), job)

    def test_one_that_was_never_used_is_forgotten_at_once(self) -> None:
        self.fixture.set(rate="1/h")
        self.fixture.leave(self.worker)
        self.assertEqual(self.fixture.counts(), {})

    def test_nor_is_it_kept_when_there_is_no_rate_any_more(self) -> None:
        self.fixture.set(rate="1/h")
        (job,) = self.submit(1)
        self.complete(self.worker, self.grabbed(self.worker, job))
        self.fixture.leave(self.worker)
        self.fixture.set(rate="1/h", retries=1)
        self.assertEqual(
            (self.fixture.counts(), self.fixture.next_call), ({b"f": (0, 0, 0, 0)}, START + 3600)
        )
        self.fixture.set(retries=1)
        self.assertEqual((self.fixture.counts(), self.fixture.next_call), ({}, inf))

    def test_one_that_was_dropped_is_another(self) -> None:
        self.fixture.set(rate="1/h")
        (job,) = self.submit(1)
        self.complete(self.worker, self.grabbed(self.worker, job))
        self.fixture.leave(self.worker)
        self.assertTrue(self.broker.operations.drop_function(b"f"))
        self.assertEqual(self.fixture.next_call, inf)
        self.submit(1)
        self.fixture.pass_time(3600)
        self.assertEqual(self.fixture.counts(), {b"f": (1, 0, 0, 0)})

    def test_another_rate_holds_from_now_on(self) -> None:
        self.fixture.set(rate="1/d")
        jobs = self.submit(3)
        self.grabbed(self.worker, jobs[0])
        sleeper = self.fixture.sleeper(b"f")
        self.fixture.set(rate="1/s")
        self.fixture.pass_time(1)
        self.assertEqual(self.fixture.woken(), [sleeper])
        self.grabbed(sleeper, jobs[1])
        self.fixture.sleep(sleeper)
        self.fixture.set(retries=1)
        self.assertEqual(self.fixture.woken(), [sleeper])
        self.grabbed(sleeper, jobs[2])

    def test_the_first_rule_that_matches_holds_for_new_functions(self) -> None:
        policies = Policies([("api-*", CLASSIC.with_settings({"rate": "1/s"})), ("*", CLASSIC)])
        self.broker.operations.set_policies(policies, self.fixture.now)
        worker = self.fixture.worker(b"api-x", b"f")
        self.submit(2, b"api-x")
        self.submit(2)
        self.assertEqual(len(self.fixture.grab_all(worker)), 3)
        self.fixture.leave(worker)

    def test_the_workers_that_are_woken_are_no_more_than_the_operator_said(self) -> None:
        self.fixture = BrokerFixture(wakeups=1)
        self.fixture.set(rate={"jobs": "1/s", "burst": 5})
        sleepers = self.sleepers(3)
        self.submit(2)
        self.assertEqual(self.fixture.woken(), sleepers[:2])


class PauseTests(LimitsTestCase):
    def pause(self, function: bytes = b"f") -> None:
        self.broker.operations.pause(function, self.fixture.now)

    def resume(self, function: bytes = b"f") -> bool:
        return self.broker.operations.resume(function, self.fixture.now)

    def test_jobs_are_taken_and_not_handed_out(self) -> None:
        (sleeper,) = self.sleepers(1)
        self.pause()
        jobs = self.submit(2)
        self.assertIsNone(self.fixture.grab(self.worker))
        self.fixture.sleep(self.worker)
        self.assertEqual(self.fixture.woken(), [])
        self.assertTrue(self.resume())
        self.assertEqual(self.fixture.woken(), [sleeper, self.worker])
        self.assertEqual(self.fixture.grab_all(self.worker), jobs)

    def test_those_that_run_go_on(self) -> None:
        (job,) = self.submit(1)
        self.grabbed(self.worker, job)
        self.pause()
        self.complete(self.worker, job)
        self.assert_gone(job)

    def test_one_that_comes_back_is_held(self) -> None:
        (job,) = self.submit(1)
        self.grabbed(self.worker, job)
        self.pause()
        self.fixture.leave(self.worker)
        self.assertEqual(job.state, QUEUED)
        self.assertIsNone(self.fixture.grab(self.fixture.worker(b"f")))

    def test_only_what_is_paused_is_resumed(self) -> None:
        self.assertFalse(self.resume())
        self.assertFalse(self.resume(b"none"))
        self.fixture.set(concurrency=1)
        self.assertFalse(self.resume())
        self.pause()
        self.assertTrue(self.resume())
        self.assertFalse(self.resume())

    def test_a_function_is_known_while_it_is_paused(self) -> None:
        self.pause(b"g")
        self.assertEqual(self.fixture.counts()[b"g"], (0, 0, 0, 0))
        self.assertTrue(self.resume(b"g"))
        self.assertNotIn(b"g", self.broker.functions.by_name)

    def test_a_name_that_is_too_long(self) -> None:
        with self.assertRaises(ArgumentTooLarge):
            self.pause(b"x" * (MAX_FUNCTION + 1))

    def test_policies_do_not_resume_it(self) -> None:
        self.fixture.set(rate="1/s", concurrency=1)
        self.pause()
        (job,) = self.submit(1)
        for settings in ({"rate": "2/s"}, {"concurrency": 2}, {"retries": 1}):
            self.fixture.set(**settings)
            self.assertIsNone(self.fixture.grab(self.worker))
        self.fixture.set("g")
        self.assertIsNone(self.fixture.grab(self.worker))
        self.assertTrue(self.resume())
        self.assertIsNone(job.function.throttle)
        self.grabbed(self.worker, job)

    def test_nobody_is_called_for_tokens_meanwhile(self) -> None:
        self.fixture.set(rate="1/s")
        self.submit(2)
        self.fixture.grab(self.worker)
        self.pause()
        self.assertEqual(self.fixture.next_call, inf)
        self.assertTrue(self.resume())
        self.assertEqual(self.fixture.next_call, START + 1)

    def test_a_client_that_waits_does_not_keep_the_server_up(self) -> None:
        client = self.fixture.connect()
        self.pause()
        job, other = self.fixture.submit(client), self.fixture.submit(None)
        self.fixture.drain()
        self.assertEqual((job.state, other.state), (QUEUED, DELAYED))
        self.assertTrue(self.broker.drained)

    def test_unless_it_waits_for_another_function_or_for_one_that_is_resumed(self) -> None:
        client = self.fixture.connect()
        self.pause()
        self.fixture.submit(client)
        job = self.fixture.submit(client, b"g")
        self.fixture.drain()
        self.assertFalse(self.broker.drained)
        self.fixture.cancel(job)
        self.assertTrue(self.broker.drained)
        self.assertTrue(self.resume())
        self.assertFalse(self.broker.drained)

    def test_without_a_store_it_ends_with_the_server(self) -> None:
        self.pause()
        self.assertIsNone(self.fixture.journal)
        self.assertTrue(self.broker.operations.drop_function(b"none") is None)


class StoredPauseTests(DurableBrokerTestCase):
    def test_it_outlives_the_server(self) -> None:
        self.fixture.store(b"work")
        self.broker.operations.pause(b"f", self.fixture.now)
        self.broker.operations.pause(b"g", self.fixture.now)
        self.assertEqual(self.journal.stored_values[PAUSED, b"f"], StoredValue(PAUSED, b"f", START))
        self.broker.operations.resume(b"g", self.fixture.now)
        self.assertEqual(self.journal.stored_values[PAUSED, b"g"].value, 0.0)
        (job,) = self.fixture.restart()
        self.assertEqual(self.broker.functions.by_name.keys(), {b"f"})
        sleeper = self.fixture.sleeper(b"f")
        self.fixture.read()
        self.assertIsNone(self.fixture.grab(self.fixture.worker(b"f")))
        self.assertEqual(self.fixture.woken(), [])
        self.assertTrue(self.broker.operations.resume(b"f", self.fixture.now))
        self.assertEqual(self.fixture.woken(), [sleeper])
        self.grabbed(sleeper, job)

    def test_a_function_that_is_dropped_is_not_paused_any_more(self) -> None:
        for function in (b"f", b"F", b"g"):
            self.broker.operations.pause(function, self.fixture.now)
        self.broker.operations.create_function(b"ff")
        self.assertTrue(self.broker.operations.drop_function(b"f"))
        self.fixture.restart()
        self.assertEqual(self.broker.functions.by_name.keys(), {b"g"})

    def test_but_one_that_is_in_use_stays_so(self) -> None:
        self.broker.operations.pause(b"f", self.fixture.now)
        self.fixture.store(b"work")
        self.assertIs(self.broker.operations.drop_function(b"f"), False)
        self.fixture.restart()
        self.assertIsNone(self.fixture.grab(self.fixture.worker(b"f")))

    def test_other_values_pause_nothing(self) -> None:
        self.broker.store_events.begin([], [StoredValue(SCHEDULED, b"f", START)], self.fixture.now)
        self.assertEqual(self.broker.functions.by_name, {})

    def test_what_is_behind_the_lane_comes_in_when_it_may(self) -> None:
        self.journal = FakeJournal()
        self.fixture = BrokerFixture(journal=self.journal, queue_memory=4)
        worker = self.fixture.worker(b"f")
        self.fixture.set(concurrency=1)
        jobs = self.fixture.store(b"1234", b"1234", b"1234")
        for number, job in enumerate(jobs):
            found = self.fixture.grab(worker)
            assert found is not None
            self.assertEqual(found.number, job.number)
            self.fixture.read_all()
            lanes = found.function.lanes
            self.assertEqual((lanes.ready, lanes.paged), [(1, 1), (1, 0), (0, 0)][number])
            self.assertIsNone(self.fixture.grab(worker))
            self.complete(worker, found)


class BoundsTests(LimitsTestCase):
    def assert_refused(self, text: str, **rest: Any) -> None:
        before = self.fixture.counts()
        with self.assertRaises(QueueError) as caught:
            self.fixture.submit(None, **rest)
        self.assertEqual(caught.exception.text, text)
        self.assertEqual(self.fixture.counts(), before)

    def test_jobs_of_every_state_count(self) -> None:
        self.fixture.set(max_queue=3)
        first, *_ = self.submit(2)
        self.submit(1, due=START + 10)
        text = "Job queue is full: max_queue is 3"
        self.assert_refused(text)
        self.grabbed(self.worker, first)
        self.assert_refused(text, priority=HIGH)
        self.complete(self.worker, first)
        self.submit(1)
        self.assert_refused(text)

    def test_bytes_of_every_state_count(self) -> None:
        self.fixture.set(max_bytes=10)
        text = "Job queue is full: max_bytes is 10"
        first = self.fixture.submit(None, workload=b"123456")
        self.fixture.submit(None, workload=b"1234", due=START + 10)
        self.assert_refused(text, workload=b"1")
        self.fixture.submit(None, workload=b"")
        self.grabbed(self.worker, first)
        self.assert_refused(text, workload=b"1")
        self.complete(self.worker, first)
        self.fixture.submit(None, workload=b"123456")
        self.assert_refused(text, workload=b"1")

    def test_one_that_is_too_large_leaves_no_function_behind(self) -> None:
        self.fixture.leave(self.worker)
        self.fixture.set(max_bytes=10)
        self.assert_refused("Job queue is full: max_bytes is 10", workload=b"12345678901")
        self.assertEqual(self.fixture.counts(), {})

    def test_who_joins_a_job_needs_no_room(self) -> None:
        self.fixture.set(max_queue=1, max_bytes=4)
        job = self.fixture.submit(None, workload=b"1234", unique=b"u")
        self.assertIs(self.fixture.submit(self.fixture.connect(), workload=b"1234", unique=b"u"), job)

    def test_functions_have_bounds_of_their_own(self) -> None:
        self.fixture.set("*", max_queue=1)
        self.submit(1)
        self.submit(1, b"g")
        self.assert_refused("Job queue is full: max_queue is 1")

    def test_the_classic_bound_holds_as_well(self) -> None:
        self.fixture.set(max_queue=2)
        self.broker.operations.limit_function(b"f", (1, 3, 3))
        self.submit(1)
        self.assert_refused("Job queue is full", priority=HIGH)
        self.submit(1)
        self.assert_refused("Job queue is full: max_queue is 2")

    def test_what_was_taken_under_another_policy_stays(self) -> None:
        jobs = self.submit(5, workload=b"1234")
        self.fixture.set(max_queue=2, max_bytes=4)
        self.assert_refused("Job queue is full: max_queue is 2")
        self.assertEqual(self.fixture.grab_all(self.worker), jobs)

    def test_what_is_kept_does_not_count(self) -> None:
        self.fixture.set(max_queue=1, max_bytes=4, results=60, retries=0)
        for end in (self.complete, self.fails):
            job = self.fixture.submit(None, workload=b"1234")
            end(self.worker, self.grabbed(self.worker, job))
        self.assertEqual(len(self.broker.archive.jobs), 2)
        self.fixture.submit(None, workload=b"1234")

    def test_what_an_operator_queues_again_is_taken_and_counts(self) -> None:
        self.fixture.set(max_bytes=4, retries=0)
        dead = self.fixture.submit(None, workload=b"1234")
        self.fails(self.worker, self.grabbed(self.worker, dead))
        self.fixture.submit(None, workload=b"1234")
        self.assertTrue(self.broker.operations.requeue(dead.handle, self.fixture.now))
        self.assertEqual(dead.function.bytes, 8)
        self.assert_refused("Job queue is full: max_bytes is 4", workload=b"1")


class StoredBoundsTests(DurableBrokerTestCase):
    def test_jobs_on_their_way_count_and_those_that_are_refused_no_more(self) -> None:
        self.fixture.set(max_queue=1, max_bytes=4)
        job = self.fixture.submit(None, workload=b"1234")
        for _ in range(2):
            with self.assertRaises(QueueError):
                self.fixture.submit(None)
        self.fixture.refuse()
        self.assertEqual(job.function.bytes, 0)
        job = self.fixture.submit(None, workload=b"1234")
        self.fixture.commit()
        with self.assertRaises(QueueError):
            self.fixture.submit(None)

    def test_one_that_the_store_refuses_at_once_does_not_count(self) -> None:
        self.fixture.set(max_bytes=4)
        self.broker.operations.create_function(b"f")
        self.journal.unavailable = "no"
        with self.assertRaises(QueueError):
            self.fixture.submit(None, workload=b"1234")
        self.assertEqual(self.broker.functions.by_name[b"f"].bytes, 0)

    def test_those_that_come_back_count(self) -> None:
        self.fixture.set(max_bytes=8)
        self.fixture.store(b"1234", b"1234")
        self.fixture.restart()
        with self.assertRaises(QueueError):
            self.fixture.submit(None, workload=b"1")

    def test_the_packets_for_a_sleeper_are_one(self) -> None:
        """Of a function that is held nobody is woken by what is stored."""
        self.fixture.set(concurrency=1)
        sleepers = [self.fixture.sleeper(b"f") for _ in range(2)]
        self.fixture.store(b"1", b"2", b"3")
        self.assertEqual(self.fixture.outbox.take(), [(sleepers[0], (NOOP,))])

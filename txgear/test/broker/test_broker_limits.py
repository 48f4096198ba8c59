"""Tests of what holds a function's jobs back, or refuses them: rate, concurrency, pause, its bounds."""

from __future__ import annotations

from math import inf
from typing import Any

from txgear.broker.jobs import PAGED, QUEUED, RUNNING, WAITING, Job
from txgear.broker.records import PAUSED, SCHEDULED, StoredValue
from txgear.broker.sleepers import WAKE_SECONDS, Peer
from txgear.errors import ArgumentTooLarge, QueueError
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import HIGH, LOW, MAX_FUNCTION, NOOP
from txgear.test.support.rooms import START, FakeJournal, Room, RoomTestCase, StoredTestCase


class LimitsTestCase(RoomTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.worker = self.room.worker(b"f")

    def submit(self, count: int, function: bytes = b"f", **rest: Any) -> list[Job]:
        return [self.room.submit(None, function, **rest) for _ in range(count)]

    def sleepers(self, count: int) -> list[Peer]:
        return [self.room.sleeper(b"f") for _ in range(count)]


class ConcurrencyTests(LimitsTestCase):
    def test_no_more_run_at_once(self) -> None:
        self.room.set(concurrency=2)
        jobs = self.submit(3)
        self.assertEqual(self.room.grab_all(self.worker), jobs[:2])
        self.assertIsNone(self.room.grab(self.room.worker(b"f")))
        self.complete(self.worker, jobs[0])
        self.assertEqual(self.room.grab_all(self.worker), jobs[2:])

    def test_whatever_ends_one_makes_room(self) -> None:
        for end in (
            lambda room, worker, job: room.broker.work_complete(worker, job.handle, b"", room.now),
            lambda room, worker, job: room.broker.work_fail(worker, job.handle, room.now),
            lambda room, worker, job: room.broker.work_exception(worker, job.handle, b"", room.now),
            lambda room, worker, job: room.leave(worker),
            lambda room, worker, job: room.broker.cant_do(worker, b"f", room.now),
            lambda room, worker, job: room.cancel(job),
            lambda room, worker, job: room.pass_time(5),
        ):
            room = Room(retries=1)
            room.set(concurrency=1, timeout=5)
            worker = room.worker(b"f")
            first, second = room.submit(None), room.submit(None)
            self.assertIs(room.grab(worker), first)
            sleeper = room.sleeper(b"f")
            self.assertEqual(room.woken(), [])
            end(room, worker, first)
            self.assertEqual(room.woken(), [sleeper])
            self.assertIs(room.grab(sleeper), second)

    def test_one_that_waits_for_its_next_attempt_takes_no_room(self) -> None:
        self.room.set(concurrency=1, retries=1, backoff=60)
        first, second = self.submit(2)
        self.fails(self.worker, self.grabbed(self.worker, first))
        self.grabbed(self.worker, second)
        self.room.pass_time(60)
        self.assertEqual(first.state, QUEUED)
        self.assertIsNone(self.room.grab(self.worker))
        self.complete(self.worker, second)
        self.grabbed(self.worker, first)

    def test_no_more_are_woken_than_there_is_room_for(self) -> None:
        self.room.set(concurrency=2)
        sleepers = self.sleepers(4)
        jobs = self.submit(4)
        self.assertEqual(self.room.woken(), sleepers[:2])
        self.grabbed(sleepers[0], jobs[0])
        self.grabbed(sleepers[1], jobs[1])
        self.assertEqual(self.room.woken(), [])
        self.complete(sleepers[0], jobs[0])
        self.assertEqual(self.room.woken(), sleepers[2:3])
        self.complete(sleepers[1], jobs[1])
        self.assertEqual(self.room.woken(), sleepers[3:])

    def test_who_falls_asleep_beside_jobs_that_are_held_sleeps(self) -> None:
        self.room.set(concurrency=1)
        jobs = self.submit(2)
        self.grabbed(self.room.worker(b"f"), jobs[0])
        self.room.sleep(self.worker)
        self.assertEqual(self.room.woken(), [])
        self.room.cancel(jobs[0])
        self.assertEqual(self.room.woken(), [self.worker])

    def test_nor_is_one_woken_when_another_was_for_the_only_room(self) -> None:
        self.room.set(concurrency=1)
        (sleeper,) = self.sleepers(1)
        self.submit(2)
        self.assertEqual(self.room.woken(), [sleeper])
        self.room.sleep(self.worker)
        self.assertEqual(self.room.woken(), [])
        self.room.pass_time(WAKE_SECONDS)
        self.assertEqual(self.room.woken(), [self.worker])

    def test_who_learns_the_function_sleeps_on(self) -> None:
        self.room.set(concurrency=1)
        jobs = self.submit(2)
        self.grabbed(self.worker, jobs[0])
        sleeper = self.room.sleeper(b"g")
        self.broker.can_do(sleeper, b"f", 0.0, self.room.now)
        self.assertEqual(self.room.woken(), [])

    def test_other_functions_go_on(self) -> None:
        self.room.set(concurrency=1)
        worker = self.room.worker(b"f", b"g")
        jobs = [*self.submit(2), *self.submit(2, b"g", priority=LOW)]
        self.assertEqual(self.room.grab_all(worker), [jobs[0], jobs[2], jobs[3]])

    def test_every_priority_is_held_and_comes_back_in_order(self) -> None:
        self.room.set(concurrency=1)
        low, high = self.room.submit(None, priority=LOW), self.room.submit(None, priority=HIGH)
        self.grabbed(self.worker, high)
        higher = self.room.submit(None, priority=HIGH)
        self.assertIsNone(self.room.grab(self.worker))
        self.complete(self.worker, high)
        self.grabbed(self.worker, higher)
        self.complete(self.worker, higher)
        self.grabbed(self.worker, low)

    def test_it_may_be_changed_while_jobs_run(self) -> None:
        self.room.set(concurrency=1)
        jobs = self.submit(5)
        self.grabbed(self.worker, jobs[0])
        sleepers = self.sleepers(3)
        self.assertEqual(self.room.woken(), [])
        self.room.set(concurrency=3)
        self.assertEqual(self.room.woken(), sleepers[:2])
        self.assertEqual(self.room.grab_all(self.worker), jobs[1:3])
        self.room.set(concurrency=2)
        self.complete(self.worker, jobs[0])
        self.assertIsNone(self.room.grab(self.worker))
        self.complete(self.worker, jobs[1])
        self.grabbed(self.worker, jobs[3])
        self.room.set(retries=1)
        self.assertEqual((jobs[4].queue.gate, jobs[4].queue.held), (None, False))
        self.grabbed(self.worker, jobs[4])

    def test_jobs_that_are_held_can_be_cancelled(self) -> None:
        self.room.set(concurrency=1)
        jobs = self.submit(3)
        self.grabbed(self.worker, jobs[0])
        self.room.cancel(jobs[1])
        self.complete(self.worker, jobs[0])
        self.grabbed(self.worker, jobs[2])

    def test_the_server_drains_what_is_held(self) -> None:
        self.room.set(concurrency=1)
        client = self.room.connect()
        jobs = [self.room.submit(client) for _ in range(2)]
        self.grabbed(self.worker, jobs[0])
        self.room.drain()
        self.complete(self.worker, jobs[0])
        self.assertFalse(self.broker.drained)
        self.grabbed(self.worker, jobs[1])
        self.complete(self.worker, jobs[1])
        self.assertTrue(self.broker.drained)


class RateTests(LimitsTestCase):
    def test_jobs_start_as_tokens_come(self) -> None:
        self.room.set(rate="1/s")
        jobs = self.submit(3)
        self.grabbed(self.worker, jobs[0])
        self.assertIsNone(self.room.grab(self.worker))
        self.room.pass_time(0.999)
        self.assertIsNone(self.room.grab(self.worker))
        self.room.pass_time(0.001)
        self.grabbed(self.worker, jobs[1])
        self.assertIsNone(self.room.grab(self.worker))
        self.room.pass_time(1)
        self.grabbed(self.worker, jobs[2])

    def test_a_burst_after_a_pause(self) -> None:
        self.room.set(rate={"jobs": "2/s", "burst": 3})
        jobs = self.submit(8)
        self.assertEqual(self.room.grab_all(self.worker), jobs[:3])
        self.room.pass_time(1)
        self.assertEqual(self.room.grab_all(self.worker), jobs[3:5])
        self.room.pass_time(100)
        self.assertEqual(self.room.grab_all(self.worker), jobs[5:])

    def test_over_a_long_time_it_is_kept_exactly(self) -> None:
        self.room.set(rate="7/s")
        self.submit(200)
        started = 0
        while self.room.now < START + 9.99:
            started += len(self.room.grab_all(self.worker))
            self.room.pass_time(self.room.next_call - self.room.now)
        self.assertEqual(started, 70)

    def test_a_sleeper_is_woken_when_a_token_comes(self) -> None:
        self.room.set(rate="1/s")
        sleepers = self.sleepers(3)
        jobs = self.submit(3)
        self.assertEqual(self.room.woken(), sleepers[:1])
        for number in range(3):
            self.grabbed(sleepers[number], jobs[number])
            self.assertEqual(self.room.woken(), [])
            self.room.pass_time(0.999)
            self.assertEqual(self.room.woken(), [])
            self.room.pass_time(0.001)
            self.assertEqual(self.room.woken(), sleepers[number + 1 : number + 2])

    def test_for_as_many_tokens_as_there_are(self) -> None:
        self.room.set(rate={"jobs": "1/s", "burst": 3})
        sleepers = self.sleepers(5)
        self.submit(5)
        self.assertEqual(self.room.woken(), sleepers[:3])

    def test_one_that_comes_when_there_is_no_token_wakes_nobody(self) -> None:
        self.room.set(rate="1/s")
        self.submit(1)
        self.room.grab(self.worker)
        (sleeper,) = self.sleepers(1)
        self.submit(1)
        self.assertEqual(self.room.woken(), [])
        self.room.pass_time(1)
        self.assertEqual(self.room.woken(), [sleeper])

    def test_nobody_is_called_when_nothing_waits_for_a_token(self) -> None:
        self.room.set(rate="1/s")
        self.submit(1)
        self.room.grab(self.worker)
        self.assertEqual(self.room.next_call, START + 1)
        self.room.pass_time(1)
        self.assertEqual(self.room.next_call, inf)

    def test_each_attempt_takes_one(self) -> None:
        self.room.set(rate="1/s", retries=1, backoff=0)
        (job,) = self.submit(1)
        self.fails(self.worker, self.grabbed(self.worker, job))
        self.assertIsNone(self.room.grab(self.worker))
        self.room.pass_time(1)
        self.grabbed(self.worker, job)

    def test_together_with_concurrency(self) -> None:
        self.room.set(rate="1/s", concurrency=1)
        first, second, third = self.submit(3)
        self.grabbed(self.worker, first)
        self.room.pass_time(5)
        self.assertIsNone(self.room.grab(self.worker))
        self.complete(self.worker, first)
        self.grabbed(self.worker, second)
        self.complete(self.worker, second)
        self.assertIsNone(self.room.grab(self.worker))
        self.room.pass_time(1)
        self.grabbed(self.worker, third)

    def test_a_function_that_nobody_uses_finds_its_bucket_as_it_left_it(self) -> None:
        """Somebody who starts a worker for each job calls no more often for that."""
        self.room.set(rate="1/h")
        (job,) = self.submit(1)
        self.complete(self.worker, self.grabbed(self.worker, job))
        self.room.leave(self.worker)
        self.assertEqual(self.room.lines(), {b"f": (0, 0, 0, 0)})
        self.room.pass_time(1800)
        worker = self.room.worker(b"f")
        (job,) = self.submit(1)
        self.assertIsNone(self.room.grab(worker))
        self.room.pass_time(1800)
        self.complete(worker, self.grabbed(worker, job))
        self.room.leave(worker)
        self.room.pass_time(3600)
        self.assertEqual((self.room.lines(), self.room.next_call), ({}, inf))

    def test_nor_does_it_wait_for_more_than_the_next_token(self) -> None:
        self.room.set(rate={"jobs": "1/s", "burst": 3})
        for job in self.submit(3):
            self.complete(self.worker, self.grabbed(self.worker, job))
        self.room.leave(self.worker)
        self.room.pass_time(1)
        (job,) = self.submit(1)
        self.grabbed(self.room.worker(b"f"), job)

    def test_one_that_was_never_used_is_forgotten_at_once(self) -> None:
        self.room.set(rate="1/h")
        self.room.leave(self.worker)
        self.assertEqual(self.room.lines(), {})

    def test_nor_is_it_kept_when_there_is_no_rate_any_more(self) -> None:
        self.room.set(rate="1/h")
        (job,) = self.submit(1)
        self.complete(self.worker, self.grabbed(self.worker, job))
        self.room.leave(self.worker)
        self.room.set(rate="1/h", retries=1)
        self.assertEqual((self.room.lines(), self.room.next_call), ({b"f": (0, 0, 0, 0)}, START + 3600))
        self.room.set(retries=1)
        self.assertEqual((self.room.lines(), self.room.next_call), ({}, inf))

    def test_one_that_was_dropped_is_another(self) -> None:
        self.room.set(rate="1/h")
        (job,) = self.submit(1)
        self.complete(self.worker, self.grabbed(self.worker, job))
        self.room.leave(self.worker)
        self.assertTrue(self.broker.drop_function(b"f"))
        self.assertEqual(self.room.next_call, inf)
        self.submit(1)
        self.room.pass_time(3600)
        self.assertEqual(self.room.lines(), {b"f": (1, 0, 0, 0)})

    def test_another_rate_holds_from_now_on(self) -> None:
        self.room.set(rate="1/d")
        jobs = self.submit(3)
        self.grabbed(self.worker, jobs[0])
        sleeper = self.room.sleeper(b"f")
        self.room.set(rate="1/s")
        self.room.pass_time(1)
        self.assertEqual(self.room.woken(), [sleeper])
        self.grabbed(sleeper, jobs[1])
        self.room.sleep(sleeper)
        self.room.set(retries=1)
        self.assertEqual(self.room.woken(), [sleeper])
        self.grabbed(sleeper, jobs[2])

    def test_the_first_rule_that_matches_holds_for_new_functions(self) -> None:
        policies = Policies([("api-*", CLASSIC.changed({"rate": "1/s"})), ("*", CLASSIC)])
        self.broker.set_policies(policies, self.room.now)
        worker = self.room.worker(b"api-x", b"f")
        self.submit(2, b"api-x")
        self.submit(2)
        self.assertEqual(len(self.room.grab_all(worker)), 3)
        self.room.leave(worker)

    def test_the_workers_that_are_woken_are_no_more_than_the_operator_said(self) -> None:
        self.room = Room(wakeups=1)
        self.room.set(rate={"jobs": "1/s", "burst": 5})
        sleepers = self.sleepers(3)
        self.submit(2)
        self.assertEqual(self.room.woken(), sleepers[:2])


class PauseTests(LimitsTestCase):
    def pause(self, function: bytes = b"f") -> None:
        self.broker.pause(function, self.room.now)

    def resume(self, function: bytes = b"f") -> bool:
        return self.broker.resume(function, self.room.now)

    def test_jobs_are_taken_and_not_handed_out(self) -> None:
        (sleeper,) = self.sleepers(1)
        self.pause()
        jobs = self.submit(2)
        self.assertIsNone(self.room.grab(self.worker))
        self.room.sleep(self.worker)
        self.assertEqual(self.room.woken(), [])
        self.assertTrue(self.resume())
        self.assertEqual(self.room.woken(), [sleeper, self.worker])
        self.assertEqual(self.room.grab_all(self.worker), jobs)

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
        self.room.leave(self.worker)
        self.assertEqual(job.state, QUEUED)
        self.assertIsNone(self.room.grab(self.room.worker(b"f")))

    def test_only_what_is_paused_is_resumed(self) -> None:
        self.assertFalse(self.resume())
        self.assertFalse(self.resume(b"none"))
        self.room.set(concurrency=1)
        self.assertFalse(self.resume())
        self.pause()
        self.assertTrue(self.resume())
        self.assertFalse(self.resume())

    def test_a_function_is_known_while_it_is_paused(self) -> None:
        self.pause(b"g")
        self.assertEqual(self.room.lines()[b"g"], (0, 0, 0, 0))
        self.assertTrue(self.resume(b"g"))
        self.assertNotIn(b"g", self.broker.functions)

    def test_a_name_that_is_too_long(self) -> None:
        with self.assertRaises(ArgumentTooLarge):
            self.pause(b"x" * (MAX_FUNCTION + 1))

    def test_policies_do_not_resume_it(self) -> None:
        self.room.set(rate="1/s", concurrency=1)
        self.pause()
        (job,) = self.submit(1)
        for settings in ({"rate": "2/s"}, {"concurrency": 2}, {"retries": 1}):
            self.room.set(**settings)
            self.assertIsNone(self.room.grab(self.worker))
        self.room.set("g")
        self.assertIsNone(self.room.grab(self.worker))
        self.assertTrue(self.resume())
        self.assertIsNone(job.queue.gate)
        self.grabbed(self.worker, job)

    def test_nobody_is_called_for_tokens_meanwhile(self) -> None:
        self.room.set(rate="1/s")
        self.submit(2)
        self.room.grab(self.worker)
        self.pause()
        self.assertEqual(self.room.next_call, inf)
        self.assertTrue(self.resume())
        self.assertEqual(self.room.next_call, START + 1)

    def test_a_client_that_waits_does_not_keep_the_server_up(self) -> None:
        client = self.room.connect()
        self.pause()
        job, other = self.room.submit(client), self.room.submit(None)
        self.room.drain()
        self.assertEqual((job.state, other.state), (QUEUED, WAITING))
        self.assertTrue(self.broker.drained)

    def test_unless_it_waits_for_another_function_or_for_one_that_is_resumed(self) -> None:
        client = self.room.connect()
        self.pause()
        self.room.submit(client)
        job = self.room.submit(client, b"g")
        self.room.drain()
        self.assertFalse(self.broker.drained)
        self.room.cancel(job)
        self.assertTrue(self.broker.drained)
        self.assertTrue(self.resume())
        self.assertFalse(self.broker.drained)

    def test_without_a_store_it_ends_with_the_server(self) -> None:
        self.pause()
        self.assertIsNone(self.room.journal)
        self.assertTrue(self.broker.drop_function(b"none") is None)


class StoredPauseTests(StoredTestCase):
    def test_it_outlives_the_server(self) -> None:
        self.room.store(b"work")
        self.broker.pause(b"f", self.room.now)
        self.broker.pause(b"g", self.room.now)
        self.assertEqual(self.journal.marks[PAUSED, b"f"], StoredValue(PAUSED, b"f", START))
        self.broker.resume(b"g", self.room.now)
        self.assertEqual(self.journal.marks[PAUSED, b"g"].value, 0.0)
        (job,) = self.room.restart()
        self.assertEqual(self.broker.functions.keys(), {b"f"})
        sleeper = self.room.sleeper(b"f")
        self.room.read()
        self.assertIsNone(self.room.grab(self.room.worker(b"f")))
        self.assertEqual(self.room.woken(), [])
        self.assertTrue(self.broker.resume(b"f", self.room.now))
        self.assertEqual(self.room.woken(), [sleeper])
        self.grabbed(sleeper, job)

    def test_a_function_that_is_dropped_is_not_paused_any_more(self) -> None:
        for function in (b"f", b"F", b"g"):
            self.broker.pause(function, self.room.now)
        self.broker.create_function(b"ff")
        self.assertTrue(self.broker.drop_function(b"f"))
        self.room.restart()
        self.assertEqual(self.broker.functions.keys(), {b"g"})

    def test_but_one_that_is_in_use_stays_so(self) -> None:
        self.broker.pause(b"f", self.room.now)
        self.room.store(b"work")
        self.assertIs(self.broker.drop_function(b"f"), False)
        self.room.restart()
        self.assertIsNone(self.room.grab(self.room.worker(b"f")))

    def test_other_marks_are_others_affair(self) -> None:
        self.broker.restore_mark(StoredValue(SCHEDULED, b"f", START), self.room.now)
        self.assertEqual(self.broker.functions, {})

    def test_what_is_behind_the_lane_comes_in_when_it_may(self) -> None:
        self.journal = FakeJournal()
        self.room = Room(journal=self.journal, queue_memory=4)
        worker = self.room.worker(b"f")
        self.room.set(concurrency=1)
        jobs = self.room.store(b"1234", b"1234", b"1234")
        self.grabbed(worker, jobs[0])
        self.room.read()
        self.assertEqual([job.state for job in jobs], [RUNNING, QUEUED, PAGED])
        self.assertIsNone(self.room.grab(worker))
        self.complete(worker, jobs[0])
        self.grabbed(worker, jobs[1])
        self.room.read()
        self.assertIsNone(self.room.grab(worker))
        self.complete(worker, jobs[1])
        self.grabbed(worker, jobs[2])


class BoundsTests(LimitsTestCase):
    def assert_refused(self, text: str, **rest: Any) -> None:
        before = self.room.lines()
        with self.assertRaises(QueueError) as caught:
            self.room.submit(None, **rest)
        self.assertEqual(caught.exception.text, text)
        self.assertEqual(self.room.lines(), before)

    def test_jobs_of_every_state_count(self) -> None:
        self.room.set(max_queue=3)
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
        self.room.set(max_bytes=10)
        text = "Job queue is full: max_bytes is 10"
        first = self.room.submit(None, workload=b"123456")
        self.room.submit(None, workload=b"1234", due=START + 10)
        self.assert_refused(text, workload=b"1")
        self.room.submit(None, workload=b"")
        self.grabbed(self.worker, first)
        self.assert_refused(text, workload=b"1")
        self.complete(self.worker, first)
        self.room.submit(None, workload=b"123456")
        self.assert_refused(text, workload=b"1")

    def test_one_that_is_too_large_leaves_no_function_behind(self) -> None:
        self.room.leave(self.worker)
        self.room.set(max_bytes=10)
        self.assert_refused("Job queue is full: max_bytes is 10", workload=b"12345678901")
        self.assertEqual(self.room.lines(), {})

    def test_who_joins_a_job_needs_no_room(self) -> None:
        self.room.set(max_queue=1, max_bytes=4)
        job = self.room.submit(None, workload=b"1234", unique=b"u")
        self.assertIs(self.room.submit(self.room.connect(), workload=b"1234", unique=b"u"), job)

    def test_functions_have_bounds_of_their_own(self) -> None:
        self.room.set("*", max_queue=1)
        self.submit(1)
        self.submit(1, b"g")
        self.assert_refused("Job queue is full: max_queue is 1")

    def test_the_classic_bound_holds_as_well(self) -> None:
        self.room.set(max_queue=2)
        self.broker.limit_function(b"f", (1, 3, 3))
        self.submit(1)
        self.assert_refused("Job queue is full", priority=HIGH)
        self.submit(1)
        self.assert_refused("Job queue is full: max_queue is 2")

    def test_what_was_taken_under_another_policy_stays(self) -> None:
        jobs = self.submit(5, workload=b"1234")
        self.room.set(max_queue=2, max_bytes=4)
        self.assert_refused("Job queue is full: max_queue is 2")
        self.assertEqual(self.room.grab_all(self.worker), jobs)

    def test_what_is_kept_does_not_count(self) -> None:
        self.room.set(max_queue=1, max_bytes=4, results=60, retries=0)
        for end in (self.complete, self.fails):
            job = self.room.submit(None, workload=b"1234")
            end(self.worker, self.grabbed(self.worker, job))
        self.assertEqual(len(self.broker.archive.jobs), 2)
        self.room.submit(None, workload=b"1234")

    def test_what_an_operator_queues_again_is_taken_and_counts(self) -> None:
        self.room.set(max_bytes=4, retries=0)
        dead = self.room.submit(None, workload=b"1234")
        self.fails(self.worker, self.grabbed(self.worker, dead))
        self.room.submit(None, workload=b"1234")
        self.assertTrue(self.broker.requeue(dead.handle, self.room.now))
        self.assertEqual(dead.queue.bytes, 8)
        self.assert_refused("Job queue is full: max_bytes is 4", workload=b"1")


class StoredBoundsTests(StoredTestCase):
    def test_jobs_on_their_way_count_and_those_that_are_refused_no_more(self) -> None:
        self.room.set(max_queue=1, max_bytes=4)
        job = self.room.submit(None, workload=b"1234")
        for _ in range(2):
            with self.assertRaises(QueueError):
                self.room.submit(None)
        self.room.refuse()
        self.assertEqual(job.queue.bytes, 0)
        job = self.room.submit(None, workload=b"1234")
        self.room.commit()
        with self.assertRaises(QueueError):
            self.room.submit(None)

    def test_one_that_the_store_refuses_at_once_does_not_count(self) -> None:
        self.room.set(max_bytes=4)
        self.broker.create_function(b"f")
        self.journal.unavailable = "no"
        with self.assertRaises(QueueError):
            self.room.submit(None, workload=b"1234")
        self.assertEqual(self.broker.functions[b"f"].bytes, 0)

    def test_those_that_come_back_count(self) -> None:
        self.room.set(max_bytes=8)
        self.room.store(b"1234", b"1234")
        self.room.restart()
        with self.assertRaises(QueueError):
            self.room.submit(None, workload=b"1")

    def test_the_packets_for_a_sleeper_are_one(self) -> None:
        """Of a function that is held nobody is woken by what is stored."""
        self.room.set(concurrency=1)
        sleepers = [self.room.sleeper(b"f") for _ in range(2)]
        self.room.store(b"1", b"2", b"3")
        self.assertEqual(self.room.outbox.take(), [(sleepers[0], (NOOP,))])

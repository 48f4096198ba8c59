"""Tests of L{txgear.broker.life.operations}: which job is meant, and the orders of operators."""

from __future__ import annotations

from math import inf
from typing import Any

from txgear.broker.bulk import BATCH, BulkTask
from txgear.broker.ended.archive import history_of
from txgear.broker.life.operations import MOST_PURGES, STEPS, Purge
from txgear.broker.model import Job
from txgear.broker.records import LIMITED, PAUSED, SCHEDULED, StoredValue
from txgear.broker.states import CANCELLED, DEAD, DELAYED, DONE, QUEUED, RUNNING
from txgear.errors import QueueError
from txgear.protocol.constants import WORK_FAIL
from txgear.test.support.broker import BrokerFixture, BrokerTestCase
from txgear.test.support.clock import START
from txgear.test.support.fakejournal import FakeJournal


class OperationsTestCase(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.worker = self.fixture.worker(b"f")

    def submit(self, count: int, **rest: Any) -> list[Job]:
        return [self.fixture.submit(None, **rest) for _ in range(count)]

    def dead(self, count: int = 1, **rest: Any) -> list[Job]:
        """Jobs of a function that is not tried again, which have failed."""
        self.fixture.set(retries=0)
        jobs = self.submit(count, **rest)
        if self.fixture.journal is not None:
            self.fixture.commit()
        for job in jobs:
            self.fails(self.worker, self.grabbed(self.worker, job))
            self.assertEqual(job.state, DEAD)
        return jobs


class WhichTests(OperationsTestCase):
    def test_one_that_has_ended_is_found_by_its_very_handle(self) -> None:
        (job,) = self.dead()
        self.assertIs(self.broker.archive.by_handle(job.handle), job)
        self.assertIsNone(self.broker.table.by_handle(job.handle))
        for handle in (
            b"",
            b"1",
            b"H:test:",
            b"H:test:01",
            b"H:test:2",
            b"H:fast:1",
            b"H:test:\xb2",
            b"9" * 99,
        ):
            self.assertIsNone(self.broker.archive.by_handle(handle))
            self.assertFalse(self.broker.operations.forget(handle))
            self.assertFalse(self.broker.operations.requeue(handle, self.fixture.now))

    def test_one_that_lives_is_not_among_them(self) -> None:
        job = self.fixture.submit(None)
        self.assertIsNone(self.broker.archive.by_handle(job.handle))
        self.assertFalse(self.broker.operations.forget(job.handle))
        self.assertFalse(self.broker.operations.requeue(job.handle, self.fixture.now))

    def test_by_unique_the_living_come_first(self) -> None:
        (dead,) = self.dead(unique=b"u")
        job = self.fixture.submit(None, b"g", b"u")
        self.assertIs(self.broker.named(b"", b"u"), job)
        self.assertIs(self.broker.named(b"g", b"u"), job)
        self.assertIs(self.broker.named(b"f", b"u"), dead)
        for function, unique in ((b"f", b"v"), (b"", b"v"), (b"h", b"u"), (b"", b""), (b"f", b"")):
            self.assertIsNone(self.broker.named(function, unique))


class RequeueTests(OperationsTestCase):
    def test_it_has_all_its_attempts_again_and_its_history(self) -> None:
        (job,) = self.dead(workload=b"work")
        self.fixture.set(retries=1, backoff=0)
        self.fixture.pass_time(5)
        self.assertTrue(self.broker.operations.requeue(job.handle, self.fixture.now))
        self.assertFalse(self.broker.operations.requeue(job.handle, self.fixture.now))
        self.assertEqual((job.state, job.retries, self.broker.archive.jobs), (QUEUED, 0, {}))
        self.assertIs(self.broker.table.by_handle(job.handle), job)
        for state in (QUEUED, DEAD):
            self.fails(self.worker, self.grabbed(self.worker, job))
            self.assertEqual(job.state, state)
        life = history_of(job)
        self.assertEqual([attempt.ended for attempt in life.attempts], [START, START + 5, START + 5])
        self.assertEqual((life.counts, job.since), ({"fail": 2}, START + 5))

    def test_one_that_waits_for_its_next_attempt_waits_no_more(self) -> None:
        self.fixture.set(retries=3, backoff=60)
        (job,) = self.submit(1)
        self.fails(self.worker, self.grabbed(self.worker, job))
        (other,) = self.submit(1)
        self.assertEqual(job.state, DELAYED)
        self.assertTrue(self.broker.operations.requeue(job.handle, self.fixture.now))
        self.assertFalse(self.broker.operations.requeue(job.handle, self.fixture.now))
        self.assertEqual((job.retries, job.due), (1, 0.0))
        self.assertEqual(self.fixture.grab_all(self.worker), [other, job])
        self.broker.check()

    def test_one_that_waits_for_its_time_waits_no_more(self) -> None:
        now = self.fixture.now
        for waiting in ({"due": now + 60}, {"delay": 60.0}, {"delay": 60.0, "settings": {"expires": 30}}):
            (job,) = self.submit(1, **waiting)
            self.assertTrue(self.broker.operations.requeue(job.handle, now))
            self.assertEqual((job.state, job.appointment), (QUEUED, None))
            self.assertEqual(self.fixture.grab_all(self.worker), [job])
        self.broker.check()

    def test_one_that_is_withheld_stays_so(self) -> None:
        (job,) = self.submit(1)
        self.broker.drain(self.fixture.now)
        self.assertEqual(job.state, DELAYED)
        self.assertFalse(self.broker.operations.requeue(job.handle, self.fixture.now))

    def test_it_comes_behind_all_others(self) -> None:
        dead = self.dead()
        jobs = self.submit(2)
        self.broker.operations.requeue(dead[0].handle, self.fixture.now)
        self.assertEqual(self.fixture.grab_all(self.worker), jobs + dead)

    def test_a_worker_is_woken_for_it(self) -> None:
        (job,) = self.dead()
        sleeper = self.fixture.sleeper(b"f")
        self.broker.operations.requeue(job.handle, self.fixture.now)
        self.assertEqual(self.fixture.woken(), [sleeper])

    def test_its_unique_is_its_own_again(self) -> None:
        (job,) = self.dead(unique=b"u")
        self.broker.operations.requeue(job.handle, self.fixture.now)
        self.assertIs(self.fixture.submit(self.client, unique=b"u"), job)
        self.complete(self.worker, self.grabbed(self.worker, job))
        self.assertIsNone(self.broker.named(b"f", b"u"))

    def test_unless_another_has_it_meanwhile(self) -> None:
        (job,) = self.dead(unique=b"u")
        other = self.fixture.submit(None, unique=b"u")
        self.broker.operations.requeue(job.handle, self.fixture.now)
        self.assertIs(self.broker.named(b"f", b"u"), other)
        self.assertEqual(self.fixture.grab_all(self.worker), [other, job])
        self.complete(self.worker, job)
        self.assertIs(self.broker.named(b"f", b"u"), other)

    def test_once_done_its_result_is_kept_as_any(self) -> None:
        """Also if what it had brought before it died was too much."""
        self.fixture.set(retries=0, results={"keep": 60, "bytes": 5})
        job = self.fixture.submit(None)
        self.grabbed(self.worker, job)
        self.data(self.worker, job, b"123456")
        self.fails(self.worker, job)
        self.broker.operations.requeue(job.handle, self.fixture.now)
        self.complete(self.worker, self.grabbed(self.worker, job))
        life = history_of(job)
        self.assertEqual((job.state, life.complete, self.brought(job)), (DONE, True, b"done"))
        self.assertEqual(len(life.attempts), 1)

    def test_only_the_dead_are(self) -> None:
        self.fixture.set(results=60)
        (job,) = self.submit(1)
        self.complete(self.worker, self.grabbed(self.worker, job))
        self.assertFalse(self.broker.operations.requeue(job.handle, self.fixture.now))
        self.assertEqual(self.broker.operations.requeue_all(b"f", self.fixture.now), 0)
        self.assertEqual(job.state, DONE)

    def test_it_is_not_forgotten_when_it_would_have_been(self) -> None:
        self.fixture.set(retries=0, dead=60)
        (job,) = self.submit(1)
        self.fails(self.worker, self.grabbed(self.worker, job))
        self.broker.operations.requeue(job.handle, self.fixture.now)
        self.fixture.pass_time(60)
        self.assertEqual(job.state, QUEUED)

    def test_while_the_server_drains_it_waits(self) -> None:
        (job,) = self.dead()
        self.fixture.drain()
        self.broker.operations.requeue(job.handle, self.fixture.now)
        self.assertEqual(job.state, DELAYED)
        self.assertTrue(self.broker.drained)

    def test_all_of_a_function_by_and_by(self) -> None:
        jobs = self.dead(BATCH + 3)
        (other,) = [self.fixture.submit(None, b"g", settings={"retries": 0})]
        worker = self.fixture.worker(b"g")
        self.fails(worker, self.grabbed(worker, other))
        self.assertEqual(self.broker.operations.requeue_all(b"none", self.fixture.now), 0)
        self.broker.expire(self.fixture.now)
        self.assertEqual(self.broker.operations.requeue_all(b"f", self.fixture.now), BATCH + 3)
        self.assertEqual(self.broker.timers.deadline, self.fixture.now)
        self.broker.operations.forget(jobs[1].handle)
        self.broker.expire(self.fixture.now)
        self.assertEqual(self.fixture.counts()[b"f"], (BATCH - 1, 0, 0, 1))
        self.fixture.pass_time(0)
        self.assertEqual(self.fixture.counts()[b"f"], (BATCH + 2, 0, 0, 1))
        self.assertEqual(self.fixture.grab_all(self.worker), [jobs[0], *jobs[2:]])
        self.assertEqual(list(self.broker.archive.jobs.values()), [other])


class ForgetTests(OperationsTestCase):
    def test_one(self) -> None:
        first, second = self.dead(2, workload=b"work")
        self.assertTrue(self.broker.operations.forget(first.handle))
        self.assertFalse(self.broker.operations.forget(first.handle))
        self.assertEqual(list(self.broker.archive.jobs.values()), [second])
        self.assertEqual(first.workload, b"")

    def test_with_the_last_one_its_function(self) -> None:
        (job,) = self.dead()
        self.fixture.leave(self.worker)
        self.assertEqual(self.fixture.counts(), {b"f": (0, 0, 0, 0)})
        self.broker.operations.forget(job.handle)
        self.assertEqual((self.fixture.counts(), self.fixture.next_call), ({}, inf))

    def test_all_the_dead_of_a_function_by_and_by(self) -> None:
        self.fixture.set(results=60)
        (done,) = self.submit(1)
        self.complete(self.worker, self.grabbed(self.worker, done))
        jobs = self.dead(BATCH + 3)
        self.assertEqual(self.broker.operations.forget_all(b"none", self.fixture.now), 0)
        self.broker.expire(self.fixture.now)
        self.assertEqual(self.broker.operations.forget_all(b"f", self.fixture.now), BATCH + 3)
        self.broker.operations.requeue(jobs[5].handle, self.fixture.now)
        self.broker.expire(self.fixture.now)
        self.assertEqual(len(self.broker.archive.jobs), 4)
        self.fixture.pass_time(0)
        self.assertEqual(list(self.broker.archive.jobs.values()), [done])
        self.assertEqual((jobs[5].state, self.fixture.next_call), (QUEUED, START + 60))

    def test_one_that_is_done_by_the_time_its_turn_comes_is_kept(self) -> None:
        jobs = self.dead(BATCH + 3)
        self.fixture.set(retries=0, results=60)
        self.broker.operations.forget_all(b"f", self.fixture.now)
        self.broker.operations.requeue(jobs[-1].handle, self.fixture.now)
        self.complete(self.worker, self.grabbed(self.worker, jobs[-1]))
        self.fixture.pass_time(0)
        self.assertEqual(list(self.broker.archive.jobs.values()), [jobs[-1]])

    def test_orders_are_carried_out_one_after_another(self) -> None:
        jobs = self.dead(3)
        self.assertEqual(self.broker.operations.requeue_all(b"f", self.fixture.now), 3)
        self.assertEqual(self.broker.operations.forget_all(b"f", self.fixture.now), 3)
        self.fixture.pass_time(0)
        self.assertEqual([job.state for job in jobs], [QUEUED] * 3)


class PurgeTests(OperationsTestCase):
    def purge(self, function: bytes = b"f") -> int | None:
        return self.broker.operations.purge(function, self.fixture.now)

    def test_all_that_no_worker_has(self) -> None:
        running = self.fixture.submit(None)
        self.grabbed(self.worker, running)
        queued, waiting = self.fixture.submit(None), self.fixture.submit(None, due=START + 9)
        (other,) = [self.fixture.submit(None, b"g")]
        self.assertEqual(self.purge(), 2)
        self.fixture.pass_time(0)
        self.assertEqual(
            [job.state for job in (running, queued, waiting, other)],
            [RUNNING, CANCELLED, CANCELLED, QUEUED],
        )
        self.complete(self.worker, running)
        self.assertEqual(self.fixture.next_call, inf)

    def test_clients_are_told(self) -> None:
        job = self.fixture.submit(self.client)
        told = self.outcome(job)
        self.purge()
        self.fixture.pass_time(0)
        self.assertEqual(self.fixture.heard(self.client), [(WORK_FAIL, job.handle)])
        self.assertEqual(told, [(CANCELLED, b"", b"", True)])

    def test_a_function_that_there_is_not(self) -> None:
        self.assertIsNone(self.purge(b"none"))

    def test_one_without_jobs(self) -> None:
        self.assertEqual(self.purge(), 0)
        self.fixture.pass_time(0)
        job = self.fixture.submit(None)
        self.grabbed(self.worker, job)
        self.assertIsNone(job.function.throttle)

    def test_none_is_handed_out_meanwhile(self) -> None:
        jobs = self.submit(BATCH * 2)
        sleeper = self.fixture.sleeper(b"f")
        self.fixture.woken()
        self.assertEqual(self.purge(), BATCH * 2)
        new = self.fixture.submit(None)
        self.assertIsNone(self.fixture.grab(self.worker))
        self.fixture.sleep(sleeper)
        self.broker.expire(self.fixture.now)
        self.assertEqual([job.state for job in (jobs[BATCH - 1], jobs[BATCH])], [CANCELLED, QUEUED])
        self.assertIsNone(self.fixture.grab(self.worker))
        self.assertEqual(self.fixture.woken(), [])
        self.fixture.pass_time(0)
        self.assertEqual(self.fixture.woken(), [sleeper])
        self.grabbed(self.worker, new)

    def test_one_that_ends_before_its_turn(self) -> None:
        job = self.fixture.submit(self.client)
        self.purge()
        self.fixture.leave(self.client)
        self.assertEqual(job.state, CANCELLED)
        self.fixture.pass_time(0)
        self.assert_gone(job)

    def test_one_that_is_submitted_again_meanwhile_is_left(self) -> None:
        background, foreground, other = (
            self.fixture.submit(None, unique=unique) for unique in (b"1", b"2", b"3")
        )
        self.assertEqual(self.purge(), 3)
        self.assertIs(self.fixture.submit(None, unique=b"1"), background)
        self.assertIs(self.fixture.submit(self.client, unique=b"2"), foreground)
        self.fixture.pass_time(0)
        self.assertEqual([job.state for job in (background, foreground, other)], [QUEUED, QUEUED, CANCELLED])
        self.grabbed(self.worker, background)
        self.assertEqual(self.purge(), 1)
        self.fixture.pass_time(0)
        self.assertEqual(foreground.state, CANCELLED)

    def test_a_later_purge_takes_what_was_submitted_again_after_an_earlier_one(self) -> None:
        job = self.fixture.submit(None, unique=b"1")
        self.purge()
        self.fixture.submit(None, unique=b"1")
        self.purge()
        self.fixture.pass_time(0)
        self.assertEqual(job.state, CANCELLED)

    def test_one_that_comes_back_meanwhile_is_left(self) -> None:
        first, second = self.submit(2)
        self.grabbed(self.worker, first)
        self.assertEqual(self.purge(), 1)
        self.fixture.leave(self.worker)
        self.fixture.pass_time(0)
        self.assertEqual((first.state, second.state), (QUEUED, CANCELLED))
        self.grabbed(self.fixture.worker(b"f"), first)

    def test_one_that_was_dead_and_is_queued_again(self) -> None:
        (job,) = self.dead()
        self.broker.operations.requeue(job.handle, self.fixture.now)
        self.purge()
        self.fixture.pass_time(0)
        self.assertEqual(job.state, CANCELLED)

    def test_of_one_that_is_paused(self) -> None:
        self.broker.operations.pause(b"f", self.fixture.now)
        self.submit(2)
        self.assertEqual(self.purge(), 2)
        self.fixture.pass_time(0)
        job = self.fixture.submit(None)
        self.assertIsNone(self.fixture.grab(self.worker))
        self.broker.operations.resume(b"f", self.fixture.now)
        self.grabbed(self.worker, job)

    def test_twice_at_a_time(self) -> None:
        self.submit(2)
        self.purge()
        self.purge()
        self.broker.operations.resume(b"f", self.fixture.now)
        self.fixture.pass_time(0)
        job = self.fixture.submit(None)
        self.grabbed(self.worker, job)

    def test_policies_that_come_meanwhile(self) -> None:
        self.submit(BATCH + 1)
        self.purge()
        self.broker.expire(self.fixture.now)
        self.fixture.set(concurrency=1)
        self.assertIsNone(self.fixture.grab(self.worker))
        self.fixture.set("g")
        self.assertIsNone(self.fixture.grab(self.worker))
        self.fixture.pass_time(0)
        self.grabbed(self.worker, self.fixture.submit(None))

    def test_the_last_job_takes_its_function_with_it(self) -> None:
        self.fixture.leave(self.worker)
        self.submit(2)
        self.purge()
        self.fixture.pass_time(0)
        self.assertEqual(self.fixture.counts(), {})

    def test_a_function_of_the_same_name_that_came_meanwhile(self) -> None:
        self.fixture.leave(self.worker)
        jobs = self.submit(2)
        self.purge()
        for job in jobs:
            self.fixture.cancel(job)
        self.assertEqual(self.fixture.counts(), {})
        new = self.fixture.submit(None)
        self.fixture.pass_time(0)
        self.assertEqual(self.fixture.counts(), {b"f": (1, 0, 0, 0)})
        self.grabbed(self.fixture.worker(b"f"), new)

    def test_what_is_kept_stays(self) -> None:
        (job,) = self.dead()
        self.purge()
        self.fixture.pass_time(0)
        self.assertEqual(job.state, DEAD)


class DropFunctionTests(OperationsTestCase):
    def test_only_those_that_are_wanted(self) -> None:
        for name in (b"g", b"G"):
            self.broker.operations.create_function(name)
        self.assertIsNone(self.broker.operations.drop_function(b"g", lambda function: False))
        self.assertTrue(self.broker.operations.drop_function(b"g", lambda function: function.name == b"g"))
        self.assertIn(b"G", self.broker.functions.by_name)

    def test_not_while_jobs_of_it_are_kept(self) -> None:
        (job,) = self.dead()
        self.fixture.leave(self.worker)
        self.assertIs(self.broker.operations.drop_function(b"F"), False)
        self.broker.operations.create_function(b"f")
        self.broker.operations.forget(job.handle)
        self.assertIs(self.broker.operations.drop_function(b"F"), True)
        self.assertIsNone(self.broker.operations.drop_function(b"f"))


class FunctionsTests(OperationsTestCase):
    """What an operator says of functions."""

    def test_one_that_is_wanted_although_nobody_uses_it(self) -> None:
        self.broker.operations.create_function(b"g")
        self.assertEqual(self.fixture.counts()[b"g"], (0, 0, 0, 0))

    def test_its_bounds_are_remembered_until_they_are_taken_back(self) -> None:
        self.broker.operations.limit_function(b"g", (0, 1, 0))
        self.fixture.submit(None, b"g")
        self.assertRaises(QueueError, self.fixture.submit, None, b"g")
        self.broker.operations.limit_function(b"h", (0, 1, 0))
        self.assertIn(b"h", self.broker.functions.by_name)
        self.broker.operations.limit_function(b"h", (0, 0, 0))
        self.assertNotIn(b"h", self.broker.functions.by_name)

    def test_what_other_servers_have_set(self) -> None:
        operations, now = self.broker.operations, self.fixture.now
        operations.put_in_force(StoredValue(PAUSED, b"g", 7.0, text="alice"), now)
        operations.put_in_force(StoredValue(LIMITED, b"g", 1.0, text="0 1 2"), now)
        function = self.broker.functions.by_name[b"g"]
        throttle = function.throttle
        assert throttle is not None
        self.assertEqual((throttle.paused_by, throttle.paused_since), ("alice", 7.0))
        self.assertEqual(function.max_queued, (0, 1, 2))
        operations.put_in_force(StoredValue(PAUSED, b"g", 0.0), now)
        self.assertFalse(function.paused)
        operations.put_in_force(StoredValue(LIMITED, b"g", 0.0), now)
        self.assertNotIn(b"g", self.broker.functions.by_name)
        operations.put_in_force(StoredValue(PAUSED, b"g", 0.0), now)
        operations.put_in_force(StoredValue(SCHEDULED, b"g", 1.0), now)
        for text in ("", "1 2", "1 2 3 4", "1 2 -3", "1 2 \u00b3", "1 2 x"):
            operations.put_in_force(StoredValue(LIMITED, b"g", 1.0, text=text), now)
        self.assertNotIn(b"g", self.broker.functions.by_name)

    def test_what_other_servers_are_told(self) -> None:
        fixture = BrokerFixture(journal=(journal := FakeJournal()))
        operations, key = fixture.broker.operations, (LIMITED, b"g")
        operations.limit_function(b"g", (0, 1, 2))
        self.assertEqual(journal.stored_values, {key: StoredValue(LIMITED, b"g", 1.0, text="0 1 2")})
        operations.limit_function(b"g", (0, 0, 0))
        self.assertEqual(journal.stored_values[key].value, 0.0)
        operations.limit_function(b"g", (1, 0, 0))
        operations.drop_function(b"g")
        self.assertEqual(journal.stored_values, {key: StoredValue(LIMITED, b"g", 0.0)})

    def test_a_job_that_there_is_not_is_not_cancelled(self) -> None:
        self.assertFalse(self.broker.operations.cancel(b"H:test:99", self.fixture.now))

    def test_who_paused_is_remembered_and_who_did_it_again_is_not(self) -> None:
        for by in ("alice", "bob"):
            self.broker.operations.pause(b"g", self.fixture.now, by)
            self.fixture.now += 5
        throttle = self.broker.functions.by_name[b"g"].throttle
        assert throttle is not None
        self.assertEqual((throttle.paused_by, throttle.paused_since), ("alice", self.fixture.now - 10))

    def test_who_purged_is_remembered_for_so_many_functions(self) -> None:
        for number in range(MOST_PURGES + 1):
            self.broker.operations.create_function(b"%d" % number)
            self.broker.operations.purge(b"%d" % number, self.fixture.now, "alice")
        purges = self.broker.operations.purges
        self.assertEqual((len(purges), next(iter(purges))), (MOST_PURGES, b"1"))
        self.assertEqual(purges[b"7"], Purge(self.fixture.now, 0, "alice"))

    def test_one_that_was_paused_and_is_dropped_is_not_paused_when_it_comes_again(self) -> None:
        self.broker.operations.pause(b"g", self.fixture.now)
        self.assertTrue(self.broker.operations.drop_function(b"g"))
        job = self.fixture.submit(None, b"g")
        self.grabbed(self.fixture.worker(b"g"), job)


class RunTests(OperationsTestCase):
    """What is done to all jobs that a search is for."""

    def test_it_is_done_in_the_next_turns(self) -> None:
        done: list[float] = []

        def task() -> BulkTask:
            now = yield
            for _ in range(STEPS + 1):
                done.append(now)
                now = yield

        for _ in range(2):
            self.broker.operations.run(task(), self.fixture.now)
        self.assertEqual((done, self.broker.timers.deadline), ([], self.fixture.now))
        self.broker.expire(self.fixture.now)
        self.assertEqual((len(done), self.broker.timers.deadline), (STEPS, self.fixture.now))
        self.fixture.pass_time(1)
        self.assertEqual((len(done), self.broker.timers.deadline), (2 * STEPS + 2, inf))

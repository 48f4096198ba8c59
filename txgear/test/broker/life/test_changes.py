"""Tests of L{txgear.broker.life.changes}: what operators change of a job."""

from __future__ import annotations

from typing import Any

from txgear.broker.ended.archive import history_of
from txgear.broker.ended.reviews import MOST_REVIEWS
from txgear.broker.history import Aside
from txgear.broker.life.operations import Operations
from txgear.broker.model import Job
from txgear.broker.states import DEAD, DELAYED, DONE, QUEUED, RUNNING
from txgear.broker.tenants import Quota
from txgear.errors import (
    QUEUE_FULL,
    QUOTA_FULL,
    InvalidArgument,
    QueueError,
    ServerError,
)
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import HIGH, LOW, NORMAL, WORK_COMPLETE, WORK_FAIL
from txgear.test.support.broker import BrokerTestCase
from txgear.test.support.clock import START


class ChangesTestCase(BrokerTestCase):
    @property
    def operations(self) -> Operations:
        return self.broker.operations

    def submit(self, count: int = 1, function: bytes = b"f", **rest: Any) -> list[Job]:
        return [self.fixture.submit(None, function, **rest) for _ in range(count)]

    def set(self, **policies: dict[str, Any]) -> None:
        """Policies of several functions."""
        self.fixture.policies = Policies(
            [(function, CLASSIC.with_settings(settings)) for function, settings in policies.items()]
        )
        self.operations.set_policies(self.fixture.policies, self.fixture.now)

    def kill(self, *jobs: Job) -> None:
        """They fail, and are not tried again."""
        worker = self.fixture.worker(b"f")
        for job in jobs:
            self.fails(worker, self.grabbed(worker, job))
            self.assertEqual(job.state, DEAD)
        self.fixture.leave(worker)

    def reprioritise(self, job: Job, priority: int) -> None:
        self.operations.reprioritise(job, priority, self.fixture.now)

    def move(self, job: Job, name: bytes = b"g") -> None:
        self.operations.move(job, name, self.fixture.now)

    def correct(self, job: Job, workload: bytes) -> None:
        self.operations.correct(job, workload, self.fixture.now)

    def refused(self, code: str, order: Any, *about: Any, why: str = "") -> str:
        """What the text of the error is; nothing has changed."""
        before = self.everything()
        error = self.assertRaises(ServerError, order, *about, self.fixture.now)
        self.assertEqual(error.code, code)
        self.assertEqual(error.why if isinstance(error, QueueError) else "", why)
        self.assertEqual(self.everything(), before)
        return str(error.text)

    def everything(self) -> list[tuple[object, ...]]:
        return [
            (job, job.function, job.priority, job.workload, job.size, job.key, job.place, job.state, job.due)
            for job in (*self.broker.table.jobs.values(), *self.broker.archive.jobs.values())
        ] + [*self.broker.functions.by_name.items()]

    def over(self) -> list[Job]:
        """A job that a worker has, and one that is done and kept."""
        self.set(f={"results": 60})
        worker = self.fixture.worker(b"f")
        jobs = self.submit(2)
        self.complete(worker, self.grabbed(worker, jobs[0]))
        self.grabbed(worker, jobs[1])
        self.assertEqual([job.state for job in jobs], [DONE, RUNNING])
        return jobs


class PriorityTests(ChangesTestCase):
    def test_it_comes_behind_all_others_that_have_it(self) -> None:
        worker = self.fixture.worker(b"f")
        normal, high, low = (self.submit(2, priority=priority) for priority in (NORMAL, HIGH, LOW))
        self.reprioritise(low[0], HIGH)
        self.reprioritise(high[0], LOW)
        self.reprioritise(normal[0], NORMAL)
        self.assertEqual(
            self.fixture.grab_all(worker), [high[1], low[0], normal[0], normal[1], low[1], high[0]]
        )

    def test_up_and_down_again(self) -> None:
        worker = self.fixture.worker(b"f")
        jobs = self.submit(4)
        for priority in (HIGH, NORMAL, LOW, NORMAL):
            self.reprioritise(jobs[1], priority)
            self.broker.check()
        self.assertEqual(self.fixture.grab_all(worker), [jobs[0], jobs[2], jobs[3], jobs[1]])

    def test_one_that_waits_keeps_its_time(self) -> None:
        worker = self.fixture.worker(b"f")
        waiting = self.fixture.submit(None, delay=5.0)
        other = self.fixture.submit(None, delay=5.0)
        self.reprioritise(other, HIGH)
        self.assertEqual([other.state, other.priority], [DELAYED, HIGH])
        self.assertEqual(self.fixture.grab_all(worker), [])
        self.fixture.pass_time(5)
        self.assertEqual(self.fixture.grab_all(worker), [other, waiting])

    def test_a_worker_is_woken_for_it(self) -> None:
        (job,) = self.submit()
        sleeper = self.fixture.sleeper(b"f")
        self.fixture.woken()
        self.fixture.leave(sleeper)
        sleeper = self.fixture.sleeper(b"g")
        self.move(job)
        self.assertEqual(self.fixture.woken(), [sleeper])

    def test_a_dead_one_has_it_when_it_is_queued_again(self) -> None:
        self.fixture.set(retries=0)
        jobs = self.submit(2)
        self.kill(*jobs)
        self.reprioritise(jobs[1], HIGH)
        for job in jobs:
            self.operations.requeue(job.handle, self.fixture.now)
        self.assertEqual(self.fixture.grab_all(self.fixture.worker(b"f")), jobs[::-1])

    def test_who_has_it_or_what_is_over(self) -> None:
        done, running = self.over()
        self.refused("RUNNING", self.operations.reprioritise, running, HIGH)
        self.refused("NO_WORKLOAD", self.operations.reprioritise, done, HIGH)


class MoveTests(ChangesTestCase):
    def test_it_is_one_of_the_other_functions_jobs(self) -> None:
        moved, left = self.submit(2, workload=b"four")
        there = self.fixture.submit(None, b"g", workload=b"work")
        self.move(moved)
        self.broker.check()
        self.assertEqual((moved.function.total, moved.function.bytes, left.function.bytes), (2, 8, 4))
        self.assertEqual(self.fixture.grab_all(self.fixture.worker(b"f")), [left])
        self.assertEqual(self.fixture.grab_all(self.fixture.worker(b"g")), [there, moved])

    def test_a_function_that_was_only_for_it_is_forgotten(self) -> None:
        for delay in (0.0, 5.0):
            job = self.fixture.submit(None, delay=delay)
            self.move(job)
            self.assertEqual(list(self.broker.functions.by_name), [b"g"])
            self.move(job, b"f")
            self.fixture.cancel(job)

    def test_to_and_fro(self) -> None:
        jobs = self.submit(4)
        for name in (b"g", b"f", b"g", b"f"):
            self.move(jobs[1], name)
            self.broker.check()
        self.assertEqual(
            self.fixture.grab_all(self.fixture.worker(b"f")), [jobs[0], jobs[2], jobs[3], jobs[1]]
        )

    def test_who_waits_for_it_goes_on_waiting(self) -> None:
        client, other = self.fixture.connect(), self.fixture.connect()
        job = self.fixture.submit(client, unique=b"u")
        self.assertIs(self.fixture.submit(other, unique=b"u"), job)
        self.move(job)
        worker = self.fixture.worker(b"g")
        self.complete(worker, self.grabbed(worker, job))
        for peer in (client, other):
            self.assertIn((WORK_COMPLETE, job.handle, b"done"), self.outbox_of(peer))

    def outbox_of(self, peer: object) -> list[object]:
        return [message for receiver, message in self.fixture.outbox.sent if receiver is peer]

    def test_what_it_waits_for_it_still_waits_for(self) -> None:
        """By either clock; also what tries again, and whoever may not work yet."""
        self.set(f={"retries": 3, "backoff": 7.0})
        worker = self.fixture.worker(b"f")
        again = self.fixture.submit(None)
        self.fails(worker, self.grabbed(worker, again))
        jobs = [
            again,
            self.fixture.submit(None, delay=8.0),
            self.fixture.submit(None, due=self.fixture.now + 9.0),
        ]
        for job in jobs:
            self.move(job)
            self.assertEqual(job.state, DELAYED)
        self.broker.check()
        worker = self.fixture.worker(b"g")
        found = []
        for _ in range(12):
            found.append(self.fixture.grab_all(worker))
            self.fixture.pass_time(1)
        self.assertEqual(
            {seconds: some for seconds, some in enumerate(found) if some},
            {7: jobs[:1], 8: jobs[1:2], 9: jobs[2:]},
        )

    def test_what_a_server_that_ends_holds_back_it_holds_back_there(self) -> None:
        self.fixture.submit(self.fixture.connect())
        (job,) = self.submit()
        self.fixture.drain()
        self.assertEqual(job.state, DELAYED)
        self.move(job)
        self.assertEqual((job.state, job.due), (DELAYED, 0.0))
        self.broker.check()

    def test_its_name_is_its_own_there(self) -> None:
        (job,) = self.submit(unique=b"u")
        self.move(job)
        self.assertIs(self.fixture.submit(None, b"g", b"u"), job)
        self.assertIsNot(self.fixture.submit(None, b"f", b"u"), job)

    def test_a_name_that_is_taken(self) -> None:
        (job,) = self.submit(unique=b"u")
        self.submit(function=b"g", unique=b"u")
        self.assertIn(
            "has a job with this unique", self.refused("UNIQUE_TAKEN", self.operations.move, job, b"g")
        )
        self.move(job, b"h")

    def test_a_name_that_is_taken_for_a_while(self) -> None:
        self.set(g={"unique_for": 60})
        worker = self.fixture.worker(b"g")
        (done,) = self.submit(function=b"g", unique=b"u")
        self.complete(worker, self.grabbed(worker, done))
        (job,) = self.submit(unique=b"u")
        self.assertIn("which is done", self.refused("UNIQUE_TAKEN", self.operations.move, job, b"g"))
        self.fixture.pass_time(61)
        self.move(job)

    def test_there_is_no_room(self) -> None:
        self.set(g={"max_queue": 1}, h={"max_bytes": 3})
        (job,) = self.submit(workload=b"work")
        self.submit(function=b"g")
        self.refused("QUEUE_ERROR", self.operations.move, job, b"g", why=QUEUE_FULL)
        self.refused("QUEUE_ERROR", self.operations.move, job, b"h", why=QUEUE_FULL)
        self.operations.limit_function(b"i", (0, 1, 0))
        self.submit(function=b"i")
        self.refused("QUEUE_ERROR", self.operations.move, job, b"i", why=QUEUE_FULL)

    def test_names_that_no_function_has(self) -> None:
        (job,) = self.submit()
        self.refused("ARGUMENT_TOO_LARGE", self.operations.move, job, b"x" * 9000)
        self.refused("INVALID_ARGUMENT", self.operations.move, job, b"\0")
        self.refused("SAME_FUNCTION", self.operations.move, job, b"f")

    def test_the_policy_there_holds(self) -> None:
        self.set(f={"expires": 100}, g={"expires": 20}, h={"timeout": 1})
        jobs = self.submit(3)
        client = self.fixture.connect()
        waits = self.fixture.submit(client, delay=90.0)
        for job in (jobs[0], waits):
            self.move(job, b"g")
        self.move(jobs[1], b"h")
        self.broker.check()
        self.fixture.pass_time(21)
        self.assertEqual(self.fixture.heard(client), [(WORK_FAIL, waits.handle)])
        self.assertEqual(list(self.broker.table.jobs.values()), jobs[1:])
        self.fixture.pass_time(80)
        self.assertEqual(list(self.broker.table.jobs.values()), [jobs[1]])

    def test_one_that_would_expire_before_its_time(self) -> None:
        """What it waited for is not known any more; it begins when it would have expired."""
        self.set(f={"expires": 10})
        job = self.fixture.submit(None, delay=50.0)
        self.move(job)
        self.fixture.pass_time(9)
        self.assertEqual(job.state, DELAYED)
        self.fixture.pass_time(1)
        self.assertEqual(job.state, QUEUED)

    def test_one_that_would_expire_there_at_once(self) -> None:
        self.set(g={"expires": 20})
        (job,) = self.submit()
        self.fixture.pass_time(30)
        self.refused("EXPIRED", self.operations.move, job, b"g")

    def test_settings_of_its_own_go_with_it(self) -> None:
        job = self.fixture.submit(None, settings={"expires": 50})
        self.fixture.pass_time(10)
        self.move(job)
        self.fixture.pass_time(39)
        self.assertEqual(job.state, QUEUED)
        self.fixture.pass_time(2)
        self.assertEqual(list(self.broker.table.jobs), [])

    def test_quotas_stay_right(self) -> None:
        self.fixture.quotas(a=Quota(running=1, queued=3, bytes=100))
        peer = self.fixture.tenant("a")
        worker = self.fixture.worker(b"f", b"g")
        jobs = [self.fixture.submit(peer, workload=b"work") for _ in range(3)]
        assert jobs[0].tenant is not None
        self.grabbed(worker, jobs[0])
        self.move(jobs[1])
        self.broker.check()
        self.assertEqual((jobs[0].tenant.queued, jobs[0].tenant.bytes), (3, 12))
        self.assertEqual(self.fixture.grab_all(worker), [])
        self.complete(worker, jobs[0])
        self.assertEqual(self.fixture.grab_all(worker), [jobs[2]])
        self.complete(worker, jobs[2])
        self.assertEqual(self.fixture.grab_all(worker), [jobs[1]])

    def test_who_has_it_or_what_is_over(self) -> None:
        done, running = self.over()
        self.refused("RUNNING", self.operations.move, running, b"g")
        self.refused("NO_WORKLOAD", self.operations.move, done, b"g")

    def test_a_purge_of_its_former_function_does_not_follow_it(self) -> None:
        jobs = self.submit(3)
        self.operations.purge(b"f", self.fixture.now)
        self.move(jobs[1])
        self.fixture.pass_time(1)
        self.assertEqual(list(self.broker.table.jobs.values()), [jobs[1]])


class MoveDeadTests(ChangesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.set(f={"retries": 0, "dead": 60.0}, g={"dead": {"keep": 9.0, "jobs": 2, "bytes": 9}})
        self.jobs = self.submit(4, workload=b"four", unique=b"")
        self.kill(*self.jobs)

    def test_it_is_dead_there(self) -> None:
        self.move(self.jobs[1])
        self.broker.check()
        (function,) = {job.function for job in self.jobs[:1]}
        self.assertEqual([function.kept, self.jobs[1].function.kept], [3, 1])
        self.fixture.pass_time(59)
        self.assertEqual(self.jobs[1].state, DEAD)
        self.assertTrue(self.operations.requeue(self.jobs[1].handle, self.fixture.now))
        self.assertEqual(self.fixture.grab_all(self.fixture.worker(b"g")), [self.jobs[1]])

    def test_nothing_makes_room_for_it(self) -> None:
        self.move(self.jobs[0])
        self.move(self.jobs[1])
        text = self.refused("QUEUE_ERROR", self.operations.move, self.jobs[2], b"g", why=QUEUE_FULL)
        self.assertIn("it keeps 2", text)
        self.operations.forget(self.jobs[0].handle)
        self.correct(self.jobs[2], b"longer")
        text = self.refused("QUEUE_ERROR", self.operations.move, self.jobs[2], b"g", why=QUEUE_FULL)
        self.assertIn("it keeps 9 bytes", text)

    def test_its_former_function_is_forgotten_where_it_was_the_last(self) -> None:
        self.move(self.jobs[0], b"h")
        self.move(self.jobs[0], b"i")
        self.assertEqual(set(self.broker.functions.by_name), {b"f", b"i"})

    def test_who_requeues_all_does_not_mean_it_any_more(self) -> None:
        self.operations.requeue_all(b"f", self.fixture.now)
        self.move(self.jobs[0])
        self.fixture.pass_time(1)
        self.assertEqual([job.state for job in self.jobs], [DEAD, QUEUED, QUEUED, QUEUED])


class ReviewTests(ChangesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.set(f={"retries": 0, "dead": {"keep": 60.0, "jobs": 3}})
        self.jobs = self.submit(3, workload=b"four", unique=b"")
        self.kill(*self.jobs)

    def review(self, job: Job, name: str = "r", by: str = "") -> None:
        self.operations.review(job, name, self.fixture.now, by)
        self.broker.check()

    def test_it_is_out_of_the_way(self) -> None:
        self.review(self.jobs[0])
        self.assertEqual(self.operations.requeue_all(b"f", self.fixture.now), 2)
        self.review(self.jobs[2])
        self.fixture.pass_time(0)
        self.assertEqual([job.state for job in self.jobs], [DEAD, QUEUED, DEAD])
        self.assertEqual(self.operations.forget_all(b"f", self.fixture.now), 0)
        self.fixture.pass_time(59)
        self.assertEqual(len(self.broker.archive.jobs), 2)
        self.fixture.pass_time(1)
        self.assertEqual((self.broker.archive.jobs, self.broker.archive.ended.reviews.by_name), ({}, {}))

    def test_it_makes_no_room_until_it_is_given_back(self) -> None:
        self.review(self.jobs[0])
        others = self.submit(2, unique=b"")
        self.kill(*others)
        self.assertEqual(list(self.broker.archive.jobs.values()), [self.jobs[0], self.jobs[2], *others])
        self.operations.release(self.jobs[0])
        self.broker.check()
        self.assertIsNone(history_of(self.jobs[0]).aside)
        error = self.assertRaises(ServerError, self.operations.release, self.jobs[0])
        self.assertEqual(error.code, "NOT_REVIEWED")
        (last,) = self.submit(1, unique=b"")
        self.kill(last)
        left = self.broker.archive.shelf(last.function).jobs.values()
        self.assertEqual(list(left), [others[1], self.jobs[0], last])

    def test_all_of_one_say_the_same(self) -> None:
        self.review(self.jobs[0], by="first")
        self.fixture.set_clock(60)
        self.fixture.now += 5
        self.review(self.jobs[1], by="second")
        self.review(self.jobs[1], by="third")
        self.assertEqual(
            [history_of(job).aside for job in self.jobs],
            [Aside("r", START, "first"), Aside("r", START, "first"), None],
        )
        self.review(self.jobs[1], "s", by="third")
        self.assertEqual(history_of(self.jobs[1]).aside, Aside("s", START + 65, "third"))

    def test_what_else_is_done_to_it(self) -> None:
        for job in self.jobs:
            self.review(job)
        self.operations.correct(self.jobs[0], b"longer", self.fixture.now)
        self.operations.move(self.jobs[1], b"g", self.fixture.now)
        self.broker.check()
        sizes = self.broker.archive.ended.reviews.by_name["r"].sizes
        found = {function.name: size for function, size in sizes.items()}
        self.assertEqual(found, {b"f": (2, 10), b"g": (1, 4)})
        self.operations.requeue(self.jobs[0].handle, self.fixture.now)
        self.operations.forget(self.jobs[2].handle)
        self.broker.check()
        self.kill(self.jobs[0])
        shelf = self.broker.archive.shelf(self.jobs[0].function)
        self.assertEqual(list(shelf.jobs.values()), [self.jobs[0]])

    def test_who_is_not_dead_or_has_no_room(self) -> None:
        with self.assertRaises(InvalidArgument):
            self.operations.review(self.jobs[0], "a b", self.fixture.now)
        self.set(f={"retries": 0})
        jobs = self.submit(MOST_REVIEWS + 1, unique=b"")
        self.kill(*jobs)
        for number, job in enumerate(jobs[1:]):
            self.review(job, f"r{number}")
        for job in self.over():
            with self.assertRaisesRegex(ServerError, "not dead"):
                self.operations.review(job, "r0", self.fixture.now)
        error = self.assertRaises(ServerError, self.operations.review, jobs[0], "s", self.fixture.now)
        self.assertEqual(error.code, "TOO_MANY_REVIEWS")
        self.review(jobs[0], "r0")


class CorrectTests(ChangesTestCase):
    def test_the_worker_gets_the_new_one_in_its_turn(self) -> None:
        jobs = self.submit(3, workload=b"old")
        self.correct(jobs[0], b"longer")
        self.correct(jobs[1], b"")
        self.broker.check()
        self.assertEqual(jobs[0].function.bytes, 9)
        self.assertEqual(
            [(job, job.workload) for job in self.fixture.grab_all(self.fixture.worker(b"f"))],
            [(jobs[0], b"longer"), (jobs[1], b""), (jobs[2], b"old")],
        )

    def test_a_unique_that_is_the_workload(self) -> None:
        job, other = (self.fixture.submit(None, unique=b"-", workload=data) for data in (b"one", b"two"))
        self.refused("UNIQUE_TAKEN", self.operations.correct, job, b"two")
        self.correct(job, b"one")
        for workload in (b"three", b"", b"four"):
            self.correct(job, workload)
            self.broker.check()
        self.assertIs(self.fixture.submit(None, unique=b"-", workload=b"four"), job)
        self.assertIsNot(self.fixture.submit(None, unique=b"-", workload=b"one"), job)
        self.assertIs(self.fixture.submit(None, unique=b"-", workload=b"two"), other)

    def test_there_is_no_room(self) -> None:
        self.set(f={"max_bytes": 10})
        self.fixture.quotas(a=Quota(bytes=8))
        jobs = [self.fixture.submit(self.fixture.tenant("a"), workload=b"four") for _ in range(2)]
        self.refused("QUEUE_ERROR", self.operations.correct, jobs[0], b"fives", why=QUOTA_FULL)
        self.correct(jobs[0], b"3 b")
        self.correct(jobs[1], b"fives")
        self.broker.check()
        self.fixture.quotas()
        self.refused("QUEUE_ERROR", self.operations.correct, jobs[0], b"sixsix", why=QUEUE_FULL)

    def test_a_dead_one(self) -> None:
        self.set(f={"retries": 0, "dead": {"keep": 60, "bytes": 9}})
        jobs = [self.fixture.submit(None, unique=b"-", workload=data) for data in (b"four", b"more")]
        self.kill(*jobs)
        self.refused("QUEUE_ERROR", self.operations.correct, jobs[0], b"sixsix", why=QUEUE_FULL)
        for workload in (b"", b"more", b"", b"fives"):
            self.correct(jobs[0], workload)
            self.broker.check()
        self.operations.requeue(jobs[0].handle, self.fixture.now)
        self.broker.check()
        (job,) = self.fixture.grab_all(self.fixture.worker(b"f"))
        self.assertEqual((job, job.workload), (jobs[0], b"fives"))
        self.assertEqual(history_of(job).counts, {})

    def test_a_dead_one_with_settings_of_its_own(self) -> None:
        job = self.fixture.submit(None, workload=b"four", settings={"retries": 0})
        self.kill(job)
        self.correct(job, b"longer")
        self.assertEqual(self.broker.archive.ended.own.bytes, 6)
        self.broker.check()

    def test_who_has_it_or_what_is_over(self) -> None:
        done, running = self.over()
        self.refused("RUNNING", self.operations.correct, running, b"new")
        self.refused("NO_WORKLOAD", self.operations.correct, done, b"new")

"""
What one peer can have, and what it costs the others: nothing is done to a great many in one
turn, and nothing takes longer for each the more there are.

Steps are counted, not timed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from txgear.broker import broker, functions
from txgear.broker.bulk import BATCH
from txgear.broker.model import Job, Peer
from txgear.broker.sleepers import BROAD, WAKE_SECONDS
from txgear.broker.states import CANCELLED, DELAYED, PAGED, QUEUED, RUNNING
from txgear.errors import TOO_MANY_WAIT, QueueError
from txgear.protocol.constants import HIGH, NORMAL, WORK_COMPLETE
from txgear.test.support.broker import BrokerTestCase, DurableBrokerTestCase, queued

MANY = 4 * BATCH


def calls(do: Callable[[], Any]) -> int:
    """How many functions are called, Python's own among them."""
    counted = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        do()
    finally:
        sys.setprofile(None)
    return counted


class BoundsTestCase(BrokerTestCase):
    def submit(self, count: int, client: Peer | None = None, **rest: Any) -> list[Job]:
        return [self.fixture.submit(client, **rest) for _ in range(count)]

    def states(self, jobs: list[Job]) -> set[int]:
        return {job.state for job in jobs}

    def assert_linear(self, steps: Callable[[int], int]) -> None:
        """Three times as many take three times as long, and not nine times."""
        self.assertLess(steps(3 * MANY), 4 * steps(MANY))

    def assert_pieces(self, begin: Callable[[], Any], each: int) -> None:
        """
        What is begun is done in several turns, none of which is long.

        @param each: calls that one job may take.
        """
        longest = calls(begin)
        turns = 0
        while self.broker.timers.deadline <= self.fixture.now:
            longest = max(longest, calls(lambda: self.broker.expire(self.fixture.now)))
            turns += 1
        self.assertGreaterEqual(turns, MANY // BATCH - 1)
        self.assertLess(longest, (BATCH + 20) * each)


class LeavingTests(BoundsTestCase):
    def test_a_client_with_many_jobs(self) -> None:
        client = self.fixture.connect()
        jobs = self.submit(MANY, client)
        self.assert_pieces(lambda: self.fixture.leave(client), 40)
        self.assertEqual(self.states(jobs), {CANCELLED})
        self.assertEqual(self.fixture.counts(), {})

    def test_a_job_that_is_still_his_may_be_joined(self) -> None:
        client, other = self.fixture.connect(), self.fixture.connect()
        jobs = [self.fixture.submit(client, unique=b"%d" % number) for number in range(MANY)]
        self.fixture.leave(client)
        self.assertIs(self.fixture.submit(other, unique=b"%d" % (MANY - 1)), jobs[-1])
        self.fixture.pass_time(0)
        self.assertEqual(list(self.broker.table.jobs.values()), [jobs[-1]])
        self.assertEqual(list(jobs[-1].clients), [other])

    def test_one_that_ends_meanwhile_has_ended(self) -> None:
        client, worker = self.fixture.connect(), self.fixture.worker(b"f")
        jobs = self.submit(MANY, client)
        self.fixture.leave(client)
        job = self.fixture.grab(worker)
        assert job is not None
        self.complete(worker, job)
        running = self.fixture.grab(worker)
        self.fixture.pass_time(0)
        self.assertEqual(list(self.broker.table.jobs.values()), [running])
        self.assertEqual(self.states(jobs), {CANCELLED, job.state, RUNNING})

    def test_a_dead_one_that_is_queued_again_meanwhile_is_another_ones(self) -> None:
        client, worker, last = self.fixture.connect(), self.fixture.worker(b"g"), self.fixture.connect()
        self.submit(MANY, client)
        job = self.fixture.submit(client, b"g", unique=b"u", settings={"retries": 0})
        self.fixture.submit(None, b"g", unique=b"u")
        self.fixture.leave(client)
        self.fails(worker, self.grabbed(worker, job))
        self.broker.operations.requeue(job.handle, self.fixture.now)
        for _ in range(2):
            self.fixture.submit(last, b"g", unique=b"u")
        self.fixture.pass_time(0)
        self.assertEqual((job.state, list(job.clients)), (QUEUED, [last, last]))

    def test_a_worker_with_many_jobs(self) -> None:
        worker = self.fixture.worker(b"f")
        jobs = self.submit(MANY)
        self.fixture.grab_all(worker)
        self.assert_pieces(lambda: self.fixture.leave(worker), 40)
        self.assertEqual(self.states(jobs), {QUEUED})
        self.assertEqual(self.fixture.grab_all(self.fixture.worker(b"f")), jobs)

    def test_a_worker_that_gives_up_a_function(self) -> None:
        for give_up in (
            lambda worker: self.broker.cant_do(worker, b"f", self.fixture.now),
            lambda worker: self.broker.reset_abilities(worker, self.fixture.now),
        ):
            worker = self.fixture.worker(b"f", b"g")
            jobs = self.submit(MANY)
            self.fixture.grab_all(worker)
            self.assert_pieces(lambda worker=worker, give_up=give_up: give_up(worker), 40)  # type: ignore[misc]
            self.assertEqual(self.states(jobs), {QUEUED})
            self.assertEqual(self.fixture.grab_all(self.fixture.worker(b"f")), jobs)

    def test_what_it_says_of_them_meanwhile_is_not_heard(self) -> None:
        worker = self.fixture.worker(b"f")
        jobs = self.submit(MANY)
        self.fixture.grab_all(worker)
        self.broker.cant_do(worker, b"f", self.fixture.now)
        self.assertRaisesRegex(Exception, "not found", self.complete, worker, jobs[-1])
        self.fixture.pass_time(0)
        self.assertEqual(self.states(jobs), {QUEUED})

    def test_one_whose_time_is_over_meanwhile_and_that_it_gets_again(self) -> None:
        worker = self.fixture.worker(b"f", timeout=5.0)
        jobs = self.submit(MANY)
        self.fixture.grab_all(worker)
        self.broker.cant_do(worker, b"f", self.fixture.now)
        self.fixture.now += 5.0
        self.broker.lifecycle.time_has_come(jobs[-1], self.fixture.now)
        self.broker.can_do(worker, b"f", 0.0, self.fixture.now)
        lost = {job for job in jobs if job.state == QUEUED}
        again = set(self.fixture.grab_all(worker))
        self.assertEqual(again, lost)
        self.assertIn(jobs[-1], again)
        self.fixture.pass_time(0)
        self.assertEqual({job for job in jobs if job.state == RUNNING}, again)

    def test_the_other_functions_of_a_worker_are_not_touched(self) -> None:
        worker = self.fixture.worker(b"f", b"g")
        (kept,) = self.submit(1, function=b"g")
        (lost,) = self.submit(1)
        self.fixture.grab_all(worker)
        self.broker.cant_do(worker, b"f", self.fixture.now)
        self.assertEqual((kept.state, lost.state), (RUNNING, QUEUED))
        self.complete(worker, kept)

    def test_a_worker_with_many_functions(self) -> None:
        worker = self.fixture.worker(*(b"%d" % number for number in range(MANY)))
        self.assert_pieces(lambda: self.fixture.leave(worker), 20)
        self.assertEqual(self.broker.functions.by_name, {})


class OrdersTests(BoundsTestCase):
    def test_draining_with_many_jobs(self) -> None:
        client, worker = self.fixture.connect(), self.fixture.worker(b"f", b"g")
        jobs = self.submit(MANY)
        (wanted,) = self.submit(1, client)
        (other,) = self.submit(1, client, function=b"g")
        self.assert_pieces(self.fixture.drain, 30)
        self.assertEqual(self.states(jobs), {DELAYED})
        self.assertEqual(self.fixture.grab_all(worker), [wanted, other])

    def test_while_they_are_sorted_out_none_is_handed_out(self) -> None:
        client = self.fixture.connect()
        self.submit(MANY)
        (wanted,) = self.submit(1, client)
        sleeper = self.fixture.sleeper(b"f")
        self.fixture.woken()
        self.fixture.grab(sleeper)
        self.broker.operations.pause(b"f", self.fixture.now)
        self.fixture.drain()
        self.broker.operations.resume(b"f", self.fixture.now)
        self.assertIsNone(self.fixture.grab(sleeper))
        self.fixture.sleep(sleeper)
        self.assertFalse(self.broker.drained)
        self.fixture.drain()
        self.fixture.pass_time(0)
        self.assertEqual(self.fixture.woken(), [sleeper])
        self.assertIs(self.fixture.grab(sleeper), wanted)

    def test_purge_looks_at_no_other_function(self) -> None:
        self.submit(3)
        self.submit(1, due=self.fixture.now + 9)

        def steps(others: int) -> int:
            self.submit(others, function=b"g")
            self.submit(2)

            def purge() -> None:
                self.broker.operations.purge(b"f", self.fixture.now)
                self.fixture.pass_time(0)

            return calls(purge)

        self.assertLess(abs(steps(MANY) - steps(1)), 200)
        self.assertEqual(len(self.broker.table.jobs), MANY + 1)

    def test_purge_of_many(self) -> None:
        jobs = [*self.submit(MANY), *self.submit(MANY, due=self.fixture.now + 9)]
        self.assert_pieces(lambda: self.broker.operations.purge(b"f", self.fixture.now), 45)
        self.assertEqual(self.states(jobs), {CANCELLED})

    def test_many_that_are_due(self) -> None:
        choices: tuple[dict[str, Any], ...] = ({"due": self.fixture.now + 1}, {"delay": 1.0})
        for wait in choices:
            jobs = [self.fixture.submit(None, **wait) for _ in range(MANY)]
            self.fixture.now += 1
            self.assert_pieces(lambda: None, 40)
            self.assertEqual(self.states(jobs), {QUEUED})

    def test_many_that_were_woken_and_do_not_come(self) -> None:
        sleepers = [self.fixture.sleeper(b"f") for _ in range(MANY)]
        self.submit(MANY)
        self.assertEqual(self.fixture.woken(), sleepers)
        self.fixture.now += WAKE_SECONDS
        self.assert_pieces(lambda: None, 20)
        self.assertIsNone(sleepers[-1].woken_for)


class GrowthTests(BoundsTestCase):
    def test_joins_of_one_job(self) -> None:
        def steps(count: int) -> int:
            clients = [self.fixture.connect() for _ in range(count)]

            def join_and_leave() -> None:
                for client in clients:
                    self.fixture.submit(client, unique=b"u")
                for client in clients:
                    self.fixture.leave(client)

            return calls(join_and_leave)

        self.assert_linear(steps)
        self.assertEqual(self.broker.table.jobs, {})

    def test_who_joined_last_is_answered_first_and_as_often_as_it_joined(self) -> None:
        one, other, third = (self.fixture.connect() for _ in range(3))
        for client in (one, other, one, third):
            job = self.fixture.submit(client, unique=b"u")
        self.assertEqual((list(job.clients), len(job.clients)), ([third, one, other, one], 4))
        self.fixture.leave(third)
        worker = self.fixture.worker(b"f")
        self.complete(worker, self.grabbed(worker, job))
        told = [(peer, message[0]) for peer, message in self.fixture.outbox.take()]
        self.assertEqual(told, [(peer, WORK_COMPLETE) for peer in (one, other, one)])

    def test_jobs_that_come_back(self) -> None:
        """From several workers that are lost one after the other, as they had taken turns."""

        def steps(count: int) -> int:
            workers = [self.fixture.worker(b"f") for _ in range(count)]
            jobs = self.submit(count)
            for worker in workers:
                self.fixture.grab(worker)

            def lose() -> None:
                for worker in workers:
                    self.fixture.leave(worker)

            lost = calls(lose)
            self.assertEqual(queued(self.broker.functions.by_name[b"f"].lanes), jobs)
            self.broker.operations.purge(b"f", self.fixture.now)
            self.fixture.pass_time(0)
            return lost

        self.assert_linear(steps)

    def test_a_submit_looks_at_no_busy_worker(self) -> None:
        for _ in range(MANY):
            self.fixture.worker(b"f")
            self.fixture.sleeper(b"g")
        self.fixture.submit(None)
        looked: list[Peer] = []

        class Watched(dict[Peer, None]):
            def __iter__(self) -> Any:
                for peer in super().__iter__():
                    looked.append(peer)
                    yield peer

        function = self.broker.functions.by_name[b"f"]
        function.workers = Watched(function.workers)
        self.broker.sleepers.asleep = Watched(self.broker.sleepers.asleep)
        self.submit(3)
        self.assertEqual(looked, [])

    def test_a_sleeper_with_a_great_many_functions(self) -> None:
        names = [b"%d" % number for number in range(BROAD + 1)]
        narrow, broad = self.fixture.sleeper(b"f"), self.fixture.sleeper(b"f", *names)
        self.submit(1)
        self.assertEqual(self.fixture.woken(), [narrow])
        self.submit(2)
        self.assertEqual(self.fixture.woken(), [broad])
        self.fixture.grab(broad)

        def sleep_and_grab() -> None:
            self.fixture.sleep(broad)
            self.fixture.grab(broad)

        self.assertLess(calls(sleep_and_grab), 40)
        self.fixture.sleep(broad)
        self.fixture.woken()
        for name in names[:5]:
            self.broker.cant_do(broad, name, self.fixture.now)
        self.submit(1, function=names[-1])
        self.fixture.grab(broad)

    def test_one_that_learns_while_it_sleeps(self) -> None:
        sleeper = self.fixture.sleeper(b"f")
        for number in range(BROAD + 1):
            self.broker.can_do(sleeper, b"%d" % number, 0.0, self.fixture.now)
        self.assertTrue(sleeper.asleep)
        self.submit(1, function=b"0")
        self.assertEqual(self.fixture.woken(), [sleeper])


class MostTests(BoundsTestCase):
    def test_jobs_that_a_connection_waits_for(self) -> None:
        self.patch(broker, "MOST_AWAITED", 3)
        client, other = self.fixture.connect(), self.fixture.connect()
        jobs = [self.fixture.submit(client, unique=b"%d" % number) for number in range(3)]
        with self.assertRaisesRegex(QueueError, "A connection waits for at most 3 jobs") as many:
            self.fixture.submit(client, b"new")
        with self.assertRaisesRegex(
            QueueError, "At most 3 wait for a job, or a connection for jobs"
        ) as joins:
            self.fixture.submit(client, unique=b"1")
        self.assertEqual((many.exception.why, joins.exception.why), (TOO_MANY_WAIT, TOO_MANY_WAIT))
        self.assertEqual(list(self.broker.functions.by_name), [b"f"])
        self.fixture.submit(other)
        for _ in range(2):
            self.fixture.submit(other, unique=b"1")
        with self.assertRaisesRegex(QueueError, "At most 3 wait"):
            self.fixture.submit(other, unique=b"1")
        self.fixture.submit(None)
        self.fixture.cancel(jobs[0])
        self.fixture.submit(client)

    def test_functions_that_a_connection_can_do(self) -> None:
        self.patch(broker, "MOST_ABILITIES", 3)
        worker = self.fixture.worker(b"a", b"b", b"c")
        with self.assertRaisesRegex(QueueError, "A connection has at most 3 functions"):
            self.broker.can_do(worker, b"d", 0.0, self.fixture.now)
        self.broker.can_do(worker, b"a", 1.0, self.fixture.now)
        self.assertEqual(list(self.broker.functions.by_name), [b"a", b"b", b"c"])

    def test_functions_of_all(self) -> None:
        self.patch(functions, "MOST_FUNCTIONS", 2)
        worker = self.fixture.worker(b"f", b"g")
        with self.assertRaisesRegex(QueueError, "There are 2 functions, and no room for another"):
            self.fixture.submit(None, b"new")
        with self.assertRaisesRegex(QueueError, "There are 2 functions"):
            self.broker.can_do(worker, b"new", 0.0, self.fixture.now)
        with self.assertRaisesRegex(QueueError, "There are 2 functions"):
            self.broker.operations.create_function(b"new")
        self.fixture.submit(None)
        self.fixture.leave(worker)
        self.fixture.submit(None, b"new")


class StoredBoundsTests(DurableBrokerTestCase, BoundsTestCase):
    queue_memory = 0

    def test_draining_sorts_out_what_is_not_in_memory_too(self) -> None:
        client = self.fixture.connect()
        self.fixture.store(*[b"x"] * MANY)
        (joined,) = self.fixture.store_waited_for(b"x", priority=HIGH)
        self.submit(MANY, client)
        self.fixture.read()
        function = joined.function
        self.assertEqual((function.lanes.rows_count, joined.state), (MANY - 1, PAGED))
        self.assert_pieces(self.fixture.drain, 60)
        self.assertEqual((function.waiting, function.lanes.ready, function.lanes.paged), (MANY, MANY, 1))
        worker = self.fixture.worker(b"f")
        self.fixture.read()
        self.assertEqual((self.fixture.grab(worker), function.lanes.total_of(NORMAL)), (joined, MANY))

    def test_a_client_of_jobs_behind_others_leaves(self) -> None:
        client = self.fixture.connect()
        self.fixture.store(b"x")
        jobs = self.submit(MANY, client)
        self.assertEqual(self.states(jobs), {PAGED})
        self.assert_pieces(lambda: self.fixture.leave(client), 60)
        self.assertEqual(self.states(jobs), {CANCELLED})

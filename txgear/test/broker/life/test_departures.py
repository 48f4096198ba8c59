"""Tests of L{txgear.broker.life.departures}."""

from __future__ import annotations

from txgear.broker.bulk import BATCH
from txgear.broker.states import CANCELLED, DELAYED, PAGED, QUEUED, RUNNING
from txgear.errors import JobNotFound
from txgear.protocol.constants import HIGH
from txgear.test.support.broker import BrokerTestCase, DurableBrokerTestCase


class ClientTests(BrokerTestCase):
    def test_what_nobody_else_wants_ends(self) -> None:
        client, other = self.fixture.connect(), self.fixture.connect()
        alone = self.fixture.submit(client)
        shared = self.fixture.submit(client, unique=b"u")
        self.fixture.submit(other, unique=b"u")
        kept = self.fixture.submit(client, unique=b"v")
        self.fixture.submit(None, unique=b"v")
        self.fixture.leave(client)
        self.assertEqual([alone.state, shared.state, kept.state], [CANCELLED, QUEUED, QUEUED])
        self.assert_gone(alone)
        self.assertEqual((list(shared.clients), list(kept.clients)), ([other], []))

    def test_what_runs_goes_on(self) -> None:
        client, worker = self.fixture.connect(), self.fixture.worker(b"f")
        job = self.grabbed(worker, self.fixture.submit(client))
        self.fixture.leave(client)
        self.assertEqual(job.state, RUNNING)
        self.complete(worker, job)

    def test_a_great_many_are_seen_to_by_and_by(self) -> None:
        client = self.fixture.connect()
        jobs = [self.fixture.submit(client) for _ in range(2 * BATCH)]
        self.fixture.leave(client)
        self.assertEqual(self.broker.timers.deadline, self.fixture.now)
        self.assertEqual([jobs[BATCH - 2].ended, jobs[BATCH].ended], [True, False])
        self.broker.expire(self.fixture.now)
        self.broker.expire(self.fixture.now)
        self.assertEqual((self.broker.table.jobs, self.fixture.next_call), ({}, float("inf")))

    def test_while_the_server_drains_only_what_a_client_waits_for_is_done(self) -> None:
        client = self.fixture.connect()
        job = self.fixture.submit(client, unique=b"u")
        self.fixture.submit(None, unique=b"u")
        self.fixture.drain()
        self.fixture.leave(client)
        self.assertEqual(job.state, DELAYED)


class OverflowTests(DurableBrokerTestCase):
    queue_memory = 10

    def test_what_comes_behind_has_its_turn(self) -> None:
        """While the server drains a client goes that waited for what is first, without its workload."""
        self.fixture.worker(b"f")
        client, other = self.fixture.connect(), self.fixture.connect()
        self.fixture.store(b"0123456789")
        named = self.fixture.submit(None, workload=b"named", unique=b"u")
        self.fixture.submit(client, unique=b"u")
        self.fixture.commit()
        last = self.fixture.submit(other, workload=b"last")
        self.assertEqual([named.state, last.state], [PAGED, PAGED])
        self.fixture.drain()
        self.assertEqual([named.state, last.state], [PAGED, PAGED])
        self.fixture.leave(client)
        self.assertEqual([named.state, last.state], [DELAYED, QUEUED])


class WorkerTests(BrokerTestCase):
    def test_the_jobs_of_a_function_that_it_gives_up(self) -> None:
        """Others are left to it; what it says of those that were taken is not heard."""
        worker = self.fixture.worker(b"f", b"g")
        lost, kept = self.fixture.submit(None), self.fixture.submit(None, b"g")
        self.fixture.grab_all(worker)
        self.broker.cant_do(worker, b"f", self.fixture.now)
        self.assertEqual((lost.state, lost.retries, kept.state), (QUEUED, 1, RUNNING))
        self.assertEqual(list(worker.running.values()), [kept])
        with self.assertRaises(JobNotFound):
            self.complete(worker, lost)
        self.complete(worker, kept)

    def test_the_function_is_forgotten(self) -> None:
        worker = self.fixture.worker(b"f", b"g")
        self.broker.cant_do(worker, b"g", self.fixture.now)
        self.assertEqual(self.fixture.counts(), {b"f": (0, 0, 0, 1)})
        self.broker.reset_abilities(worker, self.fixture.now)
        self.assertEqual(self.fixture.counts(), {})

    def test_a_great_many_jobs_come_back_by_and_by(self) -> None:
        """One that it gets again before that is its own."""
        worker = self.fixture.worker(b"f")
        jobs = [self.fixture.submit(None) for _ in range(BATCH + 10)]
        self.fixture.grab_all(worker)
        self.broker.reset_abilities(worker, self.fixture.now)
        self.assertEqual((jobs[0].retries, jobs[-1].retries), (1, 0))
        self.fixture.cancel(jobs[-1])
        self.broker.expire(self.fixture.now)
        self.assertEqual({job.retries for job in jobs[:-1]}, {1})
        self.assertEqual((jobs[-1].retries, self.fixture.counts()[b"f"][0]), (0, BATCH + 9))

    def test_another_is_woken_in_its_place(self) -> None:
        sleepers = [self.fixture.sleeper(b"f"), self.fixture.sleeper(b"f")]
        self.fixture.submit(None)
        (woken,) = self.fixture.woken()
        self.broker.cant_do(woken, b"f", self.fixture.now)
        self.assertEqual(self.fixture.woken(), [peer for peer in sleepers if peer is not woken])

    def test_the_reason_is_kept(self) -> None:
        self.fixture.set(retries=3)
        worker = self.fixture.known_worker("k", b"f")
        job = self.grabbed(worker, self.fixture.submit(None))
        self.broker.absences.gone("k", b"out of memory", self.fixture.now)
        self.fixture.leave(worker)
        assert job.history is not None
        (attempt,) = job.history.attempts
        self.assertEqual((attempt.reason, attempt.text), ("lost", "out of memory"))


class BarredTests(DurableBrokerTestCase):
    queue_memory = 4

    def test_it_may_have_something_else(self) -> None:
        """It sleeps until a job of a function is read that it gives up."""
        worker = self.fixture.worker(b"f", b"g")
        self.fixture.store(b"1234", b"5678", priority=HIGH)
        self.fixture.submit(self.fixture.connect(), b"g")
        self.fixture.grab(worker)
        self.fixture.sleep(worker)
        self.assertEqual((worker.barred, self.fixture.woken()), (HIGH, []))
        self.broker.cant_do(worker, b"f", self.fixture.now)
        self.assertEqual((worker.barred, self.fixture.woken()), (None, [worker]))

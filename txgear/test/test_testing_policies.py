"""
Tests for policies in L{txgear.testing.MemoryServer}, which are tests of server,
client and worker together: what the extension is for, from end to end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from txgear.client import Result
from txgear.errors import JobFailed, JobTimeout, PolicyError, QueueError, ServerError
from txgear.stores.memory import MemoryStore
from txgear.testing import MemoryServer
from txgear.worker import Fail, Worker, WorkerJob

HOUR = 3600.0


class PoliciesTestCase(SynchronousTestCase):
    """A server with policies, and a worker whose function fails as often as the workload says."""

    policies: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def setUp(self) -> None:
        self.store = MemoryStore()
        self.server = MemoryServer(store=self.store, policies=self.policies)
        self.addCleanup(self.stop)
        self.client = self.server.client()
        self.attempts: list[int] = []

    def stop(self) -> None:
        self.server.stop()
        self.assertEqual([], self.server.clock.getDelayedCalls())

    def failing(self, name: str = "f") -> Worker:
        """A worker whose jobs fail so many times as their workloads say."""
        worker = self.server.worker()

        @worker.function(name)
        def call(job: WorkerJob) -> bytes:
            self.attempts.append(job.attempt)
            if job.attempt <= int(job.workload):
                raise Fail
            job.send_data(b"data of %d, " % job.attempt)
            return b"result"

        return worker

    def submitted(self, *arguments: Any, **options: Any) -> bytes:
        handle: bytes = self.server.result(self.client.submit_background(*arguments, **options))
        return handle


class ConfiguredTests(PoliciesTestCase):
    policies: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "f*": {"retries": 2, "backoff": "10s", "results": "1h"},
        "full": {"max_queue": 1},
        "*": {"max_queue": 1},
    }

    def test_retries(self) -> None:
        """A client of the classic protocol hears of the end only."""
        self.failing()
        job = self.client.submit("f", b"2")
        self.server.advance(15)
        self.assertEqual([1, 2], self.attempts)
        self.server.advance(10)
        self.assertEqual(b"result", self.server.result(job.result))
        failed = self.client.submit("f", b"3")
        self.server.advance(25)
        with self.assertRaises(JobFailed):
            self.server.result(failed.result)

    def test_results(self) -> None:
        """Fetched an hour later, by handle or unique, by another client."""
        handle = self.submitted("f", b"1", unique="u")
        self.assertEqual("pending", self.server.result(self.client.fetch(handle)).outcome)
        waiting = self.client.fetch(handle, wait=True)
        self.failing()
        self.server.advance(20)
        done = Result(handle, "done", b"data of 2, ", b"result")
        self.assertEqual(done, self.server.result(waiting))
        self.server.advance(HOUR - 60)
        other = self.server.client()
        self.assertEqual(done, self.server.result(other.fetch(handle)))
        self.assertEqual(done, self.server.result(other.fetch_unique("u", wait=True)))
        self.assertFalse(self.server.result(other.fetch_unique("u", function="g")).known)
        self.server.advance(60)
        self.assertEqual("unknown", self.server.result(other.fetch(handle)).outcome)

    def test_over_a_crash(self) -> None:
        """Policies hold again, results are there, and who waits for one hears of it."""
        done, waits = self.submitted("f", b"0"), self.submitted("g", b"0")
        self.failing()
        waiting = self.client.fetch(waits, wait=True)
        self.server.advance(1)
        self.server.crash()
        self.server.restart()
        self.server.advance(10)
        self.assertEqual(
            Result(done, "done", b"data of 1, ", b"result"), self.server.result(self.client.fetch(done))
        )
        self.failing("g")
        self.assertEqual("done", self.server.result(waiting).outcome)
        self.submitted("h", b"")
        with self.assertRaises(QueueError):
            self.submitted("h", b"")

    def test_paused_over_a_crash(self) -> None:
        self.server.advance(1)
        self.assertEqual("OK\r\n", self.server.command("pause f"))
        self.server.advance(1)
        self.server.crash()
        self.server.restart()
        self.failing()
        handle = self.submitted("f", b"0")
        self.server.advance(60)
        self.assertEqual("pending", self.server.result(self.client.fetch(handle)).outcome)

    def test_the_first_pattern_counts(self) -> None:
        for _ in range(2):
            self.submitted("full", b"")
        self.submitted("other", b"")
        with self.assertRaisesRegex(QueueError, "max_queue is 1"):
            self.submitted("other", b"")

    def test_mistakes_are_named(self) -> None:
        for policies, key in (
            ({"f": {"retry": 1}}, "f.retry"),
            ({"f": {"backoff": {"first": "soon"}}}, "f.backoff.first"),
        ):
            with self.assertRaises(PolicyError) as caught:
                MemoryServer(policies=policies)
            self.assertEqual(key, caught.exception.key)


class OfOneJobTests(PoliciesTestCase):
    """What a client asks for by itself, at a server without policies."""

    def test_retries(self) -> None:
        """Jittered, delayed and counted as asked; other jobs of the function have none."""
        self.failing()
        policy = {"retries": {"fail": 1}, "backoff": {"kind": "fixed", "first": 10}}
        job = self.client.submit("f", b"1", policy=policy)
        with self.assertRaises(JobFailed):
            self.server.result(self.client.run("f", b"1"))
        self.server.advance(10)
        self.assertEqual(b"result", self.server.result(job.result))
        self.assertEqual([1, 1, 2], self.attempts)

    def test_dead(self) -> None:
        """It says why, and can be done after all."""
        worker = self.server.worker()

        @worker.function("f")
        def call(job: WorkerJob) -> bytes:
            if not self.attempts:
                raise ValueError("no disk")
            return b"r"

        handle = self.submitted("f", policy={"retries": 0, "results": "1h"})
        self.server.flush()
        self.flushLoggedErrors(ValueError)
        dead = self.server.result(self.client.fetch(handle, wait=True))
        self.assertEqual((handle, "dead", True), (dead.handle, dead.outcome, dead.complete))
        self.assertTrue(dead.result.startswith(b"ValueError: no disk\nTraceback"), dead.result)
        self.attempts.append(1)
        self.assertEqual("OK\r\n", self.server.command(f"requeue job {handle.decode()}"))
        self.assertEqual(
            Result(handle, "done", b"", b"r"), self.server.result(self.client.fetch(handle, wait=True))
        )

    def test_delay_and_time(self) -> None:
        self.failing()
        delayed = self.submitted("f", b"0", delay="90s", policy={"results": "1h"})
        timed = self.submitted("f", b"0", at=100, policy={"results": "1h"})
        self.server.advance(89)
        self.assertEqual("pending", self.server.result(self.client.fetch(delayed)).outcome)
        self.server.advance(2)
        self.assertEqual("done", self.server.result(self.client.fetch(delayed)).outcome)
        self.assertEqual("pending", self.server.result(self.client.fetch(timed)).outcome)
        self.server.advance(10)
        self.assertEqual("done", self.server.result(self.client.fetch(timed)).outcome)

    def test_expires(self) -> None:
        handle = self.submitted("f", policy={"expires": 10, "results": "1h"})
        waiting = self.client.fetch(handle, wait=True)
        job = self.client.submit("g", policy={"expires": 10})
        self.server.advance(11)
        self.assertEqual("expired", self.server.result(waiting).outcome)
        self.assertEqual("expired", self.server.result(self.client.fetch(handle)).outcome)
        with self.assertRaises(JobFailed):
            self.server.result(job.result)

    def test_once(self) -> None:
        """A unique stays taken: who submits it again is given the job that is done."""
        self.failing()
        policy = {"unique_for": "1h", "results": "1h"}
        handle = self.submitted("f", b"0", unique="u", policy=policy)
        self.server.advance(60)
        self.assertEqual(handle, self.submitted("f", b"0", unique="u", policy=policy))
        self.assertEqual(b"result", self.server.result(self.client.run("f", b"0", unique="u")))
        self.assertEqual([1], self.attempts)
        self.server.advance(HOUR)
        self.assertNotEqual(handle, self.submitted("f", b"0", unique="u", policy=policy))

    def test_too_late_to_wait(self) -> None:
        """A timeout of the caller's own; the job is none the worse for it."""
        handle = self.submitted("f", b"0")
        waiting = self.client.fetch(handle, wait=True, timeout=5)
        self.server.advance(5)
        self.assertIsInstance(self.failureResultOf(waiting).value, JobTimeout)
        again = self.client.fetch(handle, wait=True)
        self.failing()
        self.assertEqual("done", self.server.result(again).outcome)

    def test_waits_that_are_given_up_cost_nothing(self) -> None:
        """However many there were, the server keeps none of them."""
        handle = self.submitted("f", b"0")
        for _ in range(1100):
            waiting = self.client.fetch(handle, wait=True)
            self.server.flush()
            waiting.cancel()
            self.failureResultOf(waiting)
        self.server.flush()
        waiting = self.client.fetch(handle, wait=True)
        self.server.flush()
        self.assertNoResult(waiting)
        self.failing()
        self.assertEqual("done", self.server.result(waiting).outcome)

    def test_refused(self) -> None:
        """A mistake that only the server finds is named."""
        self.assertEqual("OK\r\n", self.server.command("maxqueue f 1"))
        self.submitted("f", policy={"retries": 1})
        with self.assertRaises(ServerError):
            self.submitted("f", policy={"retries": 1})


class LeaseTests(PoliciesTestCase):
    policies: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "leased": {"lease": 30, "retries": 3, "backoff": 0},
        "timed": {"timeout": 30, "retries": 1, "backoff": 0},
    }

    def setUp(self) -> None:
        super().setUp()
        self.jobs: list[WorkerJob] = []
        self.running: list[Deferred[bytes]] = []
        self.cancelled: list[int] = []

    def waiting_worker(self, name: str, **options: Any) -> Worker:
        worker = self.server.worker(**options)

        @worker.function(name)
        def call(job: WorkerJob) -> Deferred[bytes]:
            number = len(self.jobs)
            self.jobs.append(job)
            self.running.append(Deferred(lambda _: self.cancelled.append(number)))
            return self.running[-1]

        return worker

    def test_a_worker_that_beats(self) -> None:
        """It keeps its job as long as it likes."""
        self.waiting_worker("leased")
        job = self.client.submit("leased")
        self.server.advance(1000)
        self.assertEqual((1, 30.0, []), (len(self.jobs), self.jobs[0].lease, self.cancelled))
        self.running[0].callback(b"r")
        self.assertEqual(b"r", self.server.result(job.result))

    def test_a_timeout(self) -> None:
        """The job is taken back, its Deferred cancelled, and it is tried again."""
        self.waiting_worker("timed")
        job = self.client.submit("timed")
        self.server.advance(29)
        self.assertEqual([], self.cancelled)
        self.server.advance(1)
        self.assertEqual(([0], [1, 2]), (self.cancelled, [job.attempt for job in self.jobs]))
        self.assertTrue(self.jobs[0].gone)
        self.running[1].callback(b"r")
        self.assertEqual(b"r", self.server.result(job.result))

    def test_cancelled(self) -> None:
        """An operator's order reaches the function."""
        self.waiting_worker("leased")
        handle = self.submitted("leased")
        self.server.flush()
        waiting = self.client.fetch(handle, wait=True)
        self.server.command(f"cancel job {handle.decode()}")
        self.assertEqual([0], self.cancelled)
        self.assertEqual("cancelled", self.server.result(waiting).outcome)

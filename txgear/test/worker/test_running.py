"""
Tests for L{txgear.worker.running} and L{txgear.worker.job}, through a worker: what becomes of a job.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionLost

from txgear.protocol.constants import (
    ERROR,
    JOB_ASSIGN,
    JOB_ASSIGN_ALL,
    JOB_ASSIGN_UNIQ,
    NO_JOB,
)
from txgear.test.support.client import GRAB, ScriptedServer, ThreadClock, WorkerTestCase
from txgear.worker import Fail, WorkerJob


def returning(result: object, job: WorkerJob) -> object:
    """A function that returns what the test gives."""
    return result


class JobTests(WorkerTestCase):
    def test_complete(self) -> None:
        """The result and the next request leave together."""
        seen: list[WorkerJob] = []

        def g(job: WorkerJob) -> bytes:
            seen.append(job)
            return b"re\0sult"

        self.assertEqual([("WORK_COMPLETE", b"H:1", b"re\0sult"), *GRAB], self.run_one(g))
        self.assertEqual(2 + 1, self.server.line.transport.writes)
        (job,) = seen
        self.assertEqual(
            (b"H:1", b"g", b"", b"", b"work", "server"),
            (job.handle, job.function, job.unique, job.reducer, job.workload, job.server),
        )

    def test_assign_packets(self) -> None:
        """All three packets that give a job are understood, whatever was asked."""
        self.start()
        line = self.server.line
        line.send(JOB_ASSIGN, b"H:1", b"f", b"w")
        self.results[-1].callback(None)
        line.send(JOB_ASSIGN_UNIQ, b"H:2", b"f", b"u", b"w\0")
        self.results[-1].callback(None)
        line.send(JOB_ASSIGN_ALL, b"H:3", b"f", b"", b"red", b"\0w")
        self.results[-1].callback(None)
        self.assertEqual(
            [(b"H:1", b"", b"", b"w"), (b"H:2", b"u", b"", b"w\0"), (b"H:3", b"", b"red", b"\0w")],
            [(job.handle, job.unique, job.reducer, job.workload) for job in self.jobs],
        )

    def test_results(self) -> None:
        """What a function may return."""
        for result, data in (
            (b"bytes", b"bytes"),
            ("é", "é".encode()),
            (None, b""),
            (bytearray(b"a"), b"a"),
            (memoryview(b"m"), b"m"),
            (succeed("later"), b"later"),
        ):
            self.assertEqual(
                [("WORK_COMPLETE", b"H:1", data), *GRAB], self.run_one(partial(returning, result))
            )

    def test_coroutine(self) -> None:
        """A coroutine function is awaited."""
        gate: Deferred[bytes] = Deferred()

        async def g(job: WorkerJob) -> bytes:
            return job.workload + await gate

        self.assertEqual([], self.run_one(g))
        gate.callback(b"!")
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"work!"), *GRAB], self.server.line.packets())

    def test_json(self) -> None:
        """A function that returns JSON values."""
        self.assertEqual(
            [("WORK_COMPLETE", b"H:1", b'{"n":null}'), *GRAB],
            self.run_one(lambda job: {"n": None}, json=True),
        )
        self.assertEqual(
            [("WORK_COMPLETE", b"H:1", b"null"), *GRAB], self.run_one(lambda job: None, json=True)
        )

    def test_workload_json(self) -> None:
        """A workload can be read as JSON; where it is none, the exception says so."""
        (packet, _) = self.run_one(lambda job: job.json())
        self.assertEqual(("WORK_EXCEPTION", b"H:1"), packet[:2])
        self.assertIn(b"JSONDecodeError: Expecting value", packet[2])
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))

    def test_wrong_result(self) -> None:
        """Anything else that is returned is an error, which is sent and logged."""
        ((*head, text), _) = self.run_one(lambda job: 5)
        self.assertEqual(["WORK_EXCEPTION", b"H:1"], head)
        self.assertEqual(
            b"TypeError: int is not bytes, str or None; a function with json=True returns it", text
        )
        ((*head, text), _) = self.run_one(lambda job: {1, 2}, json=True)
        self.assertIn(b"TypeError", text)
        self.assertEqual(2, len(self.flushLoggedErrors(TypeError)))

    def test_fail(self) -> None:
        """C{Fail} fails the job, without an exception in the log."""

        def g(job: WorkerJob) -> None:
            raise Fail("no such photo")

        self.assertEqual([("WORK_FAIL", b"H:1"), *GRAB], self.run_one(g))

    def test_raise(self) -> None:
        """Anything else that is raised is sent as text, and nothing after it; the log has all of it."""

        async def g(job: WorkerJob) -> None:
            raise KeyError("é" * 40000)

        ((*head, text), *rest) = self.run_one(g)
        self.assertEqual(["WORK_EXCEPTION", b"H:1"], head)
        self.assertTrue(text.startswith("KeyError: 'éé".encode()))
        self.assertEqual(65536, len(text))
        self.assertEqual(GRAB, rest)
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))

    def test_cancelled_by_itself(self) -> None:
        """A function that fails because something of its own was cancelled has raised."""

        async def g(job: WorkerJob) -> None:
            gate: Deferred[None] = Deferred()
            gate.cancel()
            await gate

        ((name, *_), *_) = self.run_one(g)
        self.assertEqual("WORK_EXCEPTION", name)
        self.assertEqual(1, len(self.flushLoggedErrors(CancelledError)))

    def test_news(self) -> None:
        """Data, warnings and status of a job."""

        def g(job: WorkerJob) -> None:
            job.send_data(b"da\0ta")
            job.send_data("text")
            job.send_warning(memoryview(b"careful"))
            job.set_status(1, 3)
            self.assertRaises(TypeError, job.send_data, 5)

        self.assertEqual(
            [
                ("WORK_DATA", b"H:1", b"da\0ta"),
                ("WORK_DATA", b"H:1", b"text"),
                ("WORK_WARNING", b"H:1", b"careful"),
                ("WORK_STATUS", b"H:1", b"1", b"3"),
                ("WORK_COMPLETE", b"H:1", b""),
                *GRAB,
            ],
            self.run_one(g),
        )

    def test_too_large(self) -> None:
        """What the server would drop the connection for is refused here: its jobs would go round for ever."""

        def g(job: WorkerJob) -> bytes:
            self.assertRaises(ValueError, job.send_data, bytes(97))
            return bytes(97)

        ((*_, text), _) = self.run_one(g, worker={"max_packet": 100})
        self.assertEqual(b"ValueError: 97 bytes do not fit a packet of 100 bytes", text)
        self.flushLoggedErrors(ValueError)

    def test_not_registered(self) -> None:
        """A job of a function that was never registered fails."""
        self.start()
        line = self.server.line
        line.packets()
        self.assign(line, b"H:1", function=b"other")
        self.assertEqual([("WORK_FAIL", b"H:1"), *GRAB], line.packets())

    def test_late_result(self) -> None:
        """The server's answer to the result of a job that it had taken back changes nothing."""
        self.start(concurrency=2)
        line = self.server.line
        self.assign(line, b"H:1")
        line.packets()
        line.send(ERROR, b"JOB_NOT_FOUND", b"Job given in work result not found")
        line.send(NO_JOB)
        line.send(ERROR, b"OTHER", b"")
        self.assertEqual([("PRE_SLEEP",)], line.packets())

    def test_large_workload(self) -> None:
        """A workload that arrives in pieces comes as bytes."""
        self.start()
        self.assign(self.server.line, b"H:1", bytes(300_000))
        self.assertEqual(bytes(300_000), self.jobs[0].workload)


class GivenUpTests(WorkerTestCase):
    def test_timeout(self) -> None:
        """A job whose time is up is cancelled; nothing is sent, and there is room for the next."""
        self.start(timeout=10)
        line = self.server.line
        line.packets()
        self.assign(line, b"H:1")
        (job,) = self.jobs
        self.clock.advance(9.9)
        self.assertFalse(job.gone)
        self.clock.advance(0.1)
        self.assertTrue(job.gone)
        self.assertEqual([b"H:1"], self.cancelled)
        self.assertEqual(GRAB, line.packets())
        job.send_data(b"late")
        self.assertEqual([], line.packets())

    def test_same_job_again(self) -> None:
        """The server may give a job whose time was up to the same worker, while the first try still runs."""
        worker = self.make_worker(concurrency=2)
        tries: list[Deferred[bytes]] = []

        waiting: list[Deferred[bytes]] = [Deferred(), Deferred()]

        async def ignores_cancel(job: WorkerJob) -> bytes:
            number = len(tries)
            tries.append(Deferred())
            with contextlib.suppress(CancelledError):
                await tries[number]
            return await waiting[number]

        worker.register("f", ignores_cancel, timeout=10)
        worker.startService()
        line = self.server.line
        line.welcome()
        self.assign(line, b"H:1")
        self.clock.advance(10)
        line.packets()
        self.assign(line, b"H:1")
        self.assertEqual([], line.packets())
        waiting[0].callback(b"first")
        self.assertEqual(GRAB, line.packets())
        tries[1].callback(b"")
        waiting[1].callback(b"second")
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"second"), *GRAB], line.packets())

    def test_same_job_too_early(self) -> None:
        """A server whose clock is faster gives it again before the first try's time is up here."""
        self.start(timeout=10, concurrency=2)
        line = self.server.line
        self.assign(line, b"H:1")
        self.clock.advance(5)
        self.assign(line, b"H:1")
        self.clock.advance(5)
        self.assertEqual([True, False], [job.gone for job in self.jobs])
        line.packets()
        self.results[1].callback(b"r")
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"r"), *GRAB], line.packets())

    def test_in_time(self) -> None:
        """A job that ends in time leaves no timer."""
        self.start(timeout=10)
        self.assign(self.server.line, b"H:1")
        self.results[0].callback(b"")
        self.clock.advance(11)
        self.assertEqual([], self.cancelled)

    def test_connection_lost(self) -> None:
        """Jobs are cancelled with their connection: the server gives them to others."""
        second = ScriptedServer(self.clock)
        self.start(self.server, second, concurrency=3)
        self.assign(self.server.line, b"H:1")
        self.assign(self.server.line, b"H:2")
        self.assign(second.line, b"T:1")
        self.server.line.lose(ConnectionLost())
        self.assertEqual([b"H:1", b"H:2"], self.cancelled)
        self.assertEqual([True, True, False], [job.gone for job in self.jobs])
        second.line.packets()
        self.results[2].callback(b"r")
        self.assertEqual([("WORK_COMPLETE", b"T:1", b"r")], second.line.packets()[:1])

    def test_error_of_its_own(self) -> None:
        """A job that raises something else on being cancelled is logged."""

        async def g(job: WorkerJob) -> None:
            try:
                await Deferred()
            finally:
                raise ZeroDivisionError

        self.assertEqual([], self.run_one(g))
        self.server.line.lose()
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))


class ThreadTests(WorkerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = self.thread_clock = ThreadClock()
        self.server = ScriptedServer(self.clock)

    def in_thread(self, call: Callable[[WorkerJob], Any], job: WorkerJob) -> Deferred[Any]:
        """Stands for a thread: the test calls the function, and ends it."""
        self.jobs.append(job)
        self.results.append(Deferred())
        return self.results[-1]

    def test_injected(self) -> None:
        """Whoever passes the threads runs blocking functions; what they send goes through the reactor."""

        def g(job: WorkerJob) -> bytes:
            job.send_data(b"d")
            return b"r"

        self.assertEqual([], self.run_one(g, blocking=True, worker={"in_thread": self.in_thread}))
        line = self.server.line
        result = g(self.jobs[0])
        self.assertEqual([], line.packets())
        self.thread_clock.call_next()
        self.results[0].callback(result)
        self.assertEqual(
            [("WORK_DATA", b"H:1", b"d"), ("WORK_COMPLETE", b"H:1", b"r"), *GRAB], line.packets()
        )

    def test_cannot_be_stopped(self) -> None:
        """A thread whose time is up keeps its room until it ends; its result is dropped."""
        self.assertEqual(
            [],
            self.run_one(
                partial(returning, None), blocking=True, timeout=5, worker={"in_thread": self.in_thread}
            ),
        )
        self.clock.advance(5)
        self.assertTrue(self.jobs[0].gone)
        line = self.server.line
        self.assertEqual([], line.packets())
        self.results[0].callback(b"late")
        self.assertEqual(GRAB, line.packets())

    def test_in_thread_raises(self) -> None:
        """Threads that cannot be had are an exception of the job's."""

        def none_left(call: object, job: WorkerJob) -> Deferred[Any]:
            raise RuntimeError("no thread")

        ((*_, text), _) = self.run_one(
            partial(returning, None), blocking=True, worker={"in_thread": none_left}
        )
        self.assertTrue(text.startswith(b"RuntimeError: no thread\nTraceback"), text)
        self.flushLoggedErrors(RuntimeError)

    def test_pool(self) -> None:
        """By default there is a pool of threads, of the worker's own."""
        threads: list[threading.Thread] = []

        def g(job: WorkerJob) -> bytes:
            threads.append(threading.current_thread())
            job.set_status(1, 2)
            return b"r"

        worker = self.make_worker()
        worker.register("g", g, blocking=True)
        worker.startService()
        line = self.server.line
        line.welcome()
        for handle in (b"H:1", b"H:2"):
            line.packets()
            self.assign(line, handle, function=b"g")
            packets: list[tuple[Any, ...]] = []
            while len(packets) < 3:
                self.thread_clock.call_next()
                packets += line.packets()
            self.assertEqual(
                [("WORK_STATUS", handle, b"1", b"2"), ("WORK_COMPLETE", handle, b"r"), *GRAB], packets
            )
        self.assertNotIn(threading.current_thread(), threads)
        line.send(NO_JOB)
        stopped = worker.stopService()
        self.clock.advance(0)
        self.successResultOf(stopped)
        for thread in threads:
            thread.join(30)
            self.assertFalse(thread.is_alive())

    def test_stop_with_busy_thread(self) -> None:
        """A thread that does not end keeps nobody from stopping, not even the process."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        threads: list[threading.Thread] = []

        def g(job: WorkerJob) -> None:
            threads.append(threading.current_thread())
            job.send_data(b"")
            gate.wait(30)

        worker = self.make_worker(stop_timeout=5)
        worker.register("g", g, blocking=True)
        worker.startService()
        self.server.line.welcome()
        self.assign(self.server.line, b"H:1", function=b"g")
        self.thread_clock.call_next()
        stopped = worker.stopService()
        self.clock.pump([5, 0])
        self.successResultOf(stopped)
        self.assertTrue(threads[0].daemon)
        gate.set()
        self.thread_clock.call_next()

"""
Tests for L{txgear.worker}, L{txgear.worker.connection} and L{txgear.worker.functions},
against servers that the tests play.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import Clock
from zope.interface import implementer

from txgear.errors import JobFailed, JobRaised
from txgear.protocol.constants import (
    CAN_DO,
    ECHO_RES,
    ERROR,
    JOB_ASSIGN,
    JOB_ASSIGN_ALL,
    JOB_ASSIGN_UNIQ,
    NO_JOB,
    NOOP,
)
from txgear.test.support.client import ScriptedConnection, ScriptedServer
from txgear.test.support.clock import ClockTestCase
from txgear.worker import Fail, Worker, WorkerJob

ASKED = ("OPTION_REQ", b"txgear-1")
"""What every server is asked first."""
GRAB = [("GRAB_JOB_ALL",)]


@implementer(IReactorFromThreads)
class ThreadClock(Clock):
    """
    A clock that threads can hand calls to.

    @ivar handed: what they handed over, to be called by the test.
    """

    def __init__(self) -> None:
        super().__init__()
        self.handed: queue.Queue[Callable[[], object]] = queue.Queue()

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        self.handed.put(lambda: callable(*args, **kwargs))

    def call_next(self) -> None:
        """Call what the next one in line has handed over."""
        self.handed.get(timeout=30)()


class WorkerTestCase(ClockTestCase):
    """A worker with one server, and functions whose jobs the test ends."""

    def setUp(self) -> None:
        super().setUp()
        self.server = ScriptedServer(self.clock)
        self.jobs: list[WorkerJob] = []
        self.results: list[Deferred[Any]] = []
        self.cancelled: list[bytes] = []

    def make_worker(self, *servers: ScriptedServer, **options: Any) -> Worker:
        worker = Worker(self.clock, servers or [self.server], random=lambda: 1.0, **options)

        def stop() -> None:
            stopped = worker.stopService()
            self.clock.pump([0, 1000, 0])
            self.successResultOf(stopped)

        self.addCleanup(stop)
        return worker

    def wait(self, job: WorkerJob) -> Deferred[Any]:
        """A function whose jobs last until the test ends them."""
        result: Deferred[Any] = Deferred(lambda _: self.cancelled.append(job.handle))
        self.jobs.append(job)
        self.results.append(result)
        return result

    def start(self, *servers: ScriptedServer, timeout: float | None = None, **options: Any) -> Worker:
        """A worker that is connected, has its one function registered, and has asked for a job."""
        worker = self.make_worker(*servers, **options)
        worker.register("f", self.wait, timeout=timeout)
        worker.startService()
        for server in servers or [self.server]:
            server.line.welcome()
        return worker

    def assign(
        self, line: ScriptedConnection, handle: bytes, workload: bytes = b"", function: bytes = b"f"
    ) -> None:
        """The answer to a grab."""
        line.send(JOB_ASSIGN_UNIQ, handle, function, b"", workload)

    def run_one(self, call: Callable[[WorkerJob], Any], **options: Any) -> list[tuple[Any, ...]]:
        """What a worker with this function answers to a job with the workload "work"."""
        worker = self.make_worker(**options.pop("worker", {}))
        worker.register("g", call, **options)
        worker.startService()
        line = self.server.line
        line.welcome()
        self.assertEqual(GRAB, line.packets())
        self.assign(line, b"H:1", b"work", b"g")
        return line.packets()


class RegistrationTests(WorkerTestCase):
    def test_greeting(self) -> None:
        """A worker tells its name and its functions, and asks for a job once the server has answered."""
        worker = self.make_worker(client_id="w1")

        @worker.function("reverse", timeout=30)
        def reverse(job: WorkerJob) -> bytes:
            return job.workload[::-1]

        @worker.function(b"plain")
        def plain(job: WorkerJob) -> None:
            """Does nothing."""

        self.assertEqual((b"cba", None), (reverse(mock_job(b"abc")), plain(mock_job(b""))))
        worker.startService()
        line = self.server.line
        self.assertEqual(
            [
                ("SET_CLIENT_ID", b"w1"),
                ASKED,
                ("CAN_DO_TIMEOUT", b"reverse", b"30000"),
                ("CAN_DO", b"plain"),
            ],
            line.welcome(),
        )
        self.assertEqual(GRAB, line.packets())

    def test_again_after_reconnect(self) -> None:
        """All is told again after a reconnect, with the wait between attempts."""
        self.start()
        self.server.line.lose()
        self.clock.advance(0.4)
        self.assertEqual(1, self.server.attempts)
        self.clock.advance(0.1)
        self.assertEqual([ASKED, ("CAN_DO", b"f")], self.server.line.welcome())
        self.assertEqual(GRAB, self.server.line.packets())

    def test_later(self) -> None:
        """A function that is registered later is told at once, and a sleeping worker asks for its jobs."""
        other = ScriptedServer(self.clock)
        worker = self.make_worker(self.server, other)
        worker.register("f", self.wait)
        other.refusing = True
        worker.startService()
        line = self.server.line
        line.welcome()
        line.packets()
        line.send(NO_JOB)
        self.assertEqual([("PRE_SLEEP",)], line.packets())
        worker.register("g", self.wait, timeout=1.5)
        self.assertEqual([("CAN_DO_TIMEOUT", b"g", b"1500"), *GRAB], line.packets())
        worker.register("h", self.wait)
        self.assertEqual([("CAN_DO", b"h")], line.packets())

    def test_refused_here(self) -> None:
        """What the protocol cannot carry, and what makes no sense, is refused."""
        worker = self.make_worker()
        worker.register("f", self.wait)
        wrong: list[tuple[str, dict[str, float]]] = [
            ("", {}),
            ("f", {}),
            ("g", {"timeout": 0}),
            ("g", {"timeout": -1}),
            ("g", {"timeout": 3e6}),
            ("g", {"timeout": float("nan")}),
        ]
        for name, options in wrong:
            self.assertRaises(ValueError, worker.register, name, self.wait, **options)
        self.assertRaises(ValueError, self.make_worker, concurrency=0)
        self.assertRaises(ValueError, self.make_worker, client_id="two words")


def returning(result: object, job: WorkerJob) -> object:
    """A function that returns what it is told to."""
    return result


def mock_job(workload: bytes) -> Any:
    """As much of a job as a function of bytes to bytes needs."""

    class Workload:
        def __init__(self) -> None:
            self.workload = workload

    return Workload()


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
        """Anything else that is returned is an error, which is told and logged."""
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
        """Anything else that is raised is told as text, and nothing after it; the log has all of it."""

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


class GrabTests(WorkerTestCase):
    def test_sleep_and_wake(self) -> None:
        """Without a job the worker sleeps, and asks again when woken."""
        self.start()
        line = self.server.line
        self.assertEqual(GRAB, line.packets())
        line.send(NOOP)
        line.send(NO_JOB)
        self.assertEqual([("PRE_SLEEP",)], line.packets())
        line.send(NOOP)
        self.assertEqual(GRAB, line.packets())

    def test_concurrency(self) -> None:
        """A worker asks for as many jobs as it may run, and no more until one has ended."""
        self.start(concurrency=2)
        line = self.server.line
        self.assign(line, b"H:1")
        self.assertEqual(GRAB + GRAB, line.packets())
        self.assign(line, b"H:2")
        self.assertEqual([], line.packets())
        line.send(NOOP)
        self.assertEqual([], line.packets())
        self.results[0].callback(b"")
        self.assertEqual([("WORK_COMPLETE", b"H:1", b""), *GRAB], line.packets())

    def test_full_when_woken(self) -> None:
        """A wake-up that finds no room is remembered."""
        second = ScriptedServer(self.clock)
        self.start(self.server, second)
        one, two = self.server.line, second.line
        self.assertEqual((GRAB, []), (one.packets(), two.packets()))
        one.send(NO_JOB)
        self.assertEqual(([("PRE_SLEEP",)], GRAB), (one.packets(), two.packets()))
        self.assign(two, b"H:1")
        one.send(NOOP)
        self.assertEqual(([], []), (one.packets(), two.packets()))
        self.results[0].callback(b"")
        self.assertEqual((GRAB, [("WORK_COMPLETE", b"H:1", b"")]), (one.packets(), two.packets()))

    def test_fair(self) -> None:
        """Servers that all have jobs are asked in turn."""
        second = ScriptedServer(self.clock)
        self.start(self.server, second)
        lines = [self.server.line, second.line]
        for n in range(6):
            first, other = lines[n % 2], lines[1 - n % 2]
            self.assertIn(GRAB[0], first.packets())
            self.assertNotIn(GRAB[0], other.packets())
            self.assign(first, b"H:%d" % n)
            self.results[-1].callback(b"")

    def test_all_servers_at_once(self) -> None:
        """With room for more, all servers are asked at once; with a dead one, the others are."""
        second, third = ScriptedServer(self.clock), ScriptedServer(self.clock)
        third.refusing = True
        worker = self.make_worker(self.server, second, third, concurrency=3)
        worker.register("f", self.wait)
        worker.startService()
        for server in (self.server, second):
            server.line.welcome()
            self.assertEqual(GRAB, server.line.packets())

    def test_dead_server(self) -> None:
        """
        A server that does not answer the grab keeps its claim to the room for a
        second; then another is asked. If both give jobs after all, the second waits.
        """
        second = ScriptedServer(self.clock)
        self.start(self.server, second)
        one, two = self.server.line, second.line
        one.packets()
        self.clock.advance(0.9)
        self.assertEqual([], two.packets())
        self.clock.advance(0.1)
        self.assertEqual(([], GRAB), (one.packets(), two.packets()))
        self.assign(two, b"T:1")
        self.assign(one, b"H:1")
        self.assertEqual([b"T:1"], [job.handle for job in self.jobs])
        self.results[0].callback(b"")
        self.assertEqual([b"T:1", b"H:1"], [job.handle for job in self.jobs])
        self.assertEqual(([], [("WORK_COMPLETE", b"T:1", b"")]), (one.packets(), two.packets()))

    def test_a_pause_of_our_own(self) -> None:
        """After a function that blocked a server is not late with its answer: that may lie in the socket."""
        others = [ScriptedServer(self.clock, name) for name in ("two", "three")]
        worker = self.start(self.server, *others, concurrency=2)

        def block(job: WorkerJob) -> None:
            self.clock.rightNow += 3

        worker.register("block", block)
        lines = [server.line for server in (self.server, *others)]
        for line in lines:
            line.packets()
        self.assign(lines[0], b"H:1", function=b"block")
        asked = [packet for line in lines for packet in line.packets() if packet == GRAB[0]]
        self.assertEqual(1, len(asked))
        self.assign(lines[1], b"T:1")
        self.clock.advance(0)
        self.assertEqual([b"T:1"], [job.handle for job in self.jobs])

    def test_held_job_is_lost(self) -> None:
        """A job that waits for room is given up with its connection."""
        second = ScriptedServer(self.clock)
        self.start(self.server, second)
        self.clock.advance(1)
        self.assign(second.line, b"T:1")
        self.assign(self.server.line, b"H:1")
        self.server.line.lose()
        self.results[0].callback(b"")
        self.assertEqual([b"T:1"], [job.handle for job in self.jobs])

    def test_grab_timer_is_one(self) -> None:
        """Several servers that wait for one do so with one timer."""
        servers = [ScriptedServer(self.clock) for _ in range(3)]
        self.start(*servers)
        before = len(self.clock.getDelayedCalls())
        servers[0].line.send(NOOP)
        self.assertEqual(before, len(self.clock.getDelayedCalls()))

    def test_older_servers(self) -> None:
        """A server that refuses a grab is asked as older workers do, also after a reconnect."""
        self.start()
        line = self.server.line
        self.assertEqual(GRAB, line.packets())
        line.send(ERROR, b"INVALID_COMMAND", b"Command not expected")
        self.assertEqual([("GRAB_JOB_UNIQ",)], line.packets())
        line.lose()
        self.clock.advance(0.5)
        line = self.server.line
        line.welcome()
        self.assertEqual([("GRAB_JOB_UNIQ",)], line.packets())
        line.send(ERROR, b"unknown_command", b"")
        self.assertEqual([("GRAB_JOB",)], line.packets())
        line.send(JOB_ASSIGN, b"H:1", b"f", b"w")
        self.assertEqual(b"w", self.jobs[0].workload)

    def test_gives_no_jobs(self) -> None:
        """One that refuses all of them is left, and tried again later."""
        self.start()
        line = self.server.line
        for _ in range(3):
            self.assertFalse(line.ended)
            line.send(ERROR, b"INVALID_COMMAND", b"Command not expected")
        self.assertTrue(line.ended)
        self.clock.pump([0, 0.5])
        self.assertEqual(2, self.server.attempts)

    def test_silent_older_server(self) -> None:
        """A live server that leaves a grab unanswered does not know it: next time it is asked otherwise."""
        self.start()
        line = self.server.line
        for _ in range(6):
            self.clock.advance(10)
            line.send(ECHO_RES, b"")
        self.assertTrue(line.ended)
        self.clock.pump([0, 0.5])
        self.server.line.welcome()
        self.assertEqual([("GRAB_JOB_UNIQ",)], self.server.line.packets())

    def test_not_asked(self) -> None:
        """A server that gives what it was not asked for is dropped."""
        self.start()
        line = self.server.line
        line.send(NO_JOB)
        line.send(NO_JOB)
        self.assertTrue(line.ended)

    def test_half_open(self) -> None:
        """A sleeping worker notices a dead server by its silence."""
        self.start()
        line = self.server.line
        line.packets()
        line.send(NO_JOB)
        self.clock.advance(30)
        self.assertEqual(["PRE_SLEEP", "ECHO_REQ"], [packet[0] for packet in line.packets()])
        self.clock.advance(30)
        self.assertTrue(line.ended)
        self.clock.pump([0, 0.5])
        self.assertEqual(2, self.server.attempts)

    def test_others(self) -> None:
        """What means nothing to a worker is passed over."""
        self.start()
        self.server.line.send(CAN_DO, b"x")
        self.assertFalse(self.server.line.ended)


class GivenUpTests(WorkerTestCase):
    def test_timeout(self) -> None:
        """A job whose time is up is cancelled; nothing is told, and there is room for the next."""
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
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"second")], line.packets())

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
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"r")], line.packets())

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
        self.assertEqual(b"RuntimeError: no thread", text)
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
            self.thread_clock.call_next()
            self.thread_clock.call_next()
            self.assertEqual(
                [("WORK_STATUS", handle, b"1", b"2"), ("WORK_COMPLETE", handle, b"r"), *GRAB], line.packets()
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


class StopTests(WorkerTestCase):
    def test_never_started(self) -> None:
        """A worker that never started stops at once."""
        self.successResultOf(self.make_worker().stopService())

    def test_idle(self) -> None:
        """A sleeping worker leaves at once, and says nothing."""
        worker = self.start()
        line = self.server.line
        line.send(NO_JOB)
        line.packets()
        stopped = worker.stopService()
        self.assertTrue(line.ended)
        self.assertNoResult(stopped)
        self.clock.advance(0)
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual([], line.packets())
        self.clock.advance(60)
        self.assertEqual(1, self.server.attempts)

    def test_finishes(self) -> None:
        """What runs is finished, and its result leaves; nothing more is asked for."""
        worker = self.start(concurrency=2)
        line = self.server.line
        self.assign(line, b"H:1")
        line.send(NO_JOB)
        line.packets()
        stopped = worker.stopService()
        again = worker.stopService()
        line.send(NOOP)
        self.clock.advance(59)
        line.send(ECHO_RES, b"")
        self.assertNoResult(stopped)
        line.packets()
        self.results[0].callback(b"r")
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"r")], line.packets())
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.successResultOf(again)

    def test_grab_under_way(self) -> None:
        """A grab that is under way is waited for, and the job that it brings is run."""
        worker = self.start()
        line = self.server.line
        stopped = worker.stopService()
        self.assertFalse(line.ended)
        self.assign(line, b"H:1")
        line.packets()
        self.results[0].callback(b"r")
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"r")], line.packets())
        self.clock.advance(0)
        self.successResultOf(stopped)

    def test_grab_without_job(self) -> None:
        """If it brings none, the worker leaves."""
        worker = self.start()
        stopped = worker.stopService()
        self.server.line.send(NO_JOB)
        self.clock.advance(0)
        self.successResultOf(stopped)

    def test_deadline(self) -> None:
        """What has not ended by then is given up, and the connection ended."""
        worker = self.start(stop_timeout=20)
        line = self.server.line
        self.assign(line, b"H:1")
        stopped = worker.stopService()
        self.clock.advance(19.9)
        self.assertEqual([], self.cancelled)
        self.clock.pump([0.1, 0])
        self.assertEqual([b"H:1"], self.cancelled)
        self.assertTrue(line.transport.disconnected)
        self.successResultOf(stopped)

    def test_not_connected(self) -> None:
        """Servers that cannot be reached keep nobody from stopping."""
        second, third = ScriptedServer(self.clock), ScriptedServer(self.clock)
        self.server.refusing = second.hanging = True
        worker = self.make_worker(self.server, second, third, stop_timeout=1)
        worker.startService()
        stopped = worker.stopService()
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(1, second.given_up)

    def test_deadline_with_a_server_that_went(self) -> None:
        """At the deadline a server that never was connected is no trouble."""
        second = ScriptedServer(self.clock)
        worker = self.start(self.server, second, stop_timeout=1, concurrency=2)
        self.assign(self.server.line, b"H:1")
        self.assign(second.line, b"T:1")
        stopped = worker.stopService()
        second.line.lose()
        self.clock.advance(0)
        self.assertNoResult(stopped)
        self.clock.pump([1, 0])
        self.successResultOf(stopped)

    def test_lost_while_stopping(self) -> None:
        """A connection that breaks while the worker stops is not made again."""
        worker = self.start()
        self.assign(self.server.line, b"H:1")
        stopped = worker.stopService()
        self.server.line.lose()
        self.successResultOf(stopped)
        self.assertEqual(1, self.server.attempts)

    def test_cancel(self) -> None:
        """Cancelling the wait changes nothing about the stopping."""
        worker = self.start()
        self.assign(self.server.line, b"H:1")
        stopped = worker.stopService()
        stopped.cancel()
        self.failureResultOf(stopped, CancelledError)
        self.results[0].callback(b"")
        self.assertTrue(self.server.line.ended)

    def test_start_again(self) -> None:
        """A worker that has stopped can be started again."""
        worker = self.start()
        self.server.line.send(NO_JOB)
        worker.startService()
        self.assertEqual(1, self.server.attempts)
        stopped = worker.stopService()
        self.clock.advance(0)
        self.successResultOf(stopped)
        worker.startService()
        self.assertEqual([ASKED, ("CAN_DO", b"f")], self.server.line.welcome())
        self.assertEqual(2, self.server.attempts)


class PartitionTests(WorkerTestCase):
    """Jobs that are cut into parts."""

    def setUp(self) -> None:
        super().setUp()
        self.parts: list[tuple[bytes, bytes]] = []
        self.given_up: list[bytes] = []

    def run(self, *arguments: Any) -> Any:
        """Both trial's, and what a client does with a part."""
        if len(arguments) != 2:
            return super().run(*arguments)
        self.parts.append((arguments[0], arguments[1]))
        self.results.append(Deferred(lambda _: self.given_up.append(arguments[1])))
        return self.results[-1]

    def partitioned(self, reducer: bytes) -> ScriptedConnection:
        worker = self.make_worker()

        @worker.partition("count", self, aggregate=b"+".join)
        def split(job: WorkerJob) -> list[str]:
            return job.workload.decode().split()

        worker.startService()
        line = self.server.line
        self.assertEqual([ASKED, ("CAN_DO", b"count")], line.welcome())
        line.packets()
        line.send(JOB_ASSIGN_ALL, b"H:1", b"count", b"", reducer, b"a b c")
        return line

    def test_aggregate(self) -> None:
        """Each part is a job of the reducer; their results are put together in the order of the parts."""
        line = self.partitioned(b"len")
        self.assertEqual([(b"len", b"a"), (b"len", b"b"), (b"len", b"c")], self.parts)
        for n in (2, 0, 1):
            self.assertEqual([], line.packets())
            self.results[n].callback(b"%d" % n)
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"0+1+2"), *GRAB], line.packets())

    def test_no_reducer(self) -> None:
        """Without a reducer the parts themselves are sent as data, as libgearman does."""
        line = self.partitioned(b"")
        self.assertEqual(
            [("WORK_DATA", b"H:1", part) for part in (b"a", b"b", b"c")]
            + [("WORK_COMPLETE", b"H:1", b""), *GRAB],
            line.packets(),
        )
        self.assertEqual([], self.parts)

    def test_part_fails(self) -> None:
        """If a part fails, the job does, and the others are waited for no more."""
        for error, text in (
            (JobFailed("the job failed", b"H:7"), b"JobFailed: the job failed"),
            (JobRaised(b"ValueError: b", b"H:7"), b"JobRaised: ValueError: b"),
        ):
            self.results.clear()
            self.given_up.clear()
            line = self.partitioned(b"len")
            self.results[1].errback(error)
            self.assertEqual([("WORK_EXCEPTION", b"H:1", text), *GRAB], line.packets())
            self.assertEqual([b"a", b"c"], self.given_up)
        self.assertEqual(2, len(self.flushLoggedErrors(JobFailed)))

    def test_given_up(self) -> None:
        """If the job is given up, so is the waiting for its parts."""
        line = self.partitioned(b"len")
        line.lose()
        self.assertEqual([b"a", b"b", b"c"], self.given_up)

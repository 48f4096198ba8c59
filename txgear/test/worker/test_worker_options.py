"""
Tests for what L{txgear.worker} does at this project's own servers: it knows its
attempt, beats, and lets go of what is taken back; against servers that the tests play.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import capturedLogs, formatEvent

from txgear.protocol.constants import (
    ECHO_RES,
    ERROR,
    JOB_ASSIGN_ALL,
    JOB_ASSIGN_OPTIONS,
    JOB_ASSIGN_UNIQ,
    JOB_WITHDRAWN,
    NO_JOB,
    NOOP,
    OPTION_RES,
)
from txgear.protocol.traces import Trace
from txgear.test.support.client import (
    STATE,
    ScriptedConnection,
    ScriptedServer,
    ThreadClock,
    WorkerTestCase,
)
from txgear.worker import Worker, WorkerJob

GRAB = ("GRAB_JOB_OPTIONS",)
BEAT = ("WORK_BEAT", b"H:1")
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PLAIN = b'{"attempt":1,"lease":0,"timeout":0}'
LEASED = b'{"attempt":2,"lease":30,"timeout":90.5}'


class OptionsTestCase(WorkerTestCase):
    """A worker at servers that have granted the extension."""

    def start(self, *servers: ScriptedServer, timeout: float | None = None, **options: object) -> Worker:
        worker = self.make_worker(*servers, **options)
        worker.register("f", self.wait, timeout=timeout)
        worker.startService()
        for server in servers or [self.server]:
            self.grant(server.line)
        return worker

    def grant(self, line: ScriptedConnection) -> None:
        line.send(OPTION_RES, b"txgear-1")
        line.welcome()
        self.assertEqual([STATE, GRAB], line.packets())

    def assign_options(
        self, options: bytes = LEASED, handle: bytes = b"H:1", line: ScriptedConnection | None = None
    ) -> None:
        (line or self.server.line).send(JOB_ASSIGN_OPTIONS, handle, b"f", b"u", b"red", options, b"wo\0rk")

    def beats(self, seconds: float) -> list[float]:
        """The seconds after which beats came; nothing else does, but how the worker is."""
        came: list[float] = []
        for second in range(1, int(seconds) + 1):
            self.clock.advance(1)
            for packet in self.server.line.packets():
                if packet == BEAT:
                    came.append(second)
                elif packet != STATE:
                    self.assertEqual("ECHO_REQ", packet[0])
                    self.server.line.send(ECHO_RES, packet[1])
        return came


class GrabTests(OptionsTestCase):
    def test_what_the_job_shows(self) -> None:
        self.start()
        self.assign_options()
        (job,) = self.jobs
        self.assertEqual(
            (b"H:1", b"f", b"u", b"red", b"wo\0rk", 2, 30.0, 90.5),
            (
                job.handle,
                job.function,
                job.unique,
                job.reducer,
                job.workload,
                job.attempt,
                job.lease,
                job.timeout,
            ),
        )

    def test_what_it_shows_where_the_server_does_not_tell(self) -> None:
        self.start()
        self.assign_options(b"{}")
        self.results[0].callback(None)
        self.server.line.send(JOB_ASSIGN_ALL, b"H:2", b"f", b"u", b"red", b"w")
        for job in self.jobs:
            self.assertEqual((0, 0.0, 0.0), (job.attempt, job.lease, job.timeout))

    def test_a_trace(self) -> None:
        """Any number of jobs may have one each."""
        self.start()
        for number, trace in enumerate((Trace(PARENT), Trace(PARENT[:-1] + "0", "a=1"))):
            options = b'{"attempt":1,"lease":0,"timeout":0,"trace":%s}' % trace.to_bytes()
            self.assign_options(options)
            self.assertEqual((trace, 1), (self.jobs[number].trace, self.jobs[number].attempt))
            self.results[number].callback(None)
        self.assign_options(PLAIN)
        self.assertIsNone(self.jobs[2].trace)

    def test_a_trace_that_is_none(self) -> None:
        """The job is done all the same."""
        self.start()
        for number, trace in enumerate((b"7", b"{}", b'{"traceparent":"x"}', b'"00-"')):
            self.assign_options(b'{"attempt":3,"trace":%s}' % trace)
            self.assertEqual((None, 3), (self.jobs[number].trace, self.jobs[number].attempt))
            self.results[number].callback(None)

    def test_classic_server(self) -> None:
        """Its refusal is harmless, before the worker is ready and after."""
        worker = self.make_worker()
        worker.register("f", self.wait)
        worker.startService()
        line = self.server.line
        line.send(ERROR, b"UNKNOWN_OPTION", b"Server does not recognize given option")
        line.welcome()
        self.assertEqual([("GRAB_JOB_ALL",)], line.packets())
        line.send(JOB_ASSIGN_UNIQ, b"H:1", b"f", b"", b"")
        self.results[0].callback(None)
        self.assertEqual([("WORK_COMPLETE", b"H:1", b""), ("GRAB_JOB_ALL",)], line.packets())

    def test_other_options_mean_nothing(self) -> None:
        worker = self.make_worker()
        worker.register("f", self.wait)
        worker.startService()
        self.server.line.send(OPTION_RES, b"exceptions")
        self.server.line.welcome()
        self.assertEqual([("GRAB_JOB_ALL",)], self.server.line.packets())

    def test_each_server_for_itself(self) -> None:
        """One grants it, the other does not."""
        other = ScriptedServer(self.clock, "other")
        worker = self.make_worker(self.server, other, concurrency=2)
        worker.register("f", self.wait)
        worker.startService()
        self.grant(self.server.line)
        other.line.welcome()
        self.assertEqual([("GRAB_JOB_ALL",)], other.line.packets())

    def test_no_job(self) -> None:
        self.start()
        line = self.server.line
        line.send(NO_JOB)
        self.assertEqual([("PRE_SLEEP",)], line.packets())
        line.send(NOOP)
        self.assertEqual([GRAB], line.packets())

    def test_not_asked(self) -> None:
        """A job that nobody has asked for ends the connection, as with the other kinds."""
        self.start()
        self.server.line.send(NO_JOB)
        self.assign_options()
        self.assertTrue(self.server.line.ended)
        self.assertEqual([], self.jobs)

    def test_options_that_cannot_be_read(self) -> None:
        for options in (
            b"",
            b"[]",
            b"{",
            b'{"lease":"30"}',
            b'{"lease":-1}',
            b'{"attempt":NaN}',
            b'{"timeout":1%s}' % (b"0" * 400),
            b"[" * 5000,
        ):
            self.server = ScriptedServer(self.clock)
            self.start(self.server)
            self.assign_options(options)
            self.assertTrue(self.server.line.ended, options)
            self.assertEqual([], self.jobs)


class BeatTests(OptionsTestCase):
    def test_a_third_of_the_lease(self) -> None:
        """As long as the job has not ended, and no longer."""
        self.start()
        self.assign_options()
        self.assertEqual([10, 20, 30, 40], self.beats(45))
        self.results[0].callback(b"r")
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"r"), GRAB], self.server.line.packets())
        self.assertEqual([], self.beats(50))

    def test_no_lease(self) -> None:
        self.start()
        self.assign_options(PLAIN)
        self.assertEqual([], self.beats(100))

    def test_a_tiny_lease(self) -> None:
        """It costs no more than ten packets a second."""
        self.start()
        self.assign_options(b'{"lease":0.000001}')
        for _ in range(100):
            self.clock.advance(0.01)
        self.assertLess(len(self.server.line.packets()), 11)

    def test_ended_at_once(self) -> None:
        """There is nothing to beat for, however it has ended."""
        worker = self.make_worker()
        for name, call in {
            "done": lambda job: succeed(None),
            "raised": lambda job: fail(ValueError()),
        }.items():
            worker.register(name, call)
        worker.startService()
        line = self.server.line
        self.grant(line)
        for function in (b"done", b"raised", b"unknown"):
            line.send(JOB_ASSIGN_OPTIONS, b"H:1", function, b"", b"", LEASED, b"")
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))
        line.packets()
        self.assertEqual([], self.beats(40))

    def test_while_it_waits_for_room(self) -> None:
        """The server counts from when it gave the job, whatever keeps the worker from it."""
        other = ScriptedServer(self.clock, "other")
        worker = self.make_worker(self.server, other)
        worker.register("f", self.wait)
        worker.startService()
        self.grant(self.server.line)
        other.line.send(OPTION_RES, b"txgear-1")
        other.line.welcome()
        self.assertEqual([STATE], other.line.packets())
        self.clock.advance(1)
        self.assertEqual([GRAB], other.line.packets())
        self.assign_options(PLAIN, b"H:9", other.line)
        self.assign_options()
        self.assertEqual(1, len(self.jobs))
        self.assertEqual([10, 20], self.beats(25))
        self.server.line.send(JOB_WITHDRAWN, b"H:1", b"cancelled")
        self.assertEqual([], self.beats(25))
        self.results[0].callback(None)
        self.assertEqual(1, len(self.jobs))

    def test_a_thread(self) -> None:
        """A function that blocks in a thread does not keep its worker from beating."""
        self.clock = ThreadClock()
        self.server = ScriptedServer(self.clock)
        blocked: list[Deferred[bytes]] = []

        def in_thread(call: object, job: WorkerJob) -> Deferred[bytes]:
            blocked.append(Deferred())
            return blocked[-1]

        worker = self.make_worker(in_thread=in_thread)
        worker.register("f", self.wait, blocking=True)
        worker.startService()
        self.grant(self.server.line)
        self.assign_options()
        self.assertEqual([10, 20, 30], self.beats(35))
        blocked[0].callback(b"r")
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"r"), GRAB], self.server.line.packets())
        self.assertEqual([], self.beats(30))

    def test_the_connection_is_lost(self) -> None:
        self.start()
        self.assign_options()
        self.server.line.lose()
        self.assertEqual([b"H:1"], self.cancelled)
        self.clock.advance(60)
        self.assertEqual([], self.server.lines[0].packets())

    def test_overdue_here(self) -> None:
        """A job that the worker itself has given up needs no beats."""
        self.start(timeout=15)
        self.assign_options()
        self.assertEqual([10], self.beats(14))
        self.clock.advance(1)
        self.assertEqual([b"H:1"], self.cancelled)
        self.server.line.packets()
        self.assertEqual([], self.beats(40))


class WithdrawnTests(OptionsTestCase):
    def test_withdrawn(self) -> None:
        """The job's Deferred is cancelled, nothing more is sent for it, and there is room for another."""
        self.start()
        self.assign_options()
        (job,) = self.jobs
        with capturedLogs() as events:
            self.server.line.send(JOB_WITHDRAWN, b"H:1", b"timeout")
        self.assertIn("server takes back job H:1 of f: timeout", [formatEvent(event) for event in events])
        self.assertEqual([b"H:1"], self.cancelled)
        self.assertTrue(job.gone)
        self.assertEqual([GRAB], self.server.line.packets())
        job.send_data(b"late")
        job.set_status(1, 2)
        self.assertEqual([], self.beats(40))

    def test_a_thread_goes_on(self) -> None:
        """It cannot be stopped; what it returns is dropped, and until then there is no room."""
        blocked: Deferred[bytes] = Deferred()
        worker = self.make_worker(in_thread=lambda call, job: blocked)
        worker.register("f", self.wait, blocking=True)
        worker.startService()
        line = self.server.line
        self.grant(line)
        self.assign_options()
        line.send(JOB_WITHDRAWN, b"H:1", b"cancelled")
        self.assertEqual([], self.beats(40))
        blocked.callback(b"late")
        self.assertEqual([GRAB], line.packets())

    def test_nothing_of_ours(self) -> None:
        """A job that has just ended, or never was: its result and the server's word have crossed."""
        self.start()
        self.assign_options()
        self.results[0].callback(b"r")
        line = self.server.line
        line.packets()
        line.send(JOB_WITHDRAWN, b"H:1", b"silent")
        line.send(ERROR, b"JOB_NOT_FOUND", b"Job given in work result not found")
        self.assertFalse(line.ended)
        self.assertEqual([], line.packets())

    def test_given_again(self) -> None:
        """The same job may come back to the same worker, as another attempt."""
        self.start()
        self.assign_options()
        self.server.line.send(JOB_WITHDRAWN, b"H:1", b"silent")
        self.assign_options(b'{"attempt":3,"lease":30,"timeout":0}')
        first, second = self.jobs
        self.assertEqual((True, False, 3), (first.gone, second.gone, second.attempt))
        self.server.line.packets()
        self.assertEqual([10, 20], self.beats(25))

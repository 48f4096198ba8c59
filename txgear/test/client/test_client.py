"""
Tests for L{txgear.client}, L{txgear.client.connection} and L{txgear.client.requests},
against servers that the tests play.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost

from txgear.client import Client, ClientJob, JobStatus, Outcome, Task
from txgear.client import connection as _clientconnection
from txgear.client.requests import Request, Single
from txgear.client.submission import BackgroundSubmit, submission
from txgear.errors import (
    InvalidCommand,
    JobFailed,
    JobLost,
    JobRaised,
    JobTimeout,
    NotConnected,
    QueueError,
    ServerError,
)
from txgear.protocol.constants import (
    ECHO_RES,
    ERROR,
    HIGH,
    JOB_CREATED,
    LOW,
    NOOP,
    NORMAL,
    OPTION_RES,
    STATUS_RES,
    STATUS_RES_UNIQUE,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
    WORK_WARNING,
)
from txgear.test.support.client import ScriptedConnection, ScriptedServer
from txgear.test.support.clock import ClockTestCase


class ClientTestCase(ClockTestCase):
    """A client with one server, and a way to end it."""

    def setUp(self) -> None:
        super().setUp()
        self.server = ScriptedServer(self.clock)
        self.client = self.make_client([self.server])

    def make_client(self, servers: list[ScriptedServer], **options: Any) -> Client:
        client = Client(self.clock, servers, random=lambda: 1.0, **options)

        def close() -> None:
            closed = client.close()
            self.clock.advance(0)
            self.successResultOf(closed)

        self.addCleanup(close)
        return client

    def connect(self, *requests: object) -> ScriptedConnection:
        """Let the client connect, and pass over its greeting."""
        self.server.line.welcome()
        return self.server.line

    def submitted(
        self, *arguments: Any, handle: bytes = b"H:1", **options: Any
    ) -> tuple[ClientJob, ScriptedConnection]:
        """A job that the server has taken."""
        job = self.client.submit(*arguments, **options)
        if len(self.server.lines) == 1 and not self.server.line.protocol.ready:
            self.connect()
        self.server.line.packets()
        self.server.line.send(JOB_CREATED, handle)
        return job, self.server.line


class ConnectingTests(ClientTestCase):
    def test_lazy(self) -> None:
        """A client connects when it is first asked for something, and not before."""
        self.assertEqual(0, self.server.attempts)
        self.client.submit("f")
        self.assertEqual(1, self.server.attempts)
        self.client.submit("f")
        self.assertEqual(1, self.server.attempts)

    def test_greeting(self) -> None:
        """It asks for exceptions and an echo; requests wait for that, and leave in order, in one write."""
        self.client.submit("first", b"1")
        self.client.submit("second", b"2")
        line = self.server.line
        self.assertEqual([("OPTION_REQ", b"exceptions")], line.welcome())
        self.assertEqual(
            [("SUBMIT_JOB", b"first", b"", b"1"), ("SUBMIT_JOB", b"second", b"", b"2")], line.packets()
        )

    def test_client_id(self) -> None:
        """A client that has a name tells it."""
        client = self.make_client([self.server], client_id="billing")
        client.submit("f")
        self.assertEqual(
            [("OPTION_REQ", b"exceptions"), ("SET_CLIENT_ID", b"billing")], self.server.line.welcome()
        )

    def test_options_answer(self) -> None:
        """The option's answer is not one to a request, be it good or an error."""
        job = self.client.submit("f")
        line = self.server.line
        line.send(ERROR, b"UNKNOWN_OPTION", b"Server does not recognize given option")
        line.welcome()
        line.send(OPTION_RES, b"exceptions")
        line.send(JOB_CREATED, b"H:1")
        self.assertEqual(b"H:1", job.handle)

    def test_error_without_request(self) -> None:
        """An error that no request can have caused is passed over."""
        job, line = self.submitted("f")
        line.send(ERROR, b"QUEUE_ERROR", b"")
        line.send(WORK_COMPLETE, b"H:1", b"done")
        self.assertEqual(b"done", self.successResultOf(job.result))

    def test_refused_then_next(self) -> None:
        """Where one server refuses, the next one is tried at once."""
        second = ScriptedServer(self.clock)
        self.server.refusing = True
        client = self.make_client([self.server, second])
        client.submit("f")
        self.clock.advance(0)
        second.line.welcome()
        self.assertEqual([("SUBMIT_JOB", b"f", b"", b"")], second.line.packets())

    def test_hanging_then_next(self) -> None:
        """A server that never takes the connection is given up after ten seconds."""
        second = ScriptedServer(self.clock)
        self.server.hanging = True
        client = self.make_client([self.server, second])
        client.submit("f")
        self.clock.advance(9.9)
        self.assertEqual(0, second.attempts)
        self.clock.advance(0.2)
        self.assertEqual((1, 1), (self.server.given_up, second.attempts))

    def test_silent_then_next(self) -> None:
        """A server that takes the connection and says nothing is given up after ten seconds."""
        second = ScriptedServer(self.clock)
        client = self.make_client([self.server, second])
        client.submit("f")
        self.clock.advance(10)
        self.clock.pump([0, 0])
        self.assertTrue(self.server.line.ended)
        second.line.welcome()
        self.assertEqual([("SUBMIT_JOB", b"f", b"", b"")], second.line.packets())

    def test_sticks(self) -> None:
        """A client stays with the server that answered, and goes to the next when it is lost."""
        second = ScriptedServer(self.clock)
        client = self.make_client([self.server, second])
        client.submit("f")
        self.server.line.welcome()
        client.submit("g")
        self.assertEqual(0, second.attempts)
        self.server.line.lose()
        self.clock.advance(0)
        second.line.welcome()
        self.assertEqual((1, 1), (self.server.attempts, second.attempts))

    def test_reconnects(self) -> None:
        """A lost connection is made again without being asked for, longer waits between attempts."""
        self.client.submit("f")
        self.connect()
        self.server.line.lose()
        self.server.refusing = True
        moments = []
        for _ in range(4000):
            before = self.server.attempts
            self.clock.advance(0.01)
            if self.server.attempts > before:
                moments.append(round(self.clock.seconds(), 1))
        self.assertEqual([0.5, 1.5, 3.5, 7.5, 15.5, 25.5, 35.5], moments)

    def test_not_connected(self) -> None:
        """A request that finds no server for too long fails, and was never sent."""
        self.server.refusing = True
        job = self.client.submit("f")
        background = self.client.submit_background("f")
        self.clock.pump([1] * 30)
        for waiter in (job.result, job.created, background):
            error = self.failureResultOf(waiter, NotConnected).value
            self.assertEqual(
                "no server could be reached within 30 seconds; server: Connection was refused by other side.",
                str(error),
            )
        self.server.refusing = False
        self.clock.pump([1] * 11)
        self.connect()
        self.assertEqual([], self.server.line.packets())

    def test_why_not_connected(self) -> None:
        """The error tells what was the matter with the last server that was tried."""
        client = self.make_client([self.server], connect_timeout=11)
        result = client.run("f")
        self.clock.pump([10, 0, 1])
        error = self.failureResultOf(result, NotConnected).value
        self.assertIn("; server: it did not answer within 10 seconds", str(error))
        self.server.hanging = True
        client = self.make_client([self.server], connect_timeout=5)
        result = client.run("f")
        self.clock.advance(5)
        error = self.failureResultOf(result, NotConnected).value
        self.assertEqual("no server could be reached within 5 seconds", str(error))

    def test_no_request_on_a_closing_connection(self) -> None:
        """What is asked after a connection was given up, but before it has gone, goes to the next one."""
        _, line = self.submitted("f")
        line.send(STATUS_RES, b"H:1", b"1", b"1", b"0", b"0")
        self.assertTrue(line.ended)
        job = self.client.submit("g")
        self.clock.pump([0, 1])
        self.connect()
        self.assertEqual([("SUBMIT_JOB", b"g", b"", b"")], self.server.line.packets())
        self.assertFalse(job.finished)


class JobTests(ClientTestCase):
    def test_result(self) -> None:
        """A job's result is what the worker returned; each look gives a Deferred of its own."""
        job, line = self.submitted("reverse", b"abc", handle=b"H:7")
        first, second = job.result, job.result
        _ = first.addCallback(len)
        self.assertEqual(b"H:7", self.successResultOf(job.created))
        self.assertNoResult(first)
        line.send(WORK_COMPLETE, b"H:7", b"cba")
        self.assertEqual(3, self.successResultOf(first))
        self.assertEqual(b"cba", self.successResultOf(second))
        self.assertEqual(b"cba", self.successResultOf(job.result))
        self.assertEqual((b"reverse", b"", b"H:7"), (job.function, job.unique, job.handle))

    def test_await(self) -> None:
        """Jobs and requests can be awaited."""
        handles = []

        async def work() -> bytes:
            job = self.client.submit("f")
            handles.append(await job.created)
            return await job.result

        result = Deferred.fromCoroutine(work())
        self.connect().send(JOB_CREATED, b"H:1")
        self.assertEqual([b"H:1"], handles)
        self.server.line.send(WORK_COMPLETE, b"H:1", b"r")
        self.assertEqual(b"r", self.successResultOf(result))

    def test_run(self) -> None:
        """C{run} is a submit and its result."""
        result = self.client.run("f", b"x", unique="u", priority=LOW)
        line = self.connect()
        self.assertEqual([("SUBMIT_JOB_LOW", b"f", b"u", b"x")], line.packets())
        line.send(JOB_CREATED, b"H:1")
        line.send(WORK_COMPLETE, b"H:1", b"r")
        self.assertEqual(b"r", self.successResultOf(result))

    def test_news(self) -> None:
        """Data, warnings and status reach those who asked for them, in order."""
        news: list[object] = []
        job, line = self.submitted("f")
        same = job.on_status(lambda n, d: news.append((n, d))).on_data(news.append)
        self.assertIs(same, job.on_warning(lambda warning: news.append(("warning", warning))))
        line.send_together(
            (WORK_STATUS, b"H:1", b"1", b"4"),
            (WORK_DATA, b"H:1", b"part\0one"),
            (WORK_WARNING, b"H:1", b"careful"),
            (WORK_STATUS, b"H:1", b"50.5%", b"nonsense"),
            (WORK_COMPLETE, b"H:1", b""),
        )
        self.assertEqual([(1, 4), b"part\0one", ("warning", b"careful"), (50, 0)], news)
        self.assertEqual(b"", self.successResultOf(job.result))

    def test_news_with_created(self) -> None:
        """Whoever starts to listen when the job is created misses nothing that arrives with that."""
        news: list[bytes] = []
        job = self.client.submit("f")
        _ = job.created.addCallback(lambda _: job.on_data(news.append))
        self.connect().send_together((JOB_CREATED, b"H:1"), (WORK_DATA, b"H:1", b"d"))
        self.assertEqual([b"d"], news)

    def test_news_raise(self) -> None:
        """A callback that raises is logged; the others are called, and the connection goes on."""
        news: list[bytes] = []
        job, line = self.submitted("f")
        job.on_data(lambda data: 1 / 0).on_data(news.append)
        line.send(WORK_DATA, b"H:1", b"d")
        line.send(WORK_COMPLETE, b"H:1", b"r")
        self.assertEqual([b"d"], news)
        self.assertEqual(b"r", self.successResultOf(job.result))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_interleaved(self) -> None:
        """Results are matched by handle, whatever their order."""
        jobs = [self.client.submit("f", b"%d" % n) for n in range(3)]
        line = self.connect()
        line.send_together(*((JOB_CREATED, b"H:%d" % n) for n in range(3)))
        for n in (2, 0, 1):
            line.send(WORK_COMPLETE, b"H:%d" % n, b"r%d" % n)
        self.assertEqual([b"r0", b"r1", b"r2"], [self.successResultOf(job.result) for job in jobs])

    def test_errors_in_order(self) -> None:
        """JOB_CREATED and ERROR answer the submits in the order in which they were sent."""
        jobs = [self.client.submit("f"), self.client.submit("g"), self.client.submit("h")]
        line = self.connect()
        line.send(JOB_CREATED, b"H:1")
        line.send(ERROR, b"QUEUE_ERROR", b"Job queue is full")
        line.send(JOB_CREATED, b"H:2")
        self.assertEqual([b"H:1", None, b"H:2"], [job.handle for job in jobs])
        for waiter in (jobs[1].created, jobs[1].result):
            error = self.failureResultOf(waiter, QueueError).value
            self.assertEqual("QUEUE_ERROR: Job queue is full", str(error))

    def test_unknown_error(self) -> None:
        """A code without a class of its own is kept."""
        answer = self.client.submit_background("f")
        self.connect().send(ERROR, b"NOT_TODAY", b"no")
        error = self.failureResultOf(answer, ServerError).value
        self.assertEqual(("NOT_TODAY", "no"), (error.code, error.text))

    def test_failed(self) -> None:
        """WORK_FAIL, also with the NUL that gearmand makes of an exception."""
        for packet in (b"H:1", b"H:1\0"):
            job, line = self.submitted("f")
            line.send(WORK_FAIL, packet)
            error = self.failureResultOf(job.result, JobFailed).value
            self.assertEqual((b"H:1", False), (error.handle, isinstance(error, JobRaised)))

    def test_raised(self) -> None:
        """WORK_EXCEPTION carries a text, and ends the job."""
        job, line = self.submitted("f")
        result = job.result
        line.send(WORK_EXCEPTION, b"H:1", b"ValueError: no")
        line.send(WORK_FAIL, b"H:1")
        error = self.failureResultOf(result, JobRaised).value
        self.assertEqual(
            ("ValueError: no", b"ValueError: no", b"H:1"), (str(error), error.data, error.handle)
        )
        self.assertFalse(line.ended)

    def test_large_result(self) -> None:
        """A result that arrives in pieces comes as bytes."""
        job, line = self.submitted("f")
        result = bytes(300_000)
        line.send(WORK_COMPLETE, b"H:1", result)
        self.assertEqual(result, self.successResultOf(job.result))

    def test_timeout(self) -> None:
        """A deadline fails the job with its handle; nothing is sent, and what comes later is nobody's."""
        news: list[bytes] = []
        job, line = self.submitted("f", timeout=5)
        job.on_data(news.append)
        result = job.result
        self.clock.advance(4.9)
        self.assertNoResult(result)
        self.clock.advance(0.1)
        error = self.failureResultOf(result, JobTimeout).value
        self.assertEqual(("no result within 5 seconds", b"H:1"), (str(error), error.handle))
        self.assertEqual([], line.packets())
        line.send(WORK_DATA, b"H:1", b"late")
        line.send(WORK_COMPLETE, b"H:1", b"late")
        self.assertEqual([], news)
        self.failureResultOf(job.result, JobTimeout)

    def test_timeout_refused(self) -> None:
        """A mistake is told by the call; nothing is sent, and no timer runs."""
        for error, timeouts in (
            (ValueError, (-1, -0.5, float("nan"), 10**400)),
            (TypeError, ("5s", b"5", True, [5])),
        ):
            for timeout in timeouts:
                wrong: Any = timeout
                with self.assertRaisesRegex(error, "^timeout is "):
                    self.client.submit("f", timeout=wrong)
                with self.assertRaisesRegex(error, "^timeout is "):
                    _ = self.client.run("f", timeout=wrong)
                with self.assertRaisesRegex(error, "^timeout is "):
                    _ = self.client.run_all([Task("f", timeout=5), Task("g", timeout=wrong)])
        self.assertEqual((0, []), (self.server.attempts, self.clock.getDelayedCalls()))

    def test_timeout_kept(self) -> None:
        """A job that ends in time leaves no timer."""
        job, line = self.submitted("f", timeout=5)
        line.send(WORK_COMPLETE, b"H:1", b"r")
        self.clock.advance(6)
        self.assertEqual(b"r", self.successResultOf(job.result))

    def test_timeout_before_created(self) -> None:
        """A job whose time is up before the answer has no handle; that answer is passed over."""
        job = self.client.submit("f", timeout=1)
        line = self.connect()
        self.clock.advance(1)
        self.assertIsNone(self.failureResultOf(job.created, JobTimeout).value.handle)
        other = self.client.submit("g")
        line.send(JOB_CREATED, b"H:1")
        line.send(JOB_CREATED, b"H:2")
        self.assertEqual((None, b"H:2"), (job.handle, other.handle))


class CoalescedTests(ClientTestCase):
    """Jobs of one connection that share a handle."""

    def share(self, *handles: bytes) -> tuple[list[list[bytes]], list[ClientJob], ScriptedConnection]:
        heard: list[list[bytes]] = []
        jobs = []
        for handle in handles:
            mine: list[bytes] = []
            heard.append(mine)
            job, line = self.submitted("f", unique="u", handle=handle)
            jobs.append(job.on_data(mine.append))
        return heard, jobs, line

    def test_copies(self) -> None:
        """The server sends a copy of each packet for each submit; each job hears each packet once."""
        heard, jobs, line = self.share(b"H:1", b"H:1", b"H:1")
        for data in (b"same", b"same", b"other"):
            for _ in jobs:
                line.send(WORK_DATA, b"H:1", data)
        for _ in jobs:
            line.send(WORK_COMPLETE, b"H:1", b"r")
        self.assertEqual([[b"same", b"same", b"other"]] * 3, heard)
        self.assertEqual([b"r"] * 3, [self.successResultOf(job.result) for job in jobs])

    def test_joined_later(self) -> None:
        """From the answer to the second submit on there are two copies, not before."""
        heard, _, line = self.share(b"H:1")
        line.send(WORK_DATA, b"H:1", b"a")
        later: list[bytes] = []
        job, _ = self.submitted("f", unique="u")
        job.on_data(later.append)
        for data in (b"a", b"a", b"b", b"b"):
            line.send(WORK_DATA, b"H:1", data)
        self.assertEqual(([b"a", b"a", b"b"], [b"a", b"b"]), (heard[0], later))

    def test_one_copy(self) -> None:
        """From a server that sends one copy for each connection all hear as well."""
        heard, jobs, line = self.share(b"H:1", b"H:1")
        line.send(WORK_DATA, b"H:1", b"a")
        line.send(WORK_DATA, b"H:1", b"b")
        line.send(WORK_COMPLETE, b"H:1", b"r")
        self.assertEqual([[b"a", b"b"]] * 2, heard)
        self.assertEqual([b"r"] * 2, [self.successResultOf(job.result) for job in jobs])

    def test_cancelled_one_counts(self) -> None:
        """A job that nobody waits for any more is still attached at the server: its copies come."""
        heard, jobs, line = self.share(b"H:1", b"H:1")
        jobs[0].cancel()
        for _ in range(4):
            line.send(WORK_DATA, b"H:1", b"a")
        self.assertEqual([[], [b"a", b"a"]], heard)

    def test_cancelled_before_created(self) -> None:
        """So is one that was cancelled before it was created."""
        heard, _, line = self.share(b"H:1")
        self.client.submit("f", unique="u").cancel()
        line.send(JOB_CREATED, b"H:1")
        for _ in range(4):
            line.send(WORK_DATA, b"H:1", b"a")
        self.assertEqual([[b"a", b"a"]], heard)


class LostTests(ClientTestCase):
    def test_job_lost(self) -> None:
        """A job that was under way fails with its handle, and is not sent again."""
        job, line = self.submitted("f", handle=b"H:host:5")
        unanswered = self.client.submit("g")
        background = self.client.submit_background("h")
        status = self.client.status(b"H:host:5")
        line.lose(ConnectionLost())
        errors = [
            self.failureResultOf(waiter, JobLost).value
            for waiter in (job.result, unanswered.result, background)
        ]
        self.assertEqual([b"H:host:5", None, None], [error.handle for error in errors])
        self.assertIn("the connection to server was lost: Connection to the other side", str(errors[0]))
        self.failureResultOf(status, NotConnected)
        self.clock.advance(1)
        self.connect()
        self.assertEqual([], self.server.line.packets())

    def test_resend(self) -> None:
        """What may be sent again is, in its order and before what was asked since; created or not."""
        job, line = self.submitted("f", b"1", resend=True)
        unanswered = self.client.submit("g", b"2", resend=True)
        background = self.client.submit_background("h", b"3", resend=True)
        other = self.client.submit("i")
        _ = other.result.addErrback(lambda _: self.client.submit("late"))
        line.lose()
        self.clock.advance(1)
        line = self.connect()
        self.assertEqual([b"f", b"g", b"h", b"late"], [packet[1] for packet in line.packets()])
        line.send_together(*((JOB_CREATED, b"I:%d" % n) for n in range(4)))
        line.send(WORK_COMPLETE, b"I:0", b"r")
        line.send(WORK_COMPLETE, b"I:1", b"s")
        self.assertEqual((b"I:0", b"r"), (job.handle, self.successResultOf(job.result)))
        self.assertEqual(b"s", self.successResultOf(unanswered.result))
        self.assertEqual(b"I:2", self.successResultOf(background))

    def test_resend_once_taken(self) -> None:
        """A background job that the server has taken is not sent again."""
        taken = self.client.submit_background("f", resend=True)
        line = self.connect()
        line.send(JOB_CREATED, b"H:1")
        self.assertEqual(b"H:1", self.successResultOf(taken))
        line.lose()
        self.clock.advance(1)
        self.connect()
        self.assertEqual([], self.server.line.packets())

    def test_resend_finds_no_server(self) -> None:
        """A job that was sent once, and finds no server again, is lost: it may have run."""
        job, line = self.submitted("f", resend=True)
        line.lose()
        self.server.refusing = True
        self.clock.pump([1] * 30)
        self.assertEqual(b"H:1", self.failureResultOf(job.result, JobLost).value.handle)

    def test_cancelled_is_not_resent(self) -> None:
        """A cancelled job is not sent again."""
        job, line = self.submitted("f", resend=True)
        job.cancel()
        line.lose()
        self.clock.advance(1)
        self.connect()
        self.assertEqual([], self.server.line.packets())

    def test_submit_while_failing(self) -> None:
        """Whoever submits again when told of the loss is served by the next connection."""
        job, line = self.submitted("f")
        again: list[ClientJob] = []
        _ = job.result.addErrback(lambda _: again.append(self.client.submit("again")))
        line.lose()
        self.clock.advance(1)
        self.connect()
        self.assertEqual([("SUBMIT_JOB", b"again", b"", b"")], self.server.line.packets())

    def test_wrong_answer(self) -> None:
        """A server that answers what it was not asked is dropped: nothing can be matched any more."""
        for answer in ((STATUS_RES, b"H:1", b"0", b"0", b"0", b"0"), (JOB_CREATED, b"H:1")):
            job, line = self.submitted("f")
            if answer[0] == STATUS_RES:
                other = self.client.submit("g")
            line.send(*answer)
            self.assertTrue(line.ended)
            self.clock.advance(0)
            self.failureResultOf(job.result, JobLost)
            self.clock.advance(1)
            if answer[0] == STATUS_RES:
                self.failureResultOf(other.result, JobLost)
                self.connect()

    def test_not_gearman(self) -> None:
        """A peer that speaks something else is dropped."""
        for data in (b"HTTP/1.1 400 Bad Request\r\n", b"\0REQ" + bytes(8), b"\0BAD" + bytes(8)):
            server = ScriptedServer(self.clock)
            client = self.make_client([server])
            client.submit("f")
            server.line.protocol.dataReceived(data[:4] + b"\0\0\0\1" + data[8:] if data[0] == 0 else data)
            self.assertTrue(server.line.ended)

    def test_result_too_large(self) -> None:
        """A result over the limit costs the connection; the error says why."""
        client = self.make_client([self.server], max_packet=100)
        result = client.run("f")
        line = self.connect()
        line.send(JOB_CREATED, b"H:1")
        line.send(WORK_COMPLETE, b"H:1", bytes(100))
        self.clock.advance(0)
        error = self.failureResultOf(result, JobLost).value
        self.assertEqual(
            "the connection to server was lost:"
            " it sent what cannot be taken: a packet of 104 bytes is over the limit of 100",
            str(error),
        )

    def test_malformed(self) -> None:
        """So is one whose packets lack arguments."""
        _, line = self.submitted("f")
        line.protocol.dataReceived(b"\0RES\0\0\0\x0c\0\0\0\1x")
        self.assertTrue(line.ended)

    def test_others_are_passed_over(self) -> None:
        """A packet that means nothing to a client changes nothing."""
        _, line = self.submitted("f")
        line.send(NOOP)
        line.send(WORK_DATA, b"H:unknown", b"x")
        self.assertFalse(line.ended)


class CancelTests(ClientTestCase):
    def test_unsent(self) -> None:
        """What is cancelled before it is sent never is."""
        job = self.client.submit("f")
        result, created = job.result, job.created
        result.cancel()
        background = self.client.submit_background("g")
        background.cancel()
        for waiter in (result, created, background):
            self.failureResultOf(waiter, CancelledError)
        self.assertEqual([], [packet for packet in self.connect().packets() if packet[0] != "OPTION_REQ"])

    def test_sent(self) -> None:
        """Cancelling what was sent stops the waiting; nothing is sent, and answers stay in order."""
        result = self.client.run("f")
        background = self.client.submit_background("g")
        line = self.connect()
        line.packets()
        result.cancel()
        background.cancel()
        self.failureResultOf(result, CancelledError)
        self.failureResultOf(background, CancelledError)
        self.assertEqual([], line.packets())
        third = self.client.submit("h")
        line.send_together((JOB_CREATED, b"H:1"), (JOB_CREATED, b"H:2"), (JOB_CREATED, b"H:3"))
        self.assertEqual(b"H:3", third.handle)
        line.send(WORK_COMPLETE, b"H:1", b"")
        self.assertFalse(line.ended)

    def test_refused_after_cancel(self) -> None:
        """An error that answers a cancelled request is nobody's."""
        background = self.client.submit_background("g")
        line = self.connect()
        background.cancel()
        self.failureResultOf(background, CancelledError)
        line.send(ERROR, b"QUEUE_ERROR", b"")

    def test_created_only(self) -> None:
        """Cancelling C{created} ends that one wait."""
        job = self.client.submit("f")
        created, other = job.created, job.created
        created.cancel()
        self.failureResultOf(created, CancelledError)
        self.connect().send(JOB_CREATED, b"H:1")
        self.assertEqual(b"H:1", self.successResultOf(other))

    def test_twice(self) -> None:
        """A job that has ended is not cancelled any more."""
        job, line = self.submitted("f")
        line.send(WORK_COMPLETE, b"H:1", b"r")
        job.cancel()
        self.assertEqual(b"r", self.successResultOf(job.result))


class PacketTests(ClientTestCase):
    def sent(self, ask: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        self.asked: Any = ask(*arguments, **options)
        if not self.server.line.protocol.ready:
            self.connect()
        (packet,) = self.server.line.packets()
        return packet

    def test_foreground(self) -> None:
        """Each priority has its packet."""
        for priority, name in ((HIGH, "SUBMIT_JOB_HIGH"), (NORMAL, "SUBMIT_JOB"), (LOW, "SUBMIT_JOB_LOW")):
            self.assertEqual(
                (name, b"f", b"u", b"w"),
                self.sent(self.client.submit, "f", b"w", unique=b"u", priority=priority),
            )

    def test_background(self) -> None:
        """So have background jobs."""
        for priority, name in (
            (HIGH, "SUBMIT_JOB_HIGH_BG"),
            (NORMAL, "SUBMIT_JOB_BG"),
            (LOW, "SUBMIT_JOB_LOW_BG"),
        ):
            packet = self.sent(self.client.submit_background, b"f", b"w", unique="u", priority=priority)
            self.assertEqual((name, b"f", b"u", b"w"), packet)
            self.server.line.send(JOB_CREATED, b"H:%d" % priority)
            self.assertEqual(b"H:%d" % priority, self.successResultOf(self.asked))

    def test_reduce(self) -> None:
        """A job with a reducer carries one more, empty argument, as libgearman sends it."""
        line_bytes = b"f\0u\0sum\0\0w"
        self.client.submit("f", b"w", unique="u", reducer="sum")
        background = self.client.submit_background("f", b"w", unique="u", reducer="sum")
        _ = background.addErrback(lambda _: None)
        self.connect()
        self.assertEqual(2, self.server.line.transport.value().count(line_bytes))
        self.assertEqual(
            ["SUBMIT_REDUCE_JOB", "SUBMIT_REDUCE_JOB_BACKGROUND"],
            [packet[0] for packet in self.server.line.packets()],
        )

    def epoch(self, at: datetime | float) -> bytes:
        chunks = submission(Task("f", b"w", "u"), 100, True, at)
        self.assertEqual(b"f\0u\0", chunks[0][12:16])
        return chunks[0][16:-1]

    def test_epoch(self) -> None:
        """A time is a datetime or a number, and rounded up to a whole second."""
        self.assertEqual(b"1700000000", self.epoch(1700000000))
        self.assertEqual(b"1700000001", self.epoch(1700000000.25))
        self.assertEqual(b"1700000000", self.epoch(datetime.fromtimestamp(1700000000, timezone.utc)))
        self.assertEqual(b"0", self.epoch(0))

    def test_naive_datetime(self) -> None:
        """A naive datetime is local time."""
        before = os.environ.get("TZ")

        def restore() -> None:
            del os.environ["TZ"]
            if before is not None:
                os.environ["TZ"] = before
            time.tzset()

        self.addCleanup(restore)
        os.environ["TZ"] = "UTC-3"
        time.tzset()
        self.assertEqual(b"1700000000", self.epoch(datetime(2023, 11, 15, 1, 13, 20)))

    def test_json(self) -> None:
        """A JSON value takes the place of the workload; null is one."""
        self.assertEqual(
            ("SUBMIT_JOB", b"f", b"", '{"a":[1,"é"]}'.encode()),
            self.sent(self.client.submit, "f", json={"a": [1, "é"]}),
        )
        self.assertEqual(("SUBMIT_JOB", b"f", b"", b"null"), self.sent(self.client.submit, "f", json=None))

    def test_workloads(self) -> None:
        """Whatever is made of bytes is a workload."""
        for workload in (b"a\0b", bytearray(b"a\0b"), memoryview(b"a\0b")):
            self.assertEqual(
                ("SUBMIT_JOB", b"f", b"", b"a\0b"),
                self.sent(self.client.submit, "f", workload),
            )

    def test_refused_here(self) -> None:
        """What the protocol cannot carry is refused with clear words; nothing is even connected."""
        inf = float("inf")
        unfit: list[tuple[str, str, dict[str, Any]]] = [
            ("function is empty", "", {}),
            ("function holds a NUL", "a\0b", {}),
            ("function has 8192 bytes, 8191 is the most", "f" * 8192, {}),
            ("unique has 65 bytes, 64 is the most", "f", {"unique": "é" * 32 + "x"}),
            ("unique holds a NUL", "f", {"unique": b"\0"}),
            ("reducer is empty", "f", {"reducer": ""}),
            ("reducer has 65 bytes, 64 is the most", "f", {"reducer": "r" * 65}),
            ("priority is 3, not HIGH, NORMAL or LOW", "f", {"priority": 3}),
            ("a job with a time or a reducer has NORMAL priority", "f", {"reducer": "r", "priority": HIGH}),
            ("a job with a time or a reducer has NORMAL priority", "f", {"at": 5, "priority": LOW}),
            ("a job has a time or a reducer, not both", "f", {"at": 5, "reducer": "r"}),
            ("at is not between the years 1970 and 9999", "f", {"at": -1}),
            ("at is not between the years 1970 and 9999", "f", {"at": inf}),
            ("at is not between the years 1970 and 9999", "f", {"at": float("nan")}),
            ("Out of range float values are not JSON compliant", "f", {"json": inf}),
        ]
        for words, function, options in unfit:
            submit = self.client.submit_background if "at" in options else self.client.submit
            error = self.assertRaises(ValueError, submit, function, **options)
            self.assertIn(words, str(error))
        wrong: list[tuple[str, Any, Any, dict[str, Any]]] = [
            ("function is NoneType, not str or bytes", None, b"", {}),
            ("unique is int, not str or bytes", "f", b"", {"unique": 5}),
            ("workload is str, not bytes", "f", "text", {}),
            ("workload and json were both given", "f", b"x", {"json": 1}),
        ]
        for words, function, workload, options in wrong:
            error = self.assertRaises(TypeError, self.client.submit, function, workload, **options)
            self.assertIn(words, str(error))
        self.assertEqual(0, self.server.attempts)

    def test_too_large(self) -> None:
        """A job that does not fit the largest packet is refused."""
        client = self.make_client([self.server], max_packet=100)
        client.submit("f", bytes(97))
        error = self.assertRaises(ValueError, client.submit, "f", bytes(98))
        self.assertEqual("a job of 98 bytes does not fit a packet of 100 bytes", str(error))

    def test_client_ids(self) -> None:
        """A name that would forge the server's list of workers is refused."""
        for name in ("two words", "line\n", "\x7f", "x" * 128):
            self.assertRaises(ValueError, Client, self.clock, [self.server], client_id=name)


class RunAllTests(ClientTestCase):
    def test_all(self) -> None:
        """Results come in the order of the tasks, errors in the place of results, news as each ends."""
        each: list[tuple[Any, Outcome]] = []
        done = self.client.run_all(
            [("f", b"1"), Task("g", b"2", priority=HIGH), Task("h", json=3)],
            on_each=lambda task, outcome: each.append((task.function, outcome)),
        )
        line = self.connect()
        self.assertEqual(
            [
                ("SUBMIT_JOB", b"f", b"", b"1"),
                ("SUBMIT_JOB_HIGH", b"g", b"", b"2"),
                ("SUBMIT_JOB", b"h", b"", b"3"),
            ],
            line.packets(),
        )
        line.send_together(*((JOB_CREATED, b"H:%d" % n) for n in range(3)))
        line.send(WORK_COMPLETE, b"H:2", b"third")
        line.send(WORK_FAIL, b"H:1")
        self.assertNoResult(done)
        line.send(WORK_COMPLETE, b"H:0", b"first")
        first, second, third = self.successResultOf(done)
        self.assertEqual((b"first", b"third"), (first, third))
        self.assertIsInstance(second, JobFailed)
        self.assertEqual([("h", b"third"), ("g", second), ("f", b"first")], each)

    def test_one_write(self) -> None:
        """Many jobs leave in one write."""
        _, line = self.submitted("f")
        before = line.transport.writes
        _ = self.client.run_all([("f", b"")] * 10)
        self.assertEqual((before + 1, 10), (line.transport.writes, len(line.packets())))

    def test_none(self) -> None:
        """No tasks have no results, at once."""
        self.assertEqual([], self.successResultOf(self.client.run_all([])))

    def test_refused_as_a_whole(self) -> None:
        """If one task cannot be sent, none is."""
        self.assertRaises(ValueError, self.client.run_all, [Task("f", timeout=5), ("", b"")])
        self.assertEqual((0, []), (self.server.attempts, self.clock.getDelayedCalls()))

    def test_on_each_raises(self) -> None:
        """A callback that raises is logged, and the others go on."""
        done = self.client.run_all([("f", b""), ("g", b"")], on_each=lambda *_: 1 / 0)
        self.connect().send_together(
            (JOB_CREATED, b"H:1"),
            (JOB_CREATED, b"H:2"),
            (WORK_COMPLETE, b"H:1", b"1"),
            (WORK_COMPLETE, b"H:2", b"2"),
        )
        self.assertEqual([b"1", b"2"], self.successResultOf(done))
        self.assertEqual(2, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_cancel(self) -> None:
        """Cancelling stops the waiting for all, also when C{on_each} does it."""
        each: list[Outcome] = []

        def on_each(task: Task, outcome: Outcome) -> None:
            each.append(outcome)
            done.cancel()

        done = self.client.run_all([("f", b""), ("g", b"")], on_each=on_each)
        line = self.connect()
        line.packets()
        line.send_together((JOB_CREATED, b"H:1"), (JOB_CREATED, b"H:2"), (WORK_COMPLETE, b"H:1", b"1"))
        self.failureResultOf(done, CancelledError)
        self.assertEqual(([b"1"], []), (each, line.packets()))
        line.send(WORK_COMPLETE, b"H:2", b"2")


class StatusTests(ClientTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.second = ScriptedServer(self.clock, "second")
        self.client = self.make_client([self.server, self.second])

    def test_connected(self) -> None:
        """The server that gave the handle is asked."""
        _, line = self.submitted("f")
        status = self.client.status(b"H:1")
        self.assertEqual([("GET_STATUS", b"H:1")], line.packets())
        line.send(STATUS_RES, b"H:1", b"1", b"1", b"3", b"4")
        self.assertEqual(JobStatus(True, True, 3, 4, None), self.successResultOf(status))

    def test_answers_in_order(self) -> None:
        """Answers to questions and submits come in one order."""
        _, line = self.submitted("f")
        status = self.client.status(b"H:1")
        job = self.client.submit("g")
        line.send(STATUS_RES, b"H:1", b"1", b"0", b"0", b"0")
        line.send(JOB_CREATED, b"H:2")
        self.assertEqual(JobStatus(True, False, 0, 0), self.successResultOf(status))
        self.assertEqual(b"H:2", job.handle)

    def test_home(self) -> None:
        """The server that gave the handle is asked, though the client has gone to another one since."""
        handle = self.client.submit_background("f")
        self.connect().send(JOB_CREATED, b"H:1")
        self.assertEqual(b"H:1", self.successResultOf(handle))
        self.server.line.lose()
        self.clock.advance(0)
        self.second.line.welcome()
        status = self.client.status(b"H:1")
        self.assertEqual(2, self.server.attempts)
        line = self.server.line
        line.welcome()
        self.assertEqual([("GET_STATUS", b"H:1")], line.packets())
        line.send(STATUS_RES, b"H:1", b"1", b"0", b"0", b"0")
        self.assertTrue(self.successResultOf(status).known)
        self.assertTrue(line.ended)
        self.assertEqual([], self.second.line.packets())

    def test_home_is_down(self) -> None:
        """If that server cannot be reached, nobody else is asked."""
        for down in ("refusing", "hanging"):
            self.server.refusing = self.server.hanging = False
            client = self.make_client([self.server, self.second])
            handle = client.submit_background("f")
            self.connect().send(JOB_CREATED, b"H:1")
            self.successResultOf(handle)
            self.server.line.lose()
            setattr(self.server, down, True)
            status = client.status(b"H:1")
            self.clock.advance(10)
            self.assertIn("server: ", str(self.failureResultOf(status, NotConnected).value))

    def test_visit_is_lost(self) -> None:
        """A connection that ends before the answer is no answer."""
        status = self.client.status(b"H:1")
        line = self.connect()
        line.send(STATUS_RES, b"H:1", b"0", b"0", b"0", b"0")
        self.second.line.lose()
        self.assertFalse(self.successResultOf(status).known)

    def test_unknown_handle(self) -> None:
        """A handle of unknown origin is asked for at all servers, until one knows it."""
        status = self.client.status(b"H:9")
        line = self.connect()
        line.send(STATUS_RES, b"H:9", b"0", b"0", b"0", b"0")
        self.second.line.welcome()
        self.second.line.send(STATUS_RES, b"H:9", b"1", b"0", b"0", b"0")
        self.assertTrue(self.successResultOf(status).known)

    def test_known_at_first(self) -> None:
        """One that knows it is enough."""
        status = self.client.status_unique("u")
        line = self.connect()
        self.assertEqual([("GET_STATUS_UNIQUE", b"u")], line.packets())
        line.send(STATUS_RES_UNIQUE, b"u", b"1", b"1", b"1", b"2", b"3")
        self.assertEqual(JobStatus(True, True, 1, 2, 3), self.successResultOf(status))
        self.assertEqual(0, self.second.attempts)

    def test_first_is_lost(self) -> None:
        """If the connection goes while the question is under way, the others are asked."""
        status = self.client.status_unique("u")
        self.connect().lose()
        line = self.second.line
        line.welcome()
        line.send(STATUS_RES_UNIQUE, b"u", b"0", b"0", b"0", b"0", b"0")
        self.assertFalse(self.successResultOf(status).known)

    def test_nobody_there(self) -> None:
        """If no server can be reached, the question fails."""
        self.server.refusing = self.second.refusing = True
        status = self.client.status(b"H:1")
        self.clock.pump([1] * 30)
        self.failureResultOf(status, NotConnected)

    def test_all_lost(self) -> None:
        """If all go before they answer, the question fails."""
        status = self.client.status(b"H:1")
        self.connect().lose()
        self.second.line.lose()
        self.failureResultOf(status, NotConnected)

    def test_refused(self) -> None:
        """A server that does not know the question says so."""
        status = self.client.status_unique("u")
        self.connect().send(ERROR, b"INVALID_COMMAND", b"Command not expected")
        self.failureResultOf(status, InvalidCommand)

    def test_cancel(self) -> None:
        """Cancelling gives the question up, wherever it has come to."""
        unsent = self.client.status(b"H:1")
        unsent.cancel()
        self.failureResultOf(unsent, CancelledError)
        self.second.hanging = True
        connecting = self.client.status(b"H:1")
        line = self.connect()
        self.assertEqual([("GET_STATUS", b"H:1")], line.packets())
        line.send(STATUS_RES, b"H:1", b"0", b"0", b"0", b"0")
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertEqual(1, self.second.given_up)
        self.second.hanging = False
        asked = self.client.status(b"H:1")
        line.send(STATUS_RES, b"H:1", b"0", b"0", b"0", b"0")
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.clock.advance(0)
        self.assertTrue(self.second.line.ended)

    def test_close(self) -> None:
        """Closing the client gives up what it asks elsewhere."""
        status = self.client.status(b"H:1")
        self.connect().send(STATUS_RES, b"H:1", b"0", b"0", b"0", b"0")
        _ = self.client.close()
        self.clock.advance(0)
        self.assertTrue(self.second.line.ended)
        self.assertFalse(self.successResultOf(status).known)
        self.failureResultOf(self.client.status(b"H:1"), NotConnected)

    def test_closed_with_home(self) -> None:
        """A closed client asks nobody."""
        handle = self.client.submit_background("f")
        self.connect().send(JOB_CREATED, b"H:1")
        self.successResultOf(handle)
        _ = self.client.close()
        self.clock.advance(0)
        self.failureResultOf(self.client.status(b"H:1"), NotConnected)

    def test_handle_as_text(self) -> None:
        """A handle that was kept as text is sent, and its server known, as if it were bytes."""
        handle = self.client.submit_background("f")
        self.connect().send(JOB_CREATED, b"H:1")
        self.successResultOf(handle)
        self.server.line.lose()
        self.clock.advance(0)
        self.second.line.welcome()
        status = self.client.status("H:1")
        self.server.line.welcome()
        self.assertEqual([("GET_STATUS", b"H:1")], self.server.line.packets())
        self.server.line.send(STATUS_RES, b"H:1", b"1", b"0", b"0", b"0")
        self.assertTrue(self.successResultOf(status).known)

    def test_refused_here(self) -> None:
        """gearmand leaves some of these without an answer."""
        for handle in (b"", b"x" * 64, b"a\0b", "", "x" * 64):
            self.assertRaises(ValueError, self.client.status, handle)
        for wrong in (None, 7, bytearray(b"H:1")):
            self.assertRaises(TypeError, self.client.status, wrong)
        for unique in ("", "x" * 65):
            self.assertRaises(ValueError, self.client.status_unique, unique)

    def test_remembers_so_many(self) -> None:
        """The oldest handle is forgotten when there are too many."""
        homes = _clientconnection.HandleMap()
        server: Any = object()
        for n in range(_clientconnection.HANDLES_REMEMBERED + 1):
            homes.add(b"%d" % n, server)
        self.assertEqual((None, server), (homes.get(b"0"), homes.get(b"1")))


class CloseTests(ClientTestCase):
    def test_never_used(self) -> None:
        """A client that never connected is closed at once."""
        self.assertIsNone(self.successResultOf(self.client.close()))

    def test_close(self) -> None:
        """What was sent is lost, what was not is not; later requests fail at once."""
        job, _ = self.submitted("f")
        sent = self.client.submit_background("g")
        closed = self.client.close()
        self.assertNoResult(closed)
        self.clock.advance(0)
        self.assertIsNone(self.successResultOf(closed))
        self.assertEqual(b"H:1", self.failureResultOf(job.result, JobLost).value.handle)
        self.failureResultOf(sent, JobLost)
        for request in (self.client.run("f"), self.client.submit_background("f")):
            self.assertEqual("the client is closed", str(self.failureResultOf(request, NotConnected).value))
        self.assertEqual(1, self.server.attempts)

    def test_unsent(self) -> None:
        """What still waits for a server fails at once."""
        self.server.refusing = True
        result = self.client.run("f", timeout=5)
        closed = self.client.close()
        self.failureResultOf(result, NotConnected)
        self.successResultOf(closed)

    def test_hanging(self) -> None:
        """An attempt to connect is given up."""
        self.server.hanging = True
        result = self.client.run("f")
        self.successResultOf(self.client.close())
        self.failureResultOf(result, NotConnected)
        self.assertEqual(1, self.server.given_up)

    def test_resend_ends(self) -> None:
        """A closed client sends nothing again."""
        job, _ = self.submitted("f", resend=True)
        _ = self.client.close()
        self.clock.advance(0)
        self.failureResultOf(job.result, JobLost)

    def test_resend_unsent(self) -> None:
        """What was sent once, and waits for the next server, is lost: it may have run."""
        job, line = self.submitted("f", resend=True)
        line.lose()
        self.successResultOf(self.client.close())
        self.assertEqual(b"H:1", self.failureResultOf(job.result, JobLost).value.handle)

    def test_what_was_gathered_leaves(self) -> None:
        """Closing in the middle of a turn sends what the turn had to send."""
        job, line = self.submitted("f")
        late: list[Deferred[Any]] = []
        _ = job.result.addCallback(
            lambda _: late.extend([self.client.submit_background("g"), self.client.close()])
        )
        line.send(WORK_COMPLETE, b"H:1", b"")
        self.assertEqual([("SUBMIT_JOB_BG", b"g", b"", b"")], line.packets())
        self.clock.advance(0)
        self.failureResultOf(late[0], JobLost)
        self.successResultOf(late[1])

    def test_cancel(self) -> None:
        """Cancelling the wait does not keep the client from closing."""
        self.submitted("f")
        closed = self.client.close()
        closed.cancel()
        self.failureResultOf(closed, CancelledError)
        self.clock.pump([0, 60])
        self.assertEqual(1, self.server.attempts)

    def test_service(self) -> None:
        """As a service it closes with its parent, and works again when that starts again."""
        self.client.startService()
        self.assertEqual(0, self.server.attempts)
        self.submitted("f")
        stopped = self.client.stopService()
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.client.startService()
        self.client.submit("g")
        self.assertEqual(2, self.server.attempts)
        self.connect()
        self.assertEqual([("SUBMIT_JOB", b"g", b"", b"")], self.server.line.packets())


class LivenessTests(ClientTestCase):
    def test_heartbeat(self) -> None:
        """Thirty seconds of silence are broken by an echo; its answer begins the next thirty."""
        _, line = self.submitted("f")
        for _ in range(3):
            self.clock.advance(29.9)
            self.assertEqual([], line.packets())
            self.clock.advance(0.1)
            ((name, data),) = line.packets()
            self.assertEqual("ECHO_REQ", name)
            line.send(ECHO_RES, data)

    def test_half_open(self) -> None:
        """A server that does not answer the echo is dropped after another thirty seconds."""
        job, _ = self.submitted("f")
        self.clock.pump([30, 29.9])
        result = job.result
        self.assertNoResult(result)
        self.clock.pump([0.1, 0])
        self.failureResultOf(result, JobLost)
        self.clock.advance(1)
        self.assertEqual(2, self.server.attempts)

    def test_anything_is_life(self) -> None:
        """Whatever arrives shows that the server lives."""
        _, line = self.submitted("f")
        for _ in range(20):
            self.clock.advance(20)
            line.send(WORK_STATUS, b"H:1", b"1", b"2")
        self.assertEqual([], line.packets())
        self.assertFalse(line.ended)

    def test_unanswered(self) -> None:
        """A live server that leaves a request unanswered for a minute is dropped."""
        _, line = self.submitted("f")
        self.clock.advance(10)
        unanswered = self.client.submit("g").result
        for _ in range(59):
            self.clock.advance(1)
            line.send(ECHO_RES, b"")
        self.assertFalse(line.ended)
        self.clock.advance(1)
        self.assertTrue(line.ended)
        self.clock.advance(0)
        self.failureResultOf(unanswered, JobLost)

    def test_each_answer_counts(self) -> None:
        """The minute begins anew with each answer: many requests may wait."""
        _ = self.client.run_all([("f", b"")] * 5)
        line = self.connect()
        for n in range(5):
            self.clock.advance(25)
            line.send(ECHO_RES, b"")
            self.clock.advance(25)
            line.send(JOB_CREATED, b"H:%d" % n)
        self.clock.advance(29)
        line.send(ECHO_RES, b"")
        self.clock.advance(29)
        line.send(ECHO_RES, b"")
        self.clock.advance(29)
        self.assertFalse(line.ended)

    def test_slow_upload(self) -> None:
        """A server that takes a large workload slowly has not left it unanswered."""
        _, line = self.submitted("f")
        self.assertTrue(line.transport.streaming)
        line.protocol.pauseProducing()
        self.client.submit("g", bytes(100_000))
        for _ in range(10):
            self.clock.advance(25)
            line.protocol.resumeProducing()
            line.protocol.pauseProducing()
        self.assertFalse(line.ended)
        line.protocol.resumeProducing()
        self.clock.pump([1] * 30)
        line.send(ECHO_RES, b"")
        self.clock.pump([1] * 29)
        self.assertFalse(line.ended)
        self.clock.advance(1)
        self.assertTrue(line.ended)

    def test_upload_without_questions(self) -> None:
        """A transport that has room again says nothing about answers that nobody waits for."""
        _, line = self.submitted("f")
        line.protocol.pauseProducing()
        self.clock.advance(20)
        line.protocol.resumeProducing()
        line.protocol.resumeProducing()
        self.clock.advance(29)
        self.assertEqual([], line.packets())


class RequestTests(ClockTestCase):
    def test_abstract(self) -> None:
        """What a request means is its subclass's matter."""
        request = Request([])
        self.assertRaises(NotImplementedError, request.answered, [])
        self.assertRaises(NotImplementedError, request.failed, Exception())
        self.assertRaises(NotImplementedError, request.lost, "")
        single: Single[object] = Single([])
        self.assertRaises(NotImplementedError, single.meaning, [])

    def test_ends_once(self) -> None:
        """A request ends once."""
        request = BackgroundSubmit([b"x"])
        request.answered([b"H:1"])
        request.lost("gone")
        request.answered([b"H:2"])
        self.assertEqual(b"H:1", self.successResultOf(request.answer))
        self.assertEqual([], request.chunks)

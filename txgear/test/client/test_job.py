"""
Tests for L{txgear.client.job}, through a client: results, what comes before them, and cancelling.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from txgear.client import Outcome, Task
from txgear.errors import (
    JobFailed,
    JobRaised,
    JobTimeout,
    QueueError,
    ServerError,
)
from txgear.protocol.constants import (
    ERROR,
    HIGH,
    JOB_CREATED,
    LOW,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
    WORK_WARNING,
)
from txgear.test.support.client import ClientTestCase


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
        received: list[object] = []
        job, line = self.submitted("f")
        same = job.on_status(lambda n, d: received.append((n, d))).on_data(received.append)
        self.assertIs(same, job.on_warning(lambda warning: received.append(("warning", warning))))
        line.send_together(
            (WORK_STATUS, b"H:1", b"1", b"4"),
            (WORK_DATA, b"H:1", b"part\0one"),
            (WORK_WARNING, b"H:1", b"careful"),
            (WORK_STATUS, b"H:1", b"50.5%", b"nonsense"),
            (WORK_COMPLETE, b"H:1", b""),
        )
        self.assertEqual([(1, 4), b"part\0one", ("warning", b"careful"), (50, 0)], received)
        self.assertEqual(b"", self.successResultOf(job.result))

    def test_news_with_created(self) -> None:
        """Whoever starts to listen when the job is created misses nothing that arrives with that."""
        received: list[bytes] = []
        job = self.client.submit("f")
        _ = job.created.addCallback(lambda _: job.on_data(received.append))
        self.connect().send_together((JOB_CREATED, b"H:1"), (WORK_DATA, b"H:1", b"d"))
        self.assertEqual([b"d"], received)

    def test_news_raise(self) -> None:
        """A callback that raises is logged; the others are called, and the connection goes on."""
        received: list[bytes] = []
        job, line = self.submitted("f")
        job.on_data(lambda data: 1 / 0).on_data(received.append)
        line.send(WORK_DATA, b"H:1", b"d")
        line.send(WORK_COMPLETE, b"H:1", b"r")
        self.assertEqual([b"d"], received)
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
        received: list[bytes] = []
        job, line = self.submitted("f", timeout=5)
        job.on_data(received.append)
        result = job.result
        self.clock.advance(4.9)
        self.assertNoResult(result)
        self.clock.advance(0.1)
        error = self.failureResultOf(result, JobTimeout).value
        self.assertEqual(("no result within 5 seconds", b"H:1"), (str(error), error.handle))
        self.assertEqual([], line.packets())
        line.send(WORK_DATA, b"H:1", b"late")
        line.send(WORK_COMPLETE, b"H:1", b"late")
        self.assertEqual([], received)
        self.failureResultOf(job.result, JobTimeout)

    def test_timeout_refused(self) -> None:
        """The call raises; nothing is sent, and no timer runs."""
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


class RunAllTests(ClientTestCase):
    def test_all(self) -> None:
        """Results are in the order of the tasks, with errors in their places; each is reported as it ends."""
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

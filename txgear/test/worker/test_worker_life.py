"""
Tests for L{txgear.worker}: when it works, when it ends by itself, and what becomes of jobs that are given up.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs

from txgear.errors import AccessDenied
from txgear.protocol.constants import ERROR, EXTENSION_OPTION, JOB_WITHDRAWN, NO_JOB, OPTION_RES
from txgear.test.support.client import GRAB, ScriptedServer, WorkerTestCase
from txgear.worker import FailWithText, WorkerJob

DENIED = (b"ACCESS_DENIED", b"Not allowed: work f")


class MostJobsTests(WorkerTestCase):
    def test_it_ends_after_them(self) -> None:
        """It asks for no more than it takes, also where it may do more at once; then it stops."""
        worker = self.start(most_jobs=2, concurrency=5)
        line = self.server.line
        stopped = worker.when_stopped()
        self.assertEqual([*GRAB], [each for each in line.packets() if each in GRAB])
        self.assign(line, b"H:1")
        self.assertEqual(GRAB, line.packets())
        self.assign(line, b"H:2")
        self.assertEqual([], line.packets())
        self.results[1].callback(b"two")
        self.assertEqual([("WORK_COMPLETE", b"H:2", b"two")], line.packets())
        self.assertNoResult(stopped)
        self.results[0].callback(b"one")
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"one")], line.packets())
        self.clock.advance(0)
        self.successResultOf(stopped)

    def test_no_second_server_is_asked_for_the_last(self) -> None:
        """The room is that of all servers together."""
        other = ScriptedServer(self.clock, "other")
        self.start(self.server, other, most_jobs=1, concurrency=5)
        asked = [each for server in (self.server, other) for each in server.line.packets() if each in GRAB]
        self.assertEqual(GRAB, asked)

    def test_it_counts_anew(self) -> None:
        """A worker that is started again takes as many again."""
        worker = self.start(most_jobs=1)
        for handle in (b"H:1", b"H:2"):
            self.assign(self.server.line, handle)
            self.results[-1].callback(b"")
            self.clock.advance(0)
            self.successResultOf(worker.when_stopped())
            self.assertTrue(self.server.line.ended)
            worker.startService()
            self.server.line.welcome()
        self.assertEqual(GRAB, self.server.line.packets())

    def test_a_job_that_is_given_up_counts(self) -> None:
        """It was taken, and nothing is left to be done."""
        worker = self.start(most_jobs=1)
        self.server.line.send(OPTION_RES, EXTENSION_OPTION)
        self.assign(self.server.line, b"H:1")
        self.server.line.send(JOB_WITHDRAWN, b"H:1", b"Cancelled")
        self.clock.advance(0)
        self.successResultOf(worker.when_stopped())

    def test_mistakes(self) -> None:
        """At least one."""
        self.assertRaises(ValueError, self.make_worker, most_jobs=0)
        self.assertRaises(TypeError, self.make_worker, most_jobs=True)


class WhenWorkingTests(WorkerTestCase):
    def test_when_a_server_answers(self) -> None:
        """Not before; and at once while it works."""
        worker = self.make_worker()
        worker.register("f", self.wait)
        worker.startService()
        working = worker.when_working()
        self.assertNoResult(working)
        self.server.line.welcome()
        self.successResultOf(working)
        self.successResultOf(worker.when_working())

    def test_a_server_that_is_not_there(self) -> None:
        """It is told why, and waited for."""
        self.server.refusing = True
        worker = self.make_worker()
        with capturedLogs():
            worker.startService()
        working = worker.when_working()
        self.assertEqual({"server": "Connection was refused by other side."}, worker.problems)
        self.server.refusing = False
        self.clock.advance(1)
        self.server.line.welcome()
        self.successResultOf(working)
        self.assertEqual({}, worker.problems)

    def test_all_functions_denied(self) -> None:
        """By all servers: it cannot work."""
        other = ScriptedServer(self.clock, "other")
        worker = self.make_worker(self.server, other)
        worker.register("f", self.wait)
        worker.startService()
        working = worker.when_working()
        with capturedLogs():
            self.server.line.send(ERROR, *DENIED)
            self.server.line.welcome()
            self.assertNoResult(working)
            other.line.send(ERROR, *DENIED)
            other.line.welcome()
        self.failureResultOf(working, AccessDenied)
        self.assertNoResult(worker.when_working())

    def test_one_function_denied(self) -> None:
        """One that it may do is enough."""
        worker = self.make_worker()
        worker.register("f", self.wait)
        worker.register("g", self.wait)
        worker.startService()
        working = worker.when_working()
        with capturedLogs():
            self.server.line.send(ERROR, *DENIED)
            self.server.line.welcome()
        self.successResultOf(working)

    def test_one_server_allows_it(self) -> None:
        """It works there, whatever others say."""
        other = ScriptedServer(self.clock, "other")
        worker = self.make_worker(self.server, other)
        worker.register("f", self.wait)
        worker.startService()
        working = worker.when_working()
        with capturedLogs():
            self.server.line.send(ERROR, *DENIED)
            self.server.line.welcome()
        other.line.welcome()
        self.successResultOf(working)

    def test_cancelled(self) -> None:
        """Nobody waits any more."""
        worker = self.make_worker()
        worker.startService()
        working = worker.when_working()
        working.cancel()
        self.failureResultOf(working, CancelledError)
        self.server.line.welcome()


class JobTests(WorkerTestCase):
    def test_fail_with_text(self) -> None:
        """The text alone, and nothing in the log."""

        def g(job: WorkerJob) -> None:
            raise FailWithText("exit status 3: \xe9")

        with capturedLogs() as logs:
            packets = self.run_one(g)
        self.assertEqual(("WORK_EXCEPTION", b"H:1", "exit status 3: \xe9".encode()), packets[0])
        self.assertNotIn("log_failure", [name for event in logs for name in event])

    def test_fail_with_bytes(self) -> None:
        """As they are, and as many as an exception may have."""

        def g(job: WorkerJob) -> None:
            raise FailWithText(b"\xff\0" * 40000)

        (kind, _, text), *_ = self.run_one(g)
        self.assertEqual(("WORK_EXCEPTION", 65536), (kind, len(text)))

    def test_why_it_is_gone(self) -> None:
        """By the server's word, by the connection, or by the time."""
        self.start(concurrency=3, timeout=5)
        line = self.server.line
        line.send(OPTION_RES, EXTENSION_OPTION)
        for handle in (b"H:1", b"H:2", b"H:3"):
            self.assign(line, handle)
        line.send(JOB_WITHDRAWN, b"H:1", b"Cancelled by an operator")
        self.assertEqual("server has taken it back: Cancelled by an operator", self.jobs[0].why_gone)
        self.results[1].callback(b"")
        self.assertEqual("", self.jobs[1].why_gone)
        with capturedLogs():
            self.clock.advance(5)
        self.assertEqual("its time was up", self.jobs[2].why_gone)
        line.send(NO_JOB)

    def test_gone_with_the_connection(self) -> None:
        """The reason is that of the connection."""
        self.start()
        self.assign(self.server.line, b"H:1")
        self.server.line.lose()
        self.assertEqual(
            "the connection to server was lost: Connection was closed cleanly.", self.jobs[0].why_gone
        )
        self.assertEqual([b"H:1"], self.cancelled)

    def test_when_sent(self) -> None:
        """At once while the connection takes all, and otherwise when it has; cancelling is nothing."""
        self.start()
        line = self.server.line
        self.assign(line, b"H:1")
        [job] = self.jobs
        self.successResultOf(job.when_sent())
        line.protocol.pauseProducing()
        job.send_data(b"much")
        waiting, given_up = job.when_sent(), job.when_sent()
        self.assertNoResult(waiting)
        given_up.cancel()
        self.failureResultOf(given_up, CancelledError)
        line.protocol.resumeProducing()
        self.successResultOf(waiting)

    def test_cleaning_up_counts_as_running(self) -> None:
        """A job that is given up leaves room when its function has returned."""
        gate: Deferred[None] = Deferred()

        async def g(job: WorkerJob) -> None:
            try:
                await Deferred[None]()
            finally:
                await gate

        self.run_one(g)
        line = self.server.line
        line.send(OPTION_RES, EXTENSION_OPTION)
        line.send(JOB_WITHDRAWN, b"H:1", b"Cancelled")
        self.assertEqual([], line.packets())
        gate.callback(None)
        self.assertEqual([("GRAB_JOB_OPTIONS",)], line.packets())


class FailJobsTests(WorkerTestCase):
    def test_fail(self) -> None:
        """The server is told why each job has failed, functions are cancelled, and others can be done."""
        worker = self.start(concurrency=2)
        line = self.server.line
        self.assign(line, b"H:1")
        self.assign(line, b"H:2")
        line.packets()
        worker.fail_jobs("it takes too long")
        failed = [packet for packet in line.packets() if packet[0] not in ("GRAB_JOB_ALL", "GRAB_JOB_UNIQ")]
        self.assertEqual(
            [("WORK_EXCEPTION", handle, b"it takes too long") for handle in (b"H:1", b"H:2")], failed
        )
        self.assertEqual([b"H:1", b"H:2"], self.cancelled)
        self.assertTrue(all(job.gone and job.why_gone == "it takes too long" for job in self.jobs))

    def test_while_it_stops(self) -> None:
        """Then nothing keeps it any more."""
        worker = self.start()
        self.assign(self.server.line, b"H:1")
        stopped = worker.stopService()
        self.assertNoResult(stopped)
        worker.fail_jobs("it takes too long")
        self.clock.pump([0, 0])
        self.successResultOf(stopped)

    def test_no_text(self) -> None:
        """The reason is text."""
        worker = self.start()
        self.assertRaises(TypeError, worker.fail_jobs, b"why")

    def test_functions(self) -> None:
        """The names of the functions."""
        worker = self.start()
        self.assertEqual([b"f"], worker.functions)
        worker.unregister("f")
        self.assertEqual([], worker.functions)

"""
Tests for L{txgear.worker.running}, through a worker: jobs that came together.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed

from txgear.protocol.constants import JOB_ASSIGN_OPTIONS, OPTION_RES
from txgear.test.support.client import GRAB, ScriptedConnection, WorkerTestCase
from txgear.test.worker.test_links_together import done, given
from txgear.worker import WorkerJob
from txgear.worker.running import AHEAD_SECONDS, WRITE_EACH, WRITE_SECONDS


class TogetherTests(WorkerTestCase):
    """
    @ivar seconds: how long each call keeps the thread.
    """

    def setUp(self) -> None:
        super().setUp()
        self.seconds = 0.0
        self.called: list[bytes] = []

    def call(self, job: WorkerJob) -> None:
        self.clock.rightNow += self.seconds
        self.called.append(job.handle)

    def busy(self, concurrency: int = 8) -> ScriptedConnection:
        """A worker whose server has given it jobs enough to be asked for as many as there is room for."""
        self.worker = worker = self.make_worker(concurrency=concurrency)
        worker.register("f", self.call)
        worker.register("wait", self.wait)
        worker.startService()
        line = self.server.line
        line.welcome()
        self.assertEqual(GRAB, line.packets())
        for number in range(concurrency):
            self.give(line, 1 if number < 2 else number)
        self.assertEqual(concurrency, line.protocol.asked)
        self.called.clear()
        return line

    def give(self, line: ScriptedConnection, count: int) -> list[bytes]:
        """So many grabs get a job."""
        line.packets()
        handles = [b"H:%d" % number for number in range(count)]
        line.send_together(*given(*handles))
        return handles

    def test_in_one_write(self) -> None:
        """Results and the next requests leave together, and those of the first half before the others."""
        line = self.busy()
        writes = line.transport.writes
        handles = self.give(line, 8)
        self.assertEqual(2, line.transport.writes - writes)
        self.assertEqual([*done(*handles[:4]), *GRAB * 4, *done(*handles[4:]), *GRAB * 4], line.packets())

    def test_a_few(self) -> None:
        """A few results leave in one write."""
        line = self.busy()
        writes = line.transport.writes
        self.give(line, WRITE_EACH - 1)
        self.assertEqual(1, line.transport.writes - writes)

    def test_results_do_not_wait_for_slow_calls(self) -> None:
        """Results leave as soon as a call has taken long."""
        line = self.busy()
        self.seconds = WRITE_SECONDS * 1.01
        writes = line.transport.writes
        handles = self.give(line, 3)
        self.assertEqual(3, line.transport.writes - writes)
        self.assertEqual(handles, [packet[1] for packet in line.packets() if packet[0] == "WORK_COMPLETE"])

    def test_slow_calls_ask_for_one(self) -> None:
        """A worker whose functions keep the thread for long takes no job that another one could begin."""
        line = self.busy()
        self.seconds = 10.0
        self.give(line, 8)
        self.assertEqual(1, line.protocol.asked)
        self.give(line, 1)
        self.assertEqual(1, line.protocol.asked)
        self.seconds = 0.0
        for _ in range(60):
            self.give(line, line.protocol.asked)
        self.assertEqual(8, line.protocol.asked)

    def test_calls_of_a_few_milliseconds_ask_for_a_few(self) -> None:
        """As many jobs are asked for as are begun in a fiftieth of a second."""
        line = self.busy()
        self.seconds = AHEAD_SECONDS / 4.5
        for _ in range(30):
            self.give(line, line.protocol.asked)
        self.assertEqual(4, line.protocol.asked)

    def test_jobs_that_wait_for_others_count_for_nothing(self) -> None:
        """Long jobs that leave the thread free are asked for all at once."""
        line = self.busy()
        line.send_together(*given(*(b"W:%d" % number for number in range(8)), function=b"wait"))
        self.clock.advance(100)
        line.packets()
        for result in self.results:
            result.callback(None)
        self.assertEqual(8, line.protocol.asked)

    def test_a_function_ends_another_job(self) -> None:
        """Each of them ends once, and the next one starts when the function has returned."""
        worker = self.make_worker(concurrency=2)
        order: list[str] = []

        def end_it(job: WorkerJob) -> None:
            order.append("begins")
            self.results[0].callback(None)
            order.append("ends")

        worker.register("f", self.wait)
        worker.register("end", end_it)
        worker.register("last", lambda job: order.append("last"))
        worker.startService()
        line = self.server.line
        line.welcome()
        self.assign(line, b"H:1")
        self.assign(line, b"H:2")
        self.results[1].callback(None)
        line.packets()
        self.assign(line, b"H:3", function=b"end")
        self.assertEqual([*done(b"H:1", b"H:3"), *GRAB * 2], line.packets())
        self.assertEqual(["begins", "ends"], order)

    def test_stopped_by_the_first(self) -> None:
        """The others that came with it are done all the same."""
        line = self.busy()

        def stop(job: WorkerJob) -> None:
            self.call(job)
            self.stopped = self.worker.stopService()

        self.worker.register("stop", stop)
        line.send_together(*given(b"S:1", function=b"stop"), *given(b"H:1", b"H:2"))
        self.assertEqual([b"S:1", b"H:1", b"H:2"], self.called)


class TimersTests(WorkerTestCase):
    def test_none_for_what_has_ended(self) -> None:
        """A function that returns its result at once costs no timer."""
        for call in (lambda job: b"r", lambda job: succeed(b"r"), self.at_once):
            worker = self.make_worker()
            worker.register("f", call, timeout=10)
            worker.startService()
            line = self.server.line
            line.send(OPTION_RES, b"txgear-1")
            line.welcome()
            before = len(self.clock.getDelayedCalls())
            self.give_leased(line)
            self.assertEqual(before, len(self.clock.getDelayedCalls()))
            self.assertIn(("WORK_COMPLETE", b"H:1", b"r"), line.packets())

    async def at_once(self, job: WorkerJob) -> bytes:
        return b"r"

    def give_leased(self, line: ScriptedConnection) -> None:
        line.packets()
        line.send(JOB_ASSIGN_OPTIONS, b"H:1", b"f", b"", b"", b'{"attempt":1,"lease":30,"timeout":0}', b"")

    def test_from_the_call(self) -> None:
        """The time and the lease of a job count from when its function was called."""

        def slow(job: WorkerJob) -> Deferred[bytes]:
            self.clock.rightNow += 8
            return self.wait(job)

        worker = self.make_worker()
        worker.register("f", slow, timeout=10)
        worker.startService()
        line = self.server.line
        line.send(OPTION_RES, b"txgear-1")
        line.welcome()
        self.give_leased(line)
        self.clock.advance(1.9)
        self.assertEqual([], line.packets())
        self.clock.advance(0.2)
        self.assertTrue(self.jobs[0].gone)

    def test_beats_from_the_call(self) -> None:
        """A function that kept the thread for longer than a beat is followed by one."""

        def slow(job: WorkerJob) -> Deferred[bytes]:
            self.clock.rightNow += 11
            return self.wait(job)

        worker = self.make_worker()
        worker.register("f", slow)
        worker.startService()
        line = self.server.line
        line.send(OPTION_RES, b"txgear-1")
        line.welcome()
        self.give_leased(line)
        self.clock.advance(0)
        self.assertIn(("WORK_BEAT", b"H:1"), line.packets())
        self.clock.advance(10)
        self.assertEqual([("WORK_BEAT", b"H:1")], line.packets())

    def test_a_deferred_that_waits_for_another(self) -> None:
        """It has fired, and has no result yet: the time of its job runs."""

        def chained(job: WorkerJob) -> Deferred[bytes]:
            begun = succeed(None)
            return begun.addCallback(lambda _: self.wait(job))

        worker = self.make_worker()
        worker.register("f", chained, timeout=10)
        worker.startService()
        self.server.line.welcome()
        self.assign(self.server.line, b"H:1")
        self.clock.advance(10)
        self.assertEqual([b"H:1"], self.cancelled)

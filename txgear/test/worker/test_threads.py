"""
Tests for L{txgear.worker.threads}.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.test.support.client import ThreadClock, WorkerTestCase
from txgear.worker.job import WorkerJob
from txgear.worker.threads import Handed, Threads

SECONDS = 30.0
"""How long a thread may take; none takes as long."""


class ThreadsTests(SynchronousTestCase):
    """
    @ivar taken: what was taken, the pieces of each time together.
    @ivar ended: what functions returned.
    """

    def setUp(self) -> None:
        self.clock = ThreadClock()
        self.taken: list[int] = []
        self.ended: list[Any] = []
        self.threads = Threads(self.clock, self.take)
        self.addCleanup(self.threads.stop)
        self.job: Any = object()

    def take(self, handed: list[Handed]) -> None:
        self.taken.append(len(handed))
        for each in handed:
            each.call(*each.arguments)

    def end(self, outcome: object, job: WorkerJob) -> None:
        self.assertIs(self.job, job)
        self.ended.append(outcome)

    def run_it(self, call: Callable[[Any], object]) -> None:
        self.threads.run(call, self.job, self.end)

    def until(self, count: int) -> None:
        """Take what is handed over until so many functions have ended."""
        while len(self.ended) < count:
            self.clock.call_next()

    def test_result(self) -> None:
        """A function is called in another thread, with its job."""
        self.run_it(lambda job: (job, threading.current_thread()))
        self.until(1)
        ((job, thread),) = self.ended
        self.assertIs(self.job, job)
        self.assertIsNot(threading.current_thread(), thread)
        self.assertTrue(thread.daemon)
        self.assertTrue(thread.name.startswith("txgear-worker-"))

    def test_raised(self) -> None:
        """Whatever it raises is handed over, and the thread goes on."""

        def leave(job: object) -> None:
            raise SystemExit(3)

        self.run_it(leave)
        self.until(1)
        (failure,) = self.ended
        assert isinstance(failure, Failure)
        self.assertIsInstance(failure.value, SystemExit)
        self.run_it(lambda job: "next")
        self.until(2)
        self.assertEqual("next", self.ended[1])

    def test_as_many_as_calls(self) -> None:
        """There are as many threads as calls at the same time, and one that is free is used again."""
        seen: set[threading.Thread] = set()
        for number in range(5):
            self.run_it(lambda job: seen.add(threading.current_thread()))
            self.until(number + 1)
        self.assertEqual(1, len(seen))
        barrier = threading.Barrier(3)

        def together(job: object) -> None:
            seen.add(threading.current_thread())
            barrier.wait(SECONDS)

        for _ in range(3):
            self.run_it(together)
        self.until(8)
        self.assertEqual(3, len(seen))

    def test_in_order(self) -> None:
        """What a function hands over is taken before its result."""
        order: list[object] = []

        def send(job: WorkerJob) -> None:
            for number in range(3):
                self.threads.hand_over(job, order.append, number)

        self.threads.run(send, self.job, lambda outcome, job: order.append("end"))
        while "end" not in order:
            self.clock.call_next()
        self.assertEqual([0, 1, 2, "end"], order)

    def test_together(self) -> None:
        """What is handed over before the reactor has a turn wakes it once, and is taken at once."""
        sent = threading.Event()

        def send(job: WorkerJob) -> None:
            for _ in range(3):
                self.threads.hand_over(job, int)
            sent.set()

        self.run_it(send)
        self.assertTrue(sent.wait(SECONDS))
        self.assertEqual(1, self.clock.handed.qsize())
        self.until(1)
        self.assertGreaterEqual(self.taken[0], 3)
        self.assertEqual(4, sum(self.taken))

    def test_woken_again(self) -> None:
        """What is handed over while something is taken is taken next."""
        done: list[int] = []

        def once_more() -> None:
            self.threads.hand_over(self.job, done.append, 2)
            done.append(1)

        self.threads.hand_over(self.job, once_more)
        self.clock.call_next()
        self.assertEqual([1], done)
        self.clock.call_next()
        self.assertEqual([1, 2], done)

    def test_found_empty(self) -> None:
        """A reactor that was woken by two threads has one of them in vain."""
        self.threads.hand_over(self.job, int)
        wake = self.clock.handed.get(timeout=SECONDS)
        wake()
        wake()
        self.assertEqual([1], self.taken)

    def test_stop(self) -> None:
        """Each thread ends when its function has returned."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        found: list[threading.Thread] = []
        begun = threading.Event()

        def wait(job: object) -> None:
            found.append(threading.current_thread())
            begun.set()
            gate.wait(SECONDS)

        self.run_it(wait)
        self.assertTrue(begun.wait(SECONDS))
        self.threads.stop()
        self.assertTrue(found[0].is_alive())
        gate.set()
        found[0].join(SECONDS)
        self.assertFalse(found[0].is_alive())

    def test_one_thread_only(self) -> None:
        """A reactor without threads calls at once what is handed over, and runs nothing in a thread."""
        threads = Threads(Clock(), self.take)
        threads.hand_over(self.job, self.ended.append, "now")
        self.assertEqual(["now"], self.ended)
        self.assertRaises(TypeError, threads.run, int, self.job, self.end)


class HandedOverTests(WorkerTestCase):
    """The same through a worker."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = self.thread_clock = ThreadClock()
        self.server = type(self.server)(self.clock)

    def test_one_write(self) -> None:
        """Results of several threads and the next requests leave in one write."""
        barrier = threading.Barrier(3)

        def g(job: WorkerJob) -> None:
            barrier.wait(SECONDS)
            job.set_status(1, 2)
            barrier.wait(SECONDS)

        worker = self.make_worker(concurrency=2)
        worker.register("g", g, blocking=True)
        worker.startService()
        line = self.server.line
        line.welcome()
        self.assign(line, b"H:1", function=b"g")
        self.assign(line, b"H:2", function=b"g")
        line.packets()
        writes = line.transport.writes
        barrier.wait(SECONDS)
        barrier.wait(SECONDS)
        self.thread_clock.call_next()
        self.assertEqual(1, line.transport.writes - writes)
        packets = line.packets()
        while len(packets) < 6:
            self.thread_clock.call_next()
            packets += line.packets()
        self.assertEqual(2, [name for name, *_ in packets].count("WORK_COMPLETE"))

    def test_what_goes_wrong_there(self) -> None:
        """What cannot be carried out is logged, and the rest is."""
        jobs: list[WorkerJob] = []
        gate = threading.Event()

        def g(job: WorkerJob) -> None:
            job.from_thread(self.wrong)  # type: ignore[misc]
            jobs.append(job)
            gate.wait(SECONDS)

        worker = self.make_worker()
        worker.register("g", g, blocking=True)
        worker.startService()
        line = self.server.line
        line.welcome()
        line.packets()
        self.assign(line, b"H:1", function=b"g")
        self.thread_clock.call_next()
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        gate.set()
        self.thread_clock.call_next()
        self.assertIn(("WORK_COMPLETE", b"H:1", b""), line.packets())

    def wrong(self) -> None:
        raise ZeroDivisionError

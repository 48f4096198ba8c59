"""
Tests for L{txgear.runtime.timelimits}.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.runtime.timelimits import InLoop, InThread, TimeLimit, TimeLimits


class Job:
    def __init__(self) -> None:
        self.told: list[float] = []

    def tell(self, seconds: float) -> None:
        self.told.append(seconds)


class TimeLimitsTests(SynchronousTestCase):
    def test_told_once(self) -> None:
        """Those whose time is up are told, in the order in which they began. Others have ended."""
        clock = Clock()
        limits = TimeLimits(clock, 30)
        first, second, ended = Job(), Job(), Job()
        limits.begin(first)
        limits.begin(ended)
        clock.advance(10)
        limits.begin(second)
        limits.end(ended)
        clock.advance(19)
        self.assertEqual((first.told, second.told), ([], []))
        clock.advance(1)
        self.assertEqual((first.told, second.told), ([30], []))
        clock.advance(10)
        clock.advance(100)
        self.assertEqual((first.told, second.told, ended.told), ([30], [30], []))
        limits.end(first)

    def test_short(self) -> None:
        """A short limit is looked at more often."""
        clock = Clock()
        limits = TimeLimits(clock, 0.5)
        job = Job()
        limits.begin(job)
        clock.pump([0.05] * 10)
        clock.advance(0.001)
        clock.advance(0.05)
        self.assertEqual(job.told, [0.5])


class InLoopTests(SynchronousTestCase):
    def test_cancelled(self) -> None:
        running: Deferred[Any] = Deferred()
        job = InLoop(running)
        job.tell(2.5)
        failure = job.outcome(self.failureResultOf(running, CancelledError))
        self.assertEqual(
            str(failure.check(TimeLimit) and failure.value), "it has taken longer than 2.5 seconds"
        )

    def test_something_else(self) -> None:
        """What the function raises counts, and a cancellation by others is theirs."""
        job = InLoop(Deferred())
        for error in (CancelledError(), ValueError()):
            failure = Failure(error)
            self.assertIs(job.outcome(failure), failure)
        running: Deferred[Any] = Deferred(lambda d: d.errback(ValueError()))
        other = InLoop(running)
        other.tell(1)
        failure = self.failureResultOf(running, ValueError)
        self.assertIs(other.outcome(failure), failure)


class InThreadTests(SynchronousTestCase):
    def test_raised_within(self) -> None:
        """It is raised where the function is, which may tidy up, and even catch it."""
        job = InThread()

        def call() -> str:
            try:
                job.tell(3)
                for _ in range(1000):
                    pass
            except TimeLimit as error:
                return f"{type(error).__name__}: {error}"
            return "nothing"

        self.assertEqual(job.run(call), "TimeLimit: it has taken longer than 3 seconds")

    def test_from_another_thread(self) -> None:
        caught: list[BaseException] = []
        ready = threading.Event()
        jobs: list[InThread] = []

        def wait() -> None:
            ready.set()
            while True:
                pass

        def run() -> None:
            jobs.append(InThread())
            try:
                jobs[0].run(wait)
            except TimeLimit as error:
                caught.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        ready.wait(60)
        jobs[0].tell(1)
        thread.join(60)
        self.assertFalse(thread.is_alive())
        self.assertEqual([str(error) for error in caught], ["it has taken longer than 1 second"])

    def test_too_late(self) -> None:
        """One that has ended is not told, and nothing comes up elsewhere."""
        job = InThread()
        self.assertEqual(job.run(lambda: 5), 5)
        job.tell(1)
        for _ in range(1000):
            pass

    def test_told_and_over(self) -> None:
        """What was told is over with its job, whether its function has heard it or not."""
        for _ in range(200):
            job = InThread()
            teller = threading.Thread(target=job.tell, args=(1,))

            def call(start: Callable[[], object] = teller.start) -> int:
                start()
                return 5

            try:
                self.assertEqual(job.run(call), 5)
            except TimeLimit as error:
                self.assertEqual(str(error), "it has taken longer than 1 second")
            teller.join(60)
            for _ in range(1000):
                pass

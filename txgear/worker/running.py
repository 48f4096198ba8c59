"""
The jobs of a worker: their functions are called, and what these return is sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from types import CoroutineType
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.net import arguments
from txgear.protocol.constants import WORK_EXCEPTION, WORK_FAIL, WORK_RETRY
from txgear.protocol.textlines import text
from txgear.quantities import second_words
from txgear.worker.functions import Ability, Fail, FailWithText, Function, RetryLater
from txgear.worker.job import WorkerJob
from txgear.worker.threads import Handed, Threads
from txgear.worker.tracebacks import MAX_EXCEPTION, exception_text

ROOM_BESIDE: Final = 20
"""Bytes for what stands beside the text of an exception, and the handle."""
AHEAD_SECONDS: Final = 0.02
"""How long a job may wait here for its turn, going by how long functions have kept the thread before."""
NEWEST_COUNTS: Final = 1 / 8
"""How much the last call counts in that."""
WRITE_EACH: Final = 4
"""Jobs in hand from which the results of the first half leave before the others are begun."""
WRITE_SECONDS: Final = 0.002
"""How long results wait at the most for those of the jobs that came with theirs."""

IN_THREAD: Final = object()
"""Stands for the result of a function that was called in a thread."""

InThread = Callable[[Function, WorkerJob], "Deferred[Any]"]
"""Calls a blocking function with its job, and fires with what it returns."""


class RunningJobs:
    """
    Runs the jobs of a worker, as many at once as its C{concurrency} allows.

    A job that is given up is cancelled, and leaves room for another one. A function in a thread cannot be
    stopped: it leaves room when it returns.

    @ivar concurrency: how many run at once; may be set at any time.
    @ivar jobs_wanted: called when a job has been started or has ended; set by who asks for jobs.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        clock: IReactorTime,
        abilities: Mapping[bytes, Ability],
        concurrency: int,
        in_thread: InThread | None,
        most_jobs: int | None = None,
    ) -> None:
        """
        @param reactor: calls what a thread sends.
        @param clock: for timeouts.
        @param abilities: the functions by their names.
        @param concurrency: how many jobs run at once.
        @param in_thread: calls a blocking function; by default in a pool of C{concurrency} threads.
        @param most_jobs: how many are taken from L{begin} on; C{None} for no bound.
        """
        self._reactor = reactor
        self._clock = clock
        self._abilities = abilities
        self.concurrency = concurrency
        self._in_thread = in_thread
        self._most_jobs = self._left = most_jobs
        self.jobs_wanted: Callable[[], object] = lambda: None
        self._threads = Threads(reactor, self._take)
        self._running: set[WorkerJob] = set()
        self._waiting: deque[WorkerJob] = deque()
        self._starting = False
        self._call_seconds = 0.0

    def __len__(self) -> int:
        """How many jobs run."""
        return len(self._running)

    def active(self, function: bytes) -> int:
        """How many jobs of a function run."""
        return sum(job.function == function for job in self._running)

    @property
    def room(self) -> int:
        """
        How many more jobs may be asked for. It is negative where too many were assigned.

        Where functions keep the thread for long, that are no more than can be begun within
        L{AHEAD_SECONDS}: each of them waits here until the one before has returned, and another worker could
        have begun it.
        """
        room = self.concurrency - len(self._running) - len(self._waiting)
        if self._call_seconds * room > AHEAD_SECONDS:
            room = max(int(AHEAD_SECONDS / self._call_seconds), 1)
        return room if self._left is None else min(room, self._left)

    @property
    def used_up(self) -> bool:
        """Whether as many jobs as are to be taken have been taken, and all of them have ended."""
        return self._left is not None and self._left <= 0 and not self._running and not self._waiting

    def begin(self) -> None:
        """The worker starts: count its jobs from now on."""
        self._left = self._most_jobs

    def assign(self, jobs: list[WorkerJob]) -> None:
        """
        Start jobs that a server has given.

        There may be more than there is room for: two servers have been asked, as one of them took so long.
        """
        if self._left is not None:
            self._left -= len(jobs)
        self._waiting.extend(jobs)
        self._start_waiting()
        for job in self._waiting:
            if job.lease and job.next_beat is None:
                job.beat(self._clock)
        self.jobs_wanted()

    def _start_waiting(self) -> None:
        """Start as many of the jobs in hand as there is room for, one after another."""
        if self._starting:
            return  # a function has ended another job; who called it goes on
        self._starting = True
        waiting, running, seconds = self._waiting, self._running, self._clock.seconds
        begun = written = seconds()
        half = len(waiting) // 2 if len(waiting) >= WRITE_EACH else 0
        try:
            while waiting and len(running) < self.concurrency:
                job = waiting.popleft()
                self._start(job, begun)
                now = seconds()
                self._call_seconds += (now - begun - self._call_seconds) * NEWEST_COUNTS
                begun = now
                half -= 1
                if waiting and (half == 0 or now - written > WRITE_SECONDS):
                    # The server can go on with these meanwhile.
                    written = now
                    self.jobs_wanted()
                    job.connection.write_gathered()
        finally:
            self._starting = False

    def give_up(self, job: WorkerJob, why: str) -> None:
        """
        The server waits for this job no more: cancel it.

        @param why: in words.
        """
        job.why_gone = why
        job.end()
        if job in self._waiting:
            self._waiting.remove(job)
        elif job.from_thread is None and job.running is not None:
            job.running.cancel()

    def stop_threads(self) -> None:
        """The worker has stopped: end its threads, each when its function has returned."""
        self._threads.stop()
        self._threads = Threads(self._reactor, self._take)

    def _start(self, job: WorkerJob, now: float) -> None:
        ability = self._abilities.get(job.function)
        if ability is None:
            self.log.warn("{server} gave a job of {function}", server=job.server, function=text(job.function))
            job.finish(job.packet(WORK_FAIL, [], job.handle))
            return
        self._running.add(job)
        try:
            outcome = self._call_in_thread(ability, job) if ability.blocking else ability.call(job)
        except BaseException:
            outcome = Failure()
        if isinstance(outcome, bytes):
            self._end(outcome, job, ability)
            return
        if isinstance(outcome, CoroutineType):
            outcome = Deferred.fromCoroutine(outcome)
        if isinstance(outcome, Deferred):
            job.running = outcome
            _ = outcome.addBoth(self._finished, job, ability)
            if not job.gone:  # otherwise it has ended after all, or was given up meanwhile
                self._set_timers(job, ability, now)
        elif outcome is IN_THREAD:
            self._set_timers(job, ability, now)
        else:
            self._end(outcome, job, ability)

    def _call_in_thread(self, ability: Ability, job: WorkerJob) -> object:
        """
        Have a function called that blocks.

        @return: a Deferred of its result, or L{IN_THREAD}.
        """
        job.from_thread = partial(self._threads.hand_over, job)
        if self._in_thread is not None:
            return self._in_thread(ability.call, job)
        self._threads.run(ability.call, job, partial(self._finished, ability=ability))
        return IN_THREAD

    def _take(self, handed: list[Handed]) -> None:
        """Do what threads want done; what they send and the next requests leave together."""
        with ExitStack() as stack:
            for connection in {id(each.job.connection): each.job.connection for each in handed}.values():
                stack.enter_context(connection.gathered())
            starting, self._starting = self._starting, True
            try:
                for each in handed:
                    try:
                        each.call(*each.arguments)
                    except Exception:
                        self.log.failure(
                            "what a thread of job {handle} handed over", handle=text(each.job.handle)
                        )
            finally:
                self._starting = starting
            self._start_waiting()
            self.jobs_wanted()

    def _set_timers(self, job: WorkerJob, ability: Ability, begun: float) -> None:
        """
        The function has been called, and its job has not ended with that.

        @param begun: when it was called.
        """
        spent = self._clock.seconds() - begun
        if ability.timeout is not None:
            left = max(ability.timeout - spent, 0.0)
            job.timer = self._clock.callLater(left, self._overdue, job, ability.timeout)
        if job.lease and job.next_beat is None:
            job.beat(self._clock, spent)

    def _finished(self, outcome: object, job: WorkerJob, ability: Ability) -> None:
        """The function has returned or raised."""
        if self._starting:
            self._end(outcome, job, ability)
            return
        with job.connection.gathered():
            self._end(outcome, job, ability)
            self._start_waiting()
            self.jobs_wanted()

    def _end(self, outcome: object, job: WorkerJob, ability: Ability) -> None:
        self._running.discard(job)
        job.finish(self._last_packet(outcome, job, ability))

    def _last_packet(self, outcome: object, job: WorkerJob, ability: Ability) -> list[bytes]:
        """The packet that ends a job, as chunks."""
        if not isinstance(outcome, Failure):
            try:
                packet = job.completed(
                    arguments.json_bytes(outcome) if ability.json else arguments.result_bytes(outcome)
                )
            except Exception:
                outcome = Failure()
            else:
                if not job.gone:
                    ability.counts.done += 1
                return packet
        if not job.gone:
            ability.counts.failed += 1
        return self._failure_packet(outcome, job)

    def _failure_packet(self, failure: Failure, job: WorkerJob) -> list[bytes]:
        error = failure.value
        most = max(min(MAX_EXCEPTION, job.connection.decoder.limit - len(job.handle) - ROOM_BESIDE), 0)
        if isinstance(error, Fail):
            return job.packet(WORK_FAIL, [], job.handle)
        if isinstance(error, RetryLater) and job.connection.welcomed:
            seconds = b"%.3f" % error.seconds
            return job.packet(WORK_RETRY, [job.handle, seconds], error.text[:most])
        if isinstance(error, (FailWithText, RetryLater)):
            return job.packet(WORK_EXCEPTION, [job.handle], error.text[:most])
        if not (job.gone and isinstance(error, CancelledError)):
            self.log.failure(
                "job {handle} of {function} raised",
                failure,
                handle=text(job.handle),
                function=text(job.function),
                attempt=job.attempt,
            )
        return job.packet(WORK_EXCEPTION, [job.handle], exception_text(failure, most))

    def _overdue(self, job: WorkerJob, timeout: float) -> None:
        job.timer = None
        self.log.warn(
            "job {handle} of {function} has not ended within {span}; it is given up",
            handle=text(job.handle),
            function=text(job.function),
            span=second_words(timeout),
        )
        self.give_up(job, "its time was up")

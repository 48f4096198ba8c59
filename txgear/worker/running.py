"""
The jobs of a worker: their functions are called, and what these return is sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from threading import Thread
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from txgear.net import arguments
from txgear.protocol.constants import WORK_COMPLETE, WORK_EXCEPTION, WORK_FAIL
from txgear.worker.functions import Ability, Fail, FailWithText, Function
from txgear.worker.job import WorkerJob

MAX_EXCEPTION: Final = 65536
"""Bytes of an exception's text that are sent at the most."""

InThread = Callable[[Function, WorkerJob], "Deferred[Any]"]
"""Calls a blocking function with its job, and fires with what it returns."""


class RunningJobs:
    """
    Runs the jobs of a worker, as many at once as its C{concurrency} allows.

    A job that is given up is cancelled, and leaves room for another one. A function in a thread cannot be
    stopped: it leaves room when it returns.

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
        self._concurrency = concurrency
        self._in_thread = in_thread or self._run_in_pool
        self._most_jobs = self._left = most_jobs
        self.jobs_wanted: Callable[[], object] = lambda: None
        self._pool: ThreadPool | None = None
        self._running: set[WorkerJob] = set()
        self._waiting: deque[WorkerJob] = deque()

    def __len__(self) -> int:
        """How many jobs run."""
        return len(self._running)

    @property
    def room(self) -> int:
        """How many more jobs may be started. It is negative where too many were assigned."""
        room = self._concurrency - len(self._running) - len(self._waiting)
        return room if self._left is None else min(room, self._left)

    @property
    def used_up(self) -> bool:
        """Whether as many jobs as are to be taken have been taken, and all of them have ended."""
        return self._left is not None and self._left <= 0 and not self._running and not self._waiting

    def begin(self) -> None:
        """The worker starts: count its jobs from now on."""
        self._left = self._most_jobs

    def assign(self, job: WorkerJob) -> None:
        """Start a job that a server has given."""
        if self._left is not None:
            self._left -= 1
        if len(self._running) < self._concurrency:
            self._start(job)
        else:
            # Two servers have been asked, as one of them took so long to answer.
            self._waiting.append(job)

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
        """The worker has stopped: end the pool of threads. It is made anew when it is needed."""
        pool, self._pool = self._pool, None
        if pool is not None and not any(job.from_thread for job in self._running):
            # A pool whose threads are busy would keep us here until they are not.
            pool.stop()

    def _start(self, job: WorkerJob) -> None:
        ability = self._abilities.get(job.function)
        if ability is None:
            self.log.warn("{server} gave a job of {function}", server=job.server, function=job.function)
            self._finished(Failure(Fail()), job, False)
            return
        self._running.add(job)
        if ability.timeout is not None:
            job.timer = self._clock.callLater(ability.timeout, self._overdue, job, ability.timeout)
        if ability.blocking:
            job.from_thread = _from_thread(self._reactor)
            job.running = maybeDeferred(self._in_thread, ability.call, job)
        else:
            job.running = maybeDeferred(ability.call, job)
        _ = job.running.addBoth(self._finished, job, ability.json)
        self.jobs_wanted()

    def _run_in_pool(self, call: Function, job: WorkerJob) -> Deferred[Any]:
        if self._pool is None:
            self._pool = ThreadPool(0, self._concurrency, "txgear-worker")
            # A thread that never ends must not keep the process from ending.
            self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
            self._pool.start()
        return deferToThreadPool(IReactorFromThreads(self._reactor), self._pool, call, job)

    def _finished(self, outcome: object, job: WorkerJob, json: bool) -> None:
        """The function has returned or raised."""
        self._running.discard(job)
        with job.connection.gathered():
            job.send(self._last_packet(outcome, job, json))
            job.end()
            while self._waiting and len(self._running) < self._concurrency:
                self._start(self._waiting.popleft())
            self.jobs_wanted()

    def _last_packet(self, outcome: object, job: WorkerJob, json: bool) -> list[bytes]:
        """The packet that ends a job, as chunks."""
        if not isinstance(outcome, Failure):
            try:
                result = arguments.json_bytes(outcome) if json else arguments.result_bytes(outcome)
                return job.packet(WORK_COMPLETE, [job.handle], result)
            except Exception:
                outcome = Failure()
        if outcome.check(Fail):
            return job.packet(WORK_FAIL, [], job.handle)
        if isinstance(outcome.value, FailWithText):
            return job.packet(WORK_EXCEPTION, [job.handle], outcome.value.text[:MAX_EXCEPTION])
        if not (job.gone and outcome.check(CancelledError)):
            self.log.failure(
                "job {handle} of {function} raised", outcome, handle=job.handle, function=job.function
            )
        text = f"{type(outcome.value).__name__}: {outcome.getErrorMessage()}"
        return job.packet(WORK_EXCEPTION, [job.handle], text.encode("utf-8", "replace")[:MAX_EXCEPTION])

    def _overdue(self, job: WorkerJob, timeout: float) -> None:
        job.timer = None
        self.log.warn(
            "job {handle} of {function} has not ended within {timeout} seconds; it is given up",
            handle=job.handle,
            function=job.function,
            timeout=timeout,
        )
        self.give_up(job, "its time was up")


def _from_thread(reactor: IReactorTime) -> Callable[..., object]:
    """How a thread calls something in the reactor's own; at once where there is only one, as in a test."""
    return reactor.callFromThread if IReactorFromThreads.providedBy(reactor) else _at_once


def _at_once(call: Callable[..., object], *arguments: object) -> None:
    call(*arguments)

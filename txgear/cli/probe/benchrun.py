"""
Measures how fast a server takes jobs and gives them out, with a function and a worker of its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from txgear.cli.base.options import Servers
from txgear.cli.base.statuses import DENIED, FAILED, CommandError
from txgear.cli.run.reacting import client_arguments, close, made, peer_arguments
from txgear.client import Client
from txgear.errors import JobLost, JobTimeout, TxgearError
from txgear.histogram import Histogram
from txgear.quantities import second_words
from txgear.worker import Worker, WorkerJob

STEP: Final = 1.04
"""How much wider each bucket of latencies is than the one before: percentiles are right to 4 %."""
BOUNDS: Final = tuple(1e-5 * STEP**step for step in range(420))
"""Of these buckets: from 10 us to more than two minutes."""
STOP_SECONDS: Final = 5.0
"""How long jobs that are under way may take when it is over."""


class Latencies:
    """
    Times that something took, in memory that is bounded.

    @ivar histogram: how many were how long.
    @ivar least: the shortest; 0.0 where there is none.
    @ivar most: the longest.
    """

    def __init__(self) -> None:
        self.histogram = Histogram(BOUNDS)
        self.least = 0.0
        self.most = 0.0

    def add(self, seconds: float) -> None:
        """Count one more."""
        if not self.histogram.sum or seconds < self.least:
            self.least = seconds
        self.most = max(self.most, seconds)
        self.histogram.add(seconds)

    def quantile(self, share: float) -> float:
        """Seconds that this part of them did not exceed; 0.0 where there are none."""
        found = self.histogram.quantile(share) or 0.0
        # Within its bucket it is a guess, which is never beyond what was measured.
        return min(max(found, self.least), self.most)


@dataclass(frozen=True)
class Load:
    """
    What a server is given to do.

    @ivar background: whether nobody waits for the jobs: it is measured how long the server takes to accept
        one, and until its worker has it.
    @ivar size: bytes of each workload, and of each result.
    @ivar concurrency: jobs that are under way at a time.
    @ivar seconds: how long.
    """

    background: bool
    size: int
    concurrency: int
    seconds: float


class Measured:
    """
    What came of a L{Load}.

    @ivar server: its name.
    @ivar latencies: by what is measured, C{done} or C{accepted} and C{begun}.
    @ivar jobs: how many were done in the time.
    @ivar seconds: the time that it took.
    @ivar own: the part of the time for which this process had the processor, 0 to 1.
    @ivar machine: the part of the time for which all processors of this machine were busy; C{None} where
        that is not known.
    @ivar interrupted: whether it ended before its time.
    """

    def __init__(self, server: str, load: Load) -> None:
        self.server = server
        self.load = load
        names = ("accepted", "begun") if load.background else ("done",)
        self.latencies = {name: Latencies() for name in names}
        self.jobs = 0
        self.seconds = 0.0
        self.own = 0.0
        self.machine: float | None = None
        self.interrupted = False

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return self.jobs / self.seconds if self.seconds else 0.0


class Bench:
    """
    Measures one server after the other.

    @ivar function: the name of its function, which nobody else has.
    """

    def __init__(self, reactor: Any, on_progress: Callable[[Measured, float], object]) -> None:
        """
        @param on_progress: called now and then with what is measured, and the seconds so far.
        """
        self._reactor = reactor
        self._on_progress = on_progress
        self._stopped = False
        self._arrived: dict[bytes, float] = {}
        self._awaited: dict[bytes, Deferred[float]] = {}
        self._result = b""
        self._patience = 0.0
        self._tick: Any = None
        self.function = f"txgear-bench-{os.urandom(8).hex()}"

    def stop(self) -> None:
        """Submit nothing more; what is under way is still done, so that nothing of it is left."""
        self._stopped = True

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped

    async def measure(self, servers: Servers, load: Load) -> Measured:
        """
        Measure the only one of these servers.

        @raise CommandError: its rules do not allow it, or the worker gets no jobs.
        @raise TxgearError: the server went away.
        """
        client = made(Client, self._reactor, **client_arguments(servers), client_id="txgear-bench")
        worker = made(
            Worker,
            self._reactor,
            **peer_arguments(servers),
            client_id="txgear-bench",
            concurrency=load.concurrency,
            stop_timeout=STOP_SECONDS,
        )
        worker.register(self.function, self._work)
        worker.startService()
        self._arrived.clear()
        self._awaited.clear()
        self._result = bytes(load.size)
        self._patience = servers.timeout
        measured = Measured(servers.names[0], load)
        try:
            await self._first(client, worker, servers.timeout)
            await self._run(client, measured)
        finally:
            await worker.stopService()
            await close(client, self._reactor)
        return measured

    def _work(self, job: WorkerJob) -> bytes:
        now = time.perf_counter()
        waiting = self._awaited.pop(job.handle, None)
        if waiting is not None:
            waiting.callback(now)
        else:
            self._arrived[job.handle] = now
        return self._result

    async def _first(self, client: Client, worker: Worker, patience: float) -> None:
        """One job, which is not counted: all is connected then, and works."""
        try:
            await client.run(self.function, self._result, timeout=patience)
        except JobTimeout as error:
            if worker.refused:
                raise CommandError(f"the rules do not allow a worker of {self.function}", DENIED) from error
            raise CommandError(
                "no job has come back: `txgear diagnose` may know why jobs do not reach workers", FAILED
            ) from error
        self._arrived.clear()

    async def _run(self, client: Client, measured: Measured) -> None:
        busy, began, own = _busy(), time.perf_counter(), time.process_time()
        load = measured.load
        lane = self._background_lane if load.background else self._foreground_lane
        end = began + load.seconds
        lanes = [Deferred.fromCoroutine(lane(client, measured, end)) for _ in range(load.concurrency)]
        self._tick = self._reactor.callLater(0, self._progress, measured, began)
        error: Exception | None = None
        for each in lanes:
            try:
                await each
            except (TxgearError, CancelledError) as raised:
                if error is None:
                    error = raised
                    self._stopped = True
                    # The connection is one for all, and a job that is awaited may never come.
                    for other in lanes:
                        other.cancel()
        self._tick.cancel()
        measured.seconds = time.perf_counter() - began
        measured.own = (time.process_time() - own) / measured.seconds
        measured.machine = _share(busy, _busy())
        measured.interrupted = self._stopped
        if error is not None:
            raise error

    def _progress(self, measured: Measured, began: float) -> None:
        self._on_progress(measured, time.perf_counter() - began)
        self._tick = self._reactor.callLater(0.2, self._progress, measured, began)

    async def _foreground_lane(self, client: Client, measured: Measured, end: float) -> None:
        done, workload = measured.latencies["done"], self._result
        began = time.perf_counter()
        while began < end and not self._stopped:
            await client.run(self.function, workload)
            self._arrived.clear()
            now = time.perf_counter()
            done.add(now - began)
            measured.jobs += 1
            began = now

    async def _background_lane(self, client: Client, measured: Measured, end: float) -> None:
        accepted, begun = measured.latencies["accepted"], measured.latencies["begun"]
        workload = self._result
        while (began := time.perf_counter()) < end and not self._stopped:
            handle = await client.submit_background(self.function, workload)
            accepted.add(time.perf_counter() - began)
            # A worker may have had it before the client was told of it.
            arrived = self._arrived.pop(handle, None)
            if arrived is None:
                arrived = await self._arrival(handle)
            begun.add(arrived - began)
            measured.jobs += 1

    def _arrival(self, handle: bytes) -> Deferred[float]:
        """Fires when the worker has this job; fails with L{JobLost} where it does not come."""

        def overdue(_: object, seconds: float) -> Failure:
            return Failure(JobLost(f"it has not come to the worker within {second_words(seconds)}", handle))

        waiting: Deferred[float] = Deferred()
        self._awaited[handle] = waiting
        return waiting.addTimeout(self._patience, self._reactor, onTimeoutCancel=overdue)


def _busy() -> tuple[float, float] | None:
    """How long the processors of this machine were busy, and how long they were there, in any unit."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            numbers = [float(word) for word in file.readline().split()[1:9]]
    except OSError:
        return None
    return sum(numbers) - numbers[3] - numbers[4], sum(numbers)


def _share(before: tuple[float, float] | None, after: tuple[float, float] | None) -> float | None:
    if before is None or after is None or after[1] <= before[1]:
        return None
    return (after[0] - before[0]) / (after[1] - before[1])

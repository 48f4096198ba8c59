"""
Threads for functions that block, and what these hand over to the reactor's own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, NamedTuple

from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.python.failure import Failure

from txgear.worker.job import WorkerJob

Called = Callable[[WorkerJob], Any]
"""A function that blocks."""
Ended = Callable[[object, WorkerJob], object]
"""Called with what it has returned, or with a Failure, and with its job."""


class Handed(NamedTuple):
    """
    What a thread has handed over.

    @ivar job: whose function runs there.
    @ivar call: to be called in the reactor's thread.
    @ivar arguments: with these.
    """

    job: WorkerJob
    call: Callable[..., object]
    arguments: tuple[Any, ...]


class Threads:
    """
    Calls functions in threads of its own, as many as there are calls at the same time.

    Twisted's pool wakes the reactor for each result. Here what threads hand over is taken in one turn, in
    order, as much as there is by then; a busy worker writes many results at once.
    """

    def __init__(self, reactor: IReactorTime, take: Callable[[list[Handed]], object]) -> None:
        """
        @param reactor: has only one thread, maybe, as in a test: then what is handed over is taken at once.
        @param take: called in the reactor's thread with what was handed over.
        """
        self._reactor = reactor
        self._wake = reactor.callFromThread if IReactorFromThreads.providedBy(reactor) else _at_once
        self._take = take
        self._calls: SimpleQueue[tuple[Called, WorkerJob, Ended] | None] = SimpleQueue()
        self._lock = Lock()
        self._busy = 0
        self._count = 0
        self._handed: deque[Handed] = deque()
        self._waking = False

    def run(self, call: Called, job: WorkerJob, ended: Ended) -> None:
        """
        Call a function in a thread.

        @param ended: called in the reactor's thread when it has returned or raised.
        @raise TypeError: the reactor knows no threads.
        @raise RuntimeError: there can be no more threads.
        """
        IReactorFromThreads(self._reactor)
        with self._lock:
            if self._busy == self._count:
                # One that never ends must not keep the process from ending.
                Thread(target=self._work, name=f"txgear-worker-{self._count}", daemon=True).start()
                self._count += 1
            self._busy += 1
        self._calls.put((call, job, ended))

    def stop(self) -> None:
        """End the threads, each when its function has returned. Nothing may be run any more."""
        for _ in range(self._count):
            self._calls.put(None)

    def hand_over(self, job: WorkerJob, call: Callable[..., object], *arguments: Any) -> None:
        """
        Have something called in the reactor's thread, after all that this thread has handed over before.

        @param job: whose function runs in this thread.
        """
        self._handed.append(Handed(job, call, arguments))
        if not self._waking:
            # Two threads may wake it both; the second time it finds nothing.
            self._waking = True
            self._wake(self._take_handed)

    def _take_handed(self) -> None:
        # What is handed over from here on wakes the reactor again.
        self._waking = False
        handed = self._handed
        if taken := [handed.popleft() for _ in range(len(handed))]:
            self._take(taken)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            call, job, ended = item
            outcome: object
            try:
                outcome = call(job)
            except BaseException:
                outcome = Failure()
            with self._lock:
                self._busy -= 1
            self.hand_over(job, ended, outcome, job)
            del item, call, job, ended, outcome  # not until the next call


def _at_once(call: Callable[[], object]) -> None:
    call()

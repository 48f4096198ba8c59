"""
Jobs from a source that blocks, such as a pipe, for a reactor that must not: a thread reads a little ahead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from threading import Condition, Thread
from typing import Any, Final

from twisted.internet.defer import Deferred, fail, succeed

from txgear.cli.run.submitjobs import Wanted

AHEAD: Final = 256
"""Jobs that are read ahead at the most."""
AHEAD_BYTES: Final = 4 * 1024 * 1024
"""Bytes of workloads that are read ahead: when there are so many, no more is read."""


class Feed:
    """
    Gives jobs one by one, as fast as they are wanted and read.

    @ivar error: what has ended the source; C{None} if it is its end, or has not come yet.
    """

    def __init__(self, reactor: Any, jobs: Iterator[Wanted]) -> None:
        """
        @param jobs: is run in a thread of its own, which does not keep the process from ending.
        """
        self._reactor = reactor
        self._jobs = jobs
        self._changed = Condition()
        self._held: deque[Wanted] = deque()
        self._bytes = 0
        self._stopped = False
        self._hungry = False
        self._ended = False
        self._waiting: deque[Deferred[Wanted | None]] = deque()
        self.error: Exception | None = None

    def start(self) -> None:
        """Begin to read."""
        Thread(target=self._read, name="submit-feed", daemon=True).start()

    def next(self) -> Deferred[Wanted | None]:
        """
        The next job. Cancelling it gives that up, and loses none.

        @return: fires with it, or with C{None} after the last; fails with what the source raised.
        """
        job = self._take()
        if job is not None:
            return succeed(job)
        if self._ended:
            return succeed(None) if self.error is None else fail(self.error)
        waiting: Deferred[Wanted | None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def stop(self) -> None:
        """Read no more. The thread ends when what it waits for has come."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def _take(self) -> Wanted | None:
        with self._changed:
            if not self._held:
                self._hungry = True
                return None
            job = self._held.popleft()
            self._bytes -= len(job.workload)
            if len(self._held) == AHEAD // 2 or not self._held:
                self._changed.notify()
            return job

    # The thread

    def _read(self) -> None:
        error: Exception | None = None
        try:
            for job in self._jobs:
                if not self._put(job):
                    return
        except Exception as raised:
            error = raised
        self._reactor.callFromThread(self._at_end, error)

    def _put(self, job: Wanted) -> bool:
        with self._changed:
            while not self._stopped and (len(self._held) >= AHEAD or self._bytes >= AHEAD_BYTES):
                self._changed.wait()
            if self._stopped:
                return False
            self._held.append(job)
            self._bytes += len(job.workload)
            hungry, self._hungry = self._hungry, False
        if hungry:
            self._reactor.callFromThread(self._serve)
        return True

    # In the reactor again

    def _serve(self) -> None:
        while self._waiting:
            job = self._take()
            if job is None:
                return
            self._waiting.popleft().callback(job)

    def _at_end(self, error: Exception | None) -> None:
        self._serve()
        self._ended = True
        self.error = error
        while self._waiting:
            waiting = self._waiting.popleft()
            if error is None:
                waiting.callback(None)
            else:
                waiting.errback(error)

"""
A job that a client has submitted and waits for, and several of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from txgear.client.requests import Request
from txgear.errors import JobFailed, JobLost, JobRaised, JobTimeout, TxgearError
from txgear.net.arguments import check_callable
from txgear.protocol.constants import WORK_COMPLETE, WORK_DATA, WORK_EXCEPTION, WORK_FAIL, WORK_STATUS
from txgear.protocol.packets import Data, decimal
from txgear.quantities import second_words

TERMINAL: Final = frozenset((WORK_COMPLETE, WORK_FAIL, WORK_EXCEPTION))
"""The packets after which nothing more comes of a job."""

Outcome = bytes | TxgearError
"""The outcome of one job of several: its result, or the error that L{ClientJob.result} would fail with."""


class ClientJob(Request):
    """
    A job that somebody waits for, as L{txgear.client.Client.submit} returns it.

    @ivar function: the function's name.
    @ivar unique: the unique; empty if there is none.
    @ivar handle: the handle that the server gave it; C{None} before. It
        changes if the job is sent again.
    """

    log = Logger()

    def __init__(
        self,
        function: bytes,
        unique: bytes,
        chunks: list[bytes],
        timeout: float | None = None,
        resend: bool = False,
        ability: str = "",
    ) -> None:
        super().__init__(chunks, resend, ability)
        self._timeout = timeout
        self.function = function
        self.unique = unique
        self.handle: bytes | None = None
        self._outcome: bytes | Exception = b""
        self._created: list[Deferred[bytes]] = []
        self._results: list[Deferred[bytes]] = []
        self._on_status: list[Callable[[int, int], object]] = []
        self._on_data: list[Callable[[bytes], object]] = []
        self._on_warning: list[Callable[[bytes], object]] = []
        self._timer: IDelayedCall | None = None

    # For users

    @property
    def created(self) -> Deferred[bytes]:
        """
        A new Deferred at each access: fires with the handle as soon as the server
        has taken the job, and fails as L{result} does if it never does.
        Cancelling it ends this one wait; nothing is sent.
        """
        if self.handle is not None:
            return succeed(self.handle)
        if isinstance(self._outcome, Exception):
            return fail(self._outcome)
        waiting: Deferred[bytes] = Deferred(self._created.remove)
        self._created.append(waiting)
        return waiting

    @property
    def result(self) -> Deferred[bytes]:
        """
        A new Deferred at each access: fires with what the worker returned.

        It fails with L{JobRaised} when the worker raised an exception, with
        L{JobFailed} when the job failed otherwise, with L{JobLost} when the
        connection went down, with L{JobTimeout} when the caller's deadline
        passed, with L{ServerError} when the server refused the job (L{AccessDenied}: this client
        may not submit it), with L{MissingAbility} when no server takes the settings that it has,
        with L{NotConnected} when it could not be sent, and with C{CancelledError} after L{cancel}.

        Cancelling it does what L{cancel} does.
        """
        waiting: Deferred[bytes] = Deferred(lambda _: self.cancel())
        if not self.finished:
            self._results.append(waiting)
        elif isinstance(self._outcome, Exception):
            waiting.errback(self._outcome)
        else:
            waiting.callback(self._outcome)
        return waiting

    def on_status(self, call: Callable[[int, int], object]) -> ClientJob:
        """
        Call this with numerator and denominator whenever the worker reports its progress.

        @return: the job itself.
        @raise TypeError: it cannot be called.
        """
        check_callable("call", call)
        self._on_status.append(call)
        return self

    def on_data(self, call: Callable[[bytes], object]) -> ClientJob:
        """
        Call this with each part of the result that the worker sends ahead. The
        job's L{result} does not contain them.

        @return: the job itself.
        @raise TypeError: it cannot be called.
        """
        check_callable("call", call)
        self._on_data.append(call)
        return self

    def on_warning(self, call: Callable[[bytes], object]) -> ClientJob:
        """
        Call this with each warning of the worker.

        @return: the job itself.
        @raise TypeError: it cannot be called.
        """
        check_callable("call", call)
        self._on_warning.append(call)
        return self

    def cancel(self) -> None:
        """
        Stop waiting. L{created} and L{result} fail with C{CancelledError}, and nothing is
        called any more. A job that was not sent yet is never sent. One that was sent goes on
        at the server, to which nothing is sent.
        """
        self.failed(CancelledError())

    # For the client

    def begin(self, clock: IReactorTime) -> None:
        if self._timeout is not None:
            self._timer = clock.callLater(self._timeout, self._overdue, self._timeout)

    def answered(self, arguments: list[Data]) -> None:
        if self.finished:
            return
        self.handle = handle = bytes(arguments[0])
        if not self.resend:
            self.chunks = self.plain = []
        created, self._created = self._created, []
        for waiting in created:
            waiting.callback(handle)

    def failed(self, error: Exception) -> None:
        self._finish(error)

    def lost(self, why: str) -> None:
        self._finish(JobLost(why, self.handle))

    def packet(self, kind: int, arguments: list[Data]) -> None:
        """A packet about the job has come, from the worker or from the server itself."""
        if self.finished:
            return
        if kind == WORK_COMPLETE:
            self._finish(bytes(arguments[1]))
        elif kind == WORK_FAIL:
            self._finish(JobFailed("the job failed", self.handle))
        elif kind == WORK_EXCEPTION:
            self._finish(JobRaised(bytes(arguments[1]), self.handle))
        elif kind == WORK_STATUS:
            numerator, denominator = decimal(bytes(arguments[1])), decimal(bytes(arguments[2]))
            for on_status in self._on_status[:]:
                self._call(on_status, numerator, denominator)
        else:
            data = bytes(arguments[1])
            for on_bytes in (self._on_data if kind == WORK_DATA else self._on_warning)[:]:
                self._call(on_bytes, data)

    def _call(self, call: Callable[..., object], *arguments: object) -> None:
        try:
            call(*arguments)
        except Exception:
            self.log.failure("a callback of job {handle} raised", handle=self.handle)

    def _overdue(self, timeout: float) -> None:
        self._timer = None
        self._finish(JobTimeout(f"no result within {second_words(timeout)}", self.handle))

    def _finish(self, outcome: bytes | Exception) -> None:
        if not self.finish():
            return
        self._outcome = outcome
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        results, self._results = self._results, []
        created, self._created = self._created, []
        if isinstance(outcome, Exception):
            for waiting in created + results:
                waiting.errback(outcome)
        else:
            for waiting in results:
                waiting.callback(outcome)


def outcomes(
    jobs: Sequence[ClientJob], on_each: Callable[[int, Outcome], object] | None
) -> Deferred[list[Outcome]]:
    """
    Wait for several jobs.

    @param on_each: called with a job's place among them, and its result or error, as it ends.
    @return: fires with the results, in the order of the jobs; in the place of a job that failed stands
        its error. Cancelling it cancels all jobs that have not ended.
    """
    ended: list[Outcome] = [b""] * len(jobs)
    left = len(jobs)
    cancelled = False

    def cancel(_: Deferred[list[Outcome]]) -> None:
        nonlocal cancelled
        cancelled = True
        for job in jobs:
            job.cancel()

    def one_ended(outcome: Any, place: int) -> None:
        nonlocal left
        if cancelled:
            return
        ended[place] = outcome if isinstance(outcome, bytes) else outcome.value
        left -= 1
        if on_each is not None:
            try:
                on_each(place, ended[place])
            except Exception:
                ClientJob.log.failure("on_each of run_all raised")
        if not left and not cancelled:
            all_ended.callback(ended)

    all_ended: Deferred[list[Outcome]] = Deferred(cancel)
    for place, job in enumerate(jobs):
        _ = job.result.addBoth(one_ended, place)
    if not jobs:
        all_ended.callback(ended)
    return all_ended

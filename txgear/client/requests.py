"""
What a client asks of a server: jobs, and background jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from txgear.errors import JobFailed, JobLost, JobRaised, JobTimeout, ServerError
from txgear.net.arguments import (
    ABSENT,
    Text,
    Workload,
    check_callable,
    epoch_seconds,
    function_name,
    job_options,
    reducer_name,
    unique_key,
    workload_bytes,
)
from txgear.net.servers import Server
from txgear.protocol.constants import (
    HEADER_SIZE,
    HIGH,
    JOB_CREATED,
    LOW,
    NORMAL,
    PRIORITIES,
    REQUEST_MAGIC,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW,
    SUBMIT_JOB_LOW_BG,
    SUBMIT_JOB_OPTIONS,
    SUBMIT_REDUCE_JOB,
    SUBMIT_REDUCE_JOB_BACKGROUND,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
)
from txgear.protocol.packets import Data, decimal, large

T = TypeVar("T")

_FOREGROUND: Final = {HIGH: SUBMIT_JOB_HIGH, NORMAL: SUBMIT_JOB, LOW: SUBMIT_JOB_LOW}
_BACKGROUND: Final = {HIGH: SUBMIT_JOB_HIGH_BG, NORMAL: SUBMIT_JOB_BG, LOW: SUBMIT_JOB_LOW_BG}
_PRIORITY_WORDS: Final = {HIGH: "high", NORMAL: "normal", LOW: "low"}

TERMINAL: Final = frozenset((WORK_COMPLETE, WORK_FAIL, WORK_EXCEPTION))
"""The packets after which nothing more comes of a job."""


class Request:
    """
    Something that a server answers once.

    @cvar expects: the packet type of a good answer.
    @ivar chunks: the request's bytes; none once it is answered and will not be
        sent again.
    @ivar resend: send it again when the connection goes down before it is done.
    @ivar server: to which it was sent last, C{None} before.
    @ivar finished: nobody waits for it any more.
    @ivar on_finished: called once when that comes about.
    @ivar ability: what a server must be able to do for it beyond the protocol
        of all, in words; empty for nothing.
    @ivar refusals: how many connections have gone down before it could be
        sent, over the question whether the server has that ability.
    @ivar refused: what servers have said that did not take it because they are about to end.
    @ivar until: where there are such, when the waiting for another one ends.
    """

    expects: ClassVar[int] = JOB_CREATED

    def __init__(self, chunks: list[bytes], resend: bool = False, ability: str = "") -> None:
        self.chunks = chunks
        self.resend = resend
        self.ability = ability
        self.refusals = 0
        self.refused: dict[Server, ServerError] = {}
        self.until = 0.0
        self.server: Server | None = None
        self.finished = False
        self.on_finished: Callable[[Request], object] | None = None

    def begin(self, clock: IReactorTime) -> None:
        """From now on it is waited for."""

    def answered(self, arguments: list[Data]) -> None:
        """The answer it expects has come."""
        raise NotImplementedError

    def failed(self, error: Exception) -> None:
        """There will be no such answer."""
        raise NotImplementedError

    def lost(self, why: str) -> None:
        """The connection it was sent over has gone."""
        raise NotImplementedError

    def finish(self) -> bool:
        """
        End the waiting.

        @return: whether it was still on.
        """
        if self.finished:
            return False
        self.finished = True
        self.chunks = []
        if self.on_finished is not None:
            self.on_finished(self)
        return True


class Single(Request, Generic[T]):
    """
    A request with one Deferred.

    @cvar unanimous: of a question for a job: whether "unknown" is to be believed only
        when all servers that may have the job have said so.
    @ivar answer: fires with what the answer means. Cancelling it stops the
        waiting; nothing is sent.
    """

    unanimous: ClassVar[bool] = False

    def __init__(self, chunks: list[bytes], resend: bool = False, ability: str = "") -> None:
        super().__init__(chunks, resend, ability)
        self.answer: Deferred[T] = Deferred(self._cancel)

    def _cancel(self, _: Deferred[T]) -> None:
        self.finish()

    def meaning(self, arguments: list[Data]) -> T:
        """What the answer's arguments say."""
        raise NotImplementedError

    def answered(self, arguments: list[Data]) -> None:
        if self.finish():
            self.answer.callback(self.meaning(arguments))

    def failed(self, error: Exception) -> None:
        if self.finish():
            self.answer.errback(error)


@dataclass(frozen=True)
class Task:
    """
    One job for L{txgear.client.Client.run_all}; the fields are the arguments of
    L{txgear.client.Client.submit}.
    """

    function: Text
    workload: Workload = b""
    unique: Text = b""
    priority: int = NORMAL
    reducer: Text | None = None
    timeout: float | None = None
    resend: bool = False
    json: object = ABSENT
    policy: Mapping[str, Any] | None = None


def ability_for(task: Task, delay: float | str | None = None) -> str:
    """What a server must be able to do to take this job, beyond the protocol of all."""
    return "policies of single jobs" if task.policy else "delays" if delay is not None else ""


def submission(
    task: Task,
    max_packet: int,
    background: bool = False,
    at: datetime | float | None = None,
    delay: float | str | None = None,
) -> list[bytes]:
    """
    The packet that submits a job, as chunks.

    @param max_packet: bytes of its largest body.
    @param delay: a time from now, as L{txgear.policies.duration} reads it.
    @raise ValueError: something that the protocol cannot carry.
    @raise TypeError: something of a wrong type.
    """
    arguments = [function_name(task.function), unique_key(task.unique)]
    data = workload_bytes(task.workload, task.json)
    if task.priority not in PRIORITIES:
        raise ValueError(f"priority is {task.priority!r}, not HIGH, NORMAL or LOW")
    if task.policy is not None and not isinstance(task.policy, Mapping):
        raise TypeError(f"policy is {type(task.policy).__name__}, not a mapping of settings")
    if ability_for(task, delay):
        if task.reducer is not None:
            raise ValueError("a job with a policy or a delay has no reducer")
        kind = SUBMIT_JOB_OPTIONS
        priority = _PRIORITY_WORDS[task.priority]
        arguments.append(job_options(task.policy or {}, priority, background, at, delay))
    elif task.priority != NORMAL and (at is not None or task.reducer is not None):
        raise ValueError("a job with a time or a reducer has NORMAL priority")
    elif at is not None:
        if task.reducer is not None:
            raise ValueError("a job has a time or a reducer, not both")
        kind = SUBMIT_JOB_EPOCH
        arguments.append(b"%d" % epoch_seconds(at))
    elif task.reducer is not None:
        # After the reducer libgearman and gearmand have one more, empty argument.
        kind = SUBMIT_REDUCE_JOB_BACKGROUND if background else SUBMIT_REDUCE_JOB
        arguments += [reducer_name(task.reducer), b""]
    else:
        kind = (_BACKGROUND if background else _FOREGROUND)[task.priority]
    chunks = large(REQUEST_MAGIC, kind, arguments, data)
    if sum(map(len, chunks)) > max_packet + HEADER_SIZE:
        raise ValueError(f"a job of {len(data)} bytes does not fit a packet of {max_packet} bytes")
    return chunks


class BackgroundSubmit(Single[bytes]):
    """Asks for a job that nobody waits for; the answer is its handle."""

    def meaning(self, arguments: list[Data]) -> bytes:
        return bytes(arguments[0])

    def lost(self, why: str) -> None:
        self.failed(JobLost(why, None))


class ClientJob(Request):
    """
    A job that somebody waits for, as L{txgear.client.Client.submit} returns it.

    @ivar function: the function's name.
    @ivar unique: the unique, empty if there is none.
    @ivar handle: the handle that the server gave it, C{None} before. It
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
        self._creation: list[Deferred[bytes]] = []
        self._waiters: list[Deferred[bytes]] = []
        self._on_status: list[Callable[[int, int], object]] = []
        self._on_data: list[Callable[[bytes], object]] = []
        self._on_warning: list[Callable[[bytes], object]] = []
        self._timer: IDelayedCall | None = None

    # What users do with it

    @property
    def created(self) -> Deferred[bytes]:
        """
        A new Deferred at each look: fires with the handle as soon as the server
        has taken the job, and fails as L{result} does if it never does.
        Cancelling it ends this one wait; nothing is sent.
        """
        if self.handle is not None:
            return succeed(self.handle)
        if isinstance(self._outcome, Exception):
            return fail(self._outcome)
        waiter: Deferred[bytes] = Deferred(self._creation.remove)
        self._creation.append(waiter)
        return waiter

    @property
    def result(self) -> Deferred[bytes]:
        """
        A new Deferred at each look: fires with what the worker returned.

        It fails with L{JobRaised} when the worker raised an exception, with
        L{JobFailed} when the job failed otherwise, with L{JobLost} when the
        connection went down, with L{JobTimeout} when the caller's deadline
        passed, with L{ServerError} when the server refused the job, and with
        L{NotConnected} when it could not be sent.

        Cancelling it does what L{cancel} does.
        """
        waiter: Deferred[bytes] = Deferred(lambda _: self.cancel())
        if not self.finished:
            self._waiters.append(waiter)
        elif isinstance(self._outcome, Exception):
            waiter.errback(self._outcome)
        else:
            waiter.callback(self._outcome)
        return waiter

    def on_status(self, call: Callable[[int, int], object]) -> ClientJob:
        """
        Call this with numerator and denominator whenever the worker tells how far it is.

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
        Stop listening: who waits gets a C{CancelledError}, and nothing is
        called any more. A job that was not sent yet is never sent; one that
        was goes on at the server, which is told nothing.
        """
        self.failed(CancelledError())

    # What the client does with it

    def begin(self, clock: IReactorTime) -> None:
        if self._timeout is not None:
            self._timer = clock.callLater(self._timeout, self._overdue, self._timeout)

    def answered(self, arguments: list[Data]) -> None:
        if self.finished:
            return
        self.handle = handle = bytes(arguments[0])
        if not self.resend:
            self.chunks = []
        waiters, self._creation = self._creation, []
        for waiter in waiters:
            waiter.callback(handle)

    def failed(self, error: Exception) -> None:
        self._finish(error)

    def lost(self, why: str) -> None:
        self._finish(JobLost(why, self.handle))

    def packet(self, kind: int, arguments: list[Data]) -> None:
        """The worker, or the server for it, has sent something."""
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
                self._tell(on_status, numerator, denominator)
        else:
            data = bytes(arguments[1])
            for on_bytes in (self._on_data if kind == WORK_DATA else self._on_warning)[:]:
                self._tell(on_bytes, data)

    def _tell(self, call: Callable[..., object], *news: object) -> None:
        try:
            call(*news)
        except Exception:
            self.log.failure("what was to be told of job {handle} raised", handle=self.handle)

    def _overdue(self, timeout: float) -> None:
        self._timer = None
        self._finish(JobTimeout(f"no result within {timeout:g} seconds", self.handle))

    def _finish(self, outcome: bytes | Exception) -> None:
        if not self.finish():
            return
        self._outcome = outcome
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiters, self._waiters = self._waiters, []
        creation, self._creation = self._creation, []
        if isinstance(outcome, Exception):
            for waiter in creation + waiters:
                waiter.errback(outcome)
        else:
            for waiter in waiters:
                waiter.callback(outcome)

"""
A worker's functions: how they are registered, how they fail, and how they part a job.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, FirstError, gatherResults, maybeDeferred

from txgear.errors import TxgearError
from txgear.net import arguments
from txgear.net.arguments import Text
from txgear.protocol.constants import CAN_DO, CAN_DO_TIMEOUT
from txgear.protocol.packets import request
from txgear.worker.job import WorkerJob

LONGEST_TIMEOUT: Final = 2_000_000
"""Seconds of a job, some 23 days: in milliseconds it must fit the server's 32 bits."""

LONGEST_RETRY: Final = 366 * 24 * 3600
"""Seconds that a function may put a job off: a year, in which somebody should have noticed."""

Function = Callable[[WorkerJob], Any]


class Fail(TxgearError):
    """
    Raised by a worker's function so that its job fails without an exception:
    the client gets WORK_FAIL, which carries no text.
    """


class FailWithText(TxgearError):
    """
    Raised by a worker's function so that its job fails with a text of its own: the client gets WORK_EXCEPTION
    with just that. Nothing of it is logged, as nothing in the worker has gone wrong.
    """

    def __init__(self, text: Text) -> None:
        """
        @param text: what the client gets.
        """
        super().__init__(text)
        self.text = text.encode("utf-8", "replace") if isinstance(text, str) else bytes(text)


class RetryLater(TxgearError):
    """
    Raised by a worker's function so that its job fails now, and is tried again after a while: if its policy
    of retries allows one more attempt at all, and at a server of this project. Elsewhere the client gets
    WORK_EXCEPTION with the text, as for L{FailWithText}.
    """

    def __init__(self, seconds: float, text: Text = "") -> None:
        """
        @param seconds: after how long.
        @param text: why, for those who look at the job.
        @raise ValueError: the time is negative, or too long for a timer.
        @raise TypeError: it is no number.
        """
        arguments.seconds("seconds", seconds)
        if seconds > LONGEST_RETRY:
            raise ValueError(f"seconds is {seconds:g}, not up to {LONGEST_RETRY}")
        super().__init__(text)
        self.seconds = seconds
        self.text = text.encode("utf-8", "replace") if isinstance(text, str) else bytes(text)


@dataclass
class Counts:
    """
    How many jobs of a function have ended, and how.

    @ivar done: with a result.
    @ivar failed: without one, because of what the function did.
    """

    done: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Ability:
    """
    A function that a worker has registered.

    @ivar name: its name at the servers.
    @ivar call: called with each job.
    @ivar timeout: seconds that a job may take; C{None} for no bound.
    @ivar blocking: whether it is called in a thread.
    @ivar json: whether its result is sent as JSON.
    @ivar counts: what has become of its jobs.
    """

    name: bytes
    call: Function
    timeout: float | None
    blocking: bool
    json: bool
    counts: Counts = field(default_factory=Counts, compare=False)

    def __post_init__(self) -> None:
        if self.timeout is not None:
            arguments.seconds("timeout", self.timeout)
            if not 0.001 <= self.timeout <= LONGEST_TIMEOUT:
                raise ValueError(f"timeout is {self.timeout:g}, not from 0.001 to {LONGEST_TIMEOUT} seconds")
        arguments.check_callable("call", self.call)
        if self.blocking and any(map(iscoroutinefunction, (self.call, type(self.call).__call__))):
            raise TypeError("a function with blocking=True is called in a thread; it cannot be async")
        if isgeneratorfunction(self.call) or isasyncgenfunction(self.call):
            raise TypeError(
                "a function with yield returns no result; inlineCallbacks or async may be missing"
            )

    @property
    def packet(self) -> bytes:
        """The packet that registers it at a server."""
        if self.timeout is None:
            return request(CAN_DO, self.name)
        return request(CAN_DO_TIMEOUT, self.name, b"%d" % round(self.timeout * 1000))


class Tracing(Protocol):
    """What traces the attempts of a worker; L{txgear.tracing.Tracing} is one."""

    def traced(self, call: Function) -> Function:
        """
        @return: what is called with each job in place of the function, in the same thread. What the function
            returns and raises is what this one does.
        """


class Runner(Protocol):
    """Submits the parts of a partitioned job; a L{txgear.client.Client} is one."""

    def run(self, function: bytes, workload: bytes) -> Deferred[bytes]:
        """Run a job; fires with its result."""


async def partitioned(
    client: Runner, split: Function, aggregate: Callable[[list[bytes]], Any], job: WorkerJob
) -> Any:
    """
    Do the job of a partition function: cut it, have the parts run, and put the results together.

    @param client: submits the parts.
    @param split: cuts the job; returns the parts, or a Deferred of them.
    @param aggregate: puts the results together; returns what a function may return.
    """
    parts = [arguments.result_bytes(part) for part in await maybeDeferred(split, job)]
    if not job.reducer:
        for part in parts:
            job.send_data(part)
        return None
    runs = [client.run(job.reducer, part) for part in parts]
    try:
        results = await gatherResults(runs, consumeErrors=True)
    except FirstError as error:
        failure = error.subFailure
    else:
        return await maybeDeferred(aggregate, results)
    for run in runs:
        run.cancel()
    failure.raiseException()

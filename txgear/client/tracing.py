"""
Tracing of submits: where the work on a job belongs leaves with it.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from txgear.client.requests import Request
from txgear.protocol.traces import Trace

T = TypeVar("T")


class Submit(Protocol):
    """
    One submit that is traced, until a server has taken the job, or will not.

    @ivar trace: where the work on the job belongs; C{None} for nowhere.
    """

    trace: Trace | None

    def taken(self, handle: bytes, server: str) -> None:
        """
        @param server: the name of the server that has it.
        """

    def failed(self, error: BaseException) -> None:
        """No server has it, or it is not known whether one has, or nobody waits for that any more."""


class Tracing(Protocol):
    """What a client tells of submits; L{txgear.tracing.Tracing} is one."""

    def submit(self, function: bytes, size: int) -> Submit:
        """
        A job is about to be submitted.

        @param size: bytes of its workload.
        """


def follow(submit: Submit, request: Request, answer: Deferred[T]) -> Deferred[T]:
    """
    Tell a submit how it ends.

    @param request: asks for the job.
    @param answer: fires with the handle, or fails.
    @return: the same.
    """

    def taken(handle: T) -> T:
        assert isinstance(handle, bytes)
        assert request.server is not None
        submit.taken(handle, request.server.name)
        return handle

    def failed(failure: Failure) -> Failure:
        assert failure.value is not None
        submit.failed(failure.value)
        return failure

    return answer.addCallbacks(taken, failed)

"""
Questions of a client to a server: the progress of a job, its result, and whether the server has the
extension.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from txgear.client.requests import Request, Single
from txgear.errors import AccessDenied, NotConnected, ResultUnavailable
from txgear.protocol.constants import (
    EXTENSION_OPTION,
    GET_RESULT,
    NOT_ALLOWED,
    OPTION_REQ,
    OPTION_RES,
    OUTCOME_PENDING,
    OUTCOME_REFUSED,
    OUTCOME_UNKNOWN,
    RESULT,
    STATUS_RES,
    STATUS_RES_UNIQUE,
)
from txgear.protocol.packets import Data, decimal
from txgear.protocol.packets import request as packet


@dataclass(frozen=True)
class JobStatus:
    """
    The status of a job at a server.

    A job that has ended is not known, like one that never was.

    @ivar known: whether the server has the job.
    @ivar running: whether a worker has it.
    @ivar numerator: its progress, as the worker last reported it.
    @ivar denominator: what the numerator is counted up to.
    @ivar clients: how many clients wait for it; C{None} where the server was
        asked by handle, which it does not answer.
    """

    known: bool
    running: bool
    numerator: int
    denominator: int
    clients: int | None = None


class StatusQuestion(Single[JobStatus]):
    """GET_STATUS."""

    expects = STATUS_RES

    def meaning(self, arguments: list[Data]) -> JobStatus:
        _, known, running, numerator, denominator = (decimal(bytes(argument)) for argument in arguments)
        return JobStatus(known != 0, running != 0, numerator, denominator)

    def lost(self, why: str) -> None:
        self.failed(NotConnected(why))


class UniqueQuestion(StatusQuestion):
    """GET_STATUS_UNIQUE."""

    expects = STATUS_RES_UNIQUE

    def meaning(self, arguments: list[Data]) -> JobStatus:
        _, known, running, numerator, denominator, clients = (
            decimal(bytes(argument)) for argument in arguments
        )
        return JobStatus(known != 0, running != 0, numerator, denominator, clients)


@dataclass(frozen=True)
class Result:
    """
    The outcome of a job, and its result.

    @ivar handle: the job's handle; empty where no server knows a job of this unique.
    @ivar outcome: C{done}; C{failed}, and it is not tried again; C{dead}: it has no attempt left, and
        an operator may queue it again; C{cancelled} by an operator, or because nobody was left who
        wanted it; C{expired} before a worker had it; C{pending}: it has not ended; C{unknown}: there
        was never such a job, or nothing is known of it any more.
    @ivar data: what the worker sent ahead of the result, joined.
    @ivar result: what the worker returned; of a job that failed or is dead, the last worker's message.
    @ivar complete: whether C{data} and C{result} are all that the worker sent. It is false where
        that was not kept, as no policy asks for it, it was too large, or it has made room for
        others. Who waited for the end gets the result even so.
    """

    handle: bytes
    outcome: str
    data: bytes = b""
    result: bytes = b""
    complete: bool = True

    @property
    def known(self) -> bool:
        """Whether the server knows the job."""
        return self.outcome != OUTCOME_UNKNOWN.decode("ascii")

    @property
    def ended(self) -> bool:
        """Whether the job has ended."""
        return self.known and self.outcome != OUTCOME_PENDING.decode("ascii")


class ResultQuestion(Single[Result]):
    """
    GET_RESULT. Its answer comes whenever it is known, and is recognized by its token.

    @ivar token: what the server sends back with the answer.
    @ivar wait: whether the server answers only when the job has ended.
    @ivar on_cancelled: called when nobody waits for the answer any more.
    """

    expects = RESULT
    # Who reads "unknown" may submit the job again, and it would run twice.
    unanimous = True

    def __init__(self, token: bytes, handle: bytes, function: bytes, unique: bytes, wait: bool) -> None:
        self.token = token
        self._job = handle, function, unique
        self.wait = wait
        self.on_cancelled: Callable[[ResultQuestion], object] | None = None
        # Asked twice it does no harm, and who waits needs the end, whatever happens on the way.
        super().__init__([self.packet(wait)], resend=wait, ability="the results of jobs")

    def packet(self, wait: bool) -> bytes:
        """The question's bytes."""
        return packet(GET_RESULT, self.token, *self._job, b"%d" % wait)

    def _cancel(self, _: Deferred[Result]) -> None:
        if self.finish() and self.on_cancelled is not None:
            self.on_cancelled(self)

    def answered(self, arguments: list[Data]) -> None:
        if bytes(arguments[2]) == OUTCOME_REFUSED:
            why = bytes(arguments[4]).decode("utf-8", "replace")
            self.failed(AccessDenied(why) if why.startswith(NOT_ALLOWED) else ResultUnavailable(why))
        else:
            super().answered(arguments)

    def meaning(self, arguments: list[Data]) -> Result:
        _, handle, outcome, size, body = map(bytes, arguments)
        cut = decimal(size)
        return Result(handle, outcome.decode("ascii", "replace"), body[:cut], body[cut:], size != b"-")

    def lost(self, why: str) -> None:
        self.failed(NotConnected(why))


class OptionQuestion(Request):
    """OPTION_REQ: asks whether the server has the extension, the packets of this project's own."""

    expects = OPTION_RES

    def __init__(self, granted: Callable[[], object], refused: Callable[[str], object]) -> None:
        """
        @param granted: called if it has.
        @param refused: called with the reason if it has not.
        """
        super().__init__([packet(OPTION_REQ, EXTENSION_OPTION)])
        self._granted = granted
        self._refused = refused

    def answered(self, arguments: list[Data]) -> None:
        self.finish()
        self._granted()

    def failed(self, error: Exception) -> None:
        self.finish()
        self._refused(str(error))

    def lost(self, why: str) -> None:
        # The connection itself gives back the requests that wait for this answer.
        self.finish()

"""
What a client asks a server besides jobs: how far one is, what became of it, and
what the server can do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from txgear.client.requests import Request, Single
from txgear.errors import NotConnected, ResultUnavailable
from txgear.protocol.constants import (
    EXTENSION_OPTION,
    GET_RESULT,
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
    What a server knows of a job.

    A job that has ended is not known, like one that never was.

    @ivar known: the server has the job.
    @ivar running: a worker has it.
    @ivar numerator: how far it is, as the worker last said.
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
    What became of a job, and what it brought.

    @ivar handle: the job's handle; empty where no server knows a job of this unique.
    @ivar outcome: C{done}; C{failed}, and it is not tried again; C{dead}: it has no attempt left, and
        an operator may queue it again; C{cancelled} by an operator, or because nobody was left who
        wanted it; C{expired} before a worker had it; C{pending}: it has not ended; C{unknown}: there
        was never such a job, or nothing is known of it any more.
    @ivar data: what the worker sent ahead of the result, joined.
    @ivar result: what the worker returned; of a job that failed or is dead, what the worker said of that.
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
        """Whether the job is over."""
        return self.known and self.outcome != OUTCOME_PENDING.decode("ascii")


class ResultQuestion(Single[Result]):
    """
    GET_RESULT. Its answer comes whenever it is known, and is told by the token.

    @ivar token: what the server sends back with the answer.
    @ivar wait: whether to answer when the job has ended, if it has not yet.
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
        # Asked twice it does no harm, and who waits wants to hear of the end, whatever happens on the way.
        super().__init__([self.packet(wait)], resend=wait, ability="the results of jobs")

    def packet(self, wait: bool) -> bytes:
        """The question's bytes."""
        return packet(GET_RESULT, self.token, *self._job, b"%d" % wait)

    def _cancel(self, _: Deferred[Result]) -> None:
        if self.finish() and self.on_cancelled is not None:
            self.on_cancelled(self)

    def answered(self, arguments: list[Data]) -> None:
        if bytes(arguments[2]) == OUTCOME_REFUSED:
            self.failed(ResultUnavailable(bytes(arguments[4]).decode("utf-8", "replace")))
        else:
            super().answered(arguments)

    def meaning(self, arguments: list[Data]) -> Result:
        _, handle, outcome, size, brought = map(bytes, arguments)
        cut = decimal(size)
        return Result(handle, outcome.decode("ascii", "replace"), brought[:cut], brought[cut:], size != b"-")

    def lost(self, why: str) -> None:
        self.failed(NotConnected(why))


class OptionQuestion(Request):
    """OPTION_REQ: does the server speak the packets of this project's own?"""

    expects = OPTION_RES

    def __init__(self, granted: Callable[[], object], refused: Callable[[str], object]) -> None:
        """
        @param granted: called if it does.
        @param refused: called with the reason if it does not.
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
        # Those for whom it was asked are the connection's affair.
        self.finish()

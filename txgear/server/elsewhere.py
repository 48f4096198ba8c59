"""
Jobs of other servers over the same database: what can be asked of those from here.

What a peer asks for goes to the server that has the job, with what the peer may do, and is carried out there
as if it had been asked there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.broker.model import Peer
from txgear.errors import ServerError

log = Logger()

COMMAND: Final = "command"
"""A text command: its line; the answer is all that is written for it."""
RESULT: Final = "result"
"""The arguments of a GET_RESULT; the answer has those of a RESULT."""
HTTP: Final = "http"
"""A request of the web as HTTP/1.0 has it; the answer is the response."""
TASK: Final = "task"
"""What is done to many jobs; see L{txgear.server.sharedtasks}."""

PATIENCE: Final = 5.0
"""Seconds in which another server is to do what is asked of it."""
OF_THE_JOB: Final = "The server that has the job"
NOT_ANSWERED: Final = "NOT_ANSWERED"
"""The code of the errors that say that the other server does not answer."""
NOT_READ: Final = "NOT_READ"
"""The code of those that say that the store does not."""
DOUBT: Final = "; it is not known whether it is done"
"""How their texts end, and those of others, where it may have been done all the same."""


class Progress(NamedTuple):
    """
    How far a job of another server is, which has not ended.

    @ivar handle: its handle.
    @ivar function: the name of its function.
    @ivar running: whether a worker has it, as far as its server has said; and so are the others.
    @ivar numerator: of what is done of it,
    @ivar denominator: of all.
    @ivar clients: how many wait for it there.
    """

    handle: bytes
    function: bytes
    running: bool = False
    numerator: int = 0
    denominator: int = 0
    clients: int = 0


class Kept(NamedTuple):
    """
    What a job of another server has brought, which is done.

    @ivar handle: its handle.
    @ivar data_size: bytes that its worker sent before the last of it.
    @ivar whole: these and that.
    """

    handle: bytes
    data_size: int
    whole: bytes


class Other(NamedTuple):
    """
    Another server; or a part of the store that nobody has, and that somebody will take.

    @ivar name: what it is called.
    @ivar part: the last of its parts.
    @ivar key: what tells it from others.
    @ivar lives: whether it is a server.
    """

    name: str
    part: int
    key: bytes
    lives: bool


class Elsewhere(Protocol):
    """
    The jobs of other servers. What a Deferred brings comes in a turn of the server's. Each fails with a
    L{ServerError} where the store does not answer, or too much is asked at once.
    """

    def may_have(self, word: bytes) -> bool:
        """
        Whether the job with this handle may be another server's. It is not in memory here then.

        @param word: the handle, as it is shown or as it is.
        """

    def status(self, handle: bytes) -> Deferred[Progress | None]:
        """
        How far a job is.

        @param handle: one that another server L{may_have}.
        @return: C{None} where no other server has it, or it has ended. Where its server does not answer in
            two seconds, it does not seem to run.
        """

    def status_of_unique(self, unique: bytes, wanted: Callable[[bytes], bool]) -> Deferred[Progress | None]:
        """
        How far the newest job with a unique is.

        @param wanted: whether a job of a function counts.
        """

    def handle_of(
        self, function: bytes, unique: bytes, wanted: Callable[[bytes], bool]
    ) -> Deferred[bytes | None]:
        """
        The handle of the job with a unique that another server has: one that has not ended, or else the
        newest.

        @param function: its function's name; empty for any.
        @param wanted: whether a job of a function counts.
        """

    def result(self, word: bytes, peer: Peer) -> Deferred[Kept | None]:
        """
        What a job has brought, as the store has it: that server need not be asked.

        @param word: the job's handle, as it is shown or as it is; one that another server L{may_have}.
        @param peer: who asks.
        @return: C{None} where that cannot be told so: the job is not done, nothing or too much is kept, the
            peer may not read it, or no other server has it. L{pass_on} knows then.
        """

    def pass_on(
        self, word: bytes, peer: Peer, kind: str, parts: Sequence[bytes], *, wait: float | None = 0.0
    ) -> Deferred[list[bytes] | None]:
        """
        Have something done by the server that has a job. To cancel the Deferred is to wait no more.

        @param word: the job's handle, as it is shown or as it is; one that another server L{may_have}.
        @param peer: who asks.
        @param kind: L{COMMAND}, L{RESULT} or L{HTTP}.
        @param parts: what is asked.
        @param wait: seconds that it may take besides the L{PATIENCE}; C{None} for as long as it likes. What
            takes longer fails.
        @return: the answer; C{None} where no other server has the job.
        """

    def others(self) -> list[Other]:
        """
        The other servers, as they were seen last, and each part that nobody has.
        """

    def ask(self, other: Other, peer: Peer, kind: str, parts: Sequence[bytes]) -> Deferred[list[bytes]]:
        """
        Have something done by another server, or by whoever has what it had by then. What takes longer than
        the L{PATIENCE} fails.

        @param peer: who asks.
        @param kind: L{COMMAND} or L{TASK}.
        @param parts: what is asked.
        @return: the answer.
        """


def not_answered(is_begun: bool, who: str = OF_THE_JOB) -> ServerError:
    """
    The error for what the other server has not answered.

    @param is_begun: whether it may have been done all the same.
    @param who: that server, in words.
    """
    return ServerError(f"{who} does not answer{DOUBT if is_begun else ''}", NOT_ANSWERED)


def error_of(failure: Failure) -> ServerError:
    """
    The error that a peer is told where something of another server has failed. What is no L{ServerError} is a
    defect, which is logged.
    """
    if isinstance(failure.value, ServerError):
        return failure.value
    log.failure("a defect in an answer from another server", failure)
    return ServerError("A defect in the server; its log has more", "DEFECT")


def not_read(is_begun: bool = False) -> ServerError:
    """
    The error for what could not be looked up, or not be asked of another server.

    @param is_begun: whether that may have been asked all the same.
    """
    return ServerError(f"The store does not answer{DOUBT if is_begun else ''}", NOT_READ)

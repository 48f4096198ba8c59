"""
A request to a server, as the client keeps it: what is sent, and who waits for the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from txgear.errors import NotConnected, ServerError
from txgear.net.servers import Server
from txgear.protocol.constants import JOB_CREATED
from txgear.protocol.packets import Data

T = TypeVar("T")


class Request:
    """
    Something that a server answers once.

    @cvar expects: the packet type of a good answer.
    @ivar chunks: the request's bytes; empty once it is answered and will not be sent again.
    @ivar resend: whether it is sent again when the connection goes down before it is done.
    @ivar server: the server to which it was sent last; C{None} before.
    @ivar finished: whether nobody waits for it any more.
    @ivar on_finished: called once when that comes about.
    @ivar ability: what a server must be able to do for it beyond the protocol of all, in words; empty
        for nothing.
    @ivar plain: what is sent to a server without that ability, where it is not needed; empty where it is.
    @ivar refusals: how many connections have gone down over the question whether the server has that
        ability; the request was not sent there.
    @ivar draining: the servers that did not take it because they are about to end, or cannot store it, with
        their errors.
    @ivar give_up_at: when another server is no longer waited for, by the client's clock, where there
        are such servers.
    """

    expects: ClassVar[int] = JOB_CREATED

    def __init__(self, chunks: list[bytes], resend: bool = False, ability: str = "") -> None:
        self.chunks = chunks
        self.resend = resend
        self.ability = ability
        self.plain: list[bytes] = []
        self.refusals = 0
        self.draining: dict[Server, ServerError] = {}
        self.give_up_at = 0.0
        self.server: Server | None = None
        self.finished = False
        self.on_finished: Callable[[Request], object] | None = None

    def begin(self, clock: IReactorTime) -> None:
        """The client has the request now, and somebody waits for its answer."""

    def answered(self, arguments: list[Data]) -> None:
        """The expected answer has come."""
        raise NotImplementedError

    def failed(self, error: Exception) -> None:
        """No answer will come."""
        raise NotImplementedError

    def lost(self, why: str) -> None:
        """The connection over which it was sent has ended."""
        raise NotImplementedError

    def carry(self, chunks: list[bytes]) -> None:
        """
        Have the job carry its trace where the server can take that.

        @param chunks: the request's bytes, with the trace.
        """
        if not self.ability:
            self.plain, self.ability = self.chunks, "traces"
        self.chunks = chunks

    def do_without(self) -> bool:
        """
        The server has not the ability.

        @return: whether the request can be sent to it all the same.
        """
        if not self.plain:
            return False
        self.chunks, self.plain, self.ability = self.plain, [], ""
        return True

    def fail_unsent(self, why: str) -> None:
        """It will not be sent, or not again. If it was sent before, it may have been obeyed."""
        if self.server is None:
            self.failed(NotConnected(why))
        else:
            self.lost(why)

    def finish(self) -> bool:
        """
        End the waiting.

        @return: whether it had not ended before.
        """
        if self.finished:
            return False
        self.finished = True
        self.chunks = self.plain = []
        if self.on_finished is not None:
            self.on_finished(self)
        return True


class Single(Request, Generic[T]):
    """
    A request with one Deferred.

    @cvar unanimous: of a question for a job: whether "unknown" is believed only when all servers that
        may have the job have given that answer.
    @ivar answer: fires with what L{meaning} returns; fails with the error that L{failed} is given.
        Cancelling it stops the waiting; nothing is sent.
    """

    unanimous: ClassVar[bool] = False

    def __init__(self, chunks: list[bytes], resend: bool = False, ability: str = "") -> None:
        super().__init__(chunks, resend, ability)
        self.answer: Deferred[T] = Deferred(self._cancel)

    def _cancel(self, _: Deferred[T]) -> None:
        self.finish()

    def meaning(self, arguments: list[Data]) -> T:
        """What the arguments of the answer say."""
        raise NotImplementedError

    def answered(self, arguments: list[Data]) -> None:
        if self.finish():
            self.answer.callback(self.meaning(arguments))

    def failed(self, error: Exception) -> None:
        if self.finish():
            self.answer.errback(error)

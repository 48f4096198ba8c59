"""
Asking after a job: which server has it is often not known, so one is asked after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.internet.task import deferLater

from txgear.client.connection import ClientConnection
from txgear.client.requests import Request, Single
from txgear.client.sender import Sender
from txgear.errors import AccessDenied, MissingAbility, NotConnected, TxgearError
from txgear.net import arguments
from txgear.net.arguments import Text
from txgear.net.connector import connect_once, ended
from txgear.net.servers import Server

AGAIN_SECONDS: Final = 1.0
"""The pause before a server that could not be asked is tried again."""


class Finding(Protocol):
    """A server's answer to a question for a job."""

    @property
    def known(self) -> bool:
        """Whether the server knows the job."""


FindingT = TypeVar("FindingT", bound=Finding)


class Lookup:
    """
    Asks servers for a job until one knows it.

    The connected server is asked over the client's connection. Any other one is visited: it is asked over a
    connection for this one question.
    """

    def __init__(
        self,
        clock: IReactorTime,
        servers: list[Server],
        sender: Sender,
        connect_timeout: float,
        alike: bool = False,
    ) -> None:
        """
        @param sender: asks the connected server, and knows which server gave which handle.
        @param connect_timeout: seconds for which a server is tried again and again, if the question waits.
        @param alike: whether another server may have a job by now whose server is away.
        """
        self._alike = alike
        self._clock = clock
        self._servers = servers
        self._sender = sender
        self._connect_timeout = connect_timeout
        self._visits: dict[Request, ClientConnection] = {}

    def locate(self, handle: Text) -> tuple[bytes, Server | None]:
        """
        A handle as the server knows it, and the server that gave it; C{None} if that is not known.

        @raise ValueError: no server gives such a handle.
        @raise TypeError: it is neither text nor bytes.
        """
        address, name = arguments.job_handle(handle)
        named = [server for server in self._servers if address and server.address == address]
        return name, named[0] if named else self._sender.handles.get(name)

    def find(self, question: Callable[[], Single[FindingT]], server: Server | None) -> Deferred[FindingT]:
        """
        Ask for a job.

        The connected server is asked first. A server that cannot be asked is passed over; if the question
        waits, it is tried again after the others.

        @param question: makes the question, anew for each server.
        @param server: the only server to ask; all of them where it is C{None}.
        @return: fires with the answer of a server that knows the job, or with that of the last one that
            does not; fails with L{NotConnected}, L{AccessDenied} or L{MissingAbility} where no answer is to
            be believed, and as soon as a server answers with another error, with that.
            Cancelling it gives the question up.
        """
        return Deferred.fromCoroutine(self._find(question, server))

    async def _find(self, question: Callable[[], Single[FindingT]], server: Server | None) -> FindingT:
        if self._alike and server is not None and self._sender.open_to(server) is None:
            server = None
        left = self._servers[:] if server is None else [server]
        found: FindingT | None = None
        problems: dict[Server, TxgearError] = {}
        connection = None if server is None else self._sender.open_to(server)
        if server is None or connection is not None:
            asked = question()
            try:
                found = await self._sender.ask(asked, connection).answer
            except (NotConnected, MissingAbility, AccessDenied) as error:
                # One that is sent again has had the time that there is, at any server.
                if asked.server is None or (asked.resend and isinstance(error, NotConnected)):
                    raise
                if asked.server in left:
                    problems[asked.server] = error
            left = [other for other in left if other is not asked.server]
        tried: set[Server] = set()
        patience = self._clock.seconds() + self._connect_timeout
        while left and not self._sender.closed and (found is None or not found.known):
            current, asked = left.pop(0), question()
            try:
                found = await self._visit(current, asked, AGAIN_SECONDS if current in tried else 0.0)
                problems.pop(current, None)
            except (MissingAbility, AccessDenied) as error:
                problems[current] = error
            except NotConnected as error:
                problems[current] = error
                if asked.server is not None:
                    patience = self._clock.seconds() + self._connect_timeout
                if asked.resend and self._clock.seconds() < patience:
                    left.append(current)
            tried.add(current)
        if found is not None and (found.known or not asked.unanimous or not problems):
            return found
        raise [NotConnected("the client is closed"), *problems.values()][-1]

    def _visit(self, server: Server, question: Single[FindingT], pause: float) -> Deferred[FindingT]:
        """
        Ask a server that is not the connected one, over a connection for this one question. A server
        that drains takes no other connection any more, and is asked over the one that was kept to it.

        @param pause: seconds to wait before.
        """
        if not question.resend and (kept := self._sender.open_to(server)) is not None:
            return self._sender.ask(question, kept).answer

        def connect(_: object = None) -> Deferred[IProtocol]:
            return connect_once(self._clock, server, lambda: None if question.finished else connection)

        def lost(visited: ClientConnection, _: list[Request], why: str) -> None:
            if visited.refusal is not None:
                question.failed(visited.refusal)
            else:
                question.lost(f"{server.name}: {why}")

        def finished(_: Request) -> None:
            del self._visits[question]
            connecting.cancel()
            if connection.transport is not None:
                connection.close()

        connection = self._sender.connection_to(server, lambda connection: connection.ask(question), lost)
        question.on_finished = finished
        self._visits[question] = connection
        connecting = connect() if not pause else deferLater(self._clock, pause).addCallback(connect)
        _ = connecting.addErrback(
            lambda failure: question.lost(f"{server.name}: {failure.getErrorMessage()}")
        )
        return question.answer

    def stop(self) -> tuple[list[Request], Deferred[None]]:
        """
        The client is closed: visit no more servers.

        @return: the questions that are under way, which are to be failed; and a Deferred that fires when
            the connections for them have ended.
        """
        visits = dict(self._visits)
        stopped: Deferred[None] = Deferred()
        _ = gatherResults(map(ended, visits.values())).addCallback(lambda _: stopped.callback(None))
        return list(visits), stopped

"""
Requests on their way: which server gets them, and what they wait for while there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from txgear.client.connection import ClientConnection, HandleMap
from txgear.client.requests import Request
from txgear.errors import NotConnected, QueueError, ServerError
from txgear.net.connector import Connector
from txgear.net.login import Login
from txgear.net.serverconnection import Limits
from txgear.net.servers import Server
from txgear.net.steady import LATE
from txgear.net.watchdog import ATTEMPT_SECONDS

RequestT = TypeVar("RequestT", bound=Request)


class Sender:
    """
    Sends requests to the first of some servers that answers.

    It connects when it is first asked for something. A request waits until there is a connection, for
    C{connect_timeout} seconds at the most. Where a connection is lost, what may be sent again waits for the
    next one, and all else fails.

    A server that is about to end refuses jobs. It is left then: the refused job and all that follows are for
    the next server, and the connection stays until what was asked there is answered. Where all
    servers refuse a job, it fails with the error of the last one.

    @ivar handles: which server gave which handle.
    @ivar closed: whether what is asked fails at once: from L{stop} until L{reopen}.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        servers: list[Server],
        limits: Limits,
        greeting: list[bytes],
        login: Login | None,
        connect_timeout: float,
        random: Callable[[], float],
    ) -> None:
        """
        @param greeting: the packets that each connection begins with.
        @param login: logs in before them.
        @param connect_timeout: seconds that a request waits for a server.
        @param random: numbers from 0 to 1, to spread the attempts to connect.
        """
        self._clock = clock
        self._servers = servers
        self._limits = limits
        self._greeting = greeting
        self._login = login
        self._connect_timeout = connect_timeout
        self._connector = Connector(
            clock,
            servers,
            lambda server: self.connection_to(server, self._ready, self._lost),
            self._unreachable,
            random,
            self._turned_away,
        )
        self._connection: ClientConnection | None = None
        self._unsent: dict[Request, IDelayedCall] = {}
        self.handles = HandleMap()
        self.closed = False

    # Asking

    def ask(self, request: RequestT, connection: ClientConnection | None = None) -> RequestT:
        """
        Send a request as soon as there is a server.

        @param connection: where to send it; by default the connection that is used, or the next one.
        @return: the request.
        """
        request.begin(self._clock)
        self._send([request], connection or self._usable())
        return request

    def ask_all(self, requests: Sequence[Request]) -> None:
        """Send some requests in one write, as soon as there is a server."""
        for request in requests:
            request.begin(self._clock)
        self._send(requests, self._usable())

    def open_to(self, server: Server) -> ClientConnection | None:
        """A usable connection to this server, be it the one that is used or one that was left."""
        for connection in self._connector.connections:
            if connection.server is server and connection.usable:
                return connection
        return None

    def connection_to(
        self,
        server: Server,
        on_ready: Callable[[ClientConnection], object],
        on_lost: Callable[[ClientConnection, list[Request], str], object],
    ) -> ClientConnection:
        """A new connection, which is to be connected. The arguments are those of L{ClientConnection}."""
        return ClientConnection(
            self._clock,
            server,
            self._limits,
            self._greeting,
            self._login,
            self.handles,
            on_ready,
            on_lost,
            self._refused,
        )

    # The end

    def stop(self) -> tuple[list[Request], Deferred[None]]:
        """
        Leave the servers, and take no more requests.

        @return: the requests that were waiting, which are to be failed; and a Deferred that fires when
            all connections have ended.
        """
        self.closed = True
        unsent = self._take_unsent()
        sent = [request for connection in self._connector.connections for request in connection.forget()]
        return [*unsent, *sent], self._connector.stop()

    def reopen(self) -> None:
        """Take requests again after L{stop}."""
        self.closed = False

    # Connections

    def _usable(self) -> ClientConnection | None:
        connection = self._connection
        return connection if connection is not None and connection.usable else None

    def _unreachable(self, server: Server, why: str) -> None:
        self.log.warn("{server} cannot be reached: {why}", server=server.name, why=why)

    def _turned_away(self, error: ServerError) -> None:
        """All servers refuse the token: they are tried again for what is asked next, and not before."""
        self._connector.rest()
        for request in self._take_unsent():
            request.failed(error)

    def _take_unsent(self) -> list[Request]:
        """What waits for a server; it waits no more."""
        unsent, self._unsent = self._unsent, {}
        for timer in unsent.values():
            timer.cancel()
        return list(unsent)

    def _ready(self, connection: ClientConnection) -> None:
        self._connector.proved()
        self._connection = connection
        unsent = self._take_unsent()
        with connection.gathered():
            for request in unsent:
                connection.ask(request)

    def _lost(self, connection: ClientConnection, undone: list[Request], why: str) -> None:
        if self._connection is connection:
            self._connection = None
        undone = [request for request in undone if not request.finished]
        again = [request for request in undone if request.resend or request.server is None]
        for request in again:
            request.draining.clear()
            self._wait(request)
        for request in undone:
            if request not in self._unsent:
                request.fail_unsent(f"the connection to {connection.server.name} was lost: {why}")

    def _refused(self, connection: ClientConnection, request: Request, error: QueueError) -> None:
        """A server that is about to end has not taken a job: it is for the next one, if there is one."""
        if not request.draining:
            request.give_up_at = self._clock.seconds() + self._connect_timeout
        request.draining[connection.server] = error
        if len(request.draining) == len(self._servers):
            request.failed(error)
            return
        if connection is self._connection:
            self.log.info("{server} is about to end; it gets no more jobs", server=connection.server.name)
            self._connection = None
            self._connector.leave()
        connection.retire()
        if not request.finished:
            if not request.resend:
                request.server = None
            self._send([request], self._usable())

    # Requests

    def _send(self, requests: Sequence[Request], connection: ClientConnection | None) -> None:
        if self.closed:
            for request in requests:
                request.failed(NotConnected("the client is closed"))
        elif connection is not None:
            with connection.gathered():
                for request in requests:
                    connection.ask(request)
        else:
            for request in requests:
                self._wait(request)
            self._connector.start()

    def _wait(self, request: Request) -> None:
        """Keep a request until there is a server, or for too long."""
        now = self._clock.seconds()
        patience = max(request.give_up_at - now, 0.0) if request.draining else self._connect_timeout
        self._unsent[request] = self._clock.callLater(patience, self._give_up, request, now + patience)
        request.on_finished = self._withdraw

    def _withdraw(self, request: Request) -> None:
        """Nobody waits for a request any more."""
        timer = self._unsent.pop(request, None)
        if timer is not None:
            timer.cancel()

    def _give_up(self, request: Request, due: float) -> None:
        """A request has waited for too long."""
        if self._clock.seconds() - due > LATE:
            # We stood still: the attempt to connect that is under way has had no time.
            self._unsent[request] = self._clock.callLater(ATTEMPT_SECONDS, self._give_up, request, inf)
            return
        del self._unsent[request]
        if request.draining:
            request.failed(list(request.draining.values())[-1])
            return
        refusals = self._connector.refusals
        if len(refusals) == len(self._servers):
            request.failed(refusals[self._servers[-1]])
            return
        why = f"no server could be reached within {self._connect_timeout:g} seconds"
        if self._connector.problem:
            why += f"; {self._connector.problem}"
        request.fail_unsent(why)

"""
Requests on their way: which server gets them, and what they wait for while there is none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from math import inf
from typing import TypeVar

from twisted.internet.defer import Deferred, gatherResults
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
from txgear.quantities import second_words

RequestT = TypeVar("RequestT", bound=Request)


class Sender:
    """
    Sends requests to the first of some servers that answers; or to all of them in turn, where it is to spread
    them. Then it is connected to each, and passes over those that are away.

    It connects when it is first asked for something. A request waits until there is a connection, for
    C{connect_timeout} seconds at the most. Where a connection is lost, what may be sent again goes to another
    server, or waits for one, and all else fails.

    A server that is about to end refuses jobs, and so does one that cannot store them. It is left then: the
    refused job and all that follow are for the next server, and the connection stays until what was asked
    there is answered. Where all servers refuse a job, it fails with the error of the last one.

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
        spread: bool = False,
    ) -> None:
        """
        @param greeting: the packets that each connection begins with.
        @param login: logs in before them.
        @param connect_timeout: seconds that a request waits for a server.
        @param random: numbers from 0 to 1, to spread the attempts to connect.
        @param spread: whether all servers get some of the requests, and not the first that answers.
        """
        self._clock = clock
        self._servers = servers
        self._limits = limits
        self._greeting = greeting
        self._login = login
        self._connect_timeout = connect_timeout
        self._connectors = [
            Connector(
                clock,
                each,
                lambda server: self.connection_to(server, self._ready, self._lost),
                self._unreachable,
                random,
                self._turned_away,
            )
            for each in ([[server] for server in servers] if spread else [servers])
        ]
        # Those that are used, the one whose turn it is first.
        self._used: deque[ClientConnection] = deque()
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
        self._send([request], connection)
        return request

    def ask_all(self, requests: Sequence[Request]) -> None:
        """Send some requests in one write to each server, as soon as there is one."""
        for request in requests:
            request.begin(self._clock)
        self._send(requests)

    def open_to(self, server: Server) -> ClientConnection | None:
        """A usable connection to this server, be it the one that is used or one that was left."""
        for connector in self._connectors:
            for connection in connector.connections:
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
        connections = [each for connector in self._connectors for each in connector.connections]
        sent = [request for connection in connections for request in connection.forget()]
        stopped: Deferred[None] = Deferred()
        _ = gatherResults([connector.stop() for connector in self._connectors]).addCallback(
            lambda _: stopped.callback(None)
        )
        return [*unsent, *sent], stopped

    def reopen(self) -> None:
        """Take requests again after L{stop}."""
        self.closed = False

    # Connections

    def _next(self) -> ClientConnection | None:
        """The connection whose turn it is."""
        for _ in self._used:
            connection = self._used[0]
            self._used.rotate(-1)
            if connection.usable:
                return connection
        return None

    def _connector_of(self, connection: ClientConnection) -> Connector[ClientConnection]:
        return next(each for each in self._connectors if connection in each.connections)

    @property
    def _refusals(self) -> dict[Server, ServerError]:
        """The servers that refuse the token."""
        return {server: error for each in self._connectors for server, error in each.refusals.items()}

    def _unreachable(self, server: Server, why: str) -> None:
        self.log.warn("{server} cannot be reached: {why}", server=server.name, why=why)

    def _turned_away(self, error: ServerError) -> None:
        """If all servers refuse the token, they are tried again for what is asked next, and not before."""
        if len(self._refusals) < len(self._servers):
            return
        for connector in self._connectors:
            connector.rest()
        for request in self._take_unsent():
            request.failed(error)

    def _take_unsent(self) -> list[Request]:
        """What waits for a server; it waits no more."""
        unsent, self._unsent = self._unsent, {}
        for timer in unsent.values():
            timer.cancel()
        return list(unsent)

    def _ready(self, connection: ClientConnection) -> None:
        self._connector_of(connection).proved()
        self._used.append(connection)
        unsent = self._take_unsent()
        with connection.gathered():
            for request in unsent:
                connection.ask(request)

    def _lost(self, connection: ClientConnection, undone: list[Request], why: str) -> None:
        if connection in self._used:
            self._used.remove(connection)
        undone = [request for request in undone if not request.finished]
        again = {request: None for request in undone if request.resend or request.server is None}
        for request in again:
            request.draining.clear()
        self._pass_on(again)
        for request in undone:
            if request not in again:
                request.fail_unsent(f"the connection to {connection.server.name} was lost: {why}")

    def _refused(self, connection: ClientConnection, request: Request, error: QueueError) -> None:
        """A server takes no jobs, and this one neither: it is for the next one, if there is one."""
        if not request.draining:
            request.give_up_at = self._clock.seconds() + self._connect_timeout
        request.draining[connection.server] = error
        if len(request.draining) == len(self._servers):
            request.failed(error)
            return
        if connection in self._used:
            self.log.info(
                "{server} gets no more jobs for now: {error}", server=connection.server.name, error=error
            )
            self._used.remove(connection)
            self._connector_of(connection).leave()
        connection.retire()
        if not request.finished:
            if not request.resend:
                request.server = None
            self._send([request])

    # Requests

    def _send(self, requests: Sequence[Request], connection: ClientConnection | None = None) -> None:
        if self.closed:
            for request in requests:
                request.failed(NotConnected("the client is closed"))
        elif connection is not None:
            for request in requests:
                connection.ask(request)
        else:
            self._pass_on(requests)
            if self._unsent:
                for connector in self._connectors:
                    connector.start()

    def _pass_on(self, requests: Iterable[Request]) -> None:
        """Have those ask whose turn it is; where there is nobody, the requests wait."""
        with ExitStack() as stack:
            asked = set()
            for request in requests:
                connection = self._next()
                if connection is None:
                    self._wait(request)
                    continue
                if connection not in asked:
                    asked.add(connection)
                    stack.enter_context(connection.gathered())
                connection.ask(request)

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
        refusals = self._refusals
        if len(refusals) == len(self._servers):
            request.failed(refusals[self._servers[-1]])
            return
        why = f"no server could be reached within {second_words(self._connect_timeout)}"
        for connector in self._connectors:
            if connector.problem:
                why += f"; {connector.problem}"
        request.fail_unsent(why)

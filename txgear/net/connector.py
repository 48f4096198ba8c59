"""
Being connected: to one server for a moment, or to the first of several that answers, for good.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.net.serverconnection import ATTEMPT_SECONDS, ServerConnection
from txgear.net.servers import Server

FIRST_DELAY: Final = 0.5
"""Seconds, at the most, before a server that went away is tried again."""
LONGEST_DELAY: Final = 10.0
"""
Seconds, at the most, between two attempts. Ten thousand peers that wait for
one server make no more than some thousand attempts a second of it.
"""


class _ConnectionFactory(Factory):
    noisy = False

    def __init__(self, build: Callable[[], ServerConnection | None]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> ServerConnection | None:
        return self._build()


def connect_once(
    clock: IReactorTime, server: Server, build: Callable[[], ServerConnection | None]
) -> Deferred[IProtocol]:
    """
    Connect, this once, within L{ATTEMPT_SECONDS}.

    @param build: makes the connection's protocol, or C{None} if it is not wanted any more: not every
        endpoint can be stopped in the middle of an attempt.
    @return: fires with what C{build} made; fails as the endpoint does, or with
        C{TimeoutError}. Cancelling gives the attempt up.
    """

    def overdue(_: object, seconds: float) -> Failure:
        return Failure(TimeoutError(f"no connection within {seconds:g} seconds"))

    attempt: Deferred[IProtocol] = maybeDeferred(server.endpoint.connect, _ConnectionFactory(build))
    return attempt.addTimeout(ATTEMPT_SECONDS, clock, onTimeoutCancel=overdue)


def ended(connection: ServerConnection) -> Deferred[None]:
    """Fires when a connection has ended, at once if it has or never was. Cancelling changes nothing else."""
    end: Deferred[None] = Deferred()
    if connection.transport is None or connection.ended is not None:
        end.callback(None)
    else:
        connection.at_end(lambda: None if end.called else end.callback(None))
    return end


ConnectionT = TypeVar("ConnectionT", bound=ServerConnection)


class Connector(Generic[ConnectionT]):
    """
    Keeps one connection, to the first of some servers that answers.

    It stays with a server as long as the connection lasts, and goes on to the
    next one when it is lost, cannot be made, or is left. When all have failed in
    turn it waits: longer each time, and never all peers equally long.

    It does what Twisted's C{ClientService} does, which cannot leave a connection that still has
    something to bring, does not tell why an attempt failed, and bears no start while it stops.

    @ivar connection: the connection, or the last one there was.
    @ivar connections: all that have not ended, also those that were left.
    @ivar problem: which server could not be reached last, and why.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        servers: list[Server],
        build: Callable[[Server], ConnectionT],
        on_problem: Callable[[Server, str], object],
        random: Callable[[], float],
    ) -> None:
        """
        @param build: makes the protocol of one connection.
        @param on_problem: called with a server that could not be reached, and why: once for each
            change of the reason, until it has answered.
        @param random: numbers from 0 to 1, for the waits.
        """
        self._clock = clock
        self._servers = servers
        self._build = build
        self._on_problem = on_problem
        self._random = random
        self._failures = 0
        self._proved_at: float | None = None
        self._current = 0
        self._told: dict[Server, str] = {}
        self._running = False
        self._attempt: Deferred[IProtocol] | None = None
        self._trying: object | None = None
        self._timer: IDelayedCall | None = None
        self._kept: ConnectionT | None = None
        self.connection: ConnectionT | None = None
        self.connections: set[ConnectionT] = set()
        self.problem = ""

    def start(self) -> None:
        """Connect, and stay connected. Starting it twice is starting it once."""
        if not self._running:
            self._running = True
            self._connect()

    def stop(self) -> Deferred[None]:
        """
        Connect no more, and end all connections once what was written has left. It may be
        stopped twice, and started again at any time.

        @return: fires when all connections that there are now have ended. Cancelling it
            changes nothing about that.
        """
        self._running = False
        self._kept = self._trying = None
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        there = list(self.connections)
        stopped: Deferred[None] = Deferred()
        _ = gatherResults([ended(connection) for connection in there]).addCallback(
            lambda _: stopped.callback(None)
        )
        for connection in there:
            if connection.ended is not None or connection.transport is None:
                continue
            if connection.ready:
                # Our last packets must arrive; see L{Stream.close}.
                connection.close(linger=True)
            else:
                connection.abort()
        return stopped

    def leave(self) -> None:
        """Go on to the next server. The connection stays for as long as those need it who wait for it."""
        if self._kept is not None:
            self._next()

    def proved(self) -> None:
        """The connected server has answered."""
        self._proved_at = self._clock.seconds()
        self._told.pop(self._servers[self._current], None)

    def _connect(self) -> None:
        self._timer = None
        server = self._servers[self._current]

        self._trying = this = object()

        def build() -> ConnectionT | None:
            return self._built(server) if self._trying is this else None

        def failed(failure: Failure) -> None:
            if self._trying is this:
                self._failed(server, failure.getErrorMessage())

        self._attempt = connect_once(self._clock, server, build)
        _ = self._attempt.addErrback(failed)

    def _built(self, server: Server) -> ConnectionT:
        self.connection = self._kept = connection = self._build(server)
        self.connections.add(connection)
        connection.at_end(lambda: self._ended(connection))
        return connection

    def _ended(self, connection: ConnectionT) -> None:
        self.connections.discard(connection)
        why = str(connection.ended)
        if connection is not self._kept:
            return
        if connection.ready:
            self.problem = f"{connection.server.name}: {why}"
            self._next()
        else:
            self._failed(connection.server, why)

    def _failed(self, server: Server, why: str) -> None:
        self.problem = f"{server.name}: {why}"
        if self._told.get(server) != why:
            self._told[server] = why
            self._on_problem(server, why)
        self._next()

    def _next(self) -> None:
        """Go on to the next server, after a while."""
        if self._running:
            self._kept = self._trying = None
            delay = self._delay()
            self.log.debug(
                "attempt {attempt} at {server} in {delay:.1f} seconds",
                attempt=self._failures + 1,
                server=self._servers[self._current].name,
                delay=delay,
            )
            self._timer = self._clock.callLater(delay, self._connect)

    def _delay(self) -> float:
        """
        Choose the next server.

        A connection was a success when it lasted as long as the longest wait:
        some servers accept us only to refuse what we ask.

        @return: seconds to wait before.
        """
        proved_at, self._proved_at = self._proved_at, None
        if proved_at is not None and self._clock.seconds() - proved_at >= LONGEST_DELAY:
            self._failures = 0
        self._current = (self._current + 1) % len(self._servers)
        self._failures += 1
        rounds, rest = divmod(self._failures, len(self._servers))
        if rest:
            return 0.0
        longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(rounds - 1, 10))
        return longest * (1 + self._random()) / 2

"""
Connecting: once to one server, or lastingly to the first of several that answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.errors import ServerError
from txgear.net.serverconnection import ServerConnection
from txgear.net.servers import Server
from txgear.net.watchdog import ATTEMPT_SECONDS
from txgear.quantities import second_words

FIRST_DELAY: Final = 0.5
"""Seconds, at the most, before a server that went away is tried again."""
LONGEST_DELAY: Final = 10.0
"""
Seconds, at the most, between two attempts. Ten thousand peers that wait for
one server make no more than some thousand attempts a second of it.
"""
REFUSED_DELAY: Final = 60.0
"""
Seconds, at the most, between two attempts where all servers refuse the token. A server may shut out an
address from which too many wrong ones come, and others with it.
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
    Connect once, within L{ATTEMPT_SECONDS}.

    @param build: makes the connection's protocol, or returns C{None} if it is not wanted any more: not
        every endpoint can be stopped in the middle of an attempt.
    @return: fires with what C{build} made; fails as the endpoint does, or with
        C{TimeoutError}. Cancelling it gives the attempt up.
    """

    def overdue(_: object, seconds: float) -> Failure:
        return Failure(TimeoutError(f"no connection within {second_words(seconds)}"))

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


class _Attempt(Generic[ConnectionT]):
    """
    An attempt to connect to a server, and the connection that has come of it.

    @ivar connection: the connection; C{None} before it is made.
    @ivar connecting: what L{connect_once} returned.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.connection: ConnectionT | None = None
        self.connecting: Deferred[IProtocol] | None = None


class Connector(Generic[ConnectionT]):
    """
    Keeps one connection, to the first of some servers that answers.

    It stays with a server as long as the connection lasts, and goes on to the next one when that is lost,
    cannot be made, or is left. When all servers have failed in turn it waits: longer each time, and
    never all peers equally long.

    So it is in an attempt, which lasts as long as its connection; or it waits for the next one; or it has
    stopped. There is never more than one attempt: what is heard of an earlier one is passed over.

    Twisted's C{ClientService} cannot leave a connection that others still need, does not tell why an
    attempt failed, and bears no start while it stops.

    @ivar patience: seconds at the most between two attempts.
    @ivar connection: the connection, or the last one there was.
    @ivar connections: all that have not ended, also those that were left.
    @ivar problem: which server could not be reached last, and why; empty if there was none.
    @ivar refusals: the servers that did not let us in when they were tried last, with their errors.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        servers: list[Server],
        build: Callable[[Server], ConnectionT],
        on_problem: Callable[[Server, str], object],
        random: Callable[[], float],
        on_refused: Callable[[ServerError], object] = lambda _: None,
    ) -> None:
        """
        @param build: makes the protocol of one connection.
        @param on_problem: called with a server that could not be reached, and why: once for each
            change of the reason, until it has answered.
        @param random: numbers from 0 to 1, for the waits.
        @param on_refused: called each time when all servers have refused to let us in, with an error of one.
        """
        self._clock = clock
        self._servers = servers
        self._build = build
        self._on_problem = on_problem
        self._random = random
        self._on_refused = on_refused
        self.patience = LONGEST_DELAY
        self._resting = False
        self.refusals: dict[Server, ServerError] = {}
        self._failures = 0
        self._proved_at: float | None = None
        self._index = 0
        self._problems: dict[Server, str] = {}
        self._attempt: _Attempt[ConnectionT] | None = None
        self._timer: IDelayedCall | None = None
        self.connection: ConnectionT | None = None
        self.connections: set[ConnectionT] = set()
        self.problem = ""

    def start(self) -> None:
        """Connect, and stay connected. Starting it twice is starting it once."""
        self._resting = False
        if self._attempt is None and self._timer is None:
            self._connect()

    def rest(self) -> None:
        """Connect no more until the next L{start}, and even then not before the wait for it is over."""
        self._resting = True

    def stop(self) -> Deferred[None]:
        """
        Connect no more, and end all connections once what was written has left. It may be
        stopped twice, and started again at any time.

        @return: fires when all connections that there are now have ended. Cancelling it
            changes nothing about that.
        """
        attempt, self._attempt = self._attempt, None
        if attempt is not None and attempt.connecting is not None:
            attempt.connecting.cancel()
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
        """Go on to the next server. The connection stays for as long as an answer is awaited there."""
        if self._attempt is not None and self._attempt.connection is not None:
            self._try_next()

    def proved(self) -> None:
        """The connected server has answered."""
        self._proved_at = self._clock.seconds()
        self._problems.pop(self._servers[self._index], None)
        self.refusals.pop(self._servers[self._index], None)

    def _connect(self) -> None:
        self._timer = None
        if self._resting:
            return
        attempt: _Attempt[ConnectionT] = _Attempt(self._servers[self._index])
        self._attempt = attempt
        attempt.connecting = connect_once(self._clock, attempt.server, lambda: self._connected(attempt))
        _ = attempt.connecting.addErrback(lambda failure: self._failed(attempt, failure.getErrorMessage()))

    def _connected(self, attempt: _Attempt[ConnectionT]) -> ConnectionT | None:
        if attempt is not self._attempt:
            return None
        self.connection = attempt.connection = connection = self._build(attempt.server)
        self.connections.add(connection)
        connection.at_end(lambda: self._ended(attempt, connection))
        return connection

    def _ended(self, attempt: _Attempt[ConnectionT], connection: ConnectionT) -> None:
        self.connections.discard(connection)
        why = str(connection.ended)
        if not connection.ready:
            self._failed(attempt, why, connection.refusal)
        elif attempt is self._attempt:
            self.problem = f"{attempt.server.name}: {why}"
            self._try_next()

    @property
    def _everybody_refuses(self) -> bool:
        return len(self.refusals) == len(self._servers)

    def _failed(self, attempt: _Attempt[ConnectionT], why: str, refusal: ServerError | None = None) -> None:
        if attempt is not self._attempt:
            return
        server = attempt.server
        if refusal is None:
            self.refusals.pop(server, None)
        else:
            self.refusals[server] = refusal
        self.problem = f"{server.name}: {why}"
        if self._problems.get(server) != why:
            self._problems[server] = why
            self._on_problem(server, why)
        # C{on_problem} may have stopped us.
        if attempt is self._attempt:
            self._try_next()
        if refusal is not None and self._everybody_refuses:
            self._on_refused(refusal)

    def _try_next(self) -> None:
        """Go on to the next server, after a while."""
        self._attempt = None
        delay = self._delay()
        self.log.debug(
            "attempt {attempt} at {server} in {delay:.1f} seconds",
            attempt=self._failures + 1,
            server=self._servers[self._index].name,
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
        self._index = (self._index + 1) % len(self._servers)
        self._failures += 1
        rounds, rest = divmod(self._failures, len(self._servers))
        if rest:
            return 0.0
        ceiling = REFUSED_DELAY if self._everybody_refuses else self.patience
        longest = min(ceiling, FIRST_DELAY * 2.0 ** min(rounds - 1, 10))
        return longest * (1 + self._random()) / 2

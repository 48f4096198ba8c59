"""
What the client and the worker share: where the servers are, a connection that
knows whether its server still lives, and connecting again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from twisted.application.internet import ClientService
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    clientFromString,
)
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from txgear._stream import Stream
from txgear.constants import (
    DEFAULT_PORT,
    ECHO_REQ,
    ECHO_RES,
    EXTENSION_OPTION,
    MALFORMED,
    MAX_PACKET,
    OPTION_RES,
    RESPONSE_MAGIC,
    TEXT,
    WRONG_MAGIC,
)
from txgear.errors import ProtocolError
from txgear.wire import Data, Decoder, request

ATTEMPT_SECONDS: Final = 10.0
"""
How long one attempt to connect may take, and then the server's first answer: a
host that is gone must not keep us from the next one.
"""
FIRST_DELAY: Final = 0.5
"""Seconds, at the most, before a server that went away is tried again."""
LONGEST_DELAY: Final = 10.0
"""
Seconds, at the most, between two attempts. Ten thousand peers that wait for
one server make no more than some thousand attempts a second of it.
"""
HEARTBEAT_SECONDS: Final = 30.0
"""
Silence after which the server is asked for an echo; after twice as long the
connection is given up. It is below the minute after which the first NAT boxes
and load balancers forget a connection.
"""
ANSWER_SECONDS: Final = 60.0
"""
How long a server that is alive may leave a request without its answer. A store
that is busy takes seconds; gearmand leaves some requests unanswered for ever.
"""
UNBOUNDED: Final = sys.maxsize
"""
What waits to be written was in the caller's memory already, and a peer that
stops reading what it is sent while it waits to be read would wait for ever.
"""
_PROBE: Final = b"txgear"


@dataclass(frozen=True, eq=False)
class Server:
    """
    One server to connect to.

    @ivar name: what it is called in logs and errors.
    """

    name: str
    endpoint: IStreamClientEndpoint


class Limits(NamedTuple):
    """
    How patient a connection is with its server.

    @ivar heartbeat: seconds of silence after which it asks for an echo; after
        twice as long it gives the server up.
    @ivar answer_timeout: seconds that a live server may leave a request without its answer.
    @ivar max_packet: bytes of the largest body that is taken.
    """

    heartbeat: float = HEARTBEAT_SECONDS
    answer_timeout: float = ANSWER_SECONDS
    max_packet: int = MAX_PACKET


ServerArgument: TypeAlias = "str | IStreamClientEndpoint"
"""
A server: an endpoint object, an endpoint string (C{tcp:host:port}, C{tls:host:port},
C{unix:/path}), or C{host}, C{host:port}, an address, C{[address]:port}.
"""


def server_list(reactor: IReactorTime, servers: ServerArgument | Iterable[ServerArgument]) -> list[Server]:
    """
    @param servers: one server, or several.
    @raise ValueError: there is none, or one is not understood.
    """
    if isinstance(servers, str) or IStreamClientEndpoint.providedBy(servers):
        servers = [servers]
    found = [_server(reactor, server) for server in servers]
    if not found:
        raise ValueError("no server is given")
    return found


def _server(reactor: IReactorTime, server: ServerArgument) -> Server:
    if not isinstance(server, str):
        return Server(repr(server), server)
    host, port = server, DEFAULT_PORT
    if server.startswith("[") and "]" in server:
        host, _, rest = server[1:].partition("]")
        if not isIPv6Address(host) or (rest and not (rest[0] == ":" and rest[1:].isdecimal())):
            raise ValueError(f"{server!r} is neither a host nor an endpoint")
        port = int(rest[1:]) if rest else port
    elif not isIPv6Address(server):
        host, colon, rest = server.partition(":")
        if colon and not rest.isdecimal():
            return Server(server, clientFromString(reactor, server))
        port = int(rest) if colon else port
    if not host or not 0 < port < 65536:
        raise ValueError(f"{server!r} is neither a host nor an endpoint")
    if isIPv6Address(host):
        return Server(server, TCP6ClientEndpoint(reactor, host, port))
    if isIPAddress(host):
        return Server(server, TCP4ClientEndpoint(reactor, host, port))
    return Server(server, HostnameEndpoint(reactor, host, port))


class ServerConnection(Stream):
    """
    A connection to a job server.

    It begins with a greeting and an echo. When the echo is
    back, the server is known to live, and L{became_ready} is called. From then
    on silence is broken by another echo, and a server that does not answer is
    dropped: TCP alone does not notice a host without power for hours.

    @ivar server: where it leads.
    @ivar ready: the first echo is back.
    @ivar ended: why the connection has ended, in words; C{None} before.
    @ivar extended: the server has granted L{EXTENSION_OPTION}.
    """

    pause_from = UNBOUNDED
    drop_from = UNBOUNDED

    def __init__(self, clock: IReactorTime, server: Server, limits: Limits, greeting: list[bytes]) -> None:
        """
        @param greeting: the packets to send first, before the echo.
        """
        super().__init__(clock, Decoder(RESPONSE_MAGIC, limits.max_packet))
        self.server = server
        self.ready = False
        self.ended: str | None = None
        self._dropped: str | None = None
        self._waiting_for_end: list[Callable[[], object]] = []
        self._greeting = greeting
        self._heartbeat = limits.heartbeat
        self._answer_timeout = limits.answer_timeout
        self._watcher: IDelayedCall | None = None
        self._alive_at = 0.0
        self._echoing = False
        self._asked_at: float | None = None
        self._out: list[bytes] = []
        self._gathering = 0

    @property
    def extended(self) -> bool:
        return self.decoder.extended

    # What a subclass adds

    def became_ready(self) -> None:
        """The server has answered for the first time."""

    def went_down(self, reason: str) -> None:
        """
        The connection has ended.

        @param reason: why, in words.
        """

    def unanswered(self) -> None:
        """A live server has left a request without an answer; the connection will be dropped."""

    # Writing

    def send(self, *chunks: bytes) -> None:
        """Write these, or put them with the others that are being gathered."""
        self._out += chunks
        if not self._gathering:
            self._flush()

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """What is sent within leaves in one write."""
        self._gathering += 1
        try:
            yield
        finally:
            self._gathering -= 1
            if not self._gathering:
                self._flush()

    def _flush(self) -> None:
        if self._out:
            out, self._out = self._out, []
            self.write_chunks(out)

    def close(self, linger: bool = False) -> None:
        self._flush()
        super().close(linger)

    def waits_for_answer(self, waits: bool) -> None:
        """Start anew to measure how long the server takes for an answer, or stop."""
        self._asked_at = self._clock.seconds() if waits else None

    # Twisted's hooks

    def connectionMade(self) -> None:
        super().connectionMade()
        if ITCPTransport.providedBy(self.transport):
            # A packet must not wait for the acknowledgement of the one before, which the server delays.
            self.transport.setTcpNoDelay(True)
        self._watcher = self._clock.callLater(ATTEMPT_SECONDS, self._greeting_overdue)
        self.send(*self._greeting, request(ECHO_REQ, _PROBE))

    def dataReceived(self, data: bytes) -> None:
        self._lives()
        with self.gathered():
            super().dataReceived(data)

    def resumeProducing(self) -> None:
        if self._behind:
            # A large workload on a slow line: it is being read, if not answered.
            self._lives()
            if self._asked_at is not None:
                self._asked_at = self._alive_at
        super().resumeProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._watcher is not None:
            watcher, self._watcher = self._watcher, None
            watcher.cancel()
        super().connectionLost(reason)
        self._out.clear()
        self.ended = self._dropped or reason.getErrorMessage()
        self.went_down(self.ended)
        waiting, self._waiting_for_end = self._waiting_for_end, []
        for call in waiting:
            call()

    # Packets that are the same for both

    def packet_received(self, kind: int, arguments: list[Data]) -> None:
        if kind == ECHO_RES:
            if not self.ready and arguments[0] == _PROBE:
                self.ready = True
                self._watch_again()
                self.became_ready()
        elif kind == OPTION_RES:
            if bytes(arguments[0]) == EXTENSION_OPTION:
                self.decoder.extended = True
        elif kind in (TEXT, WRONG_MAGIC, MALFORMED):
            self.drop("does not speak the protocol of Gearman's servers")

    def protocol_broken(self, error: ProtocolError) -> None:
        self.drop(f"sent what cannot be taken: {error}")

    # The end

    def at_end(self, call: Callable[[], object]) -> None:
        """Call this when the connection has ended."""
        self._waiting_for_end.append(call)

    def drop(self, why: str) -> None:
        """
        Give the connection up.

        @param why: what the server does or is, in words.
        """
        if not self.closing:
            self.log.warn("{server} {why}; connection dropped", server=self.server.name, why=why)
            self._dropped = f"it {why}"
            self.abort()

    def _lives(self) -> None:
        self._alive_at = self._clock.seconds()
        self._echoing = False

    def _greeting_overdue(self) -> None:
        self._watcher = None
        self.drop(f"did not answer within {ATTEMPT_SECONDS:g} seconds")

    def _watch_again(self) -> None:
        """Look again when something may be overdue, and often enough for what will be asked meanwhile."""
        now = self._clock.seconds()
        due = self._alive_at + self._heartbeat * (2 if self._echoing else 1)
        due = min(due, (now if self._asked_at is None else self._asked_at) + self._answer_timeout)
        if self._watcher is not None:
            self._watcher.cancel()
        self._watcher = self._clock.callLater(max(due - now, 0.0), self._watch)

    def _watch(self) -> None:
        self._watcher = None
        now = self._clock.seconds()
        if self._asked_at is not None and now - self._asked_at >= self._answer_timeout:
            self.unanswered()
            self.drop(f"left a request unanswered for {self._answer_timeout:g} seconds")
        elif self._echoing and now - self._alive_at >= 2 * self._heartbeat:
            self.drop(f"has been silent for {2 * self._heartbeat:g} seconds")
        else:
            if not self._echoing and now - self._alive_at >= self._heartbeat:
                self._echoing = True
                self.send(request(ECHO_REQ, _PROBE))
            self._watch_again()


class _ConnectionFactory(Factory):
    noisy = False

    def __init__(self, build: Callable[[], ServerConnection]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> ServerConnection:
        return self._build()


def connect_once(
    clock: IReactorTime, server: Server, build: Callable[[], ServerConnection]
) -> Deferred[IProtocol]:
    """
    Connect, this once, within L{ATTEMPT_SECONDS}.

    @return: fires with what C{build} made; fails as the endpoint does, or with
        Twisted's C{TimeoutError}. Cancelling gives the attempt up.
    """
    return _attempt(clock, server, _ConnectionFactory(build))


def _attempt(clock: IReactorTime, server: Server, factory: IProtocolFactory) -> Deferred[IProtocol]:
    attempt: Deferred[IProtocol] = maybeDeferred(server.endpoint.connect, factory)
    return attempt.addTimeout(ATTEMPT_SECONDS, clock)


ConnectionT = TypeVar("ConnectionT", bound=ServerConnection)


@implementer(IStreamClientEndpoint)
class Connector(Generic[ConnectionT]):
    """
    Keeps one connection, to the first of some servers that answers.

    It stays with a server as long as the connection lasts, and goes on to the
    next one when it is lost or cannot be made. When all have failed in turn it
    waits: longer each time, and never all peers equally long.

    @ivar connection: the connection, or the last one there was.
    @ivar problem: which server could not be reached last, and why.
    """

    def __init__(
        self,
        clock: IReactorTime,
        servers: list[Server],
        build: Callable[[Server], ConnectionT],
        random: Callable[[], float],
    ) -> None:
        """
        @param build: makes the protocol of one connection.
        @param random: numbers from 0 to 1, for the waits.
        """
        self._clock = clock
        self._servers = servers
        self._random = random
        self._failures = 0
        self._proved_at: float | None = None
        self._build = build
        self._current = 0
        self.connection: ConnectionT | None = None
        self.problem = ""
        self._service = ClientService(
            self, _ConnectionFactory(self._built), retryPolicy=self._delay, clock=clock
        )

    def _built(self) -> ConnectionT:
        server = self._servers[self._current]
        self.connection = connection = self._build(server)
        connection.at_end(lambda: self._failed(server, connection.ended))
        return connection

    def _failed(self, server: Server, why: str | None) -> None:
        self.problem = f"{server.name}: {why}"

    def start(self) -> None:
        """Connect, and stay connected. Starting it twice is starting it once."""
        if not self._service.running:
            self._service.startService()

    def stop(self) -> Deferred[None]:
        """
        Connect no more, and end the connection once what was written has left.

        @return: fires when there is none.
        """
        stopped: Deferred[None] = Deferred()

        def ended() -> None:
            _ = self._service.stopService().addCallback(stopped.callback)

        if self.connection is None or self.connection.ended is not None:
            ended()
        else:
            self.connection.at_end(ended)
            if self.connection.ready:
                # Our last packets must arrive; see L{Stream.close}.
                self.connection.close(linger=True)
            else:
                self.connection.abort()
        return stopped

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        server = self._servers[self._current]

        def failed(failure: Failure) -> Failure:
            self._failed(server, failure.getErrorMessage())
            return failure

        return _attempt(self._clock, server, protocolFactory).addErrback(failed)

    def proved(self) -> None:
        """The connected server has answered."""
        self._proved_at = self._clock.seconds()

    def _delay(self, attempt: int) -> float:
        """
        Go on to the next server.

        A connection was a success when it lasted as long as the longest wait:
        some servers accept us only to refuse what we ask.

        @param attempt: Twisted's own count, to which a connection is a success
            as soon as it is made; it is not used.
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

    def __str__(self) -> str:
        return self._servers[self._current].name

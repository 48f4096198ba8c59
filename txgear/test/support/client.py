"""
For the floors C{client} and C{worker}: endpoints whose far side is the test, and a client of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from txgear.client import Client, ClientJob
from txgear.protocol.constants import ECHO_RES, JOB_CREATED, REQUEST_MAGIC
from txgear.protocol.packets import PACKETS, PRIVATE_PACKETS, Decoder, response
from txgear.test.support.clock import ClockTestCase


class _Transport(StringTransport):
    """
    Keeps what is written, and ends in the next turn of the clock, as real ones do.

    @ivar writes: how often something was written.
    """

    def __init__(self, clock: Clock, protocol: IProtocol) -> None:
        super().__init__(lenient=True)
        self._clock = clock
        self._protocol = protocol
        self.writes = 0

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.writes += 1
        super().writeSequence(data)

    def loseConnection(self) -> None:
        self._end(ConnectionDone())

    def abortConnection(self) -> None:
        self.disconnected = True
        self._end(ConnectionAborted())

    def _end(self, reason: Exception) -> None:
        if not self.disconnecting:
            self.disconnecting = True
            self._clock.callLater(0, self._protocol.connectionLost, Failure(reason))


class ScriptedConnection:
    """
    One connection that was made to a L{ScriptedServer}.

    @ivar transport: what the connection writes to.
    @ivar protocol: the connection.
    """

    def __init__(self, clock: Clock, protocol: IProtocol) -> None:
        self._clock = clock
        self._decoder = Decoder(REQUEST_MAGIC)
        self._decoder.extended = True
        self.protocol: Any = protocol
        self.transport = _Transport(clock, protocol)
        protocol.makeConnection(self.transport)

    def packets(self) -> list[tuple[Any, ...]]:
        """What has come since the last look: each packet's name and arguments."""
        data = self.transport.value()
        self.transport.clear()
        known = {**PACKETS, **PRIVATE_PACKETS}
        return [(known[kind][0], *map(bytes, arguments)) for kind, arguments in self._decoder.feed(data)]

    def send(self, kind: int, *arguments: bytes) -> None:
        """Send a packet."""
        self.protocol.dataReceived(response(kind, *arguments))

    def send_together(self, *packets: tuple[Any, ...]) -> None:
        """Send packets that arrive in one piece."""
        self.protocol.dataReceived(b"".join(response(*packet) for packet in packets))

    def welcome(self) -> list[tuple[Any, ...]]:
        """Answer the first echo, and return what came before it and since."""
        *greeting, echo = self.packets()
        assert echo[0] == "ECHO_REQ", echo
        self.send(ECHO_RES, echo[1])
        return greeting

    def lose(self, reason: Exception | None = None) -> None:
        """The connection breaks."""
        self.transport.disconnecting = True
        self.protocol.connectionLost(Failure(reason or ConnectionDone()))

    @property
    def ended(self) -> bool:
        """Whether our side has ended the connection."""
        return bool(self.transport.disconnecting)


@implementer(IStreamClientEndpoint)
class ScriptedServer:
    """
    An endpoint whose connections are played by the test.

    @ivar refusing: attempts to connect fail.
    @ivar hanging: attempts to connect neither succeed nor fail.
    @ivar attempts: how many there were.
    @ivar given_up: how many of the hanging ones were cancelled.
    @ivar stubborn: the hanging ones cannot be stopped; they go on by L{go_on}.
    @ivar lines: the connections that were made.
    """

    def __init__(self, clock: Clock, name: str = "server") -> None:
        self._clock = clock
        self._name = name
        self.refusing = False
        self.hanging = False
        self.stubborn = False
        self._stubborn: list[IProtocolFactory] = []
        self.attempts = 0
        self.given_up = 0
        self.lines: list[ScriptedConnection] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        self.attempts += 1
        if self.stubborn:
            self._stubborn.append(protocolFactory)
            return Deferred(lambda _: None)
        if self.hanging:
            return Deferred(self._give_up)
        if self.refusing:
            return fail(ConnectionRefusedError())
        protocol = protocolFactory.buildProtocol(None)  # type: ignore[arg-type]
        assert protocol is not None
        self.lines.append(ScriptedConnection(self._clock, protocol))
        return succeed(protocol)

    def _give_up(self, _: Deferred[IProtocol]) -> None:
        self.given_up += 1

    def go_on(self) -> bool:
        """
        The oldest attempt that could not be stopped gets through.

        @return: whether the connection is wanted.
        """
        protocol = self._stubborn.pop(0).buildProtocol(None)  # type: ignore[arg-type]
        if protocol is not None:
            self.lines.append(ScriptedConnection(self._clock, protocol))
        return protocol is not None

    @property
    def line(self) -> ScriptedConnection:
        """The latest connection."""
        return self.lines[-1]

    def __repr__(self) -> str:
        return self._name


class ClientTestCase(ClockTestCase):
    """A client with one server, and a way to end it."""

    def setUp(self) -> None:
        super().setUp()
        self.server = ScriptedServer(self.clock)
        self.client = self.make_client([self.server])

    def make_client(self, servers: list[ScriptedServer], **options: Any) -> Client:
        client = Client(self.clock, servers, random=lambda: 1.0, **options)

        def close() -> None:
            closed = client.close()
            self.clock.advance(0)
            self.successResultOf(closed)

        self.addCleanup(close)
        return client

    def connect(self, *requests: object) -> ScriptedConnection:
        """Let the client connect, and pass over its greeting."""
        self.server.line.welcome()
        return self.server.line

    def submitted(
        self, *arguments: Any, handle: bytes = b"H:1", **options: Any
    ) -> tuple[ClientJob, ScriptedConnection]:
        """A job that the server has taken."""
        job = self.client.submit(*arguments, **options)
        if len(self.server.lines) == 1 and not self.server.line.protocol.ready:
            self.connect()
        self.server.line.packets()
        self.server.line.send(JOB_CREATED, handle)
        return job, self.server.line

"""
Connections that are passed on to a server, and shown while they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from txgear.cli.probe.packetview import PacketView
from txgear.net.servers import Server
from txgear.net.stream import shown_peer
from txgear.protocol.constants import REQUEST_MAGIC, RESPONSE_MAGIC

TO_SERVER = "->"
FROM_SERVER = "<-"


class Seen(NamedTuple):
    """
    Something that went through, or happened.

    @ivar seconds: since the start.
    @ivar connection: the number of the connection.
    @ivar direction: L{TO_SERVER}, L{FROM_SERVER}, or empty for what is no packet.
    @ivar text: the packet, or what happened.
    """

    seconds: float
    connection: int
    direction: str
    text: str

    def __str__(self) -> str:
        words = f"{self.direction} {self.text}" if self.direction else self.text
        return f"{self.seconds:8.3f} #{self.connection} {words}"


@implementer(IHalfCloseableProtocol)
class Side(Protocol):
    """
    One of the two connections of a pair: what arrives here is shown, and written to the other.

    Each is the producer of the other's transport, so that nothing gathers here: a side whose bytes the
    other does not take is not read. Where one side ends, or says that it sends no more, the other is told
    the same.

    @ivar other: the other connection of the pair, while both are there.
    """

    transport: Any

    def __init__(self, view: PacketView, say: Callable[[str], object]) -> None:
        """
        @param view: makes lines of what arrives here.
        @param say: called with each line.
        """
        self._view = view
        self._say = say
        self._ended = False
        self.other: Side | None = None

    def join(self, other: Side) -> None:
        """Both sides are connected: pass everything on, in both directions."""
        for this, that in ((self, other), (other, self)):
            this.other = that
            this.transport.registerProducer(that.transport, True)

    def dataReceived(self, data: bytes) -> None:
        for line in self._view.feed(data):
            self._say(line)
        if self.other is not None:
            self.other.transport.write(data)

    def readConnectionLost(self) -> None:
        """No more will arrive here; what was asked may still be answered."""
        self._show_end()
        other = self.other
        if other is None or other._ended:
            self.transport.loseConnection()
        else:
            other.transport.unregisterProducer()
            other.transport.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        """Part of C{IHalfCloseableProtocol}: what we passed on has all left."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._show_end()
        other, self.other = self.other, None
        if other is not None:
            other.other = None
            other.transport.unregisterProducer()
            other.transport.loseConnection()

    def _show_end(self) -> None:
        """The line for half a packet, once."""
        self._ended = True
        for line in self._view.end():
            self._say(line)


class NearSide(Side):
    """The connection that a client or a worker made to us."""

    def __init__(self, tracer: Tracer, number: int) -> None:
        self._tracer = tracer
        self._number = number
        super().__init__(PacketView(REQUEST_MAGIC), lambda line: tracer.show(number, line, TO_SERVER))

    def connectionMade(self) -> None:
        # Nothing is read before there is somewhere to write it.
        self.transport.pauseProducing()
        self._tracer.connect(self, self._number)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._tracer.show(self._number, "ended")


class Tracer(Factory):
    """Accepts connections, makes one to the server for each, and says what goes through them."""

    noisy = False

    def __init__(self, clock: IReactorTime, server: Server, say: Callable[[Seen], object]) -> None:
        """
        @param clock: tells how long it has been since now.
        @param server: where the connections are passed on to.
        @param say: called with each thing.
        """
        self._clock = clock
        self._began = clock.seconds()
        self._server = server
        self._say = say
        self._connections = 0

    def buildProtocol(self, addr: IAddress | None) -> NearSide:
        self._connections += 1
        return NearSide(self, self._connections)

    def show(self, number: int, text: str, direction: str = "") -> None:
        """Say something of a connection."""
        self._say(Seen(self._clock.seconds() - self._began, number, direction, text))

    def connect(self, near: NearSide, number: int) -> None:
        """Connect to the server on behalf of somebody who has connected to us."""
        self.show(number, f"from {shown_peer(near.transport.getPeer())}")
        far = Side(PacketView(RESPONSE_MAGIC), lambda line: self.show(number, line, FROM_SERVER))
        attempt: Deferred[Side] = connectProtocol(self._server.endpoint, far)

        def connected(_: object) -> None:
            near.join(far)
            near.transport.resumeProducing()

        def failed(failure: Failure) -> None:
            self.show(number, f"{self._server.name} cannot be reached: {failure.getErrorMessage()}")
            near.transport.loseConnection()

        _ = attempt.addCallbacks(connected, failed)

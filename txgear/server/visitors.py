"""
Peers of other servers, for whom something is done here: they have no connection to this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTime, ITransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from txgear.broker.model import Peer
from txgear.protocol.packets import Packet

VISITOR: Final = -1
"""The descriptor of a visitor."""


def is_visitor(peer: Peer) -> bool:
    """Whether this is a peer of another server: what it asks for is for this one alone."""
    return peer.descriptor == VISITOR


class VisitorLine:
    """
    How a visitor is reached: the first packet that it is sent is what it has come for.
    """

    def __init__(self, heard: Callable[[Packet], None]) -> None:
        """
        @param heard: called with each packet.
        """
        self._heard = heard

    def write_packets(self, packets: list[Packet]) -> None:
        """Part of L{txgear.interfaces.PeerLine}."""
        for packet in packets:
            self._heard(packet)

    def when_caught_up(self, call: Callable[[], None]) -> None:
        """As L{Stream.when_caught_up<txgear.net.stream.Stream.when_caught_up>}: nothing is unread."""
        call()

    def pause_reading(self) -> None:
        """Part of L{txgear.interfaces.PeerLine}: nothing is read of it."""

    def resume_reading(self) -> None:
        """Part of L{txgear.interfaces.PeerLine}."""

    def drain(self) -> None:
        """Part of L{txgear.interfaces.PeerLine}: it ends by itself."""

    def close(self) -> None:
        """Part of L{txgear.interfaces.PeerLine}: likewise."""

    def abort(self) -> None:
        """Part of L{txgear.interfaces.PeerLine}: likewise."""


@implementer(ITransport)
class VisitorTransport:
    """
    A connection in memory, for one request of HTTP.

    @ivar peer: whose request it is.
    @ivar disconnecting: whether it is about to end.
    """

    def __init__(
        self,
        peer: Peer,
        clock: IReactorTime,
        most: int,
        done: Callable[[bytes | None], None],
    ) -> None:
        """
        @param most: bytes that the response may have.
        @param done: called once with the response, when the connection has ended; with C{None} where it has
            more bytes.
        """
        self.peer = peer
        self.disconnecting = False
        self._clock = clock
        self._most = most
        self._done = done
        self._written: list[bytes] = []
        self._size = 0
        self._protocol: Any = None

    def carry(self, protocol: Protocol, request: bytes) -> None:
        """
        Have a request carried out.

        @param protocol: has had no connection yet.
        """
        self._protocol = protocol
        protocol.makeConnection(self)
        protocol.dataReceived(request)

    def write(self, data: bytes) -> None:
        """Part of C{ITransport}."""
        self._size += len(data)
        if self._size <= self._most:
            self._written.append(data)
        elif not self.disconnecting:
            self._written.clear()
            self.abortConnection()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Part of C{ITransport}."""
        for each in data:
            self.write(each)

    def loseConnection(self) -> None:
        """Part of C{ITransport}."""
        if not self.disconnecting:
            self.disconnecting = True
            # Not within what has just been written.
            self._clock.callLater(0, self._end)

    def loseWriteConnection(self) -> None:
        """The other end is not to wait for more."""
        self.loseConnection()

    def abortConnection(self) -> None:
        """End it at once."""
        self.loseConnection()

    def _end(self) -> None:
        self._protocol.connectionLost(Failure(ConnectionDone()))
        self._done(b"".join(self._written) if self._size <= self._most else None)

    def getPeer(self) -> UNIXAddress:
        """Part of C{ITransport}."""
        return UNIXAddress(None)

    def getHost(self) -> UNIXAddress:
        """Part of C{ITransport}."""
        return UNIXAddress(None)

    def pauseProducing(self) -> None:
        """There is nothing to be paused."""

    def resumeProducing(self) -> None:
        """There is nothing to be resumed."""

    def unregisterProducer(self) -> None:
        """None is registered."""

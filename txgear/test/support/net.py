"""
For the floors C{protocol} and C{net}: bytes by the letter of the protocol, and a TCP connection without a
socket.
"""

from __future__ import annotations

import socket
import struct
from errno import EAGAIN, ECONNRESET, ETIMEDOUT
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from txgear.protocol.constants import RESPONSE_MAGIC


def packet(magic: bytes, kind: int, body: bytes = b"") -> bytes:
    """A packet's bytes by the letter of the protocol, whatever the codec makes of it."""
    return magic + struct.pack(">II", kind, len(body)) + body


def error(code: bytes, text: bytes) -> bytes:
    """An ERROR packet."""
    return packet(RESPONSE_MAGIC, 19, code + b"\0" + text)


class FakeSocket:
    """
    What a TCP connection does with its socket, without one.

    @ivar room: bytes that it still takes; C{None} for no bound.
    @ivar sent: what it took, one item for each call.
    @ivar arrived: what it gives, one item for each call.
    @ivar broken: whether every call fails; sending does with C{error}.
    @ivar options: what was set.
    @ivar waited: milliseconds since the last data came, as the system tells it.
    @ivar round_trips: microseconds of a round trip, smoothed and the shortest.
    """

    def __init__(self, descriptor: int = 7, family: int = socket.AF_INET) -> None:
        self.descriptor = descriptor
        self.family = family
        self.waited = 0
        self.round_trips: tuple[int, ...] = (5000, 50)
        self.room: int | None = None
        self.sent: list[bytes] = []
        self.arrived: list[bytes] = []
        self.broken = False
        self.error: OSError = OSError(ETIMEDOUT, "broken")
        self.options: list[tuple[int, int, Any]] = []

    def send(self, data: bytes) -> int:
        if self.broken:
            raise self.error
        taken = len(data) if self.room is None else min(len(data), self.room)
        if self.room is not None:
            if not taken:
                raise BlockingIOError(EAGAIN, "full or empty")
            self.room -= taken
        self.sent.append(bytes(data[:taken]))
        return taken

    def sendmsg(self, chunks: list[bytes]) -> int:
        return self.send(b"".join(chunks))

    def recv(self, size: int) -> bytes:
        if self.broken:
            raise ConnectionResetError(ECONNRESET, "reset")
        if not self.arrived:
            raise BlockingIOError(EAGAIN, "full or empty")
        data, rest = self.arrived[0][:size], self.arrived[0][size:]
        self.arrived[:1] = [rest] if rest else []
        return data

    def fileno(self) -> int:
        return self.descriptor

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        self.options.append((level, option, value))

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """Linux's C{tcp_info}, as far as anybody reads it."""
        smoothed, *shortest = self.round_trips
        info = struct.pack("=52xI12xI", self.waited, smoothed)
        return info + b"".join(struct.pack("=76xI", value) for value in shortest)

    def setblocking(self, blocking: bool) -> None: ...

    def shutdown(self, how: int) -> None: ...

    def close(self) -> None: ...


class FakeTcpConnection(Connection):
    """
    A plain TCP connection over a L{FakeSocket}.

    @ivar reactor: knows whether it is to be read or written.
    """

    def __init__(self, protocol: Protocol, reactor: MemoryReactorClock, descriptor: int = 7) -> None:
        fake: Any = FakeSocket(descriptor)
        self.fake = fake
        super().__init__(fake, protocol, reactor)
        self.connected = 1
        self.startReading()
        protocol.makeConnection(self)

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 50000)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.2", 4730)

    def make_room(self, room: int | None = None) -> None:
        """The peer reads; the reactor writes what waits, as long as there is room."""
        self.fake.room = room
        while self in self.reactor.getWriters() and self.fake.room != 0:
            if ended := self.doWrite():
                self.connectionLost(Failure(ended))

    def arrive(self, *data: bytes) -> None:
        """These bytes come in; the reactor reads each, if it reads at all."""
        for chunk in data:
            self.fake.arrived.append(chunk)
            if self in self.reactor.getReaders():
                self.doRead()

    @property
    def ends_output(self) -> bool:
        """Whether our side says that it sends no more, once all is written; the peer may."""
        return bool(self._writeDisconnecting)

    @property
    def written(self) -> bytes:
        """All that the socket took since the last time."""
        taken, self.fake.sent = b"".join(self.fake.sent), []
        return taken

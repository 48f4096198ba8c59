"""
Tests for L{txgear.net.proxyheader}.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import ConfigurationError, ProtocolError
from txgear.net.proxyheader import (
    BINARY_MAX,
    HEADER_SECONDS,
    LINE_MAX,
    HeaderFactory,
    Trusted,
    read_header,
)
from txgear.test.support.net import FakeTcpConnection

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
CLIENT = IPv4Address("TCP", "198.51.100.7", 40000)
PROXY = IPv4Address("TCP", "192.0.2.1", 50000)
"""Where L{FakeTcpConnection} comes from."""
LINE = b"PROXY TCP4 198.51.100.7 192.0.2.2 40000 4730\r\n"


def binary(command: int, family: int, rest: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


def ip4(port: int = 40000) -> bytes:
    return socket.inet_aton("198.51.100.7") + socket.inet_aton("192.0.2.2") + struct.pack("!HH", port, 4730)


def ip6(source: str) -> bytes:
    packed = [socket.inet_pton(socket.AF_INET6, address) for address in (source, "2001:db8::2")]
    return b"".join(packed) + struct.pack("!HH", 40000, 4730)


class HeaderTests(SynchronousTestCase):
    """Both versions, byte by byte."""

    def test_headers(self) -> None:
        six = IPv6Address("TCP", "2001:db8::7", 40000)
        for header, source in (
            (LINE, CLIENT),
            (b"PROXY TCP6 2001:db8:0::7 2001:db8::2 40000 4730\r\n", six),
            (b"PROXY TCP6 ::ffff:198.51.100.7 ::ffff:192.0.2.2 40000 4730\r\n", CLIENT),
            (b"PROXY UNKNOWN\r\n", None),
            (b"PROXY UNKNOWN whatever  stands here\r\n", None),
            (binary(0x21, 0x11, ip4()), CLIENT),
            (binary(0x21, 0x11, ip4() + b"\x04\0\x01x"), CLIENT),
            (binary(0x21, 0x21, ip6("2001:db8::7")), six),
            (binary(0x21, 0x21, ip6("::ffff:198.51.100.7")), CLIENT),
            # Of the proxy itself; and of clients that have no address of TCP.
            (binary(0x20, 0x11, ip4()), None),
            (binary(0x20, 0x00, b""), None),
            (binary(0x21, 0x00, b""), None),
            (binary(0x21, 0x12, ip4()), None),
            (binary(0x21, 0x31, b"/path".ljust(216, b"\0")), None),
            (binary(0x21, 0x11, ip4().ljust(BINARY_MAX, b"\0")), CLIENT),
        ):
            for end in range(1, len(header)):
                self.assertIsNone(read_header(header[:end]), header[:end])
            self.assertEqual(read_header(header), (source, len(header)))
            self.assertEqual(read_header(header + b"\0REQ\r\n"), (source, len(header)))

    def test_longest_line(self) -> None:
        """The specification's longest line is taken, and not a byte more."""
        start = b"PROXY UNKNOWN "
        longest = start.ljust(LINE_MAX - 2, b"x") + b"\r\n"
        self.assertEqual(read_header(longest), (None, LINE_MAX))
        for data in (longest[:-1] + b"x", longest[:-2] + b"x\r\n"):
            self.assertRaises(ProtocolError, read_header, data)

    def test_no_headers(self) -> None:
        for data in (
            b"\0REQ\0\0\0\x10",
            b"G",
            b"PROXY\r\n",
            b"PROXZ",
            b"\r\n\r\n\0\r\nQUIX",
            b"PROXY \r\n",
            b"PROXY TCP4\r\n",
            b"PROXY TCP5 198.51.100.7 192.0.2.2 1 2\r\n",
            b"PROXY TCP4 198.51.100.7 192.0.2.2 1\r\n",
            b"PROXY TCP4 198.51.100.7 192.0.2.2 1 2 3\r\n",
            b"PROXY TCP4  198.51.100.7 192.0.2.2 1 2\r\n",
            b"PROXY TCP4 198.51.100.256 192.0.2.2 1 2\r\n",
            b"PROXY TCP4 198.51.100.7 localhost 1 2\r\n",
            b"PROXY TCP4 2001:db8::7 2001:db8::2 1 2\r\n",
            b"PROXY TCP6 198.51.100.7 192.0.2.2 1 2\r\n",
            b"PROXY TCP4 198.51.100.7 192.0.2.2 65536 2\r\n",
            b"PROXY TCP4 198.51.100.7 192.0.2.2 1 -2\r\n",
            b"PROXY TCP4 198.51.100.7 192.0.2.2 +1 2\r\n",
            b"PROXY TCP4 \xd9\xa1.0.0.1 192.0.2.2 1 2\r\n",
            binary(0x11, 0x11, ip4()),
            binary(0x22, 0x11, ip4()),
            binary(0x21, 0x41, ip4()),
            binary(0x21, 0x13, ip4()),
            binary(0x21, 0x11, ip4()[:-1]),
            binary(0x21, 0x21, ip4()),
            # Not awaited before it is refused.
            SIGNATURE + struct.pack("!BBH", 0x21, 0x11, BINARY_MAX + 1),
        ):
            self.assertRaises(ProtocolError, read_header, data)


class TrustedTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        trusted = Trusted(["192.0.2.1", "10.1.0.0/16", "2001:db8::/32", "fe80::/10"])
        self.assertTrue(trusted)
        for host, expected in (
            ("192.0.2.1", True),
            ("192.0.2.2", False),
            ("10.1.255.255", True),
            ("10.2.0.0", False),
            ("2001:db8::1", True),
            ("2001:db9::1", False),
            ("fe80::1%eth0", True),
            # Of a socket that takes IPv4 as well.
            ("::ffff:10.1.2.3", True),
            ("::ffff:10.2.2.3", False),
        ):
            kind = IPv6Address if ":" in host else IPv4Address
            self.assertEqual(trusted.includes(kind("TCP", host, 1)), expected, host)
        self.assertFalse(trusted.includes(UNIXAddress(None)))
        self.assertFalse(trusted.includes(None))

    def test_unix(self) -> None:
        trusted = Trusted(["unix"])
        self.assertTrue(trusted)
        self.assertTrue(trusted.includes(UNIXAddress(None)))
        self.assertFalse(trusted.includes(PROXY))

    def test_nobody(self) -> None:
        self.assertFalse(Trusted([]))

    def test_mistakes(self) -> None:
        for text in ("localhost", "10.1.0.1/16", "10.1.0.0/33", "", "*"):
            error = self.assertRaises(ConfigurationError, Trusted, [text])
            self.assertTrue(str(error).startswith(f"--proxy-from {text}: "), str(error))


class Recorder(Protocol):
    """
    A real protocol.

    @ivar peer: where the connection came from, as its transport said when it was made.
    """

    ends_at_once = False

    def __init__(self) -> None:
        self.heard = b""
        self.peer: IAddress | None = None
        self.ended = False

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.peer = self.transport.getPeer()
        if self.ends_at_once:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.ended = True


class Inner(Factory):
    """
    @ivar started: how often it was, less how often it was stopped.
    @ivar addresses: for which protocols were made.
    """

    def __init__(self) -> None:
        self.started = 0
        self.addresses: list[IAddress] = []
        self.made: list[Recorder] = []
        self.refuses = False
        self.ends_at_once = False

    def doStart(self) -> None:
        self.started += 1

    def doStop(self) -> None:
        self.started -= 1

    def buildProtocol(self, addr: IAddress) -> Recorder | None:  # type: ignore[override]
        self.addresses.append(addr)
        if self.refuses:
            return None
        protocol = Recorder()
        protocol.ends_at_once = self.ends_at_once
        self.made.append(protocol)
        return protocol


class ConnectionTests(SynchronousTestCase):
    """A port behind a proxy."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.inner = Inner()
        self.refused: list[tuple[IAddress, str]] = []
        self.factory = HeaderFactory(
            self.inner,
            Trusted([PROXY.host]),
            self.reactor,
            lambda peer, why: self.refused.append((peer, why)),
        )

    def connect(self, address: IAddress = PROXY) -> FakeTcpConnection:
        protocol: Any = self.factory.buildProtocol(address)
        return FakeTcpConnection(protocol, self.reactor)

    def is_gone(self, connection: FakeTcpConnection) -> bool:
        self.reactor.advance(0)
        return not connection.connected

    def feed(self, connection: Any, data: bytes) -> None:
        connection.protocol.dataReceived(data)

    def test_client(self) -> None:
        """The real protocol begins with the client's address, on the transport itself; the rest follows."""
        connection = self.connect()
        self.assertEqual(self.inner.made, [])
        self.feed(connection, LINE[:20])
        self.assertEqual(self.inner.made, [])
        self.feed(connection, LINE[20:] + b"\0REQ")
        [real] = self.inner.made
        self.assertIs(connection.protocol, real)
        self.assertIs(real.transport, connection)
        self.assertEqual((real.peer, real.heard), (CLIENT, b"\0REQ"))
        self.assertEqual(self.inner.addresses, [CLIENT])
        self.feed(connection, b"more")
        self.assertEqual(real.heard, b"\0REQmore")
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.refused, [])

    def test_proxy_itself(self) -> None:
        """Where no client is named, the proxy is the peer."""
        self.feed(self.connect(), b"PROXY UNKNOWN\r\n")
        [real] = self.inner.made
        self.assertEqual((real.peer, real.heard), (PROXY, b""))

    def test_others(self) -> None:
        """Whoever is not trusted gets the real protocol at once: a header is what it would be without us."""
        connection = self.connect(CLIENT)
        self.feed(connection, LINE)
        [real] = self.inner.made
        self.assertEqual((real.peer, real.heard), (PROXY, LINE))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_broken(self) -> None:
        connection = self.connect()
        self.feed(connection, b"\0REQ")
        self.assertEqual(self.inner.made, [])
        self.assertEqual(self.refused, [(PROXY, "it begins with no PROXY header")])
        self.assertTrue(self.is_gone(connection))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_overdue(self) -> None:
        """A header that does not come is waited for in a bounded time."""
        connection = self.connect()
        self.reactor.advance(HEADER_SECONDS - 0.1)
        self.feed(connection, LINE[:5])
        self.assertEqual(self.refused, [])
        self.reactor.advance(0.1)
        self.assertEqual(self.refused, [(PROXY, "its PROXY header has not come within 10 seconds")])

    def test_look(self) -> None:
        """A proxy that only looks whether somebody listens is no reason for a line."""
        connection = self.connect()
        connection.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.refused, [])

    def test_nobody_there(self) -> None:
        """A factory may want no protocol for this client."""
        self.inner.refuses = True
        connection = self.connect()
        self.feed(connection, LINE + b"more")
        self.assertTrue(self.is_gone(connection))

    def test_ends_at_once(self) -> None:
        """A protocol that hangs up in the beginning is given nothing."""
        self.inner.ends_at_once = True
        self.feed(self.connect(), LINE + b"more")
        self.assertEqual(self.inner.made[0].heard, b"")

    def test_too_late(self) -> None:
        """When the port is closed, nobody becomes a peer any more."""
        connection = self.connect()
        self.factory.doStop()
        self.feed(connection, LINE)
        self.assertEqual(self.inner.made, [])
        self.assertTrue(connection.disconnecting or self.is_gone(connection))
        self.assertEqual(self.refused, [])

    def test_start(self) -> None:
        """The real factory knows whether it listens."""
        self.factory.doStart()
        self.assertEqual(self.inner.started, 1)
        self.factory.doStop()
        self.assertEqual(self.inner.started, 0)

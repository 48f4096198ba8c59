"""
The PROXY protocol: what a proxy says of its client before anything else.

A connection from a trusted proxy begins with a header, of version 1 (a line) or 2 (binary). It is read
first. Only then is the real protocol made, with the client's address, and given the transport itself. So
whatever is built on connections sees a plain one of the client: its address is right from the first moment,
and no wrapper stands between. TLS comes after the header.

HAProxy's specification: U{https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt}
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from txgear.errors import ConfigurationError, ProtocolError
from txgear.security.addresses import NO_HOST, UNIX, Range, Ranges, network, plain

HEADER_SECONDS: Final = 10.0
"""How long a header may take to arrive."""
LINE_MAX: Final = 107
"""Bytes of the longest header of version 1, its end included."""
BINARY_MAX: Final = 4096
"""
Bytes that follow the fixed part of a header of version 2 at the most. Addresses take 36 or 216; what else a
proxy tells of TLS or of the network is well below this.
"""
_LINE_START: Final = b"PROXY "
_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED: Final = struct.Struct("!12sBBH")
_LOCAL: Final = 0x20
"""Version 2, of the proxy itself."""
_PROXIED: Final = 0x21
"""Version 2, on behalf of a client."""
_ADDRESSES: Final = {0x11: struct.Struct("!4s4sHH"), 0x21: struct.Struct("!16s16sHH")}
"""How addresses stand in a header of version 2: of TCP over IPv4, and over IPv6."""
_LAST_FAMILY: Final = 3
_LAST_KIND: Final = 2

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
_READ: Final[dict[str, Callable[[str], Ip]]] = {"TCP4": ipaddress.IPv4Address, "TCP6": ipaddress.IPv6Address}
"""How the addresses are read of a header of version 1."""
Source = IPv4Address | IPv6Address | None
"""Where a client comes from; C{None} where the header does not say."""


def read_header(data: bytes) -> tuple[Source, int] | None:
    """
    Read a header.

    @param data: what has arrived, at least one byte.
    @return: the client's address, and how many bytes the header has; C{None} if it has not arrived whole.
    @raise ProtocolError: it is none, or too long.
    """
    if _LINE_START.startswith(data[: len(_LINE_START)]):
        return _read_line(data)
    if _SIGNATURE.startswith(data[: len(_SIGNATURE)]):
        return _read_binary(data)
    raise ProtocolError("it begins with no PROXY header")


def _read_line(data: bytes) -> tuple[Source, int] | None:
    end = data.find(b"\r\n", 0, LINE_MAX)
    if end < 0:
        if len(data) >= LINE_MAX:
            raise ProtocolError(f"its PROXY header has more than {LINE_MAX} bytes")
        return None
    words = data[:end].split(b" ")
    size = end + 2
    # What else stands in such a line is not looked at.
    if words[1] == b"UNKNOWN":
        return None, size
    try:
        _, kind, source, destination, source_port, destination_port = (word.decode("ascii") for word in words)
        read = _READ[kind]
        read(destination)
        _port(destination_port)
        return _address(read(source), _port(source_port)), size
    except (KeyError, ValueError) as error:
        raise ProtocolError("its PROXY header makes no sense") from error


def _port(text: str) -> int:
    """
    @raise ValueError: it is none.
    """
    port = int(text)
    if not text.isdigit() or port > 65535:
        raise ValueError(text)
    return port


def _read_binary(data: bytes) -> tuple[Source, int] | None:
    if len(data) < _FIXED.size:
        return None
    _, command, family, length = _FIXED.unpack_from(data)
    if command not in (_LOCAL, _PROXIED) or family >> 4 > _LAST_FAMILY or family & 0xF > _LAST_KIND:
        raise ProtocolError("its PROXY header makes no sense")
    if length > BINARY_MAX:
        raise ProtocolError(f"its PROXY header has more than {BINARY_MAX} bytes of addresses")
    size = _FIXED.size + length
    if len(data) < size:
        return None
    addresses = _ADDRESSES.get(family)
    if command == _LOCAL or addresses is None:
        # A check by the proxy, or a client that has come to it neither over IPv4 nor over IPv6.
        return None, size
    if length < addresses.size:
        raise ProtocolError("its PROXY header has no addresses")
    source, _, port, _ = addresses.unpack_from(data, _FIXED.size)
    return _address(ipaddress.ip_address(source), port), size


def _address(address: Ip, port: int) -> IPv4Address | IPv6Address:
    address = plain(address)
    kind = IPv4Address if address.version == 4 else IPv6Address
    return kind("TCP", str(address), port)


class Trusted:
    """
    The peers whose headers are believed. A header of theirs is demanded.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        """
        @param texts: addresses, networks (C{10.1.0.0/16}), or L{UNIX}.
        @raise ConfigurationError: one is none of these.
        """
        found: list[Range] = []
        for text in texts:
            try:
                found.append(UNIX if text == UNIX else network(text))
            except ValueError as error:
                raise ConfigurationError(
                    f"--proxy-from {text}: an address, a network or `{UNIX}` is wanted ({error})"
                ) from error
        self._any = bool(found)
        self._ranges = Ranges((range_, str(range_)) for range_ in found)

    def __bool__(self) -> bool:
        return self._any

    def includes(self, address: object) -> bool:
        """
        Whether connections from there begin with a header.

        @param address: a peer's, as its transport tells it.
        """
        host = NO_HOST if isinstance(address, UNIXAddress) else getattr(address, "host", None)
        return host is not None and self._ranges.find(host) is not None


class HeaderFactory(Factory):
    """
    Stands before the factory of a port: connections from trusted proxies get a L{HeaderProtocol} first,
    all others the real protocol at once.

    @ivar has_stopped: whether the port is closed: a connection whose header comes now comes too late.
    """

    noisy = False

    def __init__(
        self,
        inner: IProtocolFactory,
        trusted: Trusted,
        clock: IReactorTime,
        refused: Callable[[IAddress, str], object],
    ) -> None:
        """
        @param inner: makes the real protocols, TLS included.
        @param refused: told the proxy's address, and why a header was not taken.
        """
        self.inner = inner
        self.trusted = trusted
        self.clock = clock
        self.refused = refused
        self.has_stopped = False

    def doStart(self) -> None:
        """Part of C{IProtocolFactory}."""
        self.inner.doStart()

    def doStop(self) -> None:
        """Part of C{IProtocolFactory}: the port is closed."""
        self.has_stopped = True
        self.inner.doStop()

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:  # type: ignore[override]
        if self.trusted.includes(addr):
            return HeaderProtocol(self)
        return self.inner.buildProtocol(addr)


class HeaderProtocol(Protocol):
    """
    Reads a header, and gives the transport to the real protocol.
    """

    transport: Any

    def __init__(self, factory: HeaderFactory) -> None:
        self.factory: HeaderFactory = factory
        self._received = b""
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self._timer = self.factory.clock.callLater(HEADER_SECONDS, self._overdue)

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        try:
            found = read_header(self._received)
        except ProtocolError as error:
            self._cancel_timer()
            self._refuse(str(error))
            return
        if found is not None:
            self._cancel_timer()
            source, size = found
            self._begin(source, self._received[size:])

    def _begin(self, source: Source, rest: bytes) -> None:
        """
        Let the real protocol have the connection.

        @param rest: what has arrived behind the header.
        """
        transport = self.transport
        if self.factory.has_stopped:
            transport.loseConnection()
            return
        if source is not None:
            transport.getPeer = lambda: source
        protocol: Any = self.factory.inner.buildProtocol(transport.getPeer())
        if protocol is None:
            transport.abortConnection()
            return
        transport.protocol = protocol
        protocol.makeConnection(transport)
        # It may have closed the connection at once.
        if rest and transport.connected and not transport.disconnecting:
            # Not to the one that was made: it may have put something between itself and the transport.
            transport.protocol.dataReceived(rest)

    def _overdue(self) -> None:
        self._timer = None
        self._refuse(f"its PROXY header has not come within {HEADER_SECONDS:g} seconds")

    def _refuse(self, why: str) -> None:
        self.factory.refused(self.transport.getPeer(), why)
        self.transport.abortConnection()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            timer, self._timer = self._timer, None
            timer.cancel()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The proxy has gone. One that only looks whether somebody listens sends nothing."""
        self._cancel_timer()

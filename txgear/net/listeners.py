"""
Listening: from the values of C{--listen} to open ports.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    serverFromString,
)
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IFileDescriptor,
    IListeningPort,
    IProtocolFactory,
    IReadDescriptor,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.errors import ConfigurationError
from txgear.net import systemdsockets, unixsockets
from txgear.net.ownports import OwnPorts, listen_on_tcp, unix_place

LOOPBACK: Final = ("127.0.0.1", "::1")
"""Where a server listens by default: without access rules it must not be open by accident."""

IPV6_ANY: Final = "::"

MAX_PORT: Final = 65535

_NAME: Final = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
"""A host's name with a domain."""
_OWN_BACKLOG: Final = re.compile(r"(^|[:\\])(backlog=|systemd\\?:)")
"""Finds in an endpoint string what says its backlog: it does, or the unit file of systemd."""
_HAPROXY: Final = "haproxy:"
"""An endpoint that reads a proxy's header itself."""

log = Logger()


@dataclass(frozen=True)
class ListenAddress:
    """
    An address to listen on.

    @ivar address: the IP address; C{None} for an endpoint string.
    @ivar endpoint: the endpoint string; C{None} for TCP at the address.
    @ivar optional: whether the machine may lack the address.
    @ivar port: the address's own port; C{None} for that of the protocol.
    """

    address: str | None = None
    endpoint: str | None = None
    optional: bool = False
    port: int | None = None


def listen_addresses(listen: list[str]) -> list[ListenAddress]:
    """
    The single addresses that the operator named.

    @param listen: address literals, host names (which stand for all their
        addresses), both with or without a port of their own, as the client takes them, and
        Twisted endpoint strings; none at all means loopback.
    @raise ConfigurationError: a name has no address, what should be a port is none, or systemd has passed
        no such socket.
    """
    if not listen:
        return [ListenAddress(address, optional=True) for address in LOOPBACK]
    found: dict[ListenAddress, None] = {}
    for text in listen:
        host, port = _host_and_port(text)
        if text.startswith(systemdsockets.PREFIX):
            for endpoint in _systemd_sockets(text):
                found[ListenAddress(endpoint=endpoint)] = None
        elif host is None:
            found[ListenAddress(endpoint=text)] = None
        elif isIPAddress(host) or isIPv6Address(host):
            found[ListenAddress(host, port=port)] = None
        else:
            for address in _resolve(host):
                found[ListenAddress(address, port=port)] = None
    return list(found)


def tls_addresses(listen: list[str]) -> list[ListenAddress]:
    """
    The single addresses of C{--tls-listen}.

    @param listen: as in L{listen_addresses}, but with a port each; none at all means none.
    @raise ConfigurationError: a name has no address, or what should be a port is none or is missing; or an
        endpoint string has TLS of its own.
    """
    for text in listen:
        host, port = _host_and_port(text)
        if text.partition(":")[0] in ("ssl", "tls"):
            raise ConfigurationError(f"--tls-listen {text}: it has TLS of its own, and is one for --listen")
        if host is not None and port is None:
            example = f"[{host}]" if ":" in host else host
            raise ConfigurationError(f"--tls-listen {text}: a port is wanted, as {example}:4731")
    return listen_addresses(listen) if listen else []


def _systemd_sockets(text: str) -> list[str]:
    try:
        return systemdsockets.single_sockets(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"cannot listen on {text}: {error}") from error


def _host_and_port(text: str) -> tuple[str | None, int | None]:
    """
    Host and port of a value that is no endpoint string; C{None} for the host of one that is.

    @raise ConfigurationError: what stands in the place of the port is none, or there is no host.
    """
    if (port := text.removeprefix(":")).isdecimal():
        # The system would take a number for an address.
        raise ConfigurationError(f"cannot listen on {text}: a host is wanted as well, as 0.0.0.0:{port}")
    if isIPv6Address(text) or ":" not in text:
        return text, None
    host, _, port = text.rpartition(":")
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        if not port and isIPv6Address(host):
            return host, None
        port = port.removeprefix(":")
    # Types of endpoints have no dots; what else has a colon may be one of another package's.
    if not (isIPAddress(host) or isIPv6Address(host) or host == "localhost" or _NAME.fullmatch(host)):
        return None, None
    return host, _port(text, port)


def _port(where: str, text: str) -> int:
    try:
        return _checked_port(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"cannot listen on {where}: {error}") from error


def _checked_port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= MAX_PORT):
        raise ConfigurationError(f"{text!r} is no port from 0 to {MAX_PORT}")
    return int(text)


def _resolve(name: str) -> list[str]:
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError, LookupError) as error:
        raise ConfigurationError(
            f"cannot listen on {name}: no address is known by this name ({error})"
        ) from error
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def listen(
    reactor: Any, place: ListenAddress, port: int, backlog: int, factory: IProtocolFactory
) -> IListeningPort | None:
    """
    Open one port.

    @param reactor: the reactor, or L{OwnPorts} before it.
    @param port: the TCP port, where the place is an address without a port of its own.
    @param backlog: connections that the system accepts ahead of us.
    @return: the open port; C{None} if the place was optional and the machine does not have it.
    @raise ConfigurationError: it cannot be opened; the text says why in a line.
    """
    port = port if place.port is None else place.port
    where = place.endpoint or f"{place.address} port {port}"
    try:
        if place.endpoint is not None:
            if place.endpoint.startswith(systemdsockets.PREFIX):
                return systemdsockets.listen(reactor, place.endpoint, factory)
            if place.endpoint.startswith(_HAPROXY) and isinstance(reactor, OwnPorts):
                reactor = reactor.bare()
            _check_endpoint(place.endpoint, reactor)
        if place.address == IPV6_ANY:
            return _listen_on_all_ipv6(reactor, port, backlog, factory)
        opened = open_endpoint(_endpoint(reactor, place, port, backlog), factory)
        if place.endpoint is not None and not _OWN_BACKLOG.search(place.endpoint):
            _set_backlog(opened, backlog)
        return opened
    except CannotListenError as error:
        reason = error.socketError
        if place.optional and getattr(reason, "errno", None) in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            log.info("{where} is not on this machine, and not listened on", where=place.address)
            return None
        text = reason.strerror if isinstance(reason, OSError) else str(reason)
        raise ConfigurationError(f"cannot listen on {where}: {text}") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"cannot listen on {where}: {error}") from error
    except OSError as error:
        # Of a link it is the second: the first is what the link says, here a process.
        name = error.filename2 or error.filename
        file = f": {name}" if name else ""
        raise ConfigurationError(f"cannot listen on {where}: {error.strerror or error}{file}") from error
    except TypeError as error:
        # That is how Twisted tells of settings: those of a string are arguments of a function.
        raise ConfigurationError(
            f"cannot listen on {where}: an endpoint string of this kind has other settings ({error})"
        ) from error
    except Exception as error:
        # Endpoints, others' above all, raise what they like where a string makes no sense.
        text = str(error)
        if text.startswith("Unknown endpoint type"):
            text += "; of a host whose name has no dot the address is wanted"
        raise ConfigurationError(f"cannot listen on {where}: {text}") from error


def _check_endpoint(endpoint: str, reactor: Any) -> None:
    """
    Check what Twisted does not: its errors for these mistakes speak of Python, and it believes
    a lock that was left behind beside a socket.

    @raise ConfigurationError: the endpoint cannot be listened on.
    """
    kind, _, rest = endpoint.partition(":")
    if kind in ("tcp", "ssl"):
        port = rest.partition(":")[0].removeprefix("port=")
        # Another setting may come first.
        if "=" not in port:
            _checked_port(port)
    path = unixsockets.path_of(endpoint)
    if path is not None and not (isinstance(reactor, OwnPorts) and reactor.inherits(unix_place(path))):
        unixsockets.remove_stale(path)


def open_endpoint(endpoint: IStreamServerEndpoint, factory: IProtocolFactory) -> IListeningPort:
    """
    Listen at an endpoint, at once.

    @raise Exception: what its C{listen} fails with, or C{RuntimeError} if it
        does not fire or fail at once.
    """
    opened: list[IListeningPort | Failure] = []
    listening: Deferred[Any] = endpoint.listen(factory)
    listening = listening.addBoth(opened.append)
    if not opened:
        listening.cancel()
        raise RuntimeError("this kind of endpoint does not open at once")
    result = opened[0]
    if isinstance(result, Failure):
        result.raiseException()
    return result


def _listen_on_all_ipv6(reactor: Any, port: int, backlog: int, factory: IProtocolFactory) -> IListeningPort:
    """
    Listen on all addresses of IPv6 and on none of IPv4, as the reference does:
    a socket that Twisted makes takes both, and cannot stand beside 0.0.0.0.
    """
    if isinstance(reactor, OwnPorts):
        return reactor.listen_on_all_ipv6(port, factory, backlog)
    try:
        with listen_on_tcp(socket.AF_INET6, (IPV6_ANY, port), backlog, only_ipv6=True) as sock:
            # The reactor takes a duplicate.
            opened: IListeningPort = reactor.adoptStreamPort(sock.fileno(), socket.AF_INET6, factory)
            return opened
    except OSError as error:
        raise CannotListenError(IPV6_ANY, port, error) from error


def _set_backlog(port: IListeningPort, backlog: int) -> None:
    """
    Set the backlog of a socket that listens: Twisted gives every endpoint string 50 unless it has its own.
    """
    if IFileDescriptor.providedBy(port):
        with socket.socket(fileno=os.dup(port.fileno())) as sock:
            sock.listen(backlog)


def _endpoint(reactor: object, place: ListenAddress, port: int, backlog: int) -> IStreamServerEndpoint:
    if place.endpoint is not None:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, place.endpoint)
        return endpoint
    assert place.address is not None
    if isIPv6Address(place.address):
        return TCP6ServerEndpoint(reactor, port, backlog, place.address)
    return TCP4ServerEndpoint(reactor, port, backlog, place.address)


def shown_address(port: IListeningPort) -> str:
    """The address of an open port, for people."""
    address: Any = port.getHost()
    host = getattr(address, "host", None)
    if host is None:
        name = getattr(address, "name", address)
        return os.fsdecode(name) if isinstance(name, bytes) else str(name)
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"


def accept_waiting(ports: Iterable[IListeningPort]) -> None:
    """Take those in who have connected, and have not been accepted: when a port closes they are reset."""
    for port in ports:
        if IReadDescriptor.providedBy(port):
            port.doRead()

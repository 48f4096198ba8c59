"""
The servers of a client or a worker: what callers may write for one, and the endpoint that it stands for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    clientFromString,
)
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from txgear.protocol.constants import DEFAULT_PORT


@dataclass(frozen=True, eq=False)
class Server:
    """
    One server to connect to.

    @ivar name: its name in logs and errors.
    @ivar endpoint: leads to it.
    @ivar address: C{host:port}, where it was given as a host or an address; otherwise empty.
    """

    name: str
    endpoint: IStreamClientEndpoint
    address: str = ""


ServerArgument: TypeAlias = "str | IStreamClientEndpoint"
"""
A server: an endpoint object, an endpoint string (C{tcp:host:port}, C{tls:host:port},
C{unix:/path}), or C{host}, C{host:port}, an address, C{[address]:port}.
"""


def server_list(reactor: IReactorTime, servers: object) -> list[Server]:
    """
    @param servers: one server, or several: L{ServerArgument}.
    @raise ValueError: there is none, or one is not understood.
    @raise TypeError: one is neither text nor an endpoint, or C{reactor} is no reactor.
    """
    if not callable(getattr(reactor, "callLater", None)):
        raise TypeError(f"reactor is {type(reactor).__name__}, not a reactor of Twisted's")
    if isinstance(servers, str) or IStreamClientEndpoint.providedBy(servers):
        servers = [servers]
    elif isinstance(servers, bytes) or not isinstance(servers, Iterable):
        raise TypeError(f"servers is {type(servers).__name__}, not text, an endpoint, or a list of these")
    found = [_server(reactor, server) for server in servers]
    if not found:
        raise ValueError("no server is given")
    return found


def _server(reactor: IReactorTime, server: object) -> Server:
    if not isinstance(server, str):
        if not IStreamClientEndpoint.providedBy(server):
            raise TypeError(
                f"a server is text, such as 'gear.example:4730', or an endpoint, not {type(server).__name__}"
            )
        return Server(repr(server), server)
    host, port = server, DEFAULT_PORT
    if server.startswith("[") and "]" in server:
        host, _, rest = server[1:].partition("]")
        if not isIPv6Address(host) or (rest and not (rest[0] == ":" and rest[1:].isdecimal())):
            raise _not_understood(server)
        port = int(rest[1:]) if rest else port
    elif not isIPv6Address(server):
        host, colon, rest = server.partition(":")
        if colon and not rest.isdecimal():
            return Server(server, _endpoint(reactor, server))
        port = int(rest) if colon else port
    if not 0 < port < 65536 or not host or "," in host or any(map(str.isspace, host)):
        raise _not_understood(server)
    if isIPv6Address(host):
        return Server(server, TCP6ClientEndpoint(reactor, host, port), f"[{host}]:{port}")
    if isIPAddress(host):
        return Server(server, TCP4ClientEndpoint(reactor, host, port), f"{host}:{port}")
    return Server(server, HostnameEndpoint(reactor, host, port), f"{host}:{port}")


def _endpoint(reactor: IReactorTime, server: str) -> IStreamClientEndpoint:
    try:
        endpoint: IStreamClientEndpoint = clientFromString(reactor, server)
    except (LookupError, TypeError, ValueError) as error:
        # A parser of Twisted's passes on whatever its endpoint's constructor raised.
        raise _not_understood(server, str(error)) from error
    return endpoint


def _not_understood(server: str, why: str = "") -> ValueError:
    if "," in server:
        # As PHP's addServers takes them.
        return ValueError(f"{server!r} is no server; several are a list: {server.split(',')}")
    text = f"{server!r} is neither a host, with a port from 1 to 65535 or without, nor an endpoint string"
    return ValueError(f"{text}: {why}" if why else text)

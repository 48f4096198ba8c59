"""
The servers of a client or a worker: what callers may write for one, and the endpoint that it stands for.

Where a server is given as text, its certificate is verified, and so is its name. What an endpoint object of a
caller's own does is the caller's affair.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    clientFromString,
)
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from txgear.net.endpointwords import several, words
from txgear.protocol.constants import DEFAULT_PORT
from txgear.security.clienttls import ClientContext, ClientTLS, TLSEndpoint
from txgear.security.servername import ServerName

_TLS_WORDS: Final = (
    *("host", "port", "timeout", "bindAddress"),
    *("certificate", "privateKey", "trustRoots", "endpoint"),
)
"""What an endpoint string that begins with C{tls:} may say, in the order that holds without names."""


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
C{unix:/path}), or C{host}, C{host:port}, an address, C{[address]:port}. One text may have several servers,
with commas between them, if it is not in a list; a comma that belongs to one is written with a backslash.
"""

TLSArgument: TypeAlias = "bool | ClientTLS"
"""Whether to speak TLS, or how."""


def server_list(reactor: IReactorTime, servers: object, tls: object = False) -> list[Server]:
    """
    @param servers: one server, or several: L{ServerArgument}.
    @param tls: L{TLSArgument}. It is for all servers; one that is given as an endpoint, of which the name is
        not known, needs L{ClientTLS.name}.
    @raise ValueError: there is none, or one is not understood, or TLS cannot be spoken with it as it is
        asked for, or a file of TLS cannot be used.
    @raise TypeError: one is neither text nor an endpoint, or C{reactor} is no reactor, or C{tls} is of a
        wrong type.
    """
    if not callable(getattr(reactor, "callLater", None)):
        raise TypeError(f"reactor is {type(reactor).__name__}, not a reactor of Twisted's")
    if not isinstance(tls, (bool, ClientTLS)):
        raise TypeError(f"tls is {type(tls).__name__}, not a bool or a ClientTLS")
    if isinstance(servers, str):
        servers = several(servers)
    elif IStreamClientEndpoint.providedBy(servers):
        servers = [servers]
    elif isinstance(servers, bytes) or not isinstance(servers, Iterable):
        raise TypeError(f"servers is {type(servers).__name__}, not text, an endpoint, or a list of these")
    context = ClientContext(ClientTLS() if tls is True else tls) if tls else None
    found = [_server(reactor, server, context) for server in servers]
    if not found:
        raise ValueError("no server is given")
    return found


def _server(reactor: IReactorTime, server: object, context: ClientContext | None) -> Server:
    if not isinstance(server, str):
        if not IStreamClientEndpoint.providedBy(server):
            raise TypeError(
                f"a server is text, such as 'gear.example:4730', or an endpoint, not {type(server).__name__}"
            )
        return _secured(reactor, Server(repr(server), server), "", context)
    host, port = server, DEFAULT_PORT
    if server.startswith("[") and "]" in server:
        host, _, rest = server[1:].partition("]")
        if not isIPv6Address(host) or (rest and not (rest[0] == ":" and rest[1:].isdecimal())):
            raise _not_understood(server)
        port = int(rest[1:]) if rest else port
    elif not isIPv6Address(server):
        if (number := server.removeprefix(":")).isdecimal():
            # The system would take it for an address.
            raise ValueError(f"{server!r}: a host is wanted as well, as 127.0.0.1:{number}")
        host, colon, rest = server.partition(":")
        if colon and not rest.isdecimal():
            return _by_endpoint_string(reactor, server, context)
        port = int(rest) if colon else port
    if not 0 < port < 65536 or not host or "," in host or any(map(str.isspace, host)):
        raise _not_understood(server)
    endpoint: IStreamClientEndpoint
    address = f"{host}:{port}"
    if isIPv6Address(host):
        endpoint, address = TCP6ClientEndpoint(reactor, host, port), f"[{host}]:{port}"
    elif isIPAddress(host):
        endpoint = TCP4ClientEndpoint(reactor, host, port)
    else:
        endpoint = HostnameEndpoint(reactor, host, port)
    return _secured(reactor, Server(server, endpoint, address), host, context)


def _secured(reactor: IReactorTime, server: Server, host: str, context: ClientContext | None) -> Server:
    """
    The same server over TLS, where that is asked for.

    @param host: what its certificate must be for, unless the caller says otherwise; empty where nobody knows.
    """
    if context is None:
        return server
    expected = context.tls.name or host
    if not expected:
        raise ValueError(
            f"tls: the name in the certificate of {server.name} is not known: ClientTLS(name=...)"
        )
    endpoint = TLSEndpoint(reactor, server.endpoint, context, ServerName(expected))
    return Server(server.name, endpoint, server.address)


def _by_endpoint_string(reactor: IReactorTime, server: str, context: ClientContext | None) -> Server:
    kind = server.partition(":")[0].lower()
    if kind == "ssl":
        # Twisted's verifies nothing unless it is told what.
        raise ValueError(f"{server!r}: TLS is written 'tls:host:port', or 'host:port' with the argument tls")
    if kind != "tls":
        return _secured(reactor, Server(server, _endpoint(reactor, server)), "", context)
    if context is not None:
        raise ValueError(f"{server!r} says by itself how TLS is spoken; with tls it is 'host:port'")
    try:
        return _by_tls_string(reactor, server)
    except (TypeError, ValueError) as error:
        raise _not_understood(server, str(error)) from error


def _by_tls_string(reactor: IReactorTime, server: str) -> Server:
    """
    A server by an endpoint string that begins with C{tls:}. It has the words of Twisted's own, and
    C{trustRoots} may be a file as well.

    @raise ValueError: it lacks something, has a word too many, or a file of it cannot be used.
    """
    positional, named = words(server)
    given = {**dict(zip(_TLS_WORDS, positional[1:], strict=False)), **named}
    unknown = [*positional[len(_TLS_WORDS) + 1 :], *(name for name in named if name not in _TLS_WORDS)]
    if unknown or not given.get("host") or not given.get("port"):
        raise ValueError(f"{unknown[0]!r} is not known there" if unknown else "a host and a port are wanted")
    below: IStreamClientEndpoint
    if "endpoint" in given:
        below = _endpoint(reactor, given["endpoint"])
    else:
        bind = (given["bindAddress"], 0) if "bindAddress" in given else None
        port, timeout = int(given["port"]), int(given.get("timeout", 30))
        below = HostnameEndpoint(reactor, given["host"], port, timeout, bind)
    tls = ClientTLS(given.get("trustRoots"), given.get("certificate"), given.get("privateKey"))
    return _secured(reactor, Server(server, below), given["host"], ClientContext(tls))


def _endpoint(reactor: IReactorTime, server: str) -> IStreamClientEndpoint:
    try:
        endpoint: IStreamClientEndpoint = clientFromString(reactor, server)
    except (LookupError, TypeError, ValueError) as error:
        # A parser of Twisted's passes on whatever its endpoint's constructor raised.
        raise _not_understood(server, str(error)) from error
    return endpoint


def _not_understood(server: str, why: str = "") -> ValueError:
    if len(several(server)) > 1:
        return ValueError(f"{server!r} is no server; several are a list of their own: {several(server)}")
    text = f"{server!r} is neither a host, with a port from 1 to 65535 or without, nor an endpoint string"
    return ValueError(f"{text}: {why}" if why else text)

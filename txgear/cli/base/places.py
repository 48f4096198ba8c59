"""
Where a server is, as people write it, for commands that need no Twisted: to import it takes longer than what
they do.

What is understood is what L{txgear.net.servers} understands, but for endpoints that only Twisted has.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from txgear.cli.base.statuses import MISUSED, CommandError
from txgear.net.endpointwords import words
from txgear.protocol.constants import DEFAULT_PORT

_WORDS: Final = {
    "tcp": ("host", "port", "timeout", "bindAddress"),
    "unix": ("path", "timeout"),
    "tls": ("host", "port", "timeout", "bindAddress", "certificate", "privateKey", "trustRoots"),
}
"""The endpoint strings that are understood: their words, in the order that holds without names."""
_TAKEN: Final = frozenset(("host", "port", "path", "certificate", "privateKey", "trustRoots"))


@dataclass(frozen=True)
class TLSFiles:
    """
    How TLS is spoken; see L{txgear.security.clienttls.ClientTLS}.

    @ivar ca: a file or a folder; C{None} for the system's authorities.
    @ivar certificate: the client's, or C{None}.
    @ivar key: its key; C{None} where it stands in the certificate's file.
    @ivar name: what the server's certificate must be for; empty for the host.
    """

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    name: str = ""


@dataclass(frozen=True)
class Place:
    """
    One server.

    @ivar name: as it was written.
    @ivar host: its name or address; empty for a Unix socket, which has
    @ivar path: where its file is.
    @ivar port: its TCP port.
    @ivar tls: how TLS is spoken with it; C{None} for without.
    """

    name: str
    host: str = ""
    port: int = DEFAULT_PORT
    path: str = ""
    tls: TLSFiles | None = None


def place_of(text: str, tls: TLSFiles | None = None) -> Place:
    """
    @param text: C{HOST}, C{HOST:PORT}, C{[ADDRESS]:PORT}, C{unix:/path}, C{tcp:HOST:PORT} or
        C{tls:HOST:PORT}.
    @param tls: as the options say.
    @raise CommandError: it is not understood.
    """
    host, port = text, DEFAULT_PORT
    if text.startswith("[") and "]" in text:
        host, _, rest = text[1:].partition("]")
        if not _is_ipv6(host) or (rest and not (rest[0] == ":" and rest[1:].isdecimal())):
            raise _not_understood(text)
        port = int(rest[1:]) if rest else port
    elif not _is_ipv6(text):
        if (number := text.removeprefix(":")).isdecimal():
            raise CommandError(f"{text!r}: a host is wanted as well, as 127.0.0.1:{number}", MISUSED)
        host, colon, rest = text.partition(":")
        if colon and not rest.isdecimal():
            return _by_endpoint_string(text, tls)
        if colon and not 0 < int(rest) < 65536:
            raise _not_understood(text, _no_port(rest))
        port = int(rest) if colon else port
    if not 0 < port < 65536 or not host or any(map(str.isspace, host)):
        raise _not_understood(text)
    return _checked(Place(text, host, port, tls=tls))


def _checked(place: Place) -> Place:
    if place.tls is not None and not (place.tls.name or place.host):
        raise CommandError(
            f"{place.name}: the name in its certificate is not known: --tls-name NAME", MISUSED
        )
    return place


def _by_endpoint_string(text: str, tls: TLSFiles | None) -> Place:
    [kind, *positional], named = words(text)
    if kind not in _WORDS:
        if text.count(":") == 1 and "//" not in text:
            raise _not_understood(text, _no_port(text.partition(":")[2]))
        raise _not_understood(text, f"{kind}: is none of {', '.join(f'{each}:' for each in _WORDS)}")
    given = {**dict(zip(_WORDS[kind], positional, strict=False)), **named}
    if len(positional) > len(_WORDS[kind]) or given.keys() - set(_WORDS[kind]) or not given.keys() <= _TAKEN:
        raise _not_understood(text, "it has a word too many")
    if kind == "unix":
        if not given.get("path"):
            raise _not_understood(text, "a path is wanted")
        return _checked(Place(text, path=given["path"], tls=tls))
    host, port = given.get("host", ""), given.get("port", "")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise _not_understood(text, "a host and a port are wanted")
    if kind == "tls":
        if tls is not None:
            raise CommandError(
                f"{text!r} says by itself how TLS is spoken; with --tls it is HOST:PORT", MISUSED
            )
        tls = TLSFiles(given.get("trustRoots"), given.get("certificate"), given.get("privateKey"))
    return Place(text, host, int(port), tls=tls)


def _is_ipv6(text: str) -> bool:
    try:
        return ip_address(text).version == 6
    except ValueError:
        return False


def _no_port(text: str) -> str:
    return f"{text!r} is no port from 1 to 65535"


def _not_understood(text: str, why: str = "") -> CommandError:
    said = f"{text!r} is no server: HOST, HOST:PORT, [ADDRESS]:PORT, unix:/path or tls:HOST:PORT is wanted"
    return CommandError(f"{said}: {why}" if why else said, MISUSED)

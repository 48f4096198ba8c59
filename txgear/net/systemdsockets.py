"""
Sockets that systemd has opened: its socket activation.

While the server is away, connections wait in them: systemd keeps them open. Twisted's C{systemd:} endpoint
takes one socket. All sockets of one unit have one name; here the name stands for all of them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory

from txgear.errors import ConfigurationError
from txgear.net.ownports import adopt

PREFIX: Final = "systemd:"
_SETTINGS: Final = ("domain", "index", "name")
"""In the order in which they may stand without their names."""


class Passed(NamedTuple):
    """
    A socket that systemd has passed to this process.

    @ivar descriptor: its number.
    @ivar name: what the unit's C{FileDescriptorName} says, or the unit's own name.
    """

    descriptor: int
    name: str


def passed_sockets(environ: Mapping[str, str] = os.environ) -> list[Passed]:
    """
    What systemd has passed, in its order.

    @param environ: has the names.
    """
    # Twisted reads the variables when it is imported, and removes those that must not be believed twice.
    # So it is asked, and by the only way that it has: endpoint after endpoint.
    descriptors: list[int] = []
    with suppress(IndexError):
        while True:
            endpoint: Any = serverFromString(None, f"systemd:domain=INET:index={len(descriptors)}")
            descriptors.append(endpoint.fileno)
    return list(map(Passed, descriptors, environ.get("LISTEN_FDNAMES", "").split(":")))


def single_sockets(text: str, passed: Sequence[Passed] | None = None) -> list[str]:
    """
    The endpoint strings of the single sockets for which one stands.

    @param text: C{systemd:name=gear}, C{systemd:index=0}, both with a C{domain} where that is to be looked
        at: C{INET}, C{INET6} or C{UNIX}.
    @param passed: the sockets; by default those of this process.
    @raise ConfigurationError: there is none, or the string makes no sense.
    """
    settings = _settings(text)
    found = passed_sockets() if passed is None else passed
    if not found:
        raise ConfigurationError(_why_none(os.environ))
    index, name, domain = settings.get("index"), settings.get("name"), settings.get("domain")
    if index is not None:
        if not (index.isascii() and index.isdecimal() and int(index) < len(found)):
            raise ConfigurationError(f"no socket has the index {index}: systemd has passed {len(found)}")
        chosen = [int(index)]
    else:
        chosen = [number for number, socket in enumerate(found) if socket.name == name]
        if not chosen:
            names = ", ".join(dict.fromkeys(socket.name for socket in found))
            raise ConfigurationError(f"systemd has passed no socket of the name {name}; there is {names}")
    if domain is not None:
        of_domain = [number for number in chosen if _domain(found[number].descriptor) == domain]
        if not of_domain:
            others = ", ".join(dict.fromkeys(_domain(found[number].descriptor) for number in chosen))
            raise ConfigurationError(f"its domain is {others}, and not {domain}")
        chosen = of_domain
    return [f"{PREFIX}index={number}" for number in chosen]


def _settings(text: str) -> dict[str, str]:
    settings: dict[str, str] = {}
    for place, word in enumerate(text.removeprefix(PREFIX).split(":")):
        key, equals, value = word.partition("=")
        if not equals:
            key, value = _SETTINGS[min(place, len(_SETTINGS) - 1)], word
        if key not in _SETTINGS or not value:
            raise ConfigurationError(f"{word!r} is not understood; name=NAME or index=NUMBER is wanted")
        settings[key] = value
    if ("index" in settings) == ("name" in settings):
        raise ConfigurationError("one of name=NAME and index=NUMBER is wanted")
    return settings


def _why_none(environ: Mapping[str, str]) -> str:
    meant = environ.get("LISTEN_PID")
    if meant is not None:
        return f"systemd has passed its sockets to process {meant}, and this is {os.getpid()}"
    return "systemd has passed no socket: this is for a service with a .socket unit"


def _open(descriptor: int) -> socket.socket:
    """
    A duplicate of a socket.

    @raise OSError: it is none.
    """
    duplicate = os.dup(descriptor)
    try:
        return socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        raise


def _domain(descriptor: int) -> str:
    """What C{domain} is for a socket; what is none has none."""
    try:
        with _open(descriptor) as sock:
            return sock.family.name.removeprefix("AF_")
    except OSError:
        return "that of no socket"


def listen(
    reactor: Any, text: str, factory: IProtocolFactory, passed: Sequence[Passed] | None = None
) -> IListeningPort:
    """
    Listen on a socket. Systemd's own stays open: the service may be stopped and started again.

    @param text: an endpoint string of L{single_sockets}.
    @raise ConfigurationError: nobody can listen on it.
    """
    found = passed_sockets() if passed is None else passed
    descriptor, name = found[int(text.rpartition("=")[2])]
    try:
        sock = _open(descriptor)
    except OSError as error:
        raise ConfigurationError(f"what systemd has passed as {name} is no socket") from error
    with sock:
        if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ConfigurationError(
                f"what systemd has passed as {name} does not listen: ListenStream= and Accept=no are wanted"
            )
        # Of the socket, and not of the descriptor.
        sock.setblocking(False)
        os.set_inheritable(descriptor, False)
        return adopt(reactor, sock, factory)

"""
C{txgear ping}: is a server alive? For health checks, which look at the exit status.
"""

from __future__ import annotations

import socket
import sys
from dataclasses import replace
from time import monotonic
from typing import Any, Final

import click

from txgear.cli.base.api import unreachable
from txgear.cli.base.connection import plain_connection, tls_context
from txgear.cli.base.options import Servers, json_option, timed_server_options
from txgear.cli.base.output import printable, write_json
from txgear.cli.base.places import Place, place_of
from txgear.cli.base.statuses import MISUSED, CommandError
from txgear.cli.probe.plugin import Overdue, within
from txgear.protocol.constants import (
    ECHO_REQ,
    ECHO_RES,
    ERROR,
    EXTENSION_OPTION,
    HEADER_SIZE,
    LOGGED_IN,
    LOGIN,
    OPTION_REQ,
    OPTION_RES,
    RESPONSE_MAGIC,
)
from txgear.protocol.packets import request
from txgear.quantities import second_words

TIMEOUT: Final = 5.0
LONGEST_ANSWER: Final = 4096
"""Bytes of an answer at the most."""
DATA: Final = b"txgear"
"""What is echoed."""

ALIVE: Final = 0
DEAD: Final = 1
"""The exit statuses beside that of a command line that makes no sense."""


def ask(sock: socket.socket, packet: bytes, wanted: int, data: bytes = b"") -> None:
    """
    Send a packet, and wait for its answer; what else comes does not count.

    @param data: what the answer is; empty for anything.
    @raise ConnectionError: the server has hung up, refuses it, or speaks something else.
    """
    sock.sendall(packet)
    while True:
        header = _exactly(sock, HEADER_SIZE)
        kind, size = int.from_bytes(header[4:8], "big"), int.from_bytes(header[8:], "big")
        if header[:4] != RESPONSE_MAGIC or size > LONGEST_ANSWER:
            raise ConnectionError("it does not speak the protocol of Gearman")
        body = _exactly(sock, size)
        if kind == ERROR:
            raise ConnectionRefusedError(": ".join(map(_shown, body.split(b"\0"))))
        if kind == wanted and (not data or data == body):
            return


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        came = sock.recv(size - len(data))
        if not came:
            raise ConnectionError("it has hung up")
        data += came
    return data


def _shown(argument: bytes) -> str:
    return argument.decode("utf-8", "backslashreplace")


def ping(place: Place, token: bytes | None, timeout: float) -> float:
    """
    Ask a server for an echo.

    @param token: who asks; C{None} for nobody.
    @param timeout: seconds for all of it, names and handshakes included.
    @return: the seconds that it took.
    @raise CommandError: it does not answer; or a file of TLS cannot be used.
    """
    began = monotonic()
    context = None if place.tls is None else tls_context(place.tls)
    try:
        with within(timeout), plain_connection(place, timeout) as plain:
            sock = plain
            if context is not None and place.tls is not None:
                sock = context.wrap_socket(plain, server_hostname=place.tls.name or place.host)
            with sock:
                if token is not None:
                    # A server that is none of ours must not see it.
                    ask(sock, request(OPTION_REQ, EXTENSION_OPTION), OPTION_RES)
                    _log_in(sock, token)
                ask(sock, request(ECHO_REQ, DATA), ECHO_RES, DATA)
    except (Overdue, TimeoutError) as error:
        raise CommandError(f"{place.name}: no answer within {second_words(timeout)}") from error
    except OSError as error:
        raise unreachable(place, error) from error
    return monotonic() - began


def _log_in(sock: socket.socket, token: bytes) -> None:
    try:
        ask(sock, request(LOGIN, token), LOGGED_IN)
    except ConnectionRefusedError as error:
        raise ConnectionError(f"it did not let us in: {error}") from error


@click.command(
    epilog="Example: txgear ping gear.example:4730 --timeout 2\n\nExit statuses: 0 all answer, 1 one does"
    " not, 2 the command line makes no sense."
)
@click.argument("names", metavar="[SERVER]...", nargs=-1)
@json_option
@timed_server_options(TIMEOUT, "For all of it, of each server.")
def command(servers: Servers, as_json: bool, names: tuple[str, ...]) -> int:
    """
    Ask each SERVER for an ECHO, and say how long it took; those of --server if none is named. Any Gearman
    server will do.
    """
    if names:
        servers = replace(servers, names=names)
    status = ALIVE
    for place in [place_of(name, servers.tls) for name in servers.names]:
        found: dict[str, Any] = {"server": place.name, "alive": True, "seconds": None, "why": None}
        try:
            found["seconds"] = round(ping(place, servers.token, servers.timeout), 6)
        except CommandError as error:
            if error.status == MISUSED:
                raise
            status = DEAD
            found |= {"alive": False, "why": error.text.removeprefix(f"{place.name}: ")}
            if not as_json:
                print(f"txgear ping: {printable(error.text)}", file=sys.stderr)
        if as_json:
            write_json(found)
        elif found["alive"]:
            print(f"{place.name} answers, after {found['seconds'] * 1000:.1f} ms")
    return status

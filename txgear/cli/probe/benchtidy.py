"""
Leaves no trace of a measurement at a server.
"""

from __future__ import annotations

import socket
import time
from typing import Final

from txgear.cli.base.connection import plain_connection, tls_context
from txgear.cli.base.options import Servers
from txgear.protocol.constants import EXTENSION_OPTION, HEADER_SIZE, LOGIN, OPTION_REQ
from txgear.protocol.packets import request

AGAIN_SECONDS: Final = 0.1
"""Seconds until a server is asked again that is not done yet."""


def tidy(servers: Servers, function: str) -> str:
    """
    Have the only one of these servers forget a function, and what it keeps of its jobs.

    It is asked by text commands, which all servers have. txgear's own forgets a function that nobody uses by
    itself; gearmand has to be told.

    @return: what is left, in words; empty for nothing.
    @raise OSError: the server cannot be asked.
    """
    [place] = servers.places()
    with plain_connection(place, servers.timeout) as plain:
        sock = plain
        if place.tls is not None:
            name = place.tls.name or place.host
            sock = tls_context(place.tls).wrap_socket(plain, server_hostname=name)
        asking = _Text(sock)
        if servers.token is not None:
            asking.log_in(servers.token)
        if asking.rows(f"kept function={function} limit=1"):
            said = asking.line(f"forget kept function={function}")
            if not said.startswith("OK"):
                return f"results of {function} are kept: {said}"
        said = asking.line(f"drop function {function}")
        patience = time.monotonic() + servers.timeout
        while "still connected" in said and time.monotonic() < patience:
            # The worker's end has not been noticed yet, or there is a lot to forget.
            time.sleep(AGAIN_SECONDS)
            said = asking.line(f"drop function {function}")
    # Who may not drop functions has met a txgear.
    gone = said.startswith("OK") or "not found" in said or "ACCESS_DENIED" in said
    return "" if gone else f"{function} is left: {said}"


class _Text:
    """Asks by text commands."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._read = sock.makefile("rb")

    def log_in(self, token: bytes) -> None:
        """Say who asks."""
        self._sock.sendall(request(OPTION_REQ, EXTENSION_OPTION) + request(LOGIN, token))
        for _ in range(2):
            header = self._read.read(HEADER_SIZE)
            self._read.read(int.from_bytes(header[8:], "big"))

    def line(self, command: str) -> str:
        """The answer of a line."""
        self._sock.sendall(f"{command}\n".encode())
        said = self._read.readline(4096)
        if not said:
            raise ConnectionError("it has hung up")
        return said.decode("utf-8", "replace").strip()

    def rows(self, command: str) -> list[str]:
        """The answer that is a list; an error is an empty one."""
        found = []
        said = self.line(command)
        while said != "." and not said.startswith("ERR"):
            found.append(said)
            said = self._read.readline(4096).decode("utf-8", "replace").strip()
        return found

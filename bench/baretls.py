#!/usr/bin/env python3
"""
The least that a server on Twisted can do with TLS: it answers ECHO_REQ, and nothing else.

C{baretls.py PORT [CERTIFICATE KEY]}; without the files it speaks plain text. A yardstick for
C{bench/run.py --tls}, never a server to use.
"""

from __future__ import annotations

import struct
import sys
from typing import Final

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IReactorCore
from twisted.internet.protocol import Factory, Protocol

ECHO_REQ: Final = 16
ECHO_RES: Final = 17

_header = struct.Struct(">4sII")


class Echo(Protocol):
    """Answers what has arrived whole, in one write."""

    def __init__(self) -> None:
        self._rest = b""

    def dataReceived(self, data: bytes) -> None:
        data = self._rest + data
        at = 0
        answers = []
        while len(data) - at >= _header.size:
            _, kind, size = _header.unpack_from(data, at)
            end = at + _header.size + size
            if end > len(data):
                break
            if kind == ECHO_REQ:
                answers += [_header.pack(b"\0RES", ECHO_RES, size), data[at + _header.size : end]]
            at = end
        self._rest = data[at:]
        if answers:
            self.transport.writeSequence(answers)  # type: ignore[union-attr]


class Echoes(Factory):
    """Makes them."""

    noisy = False
    protocol = Echo


def main() -> None:
    """The command line."""
    port, *files = sys.argv[1:]
    options = f"{port}:interface=127.0.0.1:backlog=1024"
    if files:
        certificate, key = files
        endpoint = f"ssl:{options}:certKey={certificate}:privateKey={key}"
    else:
        endpoint = f"tcp:{options}"
    serverFromString(reactor, endpoint).listen(Echoes())
    IReactorCore(reactor).run()


if __name__ == "__main__":
    main()

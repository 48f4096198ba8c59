"""
What C{gearman} has of libgearman 1.1.20: its servers, its connections, and its words for what went wrong.
"""

from __future__ import annotations

import os
import re
import select
import socket
import ssl
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from txgear.errors import ProtocolError
from txgear.protocol.constants import RESPONSE_MAGIC
from txgear.protocol.packets import Decoder, Received

PORT: Final = 4730
PIECE: Final = 64 * 1024
LARGEST: Final = 2**32 - 1
"""Bytes of a packet at the most: libgearman has no bound of its own."""

LOST: Final = "GEARMAN_LOST_CONNECTION"
UNREACHABLE: Final = "GEARMAN_COULD_NOT_CONNECT"
TIMEOUT: Final = "GEARMAN_TIMEOUT"

_number = re.compile(rb"[ \t\n\v\f\r]*([+-]?[0-9]+)")


class Failure(Exception):
    """
    An error of libgearman's.

    @ivar code: its name.
    @ivar text: what C{gearman} prints.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @classmethod
    def at(cls, code: str, function: str, place: str, what: str, shown: str = "") -> Failure:
        """
        An error as libgearman writes it down.

        @param function: of libgearman, where it happened.
        @param place: the file and the line.
        @param shown: what stands in the place of the code, for an error of the system.
        """
        return cls(code, f"{function}({shown or code}) {what} -> libgearman/{place}: pid({os.getpid()})")


def atoi(text: bytes, bits: int = 32, signed: bool = True) -> int:
    """The number at the beginning of a text, as a variable of C's keeps it; 0 for none."""
    found = _number.match(text)
    if found is None:
        return 0
    # strtol() has 64 bits, and int has the lower 32 of them.
    size = 1 << bits
    whole = min(max(int(found[1][:30]), -(2**63)), 2**63 - 1) % size
    return whole - size if signed and whole >= size // 2 else whole


def murmur3(data: bytes) -> int:
    """MurmurHash3 of 32 bits, which is the unique of a job that is to be unique by its workload."""
    mask, first, second = 0xFFFFFFFF, 0xCC9E2D51, 0x1B873593

    def mixed(block: int) -> int:
        block = block * first & mask
        return (block << 15 | block >> 17) * second & mask

    made = 0xDEADBEEF * len(data) & mask
    tail = len(data) & ~3
    for place in range(0, tail, 4):
        made ^= mixed(int.from_bytes(data[place : place + 4], "little"))
        made = ((made << 13 | made >> 19) & mask) * 5 + 0xE6546B64 & mask
    if tail < len(data):
        made ^= mixed(int.from_bytes(data[tail:], "little"))
    made ^= len(data)
    made = (made ^ made >> 16) * 0x85EBCA6B & mask
    made = (made ^ made >> 13) * 0xC2B2AE35 & mask
    return made ^ made >> 16


class Address(NamedTuple):
    """Where a server is."""

    host: str
    port: int


def parsed(text: str | None) -> list[Address]:
    """The servers of a list such as C{one,two:4731}; C{None} is none."""
    found = []
    for each in () if text is None else text.split(","):
        host, _, port = each.partition(":")
        found.append(address(host, port))
    return found


def address(host: str, port: str) -> Address:
    """A server, by what stands on a command line."""
    return Address(host or "localhost", atoi(os.fsencode(port), 16, signed=False) or PORT)


class Connection:
    """
    A connection to a server, which is made when it is wanted.

    @ivar received: packets that have come and were not looked at.
    """

    def __init__(self, where: Address, tls: ssl.SSLContext | None, worker: bool) -> None:
        """
        @param worker: whether it is a worker's.
        @raise Failure: the host is not known.
        """
        self.received: deque[Received] = deque()
        self._where = where
        self._tls = tls
        self._worker = worker
        self._decoder = Decoder(RESPONSE_MAGIC, LARGEST)
        self._sock: socket.socket | None = None
        self._lookup()

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._sock is not None

    def fileno(self) -> int:
        """Part of C{select}."""
        assert self._sock is not None
        return self._sock.fileno()

    def connect(self, timeout: float | None) -> None:
        """
        Connect, unless that is done.

        @param timeout: seconds for each address.
        @raise Failure: no address answers, or not in time.
        """
        if self._sock is not None:
            return
        name = f"{self._where.host}:{self._where.port}"
        for family, kind, protocol, _, place in self._lookup():
            if timeout == 0:
                raise timed_out(1, self._worker)
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError:
                # A family that this system does not have.
                continue
            try:
                sock.settimeout(timeout)
                sock.connect(place)
                sock.settimeout(None)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._tls is not None:
                    sock = self._tls.wrap_socket(sock, server_hostname=self._where.host)
            except TimeoutError as error:
                sock.close()
                raise timed_out(1, self._worker) from error
            except ssl.SSLError as error:
                sock.close()
                why = f"SSL failure({error.strerror})"
                raise Failure.at(LOST, "flush", "connection.cc:880", why) from error
            except OSError:
                sock.close()
                continue
            self._sock = sock
            return
        raise Failure.at(UNREACHABLE, "flush", "connection.cc:724", f"Connection to {name} failed")

    def send(self, data: bytes) -> None:
        """
        Send bytes.

        @raise Failure: the server has gone.
        """
        try:
            if self._sock is None:
                raise ConnectionResetError
            self._sock.sendall(data)
        except OSError as error:
            self.close()
            why = error.strerror or ""
            what = "lost connection to server during send"
            raise Failure.at(LOST, "flush", "connection.cc:919", what, why) from error

    def receive(self) -> None:
        """
        Wait for bytes, and keep the packets that are whole.

        @raise Failure: the server has gone, or what it sent is no packet.
        """
        try:
            if self._sock is None:
                raise ConnectionResetError
            data = self._sock.recv(PIECE)
            while isinstance(self._sock, ssl.SSLSocket) and (left := self._sock.pending()):
                # What is decrypted already wakes nobody up.
                data += self._sock.recv(left)
        except OSError as error:
            self.close()
            what = "lost connection to server during read"
            raise Failure.at(LOST, "recv_socket", "connection.cc:1243", what, error.strerror or "") from error
        if not data:
            self.close()
            what = "lost connection to server (EOF)"
            raise Failure.at(LOST, "recv_socket", "connection.cc:1206", what)
        try:
            self.received.extend(self._decoder.feed(data))
        except ProtocolError as error:
            self.close()
            code = "GEARMAN_INVALID_MAGIC"
            raise Failure.at(
                code, "gearman_packet_unpack_header", "packet.cc:339", "invalid magic value"
            ) from error

    def close(self) -> None:
        """End the connection, and forget what has come of an unfinished packet."""
        if self._sock is not None:
            self._sock.close()
        self._sock = None
        self._decoder = Decoder(RESPONSE_MAGIC, LARGEST)
        self.received.clear()

    def _lookup(self) -> Sequence[tuple[int, int, int, str, tuple[object, ...]]]:
        host, port = self._where
        try:
            return socket.getaddrinfo(
                os.fsencode(host), str(port), type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                what = f"Nameserver timed out while looking up {host}:{port}"
                raise Failure.at(TIMEOUT, "lookup", "connection.cc:641", what) from error
            text = f"{host}:{port} getaddrinfo:{error.strerror} pid({os.getpid()})"
            raise Failure("GEARMAN_GETADDRINFO", text) from error


def timed_out(count: int, worker: bool) -> Failure:
    """The error of a wait that was too long, for so many servers."""
    what = (
        f"timeout reached, {count} servers were poll(), no servers were available, pipe:{str(worker).lower()}"
    )
    return Failure.at(TIMEOUT, "gearman_wait", "universal.cc:346", what)


def wait(connections: Iterable[Connection], timeout: float | None, worker: bool = False) -> list[Connection]:
    """
    Wait until something has come.

    @return: from whom.
    @raise Failure: nothing has in time.
    """
    watched = list(connections)
    waiting = [each for each in watched if each.received]
    if waiting:
        return waiting
    ready = select.select(watched, [], [], timeout)[0]
    if not ready:
        raise timed_out(len(watched), worker)
    return ready

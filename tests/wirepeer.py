"""A peer that speaks the Gearman protocol through a plain socket.

It shares nothing with txgear's own code: a mistake there cannot hide itself here. Every wait is bounded.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from enum import IntEnum
from types import TracebackType
from typing import Final, NamedTuple

REQ: Final = b"\0REQ"
RES: Final = b"\0RES"
HEADER: Final = struct.Struct(">4sII")


class P(IntEnum):
    """The packet types of the protocol."""

    CAN_DO = 1
    CANT_DO = 2
    RESET_ABILITIES = 3
    PRE_SLEEP = 4
    NOOP = 6
    SUBMIT_JOB = 7
    JOB_CREATED = 8
    GRAB_JOB = 9
    NO_JOB = 10
    JOB_ASSIGN = 11
    WORK_STATUS = 12
    WORK_COMPLETE = 13
    WORK_FAIL = 14
    GET_STATUS = 15
    ECHO_REQ = 16
    ECHO_RES = 17
    SUBMIT_JOB_BG = 18
    ERROR = 19
    STATUS_RES = 20
    SUBMIT_JOB_HIGH = 21
    SET_CLIENT_ID = 22
    CAN_DO_TIMEOUT = 23
    ALL_YOURS = 24
    WORK_EXCEPTION = 25
    OPTION_REQ = 26
    OPTION_RES = 27
    WORK_DATA = 28
    WORK_WARNING = 29
    GRAB_JOB_UNIQ = 30
    JOB_ASSIGN_UNIQ = 31
    SUBMIT_JOB_HIGH_BG = 32
    SUBMIT_JOB_LOW = 33
    SUBMIT_JOB_LOW_BG = 34
    SUBMIT_JOB_SCHED = 35
    SUBMIT_JOB_EPOCH = 36
    SUBMIT_REDUCE_JOB = 37
    SUBMIT_REDUCE_JOB_BACKGROUND = 38
    GRAB_JOB_ALL = 39
    JOB_ASSIGN_ALL = 40
    GET_STATUS_UNIQUE = 41
    STATUS_RES_UNIQUE = 42


class Packet(NamedTuple):
    """One packet as it came."""

    magic: bytes
    type: int
    body: bytes

    @property
    def args(self) -> list[bytes]:
        """The body, cut at every NUL."""
        return self.body.split(b"\0")


class Job(NamedTuple):
    """A job as GRAB_JOB_UNIQ hands it out."""

    handle: bytes
    function: bytes
    unique: bytes
    workload: bytes


def packet(type: int, *args: bytes, magic: bytes = REQ) -> bytes:
    """A packet's bytes, its arguments joined by NUL."""
    body = b"\0".join(args)
    return HEADER.pack(magic, type, len(body)) + body


#: Seconds for an answer, on a machine that has a lot to do; a test of how soon one comes measures that.
PATIENCE: Final = 15.0


class Closed(AssertionError):
    """The server closed the connection where an answer was expected."""


class WirePeer:
    """One connection: a client, a worker and an admin in one."""

    def __init__(
        self,
        port: int,
        host: str = "127.0.0.1",
        timeout: float = PATIENCE,
        source: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """By TLS, where there are settings for it; the server's certificate is to be one for localhost."""
        self.timeout = timeout
        self._socket = socket.create_connection((host, port), timeout, source and (source, 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname="localhost")
        self._buffer = b""
        self._echoes = 0
        #: All that this connection ever received.
        self.received = b""

    def __enter__(self) -> WirePeer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def shut_writing(self) -> None:
        """Say that no more will come, and go on reading."""
        self._socket.shutdown(socket.SHUT_WR)

    @property
    def local_port(self) -> int:
        return int(self._socket.getsockname()[1])

    # Bytes

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.settimeout(self.timeout)
        self._socket.sendall(data)

    def _receive(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"nothing within the time allowed; so far {self._buffer[:200]!r}")
        self._socket.settimeout(left)
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Closed(f"the server closed the connection; so far {self._buffer[:200]!r}")
        self.received += data
        self._buffer += data

    def read_exactly(self, size: int, timeout: float | None = None) -> bytes:
        """That many bytes."""
        deadline = time.monotonic() + (timeout or self.timeout)
        while len(self._buffer) < size:
            self._receive(deadline)
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def read_until(self, end: bytes, timeout: float | None = None) -> bytes:
        """All bytes to the first ``end``, with it."""
        deadline = time.monotonic() + (timeout or self.timeout)
        while end not in self._buffer:
            self._receive(deadline)
        place = self._buffer.index(end) + len(end)
        data, self._buffer = self._buffer[:place], self._buffer[place:]
        return data

    def read_to_end(self, timeout: float | None = None) -> bytes:
        """All that comes until the server closes the connection."""
        deadline = time.monotonic() + (timeout or self.timeout)
        try:
            while True:
                self._receive(deadline)
        except Closed:
            data, self._buffer = self._buffer, b""
            return data

    # Packets

    def send(self, type: int, *args: bytes, magic: bytes = REQ) -> None:
        """Send one packet."""
        self.send_raw(packet(type, *args, magic=magic))

    def read(self, timeout: float | None = None) -> Packet:
        """The next packet."""
        magic, type, size = HEADER.unpack(self.read_exactly(HEADER.size, timeout))
        return Packet(magic, type, self.read_exactly(size, timeout))

    def expect(self, type: int, *args: bytes, timeout: float | None = None) -> Packet:
        """The next packet, which must be of that type and, where arguments are given, hold exactly these."""
        got = self.read(timeout)
        assert got.magic == RES, got
        assert got.type == type, f"{P(type).name} expected, got {got}"
        if args:
            assert got.body == b"\0".join(args), got
        return got

    def sync(self) -> list[Packet]:
        """Everything the server had sent before it answered an echo; answers come in order."""
        self._echoes += 1
        mark = b"sync-%d-%d" % (id(self), self._echoes)
        self.send(P.ECHO_REQ, mark)
        before: list[Packet] = []
        while True:
            got = self.read()
            if got.type == P.ECHO_RES and got.body == mark:
                return before
            before.append(got)

    # Requests with an answer

    def submit(
        self, function: bytes, workload: bytes = b"", unique: bytes = b"", type: int = P.SUBMIT_JOB
    ) -> bytes:
        """Submit a job; its handle."""
        self.send(type, function, unique, workload)
        return self.expect(P.JOB_CREATED).body

    def can_do(self, *functions: bytes) -> None:
        """Register functions, and come back when the server knows them."""
        for function in functions:
            self.send(P.CAN_DO, function)
        assert self.sync() == []

    def grab(self) -> Job | None:
        """Ask for a job; nothing if there is none now."""
        self.send(P.GRAB_JOB_UNIQ)
        got = self.read()
        while got.type == P.NOOP:
            got = self.read()
        if got.type == P.NO_JOB:
            return None
        assert got.type == P.JOB_ASSIGN_UNIQ, got
        return Job(*got.body.split(b"\0", 3))

    def grab_soon(self, timeout: float = 5.0) -> Job:
        """Ask for a job, sleeping as a worker does until there is one."""
        deadline = time.monotonic() + timeout
        while True:
            job = self.grab()
            if job is not None:
                return job
            self.send(P.PRE_SLEEP)
            self.expect(P.NOOP, timeout=max(0.01, deadline - time.monotonic()))

    def complete(self, job: Job | bytes, result: bytes = b"") -> None:
        """End a job well."""
        self.send(P.WORK_COMPLETE, job.handle if isinstance(job, Job) else job, result)

    def status_of(self, handle: bytes) -> list[bytes]:
        """GET_STATUS: known, running, numerator, denominator."""
        self.send(P.GET_STATUS, handle)
        got = self.expect(P.STATUS_RES)
        assert got.args[0] == handle, got
        return got.args[1:]

    # Text

    def ask(self, line: str | bytes, end: bytes = b"\n") -> bytes:
        """Send a text command; its one-line answer, with the line's end."""
        self.send_raw((line.encode() if isinstance(line, str) else line) + end)
        return self.read_until(b"\n")

    def ask_list(self, line: str, end: bytes = b"\n") -> list[str]:
        """Send a text command; the rows of its list answer."""
        self.send_raw(line.encode() + end)
        rows: list[str] = []
        while True:
            row = self.read_until(b"\n")[:-1].decode("utf-8", "backslashreplace")
            if row == ".":
                return rows
            rows.append(row)

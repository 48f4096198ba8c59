"""
Connections to a server that begin with Gearman's packets, and go on with HTTP.

They trust nothing that answers there: it may be another program, it may say nothing, or a byte now and then.
"""

from __future__ import annotations

import http.client
import io
import select
import socket
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from txgear.cli.base.places import Place, TLSFiles
from txgear.cli.base.statuses import MISUSED, UNREACHABLE, CommandError
from txgear.protocol.constants import (
    DEFAULT_PORT,
    ERROR,
    EXTENSION_OPTION,
    HEADER_SIZE,
    OPTION_REQ,
    OPTION_RES,
    SWITCH_HTTP,
    SWITCHED_HTTP,
)
from txgear.protocol.packets import request

LONGEST_ANSWER: Final = 4096
"""Bytes of an answer before HTTP is spoken, at the most."""
PIECE: Final = 256 * 1024
"""Bytes that are sent in one go, so that each has its time."""
PROGRESS: Final = 1024
"""Bytes that come at the least in the time that an answer has: so one of any size may take its time."""


class HttpConnection(http.client.HTTPConnection):
    """A connection of HTTP that has begun with Gearman's packets."""

    def __init__(self, place: Place, timeout: float) -> None:
        super().__init__(place.host or "localhost", place.port, timeout=timeout, blocksize=PIECE)
        self._place = place
        self._answer: http.client.HTTPResponse | None = None

    def connect(self) -> None:
        """As in C{http.client}."""
        context = None if self._place.tls is None else tls_context(self._place.tls)
        sock = plain_connection(self._place, self.timeout)
        try:
            if context is not None and self._place.tls is not None:
                name = self._place.tls.name or self._place.host
                sock = context.wrap_socket(sock, server_hostname=name)
            _switch(sock, self._place, self.timeout or 0.0)
        except BaseException:
            sock.close()
            raise
        self.sock = sock

    def is_left(self) -> bool:
        """
        Whether the server has ended the connection, as it does where nothing is asked for a minute; or if it
        may have, which TLS does not tell.
        """
        if self.sock is None:
            return False
        came, _, _ = select.select([self.sock], [], [], 0)
        return bool(came)

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout: float,
        progress: int = PROGRESS,
    ) -> http.client.HTTPResponse:
        """
        Ask once.

        @param timeout: seconds for the answer, for each so many bytes of it, and for each piece of the body.
        @param progress: so many; 1 where it comes as it is made.
        """
        if self._answer is not None and not self._answer.isclosed():
            # It was not read to its end; what is left of it would be taken for the next answer.
            self.close()
        self._answer = None
        if self.sock is None:
            self.connect()
        self.sock.settimeout(timeout)
        self.response_class = _reading(timeout, progress)
        sent = dict(headers)
        if body is not None:
            sent["Content-Length"] = str(len(body))
        try:
            self.request(method, target, None if body is None else io.BytesIO(body), sent)
        except (BrokenPipeError, ConnectionResetError):
            # It has not read all of it. It may have said why.
            self._answer = self.getresponse()
            return self._answer
        self._answer = self.getresponse()
        return self._answer


def _reading(timeout: float, progress: int) -> Any:
    """What makes an answer of a connection that is read in a bounded time."""

    def made(sock: Any, *rest: Any, **named: Any) -> http.client.HTTPResponse:
        return http.client.HTTPResponse(_InTime(sock, timeout, progress), *rest, **named)  # type: ignore[arg-type]

    return made


class _InTime:
    """A socket, as far as answers are read from it."""

    def __init__(self, sock: socket.socket, timeout: float, progress: int) -> None:
        self._sock = sock
        self._timeout = timeout
        self._progress = progress

    def makefile(self, mode: str) -> io.BufferedReader:
        """As of a socket."""
        return io.BufferedReader(_Raw(self._sock, self._timeout, self._progress), PIECE)


class _Raw(io.RawIOBase):
    """The bytes of a socket. It raises C{TimeoutError} where too few of them come for too long."""

    def __init__(self, sock: socket.socket, timeout: float, progress: int) -> None:
        super().__init__()
        # It keeps the socket open where the connection is closed before the answer is read.
        self._file = sock.makefile("rb", buffering=0)
        self._sock = sock
        self._timeout = timeout
        self._least = progress
        self._until = time.monotonic() + timeout
        self._came = 0

    def readable(self) -> bool:
        """As of all files."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """As of all files."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        count = self._file.readinto(buffer)
        self._came += count or 0
        if self._came >= self._least:
            self._came, self._until = 0, time.monotonic() + self._timeout
        return count

    def close(self) -> None:
        """As of all files."""
        self._file.close()
        super().close()


def plain_connection(place: Place, timeout: float | None) -> socket.socket:
    """
    A connection to a server, without TLS.

    @raise OSError: it cannot be reached.
    @raise CommandError: its name is none.
    """
    if not place.path:
        try:
            sock = socket.create_connection((place.host, place.port), timeout)
        except UnicodeError as error:
            raise CommandError(f"{place.name}: no host can have this name", MISUSED) from error
        # Headers and body are two writes: without this the second one waits 40 ms for the first.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout)
    try:
        sock.connect(place.path)
    except BaseException:
        sock.close()
        raise
    return sock


def tls_context(tls: TLSFiles) -> ssl.SSLContext:
    """
    What verifies a server, and shows the client's certificate.

    @raise CommandError: a file cannot be used.
    """
    context = _trusting(tls.ca)
    if tls.certificate is not None:
        try:
            context.load_cert_chain(tls.certificate, tls.key, _no_password)
        except OSError as error:
            files = tls.certificate if tls.key is None else f"{tls.certificate} and {tls.key}"
            raise _unusable("certificate", files, error) from error
    return context


def _no_password() -> str:
    # Or OpenSSL would ask for it at the terminal.
    raise CommandError("the key has a passphrase, and needs to have none", MISUSED)


def _trusting(ca: str | None) -> ssl.SSLContext:
    try:
        if ca is None or not Path(ca).is_dir():
            return ssl.create_default_context(cafile=ca)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        paths = sorted(Path(ca).glob("*.pem"))
        for path in paths:
            context.load_verify_locations(path)
    except OSError as error:
        raise _unusable("authorities", ca or "the system's", error) from error
    if not paths:
        raise CommandError(f"there is no certificate in {ca}: *.pem is looked for", MISUSED)
    return context


def _unusable(what: str, path: str, error: OSError) -> CommandError:
    why = str(getattr(error, "reason", None) or error.strerror or error).replace("_", " ").lower()
    return CommandError(f"cannot use the {what} of {path}: {why}", MISUSED)


def _switch(sock: socket.socket, place: Place, timeout: float) -> None:
    """
    Have the server speak HTTP on this connection.

    @raise CommandError: it does not.
    """
    until = time.monotonic() + timeout
    # One after the other: gearmand hangs up over the second, and takes back its answer to the first.
    for sent, wanted in (
        (request(OPTION_REQ, EXTENSION_OPTION), OPTION_RES),
        (request(SWITCH_HTTP), SWITCHED_HTTP),
    ):
        sock.sendall(sent)
        kind, body = _packet(sock, place, until)
        if kind == ERROR:
            code, _, told = body.partition(b"\0")
            if code != b"UNKNOWN_OPTION":
                raise CommandError(f"{place.name}: {told.decode('utf-8', 'replace')}", UNREACHABLE)
        if kind != wanted:
            raise CommandError(
                f"{place.name} is a Gearman server, but no txgear, which this command is for; txgear"
                " gearadmin and txgear gearman are for all",
                UNREACHABLE,
            )


def _packet(sock: socket.socket, place: Place, until: float) -> tuple[int, bytes]:
    header = _exactly(sock, HEADER_SIZE, until)
    kind, size = int.from_bytes(header[4:8], "big"), int.from_bytes(header[8:], "big")
    if header[:4] == b"HTTP":
        raise CommandError(
            f"{place.name}: HTTP is spoken there, as at the web's port; the port for jobs is wanted,"
            f" {DEFAULT_PORT} if nobody has said another",
            UNREACHABLE,
        )
    if header[:4] != b"\0RES" or size > LONGEST_ANSWER:
        raise CommandError(f"{place.name}: what answers there is no Gearman server", UNREACHABLE)
    return kind, _exactly(sock, size, until)


def _exactly(sock: socket.socket, size: int, until: float) -> bytes:
    data = b""
    while len(data) < size:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        piece = sock.recv(size - len(data))
        if not piece:
            raise ConnectionError("it has hung up")
        data += piece
    return data

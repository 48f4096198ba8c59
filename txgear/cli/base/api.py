"""
Asks a server, by its web API over its Gearman port.

A connection begins with Gearman's packets, and goes on with HTTP: so whoever reaches the server for jobs can
ask it everything, whether its web is open or not.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from txgear.cli.base.places import Place, TLSFiles
from txgear.cli.base.statuses import DENIED, FAILED, MISUSED, UNREACHABLE, CommandError
from txgear.protocol.constants import (
    ERROR,
    EXTENSION_OPTION,
    HEADER_SIZE,
    OPTION_REQ,
    OPTION_RES,
    SWITCH_HTTP,
    SWITCHED_HTTP,
)
from txgear.protocol.packets import request
from txgear.protocol.textlines import text as text_of

ROOT: Final = "/api/v1"
LONGEST_ANSWER: Final = 4096
"""Bytes of an answer before HTTP is spoken, at the most."""
PIECE: Final = 256 * 1024
"""Bytes of a body that are read in one go."""
QUIET_SECONDS: Final = 40.0
"""Seconds without anything of a stream of events, after which nobody is there: each 15 there is a comment."""


class Event(NamedTuple):
    """
    A server-sent event.

    @ivar name: what kind it is.
    @ivar data: what it says, from JSON.
    @ivar id: where it stands in the stream; empty for nowhere.
    """

    name: str
    data: Any
    id: str


def as_shown(word: str) -> str:
    """
    A word of the command line as the server shows it, with C{\\x} and two digits for what is no UTF-8. One
    that is UTF-8 stays as it is: it may be as it was shown, or as it is called.
    """
    raw = word.encode("utf-8", "surrogateescape")
    return text_of(raw) if raw.decode("utf-8", "ignore") != word else word


def path_of(*parts: str) -> str:
    """
    A path of the API, such as C{/api/v1/jobs/H%3Avm%3A7}, of parts that may hold anything.

    @raise CommandError: one of them is empty.
    """
    if not all(parts):
        raise CommandError("a name is wanted, not nothing", MISUSED)
    return "/".join((ROOT, *(quote(as_shown(part), safe="") for part in parts)))


class Body:
    """
    An answer that is read as it comes.

    @ivar status: that of HTTP, below 400.
    @ivar headers: its headers.
    """

    def __init__(self, answer: http.client.HTTPResponse, place: Place) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self._answer = answer
        self._place = place

    def pieces(self) -> Iterator[bytes]:
        """
        Its bytes.

        @raise CommandError: the connection has ended before they were all there.
        """
        with _reading(self._place):
            while piece := self._answer.read(PIECE):
                yield piece
            if self._answer.length:
                raise ConnectionError(f"it has hung up, {self._answer.length} bytes too early")


class Api:
    """
    One server's API. It connects when it is first asked, and again where the connection has ended since.

    Whatever is asked raises L{CommandError}: with C{UNREACHABLE} where no server answers, with C{DENIED}
    where its rules do not allow it, with C{MISUSED} where a value makes no sense to it, and with C{FAILED}
    and the server's code for all else.

    @ivar place: where the server is.
    @ivar timeout: seconds for a connection, and for each answer.
    """

    def __init__(self, place: Place, token: bytes | None = None, timeout: float = 10.0) -> None:
        """
        @param token: who asks.
        @param timeout: seconds for a connection, and for each answer.
        """
        self.place = place
        self._headers = {"Host": "localhost", "Accept": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token.decode('ascii')}"
        self.timeout = timeout
        self._connection = _Connection(place, timeout)

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """What is at a path; see L{send}."""
        return self.send("GET", path, query)

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
    ) -> Any:
        """
        Ask once.

        @param path: as L{path_of} makes it.
        @param query: those that are C{None} are left out; several values of one are a list.
        @param body: C{bytes} as they are; anything but C{None} as JSON.
        @return: the answer, from JSON; C{None} for an empty one.
        """
        answer = self._ask(method, path, query, body)
        with _reading(self.place):
            found = answer.read()
        return json.loads(found) if found else None

    def rows(
        self, path: str, member: str, query: Mapping[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """All rows of a list, page after page: one page is in memory at a time."""
        asked = dict(query or {})
        while True:
            page = self.get(path, asked)
            yield from page[member]
            if page.get("next") is None:
                return
            asked["after"] = page["next"]

    def open(
        self,
        path: str,
        query: Mapping[str, Any] | None = None,
        wait: float = 0.0,
        method: str = "GET",
        body: bytes | None = None,
    ) -> Body:
        """
        Ask for what may be large: bytes, as they are.

        @param wait: seconds for which the server may have nothing to say, beside those of each answer.
        """
        answer = self._ask(method, path, query, body, {"Accept": "*/*"}, self.timeout + wait)
        return Body(answer, self.place)

    def events(self, query: Mapping[str, Any] | None = None) -> Iterator[Event]:
        """What happens at the server, as long as the caller goes on."""
        quiet = max(self.timeout, QUIET_SECONDS)
        answer = self._ask("GET", "/events", query, None, {"Accept": "text/event-stream"}, quiet)
        fields: dict[str, list[str]] = {}
        while True:
            with _reading(self.place):
                line = answer.readline()
            if not line:
                return
            text = line.decode("utf-8").rstrip("\r\n")
            if text:
                name, _, value = text.partition(":")
                fields.setdefault(name, []).append(value.removeprefix(" "))
            elif fields:
                data = "\n".join(fields.get("data", []))
                name = fields.get("event", ["message"])[-1]
                if data:
                    yield Event(name, json.loads(data), fields.get("id", [""])[-1])
                fields = {}

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> http.client.HTTPResponse:
        target = path
        if query:
            words = {key: _word(value) for key, value in query.items() if value is not None}
            target = f"{path}?{urlencode(words, doseq=True)}" if words else path
        sent = {**self._headers, **(headers or {})}
        if isinstance(body, bytes):
            sent["Content-Type"] = "application/octet-stream"
        elif body is not None:
            body = json.dumps(body).encode("utf-8")
            sent["Content-Type"] = "application/json"
        seconds = self.timeout if timeout is None else timeout
        reused = self._connection.sock is not None
        try:
            try:
                answer = self._connection.ask(method, target, body, sent, seconds)
            except (ConnectionError, http.client.RemoteDisconnected):
                # The server ends connections that are silent for long. What it answered nothing to it has not
                # carried out; what changes something is not asked twice all the same.
                if not reused or method != "GET":
                    raise
                self._connection.close()
                answer = self._connection.ask(method, target, body, sent, seconds)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise unreachable(self.place, error) from error
        if answer.status >= 400:
            raise _problem(answer)
        return answer


_STATUSES: Final = {400: MISUSED, 401: DENIED, 403: DENIED, 422: MISUSED}


def _word(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return as_shown(value) if isinstance(value, str) else value


def _problem(answer: http.client.HTTPResponse) -> CommandError:
    said = answer.read()
    found: dict[str, Any] = {}
    try:
        found = json.loads(said)
        text, code = found["detail"], found["type"].rpartition(":")[2]
    except (ValueError, KeyError, TypeError):
        text, code = f"{answer.status} {answer.reason}", ""
    if answer.status == 401:
        text = f"{text}: --token-file, or --tls-cert, says who asks"
    return CommandError(text, _STATUSES.get(answer.status, FAILED), code, found)


@contextmanager
def _reading(place: Place) -> Iterator[None]:
    """What goes wrong while an answer is read is said as what goes wrong before."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise unreachable(place, error) from error


def unreachable(place: Place, error: Exception) -> CommandError:
    """The error of a server that cannot be asked."""
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        why = "it does not answer in time"
    elif isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message
    return CommandError(f"{place.name}: {why}", UNREACHABLE)


class _Connection(http.client.HTTPConnection):
    """A connection of HTTP that has begun with Gearman's packets."""

    def __init__(self, place: Place, timeout: float) -> None:
        super().__init__(place.host or "localhost", place.port, timeout=timeout)
        self._place = place

    def connect(self) -> None:
        """As in C{http.client}."""
        sock = plain_connection(self._place, self.timeout)
        try:
            if self._place.tls is not None:
                name = self._place.tls.name or self._place.host
                sock = tls_context(self._place.tls).wrap_socket(sock, server_hostname=name)
            _switch(sock)
        except BaseException:
            sock.close()
            raise
        self.sock = sock

    def ask(
        self, method: str, target: str, body: Any, headers: Mapping[str, str], timeout: float
    ) -> http.client.HTTPResponse:
        """
        Ask once.

        @param timeout: seconds for the answer, and for each part of it.
        """
        if self.sock is None:
            self.connect()
        self.sock.settimeout(timeout)
        self.request(method, target, body, dict(headers))
        return self.getresponse()


def plain_connection(place: Place, timeout: float | None) -> socket.socket:
    """
    A connection to a server, without TLS.

    @raise OSError: it cannot be reached.
    """
    if not place.path:
        sock = socket.create_connection((place.host, place.port), timeout)
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

    @raise OSError: a file cannot be used.
    """
    if tls.ca is None or not Path(tls.ca).is_dir():
        context = ssl.create_default_context(cafile=tls.ca)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for path in sorted(Path(tls.ca).glob("*.pem")):
            context.load_verify_locations(path)
    if tls.certificate is not None:
        context.load_cert_chain(tls.certificate, tls.key)
    return context


def _switch(sock: socket.socket) -> None:
    """
    Have the server speak HTTP on this connection.

    @raise CommandError: it does not.
    """
    sock.sendall(request(OPTION_REQ, EXTENSION_OPTION) + request(SWITCH_HTTP))
    for wanted in (OPTION_RES, SWITCHED_HTTP):
        kind, body = _packet(sock)
        if kind != wanted:
            told = (
                body.replace(b"\0", b": ").decode("utf-8", "replace") if kind == ERROR else "it is no txgear"
            )
            raise CommandError(f"the server does not speak txgear's packets: {told}", UNREACHABLE)


def _packet(sock: socket.socket) -> tuple[int, bytes]:
    header = _exactly(sock, HEADER_SIZE)
    kind, size = int.from_bytes(header[4:8], "big"), int.from_bytes(header[8:], "big")
    if header[:4] != b"\0RES" or size > LONGEST_ANSWER:
        raise CommandError("what answers there is no Gearman server", UNREACHABLE)
    return kind, _exactly(sock, size)


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise ConnectionError("it has hung up")
        data += piece
    return data

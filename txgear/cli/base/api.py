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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from txgear.cli.base.connection import PROGRESS, HttpConnection
from txgear.cli.base.places import Place
from txgear.cli.base.statuses import DENIED, FAILED, MISUSED, UNREACHABLE, CommandError
from txgear.protocol.textlines import text as text_of

ROOT: Final = "/api/v1"
MOST_JSON: Final = 64 * 1024 * 1024
"""Bytes of an answer in JSON, or of an event, at the most; one of all functions has less than a megabyte."""
MOST_PROBLEM: Final = 64 * 1024
"""Bytes of an error that are read."""
PIECE: Final = 256 * 1024
"""Bytes of a body that are read in one go."""
QUIET_SECONDS: Final = 40.0
"""Seconds without anything of a stream of events, after which nobody is there: each 15 there is a comment."""
NO_TLS: Final = ("wrong version number", "record layer failure", "packet length too long")
"""What OpenSSL, by its versions, says of an answer that is no TLS."""


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


class Answer(dict[str, Any]):
    """An object of an answer, from JSON. What it lacks is said as the error that it is."""

    def __missing__(self, name: str) -> Any:
        raise CommandError(
            f"its answer lacks {name!r}: it is no txgear, or one of another version", UNREACHABLE
        )


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
        self._connection = HttpConnection(place, timeout)

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """What is at a path, an object; see L{send}."""
        found = self.send("GET", path, query)
        self._check(found)
        return found

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
            found = answer.read(MOST_JSON)
            if answer.length and len(found) < MOST_JSON:
                raise ConnectionError("it has hung up before the end of its answer")
        if not found:
            return None
        parsed = self._parsed(found)
        self._check(parsed)
        return parsed

    def _check(self, found: Any) -> None:
        """
        See that an answer is an object, as all are.

        @raise CommandError: it is none.
        """
        if not isinstance(found, dict):
            raise CommandError(
                f"{self.place.name}: its answer is no object: it is no txgear, or one of another version",
                UNREACHABLE,
            )

    def _parsed(self, text: bytes | str) -> Any:
        try:
            return json.loads(text, object_hook=Answer)
        except (ValueError, RecursionError) as error:
            # It is not whole, or too long, or something else answers there.
            self.close()
            raise CommandError(f"{self.place.name}: its answer is no JSON", UNREACHABLE) from error

    def rows(
        self,
        path: str,
        member: str,
        query: Mapping[str, Any] | None = None,
        first: Callable[[Mapping[str, Any]], None] = lambda page: None,
    ) -> Iterator[dict[str, Any]]:
        """
        All rows of a list, page after page: one page is in memory at a time.

        @param first: called with the first page, before its rows.
        """
        asked = dict(query or {})
        while True:
            page = self.get(path, asked)
            if "after" not in asked:
                first(page)
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
        answer = self._ask("GET", "/events", query, None, {"Accept": "text/event-stream"}, quiet, 1)
        fields: dict[str, list[str]] = {}
        while True:
            with _reading(self.place):
                line = answer.readline(MOST_JSON)
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            if text:
                name, _, value = text.partition(":")
                fields.setdefault(name, []).append(value.removeprefix(" "))
            elif fields:
                data = "\n".join(fields.get("data", []))
                name = fields.get("event", ["message"])[-1]
                if data:
                    yield Event(name, self._parsed(data), fields.get("id", [""])[-1])
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
        progress: int = PROGRESS,
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
        if method != "GET" and self._connection.is_left():
            # What changes something is not asked twice, as it may have been done.
            self._connection.close()
        reused = self._connection.sock is not None
        try:
            try:
                answer = self._connection.ask(method, target, body, sent, seconds, progress)
            except (ConnectionError, http.client.RemoteDisconnected):
                # The server ends connections that are silent for long.
                if not reused or method != "GET":
                    raise
                self._connection.close()
                answer = self._connection.ask(method, target, body, sent, seconds, progress)
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
    try:
        said = answer.read(MOST_PROBLEM)
    except (OSError, http.client.HTTPException):
        # The status is what can be told of it.
        said = b""
    found: Any = {}
    try:
        found = json.loads(said)
        text, code = f"{found['detail']}", found["type"].rpartition(":")[2]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        # It may be an answer all the same, as that of C{/ready} is.
        found = found if isinstance(found, dict) else {}
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
    if isinstance(error, http.client.IncompleteRead):
        why = "it has hung up before the end of its answer"
    elif isinstance(error, http.client.RemoteDisconnected):
        why = "it has hung up"
    elif isinstance(error, http.client.HTTPException):
        # Which would say what came, of any length.
        why = "what it answers is no HTTP"
    elif isinstance(error, socket.gaierror):
        why = f"its name is not known: {error.strerror}"
    elif isinstance(error, TimeoutError):
        why = "it does not answer in time"
    elif isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message
    elif isinstance(error, ssl.SSLError) and error.reason:
        said = error.reason.replace("_", " ").lower()
        why = f"it does not speak TLS ({said})" if said in NO_TLS else f"TLS has failed: {said}"
    return CommandError(f"{place.name}: {why}", UNREACHABLE)

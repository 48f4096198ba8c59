"""
C{/metrics}, for Prometheus and what understands its formats.

A scrape of a thousand functions is some 80,000 lines, which take half a second to write: they are written in
pieces, between which everybody else is served. Scrapes at the same time share one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from twisted.internet.defer import Deferred
from twisted.internet.task import SchedulerStopped
from twisted.python.failure import Failure
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, parse_options_header

from txgear.broker.rights import METRICS, check
from txgear.server.jobserver import JobServer
from txgear.web.answers import Problem
from txgear.web.metrics.figures import figures
from txgear.web.request import Streamed, WebRequest
from txgear.web.routes import Route
from txgear.web.web import Web

MOST_SCRAPES: Final = 8
"""
Scrapes that have not left yet. Each may hold megabytes; who asks and does not read is dropped after a minute.
"""
CHUNK: Final = 64 * 1024
"""Bytes that are written at once."""
ESCAPING: Final = openmetrics.ALLOWUTF8
"""Our names need no escaping: this way nobody looks at each letter of them."""
END: Final = b"# EOF\n"
"""The end of OpenMetrics, and of each piece that is written by itself."""


class _One:
    """What prometheus_client takes for a registry: one metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> list[Metric]:
        return [self._metric]


class Format:
    """
    One way to write metrics.

    @ivar content_type: its type.
    """

    def __init__(self, content_type: str, write: Callable[..., bytes], end: bytes) -> None:
        self.content_type = content_type
        self._write = write
        self._end = end

    def pieces(self, metrics: Iterator[Metric | None]) -> Iterator[bytes]:
        """
        Write metrics.

        @param metrics: those that follow each other with one name are parts of one.
        @return: pieces of the text; empty ones, too.
        """
        before = ""
        for metric in metrics:
            if metric is None:
                yield b""
                continue
            piece = self._write(_One(metric), escaping=ESCAPING).removesuffix(self._end)
            if metric.name == before:
                # It was said what it is: HELP and TYPE are a line each.
                piece = piece.split(b"\n", 2)[2]
            before = metric.name
            yield piece
        yield self._end


TEXT: Final = Format("text/plain; version=0.0.4; charset=utf-8", generate_latest, b"")
OPENMETRICS: Final = Format(
    "application/openmetrics-text; version=1.0.0; charset=utf-8", openmetrics.generate_latest, END
)
FORMATS: Final = {
    "application/openmetrics-text": OPENMETRICS,
    "text/plain": TEXT,
    "text/*": TEXT,
    "*/*": TEXT,
}
"""What a client gets that takes this."""


def format_for(accept: str) -> Format:
    """
    @param accept: what a client takes, as the header says.
    """
    best = 0.0
    found = TEXT
    # prometheus_client's own choose_encoder goes by no quality, and raises at a version in quotes.
    for kind, quality in parse_accept_header(accept, MIMEAccept):
        name, parameters = parse_options_header(kind)
        offered = FORMATS.get(name)
        if offered is OPENMETRICS and parameters.get("version", "1.0.0") != "1.0.0":
            continue
        if offered is not None and (quality > best or (quality == best > 0 and offered is OPENMETRICS)):
            best, found = quality, offered
    return found


class Scrapes:
    """
    The scrapes of one server that are under way.
    """

    def __init__(self, server: JobServer) -> None:
        self._server = server
        self._writing: dict[Format, list[Deferred[list[bytes]]]] = {}
        self._unread: set[_Reader] = set()

    def answer(self, request: WebRequest) -> Deferred[None]:
        """
        Answer a scrape.

        @raise AccessDenied: the peer may not read metrics.
        @raise Problem: there are too many under way.
        """
        check(request.peer, METRICS)
        format = format_for(request.listed("Accept"))
        waiting = sum(map(len, self._writing.values()))
        if waiting + len(self._unread) >= MOST_SCRAPES:
            raise Problem(
                503,
                "too_many_scrapes",
                f"There are {MOST_SCRAPES} scrapes that have not been read yet",
                headers={"Retry-After": "5"},
            )
        return self._text(format).addCallback(self._send, request, format)

    def _text(self, format: Format) -> Deferred[list[bytes]]:
        """All metrics, as chunks of text: those that are being written already, or new ones."""
        waiters = self._writing.get(format)
        if waiters is None:
            waiters = self._writing[format] = []
            chunks: list[bytes] = []
            done: Deferred[Any] = self._server.patient.coiterate(self._write(format, chunks))
            _ = done.addBoth(self._written, format, chunks)
        waiter: Deferred[list[bytes]] = Deferred(waiters.remove)
        waiters.append(waiter)
        return waiter

    def _write(self, format: Format, chunks: list[bytes]) -> Iterator[None]:
        pieces: list[bytes] = []
        size = 0
        for piece in format.pieces(figures(self._server)):
            pieces.append(piece)
            size += len(piece)
            if size >= CHUNK:
                chunks.append(b"".join(pieces))
                pieces, size = [], 0
            yield
        chunks.append(b"".join(pieces))

    def _written(self, result: Any, format: Format, chunks: list[bytes]) -> None:
        waiters = self._writing.pop(format)
        while waiters:
            waiter = waiters.pop()
            if not isinstance(result, Failure):
                waiter.callback(chunks)
            elif result.check(SchedulerStopped):
                waiter.errback(Problem(503, "server_ends", "The server is shutting down"))
            else:
                waiter.errback(result)

    def _send(self, chunks: list[bytes], request: WebRequest, format: Format) -> None:
        reader = _Reader(request.stream(200, format.content_type), chunks, self._unread.discard)
        self._unread.add(reader)
        reader.go_on()


class _Reader:
    """One that reads a scrape, as fast as it likes."""

    def __init__(self, streamed: Streamed, chunks: list[bytes], over: Callable[[_Reader], None]) -> None:
        """
        @param over: called when it has all, or has gone.
        """
        self._streamed = streamed
        self._left = iter(chunks)
        self._over = over
        streamed.on_drain = self.go_on
        streamed.on_gone = lambda: over(self)

    def go_on(self) -> None:
        """Write until it has enough for now."""
        while not self._streamed.full:
            chunk = next(self._left, None)
            if chunk is None:
                self._over(self)
                self._streamed.finish()
                return
            self._streamed.write(chunk)


def routes(web: Web) -> list[Route]:
    """What is served here."""
    scrapes = Scrapes(web.server)
    return [Route("GET", "/metrics", scrapes.answer, types=())]

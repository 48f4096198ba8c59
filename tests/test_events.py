"""`/events` of a real server: what a browser would hear, while workers and clients are at it."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

import pytest

from processes import PATIENCE, Server, Servers, free_port
from wirepeer import P

pytestmark = pytest.mark.txgear_only

SLOW: Final = 20
"""Readers that never read."""
MORE_MIB: Final = 60
"""Memory that they may take: an event of a hundred kilobytes each, and what the sockets take over."""


class Event(NamedTuple):
    """One event."""

    name: str
    data: Any
    id: str


class EventSource:
    """Reads events as a browser does."""

    def __init__(self, port: int, target: str = "/events", last: str = "") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        headers = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\n"
        self._socket.sendall(f"{headers}Last-Event-ID: {last}\r\n\r\n".encode())
        self._file = self._socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        while self._file.readline().strip():
            pass
        self._events = self._read()

    def __enter__(self) -> EventSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._socket.close()

    def _read(self) -> Iterator[Event]:
        text = b""
        while size := int(self._file.readline(), 16):
            text += self._file.read(size)
            self._file.readline()
            *whole, text = text.split(b"\n\n")
            for block in whole:
                fields = dict(re.findall(rb"^(\w+): (.*)$", block, re.MULTILINE))
                if fields:
                    name, identity = fields[b"event"].decode(), fields.get(b"id", b"").decode()
                    yield Event(name, json.loads(fields[b"data"]), identity)

    def __iter__(self) -> Iterator[Event]:
        """The events, to the end of the stream."""
        return self._events

    def next(self) -> Event:
        """The next one."""
        return next(self._events)


@pytest.fixture
def web() -> int:
    return free_port()


@pytest.fixture
def server(start_server: Servers, web: int) -> Server:
    return start_server("--web", f"127.0.0.1:{web}")


def row(event: Event, function: str) -> Any:
    """What an event says of a function."""
    (found,) = [each for each in event.data["functions"] if each["function"] == function]
    return found


def test_changes_as_they_happen_and_from_where_one_was(server: Server, web: int) -> None:
    client, worker = server.connect(), server.connect()
    client.submit(b"mail", b"x", b"", P.SUBMIT_JOB_BG)
    with EventSource(web) as source:
        first = source.next()
        assert (first.name, row(first, "mail")["queued"]) == ("state", 1)
        worker.can_do(b"mail")
        began = time.monotonic()
        while row(change := source.next(), "mail")["workers"] != 1:
            assert change.name == "change"
        assert time.monotonic() - began < 2
    job = worker.grab_soon()
    worker.complete(job)
    worker.sync()
    with EventSource(web, last=change.id) as source:
        again = source.next()
        assert (again.name, row(again, "mail")["completed"]) == ("change", 1)


def test_a_job_from_the_queue_to_its_end(server: Server, web: int) -> None:
    client, worker = server.connect(), server.connect()
    handle = client.submit(b"mail", b"x", b"", P.SUBMIT_JOB_BG)
    with EventSource(web, f"/events?job={handle.decode()}") as source:
        assert source.next().data["state"] == "queued"
        worker.can_do(b"mail")
        job = worker.grab_soon()
        assert source.next().data["state"] == "running"
        for number in range(3):
            worker.send(P.WORK_DATA, handle, b"part %d" % number)
        worker.send(P.WORK_STATUS, handle, b"1", b"2")
        told = [source.next() for _ in range(4)]
        assert [event.data.get("text") for event in told[:3]] == ["part 0", "part 1", "part 2"]
        assert told[3].data == {"numerator": 1, "denominator": 2}
        worker.complete(job, b"sent")
        (end,) = list(source)
        assert end.data == {"outcome": "done", "result": {"size": 4, "shown": 4, "text": "sent"}}


def rss(server: Server) -> float:
    """Its memory, in MiB."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def test_readers_that_never_read_take_little_and_hold_nobody_up(server: Server, web: int) -> None:
    client = server.connect()
    names = [b"%d" % number + b"-" * 500 for number in range(200)]

    def submit_to_all() -> None:
        for name in names:
            client.submit(name, b"x", b"", P.SUBMIT_JOB_BG)

    submit_to_all()
    with ExitStack() as open_sources:
        sources = [open_sources.enter_context(EventSource(web)) for _ in range(SLOW)]
        assert {source.status for source in sources} == {200}
        reader = open_sources.enter_context(EventSource(web))
        reader.next()
        before = rss(server)
        for turn in range(12):
            submit_to_all()
            last = {"function": names[-1].decode(), "queued": turn + 2}
            # Others tell that workers were counted, and of what else has changed.
            told = (event.data.get("functions", ()) for event in reader)
            assert any(last.items() <= each.items() for functions in told for each in functions)
        assert rss(server) - before < MORE_MIB
        began = time.monotonic()
        client.sync()
        assert time.monotonic() - began < 0.5

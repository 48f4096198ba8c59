"""What holds for all servers over one database: pauses, bounds, sign-outs, and limits."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from databases import Database
from processes import Server, Servers
from wirepeer import P

pytestmark = pytest.mark.txgear_only

SOON = 2.0
"""Seconds within which what is set at one server holds at all."""


@pytest.fixture(params=["postgres", "mariadb"])
def database(request: pytest.FixtureRequest) -> Database:
    """Each of the databases that servers can share."""
    found: Database = request.getfixturevalue(request.param)
    return found


def holds_soon(condition: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < SOON
        time.sleep(0.05)


def says(server: Server, command: str) -> bytes:
    with server.connect() as peer:
        peer.send_raw(command.encode() + b"\n")
        return peer.read_until(b"\n")


def row_of(server: Server, name: str) -> list[str]:
    """What C{functions} says of one."""
    return next((row for row in server.list("functions") if row[0] == name), [])


def is_paused(server: Server) -> bool:
    return row_of(server, "f")[-2:-1] == ["yes"]


def bound(server: Server) -> str:
    return (row_of(server, "f") or ["-"])[-1]


def test_what_is_set_while_they_run(start_server: Servers, database: Database) -> None:
    first, second = (start_server("--cluster", store=database.url) for _ in range(2))
    client, worker = second.connect(), second.connect()
    worker.can_do(b"f")
    client.send(P.SUBMIT_JOB_BG, b"f", b"", b"w")
    assert client.read().type == P.JOB_CREATED
    assert says(first, "pause f") == b"OK\r\n"
    holds_soon(lambda: is_paused(second))
    assert worker.grab() is None
    assert says(second, "maxqueue f 1") == b"OK\r\n"
    holds_soon(lambda: bound(first) == '{"high":1,"normal":1,"low":1}')
    client.send(P.SUBMIT_JOB_BG, b"f", b"", b"w")
    assert client.read().type == P.ERROR
    third = start_server("--cluster", store=database.url)
    assert is_paused(third)
    assert bound(third) == bound(first)
    assert says(third, "resume f") == b"OK\r\n"
    holds_soon(lambda: not is_paused(second))
    assert worker.grab() is not None
    assert says(third, "maxqueue f 0") == b"OK\r\n"
    holds_soon(lambda: bound(first) == bound(second) == "-")

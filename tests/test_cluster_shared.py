"""What holds for all servers over one database: pauses, bounds, sign-outs, and limits."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from databases import Database
from fairtime import Stopwatch
from processes import PATIENCE, Server, Servers, wait_until
from wirepeer import P, WirePeer

pytestmark = pytest.mark.txgear_only

SOON = 2.0
"""Seconds within which what is set at one server holds at all."""


@pytest.fixture(params=["postgres", "mariadb"])
def database(request: pytest.FixtureRequest) -> Database:
    """Each of the databases that servers can share."""
    found: Database = request.getfixturevalue(request.param)
    return found


def holds_soon(condition: Callable[[], bool], *servers: Server) -> None:
    """
    :param servers: where something was set, and where it is to hold.
    """
    watch = Stopwatch(*(server.pid for server in servers))
    while not condition():
        assert watch.seconds() < SOON
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
    holds_soon(lambda: is_paused(second), first, second)
    assert worker.grab() is None
    assert says(second, "maxqueue f 1") == b"OK\r\n"
    holds_soon(lambda: bound(first) == '{"high":1,"normal":1,"low":1}', first, second)
    client.send(P.SUBMIT_JOB_BG, b"f", b"", b"w")
    assert client.read().type == P.ERROR
    third = start_server("--cluster", store=database.url)
    assert is_paused(third)
    assert bound(third) == bound(first)
    assert says(third, "resume f") == b"OK\r\n"
    holds_soon(lambda: not is_paused(second), third, second)
    assert worker.grab() is not None
    assert says(third, "maxqueue f 0") == b"OK\r\n"
    holds_soon(lambda: bound(first) == bound(second) == "-", third, first, second)


POLICIES = """
[[function]]
name = "four"
concurrency = 4

[[function]]
name = "one"
concurrency = 1

[[function]]
name = "often"
rate = "10/s"
"""
LEASE = 8.0
"""Seconds until a server that was killed counts no more."""


class Crew:
    """
    Workers at several servers, each in a thread of its own.

    @ivar most: how many jobs of each function ran at once at the most, at all servers together.
    @ivar begun: how many have begun, by function and server.
    """

    def __init__(self) -> None:
        self.running: Counter[bytes] = Counter()
        self.most: Counter[bytes] = Counter()
        self.begun: Counter[tuple[bytes, int]] = Counter()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads: defaultdict[int, list[threading.Thread]] = defaultdict(list)

    def work(self, server: Server, function: bytes, seconds: float, workers: int) -> None:
        """Have so many workers do these jobs there, each for so long."""
        for _ in range(workers):
            thread = threading.Thread(target=self._work, args=[server.port, function, seconds])
            self._threads[server.port].append(thread)
            thread.start()

    def _work(self, port: int, function: bytes, seconds: float) -> None:
        with WirePeer(port) as worker:
            worker.can_do(function)
            while not self._ended.is_set():
                try:
                    job = worker.grab()
                except (ConnectionError, AssertionError, TimeoutError):
                    # It is one that was killed.
                    return
                if job is None:
                    time.sleep(0.02)
                    continue
                with self._lock:
                    self.begun[function, port] += 1
                    self.running[function] += 1
                    self.most[function] = max(self.most[function], self.running[function])
                time.sleep(seconds)
                with self._lock:
                    # Before the server knows, which may hand out the next one.
                    self.running[function] -= 1
                try:
                    worker.complete(job)
                except (ConnectionError, AssertionError):
                    return

    def leave(self, server: Server) -> None:
        """Wait until those at a server that was killed have noticed it."""
        for thread in self._threads[server.port]:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def end(self) -> None:
        self._ended.set()
        for threads in self._threads.values():
            for thread in threads:
                thread.join()


def test_limits_of_all(start_server: Servers, postgres: Database, tmp_path: Path) -> None:
    """What several servers do together is what a policy allows, and no more."""
    config = tmp_path / "txgear.toml"
    config.write_text(POLICIES)
    options = "--cluster", f"--config={config}"
    first, second = (start_server(*options, store=postgres.url) for _ in range(2))
    for server in (first, second):
        wait_until(lambda: any('"servers":2' in row[-1] for row in server.list("policy four")))  # noqa: B023
        client = server.connect()
        for function, count in ((b"four", 400), (b"one", 400), (b"often", 200)):
            for number in range(count):
                client.send(P.SUBMIT_JOB_BG, function, b"", b"%d" % number)
            for _ in range(count):
                assert client.read().type == P.JOB_CREATED
    crew = Crew()
    try:
        for server in (first, second):
            crew.work(server, b"four", 0.2, 5)
            crew.work(server, b"one", 0.1, 2)
            crew.work(server, b"often", 0.0, 2)
        began = time.monotonic()
        time.sleep(4)
        often = sum(crew.begun[b"often", server.port] for server in (first, second))
        took = time.monotonic() - began
        assert 30 <= often <= 10 * took + 4
        wait_until(lambda: all(crew.begun[b"one", server.port] for server in (first, second)), 12)
        assert crew.most[b"one"] == 1
        assert crew.most[b"four"] == 4
        second.kill()
        killed = time.monotonic()
        # What they were at counts until then.
        crew.leave(second)
        crew.most[b"four"] = 0
        at_first = crew.begun[b"one", first.port]
        wait_until(lambda: crew.most[b"four"] == 4, LEASE + 4)
        assert time.monotonic() - killed < LEASE + 2
        wait_until(lambda: crew.begun[b"one", first.port] > at_first, LEASE + 4)
        assert crew.most[b"four"] == 4
        assert crew.most[b"one"] == 1
    finally:
        crew.end()

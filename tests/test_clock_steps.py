"""The machine's clock is set by an hour while the server runs: only what means a time by it takes notice.

libfaketime shows the server a clock of its own; its monotonic clock is the machine's. All spans here are
measured by that.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from needs import lacks
from operating import configured
from processes import Programs, Server, Servers, programs_folder, wait_until
from steppedclock import Clock
from wirepeer import P, WirePeer

pytestmark = pytest.mark.txgear_only

HOUR: Final = 3600

#: Seconds of the spans below: a step is noticed in the middle of each.
SPAN: Final = 3.0
#: How much later something may happen on a machine that is busy.
LATE: Final = 2.0
#: By how much it may seem to be early: the span began before we knew.
EARLY: Final = 0.5

CONFIG: Final = """
[[function]]
name = "paced"
rate = { jobs = "30/m", burst = 1 }

[[function]]
name = "retried"
retries = 1
backoff = 3

[[function]]
name = "leased"
lease = 3

[[function]]
name = "limited"
timeout = 3

[[function]]
name = "brief"
expires = 3

[[schedule]]
name = "hourly"
cron = "0 * * * *"
function = "hourly"
"""


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    lacks(Clock.missing())
    return Clock(tmp_path)


def test_the_clock_lets_programs_sleep(clock: Clock) -> None:
    """A server whose store pauses before it tries again is not to fail for the clock's sake."""
    script = "import time; began = time.monotonic(); time.sleep(0.2); print(time.monotonic() - began)"
    command = [sys.executable, "-c", script]
    clock.set(HOUR)
    done = subprocess.run(
        command, env={**os.environ, **clock.environment}, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert 0.2 <= float(done.stdout) <= 0.2 + LATE


@contextmanager
def lasting(span: float = SPAN) -> Iterator[Callable[[], None]]:
    """A span that began just now; what is called says that it is over."""
    began = time.monotonic()
    ends: list[float] = []
    yield lambda: ends.append(time.monotonic() - began)
    assert ends, "it is over"
    assert span - EARLY <= ends[0] <= span + LATE, f"{ends[0]:.2f} s instead of {span}"


def begin(server: Server) -> dict[str, tuple[float, WirePeer]]:
    """Something waits for each kind of span: since when, and who is sent a packet when it is over."""
    client = server.connect()
    client.submit(b"brief")
    waiting = {"brief": (time.monotonic(), client)}
    for name in ("retried", "leased", "limited"):
        function = name.encode()
        first, second = server.connect(), server.connect()
        first.send(P.OPTION_REQ, b"txgear-1")
        first.expect(P.OPTION_RES)
        first.can_do(function)
        first.submit(function, type=P.SUBMIT_JOB_BG)
        job = first.grab()
        assert job is not None
        if name == "retried":
            first.send(P.WORK_FAIL, job.handle)
        waiting[name] = time.monotonic(), second
        # Where the first one is silent, the job is another's.
        second.can_do(function)
        second.send(P.PRE_SLEEP)
    return waiting


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_spans(start_server: Servers, clock: Clock, tmp_path: Path, step: int) -> None:
    """Retries, leases, timeouts and expiry take as long as ever."""
    server = start_server(
        *configured(tmp_path, CONFIG), store=f"sqlite:///{tmp_path}/jobs.sqlite", env=clock.environment
    )
    waiting = begin(server)
    clock.set(step)
    took = {}
    for name, (began, peer) in waiting.items():
        peer.expect(P.WORK_FAIL if name == "brief" else P.NOOP, timeout=15)
        took[name] = time.monotonic() - began
    assert all(SPAN - EARLY <= seconds <= SPAN + LATE for seconds in took.values()), took


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_rate(start_server: Servers, clock: Clock, tmp_path: Path, step: int) -> None:
    """Jobs come every two seconds, before the step and after it."""
    server = start_server(*configured(tmp_path, CONFIG), env=clock.environment)
    peer = server.connect(timeout=15)
    peer.can_do(b"paced")
    for _ in range(4):
        peer.submit(b"paced", type=P.SUBMIT_JOB_BG)
    times = []
    for number in range(4):
        peer.complete(peer.grab_soon(10))
        times.append(time.monotonic())
        if number == 1:
            clock.set(step)
    gaps = [after - before for before, after in pairwise(times)]
    assert all(2 - EARLY <= gap <= 2 + LATE for gap in gaps), gaps


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_workers_that_were_woken(start_server: Servers, clock: Clock, step: int) -> None:
    """One that does not answer its NOOP has another woken in its place, two seconds later."""
    server = start_server(env=clock.environment)
    first, second = server.connect(timeout=15), server.connect(timeout=15)
    for peer in (first, second):
        peer.can_do(b"f")
        peer.send(P.PRE_SLEEP)
        peer.sync()
    with lasting(2.0) as over:
        server.connect().submit(b"f", type=P.SUBMIT_JOB_BG)
        clock.set(step)
        first.expect(P.NOOP)
        second.expect(P.NOOP, timeout=10)
        over()


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_patience_with_the_store(start_server: Servers, clock: Clock, tmp_path: Path, step: int) -> None:
    """A submit waits for a store that does not answer as long as ever, and the next attempt comes in time."""
    path = tmp_path / "jobs.sqlite"
    server = start_server("--store-timeout", "3", store=f"sqlite:///{path}", env=clock.environment)
    peer = server.connect()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with lasting() as over:
            peer.send(P.SUBMIT_JOB_BG, b"f", b"", b"")
            clock.set(step)
            peer.expect(P.ERROR, timeout=15)
            over()

    def is_taken() -> bool:
        peer.send(P.SUBMIT_JOB_BG, b"f", b"", b"")
        return peer.read().type == P.JOB_CREATED

    wait_until(is_taken)


def at(peer: WirePeer, function: bytes, due: float) -> None:
    peer.send(P.SUBMIT_JOB_EPOCH, function, b"", b"%d" % due, b"")
    peer.expect(P.JOB_CREATED)


def test_times(start_server: Servers, clock: Clock, tmp_path: Path) -> None:
    """A job for a time, and a schedule, come when the clock shows it, which is within a second or so."""
    server = start_server(
        *configured(tmp_path, CONFIG), store=f"sqlite:///{tmp_path}/jobs.sqlite", env=clock.environment
    )
    peer = server.connect()
    peer.can_do(b"later", b"hourly", b"soon")
    at(peer, b"later", clock.now() + HOUR)
    assert peer.grab() is None

    clock.set(-HOUR)
    began = time.monotonic()
    at(peer, b"soon", clock.now() + 3)
    soon = peer.grab_soon(10)
    assert soon.function == b"soon"
    assert 2 - EARLY <= time.monotonic() - began <= 3 + LATE, "by the clock as it is now"
    peer.complete(soon)
    assert peer.grab() is None, "what is for a time that is two hours off by now"

    clock.set(HOUR)
    began = time.monotonic()
    jobs = [peer.grab_soon(10) for _ in range(2)]
    assert time.monotonic() - began <= 1 + LATE
    # It has run for one time of those that were passed over, the last.
    assert sorted(job.function for job in jobs) == [b"hourly", b"later"]
    for job in jobs:
        peer.complete(job)

    clock.set(0)
    time.sleep(2)
    assert peer.grab() is None, "no time comes twice"
    clock.set(HOUR)
    time.sleep(2)
    assert peer.grab() is None


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_heartbeats(
    start_server: Servers, programs: Programs, clock: Clock, function: str, step: int
) -> None:
    """Server and worker stay together, and jobs are done meanwhile and afterwards."""
    server = start_server(env=clock.environment)
    command: list[str | Path] = [
        sys.executable,
        programs_folder() / "patient_worker.py",
        str(server.port),
        function,
        "1",
    ]
    worker = programs.start(command, env=clock.environment)
    server.wait_for_workers(function)
    before = [row for row in server.list("workers") if function in " ".join(row)]
    clock.set(step)
    client = server.connect()
    for _ in range(4):
        time.sleep(1)
        client.submit(function.encode())
        client.expect(P.WORK_COMPLETE)
    after = [row for row in server.list("workers") if function in " ".join(row)]
    assert before == after, "the same connection"
    assert b"silent" not in worker.stderr

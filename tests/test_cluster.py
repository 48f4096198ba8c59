"""Several servers over one database, of which one dies, stands still, or ends."""

from __future__ import annotations

import contextlib
import signal
import time

import pytest

from databases import Database
from fairtime import Stopwatch
from processes import PATIENCE, Server, Servers, wait_until
from wirepeer import Closed, P

pytestmark = pytest.mark.txgear_only

TAKEN_OVER = 10.0
"""Seconds from the death of a server until somebody else hands out its jobs."""


def handed_out(server: Server, count: int, seconds: float) -> list[bytes]:
    """Workloads that a worker gets there, asking again and again."""
    worker = server.connect()
    worker.can_do(b"f")
    until = time.monotonic() + seconds
    found: list[bytes] = []
    while len(found) < count and time.monotonic() < until:
        if (job := worker.grab()) is None:
            time.sleep(0.05)
        else:
            found.append(job.workload)
            worker.complete(job)
    return found


@pytest.fixture(params=["postgres", "mariadb"])
def database(request: pytest.FixtureRequest) -> Database:
    """Each of the databases that servers can share."""
    found: Database = request.getfixturevalue(request.param)
    return found


def submitted(server: Server) -> list[bytes]:
    """The workloads of background jobs that it has taken."""
    client = server.connect()
    jobs = [b"%d" % number for number in range(20)]
    for job in jobs:
        client.send(P.SUBMIT_JOB_BG, b"f", b"", job)
        assert client.read().type == P.JOB_CREATED
    return jobs


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_one_that_ends(start_server: Servers, database: Database, how: signal.Signals) -> None:
    first = start_server("--cluster", "--cluster-name=a", store=database.url)
    second = start_server("--cluster", "--cluster-name=b", store=database.url)
    jobs = submitted(first)
    watch = Stopwatch(first.pid, second.pid)
    first.signal(how)
    assert handed_out(second, 1, TAKEN_OVER + 5) == jobs[:1]
    assert watch.seconds() < (TAKEN_OVER if how == signal.SIGKILL else 4)
    assert handed_out(second, len(jobs) - 1, 5) == jobs[1:]


def test_one_that_stands_still(start_server: Servers, database: Database) -> None:
    """It has lost its part when it goes on, whatever waits at its door, and begins anew with nothing."""
    first = start_server("--cluster", "--cluster-name=a", store=database.url)
    second = start_server("--cluster", "--cluster-name=b", store=database.url)
    jobs = submitted(first)
    waiting = first.connect()
    waiting.can_do(b"f")
    first.pause()
    try:
        waiting.send(P.GRAB_JOB)
        assert handed_out(second, 1, TAKEN_OVER + 5) == jobs[:1]
    finally:
        first.resume()
    # It may say that it has none before it ends the connection; and hands out none that another one has.
    with contextlib.suppress(Closed):
        assert waiting.read(PATIENCE).type == P.NO_JOB
    assert handed_out(second, len(jobs) - 1, 5) == jobs[1:]
    wait_until(lambda: first.said().count(b"is ready") == 2, what="a start anew")
    assert handed_out(first, 1, 2) == []
    again = submitted(first)
    assert handed_out(first, len(again), 5) == again

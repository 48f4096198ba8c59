"""Several servers over one database, of which one dies, stands still, or ends."""

from __future__ import annotations

import signal
import time

import pytest

from databases import Database
from processes import Server, Servers
from wirepeer import P

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


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_one_that_ends(start_server: Servers, postgres: Database, how: signal.Signals) -> None:
    first = start_server("--cluster", "--cluster-name=a", store=postgres.url)
    second = start_server("--cluster", "--cluster-name=b", store=postgres.url)
    client = first.connect()
    jobs = [b"%d" % number for number in range(20)]
    for job in jobs:
        client.send(P.SUBMIT_JOB_BG, b"f", b"", job)
        assert client.read().type == P.JOB_CREATED
    began = time.monotonic()
    first.signal(how)
    assert handed_out(second, 1, TAKEN_OVER + 5) == jobs[:1]
    assert time.monotonic() - began < (TAKEN_OVER if how == signal.SIGKILL else 4)
    assert handed_out(second, len(jobs) - 1, 5) == jobs[1:]

"""Workers that do many jobs at once, of all kinds: each job ends once, with its own result."""

from __future__ import annotations

import signal
import sys
from collections import Counter

import pytest

from processes import PATIENCE, Program, Programs, Servers, programs_folder, wait_until

pytestmark = pytest.mark.txgear_only

JOBS = 400
"""Jobs of each client."""


def start(programs: Programs, name: str, *words: object) -> Program:
    script = programs_folder() / name
    return programs.start([sys.executable, str(script), *map(str, words)], name=script.stem)


@pytest.mark.parametrize("window", [200, 3])
def test_each_job_ends_once(start_server: Servers, programs: Programs, function: str, window: int) -> None:
    """Two workers at two servers, and clients that have many jobs waiting, or hardly any."""
    servers = [start_server(), start_server()]
    ports = [server.port for server in servers]
    workers = [start(programs, "mixed_worker.py", function, *ports) for _ in range(2)]
    for server in servers:
        server.wait_for_workers(f"{function}-quick", 2)
    jobs = JOBS if window > 100 else JOBS // 2
    clients = [start(programs, "mixed_client.py", function, port, jobs, window) for port in ports]
    for client in clients:
        assert client.wait(2 * PATIENCE) == 0, programs.log()
    done = Counter(line for worker in workers for line in worker.stdout.split())
    assert sorted(done) == sorted(line for client in clients for line in client.stdout.split())
    assert set(done.values()) == {1}
    for worker in workers:
        assert worker.stdout, "one of them had no work at all"
        worker.signal(signal.SIGTERM)
        worker.wait()
        assert b"Traceback" not in worker.stderr, worker.log()
    assert start_server.calm(), start_server.log()


def test_killed(start_server: Servers, programs: Programs, function: str) -> None:
    """What a worker that is killed had in hand is done by the other, and every client gets its own result."""
    server = start_server("--worker-grace=1")
    killed = start(programs, "mixed_worker.py", function, server.port)
    server.wait_for_workers(f"{function}-quick")
    client = start(programs, "mixed_client.py", function, server.port, JOBS, 100)
    wait_until(lambda: len(killed.stdout.split()) > 50, what="fifty jobs done")
    killed.kill()
    start(programs, "mixed_worker.py", function, server.port)
    assert client.wait(2 * PATIENCE) == 0, programs.log()
    assert len(client.stdout.split()) == JOBS
    assert start_server.calm(), start_server.log()

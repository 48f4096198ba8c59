"""What servers do to `txgear work`."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable

import pytest

from cliworkers import Workers, outcome, pids, text_of, wait_for_end, workers
from processes import PATIENCE, Programs, Servers, free_port, run, txgear, wait_until
from wirepeer import P

__all__ = ["workers"]

pytestmark = pytest.mark.txgear_only


def test_a_server_that_starts_again(
    workers: Workers, start_server: Servers, names: Callable[[str], str]
) -> None:
    """Commands are ended when it is away for too long, as their attempt is void; then it works again."""
    function, store = names("f"), f"sqlite:///{workers.folder / 'store'}"
    first = start_server("--worker-grace=1", store=store)
    path = workers.folder / "pids"
    worker = workers.at(
        function,
        command=f"echo $$ >> {path}; read word; case $word in wait) sleep 600;; esac; echo out",
        server=first,
    )
    first.connect().submit(function.encode(), b"wait\n", type=P.SUBMIT_JOB_BG)
    numbers = pids(path, 1)
    first.kill()
    wait_for_end(numbers)
    wait_until(lambda: b": void after" in worker.stderr)
    assert b"the server was away for too long" in worker.stderr
    second = start_server(port=first.port, store=store)
    second.wait_for_workers(function)
    # The job has come back as well, and is done again.
    second.wait_for_running(function)
    assert len(pids(path, 2)) == 2
    worker.signal(signal.SIGTERM)
    wait_until(lambda: b"finishes 1 job;" in worker.stderr)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 143


def test_a_job_that_is_cancelled(workers: Workers, function: str) -> None:
    """Its command is ended, and the worker goes on."""
    path = workers.folder / "pids"
    worker = workers.at(
        function, command=f"echo $$ >> {path}; read word; case $word in wait) sleep 600;; esac; echo out"
    )
    peer = workers.client()
    handle = peer.submit(function.encode(), b"wait\n")
    numbers = pids(path, 1)
    assert workers.server.connect().ask(f"cancel job {handle.decode()}") == b"OK\r\n"
    wait_for_end(numbers)
    wait_until(lambda: b": void after" in worker.stderr)
    assert b"has taken it back: " in worker.stderr
    assert workers.told(function, b"go\n") == (P.WORK_COMPLETE, b"out\n")


def test_a_worker_is_paused_and_stopped(workers: Workers, function: str) -> None:
    """By an operator of the server; a stopped one ends well."""
    worker = workers.at(function, "--client-id", f"named-{function}", command="echo out")
    operator = workers.server.connect(PATIENCE)
    [number] = [
        row.split()[0] for row in operator.ask_list("workers") if row.split()[2] == f"named-{function}"
    ]
    # It says what it understands only when the server has said that it does, too.
    wait_until(lambda: operator.ask(f"worker {number} pause").startswith(b"OK"))
    peer = workers.client()
    peer.submit(function.encode())
    time.sleep(0.3)
    assert workers.server.status(function) == (1, 0, 1)
    assert operator.ask(f"worker {number} resume").startswith(b"OK")
    assert text_of(outcome(peer)[-1]) == b"out\n"
    assert operator.ask(f"worker {number} stop").startswith(b"OK")
    assert worker.wait() == 0


def test_several_servers(workers: Workers, start_server: Servers, function: str) -> None:
    """It works at all of them; one that is not there is said, and does not matter."""
    other, nobody = start_server(), free_port()
    ports = (workers.server.port, other.port, nobody)
    options = [word for port in ports for word in ("--server", f"127.0.0.1:{port}")]
    worker = workers.start(function, *options, "-c", "2", "--", "echo", "out")
    assert workers.told(function) == (P.WORK_COMPLETE, b"out\n")
    peer = other.connect(PATIENCE)
    peer.submit(function.encode())
    assert text_of(outcome(peer)[-1]) == b"out\n"
    assert worker.wait() == 0
    assert f"127.0.0.1:{nobody} cannot be reached".encode() in worker.stderr


def test_no_server(workers: Workers, function: str) -> None:
    """Status 3, soon, and one line."""
    done = run([*txgear(), "work", function, "-p", str(free_port()), "--", "true"])
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (3, b"", 1)
    assert done.stderr.startswith(b"txgear work: 127.0.0.1:")


def test_a_server_that_says_nothing(workers: Workers, function: str) -> None:
    """Status 3 after --timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        done = run([*txgear(), "work", function, "-p", str(port), "--timeout", "0.5", "--", "true"])
    assert done.returncode == 3
    assert b"it does not answer in time" in done.stderr


RULES = """
[[identity]]
name = "local"
addresses = ["127.0.0.1"]
[[access]]
identities = ["local"]
functions = ["mine*"]
allow = ["work", "submit", "see"]
"""


def test_denied(workers: Workers, start_server: Servers, programs: Programs) -> None:
    """Status 4 if it may do none of the functions; one that it may do is enough."""
    path = workers.folder / "rules.toml"
    path.write_text(RULES)
    server = start_server(f"--config={path}")
    done = run([*txgear(), "work", "other", "another", "-p", str(server.port), "--", "true"])
    assert (done.returncode, done.stdout) == (4, b"")
    assert b"Not allowed: work" in done.stderr.splitlines()[-1]
    worker = workers.start("mine", "other", "-c", "1", "-p", str(server.port), "--", "echo", "out")
    peer = server.connect(PATIENCE)
    peer.submit(b"mine")
    assert text_of(outcome(peer)[-1]) == b"out\n"
    assert worker.wait() == 0

"""txgear's own client and worker, where a server goes, or cannot be reached."""

from __future__ import annotations

import re
import signal
import sys
import time
from pathlib import Path

import pytest

from certificates import certificate
from processes import Programs, Servers, free_port, programs_folder, wait_until
from wirepeer import P

DOCS = Path(__file__).parent.parent / "docs"

pytestmark = pytest.mark.txgear_only


def test_drain_with_two_servers(start_server: Servers, programs: Programs, function: str) -> None:
    """The client goes on at the second server, waits for its job at the first, and nothing fails."""
    first, second = start_server(), start_server()
    script = [sys.executable, str(programs_folder() / "blocking_worker.py")]
    workers = [programs.start([*script, str(server.port), function, "0", "30"]) for server in (first, second)]
    first.wait_for_workers(function)
    second.wait_for_workers(function)
    slow = first.connect()
    slow.can_do(f"{function}_slow".encode())
    ports = [str(server.port) for server in (first, second)]
    client = programs.start([sys.executable, programs_folder() / "loyal_client.py", function, *ports])
    job = slow.grab_soon()
    wait_until(lambda: client.stdout.count(b"quick") >= 3, what="jobs at the first server")
    assert workers[1].stdout == b""
    first.signal(signal.SIGUSR1)
    wait_until(lambda: workers[1].stdout.count(b"attempt") >= 3, what="jobs at the second server")
    assert first.running
    slow.send(P.WORK_STATUS, job.handle, b"1", b"2")
    slow.complete(job, b"slow")
    assert client.wait() == 0, client.log()
    assert b"slow" in client.stdout
    assert client.stderr == b""
    # Nobody keeps it any more.
    assert first.wait() == 0
    done = sum(worker.stdout.count(b"attempt") for worker in workers)
    assert done == client.stdout.count(b"quick")


def tutorial(name: str, port: int) -> str:
    """A script of the tutorial, at another port."""
    (script,) = re.findall(
        rf"`{name}`:\n\n```python\n(.*?)^```$", (DOCS / "tutorial.md").read_text(), re.M | re.S
    )
    found: str = script.replace('"127.0.0.1"', f'"127.0.0.1:{port}"')
    assert str(port) in found
    return found


def test_worker_at_a_server_that_is_not_trusted(
    start_server: Servers, programs: Programs, tmp_path: Path
) -> None:
    """The connection is made, and ends: that is told as well, once."""
    files, _ = certificate(tmp_path)
    port = free_port()
    start_server("--listen=127.0.0.1", f"--listen=ssl:{port}:interface=127.0.0.1:{files}")
    script = tutorial("worker.py", port).replace(f'"127.0.0.1:{port}"', f'"tls:localhost:{port}"')
    worker = programs.start([sys.executable, "-c", script])
    wait_until(lambda: b"whose authority is not among those" in worker.stderr, what="the reason")
    # Two more attempts or three.
    time.sleep(2)
    assert worker.stderr.startswith(b"no server can be reached, the worker tries again: tls:localhost:")
    assert worker.stderr.count(b"\n") == 1


def test_worker_without_a_server(start_server: Servers, programs: Programs) -> None:
    """It says why it cannot connect, once, though nobody has set up a log; and works when there is one."""
    port = free_port()
    worker = programs.start([sys.executable, "-c", tutorial("worker.py", port)])
    said = (
        f"no server can be reached, the worker tries again: 127.0.0.1:{port}: "
        "Connection was refused by other side: 111: Connection refused.\n"
    ).encode()
    wait_until(lambda: worker.stderr == said, what="the reason")
    server = start_server(port=port)
    server.wait_for_workers("reverse")
    peer = server.connect()
    handle = peer.submit(b"reverse", b"abc")
    peer.expect(P.WORK_COMPLETE, handle, b"cba")
    assert worker.stderr == said

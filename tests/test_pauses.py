"""txgear's own client and worker: a pause of their own is not the server's silence."""

from __future__ import annotations

import sys
import time

import pytest

from processes import Program, Programs, Server, programs_folder, wait_until
from wirepeer import P

pytestmark = pytest.mark.txgear_only

#: Seconds of silence that a peer bears here, and then as many for an echo.
HEARTBEAT = 0.5

#: Longer than both.
PAUSE = 1.6


def start(programs: Programs, name: str, *arguments: object) -> Program:
    program = programs_folder() / name
    return programs.start([sys.executable, program, *map(str, arguments)], name=name)


def assert_never_dropped(program: Program) -> None:
    assert b"connection dropped" not in program.stderr
    assert b"cannot be reached" not in program.stderr


def test_function_that_blocks(server: Server, programs: Programs, function: str) -> None:
    """Two jobs wait behind it; each is done at its first attempt, over the one connection."""
    peer = server.connect(timeout=30)
    worker = start(programs, "blocking_worker.py", server.port, function, PAUSE, HEARTBEAT)
    handles = [peer.submit(function.encode(), b"") for _ in range(3)]
    for handle in handles:
        peer.expect(P.WORK_COMPLETE, handle, handle)
    lines = worker.stdout.decode().splitlines()
    assert lines == [f"attempt 1 {handle.decode()}" for handle in handles]
    assert_never_dropped(worker)
    assert worker.stderr.count(b"working at") == 1


def test_worker_is_stopped(server: Server, programs: Programs, function: str) -> None:
    """SIGSTOP and SIGCONT, while it sleeps."""
    worker = start(programs, "blocking_worker.py", server.port, function, 0, HEARTBEAT)
    server.wait_for_workers(function)
    peer = server.connect()
    handle = peer.submit(function.encode(), b"")
    peer.expect(P.WORK_COMPLETE, handle, handle)
    worker.pause()
    time.sleep(PAUSE)
    worker.resume()
    time.sleep(HEARTBEAT)
    handle = peer.submit(function.encode(), b"")
    peer.expect(P.WORK_COMPLETE, handle, handle)
    assert_never_dropped(worker)
    assert worker.stderr.count(b"working at") == 1


def test_client_is_stopped(server: Server, programs: Programs, function: str) -> None:
    """Its job ends meanwhile, or later."""
    for answer_first in (True, False):
        worker = server.connect()
        worker.can_do(function.encode())
        client = start(programs, "steady_client.py", server.port, function, HEARTBEAT)
        job = worker.grab_soon()
        # An echo is under way now and then, whenever it is stopped.
        time.sleep(HEARTBEAT)
        client.pause()
        time.sleep(PAUSE)
        if answer_first:
            worker.complete(job, b"the result")
            worker.sync()
        client.resume()
        time.sleep(HEARTBEAT)
        if not answer_first:
            worker.complete(job, b"the result")
        assert client.wait() == 0
        assert client.stdout == b"the result\n", client.log()
        assert_never_dropped(client)
        worker.close()


def test_clock_is_set(server: Server, programs: Programs, function: str) -> None:
    """Forward by two minutes, back by an hour, forward again: nothing of it is the server's doing."""
    worker = start(programs, "leaping_worker.py", server.port, function)
    server.wait_for_workers(function)
    peer = server.connect()
    for leap in (b"120", b"-3600", b"7200", b"0"):
        handle = peer.submit(function.encode(), leap)
        peer.expect(P.WORK_COMPLETE, handle, b"leapt")
        # Its timers run now, if they are wrong.
        time.sleep(0.3)
    assert_never_dropped(worker)
    assert worker.stderr.count(b"working at") == 1


def test_a_server_that_is_silent(start_server: object, programs: Programs, function: str) -> None:
    """It is still noticed: after the heartbeat, and as long again for the echo."""
    server: Server = start_server()  # type: ignore[operator]
    client = start(programs, "steady_client.py", server.port, function, HEARTBEAT)
    server.wait_for_total(function, 1)
    server.pause()
    began = time.monotonic()
    try:
        wait_until(lambda: b"JobLost" in client.stdout, what="the end of the wait")
    finally:
        server.resume()
    assert time.monotonic() - began < 2 * HEARTBEAT + 2
    assert b"did not answer within 0.5 seconds; connection dropped" in client.stderr

"""What takes its time: the history of figures, a job that is followed, results that one waits for."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path

import pytest

from clilooks import BINARY, Follower, World, begun, world
from climemory import MOST_MEMORY, memory
from processes import PATIENCE, Programs, Servers, free_port, run, txgear, wait_until
from wirepeer import P

__all__ = ["world"]

pytestmark = pytest.mark.txgear_only


def test_history(world: World, function: str) -> None:
    """The newest step is at the top; the submits of a moment ago are in one of them."""
    # Without an open web it begins with the first who asks.
    world.rows("history")
    client = world.server.connect(PATIENCE)
    for _ in range(5):
        client.submit(function.encode(), b"", b"", P.SUBMIT_JOB_BG)
    words = ("history", function, "--all", "--where", "submitted>0", "--columns", "submitted,queued")

    def submitted() -> float:
        return sum(10 * float(row["submitted"]) for row in world.rows(*words))

    wait_until(lambda: round(submitted()) == 5, 30.0)
    assert world.rows(*words)[0]["queued"] == "5"
    assert len(world.rows("history", "--where", "submitted>0")) >= 1
    times = [row["time"] for row in world.rows("history", "--all", "--columns", "time")]
    assert times == sorted(times, reverse=True)
    oldest = world.look("history", "--sort", "time", "--limit", "1", "--columns", "time").stdout
    assert oldest.decode().splitlines()[1] == times[-1]
    assert len(world.rows("history", function, "--span", "day")) <= 288
    done = world.look("history", "no.such")
    assert (done.returncode, done.stdout) == (1, b"")


def test_follow(world: World, programs: Programs, function: str) -> None:
    """What its worker says comes as it says it, what it had said before included."""
    worker, handle = begun(world.server, function)
    worker.send(P.WORK_DATA, handle, b"before\n")
    worker.sync()
    words = [*txgear(), "job", handle.decode(), "--follow", "--server", f"127.0.0.1:{world.server.port}"]
    follower = Follower(programs.start(words), worker, handle)
    as_json = programs.start([*words, "--json"])
    follower.said(b"data\tbefore\\x0a\n")
    wait_until(lambda: b"before" in as_json.stdout)
    worker.send(P.WORK_STATUS, handle, b"3", b"10")
    follower.said(b"progress\t3/10\n")
    worker.send(P.WORK_WARNING, handle, b"\x1b[2J\xff")
    follower.said(b"warning\t\\x1b[2J\\xff\n")
    worker.complete(handle, b"all is done")
    assert follower.program.wait() == 0
    assert follower.program.stdout.splitlines()[-1] == b"ended\tdone\tall is done"
    assert as_json.wait() == 0
    events = [json.loads(line) for line in as_json.stdout.splitlines()]
    assert [event["event"] for event in events if event["event"] != "job"] == [
        "data",
        "progress",
        "warning",
        "ended",
    ]
    assert (
        base64.b64decode(next(event for event in events if event["event"] == "warning")["base64"])
        == b"\x1b[2J\xff"
    )
    assert events[-1]["result"]["text"] == "all is done"


def test_follow_to_a_bad_end(world: World, programs: Programs, function: str) -> None:
    """The exit status tells; of a job that is over it does at once."""
    worker, handle = begun(world.server, function)
    words = [*txgear(), "job", handle.decode(), "--follow", "--server", f"127.0.0.1:{world.server.port}"]
    follower = Follower(programs.start(words), worker, handle)
    follower.said(b"job\trunning")
    worker.send(P.WORK_FAIL, handle)
    assert follower.program.wait() == 1
    assert follower.program.stdout.splitlines()[-1] == b"ended\tdead"
    done = run(words)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, b"ended\tdead")


def test_follow_until_it_is_enough(world: World, programs: Programs, function: str) -> None:
    _, handle = begun(world.server, function)
    words = [*txgear(), "job", handle.decode(), "--follow", "--server", f"127.0.0.1:{world.server.port}"]
    program = programs.start(words)
    wait_until(lambda: b"job\trunning" in program.stdout)
    program.signal(2)  # type: ignore[arg-type]
    assert program.wait() == 130
    assert b"Traceback" not in program.stderr


def test_follow_over_a_restart(programs: Programs, start_server: Servers, tmp_path: Path) -> None:
    """It asks again, and has the end of the job from the server that comes after."""
    store, port = f"sqlite:///{tmp_path}/q.db", free_port()
    server = start_server(port=port, store=store)
    handle = server.connect().submit(b"slow", b"x", b"", P.SUBMIT_JOB_BG).decode()
    program = programs.start([*txgear(), "job", handle, "--follow", "--server", f"127.0.0.1:{port}"])
    wait_until(lambda: b"job\tqueued" in program.stdout)
    server.stop()
    wait_until(lambda: b"has hung up" in program.stderr)
    server = start_server(port=port, store=store)
    wait_until(lambda: program.stdout.count(b"job\tqueued") == 2, what=program.log())
    worker = server.connect(PATIENCE)
    worker.can_do(b"slow")
    worker.complete(worker.grab_soon(), b"at last")
    assert program.wait() == 0
    assert program.stdout.splitlines()[-1] == b"ended\tdone\tat last"


def test_result_that_is_waited_for(world: World, programs: Programs, function: str) -> None:
    worker, handle = begun(world.server, function)
    words = [*txgear(), "result", handle.decode(), "--server", f"127.0.0.1:{world.server.port}"]
    program = programs.start([*words, "--wait", "60", "--timeout", "1"])
    before = time.monotonic()
    done = run([*words, "--wait", "1.5", "--timeout", "0.5"])
    # It waits longer than for other answers.
    assert done.returncode == 1
    assert b"not over" in done.stderr
    assert time.monotonic() - before > 1.5
    worker.complete(handle, BINARY)
    assert program.wait() == 0
    assert program.stdout == BINARY


def test_large_results_in_bounded_memory(world: World, function: str, tmp_path: Path) -> None:
    """As bytes, to a file, and as JSON; a connection that ends meanwhile is no whole result."""
    whole = os.urandom(1024) * 48 * 1024
    worker, handle = begun(world.server, function)
    worker.complete(handle, whole)
    worker.sync()
    path = tmp_path / "result"
    out = tmp_path / "out"
    for words in (("--output", str(path)), ("--json",), ()):
        assert memory(world.server, ["result", handle.decode(), *words], out) < MOST_MEMORY, words
    assert path.read_bytes() == out.read_bytes() == whole
    done = world.look("result", handle.decode(), "--json", timeout=30)
    found = json.loads(done.stdout)
    assert (found["size"], base64.b64decode(found["base64"])) == (len(whole), whole)

"""Results that are kept, uniques that stay taken, leases, and what of all that outlives the server."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from operating import Operator, Tools, configured
from processes import Program, Programs, Server, Servers, programs_folder, run, wait_until
from wirepeer import P

pytestmark = pytest.mark.txgear_only


def fetch(server: Server, *names: str) -> list[list[Any]]:
    """Fetch results with txgear's own client, in a process of its own."""
    done = run([sys.executable, programs_folder() / "fetch.py", str(server.port), *names])
    assert done.returncode == 0, done
    found: list[list[Any]] = json.loads(done.stdout)
    return found


def end(server: Server, number: signal.Signals, store_is_written_by: str) -> None:
    """End a server; by SIGKILL when all that came before is on disk."""
    if number == signal.SIGKILL:
        # Its answer comes from the commit that has everything before it.
        server.connect().submit(store_is_written_by.encode(), type=P.SUBMIT_JOB_BG)
        server.close_peers()
        server.kill()
    else:
        assert server.stop() == 0


BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])


# Once


def test_once(start_server: Servers, programs: Programs, tmp_path: Path, function: str) -> None:
    """A unique stays taken when its job is done: who submits it again has the kept result at once."""
    server = start_server(
        *configured(tmp_path, '[[function]]\nname = "*"\nonce = "1h"\nresults = "1h"\n'),
        store=f"sqlite:///{tmp_path / 'jobs.sqlite'}",
    )
    tools, operator, done = Tools(server, programs), Operator(server), tmp_path / "done"
    worker = tools.worker(function, f"echo x >> '{done}'; tr a-z A-Z")
    handle = tools.background(function, "word", "-u", "key")
    operator.wait_for_state(handle, "done")
    # Whether or not there is a worker.
    worker.stop()
    again = tools.run("-f", function, "-u", "key", "other")
    assert (again.returncode, again.stdout) == (0, b"WORD")
    assert tools.background(function, "word", "-u", "key") == handle
    assert server.unused(function)
    # Another unique is another job.
    assert tools.background(function, "word", "-u", "other") != handle
    assert server.status(function) == (1, 0, 0)
    assert done.read_text().split() == ["x"]
    # Dropped, the unique is free.
    assert operator.order(f"forget job {handle}") == "OK"
    assert tools.background(function, "word", "-u", "key") != handle
    assert server.status(function) == (2, 0, 0)


# Results


@BOTH
def test_results_after_a_restart(
    start_server: Servers, tmp_path: Path, function: str, number: signal.Signals
) -> None:
    """Every outcome is told apart from the others by a client that asks after a restart."""
    options = configured(
        tmp_path,
        f"""
        [[function]]
        name = "{function}_short"
        expires = "100ms"
        results = "1h"

        [[function]]
        name = "{function}_dead"
        retries = 0

        [[function]]
        name = "{function}_small"
        results = {{ keep = "1h", bytes = 8 }}

        [[function]]
        name = "{function}*"
        results = "1h"
        """,
    )
    store = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    server = start_server(*options, store=store)
    operator, client, worker = Operator(server), server.connect(), server.connect()

    def submit(tail: str, unique: str) -> str:
        name = f"{function}{tail}".encode()
        return client.submit(name, b"workload", unique.encode(), P.SUBMIT_JOB_BG).decode()

    never = submit("_never", "never").rpartition(":")[0] + ":999999"
    handles = {"expired": submit("_short", "expired")}
    operator.wait_for_state(handles["expired"], "expired")
    for tail in ("", "_dead", "_small"):
        worker.can_do(f"{function}{tail}".encode())
    for outcome, tail in (
        ("done", ""),
        ("failed", ""),
        ("raised", ""),
        ("dead", "_dead"),
        ("large", "_small"),
    ):
        handles[outcome] = submit(tail, outcome)
        job = worker.grab_soon()
        assert job.handle.decode() == handles[outcome]
        if outcome in ("done", "large"):
            worker.send(P.WORK_DATA, job.handle, b"some ")
            worker.complete(job, b"bytes")
        elif outcome == "failed":
            worker.send(P.WORK_FAIL, job.handle)
        else:
            worker.send(P.WORK_EXCEPTION, job.handle, b"broken")
        worker.sync()
    handles["cancelled"] = submit("", "cancelled")
    assert operator.order(f"cancel job {handles['cancelled']}") == "OK"
    handles["pending"] = submit("", "pending")
    worker.close()

    expected = {
        "expired": ["expired", "", "", True],
        "done": ["done", "some ", "bytes", True],
        "failed": ["failed", "", "", True],
        "raised": ["failed", "", "broken", True],
        "dead": ["dead", "", "broken", True],
        "large": ["done", "", "", False],
        "cancelled": ["cancelled", "", "", True],
        "pending": ["pending", "", "", True],
    }
    assert fetch(server, *handles.values(), never) == [
        *(expected[outcome] for outcome in handles),
        ["unknown", "", "", True],
    ]
    end(server, number, function + "_other")

    server = start_server(*options, store=store)
    found = fetch(server, *handles.values(), never)
    assert dict(zip([*handles, "never"], found, strict=True)) == {
        **expected,
        "never": ["unknown", "", "", True],
    }
    uniques = [
        f"{function}{tail}/{unique}" for tail, unique in (("", "done"), ("_dead", "dead"), ("", "nobody"))
    ]
    assert [row[0] for row in fetch(server, *uniques, "/raised")] == ["done", "dead", "unknown", "failed"]
    # For classic clients a job that has ended is not known.
    assert server.connect().status_of(handles["done"].encode()) == [b"0"] * 4


def test_client_that_waits_for_a_background_job(
    start_server: Servers, programs: Programs, tmp_path: Path, function: str
) -> None:
    """A client can wait for the end of a job that another has left, and of one whose result nobody keeps."""
    server = start_server(*configured(tmp_path, '[[function]]\nname = "*_kept"\nresults = "1h"\n'))
    tools = Tools(server, programs)
    handles = [tools.background(f"{function}{tail}", "word") for tail in ("_kept", "")]
    command: list[str | Path] = [
        sys.executable,
        programs_folder() / "fetch.py",
        str(server.port),
        "--wait",
        *handles,
    ]
    client = programs.start(command, name="fetch")
    wait_until(lambda: client.stdout, what="the questions' arrival")
    assert json.loads(client.stdout) == [["pending", "", "", True]] * 2
    for tail in ("_kept", ""):
        tools.worker(f"{function}{tail}", "tr a-z A-Z")
    assert client.wait() == 0, client.log()
    assert json.loads(client.stdout.splitlines()[1]) == [["done", "", "WORD", True]] * 2
    assert [row[0] for row in fetch(server, *handles)] == ["done", "unknown"]


# Restarts


@BOTH
def test_life_goes_on_after_a_restart(
    start_server: Servers, programs: Programs, tmp_path: Path, function: str, number: signal.Signals
) -> None:
    """Jobs that wait for another attempt, the dead, uniques that are taken and pauses outlive the server."""
    options = configured(
        tmp_path,
        f"""
        [[function]]
        name = "{function}_soon"
        retries = 1
        backoff = "2s"

        [[function]]
        name = "{function}_late"
        retries = {{ exception = 2 }}
        backoff = "1h"

        [[function]]
        name = "{function}_dead"
        retries = 1
        backoff = 0

        [[function]]
        name = "{function}_once"
        unique_for = "1h"
        """,
    )
    store = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    server = start_server(*options, store=store)
    operator, peer = Operator(server), server.connect()
    handles = {}
    for tail, failures in (("_soon", 1), ("_late", 1), ("_dead", 2), ("_once", 0)):
        name = f"{function}{tail}".encode()
        peer.send(P.SET_CLIENT_ID, b"worker" + tail.encode())
        peer.can_do(name)
        handles[tail] = peer.submit(name, b"work" + tail.encode(), b"key", P.SUBMIT_JOB_BG).decode()
        for _ in range(failures):
            peer.send(P.WORK_EXCEPTION, peer.grab_soon().handle, b"broken" + tail.encode())
        if not failures:
            peer.complete(peer.grab_soon())
        peer.sync()
    failed = time.time()
    assert operator.order(f"pause {function}_paused") == "OK"
    paused = peer.submit(f"{function}_paused".encode(), b"later", type=P.SUBMIT_JOB_BG).decode()
    end(server, number, function + "_other")

    server = start_server(*options, store=store)
    operator, peer = Operator(server), server.connect()
    states = {tail: operator.state(handle) for tail, handle in handles.items()}
    # Where the restart has taken a while, its time has come.
    assert states.pop("_soon") in ("waiting", "queued")
    assert states == {"_late": "waiting", "_dead": "dead", "_once": "done"}
    for tail, failures in (("_soon", 1), ("_late", 1), ("_dead", 2)):
        attempts = operator.job(handles[tail]).attempts
        assert [attempt[2:] for attempt in attempts] == [
            ("exception", "worker" + tail, "broken" + tail)
        ] * failures
        assert operator.workload(handles[tail]) == "work" + tail
    # One is tried again at its time, not before.
    peer.can_do(f"{function}_soon".encode(), f"{function}_late".encode(), f"{function}_paused".encode())
    job = peer.grab_soon(10.0)
    assert job.handle.decode() == handles["_soon"]
    assert job.workload == b"work_soon"
    assert time.time() - failed >= 1.9
    peer.send(P.WORK_FAIL, job.handle)
    peer.sync()
    # That was its last attempt.
    assert operator.dead(f"{function}_soon") == [handles["_soon"]]
    reasons = [attempt.reason for attempt in operator.job(handles["_soon"]).attempts]
    assert reasons == ["exception", "fail"]
    # The paused one waits, the one with an hour as well.
    assert peer.grab() is None
    assert operator.state(handles["_late"]) == "waiting"
    assert operator.order(f"resume {function}_paused") == "OK"
    job = peer.grab_soon()
    assert (job.handle.decode(), job.workload) == (paused, b"later")
    peer.complete(job)
    # A taken unique is another's job still.
    again = peer.submit(f"{function}_once".encode(), b"again", b"key", P.SUBMIT_JOB_BG)
    assert again.decode() == handles["_once"]
    # The dead can be done after all.
    assert operator.order(f"requeue function {function}_dead") == "OK 1"
    peer.can_do(f"{function}_dead".encode())
    job = peer.grab_soon()
    assert (job.handle.decode(), job.workload) == (handles["_dead"], b"work_dead")
    peer.complete(job)
    peer.sync()
    assert operator.dead(f"{function}_dead") == []


# Leases


def slow_worker(server: Server, programs: Programs, function: str, seconds: float) -> Program:
    """Start txgear's own worker."""
    program = programs_folder() / "slow_worker.py"
    return programs.start(
        [sys.executable, program, str(server.port), function, str(seconds)], name="slow_worker"
    )


def test_lease(start_server: Servers, programs: Programs, tmp_path: Path, function: str) -> None:
    """A worker that beats keeps its job; one that stands still, its connection open, loses it to another."""
    server = start_server(
        *configured(
            tmp_path,
            """
            [[function]]
            name = "*"
            lease = "1500ms"
            retries = { silent = 1 }
            backoff = 0
            """,
        )
    )
    operator = Operator(server)
    peer = server.connect(timeout=15.0)
    handle = peer.submit(function.encode(), b"work")
    first = slow_worker(server, programs, function, 60)
    wait_until(lambda: b"begun" in first.stdout, what="the job's begin")
    # As long as it beats nothing happens, though the job takes longer than the lease.
    time.sleep(2.5)
    assert operator.state(handle.decode()) == "running"
    assert operator.job(handle.decode()).facts["lease"] == "1.5"
    first.pause()
    second = slow_worker(server, programs, function, 0)
    peer.expect(P.WORK_COMPLETE, handle, b"%d" % second.pid)
    assert second.running
    # Its connection was open all the time; awake again, it hears that the job is another's.
    first.resume()
    wait_until(lambda: b"taken back" in first.stdout, what="the news")
    assert server.status(function) == (0, 0, 2)


def test_lease_and_a_classic_worker(
    start_server: Servers, programs: Programs, tmp_path: Path, function: str
) -> None:
    """A worker that cannot beat is not held to a lease."""
    server = start_server(
        *configured(tmp_path, '[[function]]\nname = "*"\nlease = "1s"\nretries = { silent = 1 }\n')
    )
    tools = Tools(server, programs)
    tools.worker(function, "sleep 2; echo slowly")
    done = tools.run("-f", function, "work")
    assert (done.returncode, done.stdout) == (0, b"slowly\n")

"""Limits of functions, and orders about them, with the classic command line tools as clients and workers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from operating import Operator, Tools, configured
from processes import Programs, Servers, wait_until
from wirepeer import P

pytestmark = pytest.mark.txgear_only


def test_rate(start_server: Servers, programs: Programs, tmp_path: Path, function: str) -> None:
    """Five jobs at two a second take two seconds at the least, however many workers there are."""
    server = start_server(*configured(tmp_path, '[[function]]\nname = "*"\nrate = "2/s"\n'))
    tools, done = Tools(server, programs), tmp_path / "done"
    for _ in range(3):
        tools.worker(function, f"echo x >> '{done}'")
    server.wait_for_workers(function, 3)
    begun = time.monotonic()
    for number in range(5):
        tools.background(function, str(number))
    wait_until(lambda: done.exists() and len(done.read_text().split()) == 5, what="five jobs")
    assert time.monotonic() - begun >= 2.0
    server.wait_for_total(function, 0)


def test_concurrency(start_server: Servers, programs: Programs, tmp_path: Path, function: str) -> None:
    """Of four workers two are at work at once, and never more."""
    server = start_server(*configured(tmp_path, '[[function]]\nname = "*"\nconcurrency = 2\n'))
    tools, seen, at_work = Tools(server, programs), tmp_path / "seen", tmp_path / "at_work"
    at_work.mkdir()
    script = f"cd '{at_work}'; touch $$; ls | wc -l >> '{seen}'; sleep 0.2; ls | wc -l >> '{seen}'; rm $$"
    for _ in range(4):
        tools.worker(function, script)
    server.wait_for_workers(function, 4)
    for number in range(8):
        tools.background(function, str(number))
    most = 0

    def all_done() -> bool:
        nonlocal most
        total, running, _ = server.status(function) or (0, 0, 0)
        most = max(most, running)
        return not total

    wait_until(all_done, what="eight jobs")
    counts = [int(word) for word in seen.read_text().split()]
    assert len(counts) == 16
    assert max(counts) == 2
    assert most == 2


@pytest.mark.parametrize(
    ("setting", "fits", "workload"),
    [("max_queue = 2", 2, "x"), ('max_bytes = "1K"', 3, "x" * 300)],
)
def test_full_queue(
    start_server: Servers,
    programs: Programs,
    tmp_path: Path,
    function: str,
    setting: str,
    fits: int,
    workload: str,
) -> None:
    """A submit beyond the bound is refused, with the bound's name; when a job is done there is room again."""
    server = start_server(
        *configured(tmp_path, f'[[function]]\nname = "*"\n{setting}\n'),
        store=f"sqlite:///{tmp_path / 'jobs.sqlite'}",
    )
    tools, name = Tools(server, programs), setting.partition(" ")[0].encode()
    for _ in range(fits):
        tools.background(function, workload)
    for options in (("-b",), ()):
        done = tools.run(*options, "-f", function, workload)
        # The tool's status is 0 all the same.
        assert b"QUEUE_ERROR:Job queue is full: " + name in done.stderr
    assert server.status(function) == (fits, 0, 0)
    peer = server.connect()
    peer.can_do(function.encode())
    peer.complete(peer.grab_soon())
    peer.sync()
    tools.background(function, workload)
    assert server.status(function) == (fits, 0, 1)


def test_expires(start_server: Servers, programs: Programs, tmp_path: Path, function: str) -> None:
    """Jobs that nobody begins in time fail for the client that waits, and are not handed out later."""
    server = start_server(
        *configured(tmp_path, '[[function]]\nname = "*"\nexpires = "1s"\nresults = "1h"\n'),
        store=f"sqlite:///{tmp_path / 'jobs.sqlite'}",
    )
    tools, operator = Tools(server, programs), Operator(server)
    begun = time.monotonic()
    client = tools.client("-f", function, "waited for")
    handle = tools.background(function, "left")
    assert client.wait() == 1
    assert time.monotonic() - begun >= 1.0
    assert b"Job failed" in client.stderr
    operator.wait_for_state(handle, "expired")
    peer = server.connect()
    peer.can_do(function.encode())
    assert peer.grab() is None
    # One that is begun in time does not expire while it runs.
    late = tools.background(function, "begun")
    job = peer.grab_soon()
    time.sleep(1.2)
    peer.complete(job, b"in the end")
    peer.sync()
    assert operator.state(late) == "done"
    assert operator.result(late)["result"] == "in the end"


def test_pause_resume_and_purge(
    start_server: Servers, programs: Programs, tmp_path: Path, function: str
) -> None:
    """A paused function takes jobs and hands out none; resumed, it does; purged, it has none left."""
    server = start_server()
    tools, operator, done = Tools(server, programs), Operator(server), tmp_path / "done"
    assert operator.order(f"pause {function}") == "OK"
    tools.worker(function, f"cat >> '{done}'; echo >> '{done}'")
    server.wait_for_workers(function)
    for word in ("one", "two"):
        tools.background(function, word)
    client = tools.client("-f", function, "three")
    server.wait_for_total(function, 3)
    time.sleep(0.3)
    assert server.status(function) == (3, 0, 1)
    assert not done.exists()
    assert dict(row[:2] for row in server.list(f"policy {function}"))["paused"] == "yes"
    assert operator.order(f"resume {function}") == "OK"
    assert client.wait() == 0
    assert done.read_text().split() == ["one", "two", "three"]
    assert operator.order(f"resume {function}").startswith("ERR NOT_PAUSED")

    assert operator.order(f"pause {function}") == "OK"
    for word in ("four", "five"):
        tools.background(function, word)
    client = tools.client("-f", function, "six")
    server.wait_for_total(function, 3)
    assert operator.order(f"purge {function}") == "OK 3"
    assert client.wait() == 1
    assert b"Job failed" in client.stderr
    server.wait_for_total(function, 0)
    # That it is paused has nothing to do with its jobs.
    tools.background(function, "seven")
    time.sleep(0.3)
    assert server.status(function) == (1, 0, 1)
    assert operator.order(f"resume {function}") == "OK"
    server.wait_for_total(function, 0)
    assert done.read_text().split() == ["one", "two", "three", "seven"]


def test_a_running_job_outlives_a_purge(start_server: Servers, function: str) -> None:
    """What a worker has is not purged; an operator can cancel it, and its worker comes too late then."""
    server = start_server()
    operator, name = Operator(server), function.encode()
    peer, client = server.connect(), server.connect()
    peer.can_do(name)
    first, second = client.submit(name, b"1"), client.submit(name, b"2")
    job = peer.grab_soon()
    assert operator.order(f"purge {function}") == "OK 1"
    client.expect(P.WORK_FAIL, second)
    peer.complete(job, b"done")
    client.expect(P.WORK_COMPLETE, first, b"done")
    third = client.submit(name, b"3")
    job = peer.grab_soon()
    assert operator.order(f"cancel job {third.decode()}") == "OK"
    client.expect(P.WORK_FAIL, third)
    peer.complete(job, b"too late")
    assert peer.read().type == P.ERROR
    assert server.status(function) == (0, 0, 1)

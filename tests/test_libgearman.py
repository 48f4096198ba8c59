"""The C library, as client and worker, with programs compiled here."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from needs import requires
from processes import Program, Programs, Server, Throttle, programs_folder, run, wait_until
from wirepeer import P

OK = "GEARMAN_SUCCESS"


@pytest.fixture(scope="session")
def binaries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the compiled programs."""
    gcc = requires("gcc", c_header="libgearman/gearman.h")
    folder = tmp_path_factory.mktemp("binaries")
    for source in sorted(programs_folder().glob("*.c")):
        done = run(
            [gcc, "-std=gnu11", "-Wall", "-Wextra", "-o", folder / source.stem, source, "-lgearman"],
            timeout=60,
        )
        assert done.returncode == 0, done.stderr.decode()
    return folder


class C:
    """C programs, talking to one server."""

    def __init__(self, server: Server, programs: Programs, binaries: Path, prefix: str) -> None:
        self.server = server
        self.prefix = prefix
        self._programs = programs
        self._binaries = binaries

    def worker(self, jobs: int = 0, *, is_needed_at_once: bool = False) -> Program:
        """Start a worker, and come back when the server knows it, unless a job already waits for it."""
        command: list[str | Path] = [self._binaries / "worker", str(self.server.port), self.prefix, str(jobs)]
        worker = self._programs.start(command, name="worker")
        if not is_needed_at_once:
            self.server.wait_for_workers(self.function("hold"))
        return worker

    def reducer(self) -> None:
        """Start the two workers of map and reduce."""
        self._programs.start([self._binaries / "reducer", str(self.server.port), self.prefix], name="reducer")
        for half in ("split", "count"):
            self.server.wait_for_workers(self.function(half))

    def command(self, scenario: str, *arguments: str) -> list[str | Path]:
        """The command line of a client."""
        return [self._binaries / "client", str(self.server.port), scenario, *arguments]

    def client(self, scenario: str, *arguments: str) -> list[str]:
        """Run one of the client's scenarios, and return the lines it prints."""
        done = run(self.command(scenario, *arguments))
        assert done.returncode == 0, done
        return done.stdout.decode().splitlines()

    def client_by_environment(self, scenario: str, *arguments: str) -> list[str]:
        """The same, with the server named by the environment alone."""
        command: list[str | Path] = [self._binaries / "client", "0", scenario, *arguments]
        done = run(command, env={"GEARMAN_SERVERS": f"127.0.0.1:{self.server.port}"})
        assert done.returncode == 0, done
        return done.stdout.decode().splitlines()

    def start_client(self, scenario: str, *arguments: str) -> Program:
        return self._programs.start(self.command(scenario, *arguments), name="client")

    def function(self, name: str) -> str:
        return f"{self.prefix}_{name}"


@pytest.fixture
def c(server: Server, programs: Programs, binaries: Path, function: str) -> C:
    return C(server, programs, binaries, function)


@pytest.mark.parametrize("scenario", ["do", "execute"])
def test_foreground(c: C, scenario: str) -> None:
    """gearman_client_do and gearman_execute wait for the result."""
    worker = c.worker(1)
    assert c.client(scenario, c.function("reverse"), "hello") == [OK, "olleh"]
    assert worker.wait() == 0


def test_background_and_status(c: C, gate: Throttle) -> None:
    """A background job's status is known by handle and by unique, before and while it runs, and not after."""
    unique = f"{c.prefix}-key"
    seen = c.client("background", c.function("hold"), str(gate.path), unique)
    assert (seen[0], seen[2:]) == (OK, [OK, "1 0 0 0"])
    handle = seen[1]
    assert c.client("unique", unique) == [OK, "1 0 0 0"]
    worker = c.worker(1, is_needed_at_once=True)
    wait_until(lambda: c.client("status", handle) == [OK, "1 1 3 7"], what="the worker's progress")
    assert c.client("unique", unique) == [OK, "1 1 3 7"]
    gate.open()
    assert worker.wait() == 0
    assert c.client("status", handle) == [OK, "0 0 0 0"]
    assert c.client("unique", unique) == [OK, "0 0 0 0"]


def test_every_callback(c: C) -> None:
    """Tasks call created, status, data, complete, exception and fail."""
    c.worker()
    functions = [c.function(name) for name in ("status", "exception", "fail")]
    lines = c.client("tasks", "1", *functions)
    assert lines.pop() == OK
    assert lines.count("created handle") == 3
    rest = [line for line in lines if line != "created handle"]
    assert sorted(rest) == sorted(
        [
            "status 1/3",
            "status 2/3",
            "status 3/3",
            "data status done",
            "complete ",
            "exception from C",
            "fail",
        ]
    )
    about_status = [line for line in rest if line[:6] in ("status", "data s", "comple")]
    assert about_status == ["status 1/3", "status 2/3", "status 3/3", "data status done", "complete "]


def test_failing_job(c: C) -> None:
    """A worker's GEARMAN_FAIL is the client's GEARMAN_WORK_FAIL, and the client does not hang."""
    c.worker()
    assert c.client("execute", c.function("fail"), "x")[0] == "GEARMAN_WORK_FAIL"
    assert c.client("do", c.function("fail"), "x")[0] == "GEARMAN_WORK_FAIL"


@pytest.mark.txgear_only  # The reference ends the WORK_FAIL's handle with a NUL, and the client waits on.
@pytest.mark.parametrize("scenario", ["do", "execute"])
def test_exception_without_the_option(c: C, scenario: str) -> None:
    """An exception is a failure for a client that did not ask for exceptions; it does not hang."""
    c.worker()
    assert c.client(scenario, c.function("exception"), "x")[0] == "GEARMAN_WORK_FAIL"


@pytest.mark.txgear_only  # As above.
def test_exception_without_the_option_in_tasks(c: C) -> None:
    """The same for tasks."""
    c.worker()
    assert c.client("tasks", "0", c.function("exception")) == ["created handle", "fail", OK]


def test_worker_error_is_tried_again(c: C) -> None:
    """A worker that returns GEARMAN_ERROR drops its connection; the server gives the job out again."""
    worker = c.worker()
    assert c.client("execute", c.function("stumble"), "x") == [OK, "at the third attempt"]
    assert worker.running


def test_retries_are_counted(c: C, gate: Throttle) -> None:
    """`show jobs` counts how often a job's worker was lost."""
    client = c.start_client("execute", c.function("hold"), str(gate.path))
    for lost in range(3):
        worker = c.worker(is_needed_at_once=True)
        c.server.wait_for_running(c.function("hold"))
        rows = [row for row in c.server.list("show jobs") if row[1] == str(lost)]
        assert rows
        worker.kill()
        c.server.wait_for_running(c.function("hold"), 0)
    gate.open()
    c.worker(1, is_needed_at_once=True)
    assert client.wait() == 0
    assert client.stdout.decode().splitlines() == [OK, "held"]


def test_worker_shutdown(c: C) -> None:
    """A worker that returns GEARMAN_SHUTDOWN ends its job and itself."""
    worker = c.worker()
    assert c.client("execute", c.function("shutdown"), "x")[0] == OK
    assert worker.wait() == 0
    assert worker.stdout == b"GEARMAN_SHUTDOWN\n"
    wait_until(lambda: c.server.unused(c.function("shutdown")), what="the worker's leaving")


def test_echo(c: C) -> None:
    """gearman_client_echo gets its data back."""
    assert c.client("echo", "some data") == [OK]


def test_environment_names_the_server(c: C) -> None:
    """The library itself reads GEARMAN_SERVERS."""
    c.worker(1)
    assert c.client_by_environment("execute", c.function("reverse"), "hello") == [OK, "olleh"]


def test_epoch(c: C) -> None:
    """A job for a second from now waits for it, and is run then."""
    before = time.time()
    seen = c.client("epoch", c.function("reverse"), "later", "2")
    assert seen[0] == OK
    peer = c.server.connect()
    peer.can_do(c.function("reverse").encode())
    if time.time() < int(before) + 2:
        assert peer.grab() is None
    assert c.client("status", seen[1]) == [OK, "1 0 0 0"]
    # A worker that polls finds it; see the next test for one that sleeps.
    job = wait_until(peer.grab, timeout=5.0, what="the job's time")
    assert job is not None
    assert time.time() >= int(before) + 2
    assert job.workload == b"later"
    peer.complete(job)


@pytest.mark.txgear_only  # This version of the reference wakes nobody when a job's time comes.
def test_epoch_wakes_a_sleeping_worker(c: C) -> None:
    """When the time comes, a worker that sleeps is woken, not earlier than that and not seconds later."""
    peer = c.server.connect()
    peer.can_do(c.function("reverse").encode())
    assert peer.grab() is None
    peer.send(P.PRE_SLEEP)
    assert peer.sync() == []
    before = time.time()
    c.client("epoch", c.function("reverse"), "later", "2")
    job = peer.grab_soon()
    assert int(before) + 2 <= time.time() < before + 4
    assert job.workload == b"later"
    peer.complete(job)


def test_epoch_in_the_past(c: C) -> None:
    """A job for a time that has gone is run at once."""
    c.worker(1)
    seen = c.client("epoch", c.function("reverse"), "now", "-100")
    assert seen[0] == OK
    wait_until(lambda: c.client("status", seen[1]) == [OK, "0 0 0 0"], what="the job's end")


def test_reduce(c: C) -> None:
    """A job with a reducer is cut by one worker, done in parts by another, and put together again."""
    c.reducer()
    assert c.client("reduce", c.function("split"), c.function("count"), "these are five little words") == [
        OK,
        "23 letters",
    ]
    for half in ("split", "count"):
        assert c.server.status(c.function(half)) == (0, 0, 1)


def test_reduce_of_a_failing_part(c: C) -> None:
    """When a part fails, the whole does, and the next one is done."""
    c.reducer()
    function, reducer = c.function("split"), c.function("count")
    assert c.client("reduce", function, reducer, "these are bad words")[0] == "GEARMAN_WORK_FAIL"
    assert c.client("reduce", function, reducer, "good words") == [OK, "9 letters"]


def test_reduce_in_a_plain_worker(c: C) -> None:
    """A worker that asks with GRAB_JOB_ALL gets reducer and unique; one with GRAB_JOB gets a plain job."""
    name = c.function("plain").encode()
    for grab, answer in (
        (P.GRAB_JOB_ALL, (P.JOB_ASSIGN_ALL, [name, b"unique", b"reducer", b"work"])),
        (P.GRAB_JOB_UNIQ, (P.JOB_ASSIGN_UNIQ, [name, b"unique", b"work"])),
        (P.GRAB_JOB, (P.JOB_ASSIGN, [name, b"work"])),
    ):
        peer = c.server.connect()
        peer.can_do(name)
        peer.send(P.SUBMIT_REDUCE_JOB, name, b"unique", b"reducer", b"", b"work")
        handle = peer.expect(P.JOB_CREATED).body
        peer.send(grab)
        peer.expect(answer[0], handle, *answer[1])
        peer.complete(handle, b"done")
        peer.expect(P.WORK_COMPLETE, handle, b"done")
        peer.close()


def test_all_grabs_of_a_job_without_reducer(c: C) -> None:
    """GRAB_JOB_ALL gets JOB_ASSIGN_UNIQ for a job without a reducer, as the reference does it."""
    name = c.function("plain").encode()
    peer = c.server.connect()
    peer.can_do(name)
    handle = peer.submit(name, b"work", b"unique")
    peer.send(P.GRAB_JOB_ALL)
    peer.expect(P.JOB_ASSIGN_UNIQ, handle, name, b"unique", b"work")


def test_many_tasks(c: C, names: Callable[[str], str]) -> None:
    """Three hundred tasks of one client over two workers all complete."""
    for _ in range(2):
        c.worker()
    lines = c.client("tasks", "0", *[c.function("reverse")] * 300)
    assert lines.count("created handle") == lines.count("data daolkrow") == lines.count("complete ") == 300
    assert lines[-1] == OK

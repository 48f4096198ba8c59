"""A runtime that grows and shrinks with what waits, says how it is, and notices that its code has changed.

With a real server and real processes.
"""

from __future__ import annotations

import json
import re
import secrets
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from managers import Manager
from processes import Program, Programs, Server, Servers, free_port, twistd, wait_until, write_whole
from wirepeer import P

pytestmark = pytest.mark.txgear_only

#: Seconds for what takes a few: a new interpreter, on a crowded machine.
LONG: Final = 60.0

JOBS: Final = '''
import os
import time

from txgear.runtime import function

VERSION = b"1"


def note(job, what):
    with open("journal", "ab", buffering=0) as journal:
        journal.write(b"%s %s %d\\n" % (what, job.handle, os.getpid()))


@function("PREFIX-work")
def work(job):
    """Takes as many seconds as the workload says."""
    note(job, b"begins")
    time.sleep(float(job.workload))
    note(job, b"ends")


@function("PREFIX-version", blocking=False)
def version(job):
    return VERSION
'''


class Runtime:
    """A runtime, and what it says when it is asked."""

    def __init__(self, folder: Path, server: Server, programs: Programs) -> None:
        self.folder = folder
        self.prefix = secrets.token_hex(4)
        self.health = free_port()
        self.program: Program
        self._server = server
        self._programs = programs
        self.write("1")

    def name(self, function: str) -> str:
        return f"{self.prefix}-{function}"

    def write(self, version: str, code: str = JOBS) -> None:
        """What stands in the module."""
        text = code.replace("PREFIX", self.prefix).replace('b"1"', f'b"{version}"')
        write_whole(self.folder / "jobs.py", text)

    def configure(self, group: str, **settings: object) -> None:
        """What stands in the file."""
        table = {
            "servers": [f"127.0.0.1:{self._server.port}"],
            "name": self.prefix,
            "modules": ["jobs"],
            "health": f"127.0.0.1:{self.health}",
            **settings,
        }
        lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in table.items())
        (self.folder / "workers.toml").write_text(f"{lines}[group.a]\n{group}")

    def start(self, env: dict[str, str] | None = None) -> None:
        self.program = self._programs.start(
            [*twistd(), "-n", "--pidfile=", "txgear-worker", "--config", self.folder / "workers.toml"],
            env={"PYTHONDONTWRITEBYTECODE": "1", **(env or {})},
        )

    def ask(self, path: str) -> tuple[int, str]:
        """The status and the body of an answer; 0 while nobody answers."""
        try:
            with socket.create_connection(("127.0.0.1", self.health), timeout=LONG) as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionError:
            return 0, ""
        head, _, body = answer.decode().partition("\r\n\r\n")
        return int(head.split()[1]), body

    def status(self) -> dict[str, Any]:
        """How its group is."""
        _, body = self.ask("/status")
        found: dict[str, Any] = json.loads(body)["groups"]["a"]
        return found

    def wait_for(self, path: str, status: int, body: str = "") -> None:
        """Wait for this answer."""
        expected = status, body
        what = f"{path} is not {expected}"

        def told() -> bool:
            assert self.program.running, self.program.log()
            return self.ask(path) == expected

        wait_until(told, LONG, what)

    def ready(self) -> None:
        self.wait_for("/ready", 200, "ready\n")

    def processes(self) -> int:
        """How many there are, when as many are there as are wanted."""
        found = self.status()
        count = len(found["processes"])
        return count if count == found["wanted"] else 0

    def journal(self, what: str) -> Counter[str]:
        """How often each job has begun or ended; by their handles."""
        return Counter(line.split()[1] for line in self._journal() if line.startswith(what))

    def workers(self) -> int:
        """How many processes have done jobs."""
        return len({line.split()[2] for line in self._journal()})

    def _journal(self) -> list[str]:
        path = self._programs.directory / "journal"
        # The last one may not be whole yet.
        return path.read_text().split("\n")[:-1] if path.exists() else []

    def stop(self) -> None:
        self.program.signal(signal.SIGTERM)
        assert self.program.wait(LONG) == 0, self.program.log()
        assert b"Traceback" not in self.program.stdout + self.program.stderr, self.program.log()


@pytest.fixture
def runtime(tmp_path: Path, server: Server, programs: Programs) -> Iterator[Runtime]:
    this = Runtime(tmp_path, server, programs)
    yield this
    # With all its processes: they end by themselves when it is gone.
    this.program.stop()


def submit(server: Server, function: str, *workloads: bytes) -> set[str]:
    """Background jobs; their handles."""
    with server.connect() as peer:
        for workload in workloads:
            peer.send(P.SUBMIT_JOB_BG, function.encode(), b"", workload)
        return {peer.expect(P.JOB_CREATED).body.decode() for _ in workloads}


def test_a_wave(runtime: Runtime, server: Server) -> None:
    """
    It grows while jobs wait for too long, up to its bound; when they are done it shrinks to none, and the
    next job brings one back. Each job is done once, also those that were in hand when others left.
    """
    runtime.configure('min = 0\nmax = 4\ngrow_after = "0.5 s"\nshrink_after = "1 s"\n')
    runtime.start()
    runtime.ready()
    handles = submit(server, runtime.name("work"), *[b"0.25"] * 50)

    def grown() -> bool:
        status = server.status(runtime.name("work"))
        assert status is not None
        if status[0] < 20:
            # Where a process takes long to start, those that are there must not be done before.
            handles.update(submit(server, runtime.name("work"), *[b"0.25"] * 20))
        return runtime.processes() == 4 and runtime.workers() >= 4

    wait_until(grown, LONG, what="four processes that have done something")
    # It is not idle that all have: some of the last ones take longer.
    handles |= submit(server, runtime.name("work"), *[b"2.5"] * 2)
    wait_until(lambda: runtime.journal("ends").keys() == handles, LONG)
    assert set(runtime.journal("begins").values()) == set(runtime.journal("ends").values()) == {1}
    wait_until(lambda: runtime.status()["wanted"] == 0 and not runtime.status()["processes"], LONG)
    assert runtime.ask("/ready") == (200, "ready\n")
    handles |= submit(server, runtime.name("work"), b"0")
    wait_until(lambda: runtime.journal("ends").keys() == handles, LONG)
    log = runtime.program.log()
    assert "is to have 1 process instead of 0: 1 job waits, the oldest for" in log
    assert re.search(r"\d+ (was|were) idle for 1 s, or more", log)
    assert set(runtime.journal("ends").values()) == {1}
    runtime.stop()


def test_how_it_is(tmp_path: Path, programs: Programs, start_server: Servers) -> None:
    """
    It is alive at once, ready when a server has seen a process ask for work, and neither when that server is
    gone, nor while the code cannot be loaded at all. The service manager hears the same.
    """
    server = start_server()
    manager = Manager(tmp_path)
    runtime = Runtime(tmp_path, server, programs)
    runtime.write("1", "this is no Python")
    runtime.configure("processes = 2\n", watch=True)
    runtime.start(manager.environ(watchdog=1.0))
    runtime.wait_for("/alive", 200, "alive\n")
    runtime.wait_for("/ready", 503, "group a: no process is ready\n")

    # Somebody mends it, and that is noticed.
    runtime.write("1")
    runtime.ready()
    told = manager.until("READY")
    assert told["STATUS"].split("; ")[1] == "0 jobs in hand"
    manager.until("WATCHDOG")
    submit(server, runtime.name("work"), b"2")
    wait_until(lambda: any(each["jobs"] for each in runtime.status()["processes"]), LONG)
    (job,) = [job for each in runtime.status()["processes"] for job in each["jobs"]]
    assert (job["function"], job["attempt"]) == (runtime.name("work"), 1)
    assert manager.until("STATUS")["STATUS"].endswith("1 job in hand")
    assert manager.environ()["NOTIFY_SOCKET"].encode() not in b"".join(environments(runtime))

    def version() -> bytes:
        with server.connect(LONG) as peer:
            peer.send(P.SUBMIT_JOB, runtime.name("version").encode(), b"", b"")
            peer.expect(P.JOB_CREATED)
            return peer.expect(P.WORK_COMPLETE).args[1]

    # Code that cannot be loaded changes nothing, and the next that can takes over.
    assert version() == b"1"
    runtime.write("2", "nor is this")
    manager.until("RELOADING")
    manager.until("READY")
    assert (runtime.ask("/ready"), version()) == ((200, "ready\n"), b"1")
    runtime.write("3")
    manager.until("RELOADING")
    manager.until("READY")
    assert version() == b"3"

    server.stop()
    runtime.wait_for("/ready", 503, "no server can be reached\n")
    assert runtime.ask("/alive") == (200, "alive\n")
    runtime.program.signal(signal.SIGTERM)
    manager.until("STOPPING")
    assert runtime.program.wait(LONG) == 0, runtime.program.log()
    manager.close()


def environments(runtime: Runtime) -> list[bytes]:
    """What the processes of a runtime have in their environments."""
    pids = [each["pid"] for each in runtime.status()["processes"]]
    assert pids
    return [Path(f"/proc/{pid}/environ").read_bytes() for pid in pids]

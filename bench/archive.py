#!/usr/bin/env python3
"""
A million jobs that are dead, or kept with their results: C{make bench-archive}.

Writes them straight into SQLite files, starts a server on each, and measures the
start and the memory, pages of the lists, reading, dropping and requeueing, and
what is done to all of them: requeue, purge, drop, and their time being over.
Meanwhile another connection sends an echo every 5 ms: the longest wait for its
answer is how long the server has stalled, without the time in which the server or
this program could have gone on and got no processor, as others had them. The
status is 1 if that is beyond its bound, or if a job is missing.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import socket
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from run import free_port, server_command
from txgear.broker.ended.deadgroups import DEAD_REASONS
from txgear.broker.history import Attempt, History
from txgear.broker.records import DEAD as DEAD_KIND
from txgear.broker.records import KEPT, Batch, JobRecord, JobUpdate
from txgear.broker.states import DEAD, DONE
from txgear.policies import FAIL
from txgear.protocol.constants import ECHO_REQ, NORMAL, REQUEST_MAGIC
from txgear.stores import make_store

FUNCTION: Final = "archive"
PREFIX: Final = "H:bench"
WORKLOAD: Final = b'{"to": "somebody@example.org", "template": "reminder", "number": 1234567890}'
RESULT: Final = b"sent to somebody@example.org at the first attempt, message id 1234567890"
WRITTEN: Final = 10_000
"""Jobs in a transaction while a store is filled."""
PAGE: Final = 200
"""Jobs on a page, the most that there can be."""
REPEATS: Final = 20
"""How often each page is asked for."""
INTERVAL: Final = 0.005
"""Seconds between two echoes."""
POLL: Final = 0.2
"""Seconds between two looks at how far the server is."""
REST: Final = 0.4
"""Seconds in which a server that has nothing to do hardly computes."""
QUIET: Final = 0.1
"""What part of them it does, at the most: the echoes are some of that."""
STARTED: Final = 20.0
"""Seconds in which a server is sure to have started, however busy the machine is."""
PATIENCE: Final = 1800.0
"""Seconds that anything may take."""

Rows = list[tuple[str, str]]

_header = struct.Struct(">4sII")


class Peer:
    """A connection that asks and waits."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 5.0)
        self._socket.settimeout(PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb", 1 << 16)

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()

    def echo(self) -> float:
        """Seconds until the server has answered an echo."""
        begun = time.perf_counter()
        self._socket.sendall(_header.pack(REQUEST_MAGIC, ECHO_REQ, 0))
        if len(self._file.read(_header.size)) < _header.size:
            sys.exit("the server has hung up")
        return time.perf_counter() - begun

    def rows(self, command: str) -> list[list[str]]:
        """The rows of a list answer, cut at tabs."""
        self._socket.sendall(command.encode() + b"\n")
        rows: list[list[str]] = []
        while (line := self._file.readline()) != b".\n":
            if not line or (not rows and line.startswith(b"ERR")):
                sys.exit(f"{command}: {line.decode()!r}")
            rows.append(line.decode().rstrip("\n").split("\t"))
        return rows

    def orders(self, commands: list[str]) -> list[str]:
        """Send commands in one go; the line that answers each."""
        self._socket.sendall("".join(f"{command}\n" for command in commands).encode())
        answers = [self._file.readline().decode().rstrip("\r\n") for _ in commands]
        for command, answer in zip(commands, answers, strict=True):
            if not answer.startswith("OK"):
                sys.exit(f"{command}: {answer!r}")
        return answers

    def count(self, what: str) -> int:
        """How many C{jobs} or C{kept} jobs the function has."""
        return int(dict(row[:2] for row in self.rows(f"policy {FUNCTION}"))[what])


# Stores


def fill(path: Path, jobs: int, state: int) -> int:
    """
    Write jobs that have ended into a new store.

    @return: the number of the first; the others' follow.
    """
    store = make_store(f"sqlite:///{path}")
    store.open()
    first = store.reserve(jobs)
    now = time.time()
    life = History()
    if state == DEAD:
        for attempt in range(3):
            began = now - 3600 + attempt * 600
            life.add_attempt(Attempt(began, began + 2, FAIL, "worker-1", "the relay did not answer"))
    else:
        life.result_size = len(RESULT)
    record = life.to_bytes()
    function = FUNCTION.encode()
    for start in range(first, first + jobs, WRITTEN):
        numbers = range(start, min(start + WRITTEN, first + jobs))
        additions = [
            (
                JobRecord(
                    number,
                    number,
                    PREFIX.encode(),
                    function,
                    b"unique-%d" % number,
                    None,
                    b"",
                    NORMAL,
                    0.0,
                    0,
                    len(WORKLOAD),
                    now - 3700,
                ),
                WORKLOAD,
            )
            for number in numbers
        ]
        size = None if state == DEAD else len(RESULT)
        kind = DEAD_KIND + DEAD_REASONS.index(FAIL) if state == DEAD else KEPT
        moves = [
            JobUpdate(number, number, now + 86400.0, 0, size, state, now, record, kind) for number in numbers
        ]
        results = [] if state == DEAD else [(number, RESULT) for number in numbers]
        store.write(Batch(additions, moves, [], results))
    store.close(first + jobs)
    return first


def limit_all(path: Path, due: float) -> None:
    """Let the time of all jobs of a store be over at that moment."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE txgear_jobs SET due = ?, wake = ?", (due, due))
        connection.commit()


# Servers


def resident(pid: int, key: str = "VmRSS:") -> float:
    """A process's memory in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise ValueError(f"process {pid} has no {key}")


def computed(pid: int) -> float:
    """Seconds of processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kept_waiting(pid: int) -> float:
    """Seconds for which a process, by its first thread, has waited for a processor: the server's reactor."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


@contextmanager
def running(path: Path) -> Iterator[tuple[int, int, float]]:
    """A server on this store: its process id, its port, and the seconds until it answered."""
    port = free_port()
    command = server_command(f"sqlite:///{path}").format(port=port)
    log = path.with_suffix(".log")
    begun = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*shlex.split(command), "--job-handle-prefix", PREFIX], stdout=out, stderr=out, cwd=path.parent
        )
    try:
        while True:
            if process.poll() is not None or time.monotonic() - begun > PATIENCE:
                sys.exit(f"{command} does not listen:\n{log.read_text(errors='replace')}")
            with suppress(ConnectionError), closing(Peer(port)) as peer:
                peer.echo()
                break
            time.sleep(0.02)
        yield process.pid, port, time.monotonic() - begun
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if b"Traceback" in log.read_bytes():
            sys.exit(f"the server has logged a defect:\n{log.read_text(errors='replace')}")


class Watch:
    """
    Sends echoes while the server is busy.

    @ivar worst: milliseconds of the longest wait of all.
    """

    def __init__(self, port: int, pid: int) -> None:
        self._pinger, self._peer, self._pid = Peer(port), Peer(port), pid
        self.worst = 0.0

    def close(self) -> None:
        """Hang up."""
        self._pinger.close()
        self._peer.close()

    def until(self, over: Callable[[Peer], bool]) -> tuple[float, float]:
        """
        Wait for something, and then until the server has come to rest, the store's share included.

        @return: seconds until it was so, and the longest wait in milliseconds.
        """
        begun = looked = time.monotonic()
        ended: float | None = None
        used = computed(self._pid)
        longest = 0.0
        while time.monotonic() - begun < PATIENCE:
            longest = max(longest, self._stall())
            time.sleep(INTERVAL)
            now = time.monotonic()
            if ended is None and now - looked >= POLL:
                looked = now
                if over(self._peer):
                    ended, used = now, computed(self._pid)
            elif ended is not None and now - looked >= REST:
                before, used = used, computed(self._pid)
                if used - before < QUIET * (now - looked):
                    self.worst = max(self.worst, longest * 1000)
                    return ended - begun, longest * 1000
                looked = now
        sys.exit(f"not over after {PATIENCE:g} s")

    def _stall(self) -> float:
        """Seconds for which the server does not answer, though it could."""
        pids = self._pid, os.getpid()
        before = sum(map(kept_waiting, pids))
        waited = self._pinger.echo()
        return waited - (sum(map(kept_waiting, pids)) - before)


def timed(what: Callable[[], object], repeats: int = REPEATS) -> str:
    """The median and the worst time of a call, in milliseconds."""
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        what()
        times.append((time.perf_counter() - begun) * 1000)
    return f"{statistics.median(times):.1f} ({max(times):.1f})"


def pages(peer: Peer, command: str, first: int, jobs: int) -> Rows:
    """Ask for the first page of a list, one from the middle and the last one, and look through all of it."""
    rows: Rows = []
    for name, after in (
        ("first", first - 1),
        ("middle", first + jobs // 2),
        ("last", first + jobs - PAGE - 1),
    ):
        line = f"{command} limit={PAGE} after={after}"
        found = [row for row in peer.rows(line) if row[0] != "next"]
        if len(found) != PAGE:
            sys.exit(f"{line}: {len(found)} rows")
        rows.append((f"`{command}`, {name} page, ms", timed(lambda line=line: peer.rows(line))))  # type: ignore[misc]
    times, after = [], 0
    while True:
        begun = time.perf_counter()
        found = peer.rows(f"{command} text=nowhere after={after}")
        times.append((time.perf_counter() - begun) * 1000)
        if not found:
            break
        after = int(found[-1][1])
    rows.append(
        (
            f"`{command} text=...`, {len(times):,} pages, ms a page",
            f"{statistics.median(times):.1f} ({max(times):.1f})",
        )
    )
    return rows


def reads(peer: Peer, command: str, handle: str) -> Rows:
    """Read a job, and what is kept of it."""
    return [
        ("`job HANDLE`, ms", timed(lambda: peer.rows(f"job {handle}"))),
        (f"`{command} HANDLE`, ms", timed(lambda: peer.rows(f"{command} {handle}"))),
    ]


# What is measured


def start(pid: int, seconds: float, watch: Watch) -> Rows:
    """The figures of a server that has just started."""
    _, stall = watch.until(lambda peer: True)
    return [
        ("start, s", f"{seconds:.1f}"),
        ("memory, MiB", f"{resident(pid):,.0f}"),
        ("stall with nothing to do, ms", f"{stall:.1f}"),
    ]


def order(watch: Watch, peer: Peer, command: str, what: str, jobs: int) -> Rows:
    """Give an order that is about that many jobs, and wait until none of C{what} is left."""
    (answer,) = peer.orders([command])
    if answer != f"OK {jobs}":
        sys.exit(f"{command}: {answer!r} instead of {jobs}")
    seconds, stall = watch.until(lambda peer: not peer.count(what))
    name = command.replace(FUNCTION, "...")
    return [(f"`{name}`, s", f"{seconds:.1f}"), (f"`{name}`, stall, ms", f"{stall:.1f}")]


def dead(path: Path, first: int, jobs: int) -> tuple[Rows, float]:
    """List, read, drop and requeue the dead; then all that are left are requeued and purged."""
    with (
        running(path) as (pid, port, seconds),
        closing(Peer(port)) as peer,
        closing(Watch(port, pid)) as watch,
    ):
        rows = start(pid, seconds, watch)
        rows += pages(peer, "dead", first, jobs)
        rows += reads(peer, "workload", f"{PREFIX}:{first + jobs // 2}")
        for verb, after in (("forget", first - 1), ("requeue", first + jobs // 2)):
            handles = [row[0] for row in peer.rows(f"dead limit={PAGE} after={after}") if row[0] != "next"]
            commands = [f"{verb} job {handle}" for handle in handles]
            spent = timed(lambda commands=commands: peer.orders(commands), 1)  # type: ignore[misc]
            rows.append((f"{len(handles)} times `{verb} job HANDLE`, ms", spent.partition(" ")[0]))
        left = jobs - 2 * PAGE
        rows += order(watch, peer, f"requeue function {FUNCTION}", "kept", left)
        if peer.count("jobs") != left + PAGE:
            sys.exit(f"{peer.count('jobs')} jobs are queued instead of {left + PAGE}")
        rows += pages(peer, "jobs", first + PAGE, left + PAGE)
        rows += order(watch, peer, f"purge {FUNCTION}", "jobs", left + PAGE)
        rows.append(("most memory, MiB", f"{resident(pid, 'VmHWM:'):,.0f}"))
        return rows, watch.worst


def dropped(path: Path, jobs: int) -> tuple[Rows, float]:
    """Drop all the dead."""
    with (
        running(path) as (pid, port, seconds),
        closing(Peer(port)) as peer,
        closing(Watch(port, pid)) as watch,
    ):
        rows = start(pid, seconds, watch)
        rows += order(watch, peer, f"forget dead {FUNCTION}", "kept", jobs)
        return rows, watch.worst


def kept(path: Path, first: int, jobs: int) -> tuple[Rows, float]:
    """List and read jobs whose results are kept."""
    with (
        running(path) as (pid, port, seconds),
        closing(Peer(port)) as peer,
        closing(Watch(port, pid)) as watch,
    ):
        rows = start(pid, seconds, watch)
        rows += pages(peer, "kept", first, jobs)
        rows += reads(peer, "result", f"{PREFIX}:{first + jobs // 2}")
        return rows, watch.worst


def aged(path: Path, jobs: int, patience: float) -> tuple[Rows, float]:
    """
    Have the time of all jobs be over at one moment.

    @param patience: seconds in which the server is sure to have started.
    """
    moment = time.time() + patience
    limit_all(path, moment)
    with (
        running(path) as (pid, port, seconds),
        closing(Peer(port)) as peer,
        closing(Watch(port, pid)) as watch,
    ):
        rows = start(pid, seconds, watch)
        if time.time() > moment:
            sys.exit(f"the server has started too late, {seconds:.1f} s")
        if peer.count("kept") != jobs:
            sys.exit(f"{peer.count('kept')} jobs are kept instead of {jobs}")
        left = moment - time.time()
        seconds, stall = watch.until(lambda peer: not peer.count("kept"))
        rows.append(("aged out, s", f"{seconds - left:.1f}"))
        rows.append(("aged out, stall, ms", f"{stall:.1f}"))
        return rows, watch.worst


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--bound", type=float, default=50.0, metavar="MS", help="of a stall")
    parser.add_argument("--dir", type=Path, help="where the stores lie; a million jobs need 4 GB")
    options = parser.parse_args()
    jobs = options.jobs
    print(f"{jobs:,} jobs; in parentheses the worst of {REPEATS} times\n")
    print("| | |\n|---|--:|", flush=True)
    worst = 0.0

    def show(title: str, measured: tuple[Rows, float]) -> None:
        nonlocal worst
        rows, stall = measured
        worst = max(worst, stall)
        for name, value in rows:
            print(f"| {title}: {name} | {value} |", flush=True)

    with tempfile.TemporaryDirectory(prefix="txgear-archive-", dir=options.dir) as folder:
        path, copy = Path(folder) / "dead.sqlite", Path(folder) / "copy.sqlite"
        first = fill(path, jobs, DEAD)
        shutil.copy(path, copy)
        show("dead", dead(path, first, jobs))
        path.unlink()
        shutil.copy(copy, path)
        show("dead, dropped", dropped(path, jobs))
        show("dead, aged", aged(copy, jobs, STARTED))
        path.unlink()
        copy.unlink()
        first = fill(path, jobs, DONE)
        show("kept", kept(path, first, jobs))
        show("kept, aged", aged(path, jobs, STARTED))
    if worst > options.bound:
        sys.exit(f"the server has stalled for {worst:.1f} ms: more than {options.bound:g}")


if __name__ == "__main__":
    main()

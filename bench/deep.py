#!/usr/bin/env python3
"""
A queue of millions of jobs, nearly all of which are rows of the store: C{make bench-deep}.

Fills a server with jobs of 100 bytes, each with a unique of its own, starts it anew, and drains a part.
Measured are its memory with all of them queued, the speed of submits while the queue is that long and of the
drain, what a start takes, and for each of these the longest wait for an ECHO on another connection. Then a
million jobs die: the memory, a page of their list, and what it takes to requeue them all. The speeds are
compared with those with a short queue; with C{--other} another build is measured in the same way, and
compared with. gearmand in memory is beside them with up to two million jobs, where it is installed.

The status is 1 if a bound is broken, or if a job is missing or was handed out twice.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from archive import FUNCTION, PAGE, PATIENCE, PREFIX, QUIET, Peer, computed, resident, timed
from run import STORES, built, default_servers, free_port, server_command

SIZE: Final = 100
"""Bytes of a workload."""
SHORT: Final = 200_000
"""Jobs of the short queue with which a long one is compared; the last ones of a long one, which are timed."""
DRAINED: Final = 500_000
DRAIN_SECONDS: Final = 20
"""How many jobs of a long queue are drained, or for how long, whichever is over first."""
DISORDER: Final = 10_000
"""
Jobs by which the order in which they were submitted and that in which they are queued may differ: there are
eight clients, each with 64 submits under way, and one may be ahead of another.
"""
BUCKETS: Final = 1_000_003
"""Of gearmand's tables: with the 991 that it has by default it takes half an hour for two million jobs."""
LOOK: Final = 0.5
"""Seconds between two looks at whether a server has come to rest."""
GIVING_BACK: Final = 5.0
"""Seconds of rest after which a server has given back what it had for jobs that have ended."""
MIB: Final = 1024 * 1024

CONFIG: Final = f"""
[[function]]
name = "{FUNCTION}"
retries = 0
dead = {{ keep = "1d", jobs = 0, bytes = 0 }}
"""
"""What lets any number of jobs be dead."""

MEMORY: Final = {2_000_000: 384.0, 10_000_000: 512.0}
START: Final = {2_000_000: 2.0, 10_000_000: 3.0}
"""
MiB, and seconds for which the server does not wait for a processor, up to so many jobs; with more there is no
bound.
"""
DEAD_MEMORY: Final = 200.0

Figures = dict[str, float]

ROWS: Final = {
    "short: submit, jobs/s": ("submit_short", 0),
    "short: submit, CPU us/job": ("submit_short_cpu", 1),
    "short: drain, jobs/s": ("drain_short", 0),
    "short: drain, CPU us/job": ("drain_short_cpu", 1),
    "memory with all queued, MiB": ("queued_mib", 0),
    "most memory until all are queued, MiB": ("queued_most_mib", 0),
    "submit, the last, jobs/s": ("submit", 0),
    "submit, the last, CPU us/job": ("submit_cpu", 1),
    "submit: longest ECHO, ms": ("submit_echo", 1),
    "submit: without waiting for a processor, ms": ("submit_stall", 1),
    "the store, MiB": ("store_mib", 0),
    "stop, s": ("stop", 1),
    "start to the first answer, s": ("start", 1),
    "without what it waited for a processor, s": ("start_own", 1),
    "start to the first job at a worker, s": ("first_job", 1),
    "memory after the first answer, MiB": ("start_mib", 0),
    "start until it is at rest, s": ("rest", 1),
    "memory at rest, MiB": ("rest_mib", 0),
    "most memory until it is at rest, MiB": ("rest_most_mib", 0),
    "start: longest ECHO, ms": ("start_echo", 1),
    "start: without waiting for a processor, ms": ("start_stall", 1),
    "drain, jobs/s": ("drain", 0),
    "drain, CPU us/job": ("drain_cpu", 1),
    "drain: longest ECHO, ms": ("drain_echo", 1),
    "drain: without waiting for a processor, ms": ("drain_stall", 1),
    "most memory while draining, MiB": ("drain_most_mib", 0),
    "dead: memory with all dead, MiB": ("dead_mib", 0),
    "dead: start to the first answer, s": ("dead_start", 1),
    "dead: memory after a start, MiB": ("dead_start_mib", 0),
    "dead: most memory, MiB": ("dead_most_mib", 0),
    f"dead: a page of {PAGE}, first, ms": ("dead_first_page", 1),
    f"dead: a page of {PAGE}, middle, ms": ("dead_middle_page", 1),
    "dead: `requeue function`, s": ("requeue", 1),
    "dead: `requeue function`: longest ECHO, ms": ("requeue_echo", 1),
    "dead: `requeue function`: without waiting for a processor, ms": ("requeue_stall", 1),
}
"""What is shown of a server's figures, and with how many digits."""


@dataclass(frozen=True)
class Build:
    """
    A server to measure.

    @ivar command: with {port} for a free port and {dir} for the folder of its store.
    @ivar durable: whether jobs outlive it.
    """

    name: str
    command: str
    durable: bool = True


@dataclass
class Running:
    """
    A server that listens.

    @ivar seconds: from its start until it answered.
    @ivar waited: seconds of these for which it could have run, and had no processor.
    @ivar stopping: seconds from asking it to end until it had; 0.0 as long as it has not.
    """

    pid: int
    port: int
    seconds: float
    waited: float
    stopping: float = 0.0

    def load(self, mode: str, jobs: int, *words: str) -> dict[str, Any]:
        """Let the load generator submit or take so many jobs, and return its figures."""
        command = [built("gearload"), "--port", str(self.port), "--server-pid", str(self.pid)]
        command += ["--mode", mode, "--jobs", str(jobs), "--size", str(SIZE), "--function", FUNCTION]
        command += ["--clients", "8", "--pipeline", "64", "--workers", "8", "--timeout", str(int(PATIENCE))]
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{mode}: {done.stderr.strip()}")
        figures: dict[str, Any] = json.loads(done.stdout)
        return figures

    @contextmanager
    def stalls(self, figures: Figures, name: str) -> Iterator[None]:
        """Ask for an ECHO each 5 ms meanwhile, and add the longest waits to the figures."""
        command = [built("gearload"), "--port", str(self.port), "--server-pid", str(self.pid)]
        words = [*command, "--mode", "stall"]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asking:
            try:
                yield
            finally:
                said, _ = asking.communicate()
        if asking.returncode:
            sys.exit(f"{name}: no ECHO was answered any more")
        found = json.loads(said)
        figures[f"{name}_echo"] = max(figures.get(f"{name}_echo", 0.0), found["max_us"] / 1000)
        figures[f"{name}_stall"] = max(figures.get(f"{name}_stall", 0.0), found["own_max_us"] / 1000)

    def rest(self) -> None:
        """Wait until it computes no more."""
        deadline, used = time.monotonic() + PATIENCE, computed(self.pid)
        while time.monotonic() < deadline:
            time.sleep(LOOK)
            before, used = used, computed(self.pid)
            if used - before < QUIET * LOOK:
                return
        sys.exit(f"it is not at rest after {PATIENCE:g} s")

    def queued(self) -> int:
        """How many jobs the function has, by the text command that each server has."""
        with closing(Peer(self.port)) as peer:
            rows = {row[0]: int(row[1]) for row in peer.rows("status")}
        return rows.get(FUNCTION, 0)


@contextmanager
def running(build: Build, folder: Path, config: str = "") -> Iterator[Running]:
    """A server on the store in this folder; it is ended by its id."""
    port = free_port()
    words = shlex.split(build.command.format(port=port, dir=folder))
    if config:
        (folder / "deep.toml").write_text(config)
        words += ["--config", str(folder / "deep.toml")]
    log = folder / "log"
    begun = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out, cwd=folder)
    server: Running | None = None
    try:
        while server is None:
            if process.poll() is not None or time.monotonic() - begun > PATIENCE:
                sys.exit(f"{shlex.join(words)} does not listen:\n{log.read_text(errors='replace')}")
            with suppress(ConnectionError), closing(Peer(port)) as peer:
                peer.echo()
                server = Running(process.pid, port, time.monotonic() - begun, unserved(process.pid))
            time.sleep(0.005)
        yield server
    finally:
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE / 6)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if server is not None:
            server.stopping = time.monotonic() - begun
        if b"Traceback" in log.read_bytes():
            sys.exit(f"the server has logged a defect:\n{log.read_text(errors='replace')}")


def unserved(pid: int) -> float:
    """Seconds for which the first thread of a process could have run, and had no processor."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) / 1e9


class Seen:
    """Which jobs have come to a worker: a file with a bit for each, which the load generator marks."""

    def __init__(self, path: Path, jobs: int) -> None:
        self._path = path
        self._jobs = jobs
        self._come = 0
        path.write_bytes(bytes((jobs + 7) // 8))

    @property
    def left(self) -> int:
        """How many have not come."""
        return self._jobs - self._come

    def take(self, server: Running, jobs: int, *words: str) -> dict[str, Any]:
        """Have workers take so many jobs, and return the figures of it. One that comes twice ends the run."""
        figures = server.load("drain", jobs, "--seen", str(self._path), *words)
        self._come += figures["jobs"]
        return figures

    def check(self, queued: int) -> None:
        """
        Exit if a job is missing.

        @param queued: how many the server says that it has.
        """
        bits = int.from_bytes(self._path.read_bytes(), "little")
        if (marked := bits.bit_count()) != self._come or queued != self.left:
            sys.exit(f"of {self._jobs} jobs {self._come} have come ({marked} marked), and {queued} are left")
        if (missing := bits.bit_length() - self._come) > DISORDER:
            sys.exit(f"{missing} jobs have not come though later ones have")


def note_speed(figures: Figures, name: str, loaded: dict[str, Any]) -> None:
    """Add jobs a second, and what the server computes for each: that says more on a machine that is busy."""
    figures[name], figures[f"{name}_cpu"] = loaded["jobs_per_s"], loaded["server_cpu_us_per_job"]


def fill(build: Build, jobs: int, folder: Path, figures: Figures, after: Callable[[Running], None]) -> None:
    """
    Submit so many jobs, after a short queue has come and gone.

    @param after: what is done when all are queued.
    """
    with running(build, folder) as server:
        server.rest()
        short = min(SHORT, jobs // 4)
        note_speed(figures, "submit_short", server.load("submit", short))
        seen = Seen(folder / "seen", short)
        note_speed(figures, "drain_short", seen.take(server, short))
        seen.check(server.queued())
        with server.stalls(figures, "submit"):
            server.load("submit", jobs - short)
            note_speed(figures, "submit", server.load("submit", short, "--first", str(jobs - short)))
        server.rest()
        figures["queued_mib"] = resident(server.pid)
        figures["queued_most_mib"] = resident(server.pid, "VmHWM:")
        if (queued := server.queued()) != jobs:
            sys.exit(f"{queued} jobs are queued instead of {jobs}")
        after(server)
    figures["stop"] = server.stopping


def drain(server: Running, seen: Seen, figures: Figures) -> None:
    """Take a part of the jobs."""
    with server.stalls(figures, "drain"):
        drained = seen.take(server, min(DRAINED, seen.left), "--seconds", str(DRAIN_SECONDS))
    note_speed(figures, "drain", drained)
    figures["drain_most_mib"] = resident(server.pid, "VmHWM:")
    seen.check(server.queued())


def start_anew(build: Build, jobs: int, folder: Path, figures: Figures) -> None:
    """Start a server on a store with so many jobs, and drain a part of them."""
    seen = Seen(folder / "seen", jobs)
    figures["store_mib"] = sum(path.stat().st_size for path in folder.glob("jobs.sqlite*")) / MIB
    with running(build, folder) as server:
        figures["start"] = server.seconds
        figures["start_own"] = server.seconds - server.waited
        figures["start_mib"] = resident(server.pid)
        begun = time.monotonic()
        with server.stalls(figures, "start"):
            first = seen.take(server, 1)
            figures["first_job"] = server.seconds + first["first_job_s"]
            server.rest()
        figures["rest"] = server.seconds + time.monotonic() - begun
        figures["rest_mib"] = resident(server.pid)
        figures["rest_most_mib"] = resident(server.pid, "VmHWM:")
        drain(server, seen, figures)


def queue(build: Build, jobs: int, folder: Path, kept: Path | None) -> Figures:
    """
    What there is to know of a queue of so many jobs.

    @param folder: an empty one.
    @param kept: where a filled store is taken from, or else put.
    """
    figures: Figures = {}
    if not build.durable:
        fill(build, jobs, folder, figures, lambda server: drain(server, Seen(folder / "seen", jobs), figures))
        return figures
    known = None if kept is None else kept / "figures.json"
    if known is None or not known.exists():
        fill(build, jobs, folder, figures, lambda server: None)
        if kept is not None and known is not None:
            kept.mkdir(parents=True, exist_ok=True)
            for path in folder.glob("jobs.sqlite*"):
                shutil.copy(path, kept)
            known.write_text(json.dumps(figures))
    else:
        figures.update(json.loads(known.read_text()))
        for path in known.parent.glob("jobs.sqlite*"):
            shutil.copy(path, folder)
    start_anew(build, jobs, folder, figures)
    return figures


def dead(build: Build, jobs: int, folder: Path, figures: Figures) -> None:
    """Let so many jobs die, start a server on them, and requeue them all."""
    with running(build, folder, CONFIG) as server:
        server.load("submit", jobs)
        Seen(folder / "seen", jobs).take(server, jobs, "--fail")
        server.rest()
        time.sleep(GIVING_BACK)
        figures["dead_mib"] = resident(server.pid)
        figures["dead_most_mib"] = resident(server.pid, "VmHWM:")
    with running(build, folder, CONFIG) as server, closing(Peer(server.port)) as peer:
        figures["dead_start"] = server.seconds
        server.rest()
        figures["dead_start_mib"] = resident(server.pid)
        if (kept := peer.count("kept")) != jobs:
            sys.exit(f"{kept} jobs are dead instead of {jobs}")
        for name, after in (("dead_first_page", 0), ("dead_middle_page", jobs // 2)):
            line = f"dead limit={PAGE} after={after}"
            if (found := len([row for row in peer.rows(line) if row[0] != "next"])) != PAGE:
                sys.exit(f"{line}: {found} rows")
            figures[name] = float(timed(lambda line=line: peer.rows(line)).split(" ")[0])  # type: ignore[misc]
        begun = time.monotonic()
        with server.stalls(figures, "requeue"):
            peer.orders([f"requeue function {FUNCTION}"])
            while peer.count("kept"):
                if time.monotonic() - begun > PATIENCE:
                    sys.exit("the dead are not requeued")
                time.sleep(0.05)
            figures["requeue"] = time.monotonic() - begun
            server.rest()
        figures["dead_most_mib"] = max(figures["dead_most_mib"], resident(server.pid, "VmHWM:"))
        if (queued := server.queued()) != jobs:
            sys.exit(f"{queued} jobs were requeued instead of {jobs}")


Table = dict[str, dict[int, Figures]]
"""By build and number of jobs what was found."""


def broken(
    mine: dict[int, Figures], other: dict[int, Figures] | None, share: float, stall: float
) -> list[str]:
    """
    Which bounds are broken.

    @param other: another build's figures, with which speeds are compared; without, with a short queue.
    @param share: of the speeds that these are compared with.
    @param stall: milliseconds that an ECHO may take, without those in which the server waits for a processor.
    """
    found: list[str] = []

    def hold(what: str, value: float, bound: float, least: bool = False) -> None:
        if value < bound if least else value > bound:
            found.append(f"{what}: {value:,.1f}, and the bound is {bound:,.1f}")

    for jobs, figures in mine.items():
        at = f"{jobs:,} jobs"
        for size in [size for size in MEMORY if jobs <= size][:1]:
            hold(f"{at}, memory", max(figures["queued_mib"], figures["rest_mib"]), MEMORY[size])
            hold(f"{at}, start", figures["start_own"], START[size])
        beside = figures if other is None else other[jobs]
        hold(f"{at}, submit", figures["submit"], share * beside["submit_short"], least=True)
        loaded = beside["drain_short" if other is None else "drain"]
        hold(f"{at}, drain", figures["drain"], share * loaded, least=True)
        for phase in ("submit", "start", "drain", "requeue"):
            if f"{phase}_stall" in figures:
                hold(f"{at}, {phase}, longest ECHO, ms", figures[f"{phase}_stall"], stall)
        if "dead_mib" in figures:
            hold("dead, memory", max(figures["dead_mib"], figures["dead_start_mib"]), DEAD_MEMORY)
    return found


def markdown(table: Table) -> str:
    """The figures, a column for each build and number of jobs."""
    columns = [(name, jobs, figures) for name, sizes in table.items() for jobs, figures in sizes.items()]
    lines = [
        f"| | {' | '.join(f'{name}, {jobs:,}' for name, jobs, _ in columns)} |",
        f"|---|{'--:|' * len(columns)}",
    ]
    for title, (key, digits) in ROWS.items():
        cells = [f"{figures[key]:,.{digits}f}" if key in figures else "" for _, _, figures in columns]
        if any(cells):
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def measure(
    builds: list[Build], sizes: list[int], dying: int, where: Path | None, keep: Path | None
) -> Table:
    """Measure all of them, one after the other at each size."""
    table: Table = {build.name: {} for build in builds}
    for jobs in sizes:
        for build in builds:
            if not build.durable and jobs > min(MEMORY):
                continue
            print(f"{build.name}: {jobs:,} jobs", file=sys.stderr)
            kept = None if keep is None else keep / f"{build.name}-{jobs}".replace(" ", "-")
            with tempfile.TemporaryDirectory(prefix="txgear-deep-", dir=where) as folder:
                table[build.name][jobs] = queue(build, jobs, Path(folder), kept)
            print(json.dumps(table[build.name][jobs]), file=sys.stderr)
    for build in builds:
        if build.durable and dying:
            print(f"{build.name}: {dying:,} dead", file=sys.stderr)
            with tempfile.TemporaryDirectory(prefix="txgear-deep-", dir=where) as folder:
                dead(build, dying, Path(folder), table[build.name][sizes[0]])
    return table


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--jobs", action="append", type=int, help="how long the queue is; may repeat [2000000, 10000000]"
    )
    parser.add_argument("--dead", type=int, default=1_000_000, metavar="JOBS", help="how many die; 0: none")
    parser.add_argument(
        "--other", metavar="COMMAND", help="another build, with {port}, and {dir} for a folder"
    )
    parser.add_argument(
        "--dir",
        type=Path,
        help="where the stores lie; 10,000,000 jobs need 8 GB, and with --keep as much again",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        help="take filled stores from there, or fill them and leave them",
    )
    parser.add_argument("--share", type=float, default=0.8, help="of the speeds that are compared with [0.8]")
    parser.add_argument("--stall", type=float, default=20.0, metavar="MS", help="that an ECHO may take [20]")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    options = parser.parse_args()
    sizes = sorted(options.jobs or MEMORY)
    if sizes[0] < 4:
        parser.error("--jobs: 4 at the least")
    mine = Build("this build", f"{server_command(STORES['durable'])} --job-handle-prefix {PREFIX}")
    builds = [mine]
    if options.other:
        builds.insert(0, Build("other build", f"{options.other} --job-handle-prefix {PREFIX}"))
    if (gearmand := default_servers("memory", None).get("gearmand")) is not None:
        builds.append(Build("gearmand", f"{gearmand.command} --hashtable-buckets={BUCKETS}", durable=False))
    table = measure(builds, sizes, options.dead, options.dir, options.keep)
    print(markdown(table))
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))
    other = table.get("other build")
    if found := broken(table[mine.name], other, options.share, options.stall):
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""
How many jobs a second one worker process does: C{make bench-workers}.

Workers of other libraries and of this project, one process each, do background jobs of 100 bytes that wait
in a queue of this server, which keeps them in memory; the function returns the workload. The CPU of the
worker and of the server is reckoned for each job: on a machine that does other things meanwhile it says more
than the jobs a second. Each has a server of its own; they take turns, and the medians count.

Then workers whose functions wait for 2 to 10 milliseconds, eight jobs at once, while eight clients submit one
foreground job after another, and wait for it.

gear and pygearman are installed from PyPI into a folder that is removed in the end. libgearman (with cc),
php-gearman and a checkout of an earlier build are measured where they are.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from libraries import PEERS, PYTHON, Library, Server, installed, started
from run import built

BYTES: Final = 100
"""Bytes of a workload."""
LEAD_SECONDS: Final = 0.3
"""How long a worker works before time is taken."""
MOST_SECONDS: Final = 3.0
"""How long it is measured at the most."""
LOOK_SECONDS: Final = 0.01
"""Seconds between two questions to the server how many jobs are left."""
PATIENCE: Final = 30.0
"""Seconds that a worker may take to begin."""


@dataclass(frozen=True)
class Contender:
    """
    One worker.

    @ivar name: what the table calls it.
    @ivar command: what starts it; the port takes the place of C{{port}}.
    @ivar jobs: how many wait for it.
    @ivar environment: what it needs there.
    """

    name: str
    command: str
    jobs: int
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Figures:
    """
    What was measured of one of them once.

    @ivar speed: jobs a second.
    @ivar worker: microseconds of the worker's CPU for each job.
    @ivar server: microseconds of the server's CPU for each job.
    """

    speed: float
    worker: float
    server: float


def own(concurrency: int, kind: str) -> str:
    """What starts a worker of txgear's."""
    return f"{PYTHON} {PEERS}/txgear_worker.py {{port}} {concurrency} {kind}"


def contenders(before: str | None, folder: Path) -> list[Contender]:
    """
    All that can be had here.

    @param before: a checkout of an earlier build, if there is one.
    @param folder: where packages are installed.
    """
    found = []
    for name, package, program in (
        ("gear", "gear==0.16.0", "gear_peer.py"),
        ("pygearman", "pygearman==0.2.6", "pythongearman_peer.py gearman"),
    ):
        try:
            library = Library(name, "pypi", package, "")
            version, environment = installed(library, folder / name)
        except subprocess.CalledProcessError as error:
            print(f"{name} cannot be had: {error}", file=sys.stderr)
            continue
        command = f"{PYTHON} {PEERS}/{program} worker {{port}}"
        found.append(Contender(f"{name} {version} (Python)", command, 15_000, environment))
    if Path("/usr/include/libgearman-1.0/gearman.h").exists():
        program = built("libraries/libgearman_worker", needs=("-lgearman",))
        found.append(Contender("libgearman (C)", f"{program} {{port}}", 60_000))
    else:
        print("libgearman cannot be had: it needs Debian's libgearman-dev", file=sys.stderr)
    loaded = subprocess.run(["php", "-m"], capture_output=True, text=True, check=False).stdout
    if "gearman" in loaded.split():
        found.append(Contender("php-gearman (PHP)", f"php {PEERS}/php.php worker {{port}}", 60_000))
    else:
        print("php-gearman cannot be had", file=sys.stderr)
    builds: list[tuple[str, dict[str, str]]] = [("txgear", {})]
    if before is not None:
        builds.insert(0, ("txgear before", {"PYTHONPATH": str(Path(before).resolve())}))
    for build, environment in builds:
        for concurrency in (1, 8):
            name = f"{build}, concurrency {concurrency}"
            jobs = 60_000 if concurrency == 1 or "before" in build else 250_000
            found.append(Contender(name, own(concurrency, "plain"), jobs, environment))
        found.append(Contender(f"{build}, 8 threads", own(8, "thread"), 60_000, environment))
    runtime = f"{PYTHON} {PEERS}/runtime_peer.py {{port}} 8"
    here = {"TXGEAR_BENCH_FOLDER": str(folder)}
    found.append(Contender("txgear's runtime, concurrency 8", runtime, 250_000, here))
    return found


def cpu_seconds(pid: int) -> float:
    """What a process and those that it has started have used so far."""
    process = psutil.Process(pid)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def fill(server: Server, jobs: int) -> None:
    """Queue background jobs."""
    words = ["--mode", "submit", "--clients", "4", "--pipeline", "64", "--size", str(BYTES)]
    load(server, *words, "--jobs", str(jobs))


def load(server: Server, *words: str) -> dict[str, float]:
    """What gearload says of a load."""
    command = [built("gearload"), "--port", str(server.port), "--function", "echo", *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def measured(contender: Contender) -> Figures:
    """
    One contender, once, with a server of its own.

    @raise RuntimeError: it does not begin.
    """
    server = Server()
    try:
        fill(server, contender.jobs)
        with started(
            shlex.split(contender.command.format(port=server.port)), contender.environment
        ) as worker:
            watch = server.peer()
            try:

                def left() -> int:
                    return int(watch.ask_list(b"status")[0].split(b"\t")[1])

                deadline = time.monotonic() + PATIENCE
                while left() == contender.jobs:
                    if time.monotonic() > deadline or worker.poll() is not None:
                        raise RuntimeError(f"{contender.name} does not begin")
                    time.sleep(LOOK_SECONDS)
                time.sleep(LEAD_SECONDS)
                begun = time.monotonic()
                used = cpu_seconds(worker.pid), cpu_seconds(server.pid)
                first = now_left = left()
                while now_left and time.monotonic() < begun + MOST_SECONDS:
                    time.sleep(LOOK_SECONDS)
                    now_left = left()
                seconds = time.monotonic() - begun
                jobs = first - now_left
                return Figures(
                    jobs / seconds,
                    (cpu_seconds(worker.pid) - used[0]) / jobs * 1e6,
                    (cpu_seconds(server.pid) - used[1]) / jobs * 1e6,
                )
            finally:
                watch.close()
    finally:
        server.stop()


def waiting(before: str | None) -> None:
    """The table of functions that wait."""
    print("\n| 8 jobs of 2 to 10 ms at once | jobs/s | p50 | p99 | worker's CPU for a job |")
    print("|---|--:|--:|--:|--:|")
    environments: dict[str, dict[str, str]] = {"txgear": {}}
    if before is not None:
        environments = {"txgear before": {"PYTHONPATH": str(Path(before).resolve())}, **environments}
    for name, environment in environments.items():
        server = Server()
        try:
            with started(shlex.split(own(8, "await").format(port=server.port)), environment) as worker:
                server.wait_for_workers(1)
                used = cpu_seconds(worker.pid)
                jobs = 4000
                words = ["--clients", "8", "--pipeline", "1", "--workers", "0", "--size", str(BYTES)]
                figures = load(server, "--mode", "fg", *words, "--jobs", str(jobs))
                cpu = (cpu_seconds(worker.pid) - used) / jobs * 1e6
        finally:
            server.stop()
        p50, p99 = figures["p50_us"] / 1000, figures["p99_us"] / 1000
        print(f"| {name} | {figures['jobs_per_s']:,.0f} | {p50:.1f} ms | {p99:.1f} ms | {cpu:.0f} µs |")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--only", metavar="TEXT", default="", help="workers with this in their names")
    parser.add_argument("--before", metavar="FOLDER", help="a checkout of an earlier build, for comparison")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="txgear-workers-")))
        found = [each for each in contenders(options.before, folder) if options.only in each.name]
        figures: dict[str, list[Figures]] = {each.name: [] for each in found}
        for number in range(options.rounds):
            for contender in found:
                figures[contender.name].append(measured(contender))
                print(
                    f"{number + 1}/{options.rounds} {contender.name}",
                    figures[contender.name][-1],
                    file=sys.stderr,
                )
    print("| one worker process | jobs/s | worker's CPU for a job | server's CPU for a job |")
    print("|---|--:|--:|--:|")
    for name, all_of_it in figures.items():
        speed, worker, server = (
            statistics.median(getattr(each, what) for each in all_of_it)
            for what in ("speed", "worker", "server")
        )
        print(f"| {name} | {speed:,.0f} | {worker:.1f} µs | {server:.1f} µs |")
    waiting(options.before)


if __name__ == "__main__":
    main()

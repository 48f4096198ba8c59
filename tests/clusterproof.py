"""The proof of docs/cluster.md: three servers over a database that is a cluster itself, under load, and each
thing that can happen to any of them happens again and again. No job may be lost, and nothing may be done or
written by a server whose part another one has taken.

As a program it prints a table: what happened how often, what came of it, and how long it took until the first
job of a server that was gone was at a worker elsewhere.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

from clusterbook import (
    ANSWERED,
    DONE,
    GRABBED_TWICE,
    LOST,
    OTHER,
    REFUSED,
    SHOWN,
    STALE,
    TAKINGS,
    UNIQUE,
    WRITES,
    Book,
    judge,
)
from clusterfaults import FAULTS, SILENT, TAKEN_OVER, Fault, Trouble, clock_stepped, happens, server_killed
from clusterpeers import KEPT, Load, Worker, fill
from clusterworld import NAMES, GaleraWorld, PatroniWorld, World
from galera import Galera
from machines import Machine, enter, missing
from patronicluster import Cluster
from processes import wait_until
from steppedclock import PythonClock

#: How often each thing happens, and the death of a server, which is the one that is measured.
TIMES: Final = 5
KILLS: Final = {PatroniWorld.name: 50, GaleraWorld.name: 10}

#: What servers are over, by the name of their world.
KINDS: Final[Mapping[str, type[Cluster] | type[Galera]]] = {
    PatroniWorld.name: Cluster,
    GaleraWorld.name: Galera,
}

#: How many machines a database has: Patroni's members and etcd, or nodes.
MACHINES: Final = 3

#: How many things happen before all is done and judged.
AT_ONCE: Final = 10

#: The function of a great many jobs.
DEEP: Final = b"deep"

#: What is told of a run.
COLUMNS: Final = (ANSWERED, DONE, GRABBED_TWICE, REFUSED, TAKINGS, WRITES, LOST, STALE, UNIQUE, OTHER)


@dataclass
class Run:
    """What came of one thing that happened some times.

    :ivar elsewhere: seconds until the first job of a server that was gone was elsewhere, of each time.
    :ivar failovers: seconds of these until the database took writes again.
    """

    database: str
    fault: str
    times: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[tuple[str, str]] = field(default_factory=list)
    elsewhere: list[float] = field(default_factory=list)
    failovers: list[float] = field(default_factory=list)

    def cells(self) -> list[str]:
        """A row of the table."""
        beyond = [all - own for all, own in zip(self.elsewhere, self.failovers, strict=False)]
        return [
            self.database,
            self.fault.replace("_", " "),
            str(self.times),
            *(f"{self.counts[each]:,}" for each in COLUMNS),
            _median(self.elsewhere),
            _longest(self.elsewhere),
            _longest([each for each in self.failovers if each]),
            _longest(beyond if any(self.failovers) else []),
        ]


def _median(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.1f}" if seconds else ""


def _longest(seconds: Sequence[float]) -> str:
    return f"{max(seconds):.1f}" if seconds else ""


HEADINGS: Final = (
    "database",
    "what happened",
    "times",
    *COLUMNS,
    "elsewhere after: median, s",
    "longest, s",
    "failover: longest, s",
    "elsewhere after that: longest, s",
)


def table(runs: Sequence[Run]) -> str:
    """What came of all of them, in Markdown."""
    rows = [HEADINGS, ["---"] * 2 + ["--:"] * (len(HEADINGS) - 2), *(run.cells() for run in runs)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def prove(world: World, clock: PythonClock | None, faults: Sequence[Fault], run: Run) -> None:
    """Let these things happen, one after the other, and judge what has come of them.

    :param world: is not there yet, and ends with this.
    :param clock: what its server ``a`` sees, if that is to be set.
    """
    with world:
        book = Book()
        load = Load(world.ports, book)
        try:
            for fault in faults:
                times = happens(fault, Trouble(world, load, book, clock))
                run.times += 1
                if times.elsewhere is not None:
                    run.elsewhere.append(times.elsewhere)
                run.failovers.append(times.failover)
        except AssertionError as problem:
            book.wrong(OTHER, f"{problem}\n{world.log()}")
        try:
            load.stop(world.left)
        except AssertionError as problem:
            book.wrong(OTHER, f"{problem}\n{world.log()}")
        if not world.calm:
            book.wrong(OTHER, f"a traceback in the log of a server\n{world.log()}")
        counts, problems = judge(book, world.owned(), world.writes(), world.left())
        run.counts += counts
        run.problems += problems


class Worlds:
    """Makes worlds over one cluster of a database; as a context manager that starts, and is killed."""

    def __init__(self, name: str, folder: Path, machines: bool) -> None:
        """
        :param name: of the kind of world.
        :param machines: whether each server of the database has a machine.
        """
        # The database runs as another user, who must be able to reach it.
        for place in (folder, folder / "database"):
            place.mkdir(exist_ok=True)
            place.chmod(0o755)
        self._folder = folder
        self._machines = [Machine(number, MACHINES) for number in range(1, MACHINES + 1)] if machines else []
        self._cluster = KINDS[name](folder / "database", machines=self._machines)
        self._made = 0

    def __enter__(self) -> Worlds:
        self._cluster.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cluster.kill()
        for machine in self._machines:
            machine.end()

    def prove(self, run: Run, faults: Sequence[Fault]) -> None:
        """Let these things happen to a new world."""
        self._made += 1
        for machine in self._machines:
            machine.find()
        folder = self._folder / f"world{self._made}"
        folder.mkdir()
        clock = PythonClock(folder) if clock_stepped in faults else None
        environment = clock.environment if clock else {}
        world: World
        if isinstance(self._cluster, Cluster):
            world = PatroniWorld(folder, self._cluster, environment)
        else:
            world = GaleraWorld(folder, self._cluster, environment)
        prove(world, clock, faults, run)


def runs(name: str, wanted: Sequence[str], times: int | None, machines: bool, folder: Path) -> Iterator[Run]:
    """Let each of these things happen so many times to servers over a database of this kind."""
    with Worlds(name, folder, machines) as worlds:
        for fault in (*FAULTS[name], *(SILENT[name] if machines else ())):
            if wanted and fault.__name__ not in wanted:
                continue
            left = times or (KILLS[name] if fault is server_killed else TIMES)
            run = Run(name, fault.__name__)
            while left and not run.problems:
                count = min(left, AT_ONCE)
                worlds.prove(run, [fault] * count)
                left -= count
            yield run


def long_queue(jobs: int, times: int, folder: Path) -> Run:
    """Have so many jobs in one part on PostgreSQL, and kill the server that has it, again and again.

    What is written is not noted here: it would be as much again as there is.
    """
    run = Run(PatroniWorld.name, f"server killed that has {jobs:,} jobs")
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "database").mkdir()
    with Cluster(folder / "database") as cluster, PatroniWorld(folder, cluster, watched=False) as world:
        book, others = Book(), Book()
        owner = NAMES[0]
        fill(world.ports[owner], DEEP, jobs)
        (numbers,) = world.ranges(owner)
        load = Load(world.ports, others)
        workers = [Worker(name, port, book, [DEEP]) for name, port in world.ports.items()]
        try:
            for _ in range(times):
                load.wait_for_kept()
                owner = next(name for name in NAMES if numbers in world.ranges(name))
                killed = time.time()
                world.servers[owner].kill()
                found = wait_until(partial(book.elsewhere, [numbers], [owner], killed), TAKEN_OVER)
                assert found is not None
                run.times += 1
                run.elsewhere.append(found - killed)
                world.start(owner)
            load.stop(lambda: world.left(KEPT))
            for worker in workers:
                worker.stop()
        except AssertionError as problem:
            book.wrong(OTHER, f"{problem}\n{world.log()}")
        run.counts, run.problems = judge(book, world.owned(), (), 0)
        counts, problems = judge(others, world.owned(), (), world.left(KEPT))
        run.counts += counts
        run.problems += problems
        left = world.left(DEEP)
        if left + len(book.ends) < jobs:
            run.problems.append((LOST, f"{left} jobs are left, {len(book.ends)} were done"))
    return run


def versions() -> str:
    """The machine, and what runs on it."""
    txgear = importlib.metadata.version("txgear")
    return (
        f"txgear {txgear}, Python {platform.python_version()}, {platform.system()} {platform.release()},"
        f" {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"
    )


def all_runs(options: argparse.Namespace, folder: Path) -> Iterator[Run]:
    """Whatever is asked for."""
    if options.jobs:
        yield long_queue(options.jobs, options.times or KILLS[PatroniWorld.name], folder / "long")
        return
    for name in options.database or FAULTS:
        yield from runs(name, options.fault or (), options.times, options.machines, folder / name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    known = sorted(
        {fault.__name__ for kinds in (FAULTS, SILENT) for faults in kinds.values() for fault in faults}
    )
    parser.add_argument("--database", action="append", choices=FAULTS, help="only these")
    parser.add_argument("--fault", action="append", choices=known, help="only these")
    parser.add_argument("--times", type=int, help="how often each happens [50 or 10 kills, 5 of all else]")
    parser.add_argument("--jobs", type=int, help="only kill servers that have so many jobs, on PostgreSQL")
    options = parser.parse_args()
    if lacks := missing():
        print(f"nothing gets lost on its way: {lacks}", flush=True)
    else:
        enter()
    options.machines = not lacks
    done: list[Run] = []
    folder = Path(tempfile.mkdtemp(prefix="txgear-proof-"))
    folder.chmod(0o755)
    try:
        for run in all_runs(options, folder):
            done.append(run)
            print(f"{' '.join(run.cells())}", flush=True)
            for kind, what in run.problems[:SHOWN]:
                print(f"{run.database}, {run.fault}: {kind}: {what}", flush=True)
    finally:
        shutil.rmtree(folder)
    print(f"\n{versions()}\n\n{table(done)}\n")
    wrong = any(run.problems for run in done)
    print("verdict:", "failed" if wrong else "passed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

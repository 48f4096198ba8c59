#!/usr/bin/env python3
"""
Measure what it costs to be one of several servers: C{make bench-cluster}.

One server with C{--cluster} stands beside one without, and two and three of them over one database beside
one, on a PostgreSQL and a MariaDB that the script starts. All servers are given their share of the jobs at
once. Counted is the time of processors of all servers, and of the database, by job: it hardly depends on
what else the machine does. Printed are medians, and the ratios round by round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from run import DURABLE, built, running, server_command

# The databases that the tests start.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from databases import Database, MariaDB, Postgres

KINDS: Final[dict[str, type[Database]]] = {"PostgreSQL": Postgres, "MariaDB": MariaDB}
SETUPS: Final = {"without": 0, "one": 1, "two": 2, "three": 3}
"""How many servers with C{--cluster}; 0 is one without."""
NAMES: Final = ("accept", "drain", "steady")
BOUNDS: Final = {"one": 1 / 0.95, "two": 1.25, "three": 1.25}
"""The most of the processor's time of the one before: of one without, or of one with C{--cluster}."""

TICK: Final = os.sysconf("SC_CLK_TCK")

Costs = dict[str, float]
"""Microseconds of a job: C{servers} and C{database}."""


def cpu(pid: int) -> float:
    """Seconds that a process and all that it has started have had, those that have ended, too."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICK + sum(cpu(int(child)) for child in children)


def cpu_of_threads(pid: int) -> float:
    """The same of a process that starts no others, whose threads live as long as it: to the nanosecond."""
    times = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in times) / 1e9


def jobs_of(flags: list[str]) -> int:
    return int(flags[flags.index("--jobs") + 1])


def share(flags: list[str], servers: int) -> list[str]:
    """The flags of a scenario for one of several servers."""
    flags = list(flags)
    flags[flags.index("--jobs") + 1] = str(jobs_of(flags) // servers)
    return flags


def load(ports: list[tuple[int, int]], flags: list[str], name: str) -> None:
    """Have all servers do their share at once."""
    gearload = built("gearload")
    words = share(flags, len(ports))
    runs = [
        subprocess.Popen(
            [gearload, "--port", str(port), "--server-pid", str(pid), *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for pid, port in ports
    ]
    for run in runs:
        _, said = run.communicate(timeout=900)
        if run.returncode:
            sys.exit(f"{name}: {said.strip()}")


def measure(database: Database, servers: int, scenarios: list[str]) -> dict[str, Costs]:
    """One setup, with a database of its own."""
    command = server_command(database.new_database())
    command += " --cluster" if servers else ""
    found = {}
    with ExitStack() as stack:
        ports = [stack.enter_context(running(command)) for _ in range(max(servers, 1))]
        pids = [pid for pid, _ in ports]
        for scenario in scenarios:
            flags = DURABLE[scenario].split()
            before = list(map(cpu_of_threads, pids)), cpu(database.pid)
            load(ports, flags, scenario)
            after = list(map(cpu_of_threads, pids)), cpu(database.pid)
            jobs = jobs_of(flags) // len(ports) * len(ports)
            found[scenario] = {
                "servers": (sum(after[0]) - sum(before[0])) * 1e6 / jobs,
                "database": (after[1] - before[1]) * 1e6 / jobs,
            }
    return found


def table(figures: dict[str, dict[str, list[Costs]]]) -> str:
    """
    @param figures: by scenario and setup those of each round.
    """
    rows = [
        "| scenario | servers | CPU us/job | of the database | CPU x | bound |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for scenario, by_setup in figures.items():
        for setup, rounds in by_setup.items():
            cells = [scenario, setup]
            cells += [
                f"{statistics.median(each[part] for each in rounds):.1f}" for part in ("servers", "database")
            ]
            before = by_setup.get("without" if setup == "one" else "one")
            if setup in BOUNDS and before:
                ratios = [now["servers"] / then["servers"] for now, then in zip(rounds, before, strict=True)]
                ratio = statistics.median(ratios)
                bound = BOUNDS[setup]
                cells += [f"{ratio:.2f}", f"{bound:.2f}{', NOT MET' * (ratio > bound)}"]
            else:
                cells += ["", ""]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--on", metavar="KIND,...", default=",".join(KINDS), help="PostgreSQL, MariaDB")
    parser.add_argument("--only", metavar="SCENARIO,...", default=",".join(NAMES))
    parser.add_argument("--setups", metavar="SETUP,...", default=",".join(SETUPS))
    parser.add_argument("--json", type=Path, help="write every figure of every round to this file")
    options = parser.parse_args()
    kinds, scenarios, setups = (text.split(",") for text in (options.on, options.only, options.setups))
    for given, there in ((kinds, KINDS), (scenarios, DURABLE), (setups, SETUPS)):
        if unknown := [name for name in given if name not in there]:
            parser.error(f"unknown: {', '.join(unknown)}")
    kept = {}
    for kind in kinds:
        figures: dict[str, dict[str, list[Costs]]] = {
            scenario: {setup: [] for setup in setups} for scenario in scenarios
        }
        with tempfile.TemporaryDirectory(prefix="txgear-cluster-") as folder:
            # The database's own user is to reach it.
            Path(folder).chmod(0o755)
            with KINDS[kind](Path(folder)) as database:
                for turn in range(options.rounds):
                    first = turn % len(setups)
                    for setup in setups[first:] + setups[:first]:
                        for scenario, costs in measure(database, SETUPS[setup], scenarios).items():
                            figures[scenario][setup].append(costs)
                    print(f"{kind}: round {turn + 1} of {options.rounds} done", file=sys.stderr)
        print(f"{kind}: {options.rounds} rounds; medians\n\n{table(figures)}\n")
        kept[kind] = figures
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()

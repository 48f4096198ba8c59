#!/usr/bin/env python3
"""
What it costs a server to be asked each second, as by `txgear top` and `txgear diagnose`: with 1,000
functions, each of which has jobs, and a worker or none, while jobs of all of them come and go, and while it
is busy.

Told is what each question takes of the server's CPU, and then what all of them together take of it, in a
second and of what it needs for its jobs. Ends with status 1 where that is more than 3 %.

usage: asking.py [--functions N] [--jobs N] [--workers N] [--seconds N]
                 [--rounds N] [--only each,second,busy]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from dashboard import Changes
from run import SCENARIOS, built, running, server_command
from txgear.cli.base.api import Api
from txgear.cli.base.places import Place
from webpages import fill

MOST_COST: Final = 0.03
"""Of one processor, and of what a busy server needs for its jobs."""
TOP: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("/api/v1/server", {}),
    ("/api/v1/figures", {"sort": "queued", "limit": 60}),
    ("/api/v1/workers", {"limit": 60}),
    ("/api/v1/dead/groups", {"limit": 60}),
)
"""What a screen takes: of functions as many rows as a high terminal has."""
DIAGNOSE: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("/api/v1/diagnosis", {}),
    ("/api/v1/functions/function.7/diagnosis", {}),
)
"""C{txgear diagnose}, of all functions, and of one."""
ALL: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("/api/v1/figures", {"sort": "rate"}),
    ("/api/v1/functions", {"figures": True, "limit": 200}),
)
"""All of 1,000 functions in one answer, and a page of C{txgear status}, for comparison."""
QUICKLY: Final = 20
"""Times that each question is asked at once to see what it takes."""
JOBS: Final = "150000"
"""Of a round of the load: some seconds."""


def cpu(pid: int) -> float:
    """Seconds of a processor that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Asker(threading.Thread):
    """
    Asks all of it once a second, on one connection.

    @ivar times: that it has.
    """

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._api = Api(Place("server", "127.0.0.1", port))
        self._over = threading.Event()
        self.times = 0

    def run(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(due - time.monotonic(), 0.0)):
            due += 1.0
            for path, query in (*TOP, DIAGNOSE[0]):
                self._api.get(path, query)
            self.times += 1

    def end(self) -> None:
        """Stop, and wait until it has."""
        self._over.set()
        self.join(30)
        self._api.close()


def each(port: int, pid: int) -> None:
    """What each question takes, asked again and again."""
    api = Api(Place("server", "127.0.0.1", port))
    print(f"{'question':56}{'CPU ms':>8}{'ms':>7}{'kB':>7}")
    for path, query in (*TOP, *DIAGNOSE, *ALL):
        size = len(json.dumps(api.get(path, query)))
        before, began = cpu(pid), time.perf_counter()
        for _ in range(QUICKLY):
            api.get(path, query)
        took = (time.perf_counter() - began) * 1000 / QUICKLY
        words = " ".join(f"{name}={value}" for name, value in query.items())
        print(
            f"{f'{path} {words}':56}{(cpu(pid) - before) * 1000 / QUICKLY:8.1f}{took:7.1f}{size / 1000:7.0f}"
        )
    api.close()


def second(port: int, pid: int, given: argparse.Namespace) -> bool:
    """What a second of all that takes, while jobs of all functions come and go."""
    changes = Changes(port, given.functions)
    changes.start()
    used: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(2 * given.rounds):
        asked = turn % 4 in (1, 2)
        asker = Asker(port) if asked else None
        if asker is not None:
            asker.start()
        before = cpu(pid)
        time.sleep(given.seconds)
        used[asked].append((cpu(pid) - before) / given.seconds)
        if asker is not None:
            asker.end()
    changes.end()
    more = statistics.median(used[True]) - statistics.median(used[False])
    print(f"\nasked each second: {more:.1%} of a processor, {changes.count} jobs came and went meanwhile")
    return more <= MOST_COST


def busy(port: int, pid: int, given: argparse.Namespace) -> bool:
    """The same of a server that is busy: by its own CPU for each job, round by round."""
    words = [built("gearload"), "--port", str(port), "--server-pid", str(pid), *SCENARIOS["busy"].split()]
    words += ["--jobs", JOBS]
    ratios = []
    used: dict[bool, float] = {}
    for turn in range(2 * given.rounds + 2):
        # By turns, and each first in half of the rounds.
        asked = turn % 4 in (1, 2)
        asker = Asker(port) if asked else None
        if asker is not None:
            asker.start()
        run = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
        if asker is not None:
            asker.end()
        if run.returncode:
            sys.exit(f"the load has failed: {run.stderr.strip()}")
        used[asked] = json.loads(run.stdout)["server_cpu_us_per_job"]
        if turn % 2 and turn > 1:
            ratios.append(used[True] / used[False])
    more = statistics.median(ratios) - 1
    print(f"busy: {more:+.1%} CPU (rounds: {', '.join(f'{ratio - 1:+.1%}' for ratio in ratios)})")
    return more <= MOST_COST


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--functions", type=int, default=1_000)
    parser.add_argument("--jobs", type=int, default=10_000, help="that wait, of all functions")
    parser.add_argument("--workers", type=int, default=1_000, help="0 is the worst: all functions lack one")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long a round is")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="each,second,busy", help="some of these")
    given = parser.parse_args()
    wanted = given.only.split(",")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    good = True
    with running(server_command("memory:")) as (pid, port):
        lines = fill(port, given.jobs, given.functions, given.workers)
        print(f"{given.functions} functions, {given.workers} workers, {given.jobs} jobs that wait\n")
        if "each" in wanted:
            each(port, pid)
        if "second" in wanted:
            good = second(port, pid, given) and good
        if "busy" in wanted:
            good = busy(port, pid, given) and good
        for line in lines:
            line.close()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

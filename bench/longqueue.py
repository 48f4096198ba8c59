#!/usr/bin/env python3
"""
A queue that is longer than the memory: C{make bench-memory}.

Submits background jobs whose workloads are many times the server's budget for
them, starts the server anew, drains the queue, and prints the speeds, the time
of the replay and the most memory that the server ever had. A second server with
a queue that does fit drains for comparison. The status is 1 if the memory or the
speed is beyond its bound, or if a job is missing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from run import Figures, built, running, server_command

MIB = 1024 * 1024


def peak(pid: int) -> float:
    """The most memory that a process ever had, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"process {pid} has no VmHWM")


def load(port: int, pid: int, mode: str, jobs: int, size: int) -> Figures:
    """Let the load generator submit or drain that many jobs, and return its figures."""
    words = [built("gearload"), "--port", str(port), "--server-pid", str(pid), "--mode", mode]
    words += ["--jobs", str(jobs), "--size", str(size), "--clients", "8", "--pipeline", "64"]
    words += ["--workers", "8", "--function", "long", "--timeout", "3000"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{mode}: {done.stderr.strip()}")
    figures: Figures = json.loads(done.stdout)
    return figures


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=10_000, help="bytes of a workload")
    parser.add_argument("--queue-memory", type=int, default=256, metavar="MIB")
    parser.add_argument("--bound", type=int, default=1024, metavar="MIB", help="of resident memory")
    parser.add_argument("--share", type=float, default=0.5, help="of the other queue's speed; 0: no bound")
    parser.add_argument("--dir", type=Path, help="where the store lies; it needs 1.5 x jobs x size")
    options = parser.parse_args()
    jobs, size = options.jobs, options.size
    fitting = max(min(jobs, options.queue_memory * MIB // size // 2), 1000)
    with tempfile.TemporaryDirectory(prefix="txgear-long-", dir=options.dir) as folder:
        command = server_command(f"sqlite:///{folder}/long.sqlite")
        command += f" --queue-memory {options.queue_memory}M"
        with running(command) as (pid, port):
            taken = load(port, pid, "submit", jobs, size)
            peaks = [peak(pid)]
        started = time.monotonic()
        with running(command) as (pid, port):
            replay = time.monotonic() - started
            peaks.append(peak(pid))
            drained = load(port, pid, "drain", jobs, size)
            peaks.append(peak(pid))
        with running(server_command(f"sqlite:///{folder}/short.sqlite")) as (pid, port):
            load(port, pid, "submit", fitting, size)
            short = load(port, pid, "drain", fitting, size)
    share = drained["jobs_per_s"] / short["jobs_per_s"]
    print(f"{jobs:,} jobs of {size:,} bytes, {options.queue_memory} MiB for workloads\n")
    print("| | |\n|---|--:|")
    print(f"| submitted, jobs/s | {taken['jobs_per_s']:,.0f} |")
    print(f"| start with all of them in the store, s | {replay:.1f} |")
    print(f"| drained, jobs/s | {drained['jobs_per_s']:,.0f} |")
    print(f"| {fitting:,} jobs that fit, drained, jobs/s | {short['jobs_per_s']:,.0f} |")
    print(f"| share of that speed | {share:.2f} |")
    print(f"| most memory while submitting, MiB | {peaks[0]:,.0f} |")
    print(f"| most memory after the start, MiB | {peaks[1]:,.0f} |")
    print(f"| most memory while draining, MiB | {peaks[2]:,.0f} |")
    if max(peaks) > options.bound:
        sys.exit(f"{max(peaks):,.0f} MiB are more than {options.bound}")
    if share < options.share:
        sys.exit(f"a share of {share:.2f} is less than {options.share}")


if __name__ == "__main__":
    main()

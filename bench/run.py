#!/usr/bin/env python3
"""
Measure Gearman job servers side by side, in turn, in one run: C{make bench}.

Each round starts every server afresh, runs every scenario against it with the
load generator beside this file, and stops it; the order of the servers turns
from round to round. Printed are the medians of each server, and the ratios of
the first server to each other one, taken round by round, so that a slow spell
of the machine hits both sides. Only ratios of one run mean anything.

Without C{--server} it compares this txgear with gearmand, where that is
installed, and with C{floor}, a yardstick that does no more than a server must;
with C{--durable} the servers keep background jobs on disk before they answer,
and gearmand in memory is beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path

HERE = Path(__file__).resolve().parent

SCENARIOS = {
    # One job at a time: the latency of a round trip.
    "ping": "--mode fg --jobs 8000",
    # Clients and workers busy: what one server can carry.
    "busy": "--mode fg --jobs 40000 --clients 16 --pipeline 8 --workers 8",
    "many": "--mode fg --jobs 30000 --clients 256 --pipeline 1 --workers 64",
    "deep": "--mode fg --jobs 30000 --clients 1 --pipeline 64 --workers 1",
    # Background jobs: accepted, then worked.
    "accept": "--mode submit --jobs 100000 --clients 4 --pipeline 64 --function q",
    "drain": "--mode drain --jobs 100000 --workers 8 --function q",
    "steady": "--mode bg --jobs 50000 --clients 8 --pipeline 32 --workers 8 --function g",
    # Idle workers on the function: does every job wake them all?
    "herd": "--mode fg --jobs 400 --clients 1 --workers 500 --function h --timeout 60",
    # Payloads of 1 MB both ways.
    "large": "--mode fg --jobs 600 --clients 4 --pipeline 2 --workers 4 --size 1000000",
    # One queue each for 500 functions.
    "functions": "--mode fg --jobs 20000 --clients 16 --pipeline 4 --workers 8 --functions 500",
    # Last, as it leaves its jobs behind: the memory of a long queue.
    "flood": "--mode submit --jobs 200000 --clients 8 --pipeline 512 --function f",
}

DURABLE = {
    # One client that waits for each answer: the time of a commit.
    "accept1": "--mode submit --jobs 1000 --clients 1 --pipeline 1 --function a",
    "accept": "--mode submit --jobs 20000 --clients 4 --pipeline 64 --function q --timeout 600",
    "drain": "--mode drain --jobs 20000 --workers 8 --function q --timeout 600",
    "steady": "--mode bg --jobs 10000 --clients 8 --pipeline 64 --workers 8 --function g",
    "flood": "--mode submit --jobs 40000 --clients 8 --pipeline 512 --function f --timeout 600",
}
"""The scenarios for servers that keep their queue on disk."""

Figures = dict[str, float]
Table = dict[str, dict[str, list[Figures]]]


def built(name: str) -> str:
    """The program made of C{name.c} beside this file; compiled at the first use."""
    source = HERE / f"{name}.c"
    binary = Path(tempfile.gettempdir()) / f"txgear-{name}-{os.getuid()}-{int(source.stat().st_mtime)}"
    if not binary.exists():
        subprocess.run(["cc", "-O2", "-o", binary, source], check=True)
    return str(binary)


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def server_command(store: str) -> str:
    """What starts this txgear with that store."""
    twistd = shutil.which("twistd", path=os.path.dirname(sys.executable)) or "twistd"
    return f"{twistd} -n --pidfile= txgear --port {{port}} --listen 127.0.0.1 --store {store}"


def default_servers(durable: bool) -> dict[str, str]:
    """The commands of what there is to compare."""
    servers = {"txgear": server_command("sqlite:///{dir}/jobs.sqlite" if durable else "memory:")}
    gearmand = shutil.which("gearmand", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if gearmand is None:
        print("gearmand is not installed: it is left out", file=sys.stderr)
    else:
        command = f"{gearmand} --port={{port}} --listen=127.0.0.1 --log-file=stderr --pid-file={{dir}}/pid"
        if durable:
            servers["gearmand"] = f"{command} -q libsqlite3 --libsqlite3-db={{dir}}/queue.sqlite"
            servers["gearmand-memory"] = command
        else:
            servers["gearmand"] = command
    if not durable:
        servers["floor"] = f"{built('floor')} {{port}}"
    return servers


def sync_time(folder: str) -> float:
    """The median time of writing 4 kB and waiting until they are on the disk, in milliseconds."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(200):
            file.write(bytes(4096))
            file.flush()
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000


@contextmanager
def running(command: str) -> Iterator[tuple[int, int]]:
    """A server that listens: its process id and its port. It is ended by its id."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="txgear-bench-") as folder:
        words = [word.format(port=port, dir=folder) for word in shlex.split(command)]
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(words, stdout=out, stderr=out, cwd=folder)
        try:
            _wait_for(process, port, log)
            yield process.pid, port
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(200):
        if process.poll() is not None:
            break
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    sys.exit(f"{shlex.join(map(str, process.args))} does not listen:\n{log.read_text(errors='replace')}")  # type: ignore[arg-type]


def measure(
    servers: dict[str, str], scenarios: dict[str, str], rounds: int
) -> dict[str, dict[str, list[Figures]]]:
    """
    Run everything.

    @return: by scenario and server the figures of each round.
    """
    gearload = built("gearload")
    figures: Table = {s: {name: [] for name in servers} for s in scenarios}
    names = list(servers)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            with running(servers[name]) as (pid, port):
                for scenario, flags in scenarios.items():
                    words = [gearload, "--port", str(port), "--server-pid", str(pid), *flags.split()]
                    run = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
                    if run.returncode:
                        sys.exit(f"{name}, {scenario}: {run.stderr.strip()}")
                    figures[scenario][name].append(json.loads(run.stdout))
        print(f"round {turn + 1} of {rounds} done", file=sys.stderr)
    return figures


def table(figures: Table) -> str:
    """The medians and ratios as a Markdown table, and the geometric means of the ratios below it."""
    rows = [
        "| scenario | server | jobs/s | CPU us/job | p50 us | p99 us | RSS MiB | jobs/s x | CPU x |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    ratios: dict[str, list[float]] = {}
    for scenario, by_server in figures.items():
        reference = next(iter(by_server.values()))
        for name, runs in by_server.items():
            cells = [scenario, name]
            cells += [
                _middle([run[key] for run in runs if key in run], digits)
                for key, digits in (
                    ("jobs_per_s", 0),
                    ("server_cpu_us_per_job", 1),
                    ("p50_us", 0),
                    ("p99_us", 0),
                )
            ]
            cells.append(_middle([run["server_rss_kib"] / 1024 for run in runs], 0))
            for key in ("jobs_per_s", "server_cpu_us_per_job"):
                pairs = [a[key] / b[key] for a, b in zip(reference, runs, strict=True) if b.get(key)]
                if runs is reference or not pairs:
                    cells.append("")
                    continue
                ratio = statistics.median(pairs)
                cells.append(f"{ratio:.2f}")
                if key == "server_cpu_us_per_job":
                    ratios.setdefault(name, []).append(ratio)
            rows.append(f"| {' | '.join(cells)} |")
    for name, values in ratios.items():
        rows.append(
            f"\nCPU per job against {name}: {prod(values) ** (1 / len(values)):.2f} in the geometric mean."
        )
    return "\n".join(rows)


def _middle(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):,.{digits}f}" if values else ""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--server",
        action="append",
        metavar="NAME=COMMAND",
        help="a server to measure, with {port} for a free port and {dir} for an empty folder; may repeat",
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--durable", action="store_true", help="background jobs are on disk before they are answered"
    )
    parser.add_argument("--only", metavar="SCENARIO,...", help="some of the scenarios")
    parser.add_argument("--json", type=Path, help="write every figure of every round to this file")
    options = parser.parse_args()
    servers = default_servers(options.durable)
    if options.server:
        servers = dict(text.split("=", 1) for text in options.server)
    scenarios = DURABLE if options.durable else SCENARIOS
    wanted = options.only.split(",") if options.only else list(scenarios)
    unknown = [name for name in wanted if name not in scenarios]
    if unknown:
        parser.error(f"no scenario is called {', '.join(unknown)}")
    figures = measure(servers, {name: scenarios[name] for name in wanted}, options.rounds)
    print(f"{options.rounds} rounds; medians; ratios are {next(iter(servers))} / the other")
    if options.durable:
        folder = tempfile.gettempdir()
        print(f"4 kB are on the disk of {folder} after {sync_time(folder):.2f} ms (median of 200)")
    print()
    print(table(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""
Measure what policies cost: C{make bench-policies}.

This txgear with retries, kept results and a rate on every function stands beside the same server without
them, in one run, with jobs in memory and on disk (SQLite). The rate is never reached, and no job fails: what
is measured is what each job pays for what may be. Printed are medians, and the ratios of the server with
policies to the one without, taken round by round.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from run import DURABLE, SCENARIOS, STORES, Server, measure, server_command, sync_time, table

CONFIG = """\
[[function]]
name = "*"
retries = 3
results = "60s"
rate = { jobs = "1000000/s", burst = 100000 }
"""
"""A policy for every function: its rate is above all that one server does."""

NAMES = ("accept", "drain", "steady")
"""The scenarios of background jobs: only of those anything is kept."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", metavar="SCENARIO,...", help="of each kind these scenarios, by name")
    parser.add_argument("--json", type=Path, help="write every figure of every round to this file")
    options = parser.parse_args()
    kinds = {"memory": SCENARIOS, "durable": DURABLE}
    wanted = options.only.split(",") if options.only else list(NAMES)
    unknown = [name for name in wanted if not any(name in scenarios for scenarios in kinds.values())]
    if unknown:
        parser.error(f"no scenario is called {', '.join(unknown)}")
    if "drain" in wanted and "accept" not in wanted[: wanted.index("drain")]:
        parser.error("drain takes what accept has left: that is to come before it")
    figures = {}
    with tempfile.TemporaryDirectory(prefix="txgear-policies-") as folder:
        config = Path(folder) / "policies.toml"
        config.write_text(CONFIG)
        for kind, scenarios in kinds.items():
            plain = server_command(STORES.get(kind, "memory:"))
            servers = {
                "with policies": Server(f"{plain} --config {config}"),
                "without": Server(plain),
            }
            chosen = {name: scenarios[name] for name in wanted if name in scenarios}
            figures[kind] = measure(servers, chosen, options.rounds)
            print(f"{kind}: {options.rounds} rounds; medians; ratios are with policies / without")
            if kind == "durable":
                print(f"4 kB are on the disk of {folder} after {sync_time(folder):.2f} ms (median of 200)")
            print(f"\n{table(figures[kind])}\n")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

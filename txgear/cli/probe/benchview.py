"""
What C{txgear bench} writes.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from txgear.cli.base.output import write_facts, write_json
from txgear.cli.base.quantities import age, size
from txgear.cli.probe.benchrun import Latencies, Measured

SHARES: Final = (0.5, 0.9, 0.99, 0.999)
ROWS: Final = 16
"""Rows of a histogram at the most."""
WIDTH: Final = 40
"""Characters of its longest bar."""
OWN: Final = 0.9
"""A process that had a processor for this part of the time had no more to give."""
MACHINE: Final = 0.95
"""Likewise all processors together."""


def as_json(measured: Measured) -> dict[str, Any]:
    """One measurement as an object; times are in seconds."""
    load = measured.load
    return {
        "server": measured.server,
        "background": load.background,
        "size": load.size,
        "concurrency": load.concurrency,
        "jobs": measured.jobs,
        "seconds": round(measured.seconds, 3),
        "rate": round(measured.rate, 1),
        "latencies": {name: _latencies(found) for name, found in measured.latencies.items()},
        "own_share": round(measured.own, 3),
        "machine_share": None if measured.machine is None else round(measured.machine, 3),
        "interrupted": measured.interrupted,
        "warnings": warnings(measured),
    }


def _latencies(found: Latencies) -> dict[str, Any]:
    count = found.histogram.count
    return {
        "least": round(found.least, 7),
        "mean": round(found.histogram.sum / count, 7) if count else 0.0,
        **{_name(share): round(found.quantile(share), 7) for share in SHARES},
        "most": round(found.most, 7),
        "histogram": [
            {"up_to": None if upper is None else round(upper, 7), "jobs": jobs}
            for upper, jobs in zip((*found.histogram.bounds, None), found.histogram.counts, strict=True)
            if jobs
        ],
    }


def _name(share: float) -> str:
    return f"p{share * 100:g}"


def write(measured: Measured, json: bool) -> None:
    """Write one measurement."""
    if json:
        write_json(as_json(measured))
    else:
        load = measured.load
        facts = {
            "server": measured.server,
            "jobs": f"{'background' if load.background else 'foreground'}, {size(load.size)} bytes each,"
            f" {load.concurrency} at a time",
            "completed": f"{measured.jobs} in {age(measured.seconds)}",
            "rate": f"{measured.rate:.1f} jobs/s",
        }
        for name, found in measured.latencies.items():
            shares = ", ".join(f"{_name(share)} {age(found.quantile(share))}" for share in SHARES)
            facts[name] = f"least {age(found.least)}, {shares}, most {age(found.most)}"
        write_facts(facts)
        for name, found in measured.latencies.items():
            if found.histogram.count:
                sys.stdout.write(f"\n{name} within\tjobs\n" + "".join(f"{row}\n" for row in rows(found)))
    sys.stdout.flush()


def rows(found: Latencies) -> list[str]:
    """A histogram: a time, how many took no longer than it and longer than in the row above, and a bar."""
    counts = found.histogram.counts
    first = next(place for place, count in enumerate(counts) if count)
    last = max(place for place, count in enumerate(counts) if count)
    each = (last - first) // ROWS + 1
    groups = [(place, sum(counts[place : place + each])) for place in range(first, last + 1, each)]
    most = max(count for _, count in groups)
    made = []
    for place, count in groups:
        end = min(place + each, len(found.histogram.bounds)) - 1
        upper = found.most if place + each > last else found.histogram.bounds[end]
        bar = "#" * (count * WIDTH // most or (1 if count else 0))
        made.append(f"{age(upper):>8}\t{count:>8}\t{bar}".rstrip())
    return made


def warnings(measured: Measured) -> list[str]:
    """What is to be said beside the figures, so that nobody takes them for more than they are."""
    said = []
    if measured.own >= OWN:
        said.append(
            f"this process was busy {measured.own:.0%} of the time: the server can do more than that;"
            " start several at once, or from another machine"
        )
    if measured.machine is not None and measured.machine >= MACHINE:
        said.append(
            f"all processors of this machine were busy {measured.machine:.0%} of the time: so it is the limit"
        )
    return said

"""
C{txgear bench}: how fast a server is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import click

from txgear.broker.words import number
from txgear.cli.base.moments import span_value
from txgear.cli.base.options import Servers, json_option, server_options
from txgear.cli.base.output import note
from txgear.cli.base.progress import Bar
from txgear.cli.base.statuses import DONE, FAILED, CommandError
from txgear.errors import PolicyError
from txgear.quantities import size

NAME: Final = "txgear bench"
MOST_AT_ONCE: Final = 1000
MOST_SIZE: Final = 16 * 1024 * 1024
LONGEST: Final = 3600.0
"""Seconds of one measurement at the most."""


def sizes_value(text: str) -> list[int]:
    """The type of an option that is one size or several, parted by commas: C{100,4K,1M}."""
    try:
        found = [size(word.strip()) for word in text.split(",")]
    except PolicyError as error:
        raise click.BadParameter(str(error)) from error
    if max(found) > MOST_SIZE:
        raise click.BadParameter(f"{MOST_SIZE} bytes are the most")
    return found


def duration_value(text: str) -> float:
    """The type of an option that says how long something is to be done."""
    seconds = span_value(text)
    if not 0 < seconds <= LONGEST:
        raise click.BadParameter(f"more than 0 and {LONGEST:g} seconds at the most are wanted")
    return seconds


@click.command(epilog="Example: txgear bench --concurrency 50 --size 100,64K --duration 10s")
@click.option("-b", "--background", is_flag=True, help="Jobs in the background: how soon they are accepted.")
@click.option(
    "--size",
    "sizes",
    type=sizes_value,
    default="100",
    metavar="BYTES,...",
    help="Of workloads and results; one measurement for each.  [100]",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, MOST_AT_ONCE),
    default=10,
    metavar="N",
    help="Jobs under way at a time.  [10]",
)
@click.option(
    "--duration",
    type=duration_value,
    default="5s",
    metavar="TIME",
    help="How long each is measured.  [5s]",
)
@json_option
@server_options
def command(
    servers: Servers, background: bool, sizes: list[int], concurrency: int, duration: float, as_json: bool
) -> int:
    """
    Measure how many jobs a second a server does, and how long each takes.

    It brings a function and a worker of its own, and leaves nothing behind. A server in use is slowed down.
    Several servers are measured one after the other.
    """
    from txgear.cli.probe.benchrun import Bench, Load, Measured
    from txgear.cli.probe.benchtidy import tidy
    from txgear.cli.probe.benchview import warnings, write
    from txgear.cli.run.bar import BarLater
    from txgear.cli.run.reacting import check_reachable, interrupted, run

    each = [replace(servers, names=(name,)) for name in servers.names]
    for one in each:
        check_reachable(one)
    benches: list[Bench] = []
    signals: list[int] = []

    def stop(number: int) -> None:
        signals.append(number)
        note("Stopping: what is under way is still done.")
        for bench in benches:
            bench.stop()

    async def measure(reactor: Any) -> int:
        bar = BarLater(reactor)

        def progress(measured: Measured, seconds: float) -> None:
            bar.show(
                Bar(f"{measured.server}: {number(measured.jobs, 'job')}", min(seconds, duration), duration)
            )

        bench = Bench(reactor, progress)
        benches.append(bench)
        status = DONE
        for one in each:
            try:
                for length in sizes:
                    found = await bench.measure(one, Load(background, length, concurrency, duration))
                    bar.close()
                    write(found, as_json)
                    for said in warnings(found):
                        note(f"{NAME}: {said}")
                    if bench.stopped:
                        break
            finally:
                bar.close()
                left = _tidied(tidy, one, bench.function)
                if left:
                    note(f"{NAME}: {one.names[0]}: {left}")
                    status = FAILED
            if bench.stopped:
                raise interrupted(signals)
        return status

    return run(measure, NAME, stop)


def _tidied(tidy: Any, servers: Servers, function: str) -> str:
    try:
        return str(tidy(servers, function))
    except (OSError, CommandError) as error:
        return f"jobs of {function} may be left: {error}"

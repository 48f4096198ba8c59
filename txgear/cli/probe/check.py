"""
C{txgear check}: a plugin for Nagios, Naemon, Icinga and whatever else runs their plugins.
"""

from __future__ import annotations

from dataclasses import replace
from time import monotonic
from typing import Final

import click

from txgear.cli.base.options import MOST_SECONDS, TIMEOUT, Seconds, Servers, json_option, server_options
from txgear.cli.base.statuses import MISUSED, CommandError
from txgear.cli.probe.judging import CRITICAL, WARNING, Rules, parse_threshold
from txgear.cli.probe.plugin import Plugin, within

UNIQUE: Final = "check"
"""The unique of the job that a worker has to answer, as check_gearman has it."""

EPILOG: Final = """\
Example: txgear check -H gear.example -q 'mail.*' -w queued=100 -c queued=1000 -c oldest=15m -C 1:

Exit statuses: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, as for a command line that makes no sense."""


@click.command(cls=Plugin, epilog=EPILOG)
@click.option("-H", "hosts", multiple=True, metavar="HOST[:PORT]", help="The same as --server.")
@click.option("-q", "--function", "functions", multiple=True, metavar="PATTERN", help="Only these; else all.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Not these: functions nobody uses now.")
@click.option("--require", multiple=True, metavar="NAME", help="Critical where there is no such function.")
@click.option("-w", "--warning", multiple=True, metavar="THRESHOLD", help="A warning outside of it.")
@click.option("-c", "--critical", multiple=True, metavar="THRESHOLD", help="Critical outside of it.")
@click.option("-W", "workers_warning", multiple=True, metavar="RANGE", help="The same as -w workers=RANGE.")
@click.option("-C", "workers_critical", multiple=True, metavar="RANGE", help="The same as -c workers=RANGE.")
@click.option("-x", "zero", is_flag=True, help="Critical where a function has no worker.")
@click.option("-s", "--send", metavar="TEXT", help="Submit a job that a worker of -q has to answer.")
@click.option("-e", "--expect", metavar="TEXT", help="What has to stand in the answer to -s.")
@click.option("-u", "--unique", default=UNIQUE, metavar="TEXT", help=f"The unique of -s.  [{UNIQUE}]")
@click.option("-a", "--async", "background", is_flag=True, help="Of -s it is enough that it is taken.")
@click.option(
    "-t",
    "seconds",
    type=Seconds(0, MOST_SECONDS, min_open=True),
    default=TIMEOUT,
    metavar="SECONDS",
    help=f"For all of it.  [{TIMEOUT:g}]",
)
@click.option("-v", "--verbose", is_flag=True, help="A line for each function.")
@json_option
@server_options
def command(
    servers: Servers,
    as_json: bool,
    hosts: tuple[str, ...],
    functions: tuple[str, ...],
    exclude: tuple[str, ...],
    require: tuple[str, ...],
    warning: tuple[str, ...],
    critical: tuple[str, ...],
    workers_warning: tuple[str, ...],
    workers_critical: tuple[str, ...],
    zero: bool,
    send: str | None,
    expect: str | None,
    unique: str,
    background: bool,
    seconds: float,
    verbose: bool,
) -> int:
    """
    Look at a server as a plugin of Nagios, Naemon, Icinga and their kind: one line with a status, figures to
    draw, and more lines where more is wrong.

    A THRESHOLD is [FIGURE[@PATTERN]=]RANGE, such as 100, oldest=5m or 'workers@mail.*=3:'. Without a FIGURE
    it is queued; the others are running, waiting, workers, dead, kept, oldest, and of late submitted_rate,
    completed_rate, failed_rate, wait_p50, wait_p95, run_p50 and run_p95. For a figure of a function the last
    one counts that is for it. A RANGE is 10 (0 to 10 is well), 10: (10 or more), ~:10 (10 or less), 10:20, or
    0 for none; with an @ in front, as in @10:20, what is inside is not well.

    Critical in any case: no server answers, the store is away, jobs wait and there is no worker. A warning:
    a function has jobs and is paused, or is named by -q and not there.
    """
    from txgear.cli.probe.checking import Job, Wanted, checked

    thresholds = [
        *(parse_threshold(each, WARNING, "workers") for each in workers_warning),
        *(parse_threshold(each, CRITICAL, "workers") for each in workers_critical),
        *(parse_threshold(each, WARNING, "queued") for each in warning),
        *(parse_threshold(each, CRITICAL, "queued") for each in critical),
    ]
    wanted = Wanted(functions, exclude, require, Rules(thresholds, zero))
    job = None
    if send is not None:
        if len(functions) != 1 or not wanted.named():
            raise CommandError("-s: the function of the job is wanted, by its name: -q NAME", MISUSED)
        job = Job(functions[0], send, expect, unique, background)
    elif expect is not None or background:
        raise CommandError("-e and -a are of a job: -s TEXT", MISUSED)
    if hosts:
        servers = replace(servers, names=hosts)
    apis = replace(servers, timeout=min(servers.timeout, seconds)).apis()
    end = monotonic() + seconds
    try:
        with within(seconds):
            report = checked(apis, wanted, job, seconds, lambda: max(end - monotonic(), 0.0))
    finally:
        for api in apis:
            api.close()
    return report.write(as_json, verbose)

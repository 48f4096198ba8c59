"""
C{txgear submit}: jobs, and what comes of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import click

from txgear.cli.base.moments import moment_value, span_value
from txgear.cli.base.options import Servers
from txgear.cli.base.statuses import MISUSED, CommandError
from txgear.cli.run.letters import gearman_server_options
from txgear.cli.run.submitjobs import PRIORITIES, Wanted, checked
from txgear.cli.run.submitsources import STDIN, Sources
from txgear.cli.run.submittickets import FailedJobs

NAME: Final = "txgear submit"
MOST_AT_ONCE: Final = 10_000
"""Jobs that are under way at a time at the most: each has its workload in memory."""
BACKGROUND_AT_ONCE: Final = 100
"""Jobs that are under way to a server at a time where nobody waits for their end, and nothing is said."""
RESULTS: Final = "1d"
"""How long results are kept that --wait waits for, where nothing is said."""
Command = Callable[..., Any]


def setting_value(text: str) -> Any:
    """The type of an option that is a setting of a job's policy: text, a number or a JSON object."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


SETTINGS: Final = {
    "retries": ("N", 'Try it again so often when it fails; or \'{"fail": 5, "lost": 2}\'.'),
    "backoff": ("TIME", 'Wait so long before; or \'{"kind": "linear", "first": "10s"}\'.'),
    "dead": ("TIME", "Keep it so long when it has no attempt left."),
    "timeout": ("TIME", "End an attempt that takes longer."),
    "lease": ("TIME", "Take it back from a worker that is silent for so long."),
    "expires": ("TIME", "Give it up when it has not begun in time."),
    "results": ("TIME", "Keep what it brings so long, for --wait and txgear result."),
    "unique_for": ("TIME", "Keep its unique taken so long when it is done."),
}
"""What can be set for a job."""


def _setting_options(command: Command) -> Command:
    """The options for L{SETTINGS}: their names, but that C{--timeout} is another thing everywhere."""
    for name, (metavar, text) in reversed(SETTINGS.items()):
        option = "--job-timeout" if name == "timeout" else "--" + name.replace("_", "-")
        command = click.option(option, f"set_{name}", type=setting_value, metavar=metavar, help=text)(command)
    return command


def _help(context: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(context.get_help())
        context.exit()


@click.command(epilog="Example: ls *.png | txgear submit resize -N -b --failed again.jsonl")
@click.argument("words", nargs=-1, metavar="FUNCTION [WORKLOAD]...")
@click.option(
    *("-f", "--function", "functions"),
    multiple=True,
    metavar="NAME",
    help="Submit each job to this function; may be said several times. All words are workloads then.",
)
@click.option("--file", "files", multiple=True, metavar="FILE", help="The workload is in this file.")
@click.option("-n", "each_line", is_flag=True, help="Each line of the input is a job's workload.")
@click.option("-N", "stripped", is_flag=True, help="The same, without the line's end.")
@click.option("-s", "empty", is_flag=True, help="Read nothing: the workload is empty.")
@click.option("--json-workload", "as_json", is_flag=True, help="Refuse workloads that are no JSON.")
@click.option(
    "--jobs", metavar="FILE", help='Jobs from lines of JSON: {"function": "mail", "workload": "hello"}.'
)
@click.option(
    *("-u", "--unique"),
    default="",
    metavar="TEXT",
    help="Jobs with the same one are one job; - makes it of the workload.",
)
@click.option("--priority", type=click.Choice(PRIORITIES), help="Before or behind others that wait.")
@click.option("-I", "high", is_flag=True, help="High priority.")
@click.option("-L", "low", is_flag=True, help="Low priority.")
@click.option("-b", "--background", is_flag=True, help="Do not wait for the end: write the handle.")
@click.option(
    "--at",
    type=moment_value,
    metavar="TIME",
    help="In the background, not before: 18:30, '2026-12-24 18:30'.",
)
@click.option(
    "--in", "delay", type=span_value, metavar="TIME", help="In the background, so long from now: 90s, 1.5h."
)
@click.option(
    "--wait", is_flag=True, help="Wait for results of background jobs as well; they are kept for it."
)
@click.option("--within", type=span_value, metavar="TIME", help="Wait so long for a job's end at the most.")
@click.option("-t", "milliseconds", type=int, metavar="MS", help="The same, in milliseconds.")
@_setting_options
@click.option("--resend", is_flag=True, help="Submit it again when the server goes: it may run twice then.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, MOST_AT_ONCE),
    metavar="N",
    help=f"Have so many jobs under way.  [1; {BACKGROUND_AT_ONCE} in the background]",
)
@click.option("--failed", metavar="FILE", help="Append jobs that are not done, for another --jobs.")
@click.option("-P", "--prefix", is_flag=True, help="Put the function's name in front of each line.")
@click.option("-v", "--verbose", is_flag=True, help="Say handles and progress on standard error.")
@click.option("--json", "as_events", is_flag=True, help="Write all that happens as lines of JSON.")
@click.option(
    "-H", is_flag=True, is_eager=True, expose_value=False, callback=_help, help="The same as --help."
)
@gearman_server_options
def command(servers: Servers, **given: Any) -> int:
    """
    Submit jobs of a function, and write their results.

    Each WORKLOAD is a job. Without one the standard input is a workload. What comes of a job goes to the
    standard output as it comes, warnings and errors go to standard error, and the exit status is 0 if all
    jobs are done.
    """
    from txgear.cli.run.reacting import check_reachable, run

    wanted = Asked(given)
    check_reachable(servers)
    return run(lambda reactor: _submit(reactor, servers, wanted), NAME)


async def _submit(reactor: Any, servers: Servers, wanted: Asked) -> int:
    from txgear.cli.run.reacting import client_arguments, close, made
    from txgear.cli.run.submitfeed import Feed
    from txgear.cli.run.submitrun import Manner, SubmitRun
    from txgear.cli.run.submitview import JsonView, TextView, View
    from txgear.client import Client

    client = made(Client, reactor, **client_arguments(servers), client_id="txgear-submit")
    manner = Manner(
        wanted.background,
        wanted.wait,
        wanted.within,
        wanted.resend,
        wanted.concurrency,
        wanted.alike,
    )
    view: View
    if wanted.as_events:
        view = JsonView(reactor, NAME)
    else:
        as_handles = wanted.background and not wanted.wait
        view = TextView(reactor, NAME, wanted.prefix, wanted.verbose, as_handles)
    try:
        return await SubmitRun(reactor, client, Feed(reactor, wanted.jobs), view, manner, wanted.failed).go()
    finally:
        view.finish()
        await close(client, reactor)


class Asked:
    """
    What the command line asks for.

    @ivar jobs: all jobs, read as they are wanted.
    @ivar failed: where those are written that are not done, or C{None}.
    @ivar alike: whether all are of the command line's functions.

    The others are as in L{Manner<txgear.cli.run.submitrun.Manner>}.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        """
        @param given: the options, by name.
        @raise CommandError: they make no sense.
        """
        timed = given["at"] is not None or given["delay"] is not None
        self.background: bool = given["background"] or timed
        self.wait: bool = given["wait"]
        if self.wait and not self.background:
            raise CommandError("--wait is for jobs in the background; others are waited for anyhow", MISUSED)
        self.within = self._within(given)
        if self.within is not None and self.background and not self.wait:
            raise CommandError("--within: nobody waits for jobs in the background, without --wait", MISUSED)
        at_once = BACKGROUND_AT_ONCE if self.background and not self.wait else 1
        self.concurrency: int = given["concurrency"] or at_once
        self.resend: bool = given["resend"]
        self.as_events: bool = given["as_events"]
        self.prefix: bool = given["prefix"]
        self.verbose: bool = given["verbose"]
        functions, workloads = self._names(given)
        self.alike = given["jobs"] is None
        sources = Sources(
            workloads,
            given["files"],
            given["jobs"],
            given["empty"],
            given["each_line"] or given["stripped"],
            given["stripped"],
            given["as_json"],
        )
        sources.check()
        usual = self._usual(given)
        for function in functions:
            checked(replace(usual, function=function), "")
        self.jobs = sources.jobs_of(functions, usual)
        read = given["jobs"] if given["jobs"] != STDIN else None
        self.failed = None if given["failed"] is None else FailedJobs(given["failed"], read)

    @staticmethod
    def _within(given: Mapping[str, Any]) -> float | None:
        milliseconds: int | None = given["milliseconds"]
        if milliseconds is None:
            return given["within"]  # type: ignore[no-any-return]
        if given["within"] is not None:
            raise CommandError("-t and --within say the same thing", MISUSED)
        # gearman takes what is not positive for no bound.
        return milliseconds / 1000 if milliseconds > 0 else None

    @staticmethod
    def _names(given: Mapping[str, Any]) -> tuple[list[bytes], list[bytes]]:
        """The functions, and the workloads among the words."""
        words = [os.fsencode(word) for word in given["words"]]
        functions = [os.fsencode(name) for name in given["functions"]]
        if given["jobs"] is not None:
            if len(words) + len(functions) > 1:
                raise CommandError("--jobs: one function at the most, for lines that name none", MISUSED)
            return functions + words, []
        if functions:
            return functions, words
        if not words:
            raise click.UsageError("Missing argument 'FUNCTION'.", click.get_current_context(silent=True))
        return words[:1], words[1:]

    def _usual(self, given: Mapping[str, Any]) -> Wanted:
        """What holds for jobs that do not say something else."""
        if given["high"] + given["low"] + (given["priority"] is not None) > 1:
            raise CommandError("-I, -L and --priority: a job has one priority", MISUSED)
        priority = "high" if given["high"] else "low" if given["low"] else given["priority"] or "normal"
        policy = {name: given[f"set_{name}"] for name in SETTINGS if given[f"set_{name}"] is not None}
        if self.wait:
            policy.setdefault("results", RESULTS)
        return Wanted(b"", b"", os.fsencode(given["unique"]), priority, given["at"], given["delay"], policy)

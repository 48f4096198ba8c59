"""
C{txgear work}: jobs done by a command.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final, TypeVar

import click

from txgear.cli.base.moments import span_value
from txgear.cli.base.options import Servers, json_option
from txgear.cli.base.statuses import MISUSED, CommandError
from txgear.cli.run.detach import Detached
from txgear.cli.run.letters import gearman_server_options
from txgear.cli.run.reacting import check_reachable, run
from txgear.runtime.processgroups import Guard

NAME: Final = "txgear work"
MOST_JOBS: Final = 1000
"""Commands at once: each has a process and three pipes."""
MOST_SECONDS: Final = 2_000_000.0
"""Seconds that a command may take, where it may not take for ever: 23 days."""
KILL_SECONDS: Final = 5.0
OF_COMMANDS: Final = ("stream", "stream_bare", "progress", "plain_fail", "time_limit")

F = TypeVar("F", bound=Callable[..., Any])


def limit_value(text: str) -> float:
    """The type of an option that is a time for which a timer can wait: seconds."""
    seconds = span_value(text)
    if seconds > MOST_SECONDS:
        raise click.BadParameter(f"{text} is more than {MOST_SECONDS / 86400:.0f} days")
    return seconds


class BehindDashes(click.Command):
    """A command line of which all behind the first C{--} is another one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As in click."""
        ours, theirs = args, []
        if "--" in args:
            place = args.index("--")
            ours, theirs = args[:place], args[place + 1 :]
            if not theirs:
                raise click.UsageError("a command is wanted behind --", ctx)
        ctx.meta[NAME] = tuple(theirs)
        return super().parse_args(ctx, ours)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """As in click."""
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND [ARG]...]"]


def detachable(command: F) -> F:
    """Give a command C{-d}: it is called in the background, with C{ready}, which it calls once it works."""

    @wraps(command)
    def called(*arguments: Any, daemon: bool, **rest: Any) -> Any:
        if not daemon:
            return command(*arguments, ready=lambda: None, **rest)
        detached = Detached()
        if detached.status is not None:
            return detached.status
        return command(*arguments, ready=detached.ready, **rest)

    click.option(
        "-d", "--daemon", is_flag=True, help="Go to the background once it works; fail if it cannot."
    )(called)
    return called  # type: ignore[return-value]


@click.command(
    cls=BehindDashes,
    epilog="Example: txgear work resize --jobs 4 --time-limit 2m -- convert - -resize 50% jpg:-",
)
@click.argument("functions", metavar="FUNCTION...", nargs=-1)
@click.option(
    "-f", "--function", "more", multiple=True, metavar="FUNCTION", help="One more function; as in gearman."
)
@click.option(
    "--jobs", type=click.IntRange(1, MOST_JOBS), default=1, metavar="N", help="Commands at once.  [1]"
)
@click.option("-c", "--count", type=click.IntRange(1), metavar="N", help="End after so many jobs.")
@click.option(
    "-n", "--stream", is_flag=True, help="Send each line of output as it comes, as data of the job."
)
@click.option("-N", "--stream-bare", is_flag=True, help="The same, without the ends of the lines.")
@click.option(
    "--time-limit",
    type=limit_value,
    default="0",
    metavar="TIME",
    help="End a command, and all that it has started, after so long: 90s, 2h. Its job fails.",
)
@click.option(
    "--kill-after",
    type=limit_value,
    metavar="TIME",
    default=f"{KILL_SECONDS:g}",
    help=f"Between the SIGTERM that asks it to end and the SIGKILL.  [{KILL_SECONDS:g}s]",
)
@click.option(
    "--stderr",
    type=click.Choice(["show", "warning", "hide"]),
    default="show",
    help="Its standard error: ours too, or a warning of the job for each line, or nothing. The last lines are"
    " in the text of a failure anyway.  [show]",
)
@click.option("--plain-fail", is_flag=True, help="A job that fails has no text: WORK_FAIL, as in gearman.")
@click.option(
    "--progress",
    is_flag=True,
    help="Lines that it writes to descriptor 3, 3/10 or 30%, are the job's progress.",
)
@click.option("--client-id", metavar="NAME", help="What servers call this worker.  [txgear-work-PID]")
@click.option("-v", "--verbose", is_flag=True, help="A line for each job; as on a terminal.")
@json_option
@detachable
@gearman_server_options
def command(servers: Servers, ready: Callable[[], object], **given: Any) -> int:
    """
    Do jobs with a command.

    It gets a job's workload on its standard input; what it writes is the result. A job fails if its exit
    status is not 0, or a signal ends it. Without a command, workloads are written to the standard output.

    It knows the job by TXGEAR_HANDLE, _FUNCTION, _UNIQUE, _ATTEMPT and _SIZE.

    SIGTERM and SIGINT end the worker when the commands that run have ended; a second one ends these, and the
    server gets their jobs back. So it does when the connection to it is lost.
    """
    words: Sequence[str] = click.get_current_context().meta[NAME]
    names = [os.fsencode(name) for name in (*given["functions"], *given["more"])]
    check_functions(names)
    if words:
        check_command(words)
    elif unused := [name for name in OF_COMMANDS if given[name]]:
        option = unused[0].replace("_", "-")
        raise CommandError(f"--{option} is for a command, which stands behind --", MISUSED)
    check_reachable(servers)
    # Before Twisted is there: a process that has threads must not be forked.
    guard = Guard(given["kill_after"]) if words else None

    from txgear.cli.run.working import Plan, Work
    from txgear.runtime.commandjobs import Manner

    manner = Manner(
        words,
        lines=given["stream"] or given["stream_bare"],
        strip=given["stream_bare"],
        progress=given["progress"],
        stderr=given["stderr"],
        plain_fail=given["plain_fail"],
        limit=given["time_limit"],
        grace=given["kill_after"],
        hint=": --stream sends it as it comes",
    )
    plan = Plan(
        names,
        manner if words else None,
        given["jobs"],
        given["count"],
        given["client_id"] or f"txgear-work-{os.getpid()}",
        given["verbose"] or sys.stderr.isatty(),
        given["as_json"],
    )
    works: list[Work] = []

    async def work(reactor: Any) -> int:
        works.append(Work(reactor, servers, plan, guard, ready))
        return await works[0].work()

    return run(work, NAME, lambda _: works[0].stop())


def check_functions(names: Sequence[bytes]) -> None:
    """
    @raise CommandError: there are none, or one twice.
    """
    if not names:
        raise CommandError("a function is wanted: txgear work FUNCTION -- COMMAND", MISUSED)
    for name in names:
        if names.count(name) > 1:
            shown = name.decode("utf-8", "backslashreplace")
            raise CommandError(f"function {shown!r} is there twice; a command stands behind --", MISUSED)


def check_command(words: Sequence[str]) -> None:
    """
    @raise CommandError: there is no such program.
    """
    if shutil.which(words[0]) is None:
        there = os.path.exists(words[0]) and "/" in words[0]
        why = "is no program that may be run" if there else "there is no such program"
        raise CommandError(f"{words[0]}: {why}", MISUSED)

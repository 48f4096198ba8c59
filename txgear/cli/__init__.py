"""
The C{txgear} command. Each subcommand is a module of its own name, imported when it is wanted: a command
starts in a tenth of a second, whatever the others need.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import click

from txgear._version import __version__
from txgear.cli.base.statuses import FAILED, INTERRUPTED, MISUSED, CommandError
from txgear.daemon.descriptors import open_standard_descriptors
from txgear.errors import ConfigurationError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Entry(NamedTuple):
    """
    A subcommand.

    @ivar module: where it is, below this package. Its C{command} is one of click's; where another program is
        imitated it has a C{run} instead, which is given the words after the name and returns the status.
    @ivar help: a line for the list of all.
    """

    module: str
    help: str


IMITATED: Final = "Instead of other programs"

SECTIONS: Final[dict[str, dict[str, Entry]]] = {
    "Look": {
        "audit": Entry("look.audit", "What operators and others did lately, or were refused"),
        "cluster": Entry("look.cluster", "The servers that have one database"),
        "connections": Entry("look.connections", "Who is connected"),
        "dead": Entry("look.dead", "Jobs that failed and have no attempt left"),
        "function": Entry("look.function", "All that is known of one function"),
        "history": Entry("look.history", "The last hour or day, of a server or a function"),
        "identities": Entry("look.identities", "Who is known, and what each has"),
        "info": Entry("look.info", "What a server is: its version, store and ports"),
        "job": Entry("look.job", "All that is known of one job; or follow it to its end"),
        "jobs": Entry("look.jobs", "Jobs that are not over"),
        "kept": Entry("look.kept", "Other jobs that are over and still known"),
        "policies": Entry("look.policies", "The rules in force for functions"),
        "result": Entry("look.result", "What a job has brought"),
        "reviews": Entry("look.reviews", "Dead jobs that are set aside"),
        "schedules": Entry("look.schedules", "What is submitted by the clock"),
        "settings": Entry("look.settings", "What a server was started with"),
        "status": Entry("look.status", "What all functions have to do, in one table"),
        "store": Entry("look.store", "Where jobs are kept, and how that does"),
        "tasks": Entry("look.tasks", "What is done to many jobs on the server"),
        "top": Entry("top.top", "Watch servers as they work, and act by keys"),
        "worker": Entry("look.worker", "All that is known of one worker; or tell it something"),
        "workers": Entry("look.workers", "Who can do what, and what each does"),
        "workload": Entry("look.workload", "What a job is to be done with"),
    },
    "Run": {
        "run": Entry("run.runworkers", "Run workers in processes, as a file says"),
        "submit": Entry("run.submit", "Submit jobs, and write their results"),
        "work": Entry("run.work", "Do jobs with a command"),
    },
    "Act": {
        "cancel": Entry("act.cancel", "End jobs that are not over"),
        "copy": Entry("act.copy", "Submit the same job once more"),
        "create": Entry("act.create", "Have a function known although nobody uses it"),
        "drain": Entry("act.drain", "Have a server finish its work, and end"),
        "drop": Entry("act.drop", "Forget a function that nobody uses"),
        "forget": Entry("act.forget", "Forget jobs that are over"),
        "maxqueue": Entry("act.maxqueue", "Bound the queue of a function"),
        "move": Entry("act.move", "Make jobs those of another function"),
        "pause": Entry("act.pause", "Hand out no more jobs of a function"),
        "priority": Entry("act.priority", "Give jobs another priority"),
        "purge": Entry("act.purge", "Cancel all jobs of a function that no worker has"),
        "reload": Entry("act.reload", "Have a server read its file again"),
        "resume": Entry("act.resume", "Hand out jobs of a paused function again"),
        "retry": Entry("act.retry", "Queue dead jobs again"),
        "review": Entry("act.review", "Set dead jobs aside, or put them back"),
        "run-schedule": Entry("act.run_schedule", "Submit the job of a schedule at once"),
        "shutdown": Entry("act.shutdown", "End a server"),
        "steer": Entry("act.steer", "Tell workers to pause, to stop, to do other functions"),
        "stop-task": Entry("act.stop_task", "Stop a task of a server: what is done to many jobs"),
        "task": Entry("act.task", "How far a task of a server is"),
    },
    "Look after a server": {
        "access": Entry("care.access", "See who may do what, by the server's file"),
        "bench": Entry("probe.bench", "Measure how fast a server is"),
        "check": Entry("probe.check", "Watch a server, as a plugin of Nagios, Naemon or Icinga"),
        "completion": Entry("care.completion", "Have a shell complete the words of this command"),
        "config": Entry("care.config", "Check the server's file"),
        "diagnose": Entry("probe.diagnose", "Say why nothing happens"),
        "import": Entry("care.import_", "Take over the jobs that a gearmand has stored"),
        "ping": Entry("probe.ping", "Say whether a server is alive, for health checks"),
        "token": Entry("care.token", "Make a token for a client or a worker"),
        "trace": Entry("probe.trace", "Show the packets of connections by name"),
    },
    IMITATED: {
        "gearadmin": Entry("imitate.gearadmin", "Do what gearmand's gearadmin does, word by word"),
        "gearman": Entry("imitate.gearman", "Do what gearmand's gearman does, word by word"),
        "gearmand": Entry("imitate.gearmand", "Start the server with gearmand's command line"),
    },
}
"""All subcommands, as C{txgear --help} lists them."""

COMPLETE: Final = "_TXGEAR_COMPLETE"
"""What the environment has where a shell asks how a word may go on: click's name for it."""

COMMANDS: Final = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class Imitation(click.Command):
    """A subcommand with a command line of its own."""

    def __init__(self, name: str, run: Callable[[Sequence[str]], int]) -> None:
        super().__init__(name, add_help_option=False)
        self._run = run

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As in click: all words are its own."""
        ctx.args = args
        return args

    def invoke(self, ctx: click.Context) -> int:
        """As in click."""
        return self._run(ctx.args)


class Interrupted(Exception):
    """SIGINT has come."""


class Root(click.Group):
    """All subcommands; only the one that is wanted is imported."""

    def invoke(self, ctx: click.Context) -> Any:
        """As in click, which would end the line where there is none."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """As in click."""
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click, which has suggestions for options only."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = " or ".join(get_close_matches(args[0], COMMANDS))
            if not near:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near}?", error.ctx) from error

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """As in click."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module: Any = import_module(f"txgear.cli.{entry.module}")
        command: click.Command | None = getattr(module, "command", None)
        if command is None:
            return Imitation(cmd_name, module.run)
        if COMPLETE in os.environ:
            from txgear.cli.care.completing import prepare

            prepare(cmd_name, command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """As in click, without an import of each."""
        from click.shell_completion import CompletionItem

        found = [(name, entry.help) for name, entry in COMMANDS.items() if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=help) for name, help in found), *options]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As in click, without an import of each."""
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.help) for name, entry in entries.items()])


@click.group(
    cls=Root,
    name="txgear",
    context_settings={"max_content_width": 100},
    epilog="txgear COMMAND --help says more of a command. The server itself is started by: twistd -n txgear",
)
@click.version_option(__version__, message="txgear %(version)s")
def root() -> None:
    """Submit jobs to Gearman servers, work, and see and change what goes on there."""


def _drop_output() -> None:
    """Write nothing more, and nothing of what is left: at its end Python would try once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str) -> None:
    """Say what is wrong in one line; it may have what others have said. The status tells it as well."""
    from txgear.cli.base.output import printable

    # Nobody may be there to be told, or no space.
    with suppress(OSError):
        print(printable(text), file=sys.stderr)


def own_words(argv: Sequence[str]) -> list[str]:
    """
    The words of a process's command line. By a link with the name of a program that is imitated it is that
    program.
    """
    called = os.path.basename(argv[0])
    return [called, *argv[1:]] if called in SECTIONS[IMITATED] else list(argv[1:])


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run C{txgear SUBCOMMAND ...}.

    @param arguments: the words after C{txgear}; the process's own by default.
    @return: the exit status; L{txgear.cli.base.statuses} has those that all commands share.
    """
    if arguments is None:
        open_standard_descriptors()
    words = own_words(sys.argv) if arguments is None else list(arguments)
    words = words or ["--help"]
    name = f"txgear {words[0]}" if words and words[0] in COMMANDS else "txgear"
    if COMPLETE in os.environ:
        from txgear.cli.care.completing import install

        install()
    try:
        status = root.main(words, prog_name="txgear", standalone_mode=False)
        # Here, and not at the end of the process, where it would be a traceback.
        sys.stdout.flush()
        return status or 0
    except click.exceptions.NoArgsIsHelpError as error:
        context = error.ctx
        there = ", ".join(cast("click.Group", context.command).list_commands(context))
        _say(f"{context.command_path}: a command is wanted: {there} (see {context.command_path} --help)")
        return MISUSED
    except click.UsageError as error:
        where = name if error.ctx is None else error.ctx.command_path
        # Of a choice click lists what there is line by line.
        said = " ".join(error.format_message().split())
        for theirs, plain in (("valid float range", "number"), ("valid integer range", "whole number")):
            said = said.replace(f"is not a {theirs}", f"is no {plain}")
        after = next((word for word in words if word in COMMANDS), "")
        if isinstance(error, click.NoSuchOption) and where == "txgear" and after:
            said = f"{said} A command's options stand after it: txgear {after} {error.option_name} ..."
        _say(f"{where}: {said} (see {where} --help)")
        return MISUSED
    except CommandError as error:
        _say(f"{name}: {error.text}")
        return error.status
    except ConfigurationError as error:
        _say(f"{name}: {error}")
        return FAILED
    except BrokenPipeError:
        # Whoever reads has seen enough, as `head` has.
        _drop_output()
        return FAILED
    except OSError as error:
        if error.strerror is None:
            # None of the system's: a fault of ours.
            raise
        try:
            sys.stdout.flush()
        except OSError:
            _drop_output()
        _say(": ".join([name, *([str(error.filename)] if error.filename else []), error.strerror]))
        return FAILED
    except SystemExit as ended:
        # How argparse ends after its help, and the server's options where they make no sense.
        if not isinstance(ended.code, str):
            return ended.code or 0
        _say(ended.code)
        return FAILED
    except (Interrupted, click.Abort) as error:
        # A terminal has shown ^C; at the end of the input click has ended the line.
        if isinstance(error, Interrupted) and sys.stderr.isatty():
            sys.stderr.write("\n")
        _say(f"{name}: interrupted")
        return INTERRUPTED

"""
How a plugin of Nagios ends: in time, with a line on standard output, and with a status of theirs.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from txgear.cli.base.output import printable
from txgear.cli.base.statuses import CommandError
from txgear.cli.probe.judging import NAMES, UNKNOWN


class Overdue(Exception):
    """The time for all of it is over."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """
    A bound on all that is done here, waiting for names and for sockets included.

    @raise Overdue: the time is over.
    """

    def over(number: int, frame: object) -> NoReturn:
        raise Overdue

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def line_of(status: int, text: str) -> str:
    """The first line of a plugin."""
    return f"TXGEAR {NAMES[status]} - {one_line(text)}"


def one_line(text: str) -> str:
    """Text that does not begin the figures, and no other line."""
    return printable(text).replace("|", "\\x7c")


class Plugin(click.Command):
    """A command whose mistakes are the status UNKNOWN, and a line on standard output."""

    def make_context(self, *arguments: Any, **rest: Any) -> click.Context:
        """As in click."""
        try:
            return super().make_context(*arguments, **rest)
        except click.UsageError as error:
            print(line_of(UNKNOWN, f"{error.format_message()} (see txgear check --help)"))
            raise click.exceptions.Exit(UNKNOWN) from error

    def invoke(self, ctx: click.Context) -> Any:
        """As in click."""
        try:
            status = super().invoke(ctx)
            sys.stdout.flush()
            return status
        except OSError as error:
            # Nobody sees what is written: said where it can be, and by the status.
            raise CommandError(f"cannot write what was found: {error.strerror}", UNKNOWN) from error
        except CommandError as error:
            print(line_of(UNKNOWN, error.text))
            return UNKNOWN
        except Exception as error:
            # Python's own status for what nobody has caught is 1, which would be a warning.
            traceback.print_exc(file=sys.stderr)
            print(line_of(UNKNOWN, f"{type(error).__name__}: {error}"))
            return UNKNOWN

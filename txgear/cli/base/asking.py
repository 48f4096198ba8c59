"""
Asks whether something is meant, before it is done.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, TextIO

import click

from txgear.cli.base.output import printable
from txgear.cli.base.statuses import FAILED, MISUSED, CommandError

TERMINAL: Final = "/dev/tty"
"""The terminal of whoever has started a command, whatever its standard input is."""
LONGEST_ANSWER: Final = 100

yes_option: Final = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


@contextmanager
def people(given_to_input: bool = False) -> Iterator[TextIO | None]:
    """
    Where somebody can answer; C{None} for nowhere.

    @param given_to_input: whether the standard input has something else than answers.
    """
    if not sys.stderr.isatty():
        # Nobody would see the question.
        yield None
    elif not given_to_input:
        yield sys.stdin if sys.stdin.isatty() else None
    else:
        with ExitStack() as stack:
            try:
                terminal = stack.enter_context(open(TERMINAL, encoding="utf-8", errors="replace"))
            except OSError:
                terminal = None
            yield terminal


def be_sure(question: str, answers: TextIO | None, said: Callable[[str], None] | None = None) -> None:
    """
    Go on only if somebody wants that.

    @param question: such as C{Cancel 3 jobs?}
    @param answers: as L{people} has it.
    @param said: shows the question; by default on standard error.
    @raise CommandError: it is not wanted, or nobody can be asked.
    """
    if answers is None:
        raise CommandError(f"{question} There is no terminal for the answer; --yes gives it", MISUSED)
    (said or _show)(f"{question} [y/N] ")
    answer = answers.readline(LONGEST_ANSWER)
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandError("nothing has been done", FAILED)


def _show(question: str) -> None:
    sys.stderr.write(printable(question))
    sys.stderr.flush()

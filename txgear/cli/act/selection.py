"""
Which jobs an act is for: those that are named, or all that match a filter, in the words of the lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, TypeVar

import click

from txgear.cli.act.acts import STDIN
from txgear.cli.base.api import as_shown
from txgear.cli.base.asking import yes_option
from txgear.cli.base.options import json_option
from txgear.cli.base.statuses import MISUSED, CommandError

F = TypeVar("F", bound=Callable[..., Any])

_ENDED: Final = ("function", "unique", "text")
FILTERS: Final[Mapping[str, Sequence[str]]] = {
    "jobs": (*_ENDED, "state", "worker", "older"),
    "dead": (*_ENDED, "reason", "review"),
    "kept": _ENDED,
}
"""By the name of a list, what its jobs are looked for by."""

_HELP: Final = {
    "function": ("PATTERN", "All of functions whose name is like it: 'mail.*'; '*' is all."),
    "unique": ("TEXT", "All with this unique."),
    "text": ("TEXT", "All with this in their unique, workload or message."),
    "state": ("STATE,...", "All that are waiting, storing, queued or running."),
    "worker": ("TEXT", "All at workers with this in their client id or address."),
    "older": ("TIME", "All that were submitted so long ago, or longer: 90s, 2h."),
    "reason": ("REASON,...", "All that ended by fail, exception, timeout, silent, lost."),
    "review": ("NAME", "All that are set aside in this review."),
}
_KINDS: Final = {
    "dead": "Of the dead, not of those that are not over.",
    "kept": "Of others that are over and kept, not of the dead.",
}


@dataclass(frozen=True)
class Selection:
    """
    Which jobs, and how it is done.

    @ivar handles: the handles of jobs, with C{-} for those on standard input; or none, and there is a
    @ivar filter: which jobs; all of it holds for each.
    @ivar of: of which list they are then: C{jobs}, C{dead} or C{kept}.
    @ivar preview: whether those that match are only counted.
    @ivar yes: whether nobody is asked.
    @ivar as_json: whether JSON is written.
    """

    handles: Sequence[str]
    filter: Mapping[str, str]
    of: str
    preview: bool
    yes: bool
    as_json: bool

    @property
    def from_input(self) -> bool:
        """Whether handles come from standard input."""
        return STDIN in self.handles


def selected(
    handles: Sequence[str],
    given: Mapping[str, str | None],
    of: str,
    *,
    preview: bool,
    yes: bool,
    as_json: bool,
) -> Selection:
    """
    @param handles: words of the command line.
    @param given: by name, what is to be matched; C{None} for what is not said.
    @raise CommandError: it is not said which jobs, or in two ways; or these have no such thing.
    """
    matched = {name: as_shown(value) for name, value in given.items() if value is not None}
    if handles and matched:
        raise CommandError("handles, or a filter such as --function: not both", MISUSED)
    if handles and preview:
        raise CommandError("--preview counts what matches a filter, such as --function 'mail.*'", MISUSED)
    if not handles and not matched:
        raise CommandError("which jobs? HANDLEs, or a filter: --function '*' is for all", MISUSED)
    for name in matched:
        if name not in FILTERS[of]:
            lists = " and ".join(each for each, names in FILTERS.items() if name in names)
            raise CommandError(f"--{name}: only {lists} are looked for by it, not {of}", MISUSED)
    return Selection(handles, matched, of, preview, yes, as_json)


def selection_options(*kinds: str) -> Callable[[F], F]:
    """
    Give a command handles and filters; it is called with C{selection}.

    @param kinds: of which lists its jobs may be: the first one where nothing is said.
    """
    names = [name for name in _HELP if any(name in FILTERS[kind] for kind in kinds)]

    def decorated(command: F) -> F:
        @wraps(command)
        def called(
            *arguments: Any,
            handles: tuple[str, ...],
            preview: bool,
            yes: bool,
            as_json: bool,
            **rest: Any,
        ) -> Any:
            given = {name: rest.pop(f"filter_{name}") for name in names}
            of = kinds[0]
            for kind in kinds[1:]:
                if rest.pop(f"of_{kind}"):
                    of = kind
            chosen = selected(handles, given, of, preview=preview, yes=yes, as_json=as_json)
            return command(*arguments, selection=chosen, **rest)

        options: list[Callable[[Any], Any]] = [
            click.argument("handles", metavar="[HANDLE]...", nargs=-1),
            *(_filter(name) for name in names),
            *(click.option(f"--{kind}", f"of_{kind}", is_flag=True, help=_KINDS[kind]) for kind in kinds[1:]),
            click.option("--preview", is_flag=True, help="Only count those that match."),
            yes_option,
            json_option,
        ]
        for option in reversed(options):
            option(called)
        return called  # type: ignore[return-value]

    return decorated


def _filter(name: str) -> Callable[[Any], Any]:
    metavar, text = _HELP[name]
    return click.option(f"--{name}", f"filter_{name}", metavar=metavar, help=text)

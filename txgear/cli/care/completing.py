"""
How the words of the command may go on, for shells.

click knows commands and options. What it does not know is on the server, or a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

from txgear.cli.base.options import OPTIONS, TIMEOUT, servers_of
from txgear.cli.base.statuses import CommandError

if TYPE_CHECKING:
    from txgear.cli.base.api import Api

SECONDS: Final = 1.0
"""Seconds for which somebody who has pressed the key waits for a server at the most."""
NAMES: Final = 100
"""Names of a kind that are shown at the most."""
PATTERN_SIGNS: Final = frozenset("*?[\\")

FUNCTIONS: Final = frozenset(
    (
        "exclude",
        "filter_function",
        "function",
        "functions",
        "more",
        "pattern",
        "require",
        "to",
    )
)
HANDLES: Final = frozenset(("handle", "handles"))
SCHEDULES: Final = frozenset(("schedules",))
"""What parameters are called that take such names."""

BASH: Final = """\
%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$(printf '%%q' "$value")") ;;
        esac
    done < <(COMP_WORDS="${COMP_LINE:0:COMP_POINT}" COMP_CWORD="$COMP_WORDBREAKS" \
%(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""
"""
What is different from click's own: the line is not cut at colons, which handles have, and what is answered is
quoted where it has to be.
"""

Names = Callable[["Api", str], Iterator[str]]


class _WholeWords(ShellComplete):
    """Answers with whole words, where the beginning of one is an option: C{--function=mail}."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """As in click."""
        items = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if not equals or not option.startswith("--"):
            return items
        return [
            CompletionItem(f"{option}={item.value}", item.type, item.help) if item.type == "plain" else item
            for item in items
        ]


class Bash(_WholeWords, BashComplete):
    """For bash, which replaces what stands behind the last colon or equals sign of a word."""

    source_template: ClassVar[str] = BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """As in click, from the line up to the cursor."""
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)
        incomplete = "" if not words or line[-1].isspace() else words.pop()
        return words[1:], incomplete

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """As in click."""
        breaks = set(os.environ["COMP_CWORD"]) & {":", "="}
        stays = max((incomplete.rfind(sign) for sign in breaks), default=-1) + 1
        items = super().get_completions(args, incomplete)
        return [CompletionItem(item.value[stays:], item.type, item.help) for item in items]


class Zsh(_WholeWords, ZshComplete):
    """For zsh."""


class Fish(_WholeWords, FishComplete):
    """For fish; names may have commas."""

    source_template: ClassVar[str] = FishComplete.source_template.replace(
        'string split ","', 'string split -m 1 ","'
    )


CLASSES: Final[dict[str, type[ShellComplete]]] = {"bash": Bash, "zsh": Zsh, "fish": Fish}


def install() -> None:
    """Have click use these."""
    for name, each in CLASSES.items():
        add_completion_class(each, name)


def script(shell: str, command: click.Command) -> str:
    """
    What a shell has to read.

    @param shell: a key of L{CLASSES}.
    @param command: the whole command.
    """
    # Not by `source`: click would run bash, to see which one it is.
    made = CLASSES[shell](command, {}, "txgear", "_TXGEAR_COMPLETE")
    return made.source_template % made.source_vars()


def prepare(name: str, command: click.Command) -> None:
    """Have the parameters of a subcommand complete what is on the server, and files."""
    # These are about a file, and not about a server.
    asks = any(param.name == "server" for param in command.params)
    for param in command.params:
        if names := names_for(name, param.name or ""):
            if asks:
                param.shell_complete = partial(from_server, names)  # type: ignore[method-assign]
        elif (param.metavar or (param.name or "").upper()).startswith("FILE"):
            param.shell_complete = files  # type: ignore[method-assign]
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            prepare(name, inner)


def names_for(command: str, param: str) -> Names | None:
    """What gives the names that a parameter takes; C{None} for one that takes none."""
    if param in FUNCTIONS or (command, param) == ("submit", "words"):
        return functions
    if param in HANDLES or (command, param) == ("copy", "names"):
        return handles
    return schedules if param in SCHEDULES else None


def files(ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
    """The shell itself knows them."""
    return [CompletionItem(incomplete, type="file")]


def from_server(names: Names, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
    """What the servers that are named have; nothing where they do not say it soon."""
    given = {name: ctx.params.get(name) for name in OPTIONS}
    given |= {"server": given["server"] or (), "timeout": min(given["timeout"] or TIMEOUT, SECONDS)}
    found: dict[str, None] = {}
    try:
        for api in servers_of(**given).apis():  # type: ignore[arg-type]
            found.update(dict.fromkeys(names(api, incomplete)))
    except CommandError:
        # Whoever has pressed the key is not told: the command itself will say it.
        pass
    return [CompletionItem(name) for name in list(found)[:NAMES] if name.startswith(incomplete)]


def functions(api: Api, incomplete: str) -> Iterator[str]:
    """Names of functions."""
    if not PATTERN_SIGNS & set(incomplete):
        page = _page(api, "functions", function=f"{incomplete}*")
        yield from (row["function"] for row in page["functions"])


def handles(api: Api, incomplete: str) -> Iterator[str]:
    """Handles of jobs: of live ones, dead ones and kept ones, of each kind the first."""
    for path, member in (("jobs", "jobs"), ("dead", "jobs"), ("kept", "jobs")):
        yield from (row["handle"] for row in _page(api, path)[member])


def schedules(api: Api, incomplete: str) -> Iterator[str]:
    """Names of schedules."""
    yield from (row["name"] for row in api.get("/api/v1/schedules")["schedules"])


def _page(api: Api, what: str, **query: Any) -> Any:
    return api.get(f"/api/v1/{what}", {"limit": NAMES, **query})

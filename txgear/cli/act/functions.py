"""
What acts on functions share: they are done at every server that is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final

import click

from txgear.cli.act.acts import Fleet, Row, Step, carry_out
from txgear.cli.base.api import ROOT, Api, as_shown, path_of
from txgear.cli.base.output import Column
from txgear.cli.base.statuses import MISUSED, CommandError

function_names = click.argument("functions", metavar="FUNCTION...", nargs=-1, required=True)
"""The argument of a command that is for functions by their names."""
function_names_or_pattern = click.argument("functions", metavar="[FUNCTION]...", nargs=-1)
pattern_option = click.option(
    "--function",
    "pattern",
    metavar="PATTERN",
    help="All that the server knows whose name is like it.",
)
PAUSED: Final = (Column("function"), Column("paused"))
PAGE: Final = 200
"""Functions that are asked for in one go, as many as the server gives."""


def at_all(
    fleet: Fleet,
    names: Iterable[str],
    do: Callable[[Api, str], Row],
    columns: Sequence[Column],
    as_json: bool,
    *,
    apart: bool = False,
) -> int:
    """
    Do something to functions of these names at all servers.

    @param names: as they were written.
    @param apart: whether one server of a cluster does it at all of them.
    @return: the exit status.
    """
    apis = fleet.apart() if apart else fleet.apis
    return carry_out(fleet, fleet.each("function", map(as_shown, names), do, apis), columns, as_json)


def post(verb: str) -> Callable[[Api, str], Row]:
    """What does an act of the API to a function, by its name."""
    return lambda api, name: api.send("POST", path_of("functions", name, verb))


def pause_or_resume(fleet: Fleet, verb: str, names: Sequence[str], pattern: str | None, as_json: bool) -> int:
    """
    Pause functions, or resume them.

    @param verb: C{pause} or C{resume}.
    @param names: those of functions; where there are none, all are meant whose names match the
    @param pattern: and which are not as they are to be.
    @return: the exit status.
    """
    if bool(names) == (pattern is not None):
        raise CommandError("FUNCTION..., or all that match --function PATTERN: one of the two", MISUSED)
    do = post(verb)
    if pattern is None:
        return at_all(fleet, names, do, PAUSED, as_json)
    query = {"function": as_shown(pattern), "paused": verb == "resume", "limit": PAGE}
    return carry_out(fleet, matching(fleet, query, do), PAUSED, as_json, chosen=True)


def matching(fleet: Fleet, query: Row, do: Callable[[Api, str], Row]) -> Iterator[Step]:
    """The steps that do something to all functions that match, at all servers."""
    for api in fleet.apis:
        try:
            # All of them before the first is changed: then they would match no more.
            names = [row["function"] for row in api.rows(f"{ROOT}/functions", "functions", query)]
        except CommandError as error:
            yield Step(f"functions at {api.place.name}", partial(_fail, error))
        else:
            yield from (fleet.step("function", api, name, do) for name in names)


def _fail(error: CommandError) -> Row:
    raise error

"""
C{txgear diagnose}: why nothing happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from txgear.cli.base.api import ROOT, path_of
from txgear.cli.base.finding import ask_all
from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.output import Column, note
from txgear.cli.look.lists import Choice, ListCommand, list_options, show

if TYPE_CHECKING:
    from txgear.cli.base.api import Api

STYLES: Final = {"critical": "bold red", "warning": "yellow", "ok": "green"}
COLUMNS: Final = (
    Column("function", "which function; none where it is about the server"),
    Column("severity", "critical, warning, info or ok", style=lambda value: STYLES.get(value, "")),
    Column("code", "what it is, as the page of the diagnosis has it"),
    Column("text", "the same in a sentence"),
    Column("facts", "what stands in the sentence, as values", usual=False),
)


def of_function(api: Api, name: str) -> list[dict[str, Any]]:
    """All there is to say of a function."""
    found = api.get(path_of("functions", name, "diagnosis"))
    return [{"function": found["function"], **each} for each in found["findings"]]


def of_all(api: Api) -> Iterator[dict[str, Any]]:
    """What is critical or a warning, of the server and of all functions."""
    found = api.get(f"{ROOT}/diagnosis")
    rows = [{"function": None, **each} for each in found["server"]]
    for function in found["functions"]:
        rows += [{"function": function["function"], **each} for each in function["findings"]]
    # The server has the worst of each function first.
    yield from sorted(rows, key=lambda row: row["severity"] != "critical")
    if not found["complete"]:
        note(f"{api.place.name}: there is more; not all functions are here")
    elif not found["server"] and not found["functions"]:
        note(f"{api.place.name}: nothing is wrong")


@click.command(cls=ListCommand, columns=COLUMNS, epilog="Example: txgear diagnose mail.send")
@click.argument("function", required=False)
@list_options
@server_options
def command(servers: Servers, choice: Choice, function: str | None) -> int:
    """
    Say why nothing happens: of a FUNCTION all there is to say, what needs somebody first; without one what is
    critical or a warning, over all functions, the worst first.
    """
    if function is None:
        return show(servers, choice, of_all, COLUMNS)
    name = function
    answers = ask_all(servers.apis(), f"function {name}", lambda api: of_function(api, name))
    found = {api.place.name: rows for api, rows in answers}
    return show(servers, choice, lambda api: found.get(api.place.name, []), COLUMNS)

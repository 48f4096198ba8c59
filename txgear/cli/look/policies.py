"""
C{txgear policies}: the rules in force for functions, and what holds for one of them.
"""

from __future__ import annotations

from typing import Final

import click

from txgear.cli.base.api import ROOT, path_of
from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.output import Column
from txgear.cli.base.statuses import DONE, MISUSED, CommandError
from txgear.cli.look.details import settings_of, show_each
from txgear.cli.look.lists import Choice, ListCommand, list_options, show

COLUMNS: Final = (
    Column("pattern", "for which functions; the first that matches counts"),
    Column("settings", "what holds for them", lambda settings: ", ".join(settings_of(settings))),
)


@click.command(cls=ListCommand, columns=COLUMNS, epilog="Example: txgear policies mail.send")
@click.argument("function", required=False)
@list_options
@server_options
def command(servers: Servers, choice: Choice, function: str | None) -> int:
    """The rules in force, in their order; or what holds for FUNCTION, whether or not it has jobs."""
    if function is None:
        return show(servers, choice, lambda api: api.get(f"{ROOT}/policies")["policies"], COLUMNS)
    if choice != Choice(as_json=choice.as_json):
        raise CommandError("--where, --sort, --columns and --limit are for the list", MISUSED)
    show_each(
        servers.apis(),
        choice.as_json,
        lambda api: api.get(path_of("policies", function)),
        f"function {function}",
    )
    return DONE

"""
C{txgear settings}: how the server was started.
"""

from __future__ import annotations

from typing import Final

import click

from txgear.cli.base.api import ROOT
from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.output import Column
from txgear.cli.look.lists import Choice, ListCommand, list_options, show

COLUMNS: Final = (
    Column("name", "the option"),
    Column("value", "what is in force"),
    Column(
        "source",
        "where that comes from: default, command line, environment or file",
        style=lambda source: "dim" if source == "default" else "",
    ),
    Column("place", "which option, variable or file"),
    Column("about", "what it is for", usual=False),
)


@click.command(cls=ListCommand, columns=COLUMNS, epilog="Example: txgear settings --where source!=default")
@list_options
@server_options
def command(servers: Servers, choice: Choice) -> int:
    """What the server was started with, and where each value comes from; 'info' has the rest."""
    return show(servers, choice, lambda api: api.get(f"{ROOT}/settings")["options"], COLUMNS)

"""
C{txgear connections}: who is connected, whatever it speaks.
"""

from __future__ import annotations

from typing import Final

import click

from txgear.cli.base import quantities
from txgear.cli.base.api import ROOT
from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.output import Column
from txgear.cli.look.lists import Choice, ListCommand, list_options, show

COLUMNS: Final = (
    Column("number", "of the connection", right=True, of=lambda row: row["descriptor"]),
    Column("kind", "what it speaks: gearman, http (jobs over HTTP), web, or other (a plugin's protocol)"),
    Column("client_id", "what it calls itself"),
    Column("address", "where it comes from"),
    Column("identity", "who it is"),
    Column("encrypted", "whether it has TLS"),
    Column("round_trip", "to it and back, as the system measures it", quantities.age, right=True),
    Column("heard", "since the last bytes came from it", quantities.age, right=True),
    Column("functions", "how many it can do", right=True),
    Column("names", "the first ten of them", ", ".join, usual=False),
    Column("quickack", "whether it is acknowledged at once now", usual=False),
    Column("quickacks", "how often it was", right=True, usual=False),
)


@click.command(
    cls=ListCommand, columns=COLUMNS, epilog="Example: txgear connections --kind gearman --sort -heard"
)
@click.option("--worker", metavar="TEXT", help="With this in what they call themselves, or in the address.")
@click.option("--kind", metavar="KIND", help="What they speak: gearman, http, web or other.")
@click.option("--quickack/--no-quickack", default=None, help="Whether they are acknowledged at once.")
@list_options
@server_options
def command(servers: Servers, choice: Choice, **filters: str | bool | None) -> int:
    """Who is connected: clients, workers, browsers and commands as this one."""
    query = {**filters, "limit": choice.page}
    return show(servers, choice, lambda api: api.rows(f"{ROOT}/connections", "connections", query), COLUMNS)

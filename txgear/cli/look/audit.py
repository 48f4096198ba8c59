"""
C{txgear audit}: who did what lately, and who was refused.
"""

from __future__ import annotations

from typing import Any, Final

import click

from txgear.cli.base import quantities
from txgear.cli.base.api import ROOT
from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.output import Column, plain
from txgear.cli.look.lists import Choice, ListCommand, list_options, show


def _about(about: dict[str, Any]) -> str:
    return " ".join(f"{name}={plain(value)}" for name, value in about.items() if value is not None)


COLUMNS: Final = (
    Column("number", "counts from the start of the server", right=True, usual=False),
    Column("time", "when", quantities.moment, right=True),
    Column("act", "what: an act that rules can allow, login, reload or unidentified"),
    Column("outcome", "done or refused", style=lambda outcome: "red" if outcome == "refused" else ""),
    Column("identity", "who"),
    Column("address", "from where"),
    Column("client_id", "what that calls itself", usual=False),
    Column("descriptor", "the number of the connection", right=True, usual=False),
    Column("about", "what else there is to know", _about),
)


@click.command(
    cls=ListCommand, columns=COLUMNS, epilog="Example: txgear audit --outcome refused --identity shop"
)
@click.option("--act", metavar="ACT", help="Of this kind: submit, cancel, purge, pause ...")
@click.option("--outcome", type=click.Choice(["done", "refused"]), help="What became of it.")
@click.option("--identity", metavar="NAME", help="Whose; nobody for whoever has not said who it is.")
@click.option("--text", metavar="TEXT", help="With this in one of their values: a handle, a function.")
@list_options
@server_options
def command(servers: Servers, choice: Choice, **filters: str | None) -> int:
    """What operators and others did, or were refused: the last thousand, the newest first."""
    query = {**filters, "limit": choice.page}
    return show(servers, choice, lambda api: api.rows(f"{ROOT}/audit", "acts", query), COLUMNS)

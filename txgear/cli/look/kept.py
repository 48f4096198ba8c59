"""
C{txgear kept}: jobs that are over, not dead, and still known.
"""

from __future__ import annotations

from typing import Final

import click

from txgear.cli.base import quantities
from txgear.cli.base.api import ROOT
from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.output import Column
from txgear.cli.look.lists import Choice, ListCommand, list_options, show_jobs

COLUMNS: Final = (
    Column("handle", "its handle"),
    Column("function", "its function"),
    Column(
        "outcome",
        "how it ended: done, failed, cancelled or expired",
        style=lambda outcome: "green" if outcome == "done" else "red",
    ),
    Column("age", "since it ended", quantities.age, right=True),
    Column("size", "of its result", quantities.size, right=True),
    Column("left", "until it is forgotten", quantities.age, right=True),
    Column("unique", "what its submitter called it"),
)


@click.command(
    cls=ListCommand,
    columns=COLUMNS,
    epilog="Example: txgear kept --function 'mail.*' --where outcome=failed",
)
@click.option("--function", metavar="PATTERN", help="Of functions whose name is like it: mail.*")
@click.option("--unique", metavar="TEXT", help="With this unique; found at once.")
@click.option("--text", metavar="TEXT", help="With this in their unique or result.")
@list_options
@server_options
def command(servers: Servers, choice: Choice, **filters: str | None) -> int:
    """Other jobs that are over and still known, their results with them; the oldest first."""
    query = {**filters, "limit": choice.page}
    return show_jobs(servers, choice, f"{ROOT}/kept", query, COLUMNS)

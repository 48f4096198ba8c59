"""
C{txgear jobs}: those that are not over.
"""

from __future__ import annotations

from typing import Final

import click

from txgear.cli.base import quantities
from txgear.cli.base.api import ROOT
from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.output import Column
from txgear.cli.look.lists import PAGE, Choice, list_options, show

COLUMNS: Final = (
    Column("handle"),
    Column("function"),
    Column("state"),
    Column("priority"),
    Column("age", quantities.age, right=True),
    Column("attempts", right=True),
    Column("worker"),
    Column("unique"),
)


@click.command(epilog="Example: txgear jobs --function 'mail.*' --state queued --older 1h")
@click.option("--function", metavar="PATTERN", help="Of functions whose name is like it: mail.*")
@click.option("--unique", help="With this unique.")
@click.option("--state", metavar="STATE,...", help="waiting, storing, queued or running.")
@click.option(
    "--worker", metavar="TEXT", help="At workers with this in their client id, or in their address."
)
@click.option("--older", metavar="TIME", help="Submitted so long ago: 90s, 2h.")
@click.option("--text", help="With this in their unique or workload.")
@list_options
@server_options
def command(servers: Servers, choice: Choice, **filters: str | None) -> None:
    """Jobs that are not over, the oldest first."""
    query = {**filters, "limit": PAGE}
    show(
        servers,
        choice,
        lambda api: api.rows(f"{ROOT}/jobs", "jobs", query),
        COLUMNS,
        [c.name for c in COLUMNS],
    )

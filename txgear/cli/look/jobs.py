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
from txgear.cli.look.lists import Choice, ListCommand, list_options, show_jobs

STATES: Final = {"running": "green", "waiting": "cyan", "storing": "yellow"}
COLUMNS: Final = (
    Column("handle", "its handle"),
    Column("function", "its function"),
    Column(
        "state",
        "waiting (for its time), storing, queued, or running",
        style=lambda state: STATES.get(state, ""),
    ),
    Column("priority", "high, normal or low"),
    Column("age", "since it was submitted", quantities.age, right=True),
    Column("attempts", "that ended without a result", right=True),
    Column("worker", "who runs it"),
    Column("unique", "what its submitter called it"),
)


@click.command(
    cls=ListCommand,
    columns=COLUMNS,
    epilog="Example: txgear jobs --function 'mail.*' --state queued --older 1h",
)
@click.option("--function", metavar="PATTERN", help="Of functions whose name is like it: mail.*")
@click.option("--unique", metavar="TEXT", help="With this unique; found at once.")
@click.option("--state", metavar="STATE,...", help="One or more of waiting, storing, queued and running.")
@click.option(
    "--worker", metavar="TEXT", help="At workers with this in their client id, or in their address."
)
@click.option("--older", metavar="TIME", help="Submitted so long ago, or longer: 90s, 2h.")
@click.option("--text", metavar="TEXT", help="With this in their unique or workload.")
@list_options
@server_options
def command(servers: Servers, choice: Choice, **filters: str | None) -> int:
    """Jobs that are not over, the oldest first."""
    query = {**filters, "limit": choice.page}
    return show_jobs(servers, choice, f"{ROOT}/jobs", query, COLUMNS)

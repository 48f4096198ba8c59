"""
C{txgear dead}: jobs that have no attempt left.
"""

from __future__ import annotations

from typing import Final

import click

from txgear.cli.base import quantities
from txgear.cli.base.api import ROOT
from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.output import Column
from txgear.cli.base.statuses import MISUSED, CommandError
from txgear.cli.look.lists import Choice, ListCommand, list_options, show, show_jobs
from txgear.cli.look.totals import ADD, Total

COLUMNS: Final = (
    Column("handle", "its handle"),
    Column("function", "its function"),
    Column("age", "since it died", quantities.age, right=True),
    Column("attempts", "how many there were", right=True),
    Column("reason", "how the last one ended: fail, exception, timeout, silent or lost"),
    Column("text", "what its worker said"),
    Column("unique", "what its submitter called it", usual=False),
    Column("size", "of its workload", quantities.size, right=True, usual=False),
    Column("died", "when", usual=False),
)
GROUPS: Final = (
    Column("function", "with --groups: the function"),
    Column("reason", "with --groups: how the last attempts ended"),
    Column("jobs", "with --groups: how many there are", right=True),
    Column("oldest", "with --groups: when the first died", quantities.moment, right=True, usual=False),
    Column("newest", "with --groups: when the last died", quantities.moment, right=True),
    Column("handle", "with --groups: the last one's"),
    Column("text", "with --groups: what its worker said"),
)
TOTAL: Final = Total({"jobs": ADD, "oldest": min, "newest": max}, "function", "group")


@click.command(
    cls=ListCommand,
    columns=(*COLUMNS, *GROUPS),
    epilog="Example: txgear dead --function 'mail.*' --reason exception,timeout",
)
@click.option("--function", metavar="PATTERN", help="Of functions whose name is like it: mail.*")
@click.option(
    "--reason",
    metavar="REASON,...",
    help="Whose last attempts ended so: one or more of fail, exception, timeout, silent, lost and unknown.",
)
@click.option("--review", metavar="NAME", help="Set aside in this review; otherwise those that are in none.")
@click.option("--unique", metavar="TEXT", help="With this unique; found at once.")
@click.option("--text", metavar="TEXT", help="With this in unique, workload, or what workers said.")
@click.option("--groups", is_flag=True, help="How many of which function have died of what.")
@list_options
@server_options
def command(servers: Servers, choice: Choice, groups: bool, **filters: str | None) -> int:
    """Jobs that failed and have no attempt left, the oldest first."""
    query = {**filters, "limit": choice.page}
    if not groups:
        return show_jobs(servers, choice, f"{ROOT}/dead", query, COLUMNS)
    for name in ("review", "unique", "text"):
        if query.pop(name) is not None:
            raise CommandError(f"--{name} is not for --groups", MISUSED)
    rows = f"{ROOT}/dead/groups"
    return show(servers, choice, lambda api: api.rows(rows, "groups", query), GROUPS, TOTAL)

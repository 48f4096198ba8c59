"""
C{txgear reviews}: in which dead jobs are set aside.
"""

from __future__ import annotations

from typing import Final

import click

from txgear.cli.base import quantities
from txgear.cli.base.api import ROOT
from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.output import Column
from txgear.cli.look.lists import Choice, ListCommand, list_options, show
from txgear.cli.look.totals import ADD, Total

COLUMNS: Final = (
    Column("name", "what it is called"),
    Column("jobs", "how many are in it", right=True),
    Column("bytes", "of their workloads", quantities.size, right=True),
    Column("since", "when it was begun", quantities.moment, right=True),
    Column("by", "who did that"),
)
TOTAL: Final = Total({"jobs": ADD, "bytes": ADD}, "name", "review")


@click.command(cls=ListCommand, columns=COLUMNS, epilog="Example: txgear reviews; txgear dead --review NAME")
@list_options
@server_options
def command(servers: Servers, choice: Choice) -> int:
    """Reviews: dead jobs that are set aside, to be looked at one by one."""
    return show(servers, choice, lambda api: api.get(f"{ROOT}/reviews")["reviews"], COLUMNS, TOTAL)

"""
C{txgear tasks}: what is done to many jobs, on the server.
"""

from __future__ import annotations

from typing import Final

import click

from txgear.cli.base.api import ROOT
from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.output import Column
from txgear.cli.look.lists import Choice, ListCommand, list_options, show

STATES: Final = {"counting": "cyan", "acting": "cyan", "stopped": "yellow"}
COLUMNS: Final = (
    Column("number", "its number", right=True, of=lambda row: row["id"]),
    Column("act", "cancel, requeue, forget, prioritise, move or review"),
    Column("of", "of which list the jobs are: jobs, dead or kept"),
    Column("state", "waiting, counting, acting, done or stopped", style=lambda state: STATES.get(state, "")),
    Column("looked_at", "jobs that have been looked at", right=True),
    Column("total", "of how many", right=True),
    Column("matched", "how many of them match", right=True),
    Column("done", "to how many it has been done", right=True),
    Column("failed", "to how many it could not be", style=lambda failed: "red" if failed else "", right=True),
    Column("filter", "which jobs are meant"),
    Column("priority", "the new one, to prioritise", usual=False),
    Column("function", "the new one, to move", usual=False),
    Column("review", "in which they are set aside", usual=False),
    Column("preview", "whether they are only counted", usual=False),
    Column("passed", "matched, and did not any more when their turn came", right=True, usual=False),
    Column("by", "who began it", usual=False),
    Column("began", "when", usual=False),
    Column("ended", "when", usual=False),
)


@click.command(cls=ListCommand, columns=COLUMNS, epilog="Example: txgear tasks --where state=acting")
@list_options
@server_options
def command(servers: Servers, choice: Choice) -> int:
    """What is done to many jobs, or was in the last hour; the oldest first."""
    return show(servers, choice, lambda api: api.get(f"{ROOT}/tasks")["tasks"], COLUMNS)

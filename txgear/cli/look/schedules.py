"""
C{txgear schedules}: what is submitted by the clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from txgear.cli.base import quantities
from txgear.cli.base.api import ROOT
from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.output import Column
from txgear.cli.look.lists import Choice, ListCommand, list_options, show


def _of_run(row: Mapping[str, Any], member: str) -> Any:
    return None if row["run"] is None else row["run"][member]


COLUMNS: Final = (
    Column("name", "what it is called"),
    Column("cron", "its cron line"),
    Column("timezone", "where that is meant"),
    Column("function", "the function of its jobs"),
    Column("next", "its next time", quantities.moment, right=True),
    Column("handle", "its last job since the server started", of=lambda row: _of_run(row, "handle")),
    Column("state", "how that is", of=lambda row: _of_run(row, "state")),
    Column("refused", "why the last one was not taken", style=lambda why: "red" if why else ""),
    Column("last", "the time for which it has run last, or from which on it counts", usual=False),
    Column("words", "its cron line in words", usual=False),
    Column("unique", "the unique of its jobs", usual=False),
    Column("priority", "their priority", usual=False),
    Column("size", "of their workload", quantities.size, right=True, usual=False),
    Column("upcoming", "the next times", ", ".join, usual=False),
    Column("remarks", "what comes of it when the clock is changed", " ".join, usual=False),
)


@click.command(
    cls=ListCommand, columns=COLUMNS, epilog="Example: txgear schedules --columns name,words,upcoming"
)
@list_options
@server_options
def command(servers: Servers, choice: Choice) -> int:
    """The schedules in force, in the order of the server's file."""
    return show(servers, choice, lambda api: api.get(f"{ROOT}/schedules")["schedules"], COLUMNS)

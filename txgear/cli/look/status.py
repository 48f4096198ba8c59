"""
C{txgear status}: what all functions have to do, in one table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from txgear.cli.base import quantities
from txgear.cli.base.api import ROOT
from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.output import Column
from txgear.cli.look.lists import Choice, ListCommand, list_options, show
from txgear.cli.look.totals import ADD, Total


def _rate(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _paused(paused: bool | int) -> str:
    """Of a function whether it is, of all how many are."""
    return "yes" if paused is True else str(paused or "")


COLUMNS: Final = (
    Column("function", "its name"),
    Column("queued", "jobs that wait for a worker", right=True),
    Column("running", "jobs at workers", right=True),
    Column("waiting", "jobs that wait for their time, or for the store", right=True),
    Column("dead", "that have no attempt left", style=lambda dead: "red" if dead else "", right=True),
    Column("kept", "others that are over and still known", right=True),
    Column("workers", "connections that can do it", right=True),
    Column("paused", "whether it is paused", _paused, lambda paused: "yellow" if paused else ""),
    Column("oldest", "since when the first in the queue waits", quantities.age, right=True),
    Column(
        "rate",
        "jobs a second that ended with a result, of late",
        _rate,
        right=True,
        of=lambda row: row.get("completed_rate"),
    ),
    Column("submitted_rate", "jobs a second that were taken, of late", _rate, right=True, usual=False),
    Column(
        "failed_rate", "jobs a second that ended without a result, of late", _rate, right=True, usual=False
    ),
    *(
        Column(
            f"{what}_p{part}", f"{said} {part} of 100 jobs, of late", quantities.age, right=True, usual=False
        )
        for what, said in (("wait", "time in the queue of"), ("run", "time at workers of"))
        for part in (50, 95)
    ),
    Column("submitted", "jobs that were taken since the server started", right=True, usual=False),
    Column("completed", "jobs that ended with a result since then", right=True, usual=False),
    Column("failed", "jobs that ended without one since then", right=True, usual=False),
    Column("retried", "attempts since then that were followed by another", right=True, usual=False),
    Column("maxqueue", "the bounds that an operator has set", usual=False),
)
SUMMED: Final = (
    *("queued", "running", "waiting", "dead", "kept", "paused"),
    *("submitted", "completed", "failed", "retried"),
    *("submitted_rate", "completed_rate", "failed_rate"),
)
TOTAL: Final[dict[str, Callable[[Any, Any], Any]]] = {**dict.fromkeys(SUMMED, ADD), "oldest": max}


@click.command(
    cls=ListCommand, columns=COLUMNS, epilog="Example: txgear status --function 'mail.*' --sort -oldest"
)
@click.option("--function", metavar="PATTERN", help="Those whose name is like it: mail.*")
@click.option("--paused/--not-paused", default=None, help="Only those that are paused, or are not.")
@click.option(
    "--total",
    is_flag=True,
    help="End with what all of them come to, as on a terminal; in JSON without a name.",
)
@list_options
@server_options
def command(servers: Servers, choice: Choice, total: bool, **filters: str | bool | None) -> int:
    """What all functions have to do: the jobs of each, its workers, how fast they are; by their names."""
    query = {**filters, "figures": True, "limit": choice.page}
    return show(
        servers,
        choice,
        lambda api: api.rows(f"{ROOT}/functions", "functions", query),
        COLUMNS,
        Total(TOTAL, "function", "function", total),
    )

"""
C{txgear history}: what was, of a server or of one function.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from txgear.cli.base import quantities
from txgear.cli.base.api import ROOT, Api, path_of
from txgear.cli.base.finding import ask_all
from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.output import Column
from txgear.cli.look.lists import Choice, ListCommand, list_options, show

if TYPE_CHECKING:
    pass


def _rate(value: float) -> str:
    return f"{value:.3g}"


COLUMNS: Final = (
    Column("time", "when it began: ten seconds, or five minutes of a day", right=True),
    Column("submitted", "jobs a second that were taken", _rate, right=True),
    Column("completed", "jobs a second that ended with a result", _rate, right=True),
    Column("failed", "jobs a second that ended without one", _rate, right=True),
    Column("queued", "jobs that waited for a worker", right=True),
    Column("running", "jobs at workers", right=True),
    Column("workers", "connections that could do it", right=True, usual=False),
    Column("wait_p95", "95 of 100 that began had waited so long, or shorter", quantities.age, right=True),
    Column("run_p95", "95 of 100 that ended had run so long, or shorter", quantities.age, right=True),
    Column("oldest", "since when the first in the queue had waited", quantities.age, right=True, usual=False),
    Column("delayed", "jobs that waited for their time, or for the disk", right=True, usual=False),
    Column("dead", "dead jobs", right=True, usual=False),
    *(
        Column(f"{what}_p{part}", f"{part} of 100", quantities.age, right=True, usual=False)
        for what in ("wait", "run")
        for part in (50, 99)
    ),
)


@click.command(
    cls=ListCommand, columns=COLUMNS, epilog="Example: txgear history mail.send --span day --where 'failed>0'"
)
@click.argument("function", required=False)
@click.option(
    "--span",
    type=click.Choice(["hour", "day"]),
    default="hour",
    help="An hour in steps of ten seconds, or a day in steps of five minutes.  [hour]",
)
@list_options
@server_options
def command(servers: Servers, choice: Choice, function: str | None, span: str) -> int:
    """What was in the last hour or day, of the server or of FUNCTION; the newest first."""
    path = f"{ROOT}/history" if function is None else path_of("functions", function, "history")

    def asked(api: Api) -> Iterator[dict[str, Any]]:
        found = ask_all([api], f"function {function}", lambda api: api.get(path, {"span": span}))
        return steps(found[0][1])

    return show(servers, choice, asked, COLUMNS)


def steps(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """
    A row for each step in which the server ran, the newest first.

    @param found: as the API has it, a list for each column.
    """
    if found["start"] is None:
        return
    lists = {name: values for name, values in found.items() if isinstance(values, list)}
    start, step = (
        datetime.fromisoformat(found["start"].replace("Z", "+00:00")),
        timedelta(seconds=found["step"]),
    )
    for place in reversed(range(len(lists["queued"]))):
        row = {name: values[place] for name, values in lists.items()}
        if any(value is not None for value in row.values()):
            yield {"time": f"{start + place * step:%Y-%m-%dT%H:%M:%SZ}", **row}

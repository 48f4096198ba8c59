"""
What acts on jobs share: on those that are named one after the other, on those that match by a task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from txgear.cli.act.acts import Fleet, Row, carry_out, handles, input_lines, named
from txgear.cli.act.selection import Selection
from txgear.cli.act.tasks import Begin, act_on_all
from txgear.cli.base.api import Api, path_of
from txgear.cli.base.asking import be_sure, people
from txgear.cli.base.options import Servers
from txgear.cli.base.output import Column

CHANGED: Final = (
    Column("handle"),
    Column("function"),
    Column("state"),
    Column("priority"),
)
"""What is told of a job that has been changed."""


def post(verb: str, body: Any = None) -> Callable[[Api, str], Row]:
    """What does an act of the API to a job, by its handle."""

    def do(api: Api, handle: str) -> Row:
        answer = api.send("POST", path_of("jobs", handle, verb), body=body)
        return {"handle": handle} if answer is None else answer

    return do


def act_on_jobs(
    servers: Servers,
    selection: Selection,
    do: Callable[[Api, str], Row],
    begin: Begin,
    what: str,
    *,
    final: bool = False,
    columns: Sequence[Column] = CHANGED,
    most: int | None = None,
    apart: bool = True,
) -> int:
    """
    Do something to the jobs that are selected.

    @param do: does it to one, and gives the row that tells of it.
    @param begin: begins the task that does it to all that match.
    @param what: what it is, with a place for the jobs: C{Cancel {}?}
    @param final: whether it cannot be undone: then it is asked for those that are named as well.
    @param most: to how many of those that match it is done at the most, at each server; C{None} for all.
    @param apart: whether one server of a cluster does it at all of them, where it is for those that match.
    @return: the exit status.
    """
    fleet = Fleet(servers)
    if selection.filter:
        return act_on_all(fleet, selection, begin, what, most=most, apart=apart)
    meant: Iterable[str] = handles(selection.handles, input_lines())
    if final and not selection.yes:
        meant = list(meant)
        if meant:
            with people(selection.from_input) as answers:
                be_sure(what.format(named(meant, "job")), answers)
    return carry_out(fleet, fleet.jobs(meant, do), columns, selection.as_json)

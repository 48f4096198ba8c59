"""
C{txgear review}: sets dead jobs aside, and puts them back.
"""

from __future__ import annotations

from typing import Any, Final

import click

from txgear.cli.act.onjobs import act_on_jobs, post
from txgear.cli.act.selection import Selection, selection_options
from txgear.cli.act.tasks import Begin, Task
from txgear.cli.base.api import ROOT, Api, as_shown, path_of
from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.statuses import MISUSED, CommandError

MOST: Final = 1000
"""Jobs of a review, at the most."""


@click.command(epilog="Example: txgear review --into odd-mails --function 'mail.*' --text encoding --most 50")
@click.option("--into", metavar="NAME", help="Set them aside in this review, which may be new.")
@click.option("--back", is_flag=True, help="Put them back; all of a review are --back --review NAME.")
@click.option("--most", type=click.IntRange(1, MOST), metavar="N", help="Set aside the first N that match.")
@selection_options("dead")
@server_options
def command(servers: Servers, selection: Selection, into: str | None, back: bool, most: int | None) -> int:
    """
    Set dead jobs aside in a review, to look at them one by one, or put them back: those with these HANDLEs
    (- for those on standard input, one a line), or all that match a filter.

    What is done to all other dead jobs passes over them. 'txgear dead --review NAME' lists them.
    """
    if back == (into is not None):
        raise CommandError("--into NAME sets them aside, --back puts them back: one of the two", MISUSED)
    if most is not None and (back or selection.handles):
        raise CommandError("--most is for those that are set aside by a filter", MISUSED)
    if into is None:
        if selection.filter and set(selection.filter) != {"review"}:
            raise CommandError("--back is for HANDLEs, or for all of one review: --review NAME", MISUSED)
        do, begin, what = post("review", {"review": None}), _end(selection), "Put {} back?"
        return act_on_jobs(servers, selection, do, begin, what, apart=False)
    name = as_shown(into)
    do, begin = post("review", {"review": name}), _begin(name, selection, most)
    return act_on_jobs(servers, selection, do, begin, "Set {} aside?", most=most, apart=False)


def _begin(name: str, selection: Selection, most: int | None) -> Begin:
    order: dict[str, Any] = {"name": name, "filter": dict(selection.filter)}
    if most is not None:
        order["most"] = most
    return lambda api, preview: api.send("POST", f"{ROOT}/reviews", body={**order, "preview": preview})


def _end(selection: Selection) -> Begin:
    def begin(api: Api, preview: bool) -> Task:
        path = path_of("reviews", selection.filter["review"])
        if not preview:
            task: Task = api.send("DELETE", path)
            return task
        # How many it has is known; no task has to count them.
        review = api.get(path)
        counted = {"id": None, "act": "review", "preview": True, "state": "done", "ended": review["since"]}
        return {**counted, "matched": review["jobs"], "done": 0, "failed": 0, "failures": []}

    return begin

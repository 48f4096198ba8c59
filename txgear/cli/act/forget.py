"""
C{txgear forget}: forgets jobs that are over.
"""

from __future__ import annotations

import click

from txgear.cli.act.acts import Row
from txgear.cli.act.onjobs import act_on_jobs, post
from txgear.cli.act.selection import Selection, selection_options
from txgear.cli.act.tasks import new_task
from txgear.cli.base.api import Api
from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.output import Column

_forget = post("forget")


def forget(api: Api, handle: str) -> Row:
    """Forget one."""
    return {**_forget(api, handle), "state": "forgotten"}


@click.command(epilog="Example: txgear forget --kept --function 'report.*'")
@selection_options("dead", "kept")
@server_options
def command(servers: Servers, selection: Selection) -> int:
    """
    Forget jobs that are over: those with these HANDLEs, dead or kept (- for those on standard input, one a
    line), or all the dead that match a filter; with --kept all others that match.

    It asks first, as it cannot be undone.
    """
    columns = Column("handle"), Column("state")
    begin = new_task("forget", selection)
    return act_on_jobs(servers, selection, forget, begin, "Forget {}?", final=True, columns=columns)

"""
C{txgear cancel}: ends jobs that are not over.
"""

from __future__ import annotations

import click

from txgear.cli.act.onjobs import act_on_jobs, post
from txgear.cli.act.selection import Selection, selection_options
from txgear.cli.act.tasks import new_task
from txgear.cli.base.options import Servers, server_options


@click.command(epilog="Example: txgear cancel --function 'mail.*' --older 1d")
@selection_options("jobs")
@server_options
def command(servers: Servers, selection: Selection) -> int:
    """
    Cancel jobs that are not over: those with these HANDLEs (- for those on standard input, one a line), or
    all that match a filter.

    Clients that wait hear that they failed. It asks first, as it cannot be undone.
    """
    begin = new_task("cancel", selection)
    return act_on_jobs(servers, selection, post("cancel"), begin, "Cancel {}?", final=True)

"""
C{txgear move}: makes jobs those of another function.
"""

from __future__ import annotations

import click

from txgear.cli.act.onjobs import act_on_jobs, post
from txgear.cli.act.selection import Selection, selection_options
from txgear.cli.act.tasks import new_task
from txgear.cli.base.api import as_shown
from txgear.cli.base.options import Servers, server_options


@click.command(epilog="Example: txgear move --to mail.later --function mail.send --older 1h")
@click.option("--to", metavar="FUNCTION", required=True, help="Their new function; it may be new itself.")
@selection_options("jobs", "dead")
@server_options
def command(servers: Servers, selection: Selection, to: str) -> int:
    """
    Make jobs that no worker has, or dead ones, jobs of another function: those with these HANDLEs (- for
    those on standard input, one a line), or all that match a filter.

    They keep their handles, and whoever waits for them goes on waiting.
    """
    function = as_shown(to)
    do = post("move", {"function": function})
    begin = new_task("move", selection, function=function)
    # Braces in a name are no places for jobs.
    shown = function.replace("{", "{{").replace("}", "}}")
    return act_on_jobs(servers, selection, do, begin, f"Move {{}} to {shown}?")

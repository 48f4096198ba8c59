"""
C{txgear priority}: gives jobs another priority.
"""

from __future__ import annotations

import click

from txgear.cli.act.onjobs import act_on_jobs, post
from txgear.cli.act.selection import Selection, selection_options
from txgear.cli.act.tasks import new_task
from txgear.cli.base.options import Servers, server_options


@click.command(epilog="Example: txgear priority high H:vm:7 H:vm:9")
@click.argument("priority", type=click.Choice(["high", "normal", "low"]), metavar="high|normal|low")
@selection_options("jobs", "dead")
@server_options
def command(servers: Servers, selection: Selection, priority: str) -> int:
    """
    Give jobs that no worker has, or dead ones, another priority: those with these HANDLEs (- for those on
    standard input, one a line), or all that match a filter.

    They come behind all others that have it.
    """
    do = post("prioritise", {"priority": priority})
    begin = new_task("prioritise", selection, priority=priority)
    return act_on_jobs(servers, selection, do, begin, f"Give {{}} the priority {priority}?")

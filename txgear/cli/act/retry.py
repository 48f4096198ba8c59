"""
C{txgear retry}: has dead jobs done again, and waiting ones at once.
"""

from __future__ import annotations

import click

from txgear.cli.act.acts import Row
from txgear.cli.act.onjobs import act_on_jobs, post
from txgear.cli.act.selection import Selection, selection_options
from txgear.cli.act.tasks import new_task
from txgear.cli.base.api import Api
from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.statuses import CommandError


@click.command(epilog="Example: txgear retry --function 'mail.*' --reason timeout,lost")
@selection_options("dead")
@server_options
def command(servers: Servers, selection: Selection) -> int:
    """
    Queue dead jobs again, with all their attempts: those with these HANDLEs (- for those on standard input,
    one a line), or all that match a filter.

    By its HANDLE a job that waits for its time, or for its next attempt, begins at once. Of one that is done
    or was cancelled the server keeps no workload: 'txgear copy HANDLE --workload FILE' does it once more.
    """
    return act_on_jobs(servers, selection, retry, new_task("requeue", selection), "Queue {} again?")


_requeue = post("requeue")


def retry(api: Api, handle: str) -> Row:
    """Queue one again."""
    try:
        return _requeue(api, handle)
    except CommandError as error:
        if error.code != "no_workload":
            raise
        text = f"it is over, and its workload is not kept: txgear copy {handle} --workload FILE"
        raise CommandError(text, error.status, error.code) from error

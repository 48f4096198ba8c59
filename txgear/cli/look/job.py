"""
C{txgear job HANDLE}: all that is known of a job.
"""

from __future__ import annotations

import click

from txgear.cli.base.api import path_of
from txgear.cli.base.finding import ask_all, ask_one, that_may_have
from txgear.cli.base.options import Servers, json_option, server_options
from txgear.cli.base.statuses import DONE
from txgear.cli.look.details import show


@click.command(epilog="Example: txgear job 127.0.0.1:4730//H:vm:7 --follow")
@click.argument("handle")
@click.option(
    "--follow",
    is_flag=True,
    help="Tell what its worker says as it comes, to the end of the job: data, warnings and progress.",
)
@json_option
@server_options
def command(servers: Servers, as_json: bool, handle: str, follow: bool) -> int:
    """
    All that is known of the job HANDLE, whether or not it is over: how it is, who runs it and who waits for
    it, what holds for it, and each attempt.

    With --follow the exit status is 0 if it is done in the end, and otherwise 1; with --json each event is a
    line.
    """
    path = path_of("jobs", handle)
    if not follow:
        for api, found in ask_all(
            that_may_have(servers.apis(), handle), f"job {handle}", lambda api: api.get(path)
        ):
            show(api, as_json, found)
        return DONE
    from txgear.cli.look.follow import follow_job

    api, found = ask_one(servers, handle, lambda api: api.get(path))
    return follow_job(api, found["handle"], as_json)

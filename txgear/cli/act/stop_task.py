"""
C{txgear stop-task}: stops tasks on the server.
"""

from __future__ import annotations

import click

from txgear.cli.act.acts import Fleet, Row, carry_out
from txgear.cli.act.tasks import COLUMNS
from txgear.cli.base.api import Api, path_of
from txgear.cli.base.options import Servers, json_option, server_options


@click.command(epilog="Example: txgear stop-task 3")
@click.argument("numbers", metavar="NUMBER...", type=click.IntRange(1), nargs=-1, required=True)
@json_option
@server_options
def command(servers: Servers, as_json: bool, numbers: tuple[int, ...]) -> int:
    """
    Stop tasks: what is done to many jobs. NUMBERs are those of 'txgear tasks'. What is done stays done; of
    one that has ended it says how.
    """
    # A number is that of one server.
    servers.api()
    fleet = Fleet(servers)
    return carry_out(fleet, fleet.each("task", map(str, numbers), stop), COLUMNS, as_json)


def stop(api: Api, number: str) -> Row:
    """Stop one."""
    task: Row = api.send("DELETE", path_of("tasks", number))
    return task

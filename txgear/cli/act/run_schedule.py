"""
C{txgear run-schedule}: submits the jobs of schedules at once.
"""

from __future__ import annotations

import click

from txgear.cli.act.acts import Fleet, Row, carry_out
from txgear.cli.base.api import Api, as_shown, path_of
from txgear.cli.base.options import Servers, json_option, server_options
from txgear.cli.base.output import Column

COLUMNS = (Column("schedule"), Column("handle"), Column("function"), Column("joined"))


@click.command(epilog="Example: txgear run-schedule nightly-report")
@click.argument("schedules", metavar="SCHEDULE...", nargs=-1, required=True)
@json_option
@server_options
def command(servers: Servers, as_json: bool, schedules: tuple[str, ...]) -> int:
    """
    Submit the jobs of these SCHEDULEs at once, at each server; their next times stay as they are.

    Where the last job of one, with its unique, is not over, no other is added: joined.
    """
    fleet = Fleet(servers)
    return carry_out(fleet, fleet.each("schedule", map(as_shown, schedules), run), COLUMNS, as_json)


def run(api: Api, name: str) -> Row:
    """Run one."""
    return {"schedule": name, **api.send("POST", path_of("schedules", name, "run"))}

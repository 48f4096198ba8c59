"""
C{txgear purge}: cancels all jobs of functions that no worker has.
"""

from __future__ import annotations

import click

from txgear.broker.words import number
from txgear.cli.act.acts import Fleet, named
from txgear.cli.act.functions import at_all, function_names, post
from txgear.cli.base.api import as_shown, path_of
from txgear.cli.base.asking import be_sure, people, yes_option
from txgear.cli.base.options import Servers, json_option, server_options
from txgear.cli.base.output import Column
from txgear.cli.base.statuses import UNREACHABLE, CommandError

COLUMNS = (Column("function"), Column("jobs", right=True))


@click.command(epilog="Example: txgear purge mail.send")
@function_names
@yes_option
@json_option
@server_options
def command(servers: Servers, as_json: bool, yes: bool, functions: tuple[str, ...]) -> int:
    """
    Cancel all jobs of these FUNCTIONs that no worker has, at each server.

    Clients that wait hear that they failed. It asks first, as it cannot be undone.
    """
    fleet = Fleet(servers)
    if not yes:
        jobs = sum(waiting(fleet, as_shown(name)) for name in functions)
        with people() as answers:
            be_sure(f"Purge {named(functions, 'function')} of {number(jobs, 'job')}?", answers)
    return at_all(fleet, functions, post("purge"), COLUMNS, as_json, apart=True)


def waiting(fleet: Fleet, name: str) -> int:
    """How many jobs of a function no worker has, at all servers that know it and tell."""
    jobs = 0
    for api in fleet.apis:
        try:
            found = api.get(path_of("functions", name))
        except CommandError as error:
            # What is wrong there is told when it is its turn.
            if error.status == UNREACHABLE and not fleet.several:
                raise
        else:
            jobs += found["queued"] + found["waiting"]
    return jobs

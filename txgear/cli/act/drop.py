"""
C{txgear drop}: forgets functions that nobody uses.
"""

from __future__ import annotations

import click

from txgear.cli.act.acts import Fleet, Row, named
from txgear.cli.act.functions import at_all, function_names
from txgear.cli.base.api import Api, path_of
from txgear.cli.base.asking import be_sure, people, yes_option
from txgear.cli.base.options import Servers, json_option, server_options
from txgear.cli.base.output import Column

COLUMNS = (Column("function"), Column("state"))


@click.command(epilog="Example: txgear drop mail.old --yes")
@function_names
@yes_option
@json_option
@server_options
def command(servers: Servers, as_json: bool, yes: bool, functions: tuple[str, ...]) -> int:
    """
    Forget these FUNCTIONs, at each server, with what was set for them. They must have neither workers nor
    jobs.

    It asks first, as it cannot be undone.
    """
    if not yes:
        with people() as answers:
            be_sure(f"Drop {named(functions, 'function')}?", answers)
    return at_all(Fleet(servers), functions, drop, COLUMNS, as_json, apart=True)


def drop(api: Api, name: str) -> Row:
    """Drop one."""
    api.send("DELETE", path_of("functions", name))
    return {"function": name, "state": "dropped"}

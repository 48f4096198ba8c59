"""
C{txgear create}: has functions known although nobody uses them.
"""

from __future__ import annotations

import click

from txgear.cli.act.acts import Fleet
from txgear.cli.act.functions import PAUSED, at_all, function_names
from txgear.cli.base.api import path_of
from txgear.cli.base.options import Servers, json_option, server_options


@click.command(epilog="Example: txgear create mail.send")
@function_names
@json_option
@server_options
def command(servers: Servers, as_json: bool, functions: tuple[str, ...]) -> int:
    """Have each server know these FUNCTIONs, and list them, although nobody uses them."""
    return at_all(
        Fleet(servers),
        functions,
        lambda api, name: api.send("PUT", path_of("functions", name)),
        PAUSED,
        as_json,
    )

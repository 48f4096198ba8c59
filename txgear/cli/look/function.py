"""
C{txgear function}: all that is known of one function.
"""

from __future__ import annotations

import click

from txgear.cli.base.api import path_of
from txgear.cli.base.options import Servers, json_option, server_options
from txgear.cli.look.details import show_each


@click.command(epilog="Example: txgear function mail.send")
@click.argument("function")
@json_option
@server_options
def command(servers: Servers, as_json: bool, function: str) -> None:
    """All that is known of FUNCTION: its jobs, what holds for it, and what has been counted of it."""
    show_each(
        servers.apis(), as_json, lambda api: api.get(path_of("functions", function)), f"function {function}"
    )

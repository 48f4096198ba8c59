"""
C{txgear worker NUMBER}: one worker, with up to a thousand of its functions and jobs.
"""

from __future__ import annotations

import click

from txgear.cli.base.api import path_of
from txgear.cli.base.options import Servers, json_option, server_options
from txgear.cli.look.details import show_each


@click.command(epilog="Example: txgear worker 17")
@click.argument("number", type=click.IntRange(0))
@json_option
@server_options
def command(servers: Servers, as_json: bool, number: int) -> None:
    """All that is known of a worker: its functions, and the jobs it has. 'txgear workers' has the NUMBER."""
    path = path_of("workers", str(number))
    show_each([servers.api()], as_json, lambda api: api.get(path), f"worker {number}")

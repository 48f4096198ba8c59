"""
C{txgear shutdown}: ends servers.
"""

from __future__ import annotations

import click

from txgear.cli.act.servers import end
from txgear.cli.base.asking import yes_option
from txgear.cli.base.options import Servers, json_option, server_options


@click.command(epilog="Example: txgear shutdown --server gear1.example --yes")
@yes_option
@json_option
@server_options
def command(servers: Servers, as_json: bool, yes: bool) -> int:
    """
    End each server now. Jobs that run are given to other workers after its next start, if they are stored;
    'txgear drain' waits for them.

    The servers must have been started with --allow-shutdown. It asks first, as it cannot be undone.
    """
    return end(servers, "shutdown", "Shut down", "ending", yes=yes, as_json=as_json)

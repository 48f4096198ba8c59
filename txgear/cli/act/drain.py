"""
C{txgear drain}: has servers finish their work, and end.
"""

from __future__ import annotations

import click

from txgear.cli.act.servers import end
from txgear.cli.base.asking import yes_option
from txgear.cli.base.options import Servers, json_option, server_options


@click.command(epilog="Example: txgear drain --server gear1.example")
@yes_option
@json_option
@server_options
def command(servers: Servers, as_json: bool, yes: bool) -> int:
    """
    Have each server take no new jobs and hand out no new background jobs, and end once none runs and no
    client waits for one.

    The servers must have been started with --allow-shutdown. It asks first, as it cannot be undone.
    """
    return end(servers, "drain", "Drain and end", "draining", yes=yes, as_json=as_json)

"""
C{txgear store}: where jobs are kept, and how that does.
"""

from __future__ import annotations

import click

from txgear.cli.base.api import ROOT
from txgear.cli.base.options import Servers, json_option, server_options
from txgear.cli.care import storebackup, storecopy
from txgear.cli.look.details import show_each


@click.group(invoke_without_command=True, epilog="Example: txgear store")
@json_option
@server_options
@click.pass_context
def command(context: click.Context, servers: Servers, as_json: bool) -> None:
    """
    Where jobs are kept: how the store does, how fast it is, and what it says of itself. With a command it is
    for a store itself, and not for a server that has one.
    """
    if context.invoked_subcommand is None:
        show_each(servers.apis(), as_json, lambda api: api.get(f"{ROOT}/store"))


command.add_command(storebackup.command, "backup")
command.add_command(storecopy.command, "copy")

"""
C{txgear info}: what a server is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from txgear.cli.base.api import ROOT
from txgear.cli.base.options import Servers, json_option, server_options
from txgear.cli.look.details import show_each

if TYPE_CHECKING:
    from txgear.cli.base.api import Api


@click.command(epilog="Example: txgear info --server gear.example:4730 --tls")
@json_option
@server_options
def command(servers: Servers, as_json: bool) -> None:
    """What a server is: its version, how long it has run, its store, its ports, and how much it has to do."""
    show_each(servers.apis(), as_json, _asked)


def _asked(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"{ROOT}/server")
    settings = api.get(f"{ROOT}/settings")
    # What is set is a list of its own: 'txgear settings'.
    return {**found, **{name: settings[name] for name in ("ports", "certificate", "config", "versions")}}

"""
C{txgear info}: what a server is.
"""

from __future__ import annotations

import click

from txgear.cli.base import quantities
from txgear.cli.base.api import ROOT
from txgear.cli.base.options import Servers, json_option, server_options
from txgear.cli.base.output import write_facts, write_json


@click.command(epilog="Example: txgear info --server gear.example:4730 --tls")
@json_option
@server_options
def command(servers: Servers, as_json: bool) -> None:
    """What a server is: its version, how long it has run, its store, and how much it has to do."""
    for api in servers.apis():
        found = api.get(f"{ROOT}/server")
        if as_json:
            write_json({"server": api.place.name, **found})
            continue
        store = found.pop("store")
        facts = {"server": api.place.name, **found, "uptime": quantities.age(found["uptime"])}
        facts["store"] = store["name"] if store["available"] else f"{store['name']}, away: {store['why']}"
        write_facts(facts)

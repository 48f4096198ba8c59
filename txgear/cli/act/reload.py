"""
C{txgear reload}: has servers read their files again.
"""

from __future__ import annotations

import click

from txgear.cli.act.acts import Row, complain
from txgear.cli.act.servers import at_each
from txgear.cli.base.api import ROOT, Api
from txgear.cli.base.options import Servers, json_option, server_options
from txgear.cli.base.output import Column

COLUMNS = (Column("config"), Column("summary"), Column("warnings", right=True))


@click.command(epilog="Example: txgear reload")
@json_option
@server_options
def command(servers: Servers, as_json: bool) -> int:
    """
    Have each server read its file of policies, schedules, identities and rules again, and those of TLS, and
    go on in new log files, as SIGHUP does.

    Where a file has a mistake nothing changes, and it says which.
    """
    return at_each(servers, reload_json if as_json else reload, COLUMNS, as_json)


def reload_json(api: Api) -> Row:
    """Reload one; the row is all that its answer has."""
    found: Row = api.send("POST", f"{ROOT}/server/reload")
    return found


def reload(api: Api) -> Row:
    """Reload one; the row is for people."""
    config = reload_json(api)["config"]
    if config is None:
        return {"config": None, "summary": "it has no file", "warnings": 0}
    for warning in config["warnings"]:
        complain(f"{api.place.name}: {warning}")
    return {"config": config["path"], "summary": config["summary"], "warnings": len(config["warnings"])}

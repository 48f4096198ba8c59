"""
C{txgear copy}: submits the same once more, or with something changed.
"""

from __future__ import annotations

import base64
from typing import Any

import click

from txgear.cli.act.acts import STDIN, Fleet, Row, carry_out, handles, input_lines
from txgear.cli.base.api import Api, as_shown, path_of
from txgear.cli.base.moments import moment_value, span_value
from txgear.cli.base.options import Servers, json_option, server_options
from txgear.cli.base.output import Column
from txgear.cli.base.payloads import read_payload
from txgear.cli.base.statuses import MISUSED, CommandError

COLUMNS = (Column("original"), Column("handle"), Column("function"), Column("joined"))


@click.command(epilog="Example: txgear copy H:vm:7 --in 5m --priority low")
@click.argument("names", metavar="HANDLE...", nargs=-1, required=True)
@click.option("--function", metavar="NAME", help="Of this function.")
@click.option("--workload", metavar="FILE", help="With this workload; - is standard input.")
@click.option("--unique", metavar="TEXT", help="With this unique; without it they have none.")
@click.option("--priority", type=click.Choice(["high", "normal", "low"]), metavar="high|normal|low")
@click.option(
    "--at", "when", type=moment_value, metavar="TIME", help="Not before: 18:30, '2026-12-24 18:30'."
)
@click.option(
    "--in", "delay", type=span_value, metavar="TIME", help="Not before so long from now: 90s, 1.5h."
)
@json_option
@server_options
def command(
    servers: Servers,
    as_json: bool,
    names: tuple[str, ...],
    workload: str | None,
    unique: str | None,
    function: str | None,
    **changed: Any,
) -> int:
    """
    Submit the jobs with these HANDLEs once more (- for those on standard input, one a line), as new
    background jobs. What is not said is as with the originals; but they have no unique, and begin at once.

    Of a job that is done, or was cancelled, the server keeps no workload: it has to be given.
    """
    if unique is not None and (len(names) > 1 or STDIN in names):
        raise CommandError("--unique is for one copy: two jobs with one unique are one", MISUSED)
    if workload == STDIN and STDIN in names:
        raise CommandError("standard input has handles, or the workload: not both", MISUSED)
    order = {name: value for name, value in changed.items() if value is not None}
    words = {"unique": unique, "function": function}
    order |= {name: as_shown(word) for name, word in words.items() if word is not None}
    if workload is not None:
        order["base64"] = base64.b64encode(read_payload(workload)).decode("ascii")

    def copy(api: Api, handle: str) -> Row:
        return {"original": handle, **api.send("POST", path_of("jobs", handle, "copy"), body=order)}

    fleet = Fleet(servers)
    meant = handles(names, input_lines())
    return carry_out(fleet, fleet.jobs(meant, copy), COLUMNS, as_json)

"""
C{txgear workload}: what a job is to be done with.
"""

from __future__ import annotations

import click

from txgear.cli.base.api import path_of
from txgear.cli.base.finding import ask_one
from txgear.cli.base.options import Servers, json_option, server_options
from txgear.cli.base.output import write_facts, write_json
from txgear.cli.base.payloads import output_option, read_payload, write_payload
from txgear.cli.base.statuses import MISUSED, CommandError


@click.command(epilog="Example: txgear workload H:vm:7 --output mail.eml")
@click.argument("handle")
@click.option("--put", metavar="FILE", help="Give the job this workload instead; - is standard input.")
@output_option
@json_option
@server_options
def command(servers: Servers, as_json: bool, handle: str, put: str | None, output: str | None) -> None:
    """
    The workload of the job HANDLE, as bytes, of any size.

    Of jobs that are over only the dead have theirs. With --json it is text, its first 64 KiB, with \\x and
    two digits for bytes that are no UTF-8. With --put it is corrected, of a job that no worker has or that is
    dead; 'txgear retry HANDLE' queues that again.
    """
    if put is not None and output is not None:
        raise CommandError("--put corrects a workload, --output reads it: one of the two", MISUSED)
    if as_json and output is not None:
        raise CommandError("--output is for bytes, not for --json", MISUSED)
    path = path_of("jobs", handle, "workload")
    if put is not None:
        api, _ = ask_one(servers, handle, lambda api: api.get(path_of("jobs", handle)))
        changed = api.send("PUT", path, body=read_payload(put))
        write_json(changed) if as_json else write_facts(changed)
    elif as_json:
        write_json(ask_one(servers, handle, lambda api: api.get(path, {"as": "json"}))[1])
    else:
        write_payload(ask_one(servers, handle, lambda api: api.open(path))[1].pieces(), output)

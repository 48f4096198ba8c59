"""
C{txgear pause}: hands out no more jobs of functions.
"""

from __future__ import annotations

import click

from txgear.cli.act.acts import Fleet
from txgear.cli.act.functions import function_names_or_pattern, pattern_option, pause_or_resume
from txgear.cli.base.options import Servers, json_option, server_options


@click.command(epilog="Example: txgear pause mail.send mail.bulk")
@function_names_or_pattern
@pattern_option
@json_option
@server_options
def command(servers: Servers, as_json: bool, functions: tuple[str, ...], pattern: str | None) -> int:
    """
    Hand out no more jobs of these FUNCTIONs, at each server, until they are resumed; over restarts too.

    Jobs are still taken, and those that run go on. A FUNCTION by its name may be one that is not known yet.
    """
    return pause_or_resume(Fleet(servers), "pause", functions, pattern, as_json)

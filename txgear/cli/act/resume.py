"""
C{txgear resume}: hands out jobs of paused functions again.
"""

from __future__ import annotations

import click

from txgear.cli.act.acts import Fleet
from txgear.cli.act.functions import function_names_or_pattern, pattern_option, pause_or_resume
from txgear.cli.base.options import Servers, json_option, server_options


@click.command(epilog="Example: txgear resume --function 'mail.*'")
@function_names_or_pattern
@pattern_option
@json_option
@server_options
def command(servers: Servers, as_json: bool, functions: tuple[str, ...], pattern: str | None) -> int:
    """Hand out jobs of these paused FUNCTIONs again, at each server."""
    return pause_or_resume(Fleet(servers), "resume", functions, pattern, as_json)

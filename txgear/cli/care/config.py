"""
C{txgear config}: look into the server's file before the server reads it.
"""

from __future__ import annotations

import sys
import time

import click

from txgear.cli.base.options import json_option
from txgear.cli.base.output import printable, write_json
from txgear.cli.base.statuses import DONE, FAILED


@click.group(epilog="Example: txgear config check /etc/txgear.toml")
def command() -> None:
    """Look into the server's file before the server reads it."""


@command.command(epilog="Example: txgear config check /etc/txgear.toml mail.send")
@click.argument("file")
@click.argument("functions", metavar="[FUNCTION]...", nargs=-1)
@json_option
def check(file: str, functions: tuple[str, ...], as_json: bool) -> int:
    """
    Check FILE, which is for the server's --config, and show what is in it; of the named functions only which
    policy each has, and who may do what with it.

    If there are mistakes, the first one of each table is a line, and the exit status is 1. A rule that never
    counts is no mistake.
    """
    from txgear.cli.care.configcheck import as_document, as_lines
    from txgear.daemon.config import read_config
    from txgear.daemon.tables import ConfigMistakes

    try:
        config = read_config(file)
    except ConfigMistakes as error:
        if as_json:
            write_json({"file": file, "mistakes": list(error.lines)})
        else:
            for line in error.lines:
                print(f"txgear config check: {line}", file=sys.stderr)
        return FAILED
    if as_json:
        write_json({"file": file, "mistakes": [], **as_document(config, functions, time.time())})
        return DONE
    for line in as_lines(config, file, functions, time.time()):
        print(printable(line))
    return DONE

"""
The C{txgear} command: one module here for each subcommand.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from txgear import __version__
from txgear.cli import gearmand
from txgear.errors import ConfigurationError


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run C{txgear SUBCOMMAND ...}.

    @param arguments: the words after C{txgear}; the process's own by default.
    @return: the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="txgear",
        description="Tools for the txgear job server. The server itself is started by: twistd -n txgear",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"txgear {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser(
        "gearmand",
        add_help=False,
        help="start the server with gearmand's command line (txgear gearmand --help)",
    )
    words = list(sys.argv[1:] if arguments is None else arguments)
    known, rest = parser.parse_known_args(words[:1])
    assert known.command == "gearmand"
    try:
        gearmand.run(rest + words[1:])
    except ConfigurationError as error:
        print(f"txgear gearmand: {error}", file=sys.stderr)
        return 1
    return 0

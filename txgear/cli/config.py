"""
C{txgear config}: look into the server's file before the server reads it.
"""

from __future__ import annotations

from collections.abc import Sequence

from txgear.cli import configcheck
from txgear.cli.arguments import Parser


def parser() -> Parser:
    """The parser of the command line up to the name of what is to be done."""
    made = Parser(prog="txgear config", description="Look into the server's file.", allow_abbrev=False)
    commands = made.add_subparsers(metavar="COMMAND", title="commands", required=True)
    commands.add_parser("check", add_help=False, help="check the file, and show what is in it")
    return made


def run(arguments: Sequence[str]) -> int:
    """
    Check the file, and print what is in it.

    @param arguments: the words after C{txgear config}.
    @return: the exit status.
    @raise ConfigurationError: the file cannot be read, or is no TOML.
    """
    _, rest = parser().parse_known_args(arguments[:1])
    return configcheck.run([*rest, *arguments[1:]], "txgear config check")

"""
C{txgear token}: make a token, with which a client or a worker says who it is.
"""

from __future__ import annotations

import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Final

from txgear.cli.arguments import Parser
from txgear.security.tokens import Token, new_token

DESCRIPTION: Final = """\
Make a token. It is printed this once, and kept nowhere:

  token: what the client or the worker gives the server
  file:  what stands in the file of the server's --config, which does not tell the token"""

EPILOG: Final = """\
In the file it looks like this, and counts from the next SIGHUP on:

  [[identity]]
  name = "web"
  tokens = ["ID:SHA256"]

Two tokens of an identity count at the same time. So to take a new one in the place of an old one: put
the new one beside it, and reload; give the new one to all that had the old one; take the old one out,
and reload. Who is still connected with it is hung up on then."""

HINT: Final = (
    "Put the second one into `tokens` of an [[identity]] in the server's file, and reload the server."
    " `txgear token new --help` says how to replace a token."
)


def parser() -> Parser:
    """The parser of the command line."""
    made = Parser(prog="txgear token", description="Make tokens.", allow_abbrev=False)
    commands = made.add_subparsers(metavar="COMMAND", title="commands", required=True)
    commands.add_parser(
        "new",
        help="make a token",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return made


def run(arguments: Sequence[str]) -> int:
    """
    Make a token, and print it.

    @param arguments: the words after C{txgear token}.
    @return: the exit status.
    """
    parser().parse_args(arguments)
    token = new_token()
    print(f"token: {token}")
    print(f"file:  {Token.of(token.encode('ascii'))}")
    print(HINT, file=sys.stderr)
    return 0

"""
C{txgear token}: make a token, with which a client or a worker says who it is.
"""

from __future__ import annotations

from typing import Final

import click

from txgear.cli.base.options import json_option
from txgear.cli.base.output import note, write_json
from txgear.security.tokens import Token, new_token

HINT: Final = (
    "Put the second one into `tokens` of an [[identity]] in the server's file, and reload the server."
    " `txgear token new --help` says how to replace a token."
)


@click.group(epilog="Example: txgear token new")
def command() -> None:
    """Make tokens."""


@command.command(
    epilog="Example: (umask 077; txgear token new > web.new; sed -n 's/^token: //p' web.new > web.token)"
)
@json_option
def new(as_json: bool) -> None:
    """
    Make a token. It is printed this once, and kept nowhere:

    \b
    token: what the client or the worker gives the server
    file:  what stands in the server's file; it does not tell the token

    In the file it looks like this, and counts from the next reload on:

    \b
    [[identity]]
    name = "web"
    tokens = ["ID:SHA256"]

    Two tokens of an identity count at the same time. So to take a new one in the place of an old one: put
    the new one beside it, and reload; give the new one to all that had the old one; take the old one out,
    and reload. Who is still connected with it is hung up on then.
    """
    token = new_token()
    kept = str(Token.of(token.encode("ascii")))
    if as_json:
        write_json({"token": token, "file": kept})
    else:
        print(f"token: {token}")
        print(f"file:  {kept}")
    note(HINT)

"""
The C{txgear} command. Each subcommand is a module here that has its name; other modules are parts of one.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import Final

from txgear._version import __version__
from txgear.cli import access, check, config, gearmand, import_, ping, token, trace
from txgear.cli.arguments import Parser
from txgear.errors import ConfigurationError

COMMANDS: Final = {
    "access": access.run,
    "check": check.run,
    "config": config.run,
    "gearmand": gearmand.run,
    "import": import_.run,
    "ping": ping.run,
    "token": token.run,
    "trace": trace.run,
}
"""The function of each subcommand: it is given the words after the name, and returns the exit status."""

INTERRUPTED: Final = 130
"""The exit status after SIGINT, as shells have it."""


def parser() -> Parser:
    """The parser of the command line up to the subcommand's name; the subcommand parses the rest."""
    made = Parser(
        prog="txgear",
        description="Tools for the txgear job server. The server itself is started by: twistd -n txgear",
        epilog="txgear COMMAND --help says more of a command.",
        allow_abbrev=False,
    )
    made.add_argument("--version", action="version", version=f"txgear {__version__}")
    commands = made.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    commands.add_parser("access", add_help=False, help="see who may do what, by the server's file")
    commands.add_parser("check", add_help=False, help="the same as config check")
    commands.add_parser("config", add_help=False, help="check the server's file")
    commands.add_parser("gearmand", add_help=False, help="start the server with gearmand's command line")
    commands.add_parser("import", add_help=False, help="take over the jobs that a gearmand has stored")
    commands.add_parser("ping", add_help=False, help="say whether a server is alive, for health checks")
    commands.add_parser("token", add_help=False, help="make a token for a client or a worker")
    commands.add_parser("trace", add_help=False, help="show the packets of connections by name")
    return made


def _drop_output() -> None:
    """Write nothing more, and nothing of what is left: at its end Python would try once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run C{txgear SUBCOMMAND ...}.

    @param arguments: the words after C{txgear}; the process's own by default.
    @return: the exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = "txgear"
    try:
        known, rest = parser().parse_known_args(words[:1])
        if known.command is None:
            what = f"a command is wanted, not {rest[0]}" if rest else "a command is wanted"
            raise ConfigurationError(f"{what}: see txgear --help")
        name = f"txgear {known.command}"
        status = COMMANDS[known.command](rest + words[1:])
        # Here, and not at the end of the process, where it would be a traceback.
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Whoever reads has seen enough, as `head` has.
        _drop_output()
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _drop_output()
        print(f"{name}: {error.strerror}", file=sys.stderr)
        return 1
    except ConfigurationError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return INTERRUPTED

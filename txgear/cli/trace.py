"""
C{txgear trace}: shows the packets of connections by name, on their way to a server and back.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, Final

from txgear.cli.arguments import Parser
from txgear.errors import ConfigurationError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort

PORT: Final = 4731
"""Where it listens unless it is told where: beside Gearman's own port."""

DESCRIPTION: Final = (
    "Show the packets of connections by name. A client or a worker that is told this address in place of"
    " the server's is connected to the server; each packet, in both directions, is a line."
)

EPILOG: Final = (
    "A line has the seconds since the start, the connection's number, -> for what goes to the server and <-"
    " for what comes from it, the packet's name and its arguments. Long data is shown by its size."
    " Ctrl-C ends it, and the connections with it. Whoever can connect here can do what the server lets"
    " this machine do."
)


def parser() -> Parser:
    """The command line."""
    made = Parser(prog="txgear trace", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False)
    made.add_argument("server", metavar="ADDRESS", help="the server, such as 127.0.0.1:4730")
    made.add_argument(
        "--listen",
        metavar="ADDRESS",
        default=f"127.0.0.1:{PORT}",
        help=f"where clients and workers connect to [127.0.0.1:{PORT}]; port 0 is any that is free",
    )
    return made


def start(given: Namespace, reactor: Any, say: Callable[[str], object]) -> list[IListeningPort]:
    """
    Listen.

    @param given: the command line's words.
    @param say: called with each line that is to be shown.
    @return: the open ports.
    @raise ConfigurationError: an address makes no sense, or cannot be listened on.
    """
    from txgear.cli.traceproxy import Tracer
    from txgear.net.listeners import listen, listen_addresses
    from txgear.net.servers import server_list

    for address in (given.server, given.listen):
        if address.startswith(("tls:", "ssl:")):
            raise ConfigurationError(f"{address}: there is no TLS here; name a port without it")
    try:
        [server] = server_list(reactor, given.server)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    tracer = Tracer(reactor, server, say)
    ports = [listen(reactor, place, PORT, 50, tracer) for place in listen_addresses([given.listen])]
    return [port for port in ports if port is not None]


def run(arguments: Sequence[str]) -> int:
    """
    Show packets until a signal, or the end of whoever reads what is shown.

    @param arguments: the words after C{txgear trace}.
    @return: the exit status.
    @raise ConfigurationError: it cannot listen there.
    """
    given = parser().parse_args(arguments)
    from twisted.internet import reactor as installed

    from txgear.net.listeners import shown_address

    reactor: Any = installed
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")

    def say(line: str) -> None:
        try:
            print(line, flush=True)
        except BrokenPipeError:
            # `head` has seen enough. Python would still write what is left, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if reactor.running:
                reactor.stop()

    ports = start(given, reactor, say)
    where = ", ".join(map(shown_address, ports))
    print(
        f"txgear trace: listening on {where}, for {given.server}; Ctrl-C ends it", file=sys.stderr, flush=True
    )
    reactor.run()
    return 0

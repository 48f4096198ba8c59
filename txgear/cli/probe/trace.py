"""
C{txgear trace}: shows the packets of connections by name, on their way to a server and back.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, Final

import click

from txgear.cli.base.options import DEFAULT, json_option
from txgear.cli.base.output import note, write_json
from txgear.cli.base.statuses import DONE, MISUSED, CommandError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort

    from txgear.cli.probe.traceproxy import Seen

PORT: Final = 4731
"""Where it listens unless it is told where: beside Gearman's own port."""


def start(address: str, listening: str, reactor: Any, say: Callable[[Seen], object]) -> list[IListeningPort]:
    """
    Listen.

    @param address: the server's.
    @param listening: where clients and workers connect to.
    @param say: called with all that is to be shown.
    @return: the open ports.
    @raise CommandError: an address makes no sense.
    @raise ConfigurationError: it cannot be listened on.
    """
    from txgear.cli.probe.traceproxy import Tracer
    from txgear.net.listeners import listen, listen_addresses
    from txgear.net.servers import server_list

    for each in (address, listening):
        if each.startswith(("tls:", "ssl:")):
            raise CommandError(f"{each}: there is no TLS here; name a port without it", MISUSED)
    try:
        [server] = server_list(reactor, address)
    except ValueError as error:
        raise CommandError(str(error), MISUSED) from error
    tracer = Tracer(reactor, server, say)
    ports = [listen(reactor, place, PORT, 50, tracer) for place in listen_addresses([listening])]
    return [port for port in ports if port is not None]


@click.command(epilog="Example: txgear trace 127.0.0.1:4730 --listen 127.0.0.1:4731")
@click.argument("server", required=False, envvar="TXGEAR_SERVER")
@click.option(
    "--listen",
    metavar="ADDRESS",
    default=f"127.0.0.1:{PORT}",
    help=f"Where clients and workers connect to; port 0 is any that is free.  [127.0.0.1:{PORT}]",
)
@json_option
def command(server: str | None, listen: str, as_json: bool) -> int:
    """
    Show the packets of connections by name. A client or a worker that is told this address in place of the
    SERVER's (127.0.0.1:4730) is connected to the server; each packet, in both directions, is a line.

    A line has the seconds since the start, the connection's number, -> for what goes to the server and <-
    for what comes from it, the packet's name and its arguments. Long data is shown by its size. Ctrl-C ends
    it, and the connections with it. Whoever can connect here can do what the server lets this machine do.
    """
    from twisted.internet import reactor as installed

    from txgear.net.listeners import shown_address

    reactor: Any = installed
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")

    def say(seen: Seen) -> None:
        try:
            if as_json:
                write_json({**seen._asdict(), "seconds": round(seen.seconds, 6)})
            else:
                print(seen)
            sys.stdout.flush()
        except BrokenPipeError:
            # `head` has seen enough. Python would still write what is left, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if reactor.running:
                reactor.stop()

    ports = start(server or DEFAULT, listen, reactor, say)
    where = ", ".join(map(shown_address, ports))
    note(f"txgear trace: listening on {where}, for {server or DEFAULT}; Ctrl-C ends it")
    reactor.run()
    return DONE

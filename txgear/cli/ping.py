"""
C{txgear ping}: is a server alive? For health checks, which look at the exit status.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from txgear.cli.arguments import Parser
from txgear.errors import ConfigurationError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from txgear.net.login import Login
    from txgear.net.servers import Server

DEFAULT: Final = "127.0.0.1:4730"
TIMEOUT: Final = 5.0
MAX_TIMEOUT: Final = 10.0
"""Seconds that an attempt to connect has in any case."""

ALIVE: Final = 0
DEAD: Final = 1
MISUSED: Final = 2
"""The exit statuses."""

DESCRIPTION: Final = (
    "Ask a server for an ECHO. The exit status is 0 if it answers in time, 1 if it does not, and 2 if the"
    " command line has a mistake."
)


def parser() -> Parser:
    """The parser of the command line."""
    made = Parser(prog="txgear ping", description=DESCRIPTION, allow_abbrev=False)
    made.add_argument(
        "server",
        metavar="SERVER",
        nargs="?",
        default=DEFAULT,
        help=f"HOST, HOST:PORT, [ADDRESS]:PORT, unix:/path or another endpoint string [{DEFAULT}]",
    )
    made.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=TIMEOUT, help=f"for all of it [{TIMEOUT:g}]"
    )
    made.add_argument("--tls", action="store_true", help="speak TLS; so do the next four")
    made.add_argument("--tls-ca", metavar="FILE", help="trust these authorities, not the system's")
    made.add_argument("--tls-cert", metavar="FILE", help="show this certificate")
    made.add_argument("--tls-key", metavar="FILE", help="its key, if that is in another file")
    made.add_argument("--tls-name", metavar="NAME", help="the name in the server's certificate")
    made.add_argument("--token-file", metavar="FILE", help="log in with the token in its first line")
    return made


def ping(clock: IReactorTime, server: Server, login: Login | None, timeout: float) -> Deferred[float]:
    """
    Ask a server for an echo.

    @param clock: the reactor.
    @param timeout: seconds for all of it.
    @return: fires with the seconds that it took; fails with C{TimeoutError}, with C{ConnectionError}, or as
        the endpoint does.
    """
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from txgear.net.connector import connect_once
    from txgear.net.serverconnection import Limits, ServerConnection

    began = clock.seconds()
    answer: Deferred[float] = Deferred()

    class Ping(ServerConnection):
        """The first that it sends is an echo."""

        def became_ready(self) -> None:
            if not answer.called:
                answer.callback(clock.seconds() - began)

        def went_down(self, reason: str) -> None:
            if not answer.called:
                answer.errback(ConnectionError(reason))

    def overdue(_: object, seconds: float) -> Failure:
        return Failure(TimeoutError(f"no answer within {seconds:g} seconds"))

    def failed(failure: Failure) -> None:
        if not answer.called:
            answer.errback(failure)

    connection = Ping(clock, server, Limits(), [], login)
    connecting = connect_once(clock, server, lambda: connection)
    _ = connecting.addErrback(failed)

    def over(result: Any) -> Any:
        connecting.cancel()
        if connection.transport is not None:
            connection.abort()
        return result

    return answer.addTimeout(timeout, clock, onTimeoutCancel=overdue).addBoth(over)


def prepare(given: Namespace, reactor: Any) -> tuple[Server, Login | None]:
    """
    Look at the command line's words.

    @raise ConfigurationError: they make no sense, or a file is not what it should be.
    """
    from txgear.net.servers import server_list
    from txgear.security.clienttls import ClientTLS

    if not 0 < given.timeout <= MAX_TIMEOUT:
        raise ConfigurationError(f"--timeout {given.timeout:g}: seconds up to {MAX_TIMEOUT:g} are wanted")
    tls: bool | ClientTLS = given.tls
    files = (given.tls_ca, given.tls_cert, given.tls_key)
    try:
        if given.tls_name is not None or files != (None, None, None):
            tls = ClientTLS(*files, given.tls_name or "")
        [server] = server_list(reactor, given.server, tls)
        return server, None if given.token_file is None else _login(given.token_file)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _login(path: str) -> Login:
    from txgear.daemon.tap import password
    from txgear.net.arguments import token_bytes
    from txgear.net.login import Login

    token = password("token-file", path, "", {})
    assert token is not None
    try:
        return Login(token_bytes(token))
    except ValueError as error:
        raise ConfigurationError(f"--token-file: the first line of {path}: {error}") from error


def run(arguments: Sequence[str]) -> int:
    """
    Ask, and print a line.

    @param arguments: the words after C{txgear ping}.
    @return: the exit status.
    """
    try:
        given = parser().parse_args(arguments)
        from twisted.internet import reactor as installed

        reactor: Any = installed
        server, login = prepare(given, reactor)
    except ConfigurationError as error:
        print(f"txgear ping: {error}", file=sys.stderr)
        return MISUSED
    said: list[str] = []
    status = DEAD

    def alive(seconds: float) -> None:
        nonlocal status
        status = ALIVE
        print(f"{server.name} answers, after {seconds * 1000:.1f} ms")

    def ask() -> None:
        asking = ping(reactor, server, login, given.timeout)
        _ = asking.addCallbacks(alive, lambda failure: said.append(failure.getErrorMessage()))
        _ = asking.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(ask)
    reactor.run()
    if status != ALIVE:
        why = said[0] if said else "interrupted"
        print(f"txgear ping: {server.name}: {why}", file=sys.stderr)
    return status

"""
Runs Twisted's reactor for one command: until its coroutine has ended, or a signal ends it.

Twisted is imported within the functions: a command line with a mistake is refused without it.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

from txgear.cli.base.api import unreachable
from txgear.cli.base.connection import plain_connection
from txgear.cli.base.options import Servers
from txgear.cli.base.output import printable
from txgear.cli.base.statuses import (
    DENIED,
    FAILED,
    INTERRUPTED,
    MISUSED,
    UNREACHABLE,
    CommandError,
)
from txgear.errors import AccessDenied, MissingAbility, NotConnected, TxgearError

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
"""Those that end a command."""

if TYPE_CHECKING:
    from txgear.client import Client

CLOSE_SECONDS: Final = 2.0
"""How long a server may take to end the connection when all is over."""

T = TypeVar("T")
Work = Callable[[Any], Coroutine[Any, Any, int]]
"""A coroutine function: it is called with the reactor, and returns the exit status."""


def run(work: Work, name: str, on_signal: Callable[[int], object] | None = None) -> int:
    """
    Run the reactor as long as a coroutine goes on.

    SIGINT and SIGTERM cancel it: C{CancelledError} is raised in it where it waits. It may catch that, tidy
    up, and return a status; otherwise the command ends as interrupted. A third signal ends the process at
    once. A signal that was ignored when the command began, as SIGINT is behind C{nohup}, still is.

    Warnings of the log are lines on the standard error.

    @param name: of the command, before these lines.
    @param on_signal: called with the number of the first signal; only the second cancels then.
    @return: the exit status.
    @raise CommandError: as L{as_command_error} has it for what the coroutine raised; anything else that it
        raised is raised as it is.
    """
    from twisted.internet import reactor as installed
    from twisted.internet.defer import Deferred

    reactor: Any = installed
    taken = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    ended: list[Any] = []
    signals: list[int] = []
    working: Deferred[int] | None = None

    def signalled(number: int) -> None:
        signals.append(number)
        if len(signals) == 1 and on_signal is not None:
            on_signal(number)
        elif working is not None:
            for each in taken if len(signals) > 1 else ():
                signal.signal(each, signal.SIG_DFL)
            working.cancel()

    def begin() -> None:
        nonlocal working
        # The reactor has installed its own by now, which only stop it.
        for number in taken:
            signal.signal(number, lambda got, frame: reactor.callFromThread(signalled, got))
        working = Deferred.fromCoroutine(work(reactor))
        _ = working.addErrback(lambda failure: failure.value).addCallback(ended.append)
        _ = working.addCallback(lambda _: reactor.stop())

    log_to_stderr(name)
    reactor.callWhenRunning(begin)
    reactor.run()
    outcome = ended[0]
    if not isinstance(outcome, BaseException):
        return int(outcome)
    raise as_command_error(outcome, signals) from outcome


def as_command_error(error: BaseException, signals: list[int]) -> BaseException:
    """
    How a command ends by an error of a client or a worker.

    @param signals: those that have come.
    @return: a L{CommandError}; or the error itself, where it is none of this package's.
    """
    from twisted.internet.defer import CancelledError

    if isinstance(error, CommandError):
        return error
    if isinstance(error, CancelledError):
        return interrupted(signals)
    if isinstance(error, AccessDenied):
        return CommandError(printable(error.text), DENIED, error.code)
    if isinstance(error, (NotConnected, MissingAbility)):
        return CommandError(printable(str(error)), UNREACHABLE)
    if isinstance(error, TxgearError):
        return CommandError(printable(str(error)), FAILED)
    return error


def interrupted(signals: list[int]) -> CommandError:
    """How a command ends by a signal: with the status that shells give it."""
    number = signals[-1] if signals else signal.SIGINT
    if number == signal.SIGINT:
        return CommandError("interrupted", INTERRUPTED)
    return CommandError(f"ended by {signal.Signals(number).name}", 128 + number)


def log_to_stderr(name: str) -> None:
    """Have warnings and errors of the log written to the standard error, a line each."""
    from twisted.logger import (
        FilteringLogObserver,
        LogLevel,
        LogLevelFilterPredicate,
        formatEvent,
        globalLogBeginner,
    )

    def write(event: Any) -> None:
        text = formatEvent(event)
        if "log_failure" in event:
            text = f"{text}: {event['log_failure'].getTraceback()}"
        sys.stderr.write("".join(f"{name}: {printable(line)}\n" for line in text.splitlines()))

    warnings = FilteringLogObserver(write, [LogLevelFilterPredicate(LogLevel.warn)])  # type: ignore[arg-type]
    globalLogBeginner.beginLoggingTo([warnings], redirectStandardIO=False)


async def close(client: Client, reactor: Any) -> None:
    """Leave the servers; one that does not hang up in L{CLOSE_SECONDS} is not waited for."""
    from twisted.internet.defer import TimeoutError

    closing = client.close().addTimeout(CLOSE_SECONDS, reactor)
    await closing.addErrback(lambda failure: failure.trap(TimeoutError) and None)


# Servers


def peer_arguments(servers: Servers) -> dict[str, Any]:
    """
    Arguments that a L{Client<txgear.client.Client>} and a L{Worker<txgear.worker.Worker>} have in common:
    where the servers are, how TLS is spoken, and who asks.
    """
    from txgear.security.clienttls import ClientTLS

    files = servers.tls
    tls = False if files is None else ClientTLS(files.ca, files.certificate, files.key, files.name)
    return {"servers": list(servers.names), "tls": tls, "token": servers.token}


def client_arguments(servers: Servers) -> dict[str, Any]:
    """Arguments of a L{Client<txgear.client.Client>}: it is as patient as C{--timeout} says."""
    patience = {"connect_timeout": servers.timeout, "answer_timeout": servers.timeout}
    return {**peer_arguments(servers), **patience}


def made(make: Callable[..., T], *positional: Any, **named: Any) -> T:
    """
    Call something with what stands on the command line.

    @raise CommandError: it makes no sense there; C{ValueError} or C{TypeError} was raised.
    """
    try:
        return make(*positional, **named)
    except (ValueError, TypeError) as error:
        raise CommandError(printable(str(error)), MISUSED) from error


def check_reachable(servers: Servers) -> None:
    """
    Look whether there is a server at all. A client and a worker wait for one, as servers are started again;
    who types a command wants to know at once.

    @raise CommandError: at none of the places anybody listens.
    """
    first: CommandError | None = None
    for place in servers.places():
        try:
            plain_connection(place, servers.timeout).close()
            return
        except OSError as error:
            first = first or unreachable(place, error)
    assert first is not None
    raise first

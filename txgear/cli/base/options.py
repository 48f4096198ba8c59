"""
The options that all commands have: which servers, and how to speak with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from math import isnan
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from txgear.cli.base.places import Place, TLSFiles, place_of
from txgear.cli.base.statuses import MISUSED, CommandError
from txgear.net.endpointwords import several
from txgear.security.tokens import token_id

if TYPE_CHECKING:
    from txgear.cli.base.api import Api

DEFAULT: Final = "127.0.0.1:4730"
TIMEOUT: Final = 10.0
MOST_SECONDS: Final = 3600.0

F = TypeVar("F", bound=Callable[..., Any])


class Seconds(click.FloatRange):
    """A number within a range. No C{nan}, which is within any range for click (8.5)."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """As in click."""
        number: float = super().convert(value, param, ctx)
        if isnan(number):
            self.fail(f"{value} is no number.", param, ctx)
        return number


@dataclass(frozen=True)
class Servers:
    """
    The servers that a command is for.

    @ivar names: as they were written, at least one.
    @ivar tls: how TLS is spoken; C{None} for without.
    @ivar token: who asks, in bytes; C{None} for nobody.
    @ivar timeout: seconds for a connection, and for each answer.
    """

    names: tuple[str, ...]
    tls: TLSFiles | None
    token: bytes | None
    timeout: float

    def places(self) -> list[Place]:
        """
        Where they are.

        @raise CommandError: one is not understood.
        """
        return [place_of(name, self.tls) for name in self.names]

    def apis(self) -> list[Api]:
        """What asks each of them; nothing is connected yet."""
        from txgear.cli.base.api import Api

        return [Api(place, self.token, self.timeout) for place in self.places()]

    def api(self) -> Api:
        """
        What asks the only one.

        @raise CommandError: there are several.
        """
        if len(self.names) > 1:
            raise CommandError("this command is for one server; --server names several", MISUSED)
        return self.apis()[0]


def server_options(command: F) -> F:
    """Give a command the options of L{Servers}; it is called with C{servers}."""
    return timed_server_options(TIMEOUT, "To connect, and for each answer.")(command)


def timed_server_options(timeout: float, about: str) -> Callable[[F], F]:
    """
    The same, where a time means something else.

    @param timeout: the seconds where none are said.
    @param about: what they are for.
    """

    def give(command: F) -> F:
        made = _with_servers(command)
        click.option(
            "--timeout",
            type=Seconds(0, MOST_SECONDS, min_open=True),
            metavar="SECONDS",
            default=timeout,
            help=f"{about}  [{timeout:g}]",
        )(made)
        for option in reversed(_OPTIONS):
            option(made)
        return made

    return give


def _with_servers(command: F) -> F:
    @wraps(command)
    def called(*arguments: Any, **given: Any) -> Any:
        own = {name: given.pop(name) for name in OPTIONS}
        return command(*arguments, servers=servers_of(**own), **given)

    return called  # type: ignore[return-value]


OPTIONS: Final = ("server", "tls", "tls_ca", "tls_cert", "tls_key", "tls_name", "token_file", "timeout")
"""The names of these options, as L{servers_of} takes them."""


def servers_of(
    server: tuple[str, ...],
    tls: bool,
    tls_ca: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    tls_name: str | None,
    token_file: str | None,
    timeout: float,
) -> Servers:
    """
    What the options say.

    @raise CommandError: a file is not what it should be.
    """
    files = None
    if tls or any(each is not None for each in (tls_ca, tls_cert, tls_key, tls_name)):
        if tls_key is not None and tls_cert is None:
            raise CommandError("--tls-key: --tls-cert is wanted as well", MISUSED)
        files = TLSFiles(tls_ca, tls_cert, tls_key, tls_name or "")
    names = tuple(name for each in server for word in each.split() for name in several(word)) or (DEFAULT,)
    token = None if token_file is None else read_token(token_file)
    return Servers(names, files, token, timeout)


_OPTIONS: Final = (
    click.option(
        "--server",
        multiple=True,
        metavar="SERVER",
        envvar="TXGEAR_SERVER",
        help="HOST, HOST:PORT, [ADDRESS]:PORT, unix:/path or another endpoint string; may be said several"
        f" times.  [{DEFAULT}]",
    ),
    click.option("--tls", is_flag=True, help="Speak TLS; so do the next four."),
    click.option("--tls-ca", metavar="FILE", envvar="TXGEAR_TLS_CA", help="Trust these authorities."),
    click.option("--tls-cert", metavar="FILE", envvar="TXGEAR_TLS_CERT", help="Show this certificate."),
    click.option("--tls-key", metavar="FILE", envvar="TXGEAR_TLS_KEY", help="Its key, if in another file."),
    click.option("--tls-name", metavar="NAME", help="The name in the server's certificate."),
    click.option(
        "--token-file",
        metavar="FILE",
        envvar="TXGEAR_TOKEN_FILE",
        help="Log in with the token in its first line.",
    ),
)


def read_token(path: str) -> bytes:
    """
    The token in the first line of a file.

    @raise CommandError: there is none.
    """
    try:
        with open(path, "rb") as file:
            token = file.readline(1000).rstrip(b"\r\n")
    except OSError as error:
        raise CommandError(f"--token-file: cannot read {path}: {error.strerror}", MISUSED) from error
    if token_id(token) is None:
        raise CommandError(f"--token-file: the first line of {path} is no token", MISUSED)
    return token


json_option: Final = click.option("--json", "as_json", is_flag=True, help="Write JSON.")

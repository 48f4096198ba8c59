"""
The options in force, in words, and where each comes from.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from txgear.daemon.passwords import STORE_PASSWORD
from txgear.quantities import byte_words
from txgear.server.setup import COMMAND_LINE, DEFAULT, ENVIRONMENT, FILE, Option

_DEFAULT: Final = re.compile(r"\s*\[default:.*\]$", re.DOTALL)
"""What the help of an option says of its default, which stands beside it here."""
_REPEAT: Final = re.compile(r"; may repeat$")

_SECRET: Final = re.compile(r"password$|passphrase|secret|token|(?<!tls-)key$")
"""Names of options, of other people's plugins too, whose values may be secrets. C{--tls-key} names a file."""


def _seconds(count: int) -> str:
    return "the system's" if count < 0 else f"{count} s"


def _number_or(none: int, words: str) -> Callable[[int], str]:
    return lambda count: words if count == none else f"{count:,}"


_WORDS: Final[dict[str, Callable[[Any], str]]] = {
    "port": str,
    "job-retries": _number_or(-1, "no bound"),
    "worker-wakeup": _number_or(0, "as many as there are jobs"),
    "keepalive-idle": _seconds,
    "keepalive-interval": _seconds,
    "keepalive-count": _number_or(-1, "the system's"),
    "max-packet": byte_words,
    "unfinished-memory": byte_words,
    "queue-memory": byte_words,
    "lease": _seconds,
    "store-timeout": _seconds,
    "worker-grace": _seconds,
}
"""How values are said that are more than a number or a text."""

_NOTHING: Final = {
    "listen": "127.0.0.1 and ::1",
    "cluster-name": "the host and the process",
    "file-descriptors": "as many as the system allows",
    "config": "none: no policies, no schedules, no access rules",
    "audit-log": "none: the last thousand lines are in memory",
    "log-file": "none",
}
"""What stands for an option that has no value."""


class Described(Protocol):
    """The command line, as L{txgear.daemon.options.Options} has read it."""

    optParameters: Sequence[Sequence[Any]]  # Twisted's
    optFlags: Sequence[Sequence[Any]]  # Twisted's

    @property
    def given(self) -> Collection[str]:
        """The names of those that were given."""

    @property
    def repeated(self) -> Mapping[str, str]:
        """Others that may repeat, each with its help."""

    def __getitem__(self, name: str, /) -> Any:
        """The value of an option."""

    def in_force(self) -> Mapping[str, Any]:
        """What holds where that is not the very value of an option, by its name."""


def shown(options: Described, environ: Mapping[str, str], password_in_url: bool) -> list[Option]:
    """
    All options that mean something here.

    @param password_in_url: whether the store's URL had a password.
    """
    found = list(_all(options))
    variable = _store_variable(options, environ)
    if variable:
        found = [
            option._replace(source=ENVIRONMENT, place=variable) if option.name == "store" else option
            for option in found
        ]
    at = next(place for place, option in enumerate(found) if option.name == "store-password-file")
    found[at] = _password(options, environ, found[at], password_in_url)
    return found


def _all(options: Described) -> Iterator[Option]:
    in_force = options.in_force()
    for name, _, _, about, *_ in options.optParameters:
        yield _option(options, name, in_force.get(name, options[name]), about)
    for name, about in options.repeated.items():
        # The help of these is a docstring.
        yield _option(options, name, ", ".join(options[name]) or None, about[:1].lower() + about[1:])
    for name, _, about in options.optFlags:
        yield _option(options, name, "on" if options[name] else "off", about)


def _option(options: Described, name: str, value: Any, about: str) -> Option:
    if value is None:
        words = _NOTHING.get(name, "none")
    elif _SECRET.search(name):
        words = "set; it is not shown"
    else:
        words = _WORDS.get(name, str)(value) if not isinstance(value, str) else value
    given = name in options.given
    return Option(
        name,
        words or "none",
        _REPEAT.sub("", _DEFAULT.sub("", about)),
        COMMAND_LINE if given else DEFAULT,
        f"--{name}" if given else "",
    )


def _store_variable(options: Described, environ: Mapping[str, str]) -> str:
    """The environment variable that says in which folder the store is; empty where none does."""
    if options["store"] is not None:
        return ""
    if environ.get("STATE_DIRECTORY"):
        return "STATE_DIRECTORY"
    if os.geteuid() != 0 and os.path.isabs(environ.get("XDG_STATE_HOME", "")):
        return "XDG_STATE_HOME"
    return ""


def _password(options: Described, environ: Mapping[str, str], option: Option, in_url: bool) -> Option:
    """Whether the store has a password, and from where; never which."""
    path = options["store-password-file"]
    if path is not None:
        source, place = FILE, path
    elif environ.get(STORE_PASSWORD):
        source, place = ENVIRONMENT, STORE_PASSWORD
    elif in_url:
        source, place = COMMAND_LINE, "--store"
    else:
        return option._replace(name="store-password", value="none", about="the store's password")
    return Option("store-password", "set; it is not shown", "the store's password", source, place)

"""
What is imported late, and before the service starts: whoever has become another user by then (C{--uid}) may
not be able to read it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from txgear.journal.thread import StoreThread

ASKED: Final = "txgear.web.apisite"
"""
What a server without a web needs for the first connection that goes over to HTTP: 8 MB, and 0.2 s to import.
"""

LATE: Final = (
    ("web", "", "txgear.web.site"),
    ("otel", False, "txgear.web.metrics.otel"),
    ("statsd", None, "txgear.web.metrics.statsd"),
)
"""
Options, what turns each off, and what it alone needs. That is imported before the service starts: whoever has
become another user by then (C{--uid}) may not be able to read it.
"""

ELSEWHERE: Final = (
    ASKED,
    "txgear.server.gear",
    "alembic.config",
    "alembic.command",
    "encodings.idna",
    "encodings.unicode_escape",
)
"""
What else a server may need once it has become another user, or has another root: for connections, for the
tables of a new store, and what Python itself imports when it is first asked for: by names, and by pages.
"""


def import_late(options: Mapping[str, Any]) -> None:
    """
    Import what these options need; what is missing is told at the start.

    @param options: those of C{twistd txgear}, by long names.
    """
    _import(module for option, off, module in LATE if options[option] != off)


def import_for_another(options: Mapping[str, Any] | None) -> None:
    """
    Import what a server needs that cannot import it later; what is missing is told when it is wanted.

    @param options: C{twistd}'s own, by long names.
    """
    if options is not None and any(options.get(each) is not None for each in ("uid", "gid", "chroot")):
        _import(ELSEWHERE)


def _import(modules: Iterable[str]) -> None:
    for module in modules:
        with suppress(ImportError):
            import_module(module)


class Import:
    """
    A module that the first who needs it has imported, in a thread: others are served meanwhile.
    """

    def __init__(self, reactor: Any, module: str, failed: Callable[[Failure], None]) -> None:
        """
        @param module: its full name.
        @param failed: is told why, each time that it cannot be imported.
        """
        self._reactor = reactor
        self._module = module
        self._failed = failed
        self._waiting: list[Deferred[None]] = []

    @property
    def done(self) -> bool:
        """Whether it is there."""
        return not self._waiting and self._module in sys.modules

    def wait(self) -> Deferred[None]:
        """
        @return: fires with C{None} when it is imported, or cannot be.
        """
        made: Deferred[None] = Deferred()
        self._waiting.append(made)
        if len(self._waiting) == 1:
            thread = StoreThread(self._reactor, "txgear import")
            _ = thread(lambda: import_module(self._module)).addErrback(self._failed).addCallback(self._over)
            thread.stop()
        return made

    def _over(self, _: object) -> None:
        waiting, self._waiting = self._waiting, []
        for made in waiting:
            made.callback(None)

"""
Connects to the first of several hosts that can be used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from twisted.logger import Logger

from txgear.stores.hosts import Host
from txgear.stores.verdicts import Verdict

LEAST_SECONDS: Final = 0.5
"""Seconds that a host has at the least, however many there are and however long those before it took."""


class Reached(Protocol):
    """
    A database that is reached by one of several hosts: a L{ServerDialect
    <txgear.stores.serverdialect.ServerDialect>}, which has these methods.
    """

    name: str
    timeout: float

    @property
    def driver_module(self) -> Any:
        """The driver, which has the class of all its errors."""

    def connect_to(self, host: Host, seconds: float, alone: bool, arguments: dict[str, Any]) -> Any:
        """Connect to a host that can be used, or raise the driver's error."""

    def with_message(self, error: Exception, message: str, *, passes: bool) -> Exception:
        """An error of the driver that means the same, with another message."""

    def message(self, error: BaseException) -> str:
        """The database's message in it."""

    def verdict(self, error: BaseException, *, committing: bool = False) -> Verdict:
        """What it means."""

    def remedy(self, error: BaseException) -> str:
        """What somebody has to do before trying again may help; empty where that may help as it is."""


class Connector:
    """
    Tries the hosts in their order, each time from the first one on: that is the preferred one. One that takes
    connections and is of no use otherwise comes last (L{leave}). Of the time that there is each has its
    share, so that one that hangs does not cost the others theirs.

    @ivar hosts: at least one.
    @ivar host: the one that answered last.
    """

    log = Logger()

    def __init__(
        self, dialect: Reached, hosts: Sequence[Host], seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self.hosts = hosts
        self.host: Host | None = None
        self._left: Host | None = None
        self._dialect = dialect
        self._seconds = seconds

    def connect(self, arguments: dict[str, Any]) -> Any:
        """
        @param arguments: of the driver's C{connect}.
        @return: the driver's connection.
        @raise Exception: the driver's error; where there are several hosts, its text tells of each.
        """
        hosts, dialect = self.hosts, self._dialect
        if len(hosts) == 1:
            return dialect.connect_to(hosts[0], dialect.timeout, True, arguments)
        deadline = self._seconds() + dialect.timeout
        failures: list[tuple[Host, Exception]] = []
        driver = dialect.driver_module
        order = sorted(hosts, key=lambda host: host == self._left)
        for more, host in zip(range(len(hosts), 0, -1), order, strict=True):
            share = max((deadline - self._seconds()) / more, LEAST_SECONDS)
            try:
                connection = dialect.connect_to(host, share, False, arguments)
            except driver.Error as error:
                failures.append((host, error))
            else:
                if host != self.host:
                    self.host = host
                    self.log.info("the store {store} is at {host}", store=dialect.name, host=str(host))
                return connection
        raise self._nobody(failures)

    def leave(self) -> None:
        """
        Try the host that answered last after all others, until another one is left: the store could not be
        opened there. So it is with a primary that was not told that there is a new one: it looks like one,
        and its commits wait for ever for a standby.
        """
        self._left = self.host

    def _nobody(self, failures: Sequence[tuple[Host, Exception]]) -> Exception:
        """None of the hosts can be used. If any of them may be by and by, that is what counts."""
        dialect = self._dialect
        text = "; ".join(f"{host}: {_brief(dialect.message(error))}" for host, error in failures)
        errors = [error for _, error in failures]
        passing = [error for error in errors if not self._lasts(error)]
        return dialect.with_message((passing or errors)[0], text, passes=bool(passing))

    def _lasts(self, error: Exception) -> bool:
        return bool(self._dialect.remedy(error)) or self._dialect.verdict(error) is Verdict.READ_ONLY


def _brief(message: str) -> str:
    """What a driver says of one host, without the host, as in "connection to server at ... failed: ..."."""
    return message.splitlines()[0].rpartition("failed: ")[2] if message else "no answer"

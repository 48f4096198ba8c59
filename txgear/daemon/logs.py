"""
The log file, which is filtered by level and can be reopened.
"""

from __future__ import annotations

from typing import IO, Final

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    textFileLogObserver,
)
from zope.interface import implementer

from txgear.errors import ConfigurationError

LEVELS: Final = {
    "FATAL": LogLevel.critical,
    "ALERT": LogLevel.critical,
    "CRITICAL": LogLevel.critical,
    "ERROR": LogLevel.error,
    "WARNING": LogLevel.warn,
    "NOTICE": LogLevel.info,
    "INFO": LogLevel.info,
    "DEBUG": LogLevel.debug,
}
"""gearmand's names of levels, and what Twisted calls them."""


@implementer(ILogObserver)
class LogFile:
    """
    Writes events of a level and above to a file, and events with a true C{always} at any level: with
    gearmand's default level, ERROR, the file would not say which store is used.

    Twisted's own log file cannot be told to filter or to reopen from a plugin.
    """

    def __init__(self, path: str, level: str) -> None:
        """
        @param path: the file; it is appended to.
        @param level: one of L{LEVELS}.
        @raise ConfigurationError: the file cannot be opened.
        """
        self.path = path
        self._level = LEVELS[level]
        self._open()

    def _open(self) -> None:
        try:
            self._file: IO[str] = open(self.path, "a", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise ConfigurationError(f"cannot open the log file {self.path}: {error.strerror}") from error
        self._write = textFileLogObserver(self._file)
        self._filter = FilteringLogObserver(self._write, [LogLevelFilterPredicate(self._level)])

    def __call__(self, event: LogEvent) -> None:
        """Part of C{ILogObserver}."""
        if event.get("always"):
            self._write(event)
        else:
            self._filter(event)

    def reopen(self) -> None:
        """
        Go on in a new file of the same name, as after a rotation; in the old
        one if that cannot be made.

        @raise ConfigurationError: the file cannot be opened.
        """
        old = self._file
        self._open()
        old.close()

    def close(self) -> None:
        """Write no more."""
        self._file.close()

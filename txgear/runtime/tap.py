"""
The command line of C{twistd txgear-worker}.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace
from setproctitle import setproctitle
from twisted.application.service import IService
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from txgear._version import __version__
from txgear.daemon.descriptors import open_standard_descriptors
from txgear.daemon.startup import check_twistd, print_mistakes_as_lines
from txgear.errors import ConfigurationError
from txgear.net.monotonic import use_monotonic_clock
from txgear.runtime.config import RuntimeTable
from txgear.runtime.loglines import JSON, OLD_LOG, QUIET, Lines
from txgear.runtime.reading import read_runtime

NAME: Final = "txgear-worker"
SUPERVISOR: Final = "supervisor"
"""What lines in JSON say that no child has written."""
TWISTEDS: Final = (*QUIET, OLD_LOG)
"""In the supervisor nobody but Twisted uses the old log: to say that a port is open, and closed."""


class Options(UsageOptions):
    """
    The options; all else stands in the file.

    @ivar table: what the file says; known when the command line has been read.
    """

    synopsis = "--config FILE"
    longdesc = "Workers in processes: started, watched, renewed and scaled as a file says."

    optParameters: Sequence[Sequence[Any]] = [
        ("config", "c", None, "TOML file with the groups of processes, and what they do", os.path.abspath),
    ]

    optFlags: Sequence[Sequence[Any]] = [
        ("watch", None, "load code anew when a file of it changes, as with watch = true"),
    ]

    table: RuntimeTable

    hung_up = False
    """Whether a SIGHUP has come since the file was read."""

    def opt_version(self) -> None:
        """Print the version and exit"""
        print(f"txgear {__version__}")
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Read the command line.

        C{twistd} answers a mistake with pages of help and the status 0; ours is one line, or one for each
        mistake of the file, and the status 1.
        """
        if self.parent is not None:
            open_standard_descriptors()
        try:
            super().parseOptions(options)
        except UsageError as error:
            raise SystemExit(f"{NAME}: {error}") from error

    def parseArgs(self, *arguments: str) -> None:
        """There are options only."""
        if arguments:
            raise UsageError(f"{arguments[0]}: there are options only; the file is that of --config")

    def postOptions(self) -> None:
        """Read the file, so that its mistakes are seen before anything is started."""
        if self["config"] is None:
            raise UsageError("--config is wanted: a file with what there is to do")
        try:
            if self.parent is not None:
                check_twistd(self.parent)
            if self.parent is not None:
                # It would end this process, which does not serve yet, and has its file read anew later.
                signal.signal(signal.SIGHUP, self._hang_up)
            self.table = self.read()
        except ConfigurationError as error:
            lines = getattr(error, "lines", [str(error)])
            raise UsageError(f"\n{NAME}: ".join(lines)) from error
        self._choose_log()

    def _hang_up(self, number: int, frame: object) -> None:
        self.hung_up = True

    def read(self) -> RuntimeTable:
        """
        Read the file.

        @raise ConfigurationError: it cannot be understood.
        """
        table = read_runtime(self["config"])
        return replace(table, watch=True) if self["watch"] else table

    def _choose_log(self) -> None:
        """Where C{twistd} would write its own text to the standard output, write lines of JSON."""
        twistd = self.parent
        if (
            self.table.log == JSON
            and twistd is not None
            and twistd.get("nodaemon")
            and not any(twistd.get(option) for option in ("logger", "syslog", "logfile"))
        ):
            twistd["logger"] = logger_of(self.table)


def logger_of(table: RuntimeTable) -> str:
    """What writes the log as the file says, by the name by which C{twistd} imports it."""
    chosen = json_log if table.log == JSON else text_log
    return f"{__name__}.{chosen.__name__}"


def text_log() -> Lines:
    """What writes the log as text for who looks at it, on the standard output."""
    return Lines(sys.stdout, "text", SUPERVISOR, timed=True, quiet=TWISTEDS)


def json_log() -> Lines:
    """What writes the log where the file says C{log = "json"}."""
    return Lines(sys.stdout, JSON, SUPERVISOR, quiet=TWISTEDS)


def makeService(options: Options) -> IService:
    """Part of C{IServiceMaker}: the runtime that the file describes."""
    from twisted.internet import reactor

    from txgear.runtime.service import RuntimeService

    use_monotonic_clock(reactor)
    print_mistakes_as_lines()
    setproctitle(f"txgear runtime: {options['config']}")
    service = RuntimeService(reactor, options.table, options.read, os.environ, config=options["config"])

    def reload() -> None:
        if options.hung_up:
            service.reload()

    reactor.callWhenRunning(reload)
    return service

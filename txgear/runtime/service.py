"""
A runtime that is all that its process does: its signals, whoever asks how it is, and code that changes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred

from txgear._version import __version__
from txgear.daemon.notify import notifier
from txgear.runtime.config import RuntimeTable
from txgear.runtime.health import Health
from txgear.runtime.report import Report
from txgear.runtime.supervisor import Supervisor
from txgear.runtime.watching import Watcher

ITS_OWN: Final = frozenset(("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"))
"""What a service manager tells this process, and not its children."""


class RuntimeService(Supervisor):
    """
    A L{Supervisor} that heeds signals: SIGTERM and SIGINT end the process when all jobs have ended, a second
    one cuts that short, and SIGHUP has everything loaded anew. It tells how it is.
    """

    def __init__(
        self,
        reactor: Any,
        table: RuntimeTable,
        read: Callable[[], RuntimeTable],
        environ: Mapping[str, str],
        *,
        config: str = "",
        **options: Any,
    ) -> None:
        """
        @param environ: the environment of the process; what is for it alone the children do not get.
        @param config: the file that C{read} reads, which is watched as well where code is.
        @param options: those of L{Supervisor}.
        @raise ConfigurationError: a server, a file or an address that the table names cannot be used.
        """
        inherited = {name: value for name, value in environ.items() if name not in ITS_OWN}
        super().__init__(reactor, table, read, inherited, **options)
        self._reactor = reactor
        self._config = config
        self._ends = False
        report = Report(self)
        self._health = Health(
            reactor,
            self._clock,
            report,
            table.health,
            notifier(self._clock, environ, report.summary),
        )
        self._watcher: Watcher | None = None

    # Start and stop

    def startService(self) -> None:
        """
        Start all children, tell how this is, and heed signals.

        @raise ConfigurationError: nobody can be told how this is: a port cannot be opened.
        """
        self._health.startService()
        self.log.info(
            "txgear {version} runs {file} as process {pid}: {groups}",
            version=__version__,
            file=self._config,
            pid=os.getpid(),
            groups=", ".join(f"group {name}" for name in self.table.group),
        )
        self._heed_signals()
        # Again, when the reactor has installed its own: for SIGTERM, of which the process would die, ours.
        self._reactor.callWhenRunning(self._heed_signals)
        self._reactor.sigTerm = signal.getsignal(signal.SIGTERM)
        super().startService()
        self._watch()

    def stopService(self) -> Deferred[None]:
        """As in L{Supervisor}. Until the end it is told how this is."""
        self.log.info("the runtime stops; jobs have {seconds:g} s", seconds=self.table.stop_timeout)
        self._health.stopping()
        if self._watcher is not None:
            self._watcher.stop()
        return super().stopService().addCallback(self._all_ended)

    def _all_ended(self, _: None) -> Deferred[None]:
        self.log.info("all processes have ended")
        return self._health.stopService()

    def _heed_signals(self) -> None:
        for number, action in (
            (signal.SIGTERM, self.end),
            (signal.SIGINT, self.end),
            (signal.SIGHUP, self.reload),
        ):
            signal.signal(number, self._in_reactor(action))

    def _in_reactor(self, action: Callable[[], object]) -> Callable[[int, object], None]:
        return lambda number, frame: self._reactor.callFromThread(action)

    def end(self) -> None:
        """End the process when all jobs have ended; asked again, have them fail now."""
        if self.stopping or self._ends:
            self.log.warn("a second signal: jobs that have not ended fail now")
            self.hurry()
        else:
            # The reactor stops the service in its next turn, and must not be told twice.
            self._ends = True
            self._reactor.stop()

    # New code

    def reload(self) -> None:
        """As in L{Supervisor}."""
        if self.stopping:
            return
        self._health.reloading()
        before = self.table
        super().reload()
        if self.table is before:
            return
        self._watch()
        if self.table.health != before.health:
            self.log.warn("health has changed in the file: that takes a restart")

    def _watch(self) -> None:
        """Watch code and the file, or do not, as the table says."""
        files = [self._config] if self._config else []
        if not self.table.watch:
            if self._watcher is not None:
                self._watcher.stop()
                self._watcher = None
        elif self._watcher is None:
            self._watcher = Watcher(self._clock, self.table.path, files, self.reload)
            self._watcher.start()
        else:
            self._watcher.watch(self.table.path, files)

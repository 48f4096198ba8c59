"""
A runtime that is all that its process does: its signals.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from txgear.runtime.supervisor import Supervisor


class RuntimeService(Supervisor):
    """
    A L{Supervisor} that heeds signals: SIGTERM and SIGINT end the process when all jobs have ended, a second
    one cuts that short, and SIGHUP has everything loaded anew.
    """

    def __init__(self, reactor: Any, *arguments: Any, **options: Any) -> None:
        """
        @param arguments: those of L{Supervisor}.
        """
        super().__init__(reactor, *arguments, **options)
        self._reactor = reactor

    def startService(self) -> None:
        """Start all children, and heed signals."""
        self._heed_signals()
        # Again, when the reactor has installed its own.
        self._reactor.callWhenRunning(self._heed_signals)
        super().startService()

    def stopService(self) -> Deferred[None]:
        """As in L{Supervisor}."""
        self.log.info("the runtime stops; jobs have {seconds:g} s", seconds=self.table.stop_timeout)
        return super().stopService()

    def _heed_signals(self) -> None:
        for number, action in (
            (signal.SIGTERM, self._end),
            (signal.SIGINT, self._end),
            (signal.SIGHUP, self.reload),
        ):
            signal.signal(number, self._in_reactor(action))

    def _in_reactor(self, action: Callable[[], object]) -> Callable[[int, object], None]:
        return lambda number, frame: self._reactor.callFromThread(action)

    def _end(self) -> None:
        if self.stopping:
            self.log.warn("a second signal: jobs that have not ended fail now")
            self.hurry()
        else:
            self._reactor.stop()

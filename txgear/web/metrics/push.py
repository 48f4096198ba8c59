"""
Metrics that are sent, to whom does not come for them.

They are read in the reactor's thread, in pieces, and sent by a thread of their own: a collector that is slow,
or away, keeps nobody waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client.metrics_core import Metric
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import SchedulerStopped
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.journal.link import InThread
from txgear.server.jobserver import JobServer
from txgear.web.metrics.figures import snapshot


class NotSent(Exception):
    """
    The collector has not taken the metrics.
    """


class Push:
    """
    Sends all metrics again and again: each time some seconds after the last time is over.
    """

    log = Logger()

    def __init__(
        self,
        server: JobServer,
        clock: IReactorTime,
        in_thread: InThread,
        seconds: float,
        where: str,
        send: Callable[[list[Metric]], None],
    ) -> None:
        """
        @param in_thread: calls something where it may block.
        @param seconds: from one time to the next.
        @param where: where they are sent, for the log.
        @param send: sends them. It may block, and raises L{NotSent} or C{OSError} where that fails.
        """
        self._server = server
        self._clock = clock
        self._in_thread = in_thread
        self._seconds = seconds
        self._where = where
        self._send = send
        self._timer: IDelayedCall | None = None
        self._away = False
        self._stopped = False

    def start(self) -> None:
        """Send from now on."""
        self._timer = self._clock.callLater(self._seconds, self._begin)

    def _begin(self) -> None:
        self._timer = None
        done: Any = snapshot(self._server).addCallback(self._hand_on)
        done.addBoth(self._is_over)

    def _hand_on(self, metrics: list[Metric]) -> Any:
        return None if self._stopped else self._in_thread(lambda: self._send(metrics))

    def _is_over(self, result: Any) -> None:
        if self._stopped:
            return
        if not isinstance(result, Failure):
            if self._away:
                self.log.info("metrics are sent to {where} again", where=self._where)
            self._away = False
        elif result.check(NotSent, OSError):
            if not self._away:
                self.log.warn(
                    "metrics cannot be sent to {where}: {error}; it is tried again each {seconds:g} seconds",
                    where=self._where,
                    error=result.value,
                    seconds=self._seconds,
                )
            self._away = True
        elif not result.check(SchedulerStopped):
            self.log.failure("a defect in what sends metrics to {where}", result, where=self._where)
        self.start()

    def stop(self) -> None:
        """Send no more. What is on its way is not waited for."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

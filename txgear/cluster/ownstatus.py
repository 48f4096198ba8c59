"""
What this server says of itself to the others of its cluster.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from txgear._version import __version__
from txgear.server.clusterview import Status
from txgear.server.jobserver import JobServer

SECONDS: Final = 2.0
"""Seconds after which it is said anew; it leaves with the next change of the store."""
MARKS: Final = 6
"""Times at which was counted how many jobs had ended: their rate is that of the last ten seconds, about."""


class OwnStatus:
    """
    One server's.
    """

    def __init__(self, server: JobServer, lease_seconds: float) -> None:
        self._server = server
        self._lease_seconds = lease_seconds
        self._marks: deque[tuple[float, int]] = deque(maxlen=MARKS)
        self._next = 0.0

    def is_due(self, now: float) -> bool:
        """Whether it is to be said anew; the next time is some seconds later then."""
        if now < self._next:
            return False
        self._next = now + SECONDS
        self._marks.append((now, self._ended()))
        return True

    def _ended(self) -> int:
        statistics = self._server.broker.statistics
        return sum(counts.completed + counts.failures for counts in statistics.all())

    def status(self) -> Status:
        """It, as it is now."""
        server, now = self._server, self._server.clock.seconds()
        broker, journal = server.broker, server.journal
        assert journal is not None
        assert journal.trust is not None
        running = broker.dispatcher.running
        return Status(
            version=__version__,
            uptime=round(now - server.started),
            queued=len(broker.table) - running,
            running=running,
            workers=server.census.total.known,
            connections=len(broker.peers),
            rate=self._rate(now),
            lag=round(server.lag.worst(), 4),
            lease=self._lease_seconds,
            trust=round(journal.trust.left, 1),
            draining=broker.dispatcher.draining,
        )

    def _rate(self, now: float) -> float:
        """Jobs that ended in a second, since the first of the marks."""
        if not self._marks or now <= self._marks[0][0]:
            return 0.0
        then, ended = self._marks[0]
        return round((self._ended() - ended) / (now - then), 1)

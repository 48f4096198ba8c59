"""
What a diagnosis is made of: what was found, and what it was found in.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from txgear.broker.operators.inspection import moment
from txgear.broker.operators.workforce import Muster
from txgear.broker.rights import PEERS, may
from txgear.broker.states import STORING
from txgear.broker.words import clock, span

if TYPE_CHECKING:
    from txgear.broker.broker import Broker
    from txgear.broker.counts import Counts
    from txgear.broker.model import Function, Peer

OK: Final = "ok"
"""All is as it should be."""
INFO: Final = "info"
"""It goes on by itself, or as somebody has decided."""
WARNING: Final = "warning"
"""Somebody should look at it."""
CRITICAL: Final = "critical"
"""Nothing goes on until somebody does something."""

SEVERITIES: Final = (CRITICAL, WARNING, INFO, OK)
"""All of them, what needs somebody first."""

MOST_LOOKED_AT: Final = 5000
"""
Jobs of one kind that are looked at for one diagnosis, and workers: some milliseconds. Where there are more,
it says so.
"""


class Finding(NamedTuple):
    """
    One line of a diagnosis.

    @ivar code: what it is, a word for programs. C{docs/web/diagnosis.md} says of each what to do.
    @ivar severity: one of L{SEVERITIES}.
    @ivar text: the same in a sentence, with its numbers, names and times.
    @ivar facts: these as values, by name. Times are as L{moment} makes them, spans are in seconds.
    """

    code: str
    severity: str
    text: str
    facts: dict[str, Any]


class Trend(NamedTuple):
    """
    How a function has fared of late.

    @ivar seconds: for how long that was looked at.
    @ivar came: jobs that were submitted.
    @ivar ended: jobs that have ended, in whatever way.
    """

    seconds: float
    came: int
    ended: int


class Later:
    """
    The jobs of a function that are not to be handed out yet, as far as they were looked at, the newest first.

    @ivar total: how many there are.
    @ivar rows: how many of them only the store has: their time is not near.
    @ivar seen: how many were looked at.
    @ivar storing: of these, how many are on their way to the store.
    @ivar storing_since: when the first of those was submitted.
    @ivar unreadable: how many have workloads that cannot be read.
    @ivar retrying: how many wait for another attempt.
    @ivar delayed: how many wait for their time.
    @ivar withheld: how many wait for good, as the server drains.
    @ivar next_retry: when the first of those is due, by the server's time.
    @ivar next_delayed: the same of those that wait for their time.
    @ivar next_read: when the first of those that cannot be read is tried again.
    """

    __slots__ = (
        "delayed",
        "next_delayed",
        "next_read",
        "next_retry",
        "retrying",
        "rows",
        "seen",
        "storing",
        "storing_since",
        "total",
        "unreadable",
        "withheld",
    )

    def __init__(self, broker: Broker, function: Function, most: int) -> None:
        """
        @param most: how many are looked at.
        """
        self.total = function.waiting
        self.rows = function.later
        self.seen = self.storing = self.unreadable = self.retrying = self.delayed = self.withheld = 0
        self.storing_since = self.next_retry = self.next_delayed = self.next_read = 0.0
        unreadable, offset = broker.store_events.unreadable, broker.timers.offset
        for job in islice(reversed(function.delayed), most):
            self.seen += 1
            if job.state == STORING:
                self.storing += 1
                self.storing_since = _earlier(self.storing_since, job.created)
                continue
            due = job.due if job.appointment is None else job.appointment.due - offset
            if job in unreadable:
                self.unreadable += 1
                self.next_read = _earlier(self.next_read, due)
            elif not due:
                self.withheld += 1
            elif job.retries:
                self.retrying += 1
                self.next_retry = _earlier(self.next_retry, due)
            else:
                self.delayed += 1
                self.next_delayed = _earlier(self.next_delayed, due)


def _earlier(known: float, other: float) -> float:
    """The earlier of two times, of which the first is 0.0 where there is none yet."""
    return min(known, other) if known else other


class Case:
    """
    A function that is looked at, and who wants to know.

    @ivar broker: has all that there is.
    @ivar peer: who asks. It is told only what it may know.
    @ivar function: the function.
    @ivar counts: what is counted of it; C{None} if that is not counted by itself.
    @ivar now: the server's time.
    @ivar trend: how it has fared of late, or C{None}.
    @ivar names: whether workers and identities may be named.
    @ivar waiting: how many of its jobs no worker has although they are due.
    @ivar waited: for how many seconds the one has that has waited for the longest; 0.0 if none does.
    @ivar later: its jobs that are not due.
    @ivar muster: its workers.
    @ivar most: how many jobs of one kind, and workers, are looked at.
    """

    def __init__(
        self,
        broker: Broker,
        peer: Peer,
        function: Function,
        now: float,
        trend: Trend | None,
        most: int = MOST_LOOKED_AT,
        doers: Iterable[Function] | None = None,
    ) -> None:
        self.broker = broker
        self.peer = peer
        self.function = function
        self.counts: Counts | None = function.counts
        if function.counts is broker.functions.statistics.other:
            self.counts = None
        self.now = now
        self.trend = trend
        self.names = may(peer, PEERS)
        lanes = function.lanes
        self.waiting = lanes.ready + lanes.paged + lanes.held
        self.waited = function.ready_for(now)
        self.later = Later(broker, function, most)
        self.muster = Muster(function, broker.sleepers, now, most)
        self.most = most
        self._doers = doers

    @property
    def left(self) -> int:
        """While the server drains: how many jobs are not handed out any more; of the store's only all."""
        return self.later.withheld + self.later.rows if self.broker.dispatcher.draining else 0

    @property
    def doers(self) -> Iterable[Function]:
        """Functions, the latest first, among which one is looked for that has workers and a similar name."""
        return reversed(self.broker.functions.by_name.values()) if self._doers is None else self._doers

    def at(self, moment: float) -> str:
        """A time by the server's, in words."""
        return self.at_wall(self.broker.timers.wall(moment))

    def at_wall(self, moment: float) -> str:
        """A time by the wall clock, in words."""
        return clock(moment, self.broker.timers.wall(self.now))

    def iso(self, moment_: float) -> str | None:
        """A time by the server's, for programs."""
        return moment(self.broker.timers.wall(moment_))

    def ago(self, moment: float) -> str:
        """How long ago that was, by the server's time, in words."""
        return span(self.now - moment)

    def seconds(self, moment: float) -> float:
        """The same for programs."""
        return round(max(self.now - moment, 0.0), 3)

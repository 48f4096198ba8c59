"""
How many workers each function has, and what they do: counted now and then, as nobody counts it as it changes.

Some thousands of workers are walked in pieces, so that nobody waits for that. What was counted is up to
L{PERIOD} old.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Cooperator, SchedulerStopped, TaskStopped
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.broker.broker import Broker
from txgear.broker.model import Function, Peer
from txgear.broker.operators.workforce import ABSENT, Headcount, condition, count_in
from txgear.broker.rights import PEERS, may
from txgear.broker.tenants import Tenant
from txgear.server.turns import Steps

PERIOD: Final = 10.0
"""Seconds between two counts."""
STEP: Final = 500
"""Workers, and functions of theirs, that are counted in one step: a tenth of a millisecond."""
PER_SECOND: Final = 20_000
"""
How many of these are counted in a second at the most: where there are many more the next count comes
later, so that none takes more than a hundredth of the time.
"""

_NONE: Final = Headcount()


class Census:
    """
    Counts the workers of one server, from L{start} to L{stop}.

    @ivar counted: the last count, by the names of functions; those without workers are not there.
    @ivar total: the same of all workers, each counted once.
    @ivar connections: how many connections there were, by what they speak.
    @ivar encrypted: how many of them had TLS.
    @ivar at: when that was, by the server's time; 0.0 for never.
    """

    log = Logger()

    def __init__(
        self, broker: Broker, clock: IReactorTime, cooperator: Cooperator, seconds: Callable[[], float]
    ) -> None:
        """
        @param cooperator: walks.
        @param seconds: the server's time.
        """
        self.counted: Mapping[bytes, Headcount] = {}
        self.total = Headcount()
        self.encrypted = 0
        self._workers: Mapping[Tenant | None, Counter[str]] = {}
        self.connections: Counter[str] = Counter()
        self.at = 0.0
        self._broker = broker
        self._clock = clock
        self._cooperator = cooperator
        self._seconds = seconds
        self._timer: IDelayedCall | None = None
        self._task: Any = None
        self._work = 0

    def of(self, function: Function) -> Headcount:
        """What was counted of a function last. It is not to be changed."""
        return self.counted.get(function.name, _NONE)

    def workers(self, peer: Peer) -> Counter[str]:
        """
        How many workers of which a peer may know were like that, by
        L{CONDITIONS<txgear.broker.operators.workforce.CONDITIONS>}.
        """
        if not may(peer, PEERS):
            return Counter() if peer.tenant is None else self._workers.get(peer.tenant, Counter())
        found: Counter[str] = Counter()
        for each in self._workers.values():
            found += each
        return found

    def start(self) -> None:
        """Count from now on, if that is not done already."""
        if self._timer is None and self._task is None:
            self._count()

    def stop(self) -> None:
        """Count no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            task, self._task = self._task, None
            task.stop()

    def _count(self) -> None:
        self._timer = None
        self._task = self._cooperator.cooperate(self._walk())
        done: Any = self._task.whenDone()
        done.addCallbacks(lambda steps: self._next(), self._failed)

    def _walk(self) -> Steps:
        headcounts: dict[bytes, Headcount] = {}
        total = Headcount()
        workers: dict[Tenant | None, Counter[str]] = {}
        connections: Counter[str] = Counter()
        self._work = since = encrypted = 0
        for peer in list(self._broker.peers):
            since += 1
            # It may have gone meanwhile.
            if peer.connected:
                connections[peer.kind] += 1
                encrypted += peer.encrypted
                now = self._seconds()
                if peer.abilities:
                    since += count_in(headcounts, total, peer, now)
                if peer.works:
                    workers.setdefault(peer.tenant, Counter())[condition(peer, now)] += 1
            if since >= STEP:
                self._work += since
                since = 0
                yield None
        for peer in self._broker.absences.absent():
            workers.setdefault(peer.tenant, Counter())[ABSENT] += 1
        self._work += since
        self.counted, self.total, self.at = headcounts, total, self._seconds()
        self._workers, self.connections, self.encrypted = workers, connections, encrypted

    def _next(self) -> None:
        self._task = None
        self._timer = self._clock.callLater(max(PERIOD, self._work / PER_SECOND), self._count)

    def _failed(self, failure: Failure) -> None:
        if failure.check(TaskStopped, SchedulerStopped):
            return
        self.log.failure("the workers could not be counted", failure)
        self._next()

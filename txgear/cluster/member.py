"""
A server among others over one database: it looks at the leases of their parts, and takes over the parts of
those that have died.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from twisted.logger import Logger, LogLevel

from txgear.broker.records import ASIDE, OWN, WAITING, Lease, StoredValue, Taken
from txgear.broker.words import number
from txgear.cluster.asking import Asking
from txgear.cluster.obeying import Obeying
from txgear.cluster.ownstatus import OwnStatus
from txgear.cluster.roster import parts_of, servers_of
from txgear.cluster.sharing import Sharing
from txgear.cluster.status import written
from txgear.cluster.watch import AGAIN_SECONDS, Watch
from txgear.interfaces import IPartedStore
from txgear.journal.errands import Pauses
from txgear.journal.journal import NUMBERS
from txgear.journal.timer import Timer
from txgear.server.clusterview import PartShown, ServerShown
from txgear.server.jobserver import JobServer

TOLD: Final = -1
"""In place of a beat: there is nothing more to be said."""


class Seen(NamedTuple):
    """
    What a look has shown.

    @ivar leases: those of all parts.
    @ivar shared: the values that hold for all servers.
    """

    leases: list[Lease]
    shared: list[StoredValue]


class TakenOver(NamedTuple):
    """
    A part that is ours from now on.

    @ivar taken: what is in it.
    @ivar first: the first of L{NUMBERS} job numbers above all of it.
    """

    taken: Taken
    first: int


class News(NamedTuple):
    """
    A part that was taken over, and that nothing has been said of yet.

    @ivar lease: as it was before.
    @ivar stood: for how many seconds that had stood still.
    @ivar jobs: jobs in it that wait.
    @ivar dead: dead ones.
    """

    lease: Lease
    stood: float
    jobs: int
    dead: int

    @property
    def was_anothers(self) -> bool:
        """Whether somebody had it, and we did not."""
        return bool(self.lease.owner) and not self.lease.is_ours


class Member:
    """
    What a server does for being in a cluster: it is its L{txgear.server.clusterview.Cluster}.

    @ivar elsewhere: the jobs of others.
    """

    log = Logger()

    def __init__(
        self, server: JobServer, store: IPartedStore, chance: Callable[[], float] = random.random
    ) -> None:
        """
        @param server: has this store, which is open.
        @param chance: a random number, 0 to 1.
        """
        assert server.journal is not None
        self.lease_seconds = store.lease_seconds
        self.takeovers = self.silent = self.failures = 0
        self._server = server
        self._journal = server.journal
        self._sharing = Sharing(server, server.journal, chance)
        self._watch = Watch(store.lease_seconds, chance)
        self._timer = Timer(server.clock, self._look)
        self._pauses = Pauses(AGAIN_SECONDS)
        self._own = OwnStatus(server, store.lease_seconds)
        self._leases: list[Lease] = []
        self._looked_at = server.clock.seconds()
        self.elsewhere = Asking(server, lambda: self._leases)
        self._obeying = Obeying(server, lambda: self._leases)
        # Those that are to be taken.
        self._ended: deque[Lease] = deque()
        # Those that were taken, and of which nothing has been said yet.
        self._news: list[News] = []
        # Parts of which a taking has failed: it may have been done all the same.
        self._tried: set[int] = set()
        # Of servers that know of no others the beat that was seen first, by part; or L{TOLD}.
        self._strangers: dict[int, int] = {}
        self._stopped = True

    def start(self) -> None:
        """Look, from now on."""
        self._stopped = False
        self._look()
        self._obeying.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        self._tell()
        self._timer.cancel()
        self._obeying.stop()
        self.elsewhere.stop()

    # What is shown: L{txgear.server.clusterview.Cluster}

    @property
    def looked(self) -> float:
        """Seconds since the last look that the database has answered."""
        return self._server.clock.seconds() - self._looked_at

    def parts(self) -> list[PartShown]:
        """The parts of the store, as they were seen last, in their order."""
        return parts_of(self._leases, self._stood)

    def servers(self) -> list[ServerShown]:
        """The servers that have parts, as they were seen last, by their names."""
        return [
            each._replace(status=self._own.status()) if each.is_ours else each
            for each in servers_of(self._leases, self._stood)
        ]

    def _stood(self, part: int) -> float:
        # A database that is away makes nobody silent.
        return self._watch.stood(part, self._looked_at)

    # Looking

    def _look(self) -> None:
        is_due = self._own.is_due(self._server.clock.seconds())
        status = written(self._own.status()) if is_due else None

        def look(store: Any) -> Seen:
            if status is not None:
                store.tell(status)
            # In this order: whoever has kept a value has a lease.
            shared = store.shared()
            return Seen(store.leases(), shared)

        self._journal.errands.run(look, self._looked, self._look_failed)

    def _looked(self, seen: Seen, asked: float, answered: float) -> None:
        leases = seen.leases
        self._pauses.succeeded()
        self._leases, self._looked_at = leases, answered
        self._warn_of_strangers(leases)
        ended = self._watch.looked(leases, asked, answered)
        # Who is about to leave does not take what another one leaves.
        if not self._server.broker.dispatcher.draining:
            self._ended.extend(ended)
            self._ended.extend(lease for lease in leases if lease.is_ours and lease.part in self._tried)
        self._go_on()
        self._sharing.looked(seen.shared, leases, ended)

    def _warn_of_strangers(self, leases: list[Lease]) -> None:
        """Tell once of each server that knows of no others, and lives."""
        for lease in leases:
            if lease.owner and not (lease.server or lease.is_ours):
                seen = self._strangers.setdefault(lease.part, lease.beat)
                if seen not in (TOLD, lease.beat):
                    self._strangers[lease.part] = TOLD
                    self.log.warn(
                        "a server without --cluster has a part: {name}; it shares no uniques, settings,"
                        " limits or schedules with this one. End it, and start it again with --cluster",
                        name=lease.name,
                    )

    def _look_failed(self, was_called: bool) -> None:
        self.failures += 1
        self._failed(was_called)

    def _failed(self, was_called: bool) -> None:
        self._watch.failed()
        self._ended.clear()
        self._tell()
        if not self._stopped:
            self._timer.start(self._pauses.failed(was_called))

    def _go_on(self) -> None:
        """Take the next part, or look again when it is time."""
        if self._stopped:
            return
        if self._ended:
            self._take(self._ended.popleft())
        else:
            self._tell()
            self._timer.start(self._watch.pause(self._server.clock.seconds()))

    # Taking over

    def _take(self, lease: Lease) -> None:
        def take(store: Any) -> TakenOver | None:
            taken = store.take(lease)
            # What is submitted from now on comes behind all that is in it.
            return None if taken is None else TakenOver(taken, store.reserve(NUMBERS))

        def done(taken: TakenOver | None, asked: float, answered: float) -> None:
            self._tried.discard(lease.part)
            if taken is not None:
                self._take_over(lease, taken)
            self._go_on()

        def failed(was_called: bool) -> None:
            self._tried.add(lease.part)
            self._failed(was_called)

        self._journal.errands.run(take, done, failed)

    def _take_over(self, lease: Lease, found: TakenOver) -> None:
        lanes, aside = found.taken
        events, now = self._server.broker.store_events, self._server.seconds()
        events.reserve(found.first, NUMBERS)
        self._journal.found(sum(lane.jobs for lane in lanes))
        events.take_over(lanes, now, aside)
        jobs = sum(count.jobs for count in lanes if count.lane.kind <= WAITING)
        # Those that are set aside for a review are among them.
        dead = sum(count.jobs for count in lanes if _is_dead(count.lane.kind))
        news = News(lease, self._watch.stood(lease.part, self._server.clock.seconds()), jobs, dead)
        self.takeovers += 1
        self.silent += news.was_anothers
        self._news.append(news)

    def _tell(self) -> None:
        """Say what was taken over: one line for all parts of a server."""
        found: dict[bytes, list[News]] = {}
        for news in self._news:
            lease = news.lease
            found.setdefault((lease.server or lease.owner) if news.was_anothers else b"", []).append(news)
        self._news.clear()
        for whose, parts in found.items():
            lease = parts[0].lease
            dead = sum(news.dead for news in parts)
            silent = (
                f" of {lease.name}, which has not been heard of for {max(each.stood for each in parts):.1f} s"
            )
            self.log.emit(
                # It is no news that another one has ended in order.
                LogLevel.warn if whose else LogLevel.info,
                "took over {parts}{whose}: {jobs}{dead}",
                parts=f"part {lease.part}" if len(parts) == 1 else f"{len(parts)} parts",
                whose=silent if whose else ", which nobody had",
                jobs=number(sum(news.jobs for news in parts), "job"),
                dead=f", {dead:,} dead" if dead else "",
            )


def _is_dead(kind: int) -> bool:
    return kind & ~OWN >= ASIDE

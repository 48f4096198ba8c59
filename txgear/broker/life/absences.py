"""
Workers that have said who they are, by a key that nobody else knows: what such a worker runs stays its own
for a while when its connection is lost.

A worker that is absent is still the worker of its jobs. Their times go on, operators may cancel them, and
nobody else gets them. It comes back by saying hello with its key, and says which of them it still has.

Of several servers over one database it offers what it has to the others as well: the one that takes over the
jobs of its server has its worker with them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from math import inf
from typing import TYPE_CHECKING, Final

from txgear.broker.bulk import BATCH
from txgear.broker.rights import WORK, may
from txgear.broker.states import PAGED, QUEUED, RUNNING
from txgear.broker.timerqueue import TimerQueue
from txgear.errors import InvalidArgument
from txgear.protocol.constants import WORKER_WELCOME
from txgear.protocol.hello import Welcome

if TYPE_CHECKING:
    from txgear.broker.dispatcher import Dispatcher
    from txgear.broker.life.departures import Departures
    from txgear.broker.life.lifecycle import Lifecycle
    from txgear.broker.model import Job, Peer
    from txgear.broker.ports import Outbox
    from txgear.broker.table import JobTable
    from txgear.broker.timers import Timers

GONE_SECONDS: Final = 1.0
"""
Seconds for which the connection of a worker is read that is said to be gone: what it sent before its end is
on its way to us, and its end is behind that. Only where its machine has gone as well there is no end.
"""
LOOK_FROM: Final = 1000
"""Workers that wait to be given up from which those are looked for that have no job any more."""


class Acquaintance:
    """
    A worker that has said hello.

    @ivar key: what it showed.
    @ivar peer: its connection, the last one where it is absent.
    @ivar since: since when it is absent, by the server's time; 0.0 where it is not.
    @ivar words: why it is gone, as somebody has said who knows its key; C{None} where nobody has.
    @ivar due: when it is given up, by the server's time; 0.0 for never.
    """

    __slots__ = ("due", "key", "peer", "since", "words")

    def __init__(self, key: str, peer: Peer) -> None:
        self.key = key
        self.peer = peer
        self.since = 0.0
        self.words: bytes | None = None
        self.due = 0.0


class Absences:
    """
    @ivar grace: seconds for which a worker may be absent; 0.0 for not at all.
    """

    __slots__ = (
        "_by_key",
        "_by_peer",
        "_claims_end",
        "_departures",
        "_dispatcher",
        "_lifecycle",
        "_look_from",
        "_offers",
        "_outbox",
        "_queue",
        "_table",
        "_timers",
        "grace",
    )

    def __init__(
        self,
        table: JobTable,
        dispatcher: Dispatcher,
        lifecycle: Lifecycle,
        departures: Departures,
        timers: Timers,
        outbox: Outbox,
        grace: float,
    ) -> None:
        self._table = table
        self._dispatcher = dispatcher
        self._lifecycle = lifecycle
        self._departures = departures
        self._timers = timers
        self._outbox = outbox
        self.grace = grace
        # Until when those may claim jobs who have them of the server that was here before this one.
        self._claims_end = 0.0
        self._by_key: dict[str, Acquaintance] = {}
        self._by_peer: dict[Peer, Acquaintance] = {}
        # What workers have of jobs that may come here, by handle: which attempt at each.
        self._offers: dict[Peer, dict[bytes, int]] = {}
        # Those that are given up at some time.
        self._queue: TimerQueue[Acquaintance] = TimerQueue()
        self._look_from = LOOK_FROM

    def server_started(self, now: float) -> None:
        """All is there that was kept: for some time those may come back who had it of the server before."""
        if self._table.restored:
            self._claims_end = now + self.grace
            self._timers.call_at(self._claims_end)
            self._end_claims(now)

    def _end_claims(self, now: float) -> None:
        """If that time is over, forget which jobs those were."""
        if self._claims_end and now >= self._claims_end:
            self._claims_end = 0.0
            self._table.restored = 0
            self._table.changed.clear()

    # A worker comes

    def greet(
        self, peer: Peer, key: str, jobs: Mapping[bytes, int], parts: Collection[bytes], now: float
    ) -> list[bytes]:
        """
        A worker says who it is, and what it has in hand. What it had here, and does not claim, is lost. Where
        it has another connection, that one ends: it is dead, and nobody has noticed.

        @param key: see L{txgear.protocol.hello.Hello.key}.
        @param jobs: the jobs that it claims, by handle: which attempt at each it has.
        @param parts: those of them of which it has sent a part.
        @return: the handles of those that are its own.
        @raise InvalidArgument: it has said so on this connection before.
        """
        if peer in self._by_peer:
            raise InvalidArgument("A worker says hello once on a connection")
        former = self._forget(self._by_key.get(key))
        if former is not None and former.words is not None:
            self._give_up(former, now)
            former = None
        self._by_key[key] = self._by_peer[peer] = Acquaintance(key, peer)
        held: list[bytes] = []
        for handle, attempt in jobs.items():
            job = None if former is None else former.peer.running.get(handle)
            if job is None and handle not in parts:
                job = self._find_queued(handle)
            if job is not None and self._claim(peer, job, attempt, now):
                held.append(handle)
        if former is not None:
            self._give_up(former, now)
        return held

    def offer(self, peer: Peer, jobs: Mapping[bytes, int], now: float) -> list[bytes]:
        """
        A worker has jobs of other servers, in place of those that it has offered before.

        @param jobs: by handle: which attempt at each it has. It has sent nothing of them.
        @return: the handles of those that are here already, and its own from now on; of the others it hears
            when they come. None where it is not known, or no more.
        """
        if peer not in self._by_peer:
            return []
        held: list[bytes] = []
        for handle, attempt in jobs.items():
            job = self._find_queued(handle)
            if job is not None and self._claim(peer, job, attempt, now):
                held.append(handle)
        self._offers[peer] = {handle: attempt for handle, attempt in jobs.items() if handle not in held}
        if not self._offers[peer]:
            del self._offers[peer]
        return held

    @property
    def offered(self) -> list[bytes]:
        """The handles of the jobs that workers have offered."""
        return [handle for jobs in self._offers.values() for handle in jobs]

    def claim_offered(self, now: float) -> None:
        """Jobs of another server have come here: those of them that were offered are their workers'."""
        for peer, jobs in list(self._offers.items()):
            if held := self.offer(peer, jobs, now):
                welcome = Welcome(self.grace, frozenset(held), offers=True)
                self._outbox.send(peer, WORKER_WELCOME, welcome.to_bytes())

    def _claim(self, peer: Peer, job: Job, attempt: int, now: float) -> bool:
        """
        A worker has an attempt at this job.

        @return: whether it is its own.
        """
        if job.retries + 1 != attempt or not may(peer, WORK, job.function.name):
            return False
        if job.state == RUNNING:
            assert job.worker is not None
            handle = job.kept_handle
            del job.worker.running[handle]
            job.worker = peer
            peer.running[handle] = job
            if job.history is not None:
                job.history.beat = now
        else:
            self._dispatcher.claim(job, peer, now)
            self._lifecycle.begin(job, peer, now)
        return True

    def _find_queued(self, handle: bytes) -> Job | None:
        """
        A job that a worker may have got of the server that had it before this one, and of which it has sent
        nothing: nobody has that any more. Nobody has got the job since, or it would be another attempt.
        """
        job = self._table.by_handle(handle)
        if (
            job is not None
            # Not one that happens to be called the same, where nothing is stored.
            and job.stored
            and job.number <= self._table.restored
            and job.number not in self._table.changed
            and job.handle == handle
            and job.state in (QUEUED, PAGED)
        ):
            return job
        return None

    # A worker goes

    def leave(self, peer: Peer, now: float) -> bool:
        """
        The connection of a peer is lost: it can do nothing any more.

        @return: whether it may come back to its jobs.
        """
        self._offers.pop(peer, None)
        known = self._by_peer.get(peer)
        if known is None:
            self._departures.give_up_all(peer, now)
            return False
        if known.words is not None or not (self.grace and peer.running):
            self._forget(known)
            self._give_up(known, now)
            return False
        self._departures.give_up(peer, list(peer.abilities), (), now)
        # We read nothing of it: otherwise that would mean that its silence is our doing.
        peer.unread = False
        known.since = now
        self._wait(known, now + self.grace)
        if len(self._queue) >= self._look_from:
            self._forget_idle()
        return True

    def _forget_idle(self) -> None:
        """
        Forget the absent workers whose jobs have all ended, or been taken back: there are never many more
        than there are jobs at workers, however many come and go.
        """
        for known in list(self._by_key.values()):
            if known.since and not known.peer.running:
                self._forget(known)
        self._look_from = max(LOOK_FROM, 2 * len(self._queue))

    def gone(self, key: str, words: bytes, now: float) -> None:
        """
        A worker is gone for good, as somebody says who knows its key: its attempts end with these words as
        soon as all is read that it has sent. Where the key is unknown nothing happens.
        """
        known = self._by_key.get(key)
        if known is None or known.words is not None:
            return
        known.words = words
        if known.since:
            self._forget(known)
            self._give_up(known, now)
        else:
            self._wait(known, now + GONE_SECONDS)

    def dismiss(self, peer: Peer, now: float) -> bool:
        """
        Give an absent worker up at once, as an operator says.

        @return: whether it was absent.
        """
        known = self._by_peer.get(peer)
        if known is None or not known.since:
            return False
        self._forget(known)
        self._give_up(known, now)
        return True

    def _wait(self, known: Acquaintance, due: float) -> None:
        self._queue.add(known, due)
        self._timers.call_at(due)

    def _forget(self, known: Acquaintance | None) -> Acquaintance | None:
        """It is not known any more."""
        if known is not None:
            self._queue.discard(known)
            del self._by_key[known.key], self._by_peer[known.peer]
        return known

    def _give_up(self, known: Acquaintance, now: float) -> None:
        """Nothing is its own any more that it had."""
        peer = known.peer
        self._departures.give_up_all(peer, now, known.words or b"")
        if peer.connected:
            self._outbox.hang_up(peer)

    def expire(self, now: float) -> float:
        """
        Give those up whose time is over.

        @return: when the next one's is, by the server's time, or less than a second earlier; infinite for
            never.
        """
        for _ in range(BATCH):
            known = self._queue.pop_due(now)
            if known is None:
                break
            self._forget(known)
            self._give_up(known, now)
        self._end_claims(now)
        return min(self._queue.next_due(), self._claims_end or inf)

    # Who is absent

    def peer(self, key: str) -> Peer | None:
        """The last connection of the worker with this key; C{None} where nobody has it."""
        known = self._by_key.get(key)
        return None if known is None else known.peer

    def since(self, peer: Peer) -> float:
        """Since when a worker is absent, by the server's time; 0.0 where it is not."""
        known = self._by_peer.get(peer)
        return 0.0 if known is None else known.since

    def until(self, peer: Peer) -> float:
        """When an absent worker is given up, by the server's time."""
        return self._by_peer[peer].due

    def __len__(self) -> int:
        """How many are known."""
        return len(self._by_key)

    def absent(self) -> Iterator[Peer]:
        """The workers that are absent and still have jobs."""
        return (peer for peer, known in self._by_peer.items() if known.since and peer.running)

    def check(self, peers: Collection[Peer], jobs: Collection[Job]) -> None:
        """
        Has each job that runs a worker that is there, or may come back?

        @param peers: those that are connected.
        @param jobs: those that have not ended.
        @raise AssertionError: one has not.
        """
        assert {known.key: known for known in self._by_peer.values()} == self._by_key
        assert all(peer in peers and peer in self._by_peer for peer in self._offers)
        waiting = [known for known in self._by_peer.values() if known.due]
        assert len(self._queue) == len(waiting), (len(self._queue), waiting)
        for peer, known in self._by_peer.items():
            assert known.peer is peer, peer
            assert (peer in peers) == (not known.since), peer
            assert bool(known.due) == (known.since > 0 or known.words is not None), peer
        for job in jobs:
            worker = job.worker
            # One that has given its jobs up may still have some for a moment.
            if worker is not None and job.kept_handle in worker.running:
                assert worker in peers or worker in self._by_peer, job

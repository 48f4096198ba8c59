"""
Jobs that may be in the store already: a submit is the same as one of which only the store has the row.

Which keys may be hidden there the journal knows, and is wrong now and then. So the store is asked; until it
answers, what was submitted is a job on its way to the store: others join it, and its answer holds its place
in the output of each. Then it is stored or handed out as what it is, or it was none of its own: the row comes
into memory, and all who wait for the one wait for the other.

Between the question and the answer the row may come into memory as its turn comes, or end. The first is
noticed when it does. After the second the submit is a new job, as if it had come a moment later.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from txgear.broker.counts import word_of
from txgear.broker.model import AskedReply
from txgear.broker.ports import Asking
from txgear.broker.records import SCHEDULED, ByKey, StoredValue, shown_handle
from txgear.broker.rights import check_join
from txgear.broker.states import DONE, STORING
from txgear.errors import STORE_UNAVAILABLE, AccessDenied, QueueError
from txgear.protocol.constants import ERROR, JOB_CREATED

if TYPE_CHECKING:
    from txgear.broker.dispatcher import Dispatcher
    from txgear.broker.ended.archive import Archive
    from txgear.broker.functions import Functions
    from txgear.broker.keys import Key
    from txgear.broker.life.lifecycle import Lifecycle
    from txgear.broker.life.operations import Operations
    from txgear.broker.model import Job, Peer
    from txgear.broker.persistence import Persistence
    from txgear.broker.ports import Journal, Outbox
    from txgear.broker.records import JobRecord
    from txgear.broker.rows.stock import Stock, Then
    from txgear.broker.table import JobTable
    from txgear.protocol.packets import Data

SILENT: Final = "The store does not say whether there is such a job already"
"""Why a submit is refused where nothing else is known."""

Schedule = tuple[bytes, float]
"""A schedule's name, and the time for which it submits a job."""


class Lookup:
    """
    One job of which the store is asked whether it is there already.

    @ivar key: by which it is looked for.
    @ivar size: bytes of its workload.
    @ivar full: why there is no room for it, if it is a new one.
    @ivar peers: who has submitted it.
    @ivar schedules: for which schedules it was submitted.
    @ivar waiting: what is to be done when this is known.
    """

    __slots__ = ("full", "key", "peers", "schedules", "size", "waiting")

    def __init__(self, key: Key, size: int, full: QueueError | None) -> None:
        self.key = key
        self.size = size
        self.full = full
        self.peers: dict[Peer, None] = {}
        self.schedules: list[Schedule] = []
        self.waiting: list[Callable[[float], None]] = []


class Lookups:
    """
    All that the store is asked by keys.

    @ivar denied: called with a peer that is refused what it has submitted, and with why. Whoever owns the
        broker sets it.
    @ivar bytes: of the workloads of jobs of which it is asked.
    """

    __slots__ = (
        "_archive",
        "_asked",
        "_dispatcher",
        "_functions",
        "_journal",
        "_lifecycle",
        "_operations",
        "_outbox",
        "_persistence",
        "_stock",
        "_table",
        "bytes",
        "denied",
    )

    def __init__(
        self,
        table: JobTable,
        functions: Functions,
        dispatcher: Dispatcher,
        archive: Archive,
        lifecycle: Lifecycle,
        operations: Operations,
        persistence: Persistence,
        stock: Stock,
        outbox: Outbox,
        journal: Journal | None,
    ) -> None:
        self._table = table
        self._functions = functions
        self._dispatcher = dispatcher
        self._archive = archive
        self._lifecycle = lifecycle
        self._operations = operations
        self._persistence = persistence
        self._stock = stock
        self._outbox = outbox
        self._journal = journal
        self._asked: dict[Job, Lookup] = {}
        self.bytes = 0
        self.denied: Callable[[Peer, AccessDenied], None] = lambda peer, error: None
        stock.met = self._is

    def __len__(self) -> int:
        """How many jobs there are of which it is asked; these are not counted as submitted yet."""
        return len(self._asked)

    # Submits

    def may_hide(self, key: Key) -> bool:
        """Whether only the store may have a job with this key."""
        journal = self._journal
        return journal is not None and bool(self._table.rows or self._archive.rows) and journal.may_hide(key)

    def ask(self, job: Job, key: Key, full: QueueError | None) -> None:
        """
        Have the store asked whether it has what was just submitted. The job is to be in its place, and on its
        way to the store, when this turn ends.

        @param full: why there is no room for it, if it is a new one.
        @raise QueueError: the store does not answer at present.
        """
        lookup = Lookup(key, job.size, full)
        if not self._ask(job, lookup):
            raise self._silence()
        job.reply = AskedReply(job.size)
        self.bytes += job.size

    def _ask(self, job: Job, lookup: Lookup) -> bool:
        """
        @return: whether it will be answered.
        """
        journal = self._journal
        assert journal is not None
        self._asked[job] = lookup
        asking = True

        def done(records: Sequence[JobRecord] | None, workloads: Mapping[int, bytes], now: float) -> None:
            if asking:
                # At once: so it is not asked at all.
                del self._asked[job]
            elif self._asked.get(job) is lookup:
                self._answered(job, lookup, records, now)

        journal.ask(Asking(ByKey((lookup.key,)), done))
        asking = False
        return job in self._asked

    def _silence(self) -> QueueError:
        """Nobody knows whether there is such a job."""
        journal = self._journal
        assert journal is not None
        journal.retry_soon()
        return QueueError(journal.unavailable or SILENT, why=STORE_UNAVAILABLE)

    def joined(self, job: Job, client: Peer | None, schedule: Schedule | None) -> None:
        """
        Somebody has submitted a job of which the store is asked.

        @param client: who, unless it is the server itself.
        @param schedule: for which schedule, if it is for one.
        """
        lookup = self._asked[job]
        if client is not None:
            lookup.peers[client] = None
        if schedule is not None:
            lookup.schedules.append(schedule)

    def afterwards(self, job: Job, then: Callable[[float], None]) -> None:
        """Have something done once it is known what a job is of which the store is asked."""
        self._asked[job].waiting.append(then)

    def note(self, schedule: Schedule, number: int, handle: bytes = b"") -> None:
        """
        Remember that a schedule has run.

        @param number: the job with which that is kept; 0 for none.
        @param handle: where it is none, the one that was there before.
        """
        text = shown_handle(handle) if self._persistence.clustered else ""
        self._persistence.put_value(StoredValue(SCHEDULED, *schedule, number, text))

    # The answer

    def _answered(self, job: Job, lookup: Lookup, records: Sequence[JobRecord] | None, now: float) -> None:
        if job.ended:
            # Cancelled, or everybody has left it.
            reply = self._over(job, lookup)
            job.function.counts.submitted += 1
            job.reply = None
            self._outbox.release(reply, JOB_CREATED, job.handle)
            self._go_on(lookup, now)
        elif records is None:
            self._refuse(job, lookup, self._silence(), now)
        elif job.key is not None and job.key != lookup.key:
            self._ask_again(job, lookup, now)
        else:
            name = job.function.name
            wanted = [row for row in records if row.function == name and row.state in (0, DONE)]
            # Who has just been told of them may want more of them.
            self._stock.keep(self._stock.bring(wanted, now), now)
            if job not in self._asked:
                # One of them was the same.
                return
            done = None
            if job.key is not None:
                done = self._archive.still_done(job.function, lookup.key, now)
            if done is not None:
                self._is(job, done, now)
            elif lookup.full is not None:
                self._refuse(job, lookup, lookup.full, now)
            else:
                self._admit(job, lookup, now)

    def _over(self, job: Job, lookup: Lookup) -> AskedReply:
        """It is known what a job is."""
        del self._asked[job]
        self.bytes -= lookup.size
        reply = job.reply
        assert isinstance(reply, AskedReply)
        reply.asked = False
        return reply

    def _go_on(self, lookup: Lookup, now: float) -> None:
        for then in lookup.waiting:
            then(now)

    def _ask_again(self, job: Job, lookup: Lookup, now: float) -> None:
        """An operator has given a job another workload, which is its key."""
        assert job.key is not None
        lookup.key = job.key
        if not self._ask(job, lookup):
            self._asked[job] = lookup
            self._refuse(job, lookup, self._silence(), now)

    def _refuse(self, job: Job, lookup: Lookup, error: QueueError, now: float) -> None:
        """Nobody may have this job, nor wait for it."""
        self._over(job, lookup).why = error.why
        self._lifecycle.turn_away(job, error.text, now, error.why)
        self._go_on(lookup, now)

    def _admit(self, job: Job, lookup: Lookup, now: float) -> None:
        """It is a new one."""
        if job.background:
            if self._journal is not None and self._journal.unavailable is not None:
                self._refuse(job, lookup, self._silence(), now)
                return
            self._over(job, lookup)
            self._persistence.add(job, self._lifecycle.begins(job))
            for schedule in lookup.schedules:
                self.note(schedule, job.number)
        else:
            self._over(job, lookup)
            self._lifecycle.admit(job, now)
        job.function.counts.submitted += 1
        self._go_on(lookup, now)

    def _is(self, job: Job, found: Job, now: float) -> None:
        """Whoever has submitted a job, and waits for it, has submitted another one, which may be done."""
        lookup = self._asked[job]
        reply = self._over(job, lookup)
        others = self._others(lookup.peers, found, now)
        clients = [client for client in job.clients if client not in others]
        self._lifecycle.drop(job, found.handle, now)
        if next(iter(lookup.peers), None) not in others:
            # The others were counted when they came.
            found.function.counts.joined += 1
        for schedule in lookup.schedules:
            self.note(schedule, 0, found.handle)
        reply.others = others or None
        self._outbox.release(reply, JOB_CREATED, found.handle)
        if found.ended:
            for client in reversed(clients):
                self._lifecycle.repeat(client, found)
        else:
            for client in reversed(clients):
                found.join(client)
            self._operations.spare(found)
            if self._dispatcher.draining and not found.clients:
                self._dispatcher.withhold(found, now)
        self._go_on(lookup, now)

    def _others(self, peers: Iterable[Peer], found: Job, now: float) -> dict[Peer, tuple[int | Data, ...]]:
        """What those are answered who may not know of the job that they have submitted once more."""
        others: dict[Peer, tuple[int | Data, ...]] = {}
        for peer in peers:
            try:
                check_join(peer, found)
            except AccessDenied as error:
                others[peer] = (ERROR, error.code.encode("ascii"), error.text.encode("utf-8"))
                self._functions.statistics.refuse(found.function.name, word_of(error), now)
                self.denied(peer, error)
        return others

    # Jobs of other servers

    def is_elsewhere(self, job: Job, record: JobRecord, now: float) -> bool:
        """See L{JournalListener.joined<txgear.broker.ports.JournalListener.joined>}."""
        found, reply = self._stock.show(record), job.reply
        assert reply is not None
        if found.ended and not self._archive.takes_unique(found, now):
            self._persistence.free(found.number)
            return False
        if not (job.state == STORING and job.clients):
            job.function.counts.joined += 1
            reply.others = self._others(reply.peers, found, now) or None
        self._lifecycle.joined(job, found.handle, now)
        return True

    def is_over(self, job: Job, handle: bytes, now: float) -> bool:
        """See L{JournalListener.passed<txgear.broker.ports.JournalListener.passed>}."""
        reply = job.reply
        assert reply is not None
        if job.clients or reply.peers:
            return False
        self._lifecycle.joined(job, handle or job.handle, now)
        return True

    # Questions

    def named(self, name: bytes, unique: bytes, wanted: Callable[[Job], bool] | None = None) -> Job | None:
        """
        The job in memory with this unique; otherwise the one that had it last, if that is still known.

        @param name: its function's; empty for any.
        @param wanted: whether a job counts; by default each does.
        """
        uniques = self._table.uniques
        if not name:
            return uniques.newest(unique, wanted) or uniques.newest_ended(unique, wanted)
        function = self._functions.by_name.get(name)
        if function is None:
            return None
        job = uniques.find(function, unique) or uniques.find_ended(function, unique)
        return None if job is None or (wanted is not None and not wanted(job)) else job

    def lacks(self, keys: Iterable[Key]) -> bool:
        """Whether L{load} would ask the store, or wait for it."""
        return any(self.may_hide(key) or self._lookup(key) is not None for key in keys)

    def load(self, keys: Collection[Key], then: Then, now: float) -> None:
        """
        Have all jobs in memory that have one of these keys, whether or not they have ended; do something
        then.

        @param then: as with L{Stock.load}. It is called at once where nothing of the kind can be in the store
            only.
        """
        for key in keys:
            if (lookup := self._lookup(key)) is not None:
                # It may be another by then.
                lookup.waiting.append(partial(self.load, keys, then))
                return
        if hidden := [key for key in keys if self.may_hide(key)]:
            self._stock.load(ByKey(hidden), then, now)
        else:
            then(True, now)

    def _lookup(self, key: Key) -> Lookup | None:
        """What is asked of a job with this key."""
        if not self._asked:
            return None
        jobs = self._table.uniques.named(key)
        return next((self._asked[job] for job in jobs if job in self._asked), None)

    def check(self) -> None:
        """
        Is each job of which it is asked on its way?

        @raise AssertionError: one is not.
        """
        for job in self._asked:
            assert job.reply is not None, job
            assert job.reply.asked, job
            assert job.ended or self._table.jobs[job.number] is job, job
        assert self.bytes == sum(lookup.size for lookup in self._asked.values())

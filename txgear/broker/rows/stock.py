"""
Which jobs are in memory, and which are rows of the store only. Nobody else asks that.

A row is taken in as an ordinary job, in its ordinary place, before anything is done to it: see L{Stock.load}.
A job is let go of when the store has all of it, nobody waits for it, and its turn is not near.

What a read of the store finds may be out of date: some of it may have changed since, and the change is still
on its way. Of a job that is in memory the memory is right. One that is in neither, and of which something is
on its way, has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

from txgear.broker.counts import UNREADABLE
from txgear.broker.expiry import set_expiry
from txgear.broker.history import History
from txgear.broker.model import Job
from txgear.broker.ports import Asking, Found
from txgear.broker.records import WAITING, ByNumber, InLane, Lane
from txgear.broker.rows.gone import Gone
from txgear.broker.rows.passage import Passage
from txgear.broker.rows.revival import Revival
from txgear.broker.rows.tails import Tails
from txgear.broker.rows.together import Together
from txgear.broker.rows.wakings import AHEAD, Wakings
from txgear.broker.rows.written import Written
from txgear.broker.states import DELAYED, NEW, PAGED
from txgear.broker.table import number_of_handle
from txgear.protocol.constants import PRIORITIES

if TYPE_CHECKING:
    from txgear.broker.dispatcher import Dispatcher
    from txgear.broker.ended.archive import Archive, Told
    from txgear.broker.functions import Functions
    from txgear.broker.model import Function
    from txgear.broker.paging import Pager
    from txgear.broker.ports import Journal, Look, Witness
    from txgear.broker.records import JobRecord, LaneCount, Question, Waking
    from txgear.broker.table import JobTable
    from txgear.broker.tenants import Tenant, Tenants
    from txgear.broker.timers import Timers

NEAR_SECONDS: Final = 1.0
"""Seconds to the time of a job in which it stays in memory, whether or not there is room."""

MOST_ENDED: Final = 10_000
"""Jobs that have ended and are in memory, with which no more are wanted there before they must: 15 MB."""

Then = Callable[[bool, float], None]
"""Called with whether the store has answered, and the time of the server."""


def _place(job: Job) -> int:
    return job.place


class Stock:
    """
    The jobs of a server, wherever they are. Without a journal all are in memory.

    @ivar wakings: has those taken in whose time comes.
    @ivar restored: the highest number that a job may have which an earlier server took.
    @ivar met: called with a job that was submitted while the store had it already as another, and with that
        one, which is in its place now: see L{txgear.broker.life.lookups}, which sets it.
    @ivar witness: hears of rows that are damaged; whoever owns the broker sets it.
    @ivar written: see L{Written.add<txgear.broker.rows.written.Written.add>}.
    @ivar held: those that somebody looks at over several turns, and how many do so.
    """

    __slots__ = (
        "_archive",
        "_dispatcher",
        "_functions",
        "_gone",
        "_journal",
        "_kept",
        "_pager",
        "_passage",
        "_revival",
        "_table",
        "_tails",
        "_tenants",
        "_timers",
        "_waiting",
        "_written",
        "held",
        "met",
        "restored",
        "wakings",
        "witness",
        "written",
    )

    def __init__(
        self,
        table: JobTable,
        functions: Functions,
        tenants: Tenants,
        dispatcher: Dispatcher,
        archive: Archive,
        timers: Timers,
        pager: Pager | None,
        journal: Journal | None,
    ) -> None:
        self._table = table
        self._functions = functions
        self._tenants = tenants
        self._dispatcher = dispatcher
        self._passage = Passage(dispatcher, timers, pager)
        self._archive = archive
        self._timers = timers
        self._pager = pager
        self._journal = journal
        self._revival = Revival(table, functions, tenants, timers)
        self.held: dict[Job, int] = {}
        # How many rows wait for their time: by their functions, and on whose account.
        self._waiting: dict[tuple[Function, Tenant | None], int] = {}
        self.restored = 0
        self.witness: Witness | None = None
        self.wakings = Wakings(self, timers)
        self._gone = Gone()
        # Jobs that somebody may need in this turn.
        self._kept: list[Job] = []
        self._written = Written(table, archive, timers, journal, self.settle, self._settle_ended)
        self.written = self._written.add
        self._tails = Tails(timers, self.settle)
        self.met: Callable[[Job, Job, float], None]
        archive.load_all = self.load_all
        if pager is not None:
            pager.read = self._read_ahead

    # The server starts

    def begin(self, counts: Iterable[LaneCount], now: float, aside: Iterable[JobRecord] = ()) -> None:
        """
        There are so many jobs in the store, or so many more. None of them is in memory but those that are set
        aside; L{read_heads} is to follow.

        @param counts: all lanes of the store.
        @param aside: the jobs that are set aside.
        """
        table = self._table
        for lane, jobs, size in counts:
            function = self._functions.get(lane.function, bounded=False)
            tenant = self._tenants.get(lane.tenant) if lane.tenant else None
            if lane.kind > WAITING:
                self._archive.add_rows(function, lane, jobs, size)
                continue
            table.rows += jobs
            function.bytes += size
            function.counts.restored += jobs
            if tenant is not None:
                tenant.queued += jobs
                tenant.bytes += size
            if lane.kind == WAITING:
                self._count_waiting(function, tenant, jobs)
            else:
                self._passage.add_rows(function, lane.kind, tenant, jobs, now)
        self.restored = table.last_number
        if table.rows:
            table.restored = self.restored
        self.wakings.forget()
        # Their places say in which order they were set aside.
        self._take_all_in(sorted(aside, key=lambda record: record.place), {}, now)

    def read_heads(self, now: float) -> None:
        """Have read what is missing at the heads of all lanes, and what has its time."""
        self._timers.call_at(now)
        for function in list(self._functions.by_name.values()):
            self._dispatcher.advance_all(function, now)

    def _count_waiting(self, function: Function, tenant: Tenant | None, jobs: int) -> None:
        """There are so many more of them, or less."""
        function.later += jobs
        count = self._waiting.pop((function, tenant), 0) + jobs
        if count:
            self._waiting[function, tenant] = count

    # Out of memory

    def stored(self, jobs: Iterable[Job], now: float, *, changed: bool = False) -> None:
        """
        The store has jobs that can be handed out, and are in no place: each is queued now, or a row.

        @param changed: whether something else of them is on its way there.
        """
        pager = self._pager
        assert pager is not None
        may_go = not (changed or self._dispatcher.draining)
        # Those behind rows of their lanes, as nearly each is where a queue is long: rows as well.
        following: list[Job] = []
        try:
            for job in jobs:
                lanes = job.function.lanes
                # What is behind those that are held does not show in the overflow.
                follows = (lanes.overflow or lanes.held) and lanes.may_follow(job, job.tenant)
                if not follows:
                    room = pager.has_room(job)
                    if following and not room:
                        # There may be without those.
                        self._pass_by(following, now)
                        following = []
                        room = pager.has_room(job)
                    if room:
                        pager.used += job.size
                        self._dispatcher.enqueue(job, now)
                        continue
                if may_go and self._is_free(job, now):
                    if follows:
                        following.append(job)
                        continue
                    if pager.crowded and lanes.may_pass_by(job):
                        self._pass_by((job,), now)
                        continue
                job.workload = b""
                self._dispatcher.enqueue(job, now)
        finally:
            self._pass_by(following, now)

    def _pass_by(self, jobs: Sequence[Job], now: float) -> None:
        """Jobs that are in no place, and could be handed out, are rows from now on."""
        if jobs:
            self._forget(jobs)
            self._passage.pass_by(jobs, now)

    def _is_free(self, job: Job, now: float) -> bool:
        """Whether nobody waits for a job, and it does not expire in a moment."""
        history = job.history
        if job.clients or job in self.held:
            return False
        if history is None:
            return True
        near = 0.0 < history.expires < now + NEAR_SECONDS
        return not (near or history.watchers or history.followers)

    def _forget(self, jobs: Sequence[Job]) -> None:
        journal = self._journal
        assert journal is not None
        self._table.let_go(jobs)
        journal.hide_all(job.key for job in jobs if job.key is not None)
        for job in jobs:
            job.workload = b""
            # For those who still have this object, as what is read of it is on its way.
            job.state = NEW
            if (history := job.history) is not None and history.expires:
                self.wakings.left(self._timers.wall(history.expires))

    def settle(self, job: Job, now: float) -> None:
        """
        Something that kept a job in memory is over: it is let go of, if nothing else does. This may be called
        of any job at any time.
        """
        journal, pager = self._journal, self._pager
        if journal is None or pager is None or not job.stored or journal.pending(job.number):
            return
        if job.ended:
            self._settle_ended((job,), now)
            return
        if not self._is_free(job, now) or job in pager.unreadable:
            return
        if job.state == PAGED:
            lanes = job.function.lanes
            if (pager.crowded or lanes.has_rows(job.priority, job.tenant)) and lanes.may_spare(job):
                if pager.crowded and lanes.last(job.priority, job.tenant) is job:
                    self._tails.spared(job, now)
                pager.drop(job)
                self._passage.let_go(job, now)
                self._forget((job,))
        elif job.state == DELAYED and pager.crowded:
            begins = self._begins(job)
            if begins > self._timers.wall(now) + NEAR_SECONDS:
                pager.drop(job)
                self._dispatcher.leave(job, now)
                self._count_waiting(job.function, job.tenant, 1)
                self._forget((job,))
                self.wakings.left(begins)

    def hold(self, job: Job) -> None:
        """A job is to stay in memory until L{release} is called, as often as this."""
        self.held[job] = self.held.get(job, 0) + 1

    def release(self, job: Job, now: float) -> None:
        """Undo one L{hold}."""
        left = self.held.pop(job) - 1
        if left:
            self.held[job] = left
        else:
            self.settle(job, now)

    def _settle_ended(self, jobs: Iterable[Job], now: float) -> None:
        """The same of some that have ended, of which nothing is on its way to the store."""
        journal, archive, held = self._journal, self._archive, self.held
        assert journal is not None
        far, there = now + (NEAR_SECONDS if self.crowded else AHEAD), archive.jobs
        free = [job for job in jobs if job.due >= far and job not in held and there.get(job.number) is job]
        if free:
            first = min(job.due for job in free)
            left = archive.let_go(free)
            journal.hide_all(job.key for job in left if job.key is not None)
            self.wakings.left(self._timers.wall(first))

    def _begins(self, job: Job) -> float:
        """When a delayed job may begin, by the wall clock; 0.0 for never, or if it expires before."""
        if job.appointment is not None:
            return job.appointment.due
        expires = 0.0 if job.history is None else job.history.expires
        return self._timers.wall(job.due) if job.due != expires else 0.0

    # Into memory

    def lanes_of(self, function: Function) -> list[Lane]:
        """Where the store has jobs of a function that are not in memory; those that wait come first."""
        owners = [(tenant, WAITING) for other, tenant in self._waiting if other is function]
        for priority in PRIORITIES:
            owners += [(tenant, priority) for tenant in function.lanes.rows(priority)]
        return [Lane(function.name, "" if owner is None else owner.name, kind) for owner, kind in owners]

    def load(self, question: Question, then: Then, now: float) -> None:
        """
        Have jobs in memory, and do something then.

        @param question: which jobs.
        @param then: called once, at once or in a later turn, when those of them are in memory that there are;
            if the store does not answer, with C{False}. After it they may leave the memory again.
        """
        if self._journal is None:
            then(True, now)
        else:
            self.visit(question, lambda found, later: then(found is not None, later))

    def visit(self, question: Question, look: Look) -> None:
        """
        The same, for whoever wants to know which jobs they are. There is a journal.

        @param look: called once, in a later turn, with those that there are.
        """
        journal, live, ended = self._journal, self._table.jobs, self._archive.jobs
        assert journal is not None

        def done(records: Sequence[JobRecord] | None, workloads: Mapping[int, bytes], now: float) -> None:
            if records is None:
                look(None, now)
                return
            loaded = self._take_all_in(records, workloads, now)
            numbers = [record.number for record in records]
            found = (live.get(number) or ended.get(number) for number in numbers)
            look(Found(records, [job for job in found if job is not None]), now)
            self._settle_all(loaded, now)

        journal.ask(Asking(question, done))

    def load_all(self, questions: Iterable[tuple[Question, Told]], then: Then, now: float) -> None:
        """
        As L{load} for several questions: C{then} is called once, when all that they are for are in memory.

        @param questions: each with what is called with what the store has of its jobs, when these are there.
        """
        journal, asked = self._journal, list(questions)
        if journal is None or not asked:
            then(True, now)
            return
        together = Together(self, len(asked), then)
        for question, told in asked:
            journal.ask(Asking(question, partial(together.answered, told)))

    def hold_all(self, records: Sequence[JobRecord], now: float) -> list[Job]:
        """
        Have jobs in memory that the store has just answered with, until L{release_all}.

        @return: those that there are.
        """
        self._take_all_in(records, {}, now)
        live, ended = self._table.jobs, self._archive.jobs
        found = [live.get(record.number) or ended.get(record.number) for record in records]
        jobs = [job for job in found if job is not None]
        for job in jobs:
            self.hold(job)
        return jobs

    def release_all(self, jobs: Sequence[Job], now: float) -> None:
        """See L{hold_all}."""
        for job in jobs:
            self.held[job] -= 1
            if not self.held[job]:
                del self.held[job]
        self._settle_all(jobs, now)

    def _settle_all(self, loaded: Collection[Job], now: float) -> None:
        # In a lane only the last one can become a row.
        for job in sorted(loaded, key=_place, reverse=True):
            self.settle(job, now)
        self._advance_all(loaded, now)

    def _advance_all(self, loaded: Iterable[Job], now: float) -> None:
        # What is empty, or first, has its turn.
        lanes = {(job.function, job.priority, job.tenant): job for job in loaded if job.state == PAGED}
        for job in lanes.values():
            self._dispatcher.advance(job, now)

    @property
    def may_wake(self) -> bool:
        """Whether anything that is not in memory may have its time; first those have theirs that are."""
        return bool(self._table.rows or self._archive.rows) and not self._archive.behind

    @property
    def crowded(self) -> bool:
        """Whether there is no room for more in memory."""
        if self._pager is None:
            return False
        return self._pager.crowded or len(self._archive.jobs) > MOST_ENDED

    def wake(self, question: Waking, then: Callable[[Sequence[JobRecord] | None, float], None]) -> None:
        """
        Have jobs in memory whose time comes; they stay there.

        @param then: called with what was found; with C{None} if the store does not answer.
        """
        journal = self._journal
        assert journal is not None

        def done(records: Sequence[JobRecord] | None, workloads: Mapping[int, bytes], now: float) -> None:
            if not self._dispatcher.draining:
                self._take_all_in(records or (), workloads, now)
            then(records, now)

        journal.ask(Asking(question, done))

    def find(self, question: Waking, then: Callable[[Sequence[JobRecord] | None, float], None]) -> None:
        """
        Only ask what the store has; nothing comes into memory.

        @param then: called with that; with C{None} if the store does not answer.
        """
        journal = self._journal
        assert journal is not None
        journal.ask(Asking(question, lambda records, workloads, now: then(records, now)))

    def bring(self, records: Iterable[JobRecord], now: float) -> list[Job]:
        """
        Have jobs in memory that the store has just answered with.

        @return: those that were not; L{keep} is to follow.
        """
        return self._take_all_in(records, {}, now)

    def keep(self, jobs: Iterable[Job], now: float) -> None:
        """These stay in memory for the rest of this turn, whether or not anybody waits for them."""
        for job in jobs:
            self.hold(job)
            self._kept.append(job)
        if self._kept:
            self._timers.call_at(now)

    def work(self, now: float) -> float:
        """
        Another turn has begun.

        @return: when to go on, by the server's time; infinite for not at all.
        """
        self._written.work(now)
        self._tails.work(now)
        if self._kept:
            kept, self._kept = self._kept, []
            for job in sorted(kept, key=_place, reverse=True):
                self.release(job, now)
            self._advance_all(kept, now)
        return now if self._written or self._tails else inf

    def peek(self, question: Question, look: Look) -> None:
        """
        Look at jobs that are not in memory, which they do not come into. There is a journal.

        @param look: called once, in a later turn, with those of them that are not in memory: for this turn
            only, and not to be changed.
        """
        journal = self._journal
        assert journal is not None

        def done(records: Sequence[JobRecord] | None, workloads: Mapping[int, bytes], now: float) -> None:
            if records is None:
                look(None, now)
            else:
                rows = [self.show(record) for record in records if self._is_row(record)]
                look(Found(records, rows), now)

        journal.ask(Asking(question, done))

    def show(self, record: JobRecord) -> Job:
        """What the store has of a job, maybe another server's, as a job that is in no place."""
        return self._revival.show(*self._revival.revive(record, self.witness))

    def load_handles(self, handles: Iterable[bytes], then: Then, now: float) -> None:
        """
        The same for the jobs with these handles, whether or not they have ended; at once, if all are in
        memory that there can be.
        """
        rows = self._rows_of(handles)
        if not rows:
            then(True, now)
            return
        live, ended, gone = self._table.jobs, self._archive.jobs, self._gone

        def done(answered: bool, later: float) -> None:
            if answered:
                gone.update(number for number in rows if number not in live and number not in ended)
            then(answered, later)

        self.load(ByNumber(rows), done, now)

    def lacks(self, handles: Iterable[bytes]) -> bool:
        """Whether L{load_handles} would ask the store."""
        return bool(self._rows_of(handles))

    def _rows_of(self, handles: Iterable[bytes]) -> list[int]:
        """The numbers of those of them that may be rows."""
        if not (self._table.rows or self._archive.rows):
            return []
        numbers = dict.fromkeys(map(number_of_handle, handles))
        return [number for number in numbers if number is not None and self._may_be_row(number)]

    def _may_be_row(self, number: int) -> bool:
        if not 0 < number <= self._table.last_number:
            return False
        if number in self._table.jobs or number in self._archive.jobs:
            return False
        return number not in self._gone

    def _is_row(self, record: JobRecord) -> bool:
        """Whether what was read of a job is what there is of it."""
        number, journal = record.number, self._journal
        if number in self._table.jobs or number in self._archive.jobs:
            return False
        return journal is not None and not journal.pending(number)

    def _read_ahead(
        self, function: Function, priority: int, tenant: Tenant | None, after: int, count: int, size: int
    ) -> None:
        """See L{Pager.read<txgear.broker.paging.Pager.read>}."""
        journal, pager = self._journal, self._pager
        assert journal is not None
        assert pager is not None
        lane = Lane(function.name, "" if tenant is None else tenant.name, priority)

        def done(records: Sequence[JobRecord] | None, workloads: Mapping[int, bytes], now: float) -> None:
            pager.arrived()
            if records is None or self._dispatcher.draining:
                # Asked again when the store answers.
                return
            rows, taken = function.lanes.rows(priority).get(tenant), 0
            if rows is not None and function.lanes.has_rows_only(priority, tenant, after):
                taken = self._take_next_in(function, records[: rows.count], workloads, now)
            loaded = self._take_all_in(records[taken:], workloads, now)
            read_to = None if len(records) < count else records[-1].place
            if missing := self._passage.rows_read(function, priority, tenant, after, read_to, now):
                self._lose(function, tenant, missing, now)
            if rows is not None and rows.read_to < after:
                # Some before these have become rows meanwhile: the turn of these is not near.
                self._settle_all(loaded, now)
            pager.go_on(now)

        journal.ask(Asking(InLane(lane, after, count), done, size))

    def _lose(self, function: Function, tenant: Tenant | None, count: int, now: float) -> None:
        """Somebody has taken rows out of the store: nobody can do them any more."""
        if self.witness is not None:
            self.witness.missing(function.name, count)
        table = self._table
        table.rows -= count
        for _ in range(count):
            function.counts.fail(UNREADABLE, now)
        if tenant is not None:
            tenant.queued -= count
        if not table.rows:
            # How long they were nobody knows; but now it shows.
            jobs = table.jobs.values()
            function.bytes = sum(job.size for job in jobs if job.function is function)
            if tenant is not None:
                tenant.bytes = sum(job.size for job in jobs if job.tenant is tenant)
        self._functions.forget_if_unused(function)

    def _take_next_in(
        self, function: Function, records: Sequence[JobRecord], workloads: Mapping[int, bytes], now: float
    ) -> int:
        """
        The first of these rows go into their lane, behind which nothing is in memory: as long as they have
        their workloads and do not expire. That is the way of each job of a long queue, so it is short.

        @return: how many of the rows have been looked at.
        """
        journal, found = self._journal, list[Job]()
        assert journal is not None
        show, live, ended = journal.show, self._table.jobs, self._archive.jobs
        settled = journal.settled([record.number for record in records])
        size = taken = 0
        for record in records:
            number = record.number
            # As in _is_row, without three calls for each.
            if number in live or number in ended or number not in settled:
                taken += 1
                continue
            workload = workloads.get(number, b"")
            if len(workload) != record.size or record.wake or function.policy is not None:
                break
            taken += 1
            job, _ = self._revival.revive(record, self.witness)
            if job.key is not None:
                show(job.key)
            job.workload = workload
            size += record.size
            job.since = self._revival.since(job, record, now)
            found.append(job)
        if found:
            met = self._table.take_all_in(found)
            assert self._pager is not None
            self._pager.used += size
            self._passage.take_next_in(function, found[0], found, now)
            for other, job in met:
                self.met(other, job, now)
        return taken

    def _find(self, job: Job, now: float) -> None:
        """Somebody has put a row into the store of which nobody was told: it counts as one that was there."""
        self._table.rows += 1
        job.function.bytes += job.size
        job.function.counts.restored += 1
        if (tenant := job.tenant) is not None:
            tenant.queued += 1
            tenant.bytes += job.size
        self._passage.pass_by((job,), now)

    def _take_all_in(
        self, records: Iterable[JobRecord], workloads: Mapping[int, bytes], now: float
    ) -> list[Job]:
        return [
            self._take_in(record, workloads.get(record.number, b""), now)
            for record in records
            if self._is_row(record)
        ]

    def _take_in(self, record: JobRecord, workload: bytes, now: float) -> Job:
        """A row is a job from now on."""
        job, record = self._revival.revive(record, self.witness)
        journal, pager, offset = self._journal, self._pager, self._timers.offset
        assert journal is not None
        assert pager is not None
        if job.key is not None:
            journal.show(job.key)
        if record.state:
            self._archive.take_in(job, record)
            return job
        waits = record.kind == WAITING
        if not (waits or self._dispatcher.draining or job.function.lanes.has_rows(job.priority, job.tenant)):
            self._find(job, now)
        other = self._table.take_in(job)
        if record.wake and record.wake != record.due:
            job.history = job.history or History()
            job.history.expires = record.wake - offset
        elif record.number <= self.restored:
            # It may have been taken by a server that had no such policy.
            set_expiry(self._functions, job, now)
        if waits:
            self._count_waiting(job.function, job.tenant, -1)
            self._dispatcher.delay(job)
            self._timers.appoint(job, record.due, now)
        else:
            job.since = self._revival.since(job, record, now)
            if workload and len(workload) == job.size:
                job.workload = workload
                pager.count(job)
            self._passage.take_in(job)
        if job.history is not None and (expires := job.history.expires):
            if expires <= now:
                # It is not to be handed out any more.
                self._dispatcher.withhold(job, now)
            self._timers.add(job, expires)
        if other is not None:
            self.met(other, job, now)
        return job

    def check(self) -> None:
        """
        Are as many rows counted in lanes as there are in all?

        @raise AssertionError: they are not.
        """
        functions = self._functions.by_name.values()
        rows = sum(function.lanes.rows_count + function.later for function in functions)
        if not self._dispatcher.draining:
            assert rows == self._table.rows, (rows, self._table.rows)
            assert sum(function.later for function in functions) == sum(self._waiting.values())

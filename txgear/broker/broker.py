"""
The verbs of the protocol: peers come and go, say what they can do, submit jobs, grab them, and sleep.

The broker knows no socket, no clock and no disk. Each entry is one turn: it is told the server's time as
C{now} where that matters, it hands what peers are to hear to the outbox and what is to be kept to the
journal, and C{timers.deadline} says when it wants L{Broker.expire} called.

The server's time is in seconds: those since the epoch when the server started, and
counted on from there by a clock that nobody can set.

Who enters here: peers by L{Broker}, workers with what they say of their jobs by L{Broker.reports}, those that
may come back by L{Broker.absences}, operators by L{Broker.operations}, and the store by
L{Broker.store_events}. Each object below them has one task, and calls those below it only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.bulk import BATCH, one_by_one
from txgear.broker.counts import word_of
from txgear.broker.dispatcher import Dispatcher
from txgear.broker.ended.archive import Archive
from txgear.broker.expiry import set_expiry
from txgear.broker.functions import Functions
from txgear.broker.history import History, check_settings
from txgear.broker.keys import key_of
from txgear.broker.life.absences import Absences
from txgear.broker.life.departures import Departures
from txgear.broker.life.draining import Draining
from txgear.broker.life.lifecycle import Lifecycle
from txgear.broker.life.lookups import Lookups
from txgear.broker.life.operations import Operations
from txgear.broker.life.storeevents import StoreEvents
from txgear.broker.life.workreports import WorkReports
from txgear.broker.model import Function, Job
from txgear.broker.paging import Pager
from txgear.broker.persistence import Persistence
from txgear.broker.rights import SUBMIT, WORK, check, check_join, may
from txgear.broker.rows.stock import Stock
from txgear.broker.rules import Rules
from txgear.broker.sleepers import Sleepers
from txgear.broker.soundness import check_functions, check_statistics, check_tenants, check_timers
from txgear.broker.table import JobTable
from txgear.broker.tenants import Tenants
from txgear.broker.timers import Timers
from txgear.errors import (
    DRAINING,
    STORE_UNAVAILABLE,
    TOO_MANY_FUNCTIONS,
    TOO_MANY_WAIT,
    AccessDenied,
    ArgumentTooLarge,
    QueueError,
    ServerError,
)
from txgear.protocol.constants import (
    MAX_UNIQUE,
    NORMAL,
    SHUTTING_DOWN,
    UNIQUE_FROM_WORKLOAD,
)
from txgear.protocol.packets import Data

if TYPE_CHECKING:
    from txgear.broker.keys import Key
    from txgear.broker.model import Peer
    from txgear.broker.ports import Journal, Outbox
    from txgear.broker.tenants import Tenant
    from txgear.protocol.traces import Trace

MOST_AWAITED: Final = 250_000
"""
Jobs that one connection waits for at the most, and clients that wait for one job: 150 MB of
memory. Nobody who reads the answers has as many under way.
"""
MOST_ABILITIES: Final = 20_000
"""Functions that one connection can do at the most: it takes all of them back in some milliseconds."""


class Broker:
    """
    One server's jobs and peers, as those who ask and those who work see them.

    @ivar peers: those that are connected, the newest last.
    @ivar halted: whether the server ends: who leaves now leaves its jobs as they are.
    @ivar timers: the one timer of all, and the wall clock.
    @ivar functions: all that anything is known of.
    @ivar statistics: what has been counted of them.
    @ivar table: the jobs that have not ended.
    @ivar tenants: on whose accounts jobs are.
    @ivar identify: L{Tenants.identify}: who a peer is.
    @ivar dispatcher: which of them is whose turn, and whether the server drains.
    @ivar departures: what peers leave behind.
    @ivar drain: L{Draining.start}: take no new job, and hand out only what clients wait for.
    @ivar absences: the workers that have said who they are, those included that may come back.
    @ivar archive: the jobs that have ended and are still known.
    @ivar persistence: what is told to the journal.
    @ivar stock: which jobs are in memory.
    @ivar lookups: what the store is asked of those that are not.
    @ivar lifecycle: what becomes of a job.
    @ivar named: L{Lookups.named}: the job with a unique.
    @ivar repeat: L{Lifecycle.repeat}: the result of a job that is done already.
    @ivar watch: L{Lifecycle.watch}: has somebody told when a job ends.
    @ivar reports: what workers say of their jobs.
    @ivar operations: the orders of operators.
    @ivar store_events: what comes from the store.
    @ivar sleepers: who waits for a NOOP, and who was sent one.
    @ivar pager: which workloads are in memory; C{None} where there is no journal.
    """

    __slots__ = (
        "_awake",
        "_by_name",
        "_draining",
        "_enqueue",
        "_joinable",
        "_may_hide",
        "_store",
        "_take",
        "absences",
        "archive",
        "departures",
        "dispatcher",
        "drain",
        "functions",
        "halted",
        "identify",
        "lifecycle",
        "lookups",
        "named",
        "operations",
        "pager",
        "peers",
        "persistence",
        "repeat",
        "reports",
        "sleepers",
        "statistics",
        "stock",
        "store_events",
        "table",
        "tenants",
        "timers",
        "watch",
    )

    def __init__(
        self,
        outbox: Outbox,
        rules: Rules,
        journal: Journal | None = None,
        chance: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """
        @param outbox: takes the packets.
        @param journal: carries background jobs to the disk; without one they are in memory only.
        @param chance: a number from 0 to 1 at random, for the jitter of retries.
        """
        self.peers: dict[Peer, None] = {}
        self.halted = False
        self.timers = timers = Timers()
        self.functions = functions = Functions(timers)
        self.statistics = functions.statistics
        self.table = table = JobTable(rules.prefix)
        self.pager = pager = None if journal is None else Pager(rules.queue_memory, table, journal.load)
        self.sleepers = Sleepers(outbox.send, timers)
        self.dispatcher = dispatcher = Dispatcher(functions, self.sleepers, timers, pager, rules.wakeups)
        self.tenants = tenants = Tenants(dispatcher.quotas_changed)
        self.persistence = persistence = Persistence(journal, pager, rules.prefix, timers)
        self.archive = archive = Archive(persistence, functions, timers, table)
        self.stock = stock = Stock(table, functions, tenants, dispatcher, archive, timers, pager, journal)
        self.lifecycle = lifecycle = Lifecycle(
            table, functions, dispatcher, archive, persistence, timers, outbox, stock, rules.retries, chance
        )
        self.operations = operations = Operations(
            table, functions, dispatcher, archive, lifecycle, persistence, stock, timers
        )
        self.lookups = Lookups(
            table, functions, dispatcher, archive, lifecycle, operations, persistence, stock, outbox, journal
        )
        self.named = self.lookups.named
        self.departures = departures = Departures(
            functions, self.sleepers, dispatcher, lifecycle, stock, timers, outbox
        )
        self._draining = Draining(functions, dispatcher, stock.wakings, departures)
        self.drain = self._draining.start
        self.reports = WorkReports(functions, lifecycle, outbox)
        self.absences = absences = Absences(
            table, dispatcher, lifecycle, departures, timers, outbox, rules.grace
        )
        self.store_events = StoreEvents(
            table,
            functions,
            dispatcher,
            archive,
            lifecycle,
            stock,
            pager,
            timers,
            self.operations,
            absences,
            self.lookups,
        )
        # Used for each job: found at once.
        self._by_name = functions.by_name
        self._joinable = table.uniques.jobs
        self._store = None if journal is None else persistence.add
        # Without a journal there are no rows.
        self._may_hide = self.lookups.may_hide if journal is None else journal.may_hide
        self.identify = tenants.identify
        self.repeat = lifecycle.repeat
        self.watch = lifecycle.watch
        self._enqueue = dispatcher.enqueue
        self._take = dispatcher.take
        self._awake = self.sleepers.awake

    # Peers come and go

    def connect(self, peer: Peer) -> None:
        """A peer is there."""
        self.peers[peer] = None
        peer.connected = True

    def disconnect(self, peer: Peer, now: float) -> None:
        """
        A peer has gone: what it ran is taken back, unless it is given some time to come back, and what
        nobody else waits for and nobody asked to have done anyway is given up.
        """
        del self.peers[peer]
        peer.connected = False
        tenant = peer.tenant
        self.identify(peer, None)
        if self.halted:
            return
        woken_for = self._awake(peer)
        if peer.attached:
            left = one_by_one(peer.attached)
            peer.attached = {}
            self.departures.part(peer, left, now)
        if self.absences.leave(peer, now):
            # Whose it is those may see who are to see it.
            peer.tenant = tenant
        if woken_for is not None:
            self.dispatcher.wake(woken_for, now)

    # What a worker can do

    def can_do(self, peer: Peer, name: bytes, timeout: float, now: float) -> None:
        """
        The peer can do this function; saying it again replaces its timeout.

        @param name: the function's.
        @param timeout: seconds that it gives itself for a job, 0.0 for no bound.
        @raise AccessDenied: the peer may not work for it.
        @raise ArgumentTooLarge: the function's name is too long.
        @raise QueueError: there are too many functions, or the peer can do too many.
        """
        check(peer, WORK, name)
        function = self.functions.get(name)
        if len(peer.abilities) >= MOST_ABILITIES and function not in peer.abilities:
            self.functions.forget_if_unused(function)
            raise QueueError(f"A connection has at most {MOST_ABILITIES} functions", why=TOO_MANY_FUNCTIONS)
        barred = peer.barred is not None
        self.sleepers.add_ability(peer, function, timeout, now)
        if peer.asleep and function.lanes.ready:
            self.dispatcher.wake(function, now)
        if barred and peer.asleep:
            self.dispatcher.settle(peer, now)
        self.dispatcher.advance_all(function, now)

    def cant_do(self, peer: Peer, name: bytes, now: float) -> None:
        """
        The peer does this function no more. Its jobs of it are taken back, counted as lost. One that speaks
        this server's own packets goes on with those that it has.
        """
        function = self.functions.by_name.get(name)
        if function is not None and function in peer.abilities:
            lost = [job for job in peer.running.values() if job.function is function and not peer.extended]
            self.departures.give_up(peer, [function], lost, now)

    def rejudge(self, peer: Peer, now: float) -> None:
        """
        What a peer may do has changed: functions for which it may not work any more are taken from it, as
        L{cant_do} does it, and the worker of such a job hears that it is unknown.
        """
        forbidden = [function for function in peer.abilities if not may(peer, WORK, function.name)]
        lost = [job for job in peer.running.values() if not may(peer, WORK, job.function.name)]
        self.departures.give_up(peer, forbidden, lost, now)

    def reset_abilities(self, peer: Peer, now: float) -> None:
        """The peer does nothing any more; all its jobs are taken back, counted as lost."""
        self.departures.give_up_all(peer, now)

    # Jobs come

    def submit(
        self,
        client: Peer | None,
        name: bytes,
        unique: bytes,
        workload: Data,
        now: float,
        priority: int = NORMAL,
        background: bool = False,
        due: float = 0.0,
        reducer: bytes = b"",
        settings: Mapping[str, Any] | None = None,
        schedule: tuple[bytes, float] | None = None,
        delay: float = 0.0,
        trace: Trace | None = None,
    ) -> Job:
        """
        A client wants a job done, or joins the one that is the same.

        @param client: who waits for it; of a background submit nobody does.
        @param name: the function's.
        @param due: when it may begin at the earliest, by the wall clock, in seconds since the epoch.
        @param settings: what is to hold for this job, over its function's policy.
        @param schedule: which schedule it is for, and for which time: that is remembered with it.
        @param delay: seconds before which it must not begin, where C{due} does not say that.
        @param trace: is kept for its workers.
        @return: the job; its handle is the answer to the submit, unless that waits for L{Job.reply_for}. It
            may be done already, where its unique is still taken: who waits gets the result by L{repeat}.
        @raise AccessDenied: the client may not submit to this function, or not know of the job that is there.
        @raise ArgumentTooLarge: the unique, the reducer or the function is too long.
        @raise InvalidArgument: the settings make no sense.
        @raise QueueError: the function's queue or the client's quota is full, no job can be stored, the
            server drains, there are too many functions, or the client waits for too many jobs.
        """
        try:
            if len(unique) > MAX_UNIQUE or (reducer and len(reducer) > MAX_UNIQUE):
                # The reference has this one text for both.
                raise ArgumentTooLarge("Unique value too large")
            tenant: Tenant | None = None
            if client is not None and (client.rights is not None or client.tenant is not None):
                if client.rights is not None and name not in client.rights.submits:
                    check(client, SUBMIT, name)
                if (tenant := client.tenant) is not None and not tenant.submits.take(now):
                    raise tenant.too_fast()
            if self.dispatcher.draining and not (background and self.dispatcher.has_heir):
                raise QueueError(SHUTTING_DOWN, why=DRAINING)
            if settings:
                check_settings(settings)
            function = self._by_name.get(name) or self.functions.get(name)
            # Nearly every unique is its own key, and needs no call for that.
            key: Key | None = unique or None
            if key and unique == UNIQUE_FROM_WORKLOAD:
                key = key_of(unique, workload)
            if key in self._joinable and (job := self.table.uniques.find(function, key)) is not None:
                self._join(job, client, background, now)
                if job.reply is not None and job.reply.asked:
                    self.lookups.joined(job, client, schedule)
                elif schedule is not None:
                    self.lookups.note(schedule, 0 if job.reply is None else job.number, job.handle)
                return job
            # One look for all that is rare.
            own = settings or trace
            rare = function.asks or function.names_stay or own
            table = self.table
            begins = now + delay if delay else 0.0
            full: QueueError | None = None
            # Whether one that is done may have the key still.
            held = rare and function.holds_names
            # As in Lookups.may_hide, which is one call more for each submit.
            asked = key is not None and (table.rows or (held and self.archive.rows)) and self._may_hide(key)
            try:
                if rare:
                    done = self.archive.still_done(function, key, now) if held and key is not None else None
                    if done is not None:
                        check_join(client, done)
                        function.counts.joined += 1
                        if schedule is not None:
                            self.lookups.note(schedule, 0, done.handle)
                        return done
                try:
                    if rare:
                        function.check_room(priority, len(workload))
                    if tenant is not None and (
                        tenant.queued >= tenant.most_queued
                        or tenant.bytes + len(workload) > tenant.most_bytes
                    ):
                        tenant.check_room(len(workload))
                except QueueError as error:
                    if not asked:
                        raise
                    full = error
                number = table.last_number + 1
                if number > table.reserved:
                    raise QueueError("No job numbers are left until the store answers", why=STORE_UNAVAILABLE)
                job = Job(
                    table.naming,
                    number,
                    function,
                    unique,
                    key,
                    workload,
                    priority,
                    background,
                    reducer,
                    now,
                    number,
                    len(workload),
                    tenant,
                )
                if rare:
                    job.history = History(settings, trace) if own else None
                    set_expiry(self.functions, job, now)
                if not background and client is not None and len(client.attached) >= MOST_AWAITED:
                    text = f"A connection waits for at most {MOST_AWAITED} jobs"
                    raise QueueError(text, why=TOO_MANY_WAIT)
                if asked and key is not None:
                    self.lookups.ask(job, key, full)
                elif background and self._store is not None:
                    self._store(job, due or (begins and self.timers.wall(begins)))
                if not background and client is not None:
                    job.clients = (client,)
                    client.attached[job] = None
            except (QueueError, AccessDenied):
                self.functions.forget_if_unused(function)
                raise
        except ServerError as error:
            self.statistics.refuse(name, word_of(error), now)
            raise
        if asked:
            self.lookups.joined(job, client, schedule)
        else:
            function.counts.submitted += 1
            if schedule is not None:
                self.lookups.note(schedule, number)
        table.last_number = number
        # As in JobTable.add, which is one call more on the way of each job.
        table.jobs[number] = job
        if job.history is not None:
            table.count_history(job.history)
        function.bytes += job.size
        if tenant is not None:
            tenant.queued += 1
            tenant.bytes += job.size
        if key is not None:
            if key in self._joinable:
                table.uniques.add(key, job)
            else:
                self._joinable[key] = job
        if job.reply is not None:
            self.lifecycle.await_store(job, due, begins)
        elif due or delay:
            self.lifecycle.make_ready(job, due, begins, now)
        else:
            self._enqueue(job, now)
        return job

    def _join(self, job: Job, client: Peer | None, background: bool, now: float) -> None:
        """
        One more asks for this job. A background request makes it outlive the
        clients that wait for it, and clients that come and go take nothing
        from a background job.
        """
        check_join(client, job)
        if background:
            if not job.background:
                self.persistence.add(job, self.lifecycle.begins(job))
            elif job.stored and now >= self.dispatcher.trusted_until:
                # Another server may have it, and have done it.
                self.persistence.check()
            job.background = True
        else:
            assert client is not None
            if len(job.clients) >= MOST_AWAITED or len(client.attached) >= MOST_AWAITED:
                text = f"At most {MOST_AWAITED} wait for a job, or a connection for jobs"
                raise QueueError(text, why=TOO_MANY_WAIT)
            job.join(client)
        job.function.counts.joined += 1
        self.operations.spare(job)

    # Jobs go to workers

    def grab(self, worker: Peer, now: float) -> Job | None:
        """
        Hand out the next job that this worker can do: see L{Dispatcher.take}.

        @return: the job, which is the worker's from now on, or C{None}.
        """
        worker.asked = now
        woken_for = None
        if worker.asleep or worker.woken_for is not None:
            woken_for = self._awake(worker)
        worker.raised = None
        job = self._take(worker, now)
        function = None
        if job is not None:
            function = job.function
            if function.times or job.history is not None:
                self.lifecycle.begin(job, worker, now)
            elif timeout := worker.abilities[function]:
                self.timers.add(job, now + timeout)
        if woken_for is not None and woken_for is not function:
            self.dispatcher.wake(woken_for, now)
        return job

    def pre_sleep(self, worker: Peer, now: float) -> None:
        """
        The worker waits for a NOOP. It gets one at once when a job is ready
        that nobody has been woken for yet: it may have come between the
        worker's last grab and this.
        """
        worker.asked = now
        woken_for = self.sleepers.sleep(worker)
        self.dispatcher.settle(worker, now)
        if woken_for is not None and woken_for is not worker.woken_for:
            self.dispatcher.wake(woken_for, now)

    # Time

    def expire(self, now: float) -> None:
        """
        Do what has become due: jobs whose time has come are queued, jobs whose
        worker overran its time are taken back, and for workers that did not
        answer a NOOP others are woken. A great many at once take several calls.
        """
        timers = self.timers
        settling = self.stock.work(now)
        for _ in range(BATCH):
            due = timers.pop_due(now)
            if due is None:
                break
            if isinstance(due, Function):
                self.dispatcher.throttle_due(due, now)
            else:
                self.lifecycle.time_has_come(due, now)
        for _ in range(BATCH):
            job = timers.pop_appointment(now)
            if job is None:
                break
            self.lifecycle.time_has_come(job, now)
        away = self.absences.expire(now)
        self.departures.work(now)
        go_on = min(away, settling, self.operations.work(now), self.archive.forget_due(now))
        go_on = min(go_on, self.stock.wakings.expire(now))
        for _ in range(BATCH):
            function = self.sleepers.pop_overdue(now)
            if function is None:
                break
            self.dispatcher.wake(function, now)
        go_on = min(go_on, self.dispatcher.look_at_barred(now), self.sleepers.next_overdue())
        # Only here is it moved on: until then a deadline that has lapsed costs one empty call.
        timers.deadline = min(go_on, timers.next_due(now), now if self.departures else go_on)

    @property
    def drained(self) -> bool:
        """See L{Draining.over}."""
        return self._draining.over(self.peers)

    def let_go(self) -> None:
        """
        Nothing is asked of this broker any more, while the process goes on. Python's collector does not look
        at jobs, so what they refer to would stay for good, and that is nearly all that there is.
        """
        nowhere = Function(b"")
        for jobs in (self.table.jobs, self.archive.jobs):
            for job in jobs.values():
                job.let_go(nowhere)

    def check(self) -> None:
        """
        Is every job in one place, and does each owner count right? For tests; it walks over all there is.

        @raise AssertionError: something does not agree.
        """
        jobs, functions = self.table.jobs.values(), self.functions.by_name.values()
        for owner in (self.table, self.dispatcher, self.archive, self.stock, self.lookups, self.lifecycle):
            owner.check()
        self.table.uniques.check()
        if not self.halted:
            self.absences.check(self.peers, jobs)
        self.sleepers.check(list(self.peers))
        check_tenants(self.tenants.by_name.values(), self.peers, jobs)
        check_functions(functions, jobs, self.archive.jobs.values())
        # Jobs of which the store is asked are not counted before it has answered.
        check_statistics(self.statistics, functions, jobs, self.table.rows - len(self.lookups))
        check_timers(self.timers, functions, jobs)
        if self.pager is not None:
            self.pager.check(jobs)

"""
Which job goes to which worker: the order in which functions are served, who is woken, and what runs.

Every job is in exactly one place: on its way to the disk (STORING), in a lane of its function (QUEUED) or
the lane's overflow (PAGED), at a worker (RUNNING), or delayed (DELAYED, until its time or, while the server
drains, for good). Here are the ways between them, with all that belongs to each;
L{txgear.broker.rows.passage} has those out of memory, and into it.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from txgear.broker.counts import SETTLE_FROM
from txgear.broker.sharedlanes import SharedLanes
from txgear.broker.states import (
    DELAYED,
    PAGED,
    QUEUED,
    RUNNING,
    STORING,
    TO_CLAIMED,
    TO_DELAYED,
    TO_PAGED,
    TO_QUEUED,
    TO_RUNNING,
)
from txgear.protocol.constants import PRIORITIES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from txgear.broker.functions import Functions
    from txgear.broker.model import Function, Job, Peer
    from txgear.broker.paging import Pager
    from txgear.broker.sleepers import Sleepers
    from txgear.broker.tenants import Tenant
    from txgear.broker.timers import Timers


class Dispatcher:
    """
    @ivar running: how many jobs are at workers.
    @ivar draining: whether only what clients wait for is still handed out.
    @ivar has_heir: whether another server has the jobs next: background submits are still taken for it.
    @ivar trusted_until: from then on, by the server's time, another server may have what is stored: only
        other jobs are handed out.
    @ivar rings: for each priority the functions that have a job of it, whether or not one is in memory,
        the one that was served longest ago first: the round-robin over functions. Each with the turn
        at which it came to the end.
    """

    __slots__ = (
        "_asleep",
        "_bounded",
        "_functions",
        "_pager",
        "_sleepers",
        "_timers",
        "_turn",
        "_unsifted",
        "_wakeups",
        "draining",
        "has_heir",
        "rings",
        "running",
        "trusted_until",
    )

    def __init__(
        self, functions: Functions, sleepers: Sleepers, timers: Timers, pager: Pager | None, wakeups: int
    ) -> None:
        """
        @param pager: decides which workloads are in memory; C{None} where no job is stored.
        @param wakeups: NOOPs that are sent at the most when a job is queued; 0 for as many as there are jobs.
        """
        self._functions = functions
        self._sleepers = sleepers
        self._asleep = sleepers.asleep
        self._timers = timers
        self._pager = pager
        self._wakeups = wakeups
        self.rings: tuple[dict[Function, int], ...] = ({}, {}, {})
        self._turn = 0
        self.running = 0
        self.draining = self.has_heir = False
        self.trusted_until = inf
        # While the server begins to drain: the functions whose jobs have not all been looked at.
        self._unsifted: dict[Function, None] = {}
        # Tenants that may have so many jobs at workers: all functions of which each has something queued.
        self._bounded: dict[Tenant, dict[Function, None]] = {}

    # Into a place

    def enqueue(self, job: Job, now: float, *, first: bool = False) -> None:
        """
        A job that is in no place may be handed out.

        @param first: whether its turn is where it had been, before all others.
        """
        if self.draining and not job.clients:
            self.delay(job)
            return
        job.since = now
        function, priority = job.function, job.priority
        lanes = function.lanes
        # One look for all that is rare: this is on the way of each job.
        rare: object = lanes.overflow or job.stored or job.history is not None
        if (tenant := job.tenant) is not None and tenant.quota.running:
            # What it has behind its lane does not show in the lanes while it is held.
            rare, lanes = True, self.bound(tenant, function, now)
        if rare:
            if job.history is not None and job.history.expires:
                self._timers.add(job, job.history.expires)
            if (job.size and not job.workload) or (not first and lanes.behind(job)):
                job.state = TO_PAGED[job.state]
                if lanes.append_overflow(job):
                    self.to_ring_end(function, priority)
                self.advance(job, now)
                if now >= self.trusted_until:
                    self.wake(function, now)
                return
        job.state = TO_QUEUED[job.state]
        opened = lanes.put_back(job) if first else lanes.append(job)
        if opened and not function.throttled and priority not in lanes.overflow:
            self._turn += 1
            self.rings[priority][function] = self._turn
        if self._asleep:
            self.wake(function, now)

    def enqueue_late(self, job: Job, now: float) -> bool:
        """
        The same for one behind which others may have come that were submitted later: it is before those that
        are in its lane.

        @return: whether it is; otherwise it is in no place yet.
        """
        if self.draining and not job.clients:
            return False
        before, job.state = job.state, TO_QUEUED[job.state]
        if not job.function.lanes.squeeze_in(job):
            job.state = before
            return False
        job.since = now
        if job.history is not None and job.history.expires:
            self._timers.add(job, job.history.expires)
        if self._asleep:
            self.wake(job.function, now)
        return True

    def delay(self, job: Job) -> None:
        """A job that is in no place is not to be handed out for now."""
        job.state = TO_DELAYED[job.state]
        job.function.delayed[job] = None

    def advance(self, job: Job, now: float) -> None:
        """As L{advance_lane}, of the lane of this job."""
        self.advance_lane(job.function, job.priority, job.tenant, now)

    def advance_lane(self, function: Function, priority: int, tenant: Tenant | None, now: float) -> None:
        """
        What is behind a lane has changed, or the lane before it: let those into the lane whose workloads are
        there, and have others read.
        """
        lanes = function.lanes
        advanced = 0
        dry = not lanes.counts[priority]
        while (other := lanes.pop_loaded(priority, tenant)) is not None:
            advanced += 1
            other.state = TO_QUEUED[other.state]
            lanes.append(other)
        if advanced:
            self.wake(function, now, advanced)
        if self._pager is not None:
            self._pager.ask(function, priority, now)
        if advanced and dry:
            self.unbar(priority, now)

    def advance_all(self, function: Function, now: float) -> None:
        """The same for all lanes of a function."""
        for job in function.lanes.firsts():
            self.advance(job, now)
        if self._pager is not None:
            for priority in sorted(function.lanes.overflow):
                self._pager.ask(function, priority, now)

    def to_ring_end(self, function: Function, priority: int) -> None:
        """There is something of this priority: the function may have its turn, after all others."""
        if function.throttled:
            return
        self._turn += 1
        self.rings[priority][function] = self._turn

    # To a worker

    def take(self, worker: Peer, now: float) -> Job | None:
        """
        Hand out the next job that this worker can do: of the highest priority over all its functions, of
        the function that was served longest ago, of that function's jobs the oldest.

        @return: the job, which is RUNNING now, or C{None}.
        """
        if now >= self.trusted_until:
            return self._take_unstored(worker, now)
        for priority in PRIORITIES:
            ring = self.rings[priority]
            if not ring or (function := self._pick(ring, priority, worker.abilities)) is None:
                continue
            lanes = function.lanes
            if not lanes.counts[priority]:
                # It is being read: what is of a lower priority waits, unless the store does not answer.
                if self._pager is not None and self._pager.trusts(now):
                    return None
                continue
            job = lanes.take(priority)
            if not lanes.counts[priority] and priority not in lanes.overflow:
                del ring[function]
            elif len(ring) > 1:
                del ring[function]
                self.to_ring_end(function, priority)
            job.state = TO_RUNNING[job.state]
            job.worker = worker
            function.counts.new_waits.append(now - job.since)
            job.since = now
            job.kept_handle = handle = job.naming % job.number
            worker.running[handle] = job
            function.running += 1
            self.running += 1
            if (tenant := job.tenant) is not None:
                tenant.running += 1
                if tenant.running == tenant.quota.running:
                    self._judge(tenant, now)
            if job.due:
                self._timers.discard(job)
            if (throttle := function.throttle) is not None:
                # As in Bucket.started, which is one call more for each job.
                full = throttle.full
                throttle.full = full = (now if full < now else full) + throttle.interval
                if (
                    full - throttle.slack > now
                    or throttle.concurrency is not None
                    or function.due
                    or (self._asleep and lanes.ready > function.woken)
                ):
                    # Otherwise there is a token for the next one, and nobody to be woken for it.
                    self.regulate(function, now)
            if lanes.overflow and lanes.is_low(priority):
                self.advance(job, now)
            return job
        return None

    def _take_unstored(self, worker: Peer, now: float) -> Job | None:
        """The same while stored jobs are not handed out: it looks for another among them."""
        for priority in PRIORITIES:
            for function in self.rings[priority]:
                if function not in worker.abilities:
                    continue
                job = next((job for job in self._unstored(function) if job.priority == priority), None)
                if job is not None:
                    self.claim(job, worker, now)
                    if function in self.rings[priority]:
                        del self.rings[priority][function]
                        self.to_ring_end(function, priority)
                    return job
        return None

    @staticmethod
    def _unstored(function: Function) -> Iterator[Job]:
        """The jobs that the store does not have and that may be handed out, behind stored ones as well."""
        if function.throttle is not None and function.throttle.borrowed:
            # Another server may have borrowed that place by now.
            return
        for job in function.lanes.in_turn():
            held = job.tenant is not None and job.tenant.held
            if job.state in (QUEUED, PAGED) and job.loaded and not (job.stored or held):
                yield job

    def trust(self, until: float, now: float) -> None:
        """No other server has what is stored until then."""
        lapsed = now >= self.trusted_until
        self.trusted_until = until
        if lapsed:
            for function in self._functions.by_name.values():
                self.wake(function, now, function.lanes.ready)

    def claim(self, job: Job, worker: Peer, now: float) -> None:
        """
        A worker has this very job already, which is QUEUED or PAGED: it is at work on it since before the
        server started. It is RUNNING now, whatever holds its function or its tenant back. Its workload need
        not be in memory: nobody is to be sent it.
        """
        function = job.function
        self._withdraw_ready(job, now)
        # As in take, where one call more would be one for each job.
        job.state = TO_CLAIMED[job.state]
        job.worker = worker
        function.counts.new_waits.append(now - job.since)
        job.since = now
        job.kept_handle = handle = job.naming % job.number
        worker.running[handle] = job
        function.running += 1
        self.running += 1
        if (tenant := job.tenant) is not None:
            tenant.running += 1
            if tenant.quota.running:
                self._judge(tenant, now)
        if function.throttle is not None:
            function.throttle.started(now)
            self.regulate(function, now)
        self.advance(job, now)

    @staticmethod
    def _pick(ring: dict[Function, int], priority: int, abilities: dict[Function, float]) -> Function | None:
        """
        The first function of a ring that a worker can do; the shorter list is walked. One of which nothing
        is in memory yet only where there is no other.
        """
        if len(ring) <= len(abilities):
            dry = None
            for function in ring:
                if function in abilities:
                    if function.lanes.counts[priority]:
                        return function
                    dry = dry or function
            return dry
        able = [function for function in abilities if function in ring]
        ready = [function for function in able if function.lanes.counts[priority]] or able
        return min(ready, key=ring.__getitem__) if ready else None

    # Out of a place

    def leave(self, job: Job, now: float) -> None:
        """
        A job is taken out of whatever place it is in; it is about to be in another, or over. One that has
        lain in a lane is not to come into any again after this, unless it was at a worker: see L{withdraw}.
        """
        function = job.function
        state = job.state
        if state == RUNNING:
            worker = job.worker
            assert worker is not None
            job.worker = None
            worker.freed = now
            # It is not there any more where the worker has given up the function.
            worker.running.pop(job.kept_handle, None)
            job.kept_handle = b""
            function.running -= 1
            self.running -= 1
            counts = function.counts
            runs = counts.new_runs
            runs.append(now - job.since)
            if len(runs) >= SETTLE_FROM:
                counts.settle()
            if (tenant := job.tenant) is not None:
                tenant.running -= 1
                # Otherwise there was room for all that it has.
                if 0 < tenant.quota.running < tenant.queued:
                    self._judge(tenant, now)
            if job.due:
                self._timers.discard(job)
            if function.throttle is not None and function.throttle.concurrency is not None:
                self.regulate(function, now)
        elif state == QUEUED:
            if job.due:
                self._timers.discard(job)
            if function.lanes.remove(job) and job.priority not in function.lanes.overflow:
                self.rings[job.priority].pop(function, None)
        elif state == PAGED:
            self._leave_overflow(job, now)
        else:
            del function.delayed[job]
            self._timers.cancel(job)

    def withdraw(self, job: Job, now: float) -> None:
        """
        A job that no worker has is taken out of its place. It is DELAYED and in none, until L{enqueue} or
        L{delay} follows; before it comes into a lane it has to get another place by L{JobTable.put_last
        <txgear.broker.table.JobTable.put_last>}. L{advance} is to follow, too, before its function or its
        priority changes.
        """
        if job.state in (QUEUED, PAGED):
            self._withdraw_ready(job, now)
        else:
            del job.function.delayed[job]
            self._timers.cancel(job)
        job.state = TO_DELAYED[job.state]

    def _withdraw_ready(self, job: Job, now: float) -> None:
        """Out of its lane or its overflow, which it may come into again; its state is about to change."""
        function = job.function
        if job.state == PAGED:
            self._leave_overflow(job, now, again=True)
            return
        if job.due:
            self._timers.discard(job)
        if function.lanes.withdraw(job) and job.priority not in function.lanes.overflow:
            self.rings[job.priority].pop(function, None)

    def _leave_overflow(self, job: Job, now: float, *, again: bool = False) -> None:
        function, priority = job.function, job.priority
        if job.due:
            self._timers.discard(job)
        function.lanes.remove_overflow(job, again=again)
        if priority not in function.lanes.overflow and not function.lanes.counts[priority]:
            self.rings[priority].pop(function, None)
            self.unbar(priority, now)

    # What holds a function back

    def regulate(self, function: Function, now: float) -> None:
        """
        Whether jobs of this function may start may have changed: take it out of
        the rings, or put it back and wake those that wait for its jobs.
        """
        throttle, lanes = function.throttle, function.lanes
        available = None if throttle is None else throttle.available(function.running, now)
        throttled = available == 0 or function in self._unsifted
        if throttled != function.throttled:
            function.throttled = throttled
            self.settle_rings(function, now)
        if throttle is not None:
            self._timers.discard(function)
            if throttled and not throttle.paused and (opens := throttle.opens()) > now:
                self._timers.add(function, opens)
        if not throttled and lanes.ready:
            self.wake(function, now, lanes.ready)

    def settle_rings(self, function: Function, now: float) -> None:
        """Have a function in the rings of those priorities of which something may be handed out."""
        lanes = function.lanes
        for priority, ring in enumerate(self.rings):
            there = lanes.counts[priority] or priority in lanes.overflow
            if function in ring:
                if function.throttled or not there:
                    del ring[function]
                    self.unbar(priority, now)
            elif there:
                self.to_ring_end(function, priority)

    def release_throttle(self, function: Function, now: float) -> None:
        """A reason to hold this function back is gone; there may be others."""
        self.regulate(function, now)
        if self._functions.drop_throttle(function):
            self.regulate(function, now)

    def throttle_due(self, function: Function, now: float) -> None:
        """The time has come for which a throttle was among the timers."""
        if function.throttle is not None:
            function.throttle.refill(now)
        self.regulate(function, now)
        self._functions.forget_if_unused(function)

    def _available(self, function: Function, now: float) -> int:
        """How many of its jobs may be handed out now."""
        throttle = function.throttle
        ready = (
            sum(1 for _ in self._unstored(function))
            if now >= self.trusted_until
            else function.lanes.startable
        )
        available = None if throttle is None else throttle.available(function.running, now)
        return ready if available is None else min(ready, available)

    # What holds a tenant back

    def bound(self, tenant: Tenant, function: Function, now: float) -> SharedLanes[Job]:
        """
        There is to be something of a tenant that may have so many jobs at workers: it must not be in the way
        of others.
        """
        functions = self._bounded.get(tenant)
        if functions is None:
            functions = self._bounded[tenant] = {}
        functions[function] = None
        lanes = function.lanes
        if not isinstance(lanes, SharedLanes):
            lanes = function.share()
            self.advance_all(function, now)
        return lanes

    def _judge(self, tenant: Tenant, now: float) -> None:
        """
        A tenant has more or fewer jobs at workers, or may have. This takes a while for each function of which
        it has something queued.
        """
        functions = self._bounded.get(tenant, {})
        for function in list(functions):
            lanes = function.lanes
            if not (isinstance(lanes, SharedLanes) and lanes.has(tenant)):
                del functions[function]
                continue
            lanes.judge(tenant)
            self.settle_rings(function, now)
            if self._pager is not None:
                for priority in sorted(lanes.overflow):
                    self._pager.ask(function, priority, now)
            if not tenant.held:
                self.wake(function, now)

    def quotas_changed(self, bounded: Collection[Tenant], now: float) -> None:
        """
        What tenants may have at workers has changed.

        @param bounded: those that may have any number no more, and have jobs.
        """
        for function in self._functions.by_name.values():
            lanes = function.lanes
            owners = lanes.owners().union(job.tenant for job in lanes.all() if job.state in (QUEUED, PAGED))
            if bounded and not owners.isdisjoint(bounded):
                lanes = function.share()
            if isinstance(lanes, SharedLanes):
                for tenant in lanes.tenants():
                    self._bounded.setdefault(tenant, {})[function] = None
        for tenant in list(self._bounded):
            self._judge(tenant, now)
            if not tenant.quota.running:
                del self._bounded[tenant]
        for function in self._functions.by_name.values():
            function.arrange_lanes()
            self.advance_all(function, now)
            if isinstance(function.lanes, SharedLanes):
                function.lanes.forget_absent()

    # Workers that sleep

    def wake(self, function: Function, now: float, jobs: int = 1) -> None:
        """
        Wake as many of those that sleep as there are jobs for them, and no more.

        @param jobs: how many have just been queued.
        """
        wanted = function.lanes.ready - function.woken
        if not self._asleep or (wanted <= 0 and now < self.trusted_until):
            return
        if function.throttle is not None or function.lanes.limited or now >= self.trusted_until:
            wanted = self._available(function, now) - function.woken
            if wanted <= 0:
                return
        if self._wakeups:
            wanted = min(wanted, self._wakeups * jobs)
        for peer in self._sleepers.find(function, wanted):
            self._sleepers.send_noop(function, peer, now)

    def settle(self, worker: Peer, now: float) -> None:
        """
        A worker is asleep: is there a job for it that nobody has been woken for? While one of a
        higher priority is being read, those of lower ones are for others.
        """
        abilities = worker.abilities
        if now >= self.trusted_until:
            for function in abilities:
                if self._available(function, now) > function.woken:
                    self._sleepers.send_noop(function, worker, now)
                    return
            return
        for priority, ring in enumerate(self.rings):
            if not ring:
                continue
            dry = False
            walked, other = (ring, abilities) if len(ring) <= len(abilities) else (abilities, ring)
            for function in walked:
                if function in other:
                    lanes = function.lanes
                    if not lanes.counts[priority]:
                        dry = True
                    elif lanes.ready > function.woken and self._available(function, now) > function.woken:
                        self._sleepers.send_noop(function, worker, now)
                        return
            if dry and self._pager is not None and self._pager.trusts(now):
                self._sleepers.bar(worker, priority)
                self._timers.call_at(self._pager.trusted)
                return

    def set_paused(self, worker: Peer, paused: bool, now: float) -> None:
        """
        A worker says whether it takes no job for now, as somebody told it. It sleeps no more then: it would
        be woken in vain.
        """
        worker.paused = paused
        if not paused:
            worker.asked = now
        elif (woken_for := self._sleepers.awake(worker)) is not None:
            self.wake(woken_for, now)

    def unbar(self, priority: int, now: float) -> None:
        """Something of this priority is not being read any more: whoever waits may have something else."""
        for worker in self._sleepers.unbar(priority):
            self.settle(worker, now)

    def look_at_barred(self, now: float) -> float:
        """
        Let those have something else who wait for what is being read, if that takes too long.

        @return: when to look again, by the server's time; infinite for not at all.
        """
        if self._pager is None or not self._sleepers.barred:
            return inf
        if self._pager.trusts(now):
            return self._pager.trusted
        for priority in PRIORITIES:
            self.unbar(priority, now)
        return inf

    # The server drains

    def begin_to_drain(self, now: float, has_heir: bool) -> list[Function]:
        """
        Hand out only jobs that a client waits for, from now on. Of others there may be a great many: a
        function that has any job has to wait until it is L{sifted}.

        @param has_heir: whether another server has the jobs next.
        @return: those functions.
        """
        self.draining, self.has_heir = True, has_heir
        if self._pager is not None:
            self._pager.stop()
        for function in self._functions.by_name.values():
            if function.lanes.ready or function.lanes.paged or function.lanes.held:
                function.throttled = True
                self._unsifted[function] = None
        self.rings = ({}, {}, {})
        for priority in PRIORITIES:
            self.unbar(priority, now)
        return list(self._unsifted)

    def sifted(self, function: Function, now: float) -> None:
        """Of this function nothing is left that no client waits for."""
        del self._unsifted[function]
        self.advance_all(function, now)
        self.regulate(function, now)

    def withhold(self, job: Job, now: float) -> None:
        """A job that could be handed out is delayed for good."""
        if job.state in (QUEUED, PAGED):
            self.leave(job, now)
            self.delay(job)

    def check(self) -> None:
        """
        Do counts, rings and lanes agree?

        @raise AssertionError: they do not.
        """
        for function in self._functions.by_name.values():
            lanes = function.lanes
            lanes.check()
            for priority, ring in enumerate(self.rings):
                some = bool(lanes.counts[priority] or priority in lanes.overflow)
                assert (function in ring) == (some and not function.throttled), (function, priority)
            assert all(job.state in (STORING, DELAYED) for job in function.delayed), function
            lying = [job for job in lanes.all() if job.state in (QUEUED, PAGED)]
            for tenant in {job.tenant for job in lying if job.tenant is not None}:
                if tenant.quota.running:
                    assert isinstance(lanes, SharedLanes), function
                    assert function in self._bounded[tenant], (function, tenant)
        running = sum(function.running for function in self._functions.by_name.values())
        assert self.running == running, (self.running, running)
        for ring in self.rings:
            turns = list(ring.values())
            assert turns == sorted(turns), turns
            assert not turns or turns[-1] <= self._turn, (turns, self._turn)

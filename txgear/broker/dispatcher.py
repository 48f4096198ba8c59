"""
Where each job is, and its ways from one place to another.

Every job is in exactly one place: on its way to the disk (STORING), a lane of
its queue (QUEUED) or behind it (PAGED), at a worker (RUNNING), or set aside
(WAITING, until its time or, while the server drains, for good). Here are the
moves between them with all that belongs to each: whose turn it is, who is
woken, whether its function's gate is open, what comes into memory. What is
kept of a job is L{txgear.broker.storage}'s affair, and when and why it moves the
L{txgear.broker.broker}'s.

Spans are measured by the server's time, which nobody can set; what is said,
kept and shown is the wall clock's. Where the two meet, L{Dispatch.offset} is
between them.
"""

from __future__ import annotations

from math import inf
from typing import Final

from txgear.broker.archive import Archive
from txgear.broker.chores import Chore, Chores
from txgear.broker.jobs import (
    ENDINGS,
    PAGED,
    QUEUED,
    RUNNING,
    STORING,
    TO_PAGED,
    TO_QUEUED,
    TO_WAITING,
    WAITING,
    Appointment,
    Job,
)
from txgear.broker.limits import Gate
from txgear.broker.paging import Pager
from txgear.broker.queues import Function
from txgear.broker.records import Journal
from txgear.broker.sleepers import WAKE_SECONDS, Outbox, Peer, Roster
from txgear.broker.timers import Agenda
from txgear.broker.uniques import Uniques
from txgear.errors import ArgumentTooLarge, InvalidArgument, QueueError
from txgear.policies import Policies
from txgear.protocol.constants import MAX_FUNCTION, NOOP, PRIORITIES
from txgear.protocol.packets import Data

LOOK_SECONDS: Final = 1.0
"""Between two looks at the wall clock, by whoever needs it: it may be set meanwhile."""
MOST_FUNCTIONS: Final = 100_000
"""
Functions that there may be before no new name is taken, whoever brings it: each takes 1.5 kB, and its
name. What the store has at the start is not counted against it.
"""


class Dispatch:
    """
    One server's jobs by place, its functions, and the workers that wait for them.

    @ivar jobs: every job that has not ended, by number; the oldest first, but
        for those that had been put behind others before the server started.
    @ivar functions: every queue that anything is known of, by name.
    @ivar archive: jobs that have ended and are still known.
    @ivar roster: the peers.
    @ivar policies: what the operator has set.
    @ivar draining: whether only what clients wait for is still handed out.
    @ivar offset: what the wall clock is ahead of the server's time, in seconds; see L{clock_changed}.
    @ivar deadline: when C{expire} is to be called at the latest, by the server's time; infinite for
        not at all.
    """

    # With 30 attributes, and a broker has them, CPython looks up each of them, and each method, in a dict of
    # the instance's own: that took a tenth of a job's time.
    __slots__ = (
        "_agenda",
        "_calendar",
        "_counter",
        "_journal",
        "_leaving",
        "_pager",
        "_pause",
        "_rings",
        "_running",
        "_send",
        "_turn",
        "_uniques",
        "_unsifted",
        "_wakeups",
        "archive",
        "deadline",
        "draining",
        "functions",
        "jobs",
        "offset",
        "policies",
        "roster",
    )

    def __init__(self, outbox: Outbox, wakeups: int, journal: Journal | None, queue_memory: int) -> None:
        """
        @param outbox: takes the packets.
        @param wakeups: NOOPs that are sent at the most when a job is queued;
            0 for as many as there are jobs.
        @param journal: carries background jobs to the disk, if anybody does.
        @param queue_memory: bytes of stored jobs' workloads that are kept in memory.
        """
        self._send = outbox.send
        self._pause = outbox.pause
        self._wakeups = wakeups
        self._journal = journal
        self._pager = Pager(queue_memory, journal.load) if journal is not None else None
        self._counter = 0
        self.jobs: dict[int, Job] = {}
        self.functions: dict[bytes, Function] = {}
        self.archive = Archive()
        self.roster = Roster()
        self.draining = False
        self.offset = 0.0
        self.deadline = inf
        self.policies = Policies()
        self._uniques = Uniques()
        self._agenda: Agenda[Job | Gate] = Agenda()
        # By the wall clock.
        self._calendar: Agenda[Appointment] = Agenda()
        # For each priority the queues that have a job of it, whether or not one is in memory, the one
        # that was served longest ago first: the round-robin over functions.
        # Each with the turn at which it came to the end.
        self._rings: tuple[dict[Function, int], ...] = ({}, {}, {})
        self._turn = 0
        self._running = 0
        # What comes of peers that leave, and of the draining: it waits for nothing.
        self._leaving = Chores()
        # While the server begins to drain: the functions whose jobs have not all been looked at.
        self._unsifted: dict[Function, None] = {}

    # Into a lane, and to a worker

    def _enqueue(self, job: Job, now: float, *, first: bool = False) -> None:
        """The job may be handed out: in its turn, or C{first} where it had been."""
        queue = job.queue
        if self.draining and not job.clients:
            self._set_aside(job)
            return
        # One look for all that is rare: this is on the way of each job.
        if queue.backs or job.stored or job.life is not None:
            if job.life is not None and job.life.expires:
                self._schedule(job, job.life.expires)
            if not first and (job.priority in queue.backs or not job.loaded):
                job.state = TO_PAGED[job.state]
                if queue.append_back(job):
                    self._to_ring_end(queue, job.priority)
                self._advance(queue, job.priority, now)
                return
        job.state = TO_QUEUED[job.state]
        if (queue.restore(job) if first else queue.append(job)) and job.priority not in queue.backs:
            self._to_ring_end(queue, job.priority)
        if self.roster.asleep:
            self._wake(queue, now)

    def _advance(self, queue: Function, priority: int, now: float) -> None:
        """
        What is behind a lane has changed, or its place in front: let those into the
        lane whose workloads are there, and have others read.
        """
        advanced = 0
        dry = not queue.counts[priority]
        while (job := queue.pop_loaded(priority)) is not None:
            advanced += 1
            job.state = TO_QUEUED[job.state]
            queue.append(job)
        if advanced:
            self._wake(queue, now, advanced)
        if self._pager is not None:
            self._pager.ask(queue, priority, now)
        if advanced and dry:
            self._unbar(priority, now)

    def _pick(self, priority: int, worker: Peer) -> Function | None:
        """
        The first queue of a ring that the worker can do; the shorter list is walked. One of which nothing
        is in memory yet only where there is no other.
        """
        ring, abilities = self._rings[priority], worker.abilities
        if len(ring) <= len(abilities):
            dry = None
            for queue in ring:
                if queue in abilities:
                    if queue.counts[priority]:
                        return queue
                    dry = dry or queue
            return dry
        able = [queue for queue in abilities if queue in ring]
        ready = [queue for queue in able if queue.counts[priority]] or able
        return min(ready, key=ring.__getitem__) if ready else None

    def _settle(self, worker: Peer, now: float) -> None:
        """
        A worker is asleep: is there a job for it that nobody has been woken for? While one of a
        higher priority is being read, those of lower ones are for others.
        """
        abilities = worker.abilities
        for priority, ring in enumerate(self._rings):
            if not ring:
                continue
            dry = False
            walked, other = (ring, abilities) if len(ring) <= len(abilities) else (abilities, ring)
            for queue in walked:
                if queue in other:
                    if not queue.counts[priority]:
                        dry = True
                    elif queue.ready > queue.woken and self._grabbable(queue, now) > queue.woken:
                        self._rouse(queue, worker, now)
                        return
            if dry and self._pager is not None and self._pager.trusts(now):
                self.roster.bar(worker, priority)
                self.deadline = min(self.deadline, self._pager.trusted)
                return

    def _unbar(self, priority: int, now: float) -> None:
        """Something of this priority is not being read any more: whoever waits may have something else."""
        for worker in self.roster.unbar(priority):
            self._settle(worker, now)

    def _to_ring_end(self, queue: Function, priority: int) -> None:
        if queue.held:
            return
        self._turn += 1
        self._rings[priority][queue] = self._turn

    def _close_lane(self, queue: Function, priority: int) -> None:
        """The last job of this priority has left the queue."""
        self._rings[priority].pop(queue, None)

    def _leave_lane(self, job: Job) -> None:
        """A queued job is about to be something else."""
        queue = job.queue
        if job.due:
            self._agenda.discard(job)
        if queue.forget(job) and job.priority not in queue.backs:
            self._close_lane(queue, job.priority)

    def _leave_back(self, job: Job, now: float) -> None:
        """A job behind its lane is about to be something else."""
        queue, priority = job.queue, job.priority
        if job.due:
            self._agenda.discard(job)
        queue.forget_back(job)
        if priority not in queue.backs and not queue.counts[priority]:
            self._close_lane(queue, priority)
            self._unbar(priority, now)

    def _leave_worker(self, job: Job, now: float) -> None:
        """A running job is about to be something else."""
        worker = job.worker
        assert worker is not None
        job.worker = None
        # It is not there any more where the worker has given up the function.
        worker.running.pop(job.keep_handle(False), None)
        job.queue.running -= 1
        self._running -= 1
        if job.due:
            self._agenda.discard(job)
        if job.queue.gate is not None:
            self._regulate(job.queue, now)

    # What holds a function back

    def _regulate(self, queue: Function, now: float) -> None:
        """
        Whether jobs of this function may start may have changed: take it out of
        the rings, or put it back and wake those that wait for its jobs.
        """
        gate = queue.gate
        room = None if gate is None else gate.room(now)
        held = room == 0 or queue in self._unsifted
        if held != queue.held:
            queue.held = held
            for priority in PRIORITIES:
                if held:
                    self._close_lane(queue, priority)
                    if priority in queue.backs:
                        self._unbar(priority, now)
                elif queue.counts[priority] or priority in queue.backs:
                    self._to_ring_end(queue, priority)
        if gate is not None:
            self._agenda.discard(gate)
            if held and not gate.paused and (opens := gate.opens()) > now:
                self._agenda.add(gate, opens)
                self.deadline = min(self.deadline, opens)
        if not held and queue.ready:
            self._wake(queue, now, queue.ready)

    def _gate(self, queue: Function) -> Gate:
        """The function's gate; made if there is none."""
        if queue.gate is None:
            queue.gate = Gate(queue)
        return queue.gate

    def _drop_gate(self, queue: Function, now: float) -> None:
        """Nothing may hold this function back any more."""
        gate = queue.gate
        if gate is not None and not gate.needed:
            self._agenda.discard(gate)
            queue.gate = None
            self._regulate(queue, now)

    def _look_again(self, gate: Gate, now: float) -> None:
        """The time has come for which a gate was on the agenda."""
        gate.refill(now)
        self._regulate(gate.queue, now)
        self._forget_unused(gate.queue)

    def _grabbable(self, queue: Function, now: float) -> int:
        """How many of its jobs may be handed out now."""
        room = None if queue.gate is None else queue.gate.room(now)
        return queue.ready if room is None else min(queue.ready, room)

    def _set_policy(self, queue: Function, now: float) -> None:
        """Let what the operator has set for this function hold from now on."""
        policy = queue.policy = self.policies.policy_for(queue.name)
        if policy is not None and (policy.concurrency or policy.rate):
            gate = self._gate(queue)
            gate.concurrency = policy.concurrency
            gate.set_rate(policy.rate, now)
            self._regulate(queue, now)
        elif queue.gate is not None:
            queue.gate.concurrency = 0
            queue.gate.set_rate(None, now)
            self._regulate(queue, now)
            self._drop_gate(queue, now)

    def set_policies(self, policies: Policies, now: float) -> None:
        """
        Let these settings hold from now on, in place of all others. Times that
        were fixed by earlier ones (when a job expires, is tried again or is forgotten) stay.
        """
        self.policies = policies
        for queue in list(self.functions.values()):
            self._set_policy(queue, now)
            self._forget_unused(queue)

    # Workers that sleep

    def _wake(self, queue: Function, now: float, jobs: int = 1) -> None:
        """
        Wake as many of those that sleep as there are jobs for them, and no more.

        @param jobs: how many have just been queued.
        """
        wanted = queue.ready - queue.woken
        if wanted <= 0 or not self.roster.asleep:
            return
        if queue.gate is not None and (wanted := self._grabbable(queue, now) - queue.woken) <= 0:
            return
        if self._wakeups:
            wanted = min(wanted, self._wakeups * jobs)
        for peer in self.roster.sleepers(queue, wanted):
            self._rouse(queue, peer, now)

    def _rouse(self, queue: Function, peer: Peer, now: float) -> None:
        """Send a sleeper a NOOP, and note when another is to be woken in its place."""
        self.roster.wake(queue, peer, now)
        self.deadline = min(self.deadline, now + WAKE_SECONDS)
        self._send(peer, NOOP)

    # Later

    def _set_aside(self, job: Job) -> None:
        """The job is not to be handed out for now."""
        job.state = TO_WAITING[job.state]
        job.queue.aside[job] = None

    def _schedule(self, job: Job, due: float) -> None:
        """Something is to happen to this job at that time."""
        self._agenda.add(job, due)
        self.deadline = min(self.deadline, due)

    def _appoint(self, job: Job, due: float, now: float) -> None:
        """The job waits for this time by the wall clock."""
        job.appointment = Appointment(job)
        self._calendar.add(job.appointment, due)
        self.deadline = min(self.deadline, due - self.offset, now + LOOK_SECONDS)

    def _cancel_wait(self, job: Job) -> None:
        """Whatever a job waited for is of no interest any more."""
        self._agenda.discard(job)
        if job.appointment is not None:
            self._calendar.discard(job.appointment)
            job.appointment = None

    def begins(self, job: Job) -> float:
        """When a job that waits is to begin, by the wall clock; 0.0 for one that does not wait for a time."""
        if job.appointment is not None:
            return job.appointment.due
        expires = 0.0 if job.life is None else job.life.expires
        # Of a job that waits and expires before its time, that is all that is to come.
        return self.wall(job.due) if job.state == WAITING and job.due != expires else 0.0

    def wall(self, moment: float) -> float:
        """
        @param moment: by the server's time; 0.0 for never.
        @return: the same by the wall clock.
        """
        return moment and moment + self.offset

    def clock_changed(self, offset: float, now: float) -> None:
        """
        The wall clock has been set: what waits for a time by it comes sooner or later than was
        thought, and nothing else does.

        @param offset: what it is ahead of the server's time from now on.
        """
        self.offset = offset
        self.deadline = min(self.deadline, now)

    def _withhold(self, job: Job, now: float) -> None:
        """The server drains: a job that could be handed out waits for good."""
        if job.state == QUEUED:
            self._leave_lane(job)
            self._set_aside(job)
        elif job.state == PAGED:
            self._leave_back(job, now)
            self._set_aside(job)

    def drain(self, now: float) -> None:
        """
        Take no new job, and hand out only those that a client waits for; the
        others wait for good. A function of which there are many has to wait until they are sorted out.
        """
        if self.draining:
            return
        self.draining = True
        self._unsifted = dict.fromkeys(
            queue for queue in self.functions.values() if queue.ready or queue.paged
        )
        for queue in self._unsifted:
            queue.held = True
        self._rings = ({}, {}, {})
        for priority in PRIORITIES:
            self._unbar(priority, now)
        self._by_and_by(self._sift(list(self._unsifted)), now)

    def _sift(self, queues: list[Function]) -> Chore:
        """Withhold what no client waits for, and let the rest be handed out."""
        now = yield
        for queue in queues:
            for job in queue.places():
                if not job.clients:
                    self._withhold(job, now)
                now = yield
            del self._unsifted[queue]
            for priority in sorted(queue.backs):
                self._advance(queue, priority, now)
            self._regulate(queue, now)
            now = yield

    def _by_and_by(self, chore: Chore, now: float) -> None:
        """Do this: the first part at once, the rest as soon as others have had their turn."""
        self._leaving.start(chore, now)
        if self._leaving:
            self.deadline = min(self.deadline, now)

    @property
    def drained(self) -> bool:
        """
        Whether no job runs, and no client waits for one that could run; of paused functions none can.
        One that is to be tried again is waited for, unless it is a background job as well: that one is kept.
        One whose time is still to come for the first time is not.
        """
        return (
            self.draining
            and not self._running
            and not any(
                queue.ready or queue.paged
                for queue in self.functions.values()
                if queue.gate is None or not queue.gate.paused
            )
            and not any(
                job.state == STORING or (job.state == WAITING and job.retries and not job.background)
                for peer in self.roster.peers
                for job in peer.attached
            )
        )

    def _put_last(self, job: Job) -> None:
        """The job's turn comes after that of all others that there are."""
        self._counter += 1
        job.place = self._counter

    # Who hears of it

    def _pass_on(self, job: Job, kind: int, *arguments: Data) -> None:
        for client in job.clients:
            self._send(client, kind, *arguments)

    # The end

    def _conclude(self, job: Job, outcome: int, now: float) -> None:
        """The job is over, and in no place any more; what it held is given back."""
        queue = job.queue
        if job.state == RUNNING:
            self._leave_worker(job, now)
        elif job.state == QUEUED:
            self._leave_lane(job)
        elif job.state == PAGED:
            self._leave_back(job, now)
        else:
            del queue.aside[job]
            self._cancel_wait(job)
        job.state = ENDINGS[outcome][job.state]
        queue.bytes -= job.size
        del self.jobs[job.number]
        if job.key is not None:
            self._uniques.remove(job.key, job)
        for client in job.clients:
            client.attached.pop(job, None)
        job.clients = ()

    # Functions

    def create_function(self, name: bytes) -> None:
        """
        Keep this function although nobody uses it.

        @raise ArgumentTooLarge: the name is too long.
        @raise QueueError: there are too many functions.
        """
        self._queue(name).created = True

    def drop_function(self, name: bytes) -> bool | None:
        """
        Forget the functions of this name, upper and lower case being the same,
        with their settings, unless one has workers or jobs, kept ones included.

        @return: C{True} if they are forgotten, C{False} if one is in use,
            C{None} if there is none.
        """
        folded = name.lower()
        found = [queue for queue in self.functions.values() if queue.name.lower() == folded]
        if not found:
            return None
        if any(queue.workers or queue.total or queue.kept for queue in found):
            return False
        for queue in found:
            if queue.gate is not None:
                self._agenda.discard(queue.gate)
            del self.functions[queue.name]
        return True

    def limit_function(self, name: bytes, limits: tuple[int, int, int]) -> None:
        """
        Refuse submits to this function while it has that many jobs, of
        whatever state; remembered for a function that nobody has used yet.

        @param limits: for each priority the number of jobs, 0 for no bound.
        @raise ArgumentTooLarge: the name is too long.
        @raise QueueError: there are too many functions.
        """
        queue = self._queue(name)
        queue.limits = limits if any(limits) else None
        self._forget_unused(queue)

    def _queue(self, name: bytes, *, bounded: bool = True) -> Function:
        """
        The queue of this function; a new one, if there is none.

        @param bounded: whether there may be too many.
        @raise ArgumentTooLarge: the name is too long.
        @raise QueueError: there are as many functions as there may be.
        """
        queue = self.functions.get(name)
        if queue is None:
            if len(name) > MAX_FUNCTION:
                raise ArgumentTooLarge("Function name too large")
            if b"\0" in name:
                raise InvalidArgument("A function's name holds no NUL")
            if bounded and len(self.functions) >= MOST_FUNCTIONS:
                raise QueueError(f"There are {MOST_FUNCTIONS} functions, and no room for another")
            queue = self.functions[name] = Function(name)
            if self.policies.rules:
                self._set_policy(queue, 0.0)
        return queue

    def _forget_unused(self, queue: Function) -> None:
        if not queue.unused or self.functions.get(queue.name) is not queue:
            return
        gate = queue.gate
        if gate is not None and gate.full > -inf:
            # Who comes back at once is not to find a full bucket: it is forgotten when that is so. Nor
            # is who comes back when the next token is there to find it held: that is looked at before.
            if not gate.due:
                self._agenda.add(gate, gate.full)
                self.deadline = min(self.deadline, gate.full)
        else:
            del self.functions[queue.name]

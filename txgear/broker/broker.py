"""
The rules of a job server: submit, grab, finish, try again, lose, cancel.

The broker knows no socket, no clock and no disk. Each entry is one turn: it is
told the server's time as C{now} where that matters, it hands what peers are to
hear to the outbox and what is to be kept to the journal, and L{Broker.deadline}
says when it wants L{Broker.expire} called.

The server's time is in seconds: those since the epoch when the server started, and
counted on from there by a clock that nobody can set.

Here is what happens to jobs and why; where they are, and how they move, is
L{txgear.broker.dispatcher}'s affair, and what is kept of them L{txgear.broker.storage}'s. All the
ends of a job go through C{_end} or C{_finish}, all its ways back from a worker
through L{Broker._over}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.chores import BATCH, Chore, one_by_one
from txgear.broker.dispatcher import LOOK_SECONDS
from txgear.broker.history import Life
from txgear.broker.jobs import (
    CANCELLED,
    DONE,
    RUNNING,
    TO_RUNNING,
    TO_STORING,
    Job,
)
from txgear.broker.limits import Gate
from txgear.broker.operations import Desk
from txgear.broker.records import SCHEDULED, StoredValue
from txgear.broker.uniques import key_of
from txgear.errors import ArgumentTooLarge, InvalidArgument, JobNotFound, PolicyError, QueueError
from txgear.policies import CLASSIC, EXCEPTION, FAIL, LOST
from txgear.protocol.constants import (
    MAX_UNIQUE,
    NORMAL,
    PRIORITIES,
    SHUTTING_DOWN,
    UNIQUE_FROM_WORKLOAD,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_STATUS,
    WORK_WARNING,
)
from txgear.protocol.packets import Data

if TYPE_CHECKING:
    from txgear.broker.queues import Function
    from txgear.broker.records import Journal
    from txgear.broker.sleepers import Outbox, Peer
    from txgear.broker.uniques import Key

UNLIMITED: Final = -1
"""Retries without a bound."""

MOST_AWAITED: Final = 250_000
"""
Jobs that one connection waits for at the most, and clients that wait for one job: 150 MB of
memory. Nobody who reads the answers has as many under way.
"""
MOST_ABILITIES: Final = 20_000
"""Functions that one connection can do at the most: it takes all of them back in some milliseconds."""

QUEUE_MEMORY: Final = 256 * 1024 * 1024
"""Bytes of workloads that are kept in memory, where the operator says nothing else."""


def _check(settings: Mapping[str, Any]) -> None:
    """
    @raise InvalidArgument: these are no settings that a job can have.
    """
    try:
        CLASSIC.with_settings(settings, for_job=True)
    except PolicyError as error:
        raise InvalidArgument(str(error)) from error


class Broker(Desk):
    """
    One server's jobs and peers, as those who ask and those who work see them.

    @ivar halted: whether the server ends: who leaves now leaves its jobs as they are.
    """

    __slots__ = ("halted",)

    def __init__(
        self,
        outbox: Outbox,
        prefix: bytes,
        retries: int = UNLIMITED,
        wakeups: int = 0,
        journal: Journal | None = None,
        queue_memory: int = QUEUE_MEMORY,
        chance: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """
        @param outbox: takes the packets.
        @param prefix: what handles start with; see L{check_prefix}.
        @param retries: how often a job may run at the most, its worker lost each
            time, before it fails; 0 and 1 both mean once, L{UNLIMITED} no bound.
        @param wakeups: NOOPs that are sent at the most when a job is queued;
            0 for as many as there are jobs.
        @param journal: carries background jobs to the disk; without one they are in memory only.
        @param queue_memory: bytes of stored jobs' workloads that are kept in memory.
        @param chance: a number from 0 to 1 at random, for the jitter of retries.
        """
        super().__init__(outbox, prefix, retries, wakeups, journal, queue_memory, chance)
        self.halted = False

    # Peers come and go

    def connect(self, peer: Peer) -> None:
        """A peer is there."""
        self.roster.peers[peer] = None

    def disconnect(self, peer: Peer, now: float) -> None:
        """
        A peer has gone: what it ran is taken back, and what nobody else waits
        for and nobody asked to have done anyway is given up.
        """
        del self.roster.peers[peer]
        if self.halted:
            return
        woken_for = self.roster.rise(peer)
        if peer.attached:
            left = one_by_one(peer.attached)
            peer.attached = {}
            self._by_and_by(self._part(peer, left), now)
        self.reset_abilities(peer, now)
        if woken_for is not None:
            self._wake(woken_for, now)

    def _part(self, client: Peer, attached: Iterable[Job]) -> Chore:
        """
        A client has left these jobs. Until its turn has come one of them may be handed out, as if it
        had been a moment earlier.
        """
        now = yield
        for job in attached:
            job.part(client)
            if not (job.wanted or job.state == RUNNING or job.ended):
                self._end(job, CANCELLED, now)
            elif self.draining and not job.clients:
                self._withhold(job, now)
            if job.priority in job.queue.backs:
                self._advance(job.queue, job.priority, now)
            now = yield

    # What a worker can do

    def can_do(self, peer: Peer, function: bytes, timeout: float, now: float) -> None:
        """
        The peer can do this function; saying it again replaces its timeout.

        @param timeout: seconds that it gives itself for a job, 0.0 for no bound.
        @raise ArgumentTooLarge: the function's name is too long.
        @raise QueueError: there are too many functions, or the peer can do too many.
        """
        queue = self._queue(function)
        if len(peer.abilities) >= MOST_ABILITIES and queue not in peer.abilities:
            self._forget_unused(queue)
            raise QueueError(f"A connection has at most {MOST_ABILITIES} functions")
        barred = peer.barred is not None
        self.roster.learn(peer, queue, timeout)
        if peer.asleep and queue.ready:
            self._wake(queue, now)
        if barred and peer.asleep:
            self._settle(peer, now)
        for priority in sorted(queue.backs):
            self._advance(queue, priority, now)

    def cant_do(self, peer: Peer, function: bytes, now: float) -> None:
        """The peer does this function no more; its jobs of it are taken back, counted as lost."""
        queue = self.functions.get(function)
        if queue is not None and queue in peer.abilities:
            self._leave(peer, [queue], now)

    def reset_abilities(self, peer: Peer, now: float) -> None:
        """The peer does nothing any more; all its jobs are taken back, counted as lost."""
        self._leave(peer, list(peer.abilities), now)

    def _leave(self, peer: Peer, queues: list[Function], now: float) -> None:
        """The peer works for these queues no more, nor for any that it cannot do."""
        woken_for = self.roster.rise(peer) if peer.woken_for in queues else None
        barred = peer.barred is not None
        self.roster.unlearn(peer, queues)
        abilities = peer.abilities
        lost, left = peer.running, {}
        if abilities:
            lost = {handle: job for handle, job in lost.items() if job.queue not in abilities}
            if len(lost) < len(peer.running):
                left = {handle: job for handle, job in peer.running.items() if handle not in lost}
        if lost or queues:
            # From here on the peer has nothing more to say of them.
            peer.running = left
            self._by_and_by(self._give_back(peer, lost.values(), queues), now)
        if woken_for is not None:
            self._wake(woken_for, now)
        if barred and peer.asleep:
            self._settle(peer, now)

    def _give_back(self, worker: Peer, lost: Iterable[Job], queues: list[Function]) -> Chore:
        """Jobs are taken back from a worker that has given up their functions."""
        now = yield
        for job in lost:
            # Its time may have been over meanwhile, and the worker may have got it again.
            if job.worker is worker and worker.running.get(job.handle) is not job:
                self._over(job, LOST, now)
            now = yield
        for queue in queues:
            self._forget_unused(queue)
            now = yield

    # Jobs come

    def submit(
        self,
        client: Peer | None,
        function: bytes,
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
    ) -> Job:
        """
        A client wants a job done, or joins the one that is the same.

        @param client: who waits for it; of a background submit nobody does.
        @param due: when it may begin at the earliest, by the wall clock, in seconds since the epoch.
        @param settings: what is to hold for this job, over its function's policy.
        @param schedule: which schedule it is for, and for which time: that is remembered with it.
        @param delay: seconds before which it must not begin, where C{due} does not say that.
        @return: the job; its handle is the answer to the submit, unless that is to wait for the disk (see
            C{answer_waits}). It may be done already, where its unique is still taken: a client that waits is
            to be told by C{repeat}.
        @raise ArgumentTooLarge: the unique, the reducer or the function is too long.
        @raise InvalidArgument: the settings make no sense.
        @raise QueueError: the function's queue is full, no job can be stored, the server drains, there are
            too many functions, or the client waits for too many jobs.
        """
        if len(unique) > MAX_UNIQUE or len(reducer) > MAX_UNIQUE:
            # The reference has this one text for both.
            raise ArgumentTooLarge("Unique value too large")
        if self.draining:
            raise QueueError(SHUTTING_DOWN)
        if settings:
            _check(settings)
        queue = self.functions.get(function) or self._queue(function)
        # Nearly every unique is its own key, and needs no call for that.
        key: Key | None = unique
        if not unique:
            key = None
        elif unique == UNIQUE_FROM_WORKLOAD:
            key = key_of(unique, workload)
        if key in self._uniques.jobs:
            job = self._uniques.find(queue, key)
            if job is not None:
                self._join(job, client, background)
                self._mark_schedule(schedule, 0 if job.storing is None else job.number)
                return job
        if queue.policy is not None or queue.kept:
            done = None if key is None else self._still_done(queue, key, now)
            if done is not None:
                self._mark_schedule(schedule, 0)
                return done
            self._check_room(queue, len(workload))
        if queue.limits is not None:
            limit = queue.limits[priority]
            if 0 < limit <= queue.total:
                raise QueueError("Job queue is full")
        if self._counter >= self._last_number:
            self._forget_unused(queue)
            raise QueueError("No job numbers are left until the store answers")
        number = self._counter + 1
        job = Job(self._naming, number, queue, unique, key, workload, priority, background, reducer, now)
        if queue.policy is not None or settings:
            job.life = Life(settings) if settings else None
            self._limit_wait(job, now)
        if not background:
            if client is not None:
                if len(client.attached) >= MOST_AWAITED:
                    self._forget_unused(queue)
                    raise QueueError(f"A connection waits for at most {MOST_AWAITED} jobs")
                job.clients = (client,)
                client.attached[job] = None
        elif self._journal is not None:
            self._store(job, due, now + delay if delay else 0.0)
            if schedule is not None:
                self._mark_schedule(schedule, number)
        self._counter = number
        self.jobs[number] = job
        queue.bytes += job.size
        if key is not None:
            self._uniques.add(key, job)
        if job.storing is not None:
            job.state = TO_STORING[job.state]
            queue.aside[job] = None
        elif due or delay:
            self._begin_to_wait(job, due, now, now + delay if delay else 0.0)
        else:
            self._enqueue(job, now)
        return job

    def _still_done(self, queue: Function, key: Key, now: float) -> Job | None:
        """The job that is done and has taken this unique for a while."""
        job = self.archive.find_done(queue, key)
        return job if job is not None and self._takes_unique(job, self.life(job), now) else None

    def _check_room(self, queue: Function, size: int) -> None:
        """
        @raise QueueError: the function's policy has no room for one more job of this size.
        """
        policy = queue.policy
        if policy is None:
            return
        if 0 < policy.max_queue <= queue.total:
            raise QueueError(f"Job queue is full: max_queue is {policy.max_queue}")
        if 0 < policy.max_bytes < queue.bytes + size:
            self._forget_unused(queue)
            raise QueueError(f"Job queue is full: max_bytes is {policy.max_bytes}")

    def _mark_schedule(self, schedule: tuple[bytes, float] | None, number: int) -> None:
        if schedule is not None:
            self.mark(StoredValue(SCHEDULED, *schedule, number))

    def _join(self, job: Job, client: Peer | None, background: bool) -> None:
        """
        One more asks for this job. A background request makes it outlive the
        clients that wait for it, and clients that come and go take nothing
        from a background job.
        """
        if background:
            if self._journal is not None and not job.background:
                self._store(job, self.begins(job))
            job.background = True
        else:
            assert client is not None
            if len(job.clients) >= MOST_AWAITED or len(client.attached) >= MOST_AWAITED:
                raise QueueError(f"At most {MOST_AWAITED} wait for a job, or a connection for jobs")
            job.join(client)
        if (gate := job.queue.gate) is not None and gate.closed:
            gate.spared.add(job)

    # Jobs go to workers

    def grab(self, worker: Peer, now: float) -> Job | None:
        """
        Hand out the next job that this worker can do: of the highest priority
        over all its functions, of the function that was served longest ago, of
        that function's jobs the oldest.

        @return: the job, which is the worker's from now on, or C{None}.
        """
        woken_for = None
        if worker.asleep or worker.woken_for is not None:
            woken_for = self.roster.rise(worker)
        worker.raised = None
        queue = job = None
        for priority in PRIORITIES:
            ring = self._rings[priority]
            if ring and (queue := self._pick(priority, worker)) is not None:
                if not queue.counts[priority]:
                    # It is being read: what is of a lower priority waits, unless the store does not answer.
                    queue = None
                    if self._pager is not None and self._pager.trusts(now):
                        break
                    continue
                job = queue.take(priority)
                if not queue.counts[priority] and priority not in queue.backs:
                    self._close_lane(queue, priority)
                elif len(ring) > 1:
                    del ring[queue]
                    self._to_ring_end(queue, priority)
                job.state = TO_RUNNING[job.state]
                job.worker = worker
                job.since = now
                queue.running += 1
                self._running += 1
                worker.running[job.keep_handle(True)] = job
                if queue.policy is not None or job.life is not None:
                    self._begin(job, worker, now)
                elif timeout := worker.abilities[queue]:
                    self._schedule(job, now + timeout)
                if queue.gate is not None:
                    queue.gate.started(now)
                    self._regulate(queue, now)
                if queue.backs:
                    self._advance(queue, priority, now)
                break
        if woken_for is not None and woken_for is not queue:
            self._wake(woken_for, now)
        return job

    def pre_sleep(self, worker: Peer, now: float) -> None:
        """
        The worker waits for a NOOP. It gets one at once when a job is ready
        that nobody has been woken for yet: it may have come between the
        worker's last grab and this.
        """
        woken_for = self.roster.fall_asleep(worker)
        self._settle(worker, now)
        if woken_for is not None and woken_for is not worker.woken_for:
            self._wake(woken_for, now)

    # What workers say of their jobs

    def _owned(self, worker: Peer, handle: bytes, complaint: str) -> Job:
        job = worker.running.get(handle)
        if job is None:
            raise JobNotFound(complaint)
        return job

    def beat(self, worker: Peer, handle: bytes, now: float) -> None:
        """
        The worker is still at it.

        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        self._heard(self._owned(worker, handle, "Job does not exist on server"), now)

    @staticmethod
    def _heard(job: Job, now: float) -> None:
        if job.life is not None:
            job.life.beat = now

    def work_data(self, worker: Peer, handle: bytes, data: Data, now: float) -> None:
        """
        Pass a part of the result on, and keep it where results are kept.

        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        job = self._owned(worker, handle, "Job does not exist on server")
        self._pass_on(job, WORK_DATA, handle, data)
        self._heard(job, now)
        if (life := job.life) is None:
            # No results were kept when it began; should they be later, a part is missing.
            job.life = Life()
            job.life.miss()
            return
        results = self._policy(job).results if job.background else None
        if results is None:
            life.miss()
        else:
            life.collect(data, results.bytes)

    def work_warning(self, worker: Peer, handle: bytes, data: Data, now: float) -> None:
        """
        Pass a warning on.

        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        job = self._owned(worker, handle, "Job does not exist on server")
        self._pass_on(job, WORK_WARNING, handle, data)
        self._heard(job, now)

    def work_status(
        self,
        worker: Peer,
        handle: bytes,
        numerator: bytes,
        denominator: bytes,
        progress: tuple[int, int],
        now: float,
    ) -> None:
        """
        Keep the progress for those who ask, and pass it on as it was said.

        @param progress: both as numbers.
        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        job = self._owned(worker, handle, "Job given in work result not found")
        job.numerator, job.denominator = progress
        self._pass_on(job, WORK_STATUS, handle, numerator, denominator)
        self._heard(job, now)

    def work_complete(self, worker: Peer, handle: bytes, result: Data, now: float) -> None:
        """
        The job is done.

        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        job = self._owned(worker, handle, "Job given in work result not found")
        if job.clients:
            self._pass_on(job, WORK_COMPLETE, handle, result)
        if job.life is None and job.queue.policy is None:
            self._end(job, DONE, now)
        else:
            self._finish(job, DONE, now, result)

    def work_fail(self, worker: Peer, handle: bytes, now: float) -> None:
        """
        The job has failed.

        Said of the job that the worker has just ended with an exception, it is
        let pass: Perl's worker says both, and an ERROR would end it.

        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        if handle == worker.raised:
            worker.raised = None
            return
        self._over(self._owned(worker, handle, "Job given in work result not found"), FAIL, now)

    def work_exception(self, worker: Peer, handle: bytes, data: Data, now: float) -> None:
        """
        The job has failed, with a reason: clients that asked for
        exceptions hear it, the others hear that it failed.

        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        job = self._owned(worker, handle, "An exception was received for a job that does not exist")
        self._over(job, EXCEPTION, now, data)
        worker.raised = handle

    # Time

    def expire(self, now: float) -> None:
        """
        Do what has become due: jobs whose time has come are queued, jobs whose
        worker overran its time are taken back, and for workers that did not
        answer a NOOP others are woken. A great many at once take several calls.
        """
        for _ in range(BATCH):
            due = self._agenda.pop_due(now)
            if due is None:
                break
            if isinstance(due, Gate):
                self._look_again(due, now)
            else:
                self._time_has_come(due, now)
        calendar = self._calendar
        for _ in range(BATCH):
            appointment = calendar.pop_due(now + self.offset)
            if appointment is None:
                break
            self._time_has_come(appointment.job, now)
        go_on = min(self._work_off(now), self._forget_old(now))
        for _ in range(BATCH):
            if (queue := self.roster.pop_overdue(now)) is None:
                break
            self._wake(queue, now)
        if self._pager is not None and self.roster.barred:
            if not self._pager.trusts(now):
                for priority in PRIORITIES:
                    self._unbar(priority, now)
            else:
                go_on = min(go_on, self._pager.trusted)
        # Only here is it moved on: until then a deadline that has lapsed costs one empty call.
        look = min(calendar.next_due() - self.offset, now + LOOK_SECONDS) if calendar else inf
        self.deadline = min(self._agenda.next_due(), look, self.roster.next_overdue(), go_on)

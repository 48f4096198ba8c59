"""
The rules of a job server: submit, grab, finish, lose, cancel.

The broker knows no socket, no clock and no disk. Each entry is one turn: it is
told the time as C{now} (seconds since the epoch) where that matters, it hands
what peers are to hear to the outbox, and L{Broker.deadline} says when it
wants L{Broker.expire} called.

Every job is in exactly one place: a lane of its queue (QUEUED), at a worker
(RUNNING), or set aside (WAITING, until its time or, while the server drains,
for good). All the ends of a job go through L{Broker._end}, all its ways back
from a worker through L{Broker._lose}.
"""

from __future__ import annotations

from math import inf
from typing import Final

from txgear.agenda import Agenda
from txgear.constants import (
    MAX_FUNCTION,
    MAX_HANDLE,
    MAX_UNIQUE,
    NOOP,
    NORMAL,
    PRIORITIES,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
    WORK_WARNING,
)
from txgear.errors import ArgumentTooLarge, ConfigurationError, InvalidArgument, JobNotFound, QueueError
from txgear.jobs import QUEUED, RUNNING, TO_ENDED, TO_QUEUED, TO_RUNNING, TO_WAITING, Job
from txgear.queues import FunctionQueue
from txgear.roster import WAKE_SECONDS, Outbox, Peer, Roster
from txgear.uniques import Uniques, key_of
from txgear.wire import Data

UNLIMITED: Final = -1
"""Retries without a bound."""

MAX_PREFIX: Final = MAX_HANDLE - 19
"""Bytes of a handle's prefix: a colon and 18 digits must fit behind it, whatever the number."""

EXPIRE_BATCH: Final = 1000
"""Jobs that one call of L{Broker.expire} moves at the most, so that others get their turn between."""


def check_prefix(prefix: bytes) -> bytes:
    """
    @return: the prefix, if handles may start with it.
    @raise ConfigurationError: it is too long, or it would break a text command.
    """
    if not prefix or len(prefix) > MAX_PREFIX:
        raise ConfigurationError(f"a job handle's prefix has 1 to {MAX_PREFIX} bytes, this one {len(prefix)}")
    if any(byte <= 0x20 or byte == 0x7F for byte in prefix):
        raise ConfigurationError("a job handle's prefix holds no spaces and no control characters")
    return prefix


class Broker:
    """
    One server's jobs and peers.

    @ivar jobs: every job that has not ended, by number, the oldest first.
    @ivar functions: every queue that anything is known of, by name.
    @ivar roster: the peers.
    @ivar draining: whether only what clients wait for is still handed out.
    @ivar deadline: when L{expire} is to be called at the latest, in seconds
        since the epoch; infinite for not at all.
    """

    def __init__(self, outbox: Outbox, prefix: bytes, retries: int = UNLIMITED, wakeups: int = 0) -> None:
        """
        @param outbox: takes the packets.
        @param prefix: what handles start with; see L{check_prefix}.
        @param retries: how often a job may run at the most, its worker lost each
            time, before it fails; 0 and 1 both mean once, L{UNLIMITED} no bound.
        @param wakeups: NOOPs that are sent at the most when a job is queued;
            0 for as many as there are jobs.
        """
        self._send = outbox.send
        self._prefix = prefix + b":"
        self._naming = self._prefix.replace(b"%", b"%%") + b"%d"
        self._counter = 0
        self._retries = retries
        self._wakeups = wakeups
        self.jobs: dict[int, Job] = {}
        self.functions: dict[bytes, FunctionQueue] = {}
        self.roster = Roster()
        self.draining = False
        self.deadline = inf
        self._uniques = Uniques()
        self._agenda = Agenda()
        # For each priority the queues that have a job of it, the one that was
        # served longest ago first: the round-robin over functions.
        # Each with the turn at which it came to the end.
        self._rings: tuple[dict[FunctionQueue, int], ...] = ({}, {}, {})
        self._turn = 0
        self._running = 0

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
        attached, peer.attached = peer.attached, set()
        for job in attached:
            job.clients = tuple(client for client in job.clients if client is not peer)
            if not job.wanted and job.state != RUNNING:
                self._end(job)
            elif self.draining and job.state == QUEUED and not job.clients:
                self._leave_lane(job)
                self._set_aside(job)
        woken_for = self.roster.rise(peer)
        self.reset_abilities(peer, now)
        if woken_for is not None:
            self._wake(woken_for, now)

    # What a worker can do

    def can_do(self, peer: Peer, function: bytes, timeout: float, now: float) -> None:
        """
        The peer can do this function; saying it again replaces its timeout.

        @param timeout: seconds that it gives itself for a job, 0.0 for no bound.
        @raise ArgumentTooLarge: the function's name is too long.
        """
        queue = self._queue(function)
        queue.workers[peer] = None
        # The newest is last, also when it is said again: C{workers} shows it so.
        peer.abilities.pop(queue, None)
        peer.abilities[queue] = timeout
        if peer.asleep and queue.ready:
            self._wake(queue, now)

    def cant_do(self, peer: Peer, function: bytes, now: float) -> None:
        """The peer does this function no more; its jobs of it are taken back, counted as lost."""
        queue = self.functions.get(function)
        if queue is not None and queue in peer.abilities:
            del peer.abilities[queue]
            self._leave(peer, [queue], now)

    def reset_abilities(self, peer: Peer, now: float) -> None:
        """The peer does nothing any more; all its jobs are taken back, counted as lost."""
        queues = list(peer.abilities)
        peer.abilities.clear()
        self._leave(peer, queues, now)

    def _leave(self, peer: Peer, queues: list[FunctionQueue], now: float) -> None:
        """The peer works for these queues no more, nor for any that it cannot do."""
        woken_for = self.roster.rise(peer) if peer.woken_for in queues else None
        for job in [job for job in peer.running.values() if job.queue not in peer.abilities]:
            self._lose(job, now)
        if woken_for is not None:
            self._wake(woken_for, now)
        for queue in queues:
            queue.workers.pop(peer, None)
            self._forget_unused(queue)

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
    ) -> Job:
        """
        A client wants a job done, or joins the one that is the same.

        @param client: who waits for it; of a background submit nobody does.
        @param due: seconds since the epoch before which it must not begin.
        @return: the job; its handle is the answer to the submit.
        @raise ArgumentTooLarge: the unique, the reducer or the function is too long.
        @raise QueueError: the function's queue is full, or the server drains.
        """
        if len(unique) > MAX_UNIQUE or len(reducer) > MAX_UNIQUE:
            # The reference has this one text for both.
            raise ArgumentTooLarge("Unique value too large")
        if self.draining:
            raise QueueError("The server is shutting down")
        queue = self.functions.get(function) or self._queue(function)
        key = key_of(unique, workload)
        if key in self._uniques.jobs:
            job = self._uniques.find(queue, key)
            if job is not None:
                self._join(job, client, background)
                return job
        if queue.limits is not None:
            limit = queue.limits[priority]
            if 0 < limit <= queue.total:
                raise QueueError("Job queue is full")
        self._counter += 1
        number = self._counter
        job = Job(self._naming, number, queue, unique, key, workload, priority, background, reducer)
        if not background:
            self._join(job, client, background)
        self.jobs[number] = job
        if key is not None:
            self._uniques.add(key, job)
        if due > now:
            self._set_aside(job)
            self._schedule(job, due)
        else:
            self._enqueue(job, now)
        return job

    def _join(self, job: Job, client: Peer | None, background: bool) -> None:
        """
        One more asks for this job. A background request makes it outlive the
        clients that wait for it, and clients that come and go take nothing
        from a background job.
        """
        if background:
            job.background = True
        elif client is not None:
            job.clients = (client, *job.clients)
            client.attached.add(job)

    # Jobs go to workers

    def grab(self, worker: Peer, now: float) -> Job | None:
        """
        Hand out the next job that this worker can do: of the highest priority
        over all its functions, of the function that was served longest ago, of
        that function's jobs the oldest.

        @return: the job, which is the worker's from now on, or C{None}.
        """
        woken_for = self.roster.rise(worker)
        queue = job = None
        for priority in PRIORITIES:
            ring = self._rings[priority]
            if ring and (queue := self._pick(ring, worker)) is not None:
                job = queue.take(priority)
                if not queue.counts[priority]:
                    self._close_lane(queue, priority)
                elif len(ring) > 1:
                    del ring[queue]
                    self._to_ring_end(queue, priority)
                job.state = TO_RUNNING[job.state]
                job.worker = worker
                queue.running += 1
                self._running += 1
                worker.running[job.keep_handle(True)] = job
                if timeout := worker.abilities[queue]:
                    self._schedule(job, now + timeout)
                break
        if woken_for is not None and woken_for is not queue:
            self._wake(woken_for, now)
        return job

    def _pick(self, ring: dict[FunctionQueue, int], worker: Peer) -> FunctionQueue | None:
        """The first queue of the ring that the worker can do; the shorter list is walked."""
        abilities = worker.abilities
        if len(ring) <= len(abilities):
            for queue in ring:
                if queue in abilities:
                    return queue
            return None
        able = [queue for queue in abilities if queue in ring]
        return min(able, key=ring.__getitem__) if able else None

    def _to_ring_end(self, queue: FunctionQueue, priority: int) -> None:
        self._turn += 1
        self._rings[priority][queue] = self._turn

    def pre_sleep(self, worker: Peer, now: float) -> None:
        """
        The worker waits for a NOOP. It gets one at once when a job is ready
        that nobody has been woken for yet: it may have come between the
        worker's last grab and this.
        """
        woken_for = self.roster.fall_asleep(worker)
        abilities = worker.abilities
        for ring in self._rings:
            walked, other = (ring, abilities) if len(ring) <= len(abilities) else (abilities, ring)
            for queue in walked:
                if queue in other and queue.ready > queue.woken:
                    self._rouse(queue, worker, now)
                    if woken_for is not None and woken_for is not queue:
                        self._wake(woken_for, now)
                    return

    def _wake(self, queue: FunctionQueue, now: float) -> None:
        """Wake as many of those that sleep as there are jobs for them, and no more."""
        wanted = queue.ready - queue.woken
        if wanted <= 0 or not self.roster.anybody_asleep:
            return
        if self._wakeups:
            wanted = min(wanted, self._wakeups)
        for peer in self.roster.sleepers(queue, wanted):
            self._rouse(queue, peer, now)

    def _rouse(self, queue: FunctionQueue, peer: Peer, now: float) -> None:
        """Send a sleeper a NOOP, and note when another is to be woken in its place."""
        self.roster.wake(queue, peer, now)
        self.deadline = min(self.deadline, now + WAKE_SECONDS)
        self._send(peer, NOOP)

    # What workers say of their jobs

    def _owned(self, worker: Peer, handle: bytes, complaint: str) -> Job:
        job = worker.running.get(handle)
        if job is None:
            raise JobNotFound(complaint)
        return job

    def work_data(self, worker: Peer, handle: bytes, data: Data) -> None:
        """
        Pass a part of the result on.

        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        self._pass_on(self._owned(worker, handle, "Job does not exist on server"), WORK_DATA, handle, data)

    def work_warning(self, worker: Peer, handle: bytes, data: Data) -> None:
        """
        Pass a warning on.

        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        self._pass_on(self._owned(worker, handle, "Job does not exist on server"), WORK_WARNING, handle, data)

    def work_status(
        self, worker: Peer, handle: bytes, numerator: bytes, denominator: bytes, progress: tuple[int, int]
    ) -> None:
        """
        Keep the progress for those who ask, and pass it on as it was said.

        @param progress: both as numbers.
        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        job = self._owned(worker, handle, "Job given in work result not found")
        job.numerator, job.denominator = progress
        self._pass_on(job, WORK_STATUS, handle, numerator, denominator)

    def work_complete(self, worker: Peer, handle: bytes, result: Data) -> None:
        """
        The job is done.

        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        job = self._owned(worker, handle, "Job given in work result not found")
        self._pass_on(job, WORK_COMPLETE, handle, result)
        self._end(job)

    def work_fail(self, worker: Peer, handle: bytes) -> None:
        """
        The job has failed, for good.

        Said of the job that the worker has just ended with an exception, it is
        let pass: Perl's worker says both, and an ERROR would end it.

        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        if handle == worker.raised:
            worker.raised = None
            return
        self._fail(self._owned(worker, handle, "Job given in work result not found"))

    def work_exception(self, worker: Peer, handle: bytes, data: Data) -> None:
        """
        The job has failed, for good, with a reason: clients that asked for
        exceptions hear it, the others hear that it failed.

        @raise JobNotFound: the job is unknown, or not this worker's.
        """
        job = self._owned(worker, handle, "An exception was received for a job that does not exist")
        for client in job.clients:
            if client.exceptions:
                self._send(client, WORK_EXCEPTION, handle, data)
            else:
                self._send(client, WORK_FAIL, handle)
        self._end(job)
        worker.raised = handle

    def _pass_on(self, job: Job, kind: int, *arguments: Data) -> None:
        for client in job.clients:
            self._send(client, kind, *arguments)

    # A job's ways

    def _enqueue(self, job: Job, now: float, *, first: bool = False) -> None:
        """The job may be handed out: in its turn, or C{first} where it had been."""
        queue = job.queue
        if self.draining and not job.clients:
            self._set_aside(job)
            return
        job.state = TO_QUEUED[job.state]
        if queue.restore(job) if first else queue.append(job):
            self._to_ring_end(queue, job.priority)
        if self.roster.anybody_asleep:
            self._wake(queue, now)

    def _set_aside(self, job: Job) -> None:
        """The job is not to be handed out for now."""
        job.state = TO_WAITING[job.state]
        job.queue.waiting += 1

    def _leave_lane(self, job: Job) -> None:
        """A queued job is about to be something else."""
        queue = job.queue
        if queue.forget(job):
            self._close_lane(queue, job.priority)

    def _close_lane(self, queue: FunctionQueue, priority: int) -> None:
        """The last job of this priority has left the queue."""
        del self._rings[priority][queue]

    def _leave_worker(self, job: Job) -> None:
        """A running job is about to be something else."""
        worker = job.worker
        assert worker is not None
        job.worker = None
        del worker.running[job.keep_handle(False)]
        job.queue.running -= 1
        self._running -= 1
        if job.due:
            self._agenda.discard(job)

    def _lose(self, job: Job, now: float) -> None:
        """
        The worker has gone with the job, or overran its time: it is queued
        again, the first time where it was, from the second time on behind all
        others, so that a job that kills workers does not starve the rest.
        """
        job.retries += 1
        if not job.wanted:
            self._end(job)
        elif 0 <= self._retries <= job.retries:
            self._fail(job)
        else:
            self._leave_worker(job)
            job.numerator = job.denominator = 0
            self._enqueue(job, now, first=job.retries == 1)

    def _fail(self, job: Job) -> None:
        self._pass_on(job, WORK_FAIL, job.handle)
        self._end(job)

    def _end(self, job: Job) -> None:
        """Nobody hears of this job any more; what it held is given back."""
        queue = job.queue
        if job.state == RUNNING:
            self._leave_worker(job)
        elif job.state == QUEUED:
            self._leave_lane(job)
        else:
            queue.waiting -= 1
            self._agenda.discard(job)
        job.state = TO_ENDED[job.state]
        del self.jobs[job.number]
        if job.key is not None:
            self._uniques.remove(job.key, job)
        for client in job.clients:
            client.attached.discard(job)
        job.clients = ()
        job.workload = b""
        if not queue.workers:
            self._forget_unused(queue)

    # Time

    def _schedule(self, job: Job, due: float) -> None:
        """Something is to happen to this job at that time."""
        self._agenda.add(job, due)
        self.deadline = min(self.deadline, due)

    def expire(self, now: float) -> None:
        """
        Do what has become due: jobs whose time has come are queued, jobs whose
        worker overran its time are taken back, and for workers that did not
        answer a NOOP others are woken. A great many at once take several calls.
        """
        for _ in range(EXPIRE_BATCH):
            job = self._agenda.pop_due(now)
            if job is None:
                break
            if job.state == RUNNING:
                self._lose(job, now)
            else:
                job.queue.waiting -= 1
                self._enqueue(job, now)
        while (queue := self.roster.pop_overdue(now)) is not None:
            self._wake(queue, now)
        # Only here is it moved on: until then a deadline that has lapsed costs one empty call.
        self.deadline = min(self._agenda.next_due(), self.roster.next_overdue())

    # What operators and clients ask

    def status(self, handle: bytes) -> Job | None:
        """The job with this handle, until it ends."""
        number = handle[len(self._prefix) :]
        job = self.jobs.get(int(number)) if number.isdigit() and len(number) < MAX_HANDLE else None
        # Only its very handle: there are other ways to write a number.
        return job if job is not None and job.handle == handle else None

    def status_unique(self, unique: bytes) -> Job | None:
        """The newest job with this unique, of whatever function, until it ends."""
        return self._uniques.newest(unique)

    def cancel(self, handle: bytes) -> bool:
        """
        End a job, queued or running, as if it had failed. Its worker is not
        told; what that says of the job later is not found.

        @return: whether there was one.
        """
        job = self.status(handle)
        if job is None:
            return False
        self._fail(job)
        return True

    def create_function(self, name: bytes) -> None:
        """
        Keep this function although nobody uses it.

        @raise ArgumentTooLarge: the name is too long.
        """
        self._queue(name).created = True

    def drop_function(self, name: bytes) -> bool | None:
        """
        Forget the functions of this name, upper and lower case being the same,
        with their settings, unless one has workers or jobs.

        @return: C{True} if they are forgotten, C{False} if one is in use,
            C{None} if there is none.
        """
        folded = name.lower()
        found = [queue for queue in self.functions.values() if queue.name.lower() == folded]
        if not found:
            return None
        if any(queue.workers or queue.total for queue in found):
            return False
        for queue in found:
            del self.functions[queue.name]
        return True

    def limit_function(self, name: bytes, limits: tuple[int, int, int]) -> None:
        """
        Refuse submits to this function while it has that many jobs, of
        whatever state; remembered for a function that nobody has used yet.

        @param limits: for each priority the number of jobs, 0 for no bound.
        @raise ArgumentTooLarge: the name is too long.
        """
        queue = self._queue(name)
        queue.limits = limits if any(limits) else None
        self._forget_unused(queue)

    def drain(self) -> None:
        """
        Take no new job, and hand out only those that a client waits for; the
        others wait for good.
        """
        self.draining = True
        for queue in self.functions.values():
            for job in queue.queued():
                if not job.clients:
                    self._leave_lane(job)
                    self._set_aside(job)

    @property
    def drained(self) -> bool:
        """Whether no job runs and no client waits for one that could run now."""
        return self.draining and not self._running and not any(self._rings)

    # Functions

    def _queue(self, name: bytes) -> FunctionQueue:
        queue = self.functions.get(name)
        if queue is None:
            if len(name) > MAX_FUNCTION:
                raise ArgumentTooLarge("Function name too large")
            if b"\0" in name:
                raise InvalidArgument("A function's name holds no NUL")
            queue = self.functions[name] = FunctionQueue(name)
        return queue

    def _forget_unused(self, queue: FunctionQueue) -> None:
        if queue.unused:
            self.functions.pop(queue.name, None)

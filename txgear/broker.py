"""
The rules of a job server: submit, grab, finish, lose, cancel.

The broker knows no socket, no clock and no disk. Each entry is one turn: it is
told the time as C{now} (seconds since the epoch) where that matters, it hands
what peers are to hear to the outbox and what is to be kept to the journal, and
L{Broker.deadline} says when it wants L{Broker.expire} called.

Here is what happens to jobs and why; where they are, and how they move, is
L{txgear.dispatch}'s affair. All the ends of a job go through C{_end}, all its
ways back from a worker through L{Broker._lose}.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from txgear.changes import Journal, StoredJob, Storing
from txgear.constants import (
    ERROR,
    JOB_CREATED,
    MAX_HANDLE,
    MAX_UNIQUE,
    NORMAL,
    PRIORITIES,
    UNIQUE_FROM_WORKLOAD,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
    WORK_WARNING,
)
from txgear.dispatch import Dispatch
from txgear.errors import ArgumentTooLarge, ConfigurationError, JobNotFound, QueueError
from txgear.jobs import (
    ENDED,
    PAGED,
    RUNNING,
    STORING,
    TO_RUNNING,
    TO_STORING,
    WAITING,
    Job,
)
from txgear.queues import FunctionQueue
from txgear.roster import Outbox, Peer
from txgear.uniques import Key, key_of
from txgear.wire import Data

UNLIMITED: Final = -1
"""Retries without a bound."""

MAX_PREFIX: Final = MAX_HANDLE - 19
"""Bytes of a handle's prefix: a colon and 18 digits must fit behind it, whatever the number."""

LAST_NUMBER: Final = 10**18 - 1
"""The last number that a job can have: a database keeps it, and a handle has room for it."""

QUEUE_MEMORY: Final = 256 * 1024 * 1024
"""Bytes of workloads that are kept in memory, where the operator says nothing else."""

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


def _naming(prefix: bytes) -> bytes:
    """What handles that start with this look like."""
    return prefix.replace(b"%", b"%%") + b":%d"


class Broker(Dispatch):
    """
    One server's jobs and peers, as those who ask and those who work see them.

    @ivar halted: whether the server ends: who leaves now leaves its jobs as they are.
    """

    def __init__(
        self,
        outbox: Outbox,
        prefix: bytes,
        retries: int = UNLIMITED,
        wakeups: int = 0,
        journal: Journal | None = None,
        queue_memory: int = QUEUE_MEMORY,
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
        """
        super().__init__(outbox, wakeups, journal, queue_memory)
        self._prefix = prefix
        self._naming = _naming(prefix)
        self._retries = retries
        self._last_number = LAST_NUMBER
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
        attached, peer.attached = peer.attached, set()
        for job in attached:
            job.clients = tuple(client for client in job.clients if client is not peer)
            if not job.wanted and job.state != RUNNING:
                self._end(job)
            elif self.draining and not job.clients:
                self._withhold(job)
        woken_for = self.roster.rise(peer)
        self.reset_abilities(peer, now)
        if woken_for is not None:
            self._wake(woken_for, now)
        for queue, priority in {(job.queue, job.priority) for job in attached if job.queue.backs}:
            self._advance(queue, priority, now)

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
        for priority in list(queue.backs):
            self._advance(queue, priority, now)

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
        @return: the job; its handle is the answer to the submit, unless that is
            to wait for the disk (see L{answer_waits}).
        @raise ArgumentTooLarge: the unique, the reducer or the function is too long.
        @raise QueueError: the function's queue is full, no job can be stored, or the server drains.
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
        if self._counter >= self._last_number:
            self._forget_unused(queue)
            raise QueueError("No job numbers are left until the store answers")
        number = self._counter + 1
        job = Job(self._naming, number, queue, unique, key, workload, priority, background, reducer)
        if not background:
            self._join(job, client, background)
        elif self._journal is not None:
            self._store(job, due)
        self._counter = number
        self.jobs[number] = job
        if key is not None:
            self._uniques.add(key, job)
        if job.storing is not None:
            job.state = TO_STORING[job.state]
            queue.waiting += 1
        elif due > now:
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
            if self._journal is not None and not job.background:
                self._store(job, job.due if job.state == WAITING else 0.0)
            job.background = True
        elif client is not None:
            job.clients = (client, *job.clients)
            client.attached.add(job)

    # Jobs are stored

    def _store(self, job: Job, due: float = 0.0) -> None:
        """
        Have a job kept from now on.

        @param due: seconds since the epoch before which it must not begin.
        @raise QueueError: that is not possible at present.
        """
        journal = self._journal
        assert journal is not None
        if (refusal := journal.refusal) is not None:
            self._forget_unused(job.queue)
            raise QueueError(refusal)
        digest = job.key.to_bytes(16, "big") if isinstance(job.key, int) else None
        record = StoredJob(
            job.number,
            job.place,
            self._prefix,
            job.queue.name,
            job.unique,
            digest,
            job.reducer,
            job.priority,
            due,
            job.retries,
            job.size,
        )
        job.storing = Storing(job, (record, job.workload))
        journal.add(job.storing)

    @staticmethod
    def answer_waits(job: Job, background: bool) -> Storing | None:
        """
        Whether the answer to a submit waits for the disk.

        @param background: whether it was a background submit.
        @return: what will hold the answer; C{None} if it is the handle, at once.
        """
        # A client that waits for a job that is handed out already needs no disk.
        return job.storing if background or job.state == STORING else None

    def stored(self, storing: Storing, now: float) -> None:
        """A job is stored: it may be handed out, and those who submitted it have their answer."""
        job = storing.job
        storing.answer = (JOB_CREATED, job.handle)
        if job.state == ENDED:
            return
        pager = self._pager
        assert pager is not None
        job.storing = None
        job.stored = True
        if job.state != STORING:
            pager.count(job)
            return
        job.queue.waiting -= 1
        due = storing.addition[0].due
        pager.admit(job, due > now)
        if due > now:
            self._set_aside(job)
            self._schedule(job, due)
        else:
            self._enqueue(job, now)

    def refused(self, storing: Storing, reason: str, now: float) -> None:
        """
        A job could not be stored: it is as if those who submitted it for the
        background had never done so, and they are told why.
        """
        job = storing.job
        job.storing = None
        storing.answer = (ERROR, QueueError.default_code.encode("ascii"), reason.encode("utf-8"))
        if job.state == ENDED:
            return
        job.background = False
        if job.state == STORING or not (job.wanted or job.state == RUNNING):
            self._end(job)
            self._advance(job.queue, job.priority, now)

    def loaded(self, workloads: Iterable[tuple[Job, bytes | None]], now: float) -> None:
        """
        Workloads that were asked for have been read.

        @param workloads: the jobs with theirs, C{None} for one that the store does not have.
        """
        pager = self._pager
        assert pager is not None
        pager.arrived()
        lanes: dict[tuple[FunctionQueue, int], None] = {}
        for job, workload in workloads:
            if job.state == PAGED:
                lanes[job.queue, job.priority] = None
                if workload is None or len(workload) != job.size:
                    # Somebody has changed the store: nobody can do it any more.
                    self._fail(job)
                else:
                    job.workload = workload
                    pager.count(job)
        for queue, priority in lanes:
            self._advance(queue, priority, now)
        pager.go_on()

    def reserve(self, first: int, count: int) -> None:
        """So many numbers are this server's to give to jobs, besides those that it has."""
        if first != self._last_number + 1:
            self._counter = first - 1
        self._last_number = first + count - 1

    @property
    def numbers_left(self) -> int:
        """How many jobs can be taken before L{reserve} is called again."""
        return self._last_number - self._counter

    @property
    def next_number(self) -> int:
        """The first number that no job has had."""
        return self._counter + 1

    def restore(self, record: StoredJob, now: float) -> None:
        """
        The server starts again: a job that was kept is queued, or waits for its
        time, as before. The earlier of two with one priority comes first.
        """
        queue = self._queue(record.function)
        key: Key | None = record.unique or None
        if key == UNIQUE_FROM_WORKLOAD:
            key = int.from_bytes(record.digest, "big") if record.digest is not None else None
        naming = self._naming if record.prefix == self._prefix else _naming(record.prefix)
        job = Job(
            naming, record.number, queue, record.unique, key, b"", record.priority, True, record.reducer
        )
        job.place, job.size, job.retries = record.place, record.size, record.retries
        job.stored = True
        self.jobs[job.number] = job
        if key is not None:
            if self._uniques.find(queue, key) is None:
                self._uniques.add(key, job)
            else:  # imported beside one of the same name: both are to be done
                job.key = None
        if record.due > now:
            self._set_aside(job)
            self._schedule(job, record.due)
        else:
            self._enqueue(job, now)

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
        abilities = worker.abilities
        for ring in self._rings:
            walked, other = (ring, abilities) if len(ring) <= len(abilities) else (abilities, ring)
            for queue in walked:
                if queue in other and queue.ready > queue.woken:
                    self._rouse(queue, worker, now)
                    if woken_for is not None and woken_for is not queue:
                        self._wake(woken_for, now)
                    return

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
            first = job.retries == 1
            if not first:
                self._put_last(job)
                if job.stored and self._pager is not None:
                    self._pager.yield_room(job)
            self._note(job)
            self._enqueue(job, now, first=first)

    def _fail(self, job: Job) -> None:
        self._pass_on(job, WORK_FAIL, job.handle)
        self._end(job)

    # Time

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
                self._put_last(job)
                self._note(job)
                self._enqueue(job, now)
        while (queue := self.roster.pop_overdue(now)) is not None:
            self._wake(queue, now)
        # Only here is it moved on: until then a deadline that has lapsed costs one empty call.
        self.deadline = min(self._agenda.next_due(), self.roster.next_overdue())

    # What operators and clients ask

    def status(self, handle: bytes) -> Job | None:
        """The job with this handle, until it ends."""
        number = handle.rpartition(b":")[2]
        job = self.jobs.get(int(number)) if number.isdigit() and len(number) < MAX_HANDLE else None
        # Only its very handle: there are other ways to write a number.
        return job if job is not None and job.handle == handle else None

    def status_unique(self, unique: bytes) -> Job | None:
        """The newest job with this unique, of whatever function, until it ends."""
        return self._uniques.newest(unique)

    def cancel(self, handle: bytes, now: float) -> bool:
        """
        End a job, queued or running, as if it had failed. Its worker is not
        told; what that says of the job later is not found.

        @return: whether there was one.
        """
        job = self.status(handle)
        if job is None:
            return False
        self._fail(job)
        self._advance(job.queue, job.priority, now)
        return True

"""
Where each job is, and its ways from one place to another.

Every job is in exactly one place: on its way to the disk (STORING), a lane of
its queue (QUEUED) or behind it (PAGED), at a worker (RUNNING), or set aside
(WAITING, until its time or, while the server drains, for good). Here are the
moves between them with all that belongs to each: whose turn it is, who is
woken, what is kept, what comes into memory. When and why a job moves is the
L{txgear.broker}'s affair.
"""

from __future__ import annotations

from math import inf

from txgear.agenda import Agenda
from txgear.changes import Journal, Move
from txgear.constants import MAX_FUNCTION, NOOP
from txgear.errors import ArgumentTooLarge, InvalidArgument
from txgear.jobs import PAGED, QUEUED, RUNNING, STORING, TO_ENDED, TO_PAGED, TO_QUEUED, TO_WAITING, Job
from txgear.paging import Pager
from txgear.queues import FunctionQueue
from txgear.roster import WAKE_SECONDS, Outbox, Peer, Roster
from txgear.uniques import Uniques


class Dispatch:
    """
    One server's jobs by place, its functions, and the workers that wait for them.

    @ivar jobs: every job that has not ended, by number; the oldest first, but
        for those that had been put behind others before the server started.
    @ivar functions: every queue that anything is known of, by name.
    @ivar roster: the peers.
    @ivar draining: whether only what clients wait for is still handed out.
    @ivar deadline: when C{expire} is to be called at the latest, in seconds
        since the epoch; infinite for not at all.
    """

    def __init__(self, outbox: Outbox, wakeups: int, journal: Journal | None, queue_memory: int) -> None:
        """
        @param outbox: takes the packets.
        @param wakeups: NOOPs that are sent at the most when a job is queued;
            0 for as many as there are jobs.
        @param journal: carries background jobs to the disk, if anybody does.
        @param queue_memory: bytes of stored jobs' workloads that are kept in memory.
        """
        self._send = outbox.send
        self._wakeups = wakeups
        self._journal = journal
        self._pager = Pager(queue_memory, journal.load) if journal is not None else None
        self._counter = 0
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

    # Into a lane, and to a worker

    def _enqueue(self, job: Job, now: float, *, first: bool = False) -> None:
        """The job may be handed out: in its turn, or C{first} where it had been."""
        queue = job.queue
        if self.draining and not job.clients:
            self._set_aside(job)
            return
        if (queue.backs or job.stored) and not first and (job.priority in queue.backs or not job.loaded):
            job.state = TO_PAGED[job.state]
            queue.append_back(job)
            self._advance(queue, job.priority, now)
            return
        job.state = TO_QUEUED[job.state]
        if queue.restore(job) if first else queue.append(job):
            self._to_ring_end(queue, job.priority)
        if self.roster.anybody_asleep:
            self._wake(queue, now)

    def _advance(self, queue: FunctionQueue, priority: int, now: float) -> None:
        """
        What is behind a lane has changed, or its place in front: let those into the
        lane whose workloads are there, and have others read.
        """
        advanced = 0
        while (job := queue.pop_loaded(priority)) is not None:
            advanced += 1
            job.state = TO_QUEUED[job.state]
            if queue.append(job):
                self._to_ring_end(queue, priority)
        if advanced:
            self._wake(queue, now, advanced)
        if self._pager is not None:
            self._pager.ask(queue, priority)

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

    def _close_lane(self, queue: FunctionQueue, priority: int) -> None:
        """The last job of this priority has left the queue."""
        del self._rings[priority][queue]

    def _leave_lane(self, job: Job) -> None:
        """A queued job is about to be something else."""
        queue = job.queue
        if queue.forget(job):
            self._close_lane(queue, job.priority)

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

    # Workers that sleep

    def _wake(self, queue: FunctionQueue, now: float, jobs: int = 1) -> None:
        """
        Wake as many of those that sleep as there are jobs for them, and no more.

        @param jobs: how many have just been queued.
        """
        wanted = queue.ready - queue.woken
        if wanted <= 0 or not self.roster.anybody_asleep:
            return
        if self._wakeups:
            wanted = min(wanted, self._wakeups * jobs)
        for peer in self.roster.sleepers(queue, wanted):
            self._rouse(queue, peer, now)

    def _rouse(self, queue: FunctionQueue, peer: Peer, now: float) -> None:
        """Send a sleeper a NOOP, and note when another is to be woken in its place."""
        self.roster.wake(queue, peer, now)
        self.deadline = min(self.deadline, now + WAKE_SECONDS)
        self._send(peer, NOOP)

    # Later

    def _set_aside(self, job: Job) -> None:
        """The job is not to be handed out for now."""
        job.state = TO_WAITING[job.state]
        job.queue.waiting += 1

    def _schedule(self, job: Job, due: float) -> None:
        """Something is to happen to this job at that time."""
        self._agenda.add(job, due)
        self.deadline = min(self.deadline, due)

    def _withhold(self, job: Job) -> None:
        """The server drains: a job that could be handed out waits for good."""
        if job.state == QUEUED:
            self._leave_lane(job)
            self._set_aside(job)
        elif job.state == PAGED:
            job.queue.forget_back(job)
            self._set_aside(job)

    def drain(self, now: float) -> None:
        """
        Take no new job, and hand out only those that a client waits for; the
        others wait for good.
        """
        self.draining = True
        for queue in self.functions.values():
            for job in [*queue.queued(), *queue.behind()]:
                if not job.clients:
                    self._withhold(job)
            for priority in list(queue.backs):
                self._advance(queue, priority, now)

    @property
    def drained(self) -> bool:
        """Whether no job runs and no client waits for one that could run now."""
        return (
            self.draining
            and not self._running
            and not any(self._rings)
            and not any(queue.paged for queue in self.functions.values())
            and not any(job.state == STORING for peer in self.roster.peers for job in peer.attached)
        )

    def _put_last(self, job: Job) -> None:
        """The job's turn comes after that of all others that there are."""
        self._counter += 1
        job.place = self._counter

    def _note(self, job: Job) -> None:
        """A job has moved: the store is to know, if it knows the job."""
        if self._journal is not None and (job.stored or job.storing is not None):
            self._journal.move(Move(job.number, job.place, 0.0, job.retries))

    # The end

    def _end(self, job: Job) -> None:
        """Nobody hears of this job any more; what it held is given back."""
        queue = job.queue
        if job.state == RUNNING:
            self._leave_worker(job)
        elif job.state == QUEUED:
            self._leave_lane(job)
        elif job.state == PAGED:
            queue.forget_back(job)
        else:
            queue.waiting -= 1
            self._agenda.discard(job)
        job.state = TO_ENDED[job.state]
        if self._journal is not None and (job.stored or job.storing is not None):
            self._journal.end(job.number)
            if job.stored and self._pager is not None:
                self._pager.drop(job)
        del self.jobs[job.number]
        if job.key is not None:
            self._uniques.remove(job.key, job)
        for client in job.clients:
            client.attached.discard(job)
        job.clients = ()
        job.workload = b""
        if not queue.workers:
            self._forget_unused(queue)

    # Functions

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

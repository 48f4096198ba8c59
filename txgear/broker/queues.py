"""
One function's queue: three lanes, one for each priority, first in first out;
and behind each lane what is too much for the memory.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from txgear.broker.jobs import PAGED, QUEUED
from txgear.protocol.constants import PRIORITIES

if TYPE_CHECKING:
    from txgear.broker.jobs import Job
    from txgear.broker.limits import Gate
    from txgear.broker.sleepers import Peer
    from txgear.policies import Policy

SLACK: Final = 64
"""Ended jobs in a lane that are never worth a clean-up."""


class Back:
    """
    The jobs behind one lane, oldest first. As in a lane, those that have ended
    stay as husks until they are passed over or swept out.

    @ivar jobs: jobs that are PAGED, and husks.
    @ivar count: how many are PAGED.
    """

    __slots__ = ("count", "jobs")

    def __init__(self) -> None:
        self.jobs: deque[Job] = deque()
        self.count = 0

    def forget(self, job: Job) -> None:
        """Count a job out; its state is about to change."""
        self.count -= 1
        if self.jobs and self.jobs[0] is job:
            self.jobs.popleft()
        elif self.jobs and self.jobs[-1] is job:
            self.jobs.pop()
        elif len(self.jobs) > 2 * self.count + SLACK:
            self.jobs = deque(other for other in self.jobs if other.state == PAGED and other is not job)

    def first(self) -> Job | None:
        """The job whose turn it is to come into the lane."""
        jobs = self.jobs
        while jobs and jobs[0].state != PAGED:
            jobs.popleft()
        return jobs[0] if jobs else None


class Function:
    """
    All that is known of one function.

    A job that ends while it is queued stays in its lane as a husk, uncounted
    and without its workload, until it is passed over or swept out with others:
    taking one out of the middle would cost a walk along the lane.

    @ivar name: the function.
    @ivar lanes: the queued jobs by priority; C{None} where there never was one.
    @ivar returned: by priority, those that have come back from a worker for the first time: a heap by
        their places, before all that is in the lane; only where there are some.
    @ivar counts: how many of them are queued, by priority.
    @ivar ready: the sum of C{counts}.
    @ivar backs: what is behind each lane, by priority; only where there is something.
    @ivar paged: the jobs in C{backs}.
    @ivar aside: jobs that are not to be handed out yet.
    @ivar running: jobs that are at workers.
    @ivar workers: the peers that can do it.
    @ivar asleep: those of them that wait for a NOOP, who fell asleep first being first; see
        L{txgear.broker.sleepers.Roster}.
    @ivar woken: how many of them were sent a NOOP for this queue and have not grabbed since.
    @ivar limits: jobs in all at which a submit of each priority is refused (0 for never), or C{None}.
    @ivar created: whether an operator asked for it to be kept.
    @ivar policy: what the operator has set for it, or C{None}.
    @ivar gate: what holds its jobs back, or C{None}.
    @ivar held: whether that holds all of them back now.
    @ivar bytes: of the workloads of all its jobs.
    @ivar kept: jobs that have ended and are still known.
    """

    __slots__ = (
        "aside",
        "asleep",
        "backs",
        "bytes",
        "counts",
        "created",
        "gate",
        "held",
        "kept",
        "lanes",
        "limits",
        "name",
        "paged",
        "policy",
        "ready",
        "returned",
        "running",
        "woken",
        "workers",
    )

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.lanes: list[deque[Job] | None] = [None, None, None]
        self.returned: dict[int, list[tuple[int, Job]]] = {}
        self.counts = [0, 0, 0]
        self.ready = 0
        self.backs: dict[int, Back] = {}
        self.paged = 0
        self.aside: dict[Job, None] = {}
        self.running = 0
        self.workers: dict[Peer, None] = {}
        # Taken from its front: a plain dict would be walked over all that has been taken since it grew.
        self.asleep: OrderedDict[Peer, None] = OrderedDict()
        self.woken = 0
        self.limits: tuple[int, int, int] | None = None
        self.created = False
        self.policy: Policy | None = None
        self.gate: Gate | None = None
        self.held = False
        self.bytes = 0
        self.kept = 0

    @property
    def total(self) -> int:
        """Jobs of every state, as C{status} shows them and C{maxqueue} counts them."""
        return self.ready + self.paged + len(self.aside) + self.running

    @property
    def waiting(self) -> int:
        """Jobs that are not to be handed out yet."""
        return len(self.aside)

    @property
    def unused(self) -> bool:
        """Whether nothing would be lost with it."""
        paused = self.gate is not None and self.gate.paused
        return not (self.total or self.workers or self.created or self.limits or self.kept or paused)

    def append(self, job: Job) -> bool:
        """
        Queue a job behind all others of its priority.

        @return: whether its lane was empty before.
        """
        priority = job.priority
        lane = self.lanes[priority]
        if lane is None:
            self.lanes[priority] = deque((job,))
        else:
            lane.append(job)
        self.ready += 1
        self.counts[priority] += 1
        return self.counts[priority] == 1

    def restore(self, job: Job) -> bool:
        """
        Queue a job that was handed out before at the head of its priority:
        behind those older ones only that have come back for the first time as well.

        @return: whether its lane was empty before.
        """
        heappush(self.returned.setdefault(job.priority, []), (job.place, job))
        self.ready += 1
        self.counts[job.priority] += 1
        return self.counts[job.priority] == 1

    def take(self, priority: int) -> Job:
        """The next job of this priority, out of its lane; there is one."""
        self.ready -= 1
        self.counts[priority] -= 1
        if self.returned and (returned := self._take_returned(priority)) is not None:
            return returned
        lane = self.lanes[priority]
        assert lane is not None
        job = lane.popleft()
        while job.state != QUEUED:
            job = lane.popleft()
        return job

    def _take_returned(self, priority: int) -> Job | None:
        """The first of those that have come back."""
        heap = self.returned.get(priority)
        job = None
        while heap and job is None:
            first = heappop(heap)[1]
            job = first if first.state == QUEUED else None
        if not heap:
            self.returned.pop(priority, None)
        return job

    def forget(self, job: Job) -> bool:
        """
        Count a queued job out; its state is about to change.

        @return: whether its lane is empty now.
        """
        priority = job.priority
        self.ready -= 1
        self.counts[priority] -= 1
        left = self.counts[priority]
        lane = self.lanes[priority]
        if not left:
            if lane:
                lane.clear()
            self.returned.pop(priority, None)
        elif lane and lane[0] is job:
            # Whoever takes out many takes the oldest first: that is to cost no sweep.
            lane.popleft()
            while lane and lane[0].state != QUEUED:
                lane.popleft()
        elif lane and lane[-1] is job:
            lane.pop()
            while lane and lane[-1].state != QUEUED:
                lane.pop()
        else:
            husks = len(lane or ()) + len(self.returned.get(priority, ())) - left
            if husks > left + SLACK:
                self._sweep(priority, job)
        return not left

    def _sweep(self, priority: int, gone: Job) -> None:
        """Take the husks out of a lane."""
        lane = self.lanes[priority]
        if lane:
            self.lanes[priority] = deque(job for job in lane if job.state == QUEUED and job is not gone)
        if heap := self.returned.pop(priority, None):
            # Sorted, as here, they are a heap.
            left = sorted(item for item in heap if item[1].state == QUEUED and item[1] is not gone)
            if left:
                self.returned[priority] = left

    def queued(self) -> list[Job]:
        """Every job in the lanes, in the order of being handed out."""
        return [
            job
            for priority in PRIORITIES
            for job in (*self._in_order(priority), *(self.lanes[priority] or ()))
            if job.state == QUEUED
        ]

    def places(self) -> list[Job]:
        """
        Every job that no worker has: those in the lanes and behind them, in the order of being handed out,
        then those that wait; and husks.
        """
        found: list[Job] = []
        for priority in PRIORITIES:
            found += self._in_order(priority)
            found += self.lanes[priority] or ()
            if priority in self.backs:
                found += self.backs[priority].jobs
        return [*found, *self.aside]

    def _in_order(self, priority: int) -> list[Job]:
        """Those that have come back."""
        return [job for _, job in sorted(self.returned.get(priority, ()))]

    # Behind the lanes

    def append_back(self, job: Job) -> bool:
        """
        Queue a job behind all others of its priority, those that are not in memory included.

        @return: whether there was no other.
        """
        back = self.backs.get(job.priority)
        if back is None:
            back = self.backs[job.priority] = Back()
        back.jobs.append(job)
        back.count += 1
        self.paged += 1
        return back.count == 1 and not self.counts[job.priority]

    def forget_back(self, job: Job) -> None:
        """Count a job out that is behind its lane; its state is about to change."""
        back = self.backs[job.priority]
        back.forget(job)
        self.paged -= 1
        if not back.count:
            del self.backs[job.priority]

    def pop_loaded(self, priority: int) -> Job | None:
        """The first job behind this lane, taken out, if its workload is in memory."""
        back = self.backs.get(priority)
        job = None if back is None else back.first()
        if back is None or job is None or not job.loaded:
            return None
        back.jobs.popleft()
        self.forget_back(job)
        return job

    def behind(self) -> list[Job]:
        """Every job behind the lanes, in the order of coming into them."""
        return [
            job
            for priority in PRIORITIES
            if priority in self.backs
            for job in self.backs[priority].jobs
            if job.state == PAGED
        ]

    def queued_of(self, priority: int) -> int:
        """Jobs of this priority that no worker has, in memory or not."""
        back = self.backs.get(priority)
        return self.counts[priority] + (back.count if back is not None else 0)

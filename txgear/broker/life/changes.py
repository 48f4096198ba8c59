"""
What operators change of a job: its priority, its function, its workload, and whether it is set aside.

Only of one that no worker has, or a dead one: what has been handed out cannot be taken back without a word.
Each is one change for the store, too: a server that starts again finds the job as it was before, or as it is
after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from txgear.broker.expiry import expiry, set_expiry
from txgear.broker.history import Aside
from txgear.broker.keys import key_of
from txgear.broker.states import DEAD, DELAYED, PAGED, QUEUED, RUNNING
from txgear.errors import QUEUE_FULL, QueueError, ServerError
from txgear.policies import CLASSIC
from txgear.protocol.constants import UNIQUE_FROM_WORKLOAD

if TYPE_CHECKING:
    from txgear.broker.dispatcher import Dispatcher
    from txgear.broker.ended.archive import Archive
    from txgear.broker.functions import Functions
    from txgear.broker.keys import Key
    from txgear.broker.life.lifecycle import Lifecycle
    from txgear.broker.model import Function, Job
    from txgear.broker.persistence import Persistence
    from txgear.broker.table import JobTable
    from txgear.broker.timers import Timers


def check_changeable(job: Job) -> None:
    """
    @raise ServerError: the job is at a worker, or over and not dead.
    """
    if job.state == RUNNING:
        raise ServerError("A worker has the job", "RUNNING")
    if job.ended and job.state != DEAD:
        raise ServerError("The job is over, and its workload is not kept", "NO_WORKLOAD")


class Changes:
    """One method for each thing that can be changed."""

    __slots__ = (
        "_archive",
        "_dispatcher",
        "_functions",
        "_lifecycle",
        "_persistence",
        "_table",
        "_timers",
    )

    def __init__(
        self,
        table: JobTable,
        functions: Functions,
        dispatcher: Dispatcher,
        archive: Archive,
        lifecycle: Lifecycle,
        persistence: Persistence,
        timers: Timers,
    ) -> None:
        self._table = table
        self._functions = functions
        self._dispatcher = dispatcher
        self._archive = archive
        self._lifecycle = lifecycle
        self._persistence = persistence
        self._timers = timers

    # Its priority

    def reprioritise(self, job: Job, priority: int, now: float) -> None:
        """
        Give a job another priority; it is queued behind all others that have it.

        @param priority: L{HIGH<txgear.protocol.constants.HIGH>}, C{NORMAL} or C{LOW}.
        @raise ServerError: it is at a worker, or over and not dead.
        """
        check_changeable(job)
        if priority == job.priority:
            return
        queued = job.state in (QUEUED, PAGED)
        if queued:
            self._withdraw(job, now)
        job.priority = priority
        self._persistence.change(job)
        if queued:
            self._put_last(job, now)

    def _withdraw(self, job: Job, now: float) -> None:
        """Out of its lane, as long as it is known which one that is."""
        self._dispatcher.withdraw(job, now)
        self._dispatcher.advance(job, now)

    def _put_last(self, job: Job, now: float) -> None:
        """Into the lane that is its own now, behind all others."""
        self._table.put_last(job)
        self._persistence.yield_room(job)
        self._persistence.update(job)
        self._dispatcher.enqueue(job, now)

    # Its function

    def move(self, job: Job, name: bytes, now: float) -> None:
        """
        Make a job one of another function, for whose workers it is from now on, and whose policy holds. It is
        queued behind all others there; who waits for it goes on waiting, and it stays on the same account.
        What it had to wait for, it still has to. One that is dead stays so, until the time that was fixed
        when it died.

        @param name: the function's, which may be new.
        @raise ServerError: the job is at a worker, or over and not dead; it is one of this function already;
            the function has a job with its unique, or one that is done and has that for a while; it would
            expire there at once.
        @raise QueueError: there is no room for it there, or there are too many functions.
        @raise ArgumentTooLarge: the name is too long.
        @raise InvalidArgument: it has a NUL.
        """
        check_changeable(job)
        if name == job.function.name:
            raise ServerError("The job is one of that function already", "SAME_FUNCTION")
        function = self._functions.get(name)
        try:
            if job.state == DEAD:
                self._archive.check_room(function, 1, job.size)
            else:
                self._check_move(job, function, now)
        except ServerError:
            self._functions.forget_if_unused(function)
            raise
        if job.state == DEAD:
            self._archive.move(job, function, now)
            self._persistence.change(job)
            return
        self._table.note_change(job)
        former = job.function
        if job.state in (QUEUED, PAGED):
            self._withdraw(job, now)
            self._enter(job, function, now)
            self._persistence.change(job)
            self._put_last(job, now)
        else:
            del former.delayed[job]
            begins = self._take_off_timers(job)
            self._enter(job, function, now)
            function.delayed[job] = None
            self._persistence.change(job)
            expires = 0.0 if job.history is None else job.history.expires
            if begins is not None and (begins or expires):
                self._timers.add(job, min(begins or expires, expires or begins))
        if job.key is not None:
            self._persistence.name(job, job.key)
        self._functions.forget_if_unused(former)

    def _check_move(self, job: Job, function: Function, now: float) -> None:
        if job.key is not None:
            if self._table.uniques.find(function, job.key) is not None:
                raise ServerError("The function has a job with this unique", "UNIQUE_TAKEN")
            if self._archive.still_done(function, job.key, now) is not None:
                raise ServerError("The function has a job with this unique, which is done", "UNIQUE_TAKEN")
        function.check_room(job.priority, job.size)
        if 0.0 < expiry(self._functions, job, function, now) <= now:
            raise ServerError("The job would expire there at once: it has waited for too long", "EXPIRED")

    def _enter(self, job: Job, function: Function, now: float) -> None:
        """A job that is in no place is one of this function from now on."""
        self._table.move(job, function)
        if job.history is not None:
            job.history.expires = 0.0
        set_expiry(self._functions, job, now)

    def _take_off_timers(self, job: Job) -> float | None:
        """
        What a job waits for that is delayed, or on its way to the store; its time by the wall clock stays
        among the timers.

        @return: when it begins, by the server's time, 0.0 where that is not what it waits for; C{None} for
            one that was not among the timers, and is not to be.
        """
        if job.state != DELAYED or not (job.due or job.appointment is not None):
            return None
        begins = 0.0 if job.appointment is not None else job.due
        self._timers.discard(job)
        return begins

    # Where it is kept, when it is dead

    def review(self, job: Job, name: str, now: float, by: str = "") -> None:
        """
        Set a dead job aside: what is done to all dead jobs of a function passes over it, and it makes no room
        for others. When it is to be forgotten stays as it is. One that is in another review leaves that.

        @param name: what the review is called; one that there is not begins with it.
        @param by: who wants that.
        @raise InvalidArgument: no review can be called so.
        @raise ServerError: the job is not dead, or there is no room for it.
        """
        if job.state != DEAD:
            raise ServerError("The job is not dead", "NOT_DEAD")
        reviews = self._archive.ended.reviews
        if reviews.name_of(job) == name:
            return
        reviews.check_room(name)
        known = reviews.by_name.get(name)
        aside = Aside(name, self._timers.wall(now), by) if known is None else known.aside
        self._archive.set_aside(job, aside)

    def release(self, job: Job) -> None:
        """
        Put a dead job back that is set aside: it counts as the one of its function that died last.

        @raise ServerError: it is not.
        """
        if self._archive.ended.reviews.of(job) is None:
            raise ServerError("The job is in no review", "NOT_REVIEWED")
        self._archive.give_back(job)

    # Its workload

    def correct(self, job: Job, workload: bytes, now: float) -> None:
        """
        Give a job another workload; it keeps its turn.

        @raise ServerError: it is at a worker, or over and not dead; its unique stands for the workload, and
            its function has a job with that.
        @raise QueueError: it is larger, and its function or its tenant has no room for that; or the store
            does not answer.
        """
        check_changeable(job)
        self._persistence.check_change(job)
        key, growth = job.key, len(workload) - job.size
        if job.unique == UNIQUE_FROM_WORKLOAD:
            key = key_of(job.unique, workload)
        if job.state == DEAD:
            self._archive.check_room(job.function, 0, growth)
        else:
            self._check_correction(job, key, growth)
        self._replace(job, key, workload, len(workload))
        self._persistence.change(job, workload)
        self._resized(job, now)

    def _check_correction(self, job: Job, key: Key | None, growth: int) -> None:
        if key is not None and self._table.uniques.find(job.function, key) not in (None, job):
            raise ServerError("The function has a job with this unique", "UNIQUE_TAKEN")
        if growth > 0:
            policy = job.function.policy or CLASSIC
            if 0 < policy.max_bytes < job.function.bytes + growth:
                raise QueueError(f"Job queue is full: max_bytes is {policy.max_bytes}", why=QUEUE_FULL)
            if job.tenant is not None:
                job.tenant.check_bytes(growth)

    def _replace(self, job: Job, key: Key | None, workload: bytes, size: int) -> None:
        """
        @param workload: what is in memory from now on of a job that can be handed out, or is not stored; of
            others it lies in the store, or on its way there.
        @param size: bytes of the whole.
        """
        self._table.note_change(job)
        self._persistence.drop_workload(job)
        if job.state == DEAD:
            self._archive.ended.correct(job, key, size)
        else:
            if key != job.key:
                self._persistence.name(job, key)
            self._table.correct(job, key, size)
        if not job.stored:
            job.workload = workload
        elif job.state == QUEUED:
            job.workload = workload
            self._persistence.count_workload(job)

    def _resized(self, job: Job, now: float) -> None:
        """A job that stays where it is has another workload."""
        if job.state == DEAD:
            # What was said of its size before may still be on its way.
            self._archive.update(job)
        elif job.state == PAGED:
            # One that is empty need not be read.
            self._dispatcher.advance(job, now)

    def workload_refused(self, number: int, size: int, now: float) -> None:
        """
        The store does not keep the new workload of a job, and has the old one: that one counts.

        @param size: bytes of that.
        """
        job = self._table.jobs.get(number) or self._archive.jobs.get(number)
        if job is None or (job.ended and job.state != DEAD):
            return
        # Who submits what it was to be is not to join what it is.
        key = None if job.unique == UNIQUE_FROM_WORKLOAD else job.key
        queued = job.state == QUEUED
        if queued:
            self._withdraw(job, now)
        self._replace(job, key, b"", size)
        self._persistence.change(job)
        if queued:
            self._put_last(job, now)
        else:
            self._resized(job, now)

"""
What the journal is told of jobs. Nobody else asks whether a job is kept.

Only background jobs are, and of these all that a server must know that starts again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from txgear.broker.history import owned_by
from txgear.broker.model import Reply
from txgear.broker.ports import Reading
from txgear.broker.records import READY, WAITING, JobChange, JobUpdate, Naming, record_of, update_of
from txgear.broker.states import DEAD
from txgear.errors import STORE_UNAVAILABLE, QueueError

if TYPE_CHECKING:
    from txgear.broker.keys import Key
    from txgear.broker.model import Job
    from txgear.broker.paging import Pager
    from txgear.broker.ports import Journal
    from txgear.broker.records import StoredValue
    from txgear.broker.timers import Timers


def _life_of(job: Job) -> bytes | None:
    """What the store has of a job that has not ended, beyond the classic protocol."""
    if job.history is not None:
        return job.history.to_bytes(job.tenant)
    return None if job.tenant is None else owned_by(job.tenant.name)


def _digest_of(job: Job) -> bytes | None:
    """What stands for the workload of a job where that is its unique."""
    return job.key.to_bytes(16, "big") if isinstance(job.key, int) else None


class Trouble(NamedTuple):
    """
    Why no job can be kept at present.

    @ivar told: for clients.
    @ivar detail: for operators, in the store's own words, which may name places.
    @ivar since: since when that is so, by the server's time.
    """

    told: str
    detail: str
    since: float


class Persistence:
    """
    The broker's side of a L{Journal}; where there is none, nothing is kept.

    @ivar keeps: whether there is one: where not, there is nothing to be said here of any job.
    @ivar clustered: whether other servers have the same store: see L{name}.
    """

    __slots__ = ("_journal", "_pager", "_prefix", "_timers", "clustered", "keeps")

    def __init__(self, journal: Journal | None, pager: Pager | None, prefix: bytes, timers: Timers) -> None:
        """
        @param journal: carries changes to the disk, if anybody does.
        @param pager: has the workloads of stored jobs; there where C{journal} is.
        @param prefix: what handles of new jobs start with.
        @param timers: has the wall clock's time, which is kept.
        """
        self._journal = journal
        self.keeps = journal is not None
        self.clustered = journal is not None and journal.clustered
        self._pager = pager
        self._prefix = prefix
        self._timers = timers

    @property
    def backlogged(self) -> bool:
        """Whether the store is to have caught up before more is done to a great many jobs."""
        return self._journal is not None and self._journal.backlogged

    @property
    def crowded(self) -> bool:
        """Whether those who add to what is on its way had better not be read for now."""
        return self._journal is not None and self._journal.crowded

    @property
    def closing(self) -> bool:
        """Whether the server ends, and has only to write what is left."""
        return self._journal is not None and self._journal.closing

    @property
    def trouble(self) -> Trouble | None:
        """Why no job can be kept at present; C{None} if all is well, or the server ends."""
        journal = self._journal
        if journal is None or journal.closing or (told := journal.unavailable) is None:
            return None
        return Trouble(told, journal.unavailable_detail or told, journal.unavailable_since)

    def has_room(self, size: int) -> bool:
        """Whether a result of this many bytes may be kept."""
        return self._journal is None or self._journal.has_room(size)

    # Jobs

    @staticmethod
    def _is_coming(job: Job) -> bool:
        """Whether a job is on its way to the store."""
        return (reply := job.reply) is not None and not reply.asked

    def add(self, job: Job, due: float = 0.0) -> None:
        """
        Have a background job kept from now on, if anything is. What submitters are answered waits for that.

        @param due: before which it must not begin, by the wall clock.
        @raise QueueError: that is not possible at present.
        """
        journal = self._journal
        if journal is None:
            return
        if journal.unavailable is not None:
            self.check()
        if (reply := job.reply) is not None and reply.asked:
            # It may be there already. Where it is not, this is called once more.
            return
        offset = self._timers.offset
        record = record_of(
            (
                job.number,
                job.place,
                self._prefix,
                job.function.name,
                job.unique,
                # Few jobs have any of these three, and each call is felt in a submit.
                _digest_of(job) if isinstance(job.key, int) else None,
                job.reducer,
                job.priority,
                due,
                job.retries,
                job.size,
                job.created and job.created + offset,
                0,
                0.0,
                None if job.history is None and job.tenant is None else _life_of(job),
                READY,
                0.0 if job.history is None else self._wake(job, due),
            )
        )
        if reply is None:
            job.reply = Reply(job.size)
        journal.add(job, record, job.workload)

    def check(self) -> None:
        """
        Somebody wants to rely on the store.

        @raise QueueError: that cannot be at present.
        """
        journal = self._journal
        if journal is not None and (reason := journal.unavailable) is not None:
            journal.retry_soon()
            raise QueueError(reason, why=STORE_UNAVAILABLE)

    def update(self, job: Job, due: float = 0.0) -> None:
        """
        A job has moved.

        @param due: when it is to begin, by the server's time; 0.0 for at once.
        """
        if self._journal is not None and (job.stored or self._is_coming(job)):
            if job.reply is not None:
                job.reply.changed = True
            wall = self._timers.wall
            kind = WAITING if due else READY
            self._journal.update(
                JobUpdate(
                    job.number,
                    job.place,
                    wall(due),
                    job.retries,
                    history=_life_of(job),
                    kind=kind,
                    wake=self._wake(job, wall(due)),
                )
            )

    def _wake(self, job: Job, due: float) -> float:
        """
        @param due: when a job may begin, by the wall clock, or 0.0.
        @return: when something is to be done to it that has not ended, where that is not C{due}; or 0.0.
        """
        if job.history is None or not job.history.expires:
            return 0.0
        expires = self._timers.wall(job.history.expires)
        return expires if not due or expires < due else 0.0

    def check_change(self, job: Job) -> None:
        """
        A job is about to be given another workload.

        @raise QueueError: that cannot be kept at present.
        """
        if job.stored or self._is_coming(job):
            self.check()

    def change(self, job: Job, workload: bytes | None = None) -> None:
        """
        An operator has changed a job: its function, its priority, or its workload.

        @param workload: the new one; C{None} if it has not changed.
        """
        if self._journal is not None and (job.stored or self._is_coming(job)):
            if job.reply is not None:
                job.reply.changed = True
            self._journal.change(
                JobChange(
                    job.number,
                    job.function.name,
                    job.priority,
                    _digest_of(job),
                    workload,
                    job.unique,
                    "" if job.tenant is None else job.tenant.name,
                )
            )

    def name(self, job: Job, key: Key | None) -> None:
        """
        Where several servers have the store: others that are submitted with this key are this job, at any of
        them, unless another has it already.

        @param key: C{None} for none.
        """
        journal = self._journal
        if journal is not None and self.clustered and (job.stored or self._is_coming(job)):
            journal.name(Naming(job.number, job.function.name, key))

    def free(self, number: int) -> None:
        """The name of a job, maybe another server's, is free though it is kept."""
        assert self._journal is not None
        self._journal.name(Naming(number))

    def update_ended(self, job: Job, kind: int, result: bytes | None = None) -> None:
        """
        A job has ended that is archived, or something of that has changed.

        @param kind: what it is counted as; see L{txgear.broker.records}.
        @param result: is to be kept in place of its workload, or of an earlier result; C{None} where that
            stays as it is.
        """
        journal = self._journal
        if journal is not None and (job.stored or self._is_coming(job)):
            number, since, offset = job.number, job.since, self._timers.offset
            update = (
                number,
                job.place,
                job.due + offset,
                job.retries,
                job.size,
                job.state,
                since and since + offset,
                job.archived,
                kind,
                0.0,
            )
            journal.update(update_of(update))
            if result is not None:
                journal.put_result(number, result)

    def delete(self, job: Job) -> None:
        """A job has ended, and nothing is kept of it."""
        if self._journal is not None and (job.stored or self._is_coming(job)):
            self._journal.delete(job.number)
            self.drop_workload(job)

    def delete_all(self, job: Job) -> None:
        """Nothing is kept any more of a job that was archived."""
        if self._journal is not None and (job.stored or self._is_coming(job)):
            self._journal.delete_all(job.number)

    # Workloads and results

    def drop_workload(self, job: Job) -> None:
        """The workload of a job is wanted no more in memory, if the store has it."""
        if job.stored and self._pager is not None:
            self._pager.drop(job)

    def count_workload(self, job: Job) -> None:
        """The workload of a stored job is in memory."""
        if self._pager is not None:
            self._pager.count(job)

    def yield_room(self, job: Job) -> None:
        """A job goes behind the others: its workload is given up for them, if the store has it."""
        if job.stored and self._pager is not None:
            self._pager.yield_room(job)

    def read(self, job: Job, done: Callable[[bytes | None], None]) -> None:
        """
        Read what the store has of a job: its result where it has ended otherwise than dead, or its workload.

        @param done: called once, at once or later, with the bytes; with C{None} if they cannot be read.
        """
        if self._journal is not None and job.stored:
            self._journal.read(Reading(job.number, job.ended and job.state != DEAD, done))
        else:
            done(None)

    # What else is remembered

    def put_value(self, value: StoredValue) -> None:
        """Remember something over restarts that is no job, if anything is kept."""
        if self._journal is not None:
            self._journal.put_value(value)

    def share(self, value: StoredValue) -> None:
        """Tell other servers that have the same store, and remember it for them, if there are any."""
        if self._journal is not None:
            self._journal.share(value)

"""
What is kept of jobs: those that are to be done come to the disk before they
are answered, and come back when the server starts again; and of those that
have ended it is kept what the policies say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from txgear.broker.dispatcher import Dispatch
from txgear.broker.history import Life
from txgear.broker.jobs import CANCELLED, DEAD, DONE, FAILED, PAGED, RUNNING, STORING, Job
from txgear.broker.records import (
    LAST_NUMBER,
    UNREADABLE_SECONDS,
    JobRecord,
    JobUpdate,
    Reading,
    StoredValue,
    Storing,
)
from txgear.broker.uniques import Key
from txgear.errors import ConfigurationError, PolicyError, QueueError
from txgear.policies import CLASSIC, Policy, Retention
from txgear.protocol.constants import ERROR, JOB_CREATED, MAX_HANDLE, UNIQUE_FROM_WORKLOAD, WORK_FAIL
from txgear.protocol.packets import Data

if TYPE_CHECKING:
    from txgear.broker.queues import Function
    from txgear.broker.records import Journal
    from txgear.broker.sleepers import Outbox

MAX_PREFIX: Final = MAX_HANDLE - 19
"""Bytes of a handle's prefix: a colon and 18 digits must fit behind it, whatever the number."""


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


class Storage(Dispatch):
    """
    The jobs that outlive the server, and those that outlive their ends.
    """

    __slots__ = ("_last_number", "_naming", "_prefix")

    def __init__(
        self, outbox: Outbox, prefix: bytes, wakeups: int, journal: Journal | None, queue_memory: int
    ) -> None:
        """
        @param prefix: what handles start with; see L{check_prefix}. The others are those of L{Dispatch}.
        """
        super().__init__(outbox, wakeups, journal, queue_memory)
        self._prefix = prefix
        self._naming = _naming(prefix)
        self._last_number = LAST_NUMBER

    def _policy(self, job: Job) -> Policy:
        """What holds for this job: its function's policy, and over that its own settings."""
        policy = job.queue.policy or CLASSIC
        return policy if job.life is None else job.life.policy(policy, self.policies)

    # To the disk

    def _store(self, job: Job, due: float = 0.0, begins: float = 0.0) -> None:
        """
        Have a job kept from now on.

        @param due: before which it must not begin, by the wall clock.
        @param begins: the same by the server's time, where that is what it waits for.
        @raise QueueError: that is not possible at present.
        """
        journal = self._journal
        assert journal is not None
        if (refusal := journal.unavailable) is not None:
            self._forget_unused(job.queue)
            journal.retry_soon()
            raise QueueError(refusal)
        digest = job.key.to_bytes(16, "big") if isinstance(job.key, int) else None
        record = JobRecord(
            job.number,
            job.place,
            self._prefix,
            job.queue.name,
            job.unique,
            digest,
            job.reducer,
            job.priority,
            due or self.wall(begins),
            job.retries,
            job.size,
            self.wall(job.created),
            0,
            0.0,
            None if job.life is None else job.life.to_bytes(),
        )
        job.storing = Storing(job, (record, job.workload), begins)
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
        if job.ended:
            if job.number in self.archive.jobs:
                job.storing = None
                job.stored = True
                job.workload = b""
            return
        pager = self._pager
        assert pager is not None
        job.storing = None
        job.stored = True
        if job.state != STORING:
            pager.count(job)
            return
        del job.queue.aside[job]
        due = 0.0 if storing.begins else storing.addition[0].due
        pager.admit(job, due > now + self.offset or storing.begins > now)
        self._begin_to_wait(job, due, now, storing.begins)

    def refused(self, storing: Storing, reason: str, now: float) -> None:
        """
        A job could not be stored: it is as if those who submitted it for the
        background had never done so, and they are told why.
        """
        job = storing.job
        job.storing = None
        storing.answer = (ERROR, QueueError.default_code.encode("ascii"), reason.encode("utf-8"))
        if job.ended:
            if job.number in self.archive.jobs:
                self._forget(job)
            return
        job.background = False
        if job.state == STORING or not (job.wanted or job.state == RUNNING):
            self._end(job, FAILED if job.state == STORING else CANCELLED, now)
            self._advance(job.queue, job.priority, now)

    def _begin_to_wait(self, job: Job, due: float, now: float, begins: float = 0.0) -> None:
        """
        The job is queued, or set aside until its time; one that expires now, until that is done.

        @param due: its time by the wall clock, or 0.0.
        @param begins: its time by the server's, or 0.0.
        """
        expires = 0.0 if job.life is None else job.life.expires
        early = due > now + self.offset
        if not (early or begins > now or 0.0 < expires <= now):
            self._enqueue(job, now)
            return
        self._set_aside(job)
        if early:
            self._appoint(job, due, now)
        if begins or expires:
            self._schedule(job, min(begins, expires) if begins and expires else begins or expires)

    def _note(self, job: Job, due: float = 0.0) -> None:
        """
        A job has moved: the store is to know, if it knows the job.

        @param due: when it is to begin, by the server's time; 0.0 for at once.
        """
        if self._journal is not None and (job.stored or job.storing is not None):
            life = None if job.life is None else job.life.to_bytes()
            self._journal.update(JobUpdate(job.number, job.place, self.wall(due), job.retries, history=life))

    def loaded(
        self,
        workloads: Iterable[tuple[Job, bytes | None]],
        now: float,
        unreadable: Iterable[Job] = (),
        more: bool = False,
    ) -> None:
        """
        Workloads that were asked for have been read.

        @param workloads: the jobs with theirs, C{None} for one that the store does not have.
        @param unreadable: jobs whose workloads the store has, and cannot read.
        @param more: whether others of those that were asked for are still to come.
        """
        pager = self._pager
        assert pager is not None
        if not more:
            pager.arrived()
        lanes: dict[tuple[Function, int], None] = {}
        for job, workload in workloads:
            if job.state == PAGED:
                lanes[job.queue, job.priority] = None
                pager.unreadable.discard(job)
                if workload is None or len(workload) != job.size:
                    # Somebody has changed the store: nobody can do it any more.
                    self._fail(job, now)
                else:
                    job.workload = workload
                    pager.count(job)
        for job in unreadable:
            if job.state == PAGED:
                lanes[job.queue, job.priority] = None
                pager.unreadable.add(job)
                self._put_off(job, now)
        for queue, priority in lanes:
            self._advance(queue, priority, now)
        pager.go_on(now)

    def _put_off(self, job: Job, now: float) -> None:
        """
        The job's workload cannot be read: it makes way for the others, and is tried again behind
        them. Those who wait for it are told that it failed, as nobody knows for how long that goes on.
        """
        self._pass_on(job, WORK_FAIL, job.handle)
        for client in job.clients:
            client.attached.pop(job, None)
        job.clients = ()
        self._leave_back(job, now)
        self._begin_to_wait(job, 0.0, now, now + UNREADABLE_SECONDS)

    @property
    def unreadable(self) -> set[Job]:
        """The jobs that are set aside as their workloads cannot be read."""
        return set() if self._pager is None else self._pager.unreadable

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

    # From the disk

    def restore(self, record: JobRecord, now: float) -> None:
        """
        The server starts again: a job that was kept is queued, or waits for its
        time, as before. The earlier of two with one priority comes first. One that
        has ended is still known.

        @raise ConfigurationError: what was kept of its life cannot be read.
        """
        queue = self._queue(record.function, bounded=False)
        key: Key | None = record.unique or None
        if key == UNIQUE_FROM_WORKLOAD:
            key = int.from_bytes(record.digest, "big") if record.digest is not None else None
        naming = self._naming if record.prefix == self._prefix else _naming(record.prefix)
        job = Job(
            naming,
            record.number,
            queue,
            record.unique,
            key,
            b"",
            record.priority,
            True,
            record.reducer,
            record.created and record.created - self.offset,
        )
        job.place, job.size, job.retries = record.place, record.size, record.retries
        job.stored = True
        life = None
        if record.history is not None:
            try:
                life = Life.from_bytes(record.history)
                life.policy(queue.policy or CLASSIC, self.policies)
            except (ValueError, PolicyError) as error:
                raise ConfigurationError(
                    f"what the store has of {job.handle!r} is damaged: {error}"
                ) from error
        if record.state:
            job.state = record.state
            job.since = record.ended - self.offset
            job.record = record.history or b"{}"
            self._keep(job, record.due - self.offset, life or Life(), now)
            return
        job.life = life
        self._limit_wait(job, now)
        self._take_in(job)
        self._begin_to_wait(job, record.due, now)

    def _take_in(self, job: Job) -> None:
        """The job is one of those that are to be done."""
        queue = job.queue
        self.jobs[job.number] = job
        queue.bytes += job.size
        if job.key is not None:
            if self._uniques.find(queue, job.key) is None:
                self._uniques.add(job.key, job)
            else:  # there is one of the same name by now: both are to be done
                job.key = None

    def _limit_wait(self, job: Job, now: float) -> None:
        """If its policy says so, the job ends unless it begins in time; one that has been tried has begun."""
        life = job.life
        if (job.queue.policy is None and life is None) or job.retries or (life is not None and life.attempts):
            return
        if seconds := self._policy(job).expires:
            job.life = life or Life()
            job.life.expires = (job.created or now) + seconds

    def restored(self) -> None:
        """All that was kept has been given to L{restore}."""
        self.archive.sort()

    # The end

    def _end(self, job: Job, outcome: int, now: float, said: Data = b"") -> None:
        """Nobody hears of this job any more."""
        self._conclude(job, outcome, now)
        if self._journal is not None and (job.stored or job.storing is not None):
            self._journal.delete(job.number)
            if job.stored and self._pager is not None:
                self._pager.drop(job)
        job.workload = b""
        if (life := job.life) is not None:
            data = life.take_data()
            life.tell(outcome, data or b"", bytes(said), complete=data is not None)
        if not job.queue.workers:
            self._forget_unused(job.queue)

    def _fail(self, job: Job, now: float) -> None:
        for client in job.clients:
            self._send(client, WORK_FAIL, job.handle)
        self._finish(job, FAILED, now)

    def _finish(self, job: Job, outcome: int, now: float, said: Data = b"") -> None:
        """
        This job is over, and what its policy says is kept of it.

        @param said: its result, or what its worker said when it failed.
        """
        policy = self._policy(job)
        if outcome == DEAD and 0 < (job.queue.policy or CLASSIC).dead.bytes < job.size:
            # All others would have to make room for it, and it would be too large still.
            outcome = FAILED
        bounds, keep = self._keeping(policy, job, outcome)
        if not (keep and job.background):
            self._end(job, outcome, now, said)
            return
        if (life := job.life) is None:
            life = Life()
        data, result = life.take_data(), bytes(said)
        worker = job.worker
        self._conclude(job, outcome, now)
        if job.stored and self._pager is not None:
            self._pager.drop(job)
        brought = b""
        if outcome != DEAD:
            if bounds is None:
                life.complete = None
            elif data is None or 0 < bounds.bytes < len(data) + len(result):
                life.complete = False
            elif self._journal is not None and not self._journal.has_room(len(data) + len(result)):
                # Those who waited have it; nobody else will.
                life.complete = False
            else:
                life.data_size, life.result_size = len(data), len(result)
                brought = data + result
            job.workload = b""
            job.size = len(brought)
        if brought:
            self.archive.data[job.number] = brought
        job.life, job.since, job.record = None, now, life.to_bytes() or b"{}"
        self._keep(job, now + keep, life, now)
        self._note_end(job)
        if outcome != DEAD:
            self._replace_result(job, brought)
            if worker is not None and self._journal is not None and self._journal.crowded:
                self._pause(worker)
        if bounds is not None:
            self._make_room(job, bounds, now)
        for other in self.archive.beyond(self.policies.ceiling):
            self._forget(other)
        life.tell(outcome, data or b"", result, complete=data is not None)

    @staticmethod
    def _keeping(policy: Policy, job: Job, outcome: int) -> tuple[Retention | None, float]:
        """
        How a job is kept that has ended.

        @return: the bounds for what it brought, or for the dead; C{None} where it is not kept for that. And
            for how many seconds something is known of it.
        """
        bounds = policy.dead if outcome == DEAD else policy.results
        if bounds is not None and not bounds.keep:
            bounds = None
        keep = 0.0 if bounds is None else bounds.keep
        if outcome == DONE and job.key is not None:
            keep = max(keep, policy.unique_for)
        return bounds, keep

    def _keep(self, job: Job, until: float, life: Life, now: float) -> None:
        """
        Keep a job that has ended.

        @param life: what was its life.
        """
        own = False
        if life.settings:
            # Without them its function's jobs never die, or are kept for a shorter time.
            base = job.queue.policy or CLASSIC
            without = self._keeping(base, job, job.state)[1]
            keep = self._keeping(life.policy(base, self.policies), job, job.state)[1]
            own = keep > without or (job.state == DEAD and base.retries is None)
        counted = job.state == DEAD or bool(life.complete) or not self._takes_unique(job, life, now)
        self.archive.put(job, until, counted, own)
        self.deadline = min(self.deadline, until)

    def _note_end(self, job: Job) -> None:
        """A job is kept that has ended: the store is to know, if it knows the job."""
        if self._journal is not None and (job.stored or job.storing is not None):
            self._journal.update(
                JobUpdate(
                    job.number,
                    job.place,
                    self.wall(job.due),
                    job.retries,
                    job.size,
                    job.state,
                    self.wall(job.since),
                    job.record,
                )
            )

    def _replace_result(self, job: Job, brought: bytes) -> None:
        if self._journal is not None and (job.stored or job.storing is not None):
            self._journal.put_result(job.number, brought)

    def _make_room(self, job: Job, bounds: Retention, now: float) -> None:
        """
        The function's oldest kept jobs make room for this one; but a unique that is taken stays taken.

        @param bounds: what this job's policy says; what its function's says comes before it, as
            its submitter has no say about others.
        """
        policy = job.queue.policy or CLASSIC
        bounds = policy.dead if job.state == DEAD else policy.results or bounds
        for other in self.archive.surplus(job, bounds):
            if self._takes_unique(other, Life.from_bytes(other.record), now):
                self._lose_result(other)
                self._replace_result(other, b"")
            else:
                self._forget(other)

    def _takes_unique(self, job: Job, life: Life, now: float) -> bool:
        """Whether the unique of a job that has ended is not free yet."""
        if job.state != DONE or job.key is None:
            return False
        return job.since + life.policy(job.queue.policy or CLASSIC, self.policies).unique_for > now

    def _forget(self, job: Job) -> None:
        """Nothing is known any more of a job that has ended."""
        self.archive.remove(job)
        if self._journal is not None and (job.stored or job.storing is not None):
            self._journal.delete_all(job.number)
        job.workload = b""
        if not job.queue.workers:
            self._forget_unused(job.queue)

    def result_stored(self, numbers: Iterable[int]) -> None:
        """The store has these results."""
        for number in numbers:
            self.archive.data.pop(number, None)

    def result_refused(self, number: int) -> None:
        """The store does not keep this result: how the job ended is still known."""
        job = self.archive.jobs.get(number)
        if job is not None:
            self._lose_result(job)

    def _lose_result(self, job: Job) -> None:
        life = Life.from_bytes(job.record)
        life.data_size, life.result_size, life.complete = 0, 0, False
        job.record = life.to_bytes() or b"{}"
        self.archive.strip(job)
        self._note_end(job)

    def read(self, job: Job, done: Callable[[bytes | None], None]) -> None:
        """
        Read a job's workload; what it brought, if it has ended otherwise than dead.

        @param done: called once, at once or later, with the bytes; with C{None} if they cannot be read.
        """
        result = job.ended and job.state != DEAD
        found = self.archive.data.get(job.number) if result else bytes(job.workload)
        if found or not job.size:
            done(found or b"")
        elif self._journal is not None and job.stored:
            self._journal.read(Reading(job.number, result, done))
        else:
            done(None)

    def mark(self, mark: StoredValue) -> None:
        """Remember something over restarts, if anything is kept."""
        if self._journal is not None:
            self._journal.put_value(mark)

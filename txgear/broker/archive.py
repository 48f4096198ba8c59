"""
What is kept of jobs that have ended: the dead, those with results, and those whose uniques stay taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from txgear.broker.bulk import BATCH
from txgear.broker.deadgroups import reason_of
from txgear.broker.endedjobs import EndedJobs, Shelf
from txgear.broker.history import History, ended_as
from txgear.broker.states import DEAD, DONE
from txgear.broker.table import job_of_handle
from txgear.errors import QUEUE_FULL, QueueError
from txgear.policies import CLASSIC, Policy, Retention

if TYPE_CHECKING:
    from txgear.broker.functions import Functions
    from txgear.broker.history import Aside
    from txgear.broker.model import Function, Job
    from txgear.broker.persistence import Persistence
    from txgear.broker.records import JobRecord
    from txgear.broker.tenants import Tenant
    from txgear.broker.timers import Timers
    from txgear.broker.uniques import Key

PAUSE: Final = 0.01
"""Seconds until there is another look whether the store has caught up."""


def history_of(job: Job) -> History:
    """What a job has beyond the classic protocol, whether or not it has ended; for reading only."""
    if job.ended:
        return History.from_bytes(job.archived)
    return job.history or History()


def retention(policy: Policy, job: Job, outcome: int) -> tuple[Retention | None, float]:
    """
    How a job is kept that has ended.

    @return: the bounds for its result, or for the dead; C{None} where it is not kept for that. And
        for how many seconds something is known of it.
    """
    bounds = policy.dead if outcome == DEAD else policy.results
    keep = 0.0
    if bounds is not None and not (keep := bounds.keep):
        bounds = None
    if outcome == DONE and policy.unique_for > keep and job.key is not None:
        keep = policy.unique_for
    return bounds, keep


class Archive:
    """
    All that is kept, until its time is over or there is too much of it.

    @ivar ended: the jobs.
    @ivar jobs: the same by number, in the order of their ends.
    @ivar results: by number, of those whose results are in memory.
    @ivar rows: how many jobs are kept besides that are not in memory.
    """

    __slots__ = ("_functions", "_persistence", "_rows", "_timers", "ended", "jobs", "results", "rows")

    def __init__(self, persistence: Persistence, functions: Functions, timers: Timers) -> None:
        self._persistence = persistence
        self._functions = functions
        self._timers = timers
        self.ended = EndedJobs()
        self.jobs = self.ended.jobs
        self.results: dict[int, bytes] = {}
        self.rows = 0
        self._rows: dict[tuple[Function, Tenant | None, int], tuple[int, int]] = {}

    def __len__(self) -> int:
        """How many jobs are kept."""
        return len(self.jobs) + self.rows

    # Finding

    def by_handle(self, handle: bytes) -> Job | None:
        """The job with this handle that has ended and is still known."""
        return job_of_handle(self.jobs, handle)

    def still_done(self, function: Function, key: Key, now: float) -> Job | None:
        """The job that is done and has taken this unique for a while."""
        job = self.ended.find_done(function, key)
        return job if job is not None and self._takes_unique(job, history_of(job), now) else None

    def shelf(self, function: Function, dead: bool) -> Shelf:
        """The dead of a function that are not set aside, or the others that are kept of it."""
        return self.ended.shelf(function, dead)

    # Keeping

    def keep(
        self,
        job: Job,
        history: History | None,
        bounds: Retention | None,
        seconds: float,
        result: bytes,
        now: float,
    ) -> None:
        """
        Keep a job that has just ended, as L{retention} says, and make room for it.

        @param history: what was its history, with C{data_size}, C{result_size} and C{complete} set; C{None}
            where there is nothing to say but that it has ended, not dead, and that its result is kept.
        @param result: its data, which is C{history.data_size} bytes, and its result; empty for a dead
            job, whose workload is kept instead.
        """
        dead = job.state == DEAD
        if not dead:
            job.workload = b""
            job.size = len(result)
            if result:
                self.results[job.number] = result
        tenant, until = job.tenant, now + seconds
        job.history, job.since = None, now
        if history is None:
            job.archived = ended_as(None if tenant is None else tenant.name, job.size)
            self.ended.add(job, until)
            if until < self._timers.deadline:
                self._timers.call_at(until)
        else:
            job.archived = history.to_bytes(tenant) or b"{}"
            self._add(job, until, history, now)
        if self._persistence.keeps:
            self._persistence.update_ended(job)
            if not dead:
                self._persistence.put_result(job, result)
        if bounds is not None:
            # Its function's policy comes before its own: its submitter has no say about others.
            policy = job.function.policy or CLASSIC
            bounds = policy.dead if dead else policy.results or bounds
            if bounds.jobs or bounds.bytes:
                self._make_room(job, bounds, now)
        if self.ended.own.jobs:
            for other in self.ended.beyond(self._functions.policies.ceiling):
                self.forget(other)

    def add_rows(self, function: Function, tenant: Tenant | None, kind: int, jobs: int, size: int) -> None:
        """There are so many jobs more that are kept, and not in memory."""
        lane = function, tenant, kind
        count, total = self._rows.pop(lane, (0, 0))
        self.rows += jobs
        function.kept += jobs
        if count + jobs:
            self._rows[lane] = count + jobs, total + size

    def take_in(self, job: Job, record: JobRecord, now: float) -> None:
        """A job that is kept is in memory from now on."""
        self.add_rows(job.function, job.tenant, record.kind, -1, -record.size)
        offset = self._timers.offset
        job.state = record.state
        job.since = record.ended - offset
        job.archived = record.history or b"{}"
        history, job.history = job.history or History(), None
        self._add(job, record.due - offset, history, now)

    def settle(self, job: Job) -> None:
        """Nothing of a job that is kept is on its way to the store any more."""

    def _add(self, job: Job, until: float, history: History, now: float) -> None:
        dead = job.state == DEAD
        counted = dead or bool(history.complete) or not self._takes_unique(job, history, now)
        reason = reason_of(history) if dead else ""
        own = bool(history.settings) and self._is_own(job, history)
        self.ended.add(job, until, counted, own, reason, history.aside)
        self._timers.call_at(until)

    def _is_own(self, job: Job, history: History) -> bool:
        """Whether settings of its own are why a job is kept, or kept for longer."""
        if not history.settings:
            return False
        # Without them its function's jobs never die, or are kept for a shorter time.
        base = job.function.policy or CLASSIC
        without = retention(base, job, job.state)[1]
        seconds = retention(history.policy(base, self._functions.policies), job, job.state)[1]
        return seconds > without or (job.state == DEAD and base.retries is None)

    def _make_room(self, job: Job, bounds: Retention, now: float) -> None:
        """
        The function's oldest kept jobs make room for this one; but a unique that is taken stays taken.
        """
        for other in self.ended.surplus(job, bounds):
            if self._takes_unique(other, History.from_bytes(other.archived), now):
                self._drop_result(other)
                self._persistence.put_result(other, b"")
            else:
                self.forget(other)

    def _takes_unique(self, job: Job, history: History, now: float) -> bool:
        """Whether the unique of a job that has ended is not free yet."""
        if job.state != DONE or job.key is None:
            return False
        policy = history.policy(job.function.policy or CLASSIC, self._functions.policies)
        return job.since + policy.unique_for > now

    # Results

    def read(self, job: Job, done: Callable[[bytes | None], None]) -> None:
        """
        Read a job's workload; its result, if it has ended otherwise than dead.

        @param done: called once, at once or later, with the bytes; with C{None} if they cannot be read.
        """
        found: bytes | None = bytes(job.workload)
        if job.ended and job.state != DEAD:
            found = self.results.get(job.number)
        if found or not job.size:
            done(found or b"")
        else:
            self._persistence.read(job, done)

    def result_stored(self, numbers: Iterable[int]) -> None:
        """The store has these results: they need not be in memory."""
        for number in numbers:
            self.results.pop(number, None)

    def result_refused(self, number: int) -> None:
        """The store does not keep this result: how the job ended is still known."""
        job = self.jobs.get(number)
        if job is not None:
            self._drop_result(job)

    def _drop_result(self, job: Job) -> None:
        history = History.from_bytes(job.archived)
        history.data_size, history.result_size, history.complete = 0, 0, False
        self.results.pop(job.number, None)
        self.ended.drop_result(job)
        self.change(job, history)

    # Operators

    def check_room(self, function: Function, jobs: int, size: int) -> None:
        """
        Somebody is about to put more among the dead of a function: others are not to make room for that.

        @param jobs: how many more.
        @param size: bytes of workloads more.
        @raise QueueError: there is no room for it.
        """
        bounds = (function.policy or CLASSIC).dead
        shelf = self.shelf(function, dead=True)
        if jobs and 0 < bounds.jobs < len(shelf.jobs) + jobs:
            text = f"There is no room among the dead of the function: it keeps {bounds.jobs}"
            raise QueueError(text, why=QUEUE_FULL)
        if size > 0 and 0 < bounds.bytes < shelf.bytes + size:
            text = f"There is no room among the dead of the function: it keeps {bounds.bytes} bytes"
            raise QueueError(text, why=QUEUE_FULL)

    def move(self, job: Job, function: Function, now: float) -> None:
        """A dead job is one of another function from now on: there it counts as the one that died last."""
        until = job.due
        self.ended.remove(job)
        former, job.function = job.function, function
        self._add(job, until, history_of(job), now)
        self._functions.forget_if_unused(former)

    def set_aside(self, job: Job, aside: Aside) -> None:
        """A dead job is in a review from now on. When it is to be forgotten stays as it is."""
        history = history_of(job)
        history.aside = aside
        self.ended.set_aside(job, aside)
        self.change(job, history)

    def give_back(self, job: Job) -> None:
        """A job that is in a review is in none any more."""
        history = history_of(job)
        history.aside = None
        self.ended.give_back(job, self._is_own(job, history), reason_of(history))
        self.change(job, history)

    def change(self, job: Job, history: History) -> None:
        """
        Keep what is known of a job that has ended, where that has changed.

        @param history: what L{history_of} gave, and what has come to it.
        """
        job.archived = history.to_bytes(job.tenant) or b"{}"
        self._persistence.update_ended(job)

    # Forgetting

    def take_out(self, job: Job) -> None:
        """A job is not kept here any more, as it is to be done again."""
        self.results.pop(job.number, None)
        self.ended.remove(job)

    def forget(self, job: Job) -> None:
        """Nothing is known any more of a job that has ended."""
        self.take_out(job)
        self._persistence.delete_all(job)
        job.workload = b""
        if not job.function.workers:
            self._functions.forget_if_unused(job.function)

    def forget_due(self, now: float) -> float:
        """
        Forget jobs that have been kept for long enough.

        @return: when to go on with it, by the server's time; infinite for not at all.
        """
        due = self.ended.due
        if self._persistence.backlogged and due.next_due() <= now:
            return now + PAUSE
        for _ in range(BATCH):
            job = due.pop_due(now)
            if job is None:
                break
            self.forget(job)
        return due.next_due()

    def check(self) -> None:
        """
        As L{EndedJobs.check}; and is every result that is in memory one of a job that is kept?

        @raise AssertionError: one is not.
        """
        self.ended.check()
        for number, result in self.results.items():
            assert self.jobs[number].size == len(result), number

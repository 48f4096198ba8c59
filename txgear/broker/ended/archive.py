"""
What is kept of jobs that have ended: the dead, those with results, and those whose uniques stay taken.

Where there is a store they are in memory only until it has all of them, or while somebody does something with
them: see L{txgear.broker.rows.stock.Stock}. Whoever does loads them before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from heapq import nsmallest
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from txgear.broker.bulk import BATCH
from txgear.broker.ended.deadgroups import reason_of
from txgear.broker.ended.endedjobs import EndedJobs
from txgear.broker.history import History, ended_as
from txgear.broker.records import KEPT, LAST_NUMBER, InLane
from txgear.broker.states import DEAD, DONE
from txgear.broker.table import job_of_handle
from txgear.errors import QUEUE_FULL, QueueError
from txgear.policies import CLASSIC, Policy, Retention

if TYPE_CHECKING:
    from txgear.broker.ended.shelves import Counted, LaneRows, Shelf
    from txgear.broker.functions import Functions
    from txgear.broker.history import Aside
    from txgear.broker.keys import Key
    from txgear.broker.model import Function, Job
    from txgear.broker.persistence import Persistence
    from txgear.broker.records import JobRecord, Lane, Question
    from txgear.broker.table import JobTable
    from txgear.broker.timers import Timers

PAUSE: Final = 0.01
"""Seconds until there is another look whether the store has caught up."""
MOST_LANES: Final = 8
"""Lanes of which the first jobs are read at once: of a function's dead there is one for each way to die."""
FEW: Final = 10
"""Jobs of a lane that are read at once at the least."""

Told = Callable[[Sequence["JobRecord"]], None]
"""Called with what the store has of the jobs that are asked for, when they are in memory."""
LoadAll = Callable[[Iterable["tuple[Question, Told]"], Callable[[bool, float], None], float], None]
"""See L{Stock.load_all<txgear.broker.rows.stock.Stock.load_all>}."""


def history_of(job: Job) -> History:
    """What a job has beyond the classic protocol, whether or not it has ended; for reading only."""
    if job.ended:
        return History.from_bytes(archived_of(job))
    return job.history or History()


def archived_of(job: Job) -> bytes:
    """What was the history of a job that has ended and is kept, as a store keeps it."""
    if job.archived:
        return job.archived
    return ended_as(None if job.tenant is None else job.tenant.name, job.size)


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
    @ivar jobs: those of them that are in memory, by number.
    @ivar behind: whether some in memory are to be forgotten, and were not yet.
    @ivar load_all: has jobs in memory for a while; whoever takes rows in sets it.
    """

    __slots__ = (
        "_functions",
        "_persistence",
        "_put_last",
        "_timers",
        "_uniques",
        "behind",
        "ended",
        "jobs",
        "load_all",
    )

    load_all: LoadAll

    def __init__(
        self,
        persistence: Persistence,
        functions: Functions,
        timers: Timers,
        table: JobTable,
    ) -> None:
        self._persistence = persistence
        self._functions = functions
        self._timers = timers
        self._put_last = table.put_last
        self._uniques = table.uniques
        self.behind = False
        self.ended = EndedJobs(table.uniques)
        self.jobs = self.ended.jobs

    @property
    def rows(self) -> int:
        """How many jobs are kept that are not in memory."""
        return self.ended.rows

    def __len__(self) -> int:
        """How many jobs are kept."""
        return len(self.ended)

    # Finding

    def by_handle(self, handle: bytes) -> Job | None:
        """The job with this handle that has ended and is still known."""
        return job_of_handle(self.jobs, handle)

    def still_done(self, function: Function, key: Key, now: float) -> Job | None:
        """The job that is done and has taken this unique for a while."""
        job = self._uniques.find_done(function, key)
        return job if job is not None and self.takes_unique(job, now) else None

    def takes_unique(self, job: Job, now: float) -> bool:
        """Whether the unique of a job that has ended, maybe at another server, is not free yet."""
        return self._takes_unique(job, history_of(job), now)

    def shelf(self, function: Function) -> Shelf:
        """The dead of a function that are not set aside."""
        return self.ended.shelf(function)

    # Keeping

    def keep_done(self, job: Job, seconds: float, result: bytes, now: float) -> None:
        """
        Keep a job in memory that has just ended otherwise than dead, and of which there is nothing to say but
        that its result is kept: see L{keep}.
        """
        until = now + seconds
        job.workload, job.size, job.since = result, len(result), now
        self.ended.keep(job, until)
        if until < self._timers.deadline:
            self._timers.call_at(until)
        if self.ended.own.jobs:
            self._make_room(self.ended.own, self._functions.policies.ceiling, now)

    def store_done(self, job: Job, seconds: float, result: bytes, now: float) -> None:
        """The same where there is a store."""
        persistence = self._persistence
        self.keep_done(job, seconds, result, now)
        job.archived = archived_of(job)
        self._put_last(job)
        persistence.update_ended(job, KEPT, result)
        if persistence.clustered and job.key is not None:
            self._name(job, History(), now)

    def keep_result(self, job: Job, bounds: Retention, seconds: float, result: bytes, now: float) -> None:
        """The same wherever it is kept, and make room for it."""
        (self.store_done if self._persistence.keeps else self.keep_done)(job, seconds, result, now)
        if bounds.jobs or bounds.bytes:
            self._make_room(self.ended.results(job.function), bounds, now)

    def keep(
        self,
        job: Job,
        history: History,
        bounds: Retention | None,
        seconds: float,
        result: bytes,
        now: float,
    ) -> None:
        """
        Keep a job that has just ended, as L{retention} says, and make room for it.

        @param history: what was its history, with C{data_size}, C{result_size} and C{complete} set.
        @param result: its data, which is C{history.data_size} bytes, and its result; empty for a dead
            job, whose workload is kept instead.
        """
        dead = job.state == DEAD
        if not dead:
            job.workload, job.size = result, len(result)
        job.history, job.since = None, now
        keeps = self._persistence.keeps
        if keeps:
            self._put_last(job)
        job.archived = history.to_bytes(job.tenant) or b"{}"
        if history.settings:
            job.function.names_stay = True
        self._add(job, now + seconds, history, now)
        if keeps:
            self._persistence.update_ended(job, self.ended.kind_of(job), None if dead else result)
            if self._persistence.clustered and job.key is not None:
                self._name(job, history, now)
        if bounds is not None:
            # Its function's policy comes before its own: its submitter has no say about others.
            policy = job.function.policy or CLASSIC
            bounds = policy.dead if dead else policy.results or bounds
            if bounds.jobs or bounds.bytes:
                counted = self.ended.counted(job)
                if counted is not None:
                    self._make_room(counted, bounds, now)
        if (own := self.ended.own).jobs:
            self._make_room(own, self._functions.policies.ceiling, now)

    def _name(self, job: Job, history: History, now: float) -> None:
        """Others have the same store: its name is free for them, unless it is taken for a while."""
        taken = self._takes_unique(job, history, now)
        self._persistence.name(job, job.key if taken else None)

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

    # Making room

    def _make_room(self, shelf: Counted, bounds: Retention, now: float) -> None:
        """
        The oldest make room where there are too many. What is not in memory is read for that: until it is,
        there may be more.
        """
        if shelf.asked or not shelf.exceeds(bounds):
            return
        if not shelf.rows:
            self._give_up(shelf, bounds, LAST_NUMBER, now)
            return
        shelf.asked = True

        def done(up_to: int | None, later: float) -> None:
            shelf.asked = False
            if up_to is not None and (self._give_up(shelf, bounds, up_to, later) or up_to < LAST_NUMBER):
                self._make_room(shelf, bounds, later)

        self.load_oldest(shelf.lanes.values(), shelf.excess(bounds), done, now)

    def _give_up(self, shelf: Counted, bounds: Retention, up_to: int, now: float) -> bool:
        """
        The oldest are forgotten; but a unique that is taken stays taken, as far as a function's bounds go.

        @param up_to: all are in memory of which the places are not higher.
        @return: whether there were any.
        """
        surplus = shelf.surplus(bounds, up_to)
        for job in surplus:
            if shelf is not self.ended.own and self.takes_unique(job, now):
                self._drop_result(job, b"")
            else:
                self.forget(job)
        return bool(surplus)

    def _takes_unique(self, job: Job, history: History, now: float) -> bool:
        """
        The same.

        @param history: the job's.
        """
        if job.state != DONE or job.key is None:
            return False
        policy = history.policy(job.function.policy or CLASSIC, self._functions.policies)
        return job.since + policy.unique_for > now

    # What is not in memory

    def add_rows(self, function: Function, lane: Lane, count: int, size: int) -> None:
        """
        The server starts, and there are so many jobs that are kept.

        @param size: bytes of their workloads and results.
        """
        # What is known of each nobody has read.
        function.names_stay = True
        self.ended.add_rows(function, lane, count, size)

    def take_in(self, job: Job, record: JobRecord) -> None:
        """A job that is kept is in memory from now on."""
        offset = self._timers.offset
        job.state = record.state
        job.since = record.ended - offset
        job.archived = record.history or b"{}"
        history, job.history = job.history, None
        until = record.due - offset
        self.ended.take_in(job, until, record.kind, None if history is None else history.aside)
        self._timers.call_at(until)

    def let_go(self, jobs: Iterable[Job]) -> list[Job]:
        """
        The store has all of these jobs that are kept, and nobody needs them in memory.

        @return: those that have left it; one that is set aside never does.
        """
        aside = self.ended.reviews.of
        left = [job for job in jobs if job.state != DEAD or aside(job) is None]
        self.ended.let_go(left)
        for job in left:
            job.workload = b""
        return left

    def load_oldest(
        self,
        lanes: Collection[LaneRows],
        count: int,
        then: Callable[[int | None, float], None],
        now: float,
    ) -> None:
        """
        Have those of some lanes in memory that ended first.

        @param count: about how many.
        @param then: called once with a place: of these lanes all jobs are in memory of which the places are
            not higher; with L{LAST_NUMBER} for all; with C{None} if the store does not answer.
        """
        chosen = nsmallest(MOST_LANES, lanes, key=attrgetter("read_to"))
        limit = max(-(-count // len(chosen)), FEW) if chosen else 0

        def done(answered: bool, later: float) -> None:
            then(min([rows.read_to for rows in lanes], default=LAST_NUMBER) if answered else None, later)

        self.load_all([_first_of(rows, limit) for rows in chosen], done, now)

    # Results

    def read(self, job: Job, done: Callable[[bytes | None], None]) -> None:
        """
        Read a job's workload; its result, if it has ended otherwise than dead.

        @param done: called once, at once or later, with the bytes; with C{None} if they cannot be read.
        """
        if job.loaded:
            done(bytes(job.workload))
        else:
            self._persistence.read(job, done)

    def result_stored(self, numbers: Iterable[int]) -> None:
        """The store has these results: they need not be in memory."""
        for number in numbers:
            job = self.jobs.get(number)
            if job is not None and job.state != DEAD:
                job.workload = b""

    def result_refused(self, number: int) -> None:
        """The store does not keep this result: how the job ended is still known."""
        job = self.jobs.get(number)
        if job is not None:
            self._drop_result(job)

    def _drop_result(self, job: Job, instead: bytes | None = None) -> None:
        """
        @param instead: is kept in its place; C{None} if the store does not have it.
        """
        history = history_of(job)
        history.data_size, history.result_size, history.complete = 0, 0, False
        job.workload = b""
        self.ended.drop_result(job)
        self.change(job, history, instead)

    # Operators

    def check_room(self, function: Function, jobs: int, size: int) -> None:
        """
        Somebody is about to put more among the dead of a function: others are not to make room for that.

        @param jobs: how many more.
        @param size: bytes of workloads more.
        @raise QueueError: there is no room for it.
        """
        bounds = (function.policy or CLASSIC).dead
        shelf = self.shelf(function)
        if jobs and 0 < bounds.jobs < shelf.count + jobs:
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
        if self._persistence.keeps:
            self._put_last(job)
        self._add(job, until, history_of(job), now)
        self.update(job)
        self._functions.forget_if_unused(former)

    def set_aside(self, job: Job, aside: Aside) -> None:
        """A dead job is in a review from now on. When it is to be forgotten stays as it is."""
        history = history_of(job)
        history.aside = aside
        self.ended.set_aside(job, aside)
        self._move(job, history)

    def give_back(self, job: Job) -> None:
        """A job that is in a review is in none any more."""
        history = history_of(job)
        history.aside = None
        self.ended.give_back(job, self._is_own(job, history), reason_of(history))
        self._move(job, history)

    def _move(self, job: Job, history: History) -> None:
        """A job counts as the last one of its kind."""
        if self._persistence.keeps:
            self._put_last(job)
        self.change(job, history)

    def change(self, job: Job, history: History, result: bytes | None = None) -> None:
        """
        Keep what is known of a job that has ended, where that has changed.

        @param history: what L{history_of} gave, and what has come to it.
        @param result: its new result; C{None} if that is as it was.
        """
        job.archived = history.to_bytes(job.tenant) or b"{}"
        self.update(job, result)

    def update(self, job: Job, result: bytes | None = None) -> None:
        """The same of one of which no more has changed than what is here."""
        self._persistence.update_ended(job, self.ended.kind_of(job), result)

    # Forgetting

    def take_out(self, job: Job) -> None:
        """A job is not kept here any more, as it is to be done again."""
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
        self.behind = self.ended.next_due() <= now
        if not self.behind:
            return self.ended.next_due()
        if self._persistence.backlogged:
            return now + PAUSE
        for _ in range(BATCH):
            job = self.ended.pop_due(now)
            if job is None:
                break
            self.forget(job)
        self.ended.trim()
        go_on = self.ended.next_due()
        self.behind = go_on <= now
        return go_on

    def check(self) -> None:
        """
        As L{EndedJobs.check}; and is every result that is in memory one of a job that is kept?

        @raise AssertionError: one is not.
        """
        self.ended.check()
        for job in self.jobs.values():
            assert not job.workload or job.size == len(job.workload), job


def _first_of(rows: LaneRows, limit: int) -> tuple[InLane, Told]:
    """Asks for the first jobs of a lane that are not in memory."""
    after = rows.read_to

    def told(records: Sequence[JobRecord]) -> None:
        # If one has left the memory meanwhile that is before them, it is the first.
        if rows.read_to >= after:
            rows.read_to = records[-1].place if len(records) >= limit else LAST_NUMBER

    return InLane(rows.lane, after, limit), told

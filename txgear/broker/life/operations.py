"""
The orders of operators: cancel, purge, requeue, forget, pause, and what holds for functions.

What concerns a great many jobs is done in pieces, and waits until the store has caught up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from txgear.broker.bulk import BulkTask, BulkTasks, one_by_one
from txgear.broker.counts import CANCEL
from txgear.broker.ended.archive import PAUSE, history_of
from txgear.broker.life.changes import Changes
from txgear.broker.life.copies import Copies
from txgear.broker.records import LIMITED, PAUSED, StoredValue
from txgear.broker.rows.walks import Walk
from txgear.broker.states import CANCELLED, DEAD, DELAYED, RUNNING

if TYPE_CHECKING:
    from txgear.broker.dispatcher import Dispatcher
    from txgear.broker.ended.archive import Archive
    from txgear.broker.functions import Functions
    from txgear.broker.life.lifecycle import Lifecycle
    from txgear.broker.model import Function, Job
    from txgear.broker.persistence import Persistence
    from txgear.broker.ports import Found
    from txgear.broker.rows.stock import Stock
    from txgear.broker.shares import Share
    from txgear.broker.table import JobTable
    from txgear.broker.timers import Timers
    from txgear.policies import Policies


MOST_PURGES: Final = 1000
"""Functions of which it is remembered when they were purged: 300 kB."""

PATIENCE: Final = 1.0
"""Seconds until a store is asked again that has not answered."""
PAGE: Final = 100
"""The dead that are read, and something is done to, in one turn: some 10 ms."""
STEPS: Final = 100
"""Of what is done to all jobs that a search is for, in one turn: nobody waits for it, and others do."""


class Purge(NamedTuple):
    """
    That a function was purged.

    @ivar when: by the server's time.
    @ivar jobs: how many jobs it had that no worker had.
    @ivar by: who wanted that; empty where it is not known.
    """

    when: float
    jobs: int
    by: str


def _limits_of(text: str) -> tuple[int, int, int]:
    """The bounds that a store has kept; none where somebody has changed what it has."""
    words = text.split()
    if len(words) != 3 or not all(word.isascii() and word.isdecimal() for word in words):
        return 0, 0, 0
    high, normal, low = map(int, words)
    return high, normal, low


class Operations:
    """
    What operators can order, each order by one method.

    @ivar purges: the last purge of each function, the newest last; L{MOST_PURGES} at the most.
    @ivar reprioritise: L{Changes.reprioritise}.
    @ivar move: L{Changes.move}.
    @ivar correct: L{Changes.correct}.
    @ivar link_copy: L{Copies.link}.
    @ivar review: L{Changes.review}.
    @ivar release: L{Changes.release}.
    @ivar workload_refused: L{Changes.workload_refused}.
    """

    __slots__ = (
        "_archive",
        "_bulk_acts",
        "_dispatcher",
        "_functions",
        "_lifecycle",
        "_orders",
        "_persistence",
        "_resting",
        "_spared",
        "_stock",
        "_table",
        "_timers",
        "correct",
        "link_copy",
        "move",
        "purges",
        "release",
        "reprioritise",
        "review",
        "workload_refused",
    )

    def __init__(
        self,
        table: JobTable,
        functions: Functions,
        dispatcher: Dispatcher,
        archive: Archive,
        lifecycle: Lifecycle,
        persistence: Persistence,
        stock: Stock,
        timers: Timers,
    ) -> None:
        self._table = table
        self._functions = functions
        self._dispatcher = dispatcher
        self._archive = archive
        self._lifecycle = lifecycle
        self._persistence = persistence
        self._stock = stock
        self._timers = timers
        changes = Changes(table, functions, dispatcher, archive, lifecycle, persistence, timers)
        self.reprioritise = changes.reprioritise
        self.move = changes.move
        self.correct = changes.correct
        self.review = changes.review
        self.release = changes.release
        self.workload_refused = changes.workload_refused
        self.link_copy = Copies(archive, lifecycle, persistence, timers).link
        self._orders = BulkTasks()
        # What is done to all jobs that a search is for: in turn, as any of them may take long.
        self._bulk_acts = BulkTasks()
        # What goes on in another turn, and not before a moment.
        self._resting: list[tuple[float, BulkTask]] = []
        self.purges: OrderedDict[bytes, Purge] = OrderedDict()
        # Of functions that are being purged: the numbers of jobs that stay, as somebody has submitted them
        # again.
        self._spared: dict[Function, set[int]] = {}

    # Jobs

    def cancel(self, handle: bytes, now: float) -> bool:
        """
        End a job that is queued, waits or runs; clients hear that it failed. Its worker hears of it if
        it understands that; for any other the job is not found later.

        @return: whether there was one.
        """
        job = self._table.by_handle(handle)
        if job is None:
            return False
        self._cancel(job, now)
        return True

    def _cancel(self, job: Job, now: float) -> None:
        self._lifecycle.fail(job, CANCELLED, CANCEL, now)
        self._dispatcher.advance(job, now)

    def purge(self, name: bytes, now: float, by: str = "") -> int | None:
        """
        Cancel all jobs of a function that no worker has, in this turn and the next ones; none of
        them is handed out meanwhile. One that is submitted again before its turn has come stays: whoever
        does that now is not to lose it.

        @param name: the function's.
        @param by: who wants that.
        @return: how many they are; C{None} if there is no such function.
        """
        function = self._functions.by_name.get(name)
        if function is None:
            return None
        self._functions.throttle(function).suspended += 1
        self._spared[function] = set()
        self._dispatcher.regulate(function, now)
        count = function.total - function.running
        self.purges.pop(name, None)
        self.purges[name] = Purge(now, count, by)
        if len(self.purges) > MOST_PURGES:
            self.purges.popitem(last=False)
        self._run_in_pieces(self._purge(function, one_by_one(function.unassigned())), now)
        return count

    def _purge(self, function: Function, jobs: Iterable[Job]) -> BulkTask:
        last = self._table.last_number
        lanes = self._stock.lanes_of(function)
        now = yield
        for job in jobs:
            self._purge_one(function, job, now)
            now = yield
        # Some of those that were in memory may not be any more.
        lanes += self._stock.lanes_of(function)
        self._purge_page(function, Walk(dict.fromkeys(lanes), last), now)

    def _purge_one(self, function: Function, job: Job, now: float) -> None:
        there = job.function is function and job.state != RUNNING and self._table.jobs.get(job.number) is job
        if there and job.number not in self._spared[function]:
            self._cancel(job, now)

    def _purge_page(self, function: Function, walk: Walk, now: float) -> None:
        """Go on with those that are not in memory."""
        question = walk.question
        if question is None:
            self._purged(function, now)
            return

        def look(found: Found | None, later: float) -> None:
            if found is None:
                self.rest(self._purge_more(function, walk), later + PATIENCE)
                return
            numbers = set(walk.go_on(found.records))
            for job in found.jobs:
                if job.number in numbers:
                    self._purge_one(function, job, later)
            self.rest(self._purge_more(function, walk), later)

        self._stock.visit(question, look)

    def _purge_more(self, function: Function, walk: Walk) -> BulkTask:
        now = yield
        self._purge_page(function, walk, now)

    def _purged(self, function: Function, now: float) -> None:
        throttle = self._functions.throttle(function)
        throttle.suspended -= 1
        if not throttle.suspended:
            del self._spared[function]
        self._dispatcher.release_throttle(function, now)
        self._functions.forget_if_unused(function)

    def spare(self, job: Job) -> None:
        """A job has been submitted again: it is not to be purged, if its function is just being."""
        if job.function in self._spared:
            self._spared[job.function].add(job.number)

    # Jobs that have ended

    def requeue(self, handle: bytes, now: float) -> bool:
        """
        Queue a job behind all others: a dead one, which has all its attempts again, or one that waits for its
        time or its next attempt, which waits no more.

        @return: whether there is such a job.
        """
        if (waiting := self._table.by_handle(handle)) is not None:
            # One that is withheld as the server drains waits for no time.
            if waiting.state != DELAYED or not (waiting.due or waiting.appointment is not None):
                return False
            self._lifecycle.begin_waiting(waiting, now)
            return True
        job = self._archive.by_handle(handle)
        if job is None or job.state != DEAD:
            return False
        self._requeue(job, now)
        return True

    def _requeue(self, job: Job, now: float) -> None:
        self._archive.take_out(job)
        job.history, job.archived = history_of(job), b""
        job.history.counts.clear()
        job.history.aside = None
        job.retries = 0
        job.function.counts.requeued += 1
        self._table.put_last(job)
        self._table.add_again(job)
        self._persistence.update(job)
        if job.key is not None:
            self._persistence.name(job, job.key)
        self._dispatcher.enqueue(job, now)

    def forget(self, handle: bytes) -> bool:
        """
        Drop a job that has ended, dead or with a result that is kept.

        @return: whether there is one.
        """
        job = self._archive.by_handle(handle)
        if job is None:
            return False
        self._archive.forget(job)
        return True

    def requeue_all(self, name: bytes, now: float) -> int:
        """
        Requeue all the dead of a function, by and by, but those that are set aside.

        @param name: the function's.
        @return: how many they are.
        """
        return self._to_each_dead(name, self._requeue, now)

    def forget_all(self, name: bytes, now: float) -> int:
        """
        Drop all the dead of a function, by and by, but those that are set aside.

        @param name: the function's.
        @return: how many they are.
        """
        return self._to_each_dead(name, lambda job, later: self._archive.forget(job), now)

    def _to_each_dead(self, name: bytes, do: Callable[[Job, float], None], now: float) -> int:
        function = self._functions.by_name.get(name)
        if function is None:
            return 0
        shelf = self._archive.shelf(function)
        if self._persistence.keeps:
            last = self._table.last_number
            self._run_in_pieces(self._to_first_dead(function, last, do), now)
            return shelf.count
        dead = list(shelf.jobs.values())

        def each() -> BulkTask:
            later = yield
            for job in dead:
                if job.number in self._archive.shelf(function).jobs:
                    do(job, later)
                later = yield

        self._run_in_pieces(each(), now)
        return len(dead)

    def _to_first_dead(self, function: Function, last: int, do: Callable[[Job, float], None]) -> BulkTask:
        """
        To each of a function's dead, a page at a time: what is not in memory is read for that.

        @param last: the places of those that are meant are not higher.
        """
        now = yield
        shelf = self._archive.shelf(function)

        def done(up_to: int | None, later: float) -> None:
            if up_to is None:
                self.rest(self._to_first_dead(function, last, do), later + PATIENCE)
                return
            found = islice(self._archive.shelf(function).in_order(), PAGE)
            dead = [job for job in found if job.place <= min(up_to, last)]
            for job in dead:
                do(job, later)
            if up_to < last or len(dead) == PAGE:
                self.rest(self._to_first_dead(function, last, do), later)

        self._archive.load_oldest(shelf.lanes.values(), PAGE, done, now)

    # Functions

    def pause(self, name: bytes, now: float, by: str = "") -> None:
        """
        Hand out no job of this function until L{resume}, over restarts too; jobs are still taken. Of one that
        is paused already it stays known who has paused it first.

        @param by: who wants that.
        @raise ArgumentTooLarge: the name is too long.
        """
        throttle = self._functions.throttle(function := self._functions.get(name))
        if throttle.paused:
            return
        throttle.pause(self._timers.wall(now), by)
        self._dispatcher.regulate(function, now)
        self._persistence.put_value(StoredValue(PAUSED, name, throttle.paused_since, text=by))

    def resume(self, name: bytes, now: float) -> bool:
        """
        Undo L{pause}.

        @return: whether it was paused.
        """
        if not self._resume(name, now):
            return False
        self._persistence.put_value(StoredValue(PAUSED, name, 0.0))
        return True

    def _resume(self, name: bytes, now: float) -> bool:
        function = self._functions.by_name.get(name)
        if function is None or function.throttle is None or not function.throttle.paused:
            return False
        function.throttle.resume()
        self._dispatcher.release_throttle(function, now)
        self._functions.forget_if_unused(function)
        return True

    def create_function(self, name: bytes) -> None:
        """
        Keep this function although nobody uses it.

        @raise ArgumentTooLarge: the name is too long.
        @raise QueueError: there are too many functions.
        """
        self._functions.get(name).created = True

    def drop_function(self, name: bytes, wanted: Callable[[Function], bool] | None = None) -> bool | None:
        """
        Forget the functions of this name, upper and lower case being the same,
        with their settings, unless one has workers or jobs, kept ones included.

        @param wanted: whether one of this name counts; by default each does.
        @return: C{True} if they are forgotten, C{False} if one is in use,
            C{None} if there is none.
        """
        dropped = self._functions.drop(name, wanted)
        for function in dropped or ():
            if function.paused:
                self._persistence.put_value(StoredValue(PAUSED, function.name, 0.0))
            if function.max_queued is not None:
                self._persistence.share(StoredValue(LIMITED, function.name, 0.0))
        return None if dropped is None else bool(dropped)

    def limit_function(self, name: bytes, limits: tuple[int, int, int]) -> None:
        """
        Refuse submits to this function while it has that many jobs, of
        whatever state; remembered for a function that nobody has used yet.

        @param limits: for each priority the number of jobs, 0 for no bound.
        @raise ArgumentTooLarge: the name is too long.
        @raise QueueError: there are too many functions.
        """
        self._limit(self._functions.get(name), limits)
        text = " ".join(map(str, limits))
        self._persistence.share(StoredValue(LIMITED, name, float(any(limits)), text=text))

    def _limit(self, function: Function, limits: tuple[int, int, int]) -> None:
        function.max_queued = limits if any(limits) else None
        function.judge()
        self._functions.forget_if_unused(function)

    def put_in_force(self, value: StoredValue, now: float) -> None:
        """
        What holds for a function is in the store, and is to hold here as well: another server has set it, or
        this one did before it started.

        @param value: any; one of another kind than L{PAUSED} and L{LIMITED} holds for no function.
        """
        if value.kind == PAUSED and value.value:
            function = self._functions.get(value.name, bounded=False)
            self._functions.throttle(function).pause(value.value, value.text)
            self._dispatcher.regulate(function, now)
        elif value.kind == PAUSED:
            self._resume(value.name, now)
        elif value.kind == LIMITED:
            limits = _limits_of(value.text) if value.value else (0, 0, 0)
            self._limit(self._functions.get(value.name, bounded=False), limits)

    def set_share(self, share: Share, now: float) -> None:
        """There are more or fewer servers over the same store: this is this one's share from now on."""
        self._functions.share = share
        for function in list(self._functions.by_name.values()):
            if function.throttle is not None:
                self._functions.apply_policy(function, now)
                self._dispatcher.advance_all(function, now)
                self._dispatcher.regulate(function, now)

    def borrow(self, borrowed: dict[bytes, int], now: float) -> None:
        """
        Of functions of which fewer jobs may run at once than there are servers so many may run here: those
        that run beyond that go on.

        @param borrowed: by their names; of others none may.
        """
        before, self._functions.borrowed = self._functions.borrowed, borrowed
        for name in before.keys() | borrowed.keys():
            function = self._functions.short.get(name)
            if function is not None and before.get(name) != borrowed.get(name):
                self._functions.apply_policy(function, now)
                self._dispatcher.advance_all(function, now)
                self._dispatcher.regulate(function, now)

    def set_policies(self, policies: Policies, now: float) -> None:
        """
        Let these settings hold from now on, in place of all others. Times that
        were fixed by earlier ones (when a job expires, is tried again or is forgotten) stay.
        """
        self._functions.policies = policies
        for function in list(self._functions.by_name.values()):
            self._functions.apply_policy(function, now)
            self._dispatcher.advance_all(function, now)
            if function.throttle is not None:
                self._dispatcher.release_throttle(function, now)
            self._functions.forget_if_unused(function)

    # Much at once

    def _run_in_pieces(self, task: BulkTask, now: float) -> None:
        """Have this done in the next turns."""
        self._orders.add(task)
        self._timers.call_at(now)

    def rest(self, task: BulkTask, moment: float) -> None:
        """Have this done in a turn after this one, and not before that moment."""
        self._resting.append((moment, task))
        self._timers.call_at(moment)

    def run(self, task: BulkTask, now: float) -> None:
        """Have this done in the next turns, in turn with others of its kind."""
        self._bulk_acts.add(task)
        self._timers.call_at(now)

    def work(self, now: float) -> float:
        """
        Go on with what is done to many jobs.

        @return: when to go on with it, by the server's time; infinite if all is done.
        """
        resting, self._resting = self._resting, []
        for moment, task in resting:
            if moment <= now:
                self._orders.add(task)
            else:
                self._resting.append((moment, task))
        if not self._persistence.backlogged:
            self._orders.work(now)
            self._bulk_acts.work(now, STEPS)
            self._bulk_acts.turn()
        go_on = min([moment for moment, _ in self._resting], default=inf)
        if not (self._orders or self._bulk_acts):
            return go_on
        return min(go_on, now + PAUSE if self._persistence.backlogged else now)

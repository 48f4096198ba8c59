"""
What is done to all jobs that a search is for: in pieces, with a count before, a progress, and a stop.

The jobs are taken down when it begins: those that come later are none of them. First they are counted; then
each of those that were found has its turn, if it still is what was looked for. Those that only the store has
are not taken down: they are gone over twice, a page at a time (L{txgear.broker.rows.walks}). Whether that
may be done is asked for each job at its turn, for whoever began it, as its rights may change meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from txgear.broker.bulk import BulkTask, one_by_one
from txgear.broker.life.operations import PATIENCE
from txgear.broker.operators.bulkshares import Failure, Figures, Share
from txgear.broker.operators.listing import OF_ROWS, ended_lanes
from txgear.broker.operators.matching import SELECTIONS, Selection
from txgear.broker.rights import CANCEL, FORGET, MOVE, PRIORITISE, REQUEUE, REVIEW, check, knows
from txgear.broker.rows.walks import PAGE, Walk
from txgear.errors import ServerError
from txgear.protocol.constants import UNIQUE_FROM_WORKLOAD

if TYPE_CHECKING:
    from txgear.broker.broker import Broker
    from txgear.broker.model import Job, Peer
    from txgear.broker.operators.search import Search
    from txgear.broker.ports import Found
    from txgear.broker.records import Lane

MOST_TASKS: Final = 20
"""Of them that have not ended: each may have a number for each job, 8 MB for a million."""
MOST_ENDED: Final = 100
"""Of them that have ended and are still known."""
KEPT_SECONDS: Final = 3600.0
"""For which one is known that has ended: whoever began it comes back from lunch."""
MOST_FAILURES: Final = 20
"""Jobs to which it could not be done, of which it is told why; the others are counted."""
LOOKS: Final = 10
"""Work of one step: jobs that are looked at, or what takes as long. A turn has a hundred steps."""
FEW: Final = 10_000
"""Dead jobs of several functions that are rather put together than looked for among all."""

WAITING: Final = "waiting"
COUNTING: Final = "counting"
ACTING: Final = "acting"
DONE: Final = "done"
STOPPED: Final = "stopped"

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    CANCEL: ("jobs",),
    REQUEUE: ("dead",),
    FORGET: ("dead", "kept"),
    PRIORITISE: ("jobs", "dead"),
    MOVE: ("jobs", "dead"),
    REVIEW: ("dead",),
}
"""What can be done to many jobs, and to which of them, by the names of the lists that show them."""


class Order(NamedTuple):
    """
    What is to be done, and to which jobs.

    @ivar act: one of L{KINDS}.
    @ivar of: which jobs: those of C{jobs}, C{dead} or C{kept}.
    @ivar words: what the search was made of, by name, for whoever asks.
    @ivar search: which of them.
    @ivar priority: the new one, for L{PRIORITISE}.
    @ivar function: the new one, for L{MOVE}.
    @ivar preview: whether they are only counted.
    @ivar review: in which review they are to be, for L{REVIEW}; empty for in none.
    @ivar most: how many of them at the most; 0 for all. Those that are found first are taken.
    """

    act: str
    of: str
    words: Mapping[str, bytes]
    search: Search
    priority: int = 0
    function: bytes = b""
    preview: bool = False
    review: str = ""
    most: int = 0


class BulkAct:
    """
    One of them.

    @ivar number: tells it from all others since the server started.
    @ivar order: what is to be done.
    @ivar asker: stands for whoever began it: its rights, its account, and where it came from.
    @ivar state: L{WAITING}, L{COUNTING}, L{ACTING}, L{DONE} or L{STOPPED}.
    @ivar began: when it was asked for, by the server's time, and
    @ivar ended: when it ended; 0.0 before.
    @ivar total: how many jobs are looked at, and
    @ivar looked_at: how many have been. To whoever may not know of all functions both are told of those only
        that are known, as they are come to.
    @ivar counted: whether all have been looked at.
    @ivar matched: how many of those are what is looked for; all of them, once it acts.
    @ivar done: to how many it has been done.
    @ivar passed: how many were what is looked for, and were not any more when their turn came.
    @ivar failed: to how many it could not be done.
    @ivar failures: the first of these, and why.
    @ivar led_to: the number of the one that does what this one has only counted; 0 for none.
    @ivar shares: what other servers do of it, each to its own jobs. All above is what is done here.
    @ivar changed: grows with each change of all these.
    """

    __slots__ = (
        "_told",
        "asker",
        "began",
        "changed",
        "counted",
        "done",
        "ended",
        "failed",
        "failures",
        "led_to",
        "looked_at",
        "matched",
        "number",
        "order",
        "passed",
        "shares",
        "state",
        "total",
    )

    def __init__(
        self,
        number: int,
        order: Order,
        asker: Peer,
        now: float,
        told: Callable[[BulkAct], None],
        shares: Sequence[Share] = (),
    ) -> None:
        """
        @param told: called when they have been counted, and when it has ended.
        """
        self.number = number
        self.order = order
        self.asker = asker
        self.state = WAITING
        self.began = now
        self.ended = 0.0
        self.total = self.looked_at = self.matched = 0
        self.done = self.passed = self.failed = 0
        self.failures: list[Failure] = []
        self.led_to = 0
        self.shares = shares
        self.changed = 0
        self.counted = False
        self._told = told

    # Here and at all others

    @property
    def over(self) -> float:
        """When it had ended everywhere; 0.0 before."""
        ends = [self.ended, *(share.ended for share in self.shares)]
        return max(ends) if all(ends) else 0.0

    @property
    def is_counted(self) -> bool:
        """Whether all have been looked at everywhere, as far as that is still to be heard."""
        return self.counted and all(share.counted or share.ended for share in self.shares)

    @property
    def stage(self) -> str:
        """Its state, for all of them."""
        if self.over or self.state in (WAITING, STOPPED):
            return self.state
        return ACTING if self.is_counted and not self.order.preview else COUNTING

    @property
    def figures(self) -> Figures:
        """How far it is, of all together."""
        found = Figures(self.total, self.looked_at, self.matched, self.done, self.passed, self.failed)
        for share in self.shares:
            found = found.plus(share.figures)
        return found

    @property
    def all_failures(self) -> list[Failure]:
        """The first jobs to which it could not be done, wherever they are."""
        found = list(self.failures)
        for share in self.shares:
            found += share.failures
        return found[:MOST_FAILURES]

    # Here

    def go_on(self, state: str) -> None:
        """It is in its next part."""
        self.state = state
        self.changed += 1
        if state == ACTING:
            self._told(self)

    def end(self, state: str, now: float) -> None:
        """It is over; whoever waits is told, once."""
        if not self.ended:
            self.state, self.ended = state, now
            self.changed += 1
            self._told(self)

    def fail(self, job: Job, error: ServerError) -> None:
        """It could not be done to a job."""
        self.failed += 1
        if len(self.failures) < MOST_FAILURES:
            self.failures.append(Failure(job.handle, error.code, error.text))

    def __repr__(self) -> str:
        return f"<BulkAct {self.number}: {self.order.act} {self.order.of}, {self.state}>"


class _Rows:
    """
    Those of the jobs of an act that only the store has.

    @ivar seen: the numbers of those that were in memory when they were counted, and have not left it since.
    """

    __slots__ = ("_lanes", "_last", "seen")

    def __init__(self, lanes: list[Lane | bytes], last: int) -> None:
        """
        @param last: the highest place of all that are meant.
        """
        self._lanes = lanes
        self._last = last
        self.seen: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def walk(self) -> Walk:
        """Go over them once."""
        return Walk(self._lanes, self._last)


class BulkActs:
    """All that are under way, and those that have ended lately."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._known: dict[int, BulkAct] = {}
        self._last = 0

    def start(
        self,
        order: Order,
        asker: Peer,
        now: float,
        told: Callable[[BulkAct], None] = lambda act: None,
        shares: Sequence[Share] = (),
    ) -> BulkAct:
        """
        Begin one.

        @param asker: see L{BulkAct}.
        @param told: called with it when its jobs have been counted, and when it has ended.
        @param shares: what others do of it.
        @raise ServerError: it cannot be done to such jobs, or there are too many that have not ended.
        """
        if order.of not in KINDS[order.act]:
            kinds = " or ".join(KINDS[order.act])
            raise ServerError(f"{order.act} is for {kinds}, not for {order.of}", "INVALID_ARGUMENTS")
        self._forget_old(now)
        if sum(not act.over for act in self._known.values()) >= MOST_TASKS:
            raise ServerError(f"{MOST_TASKS} tasks are under way: wait, or stop one", "TOO_MANY_TASKS")
        self._last += 1
        act = self._known[self._last] = BulkAct(self._last, order, asker, now, told, shares)
        self._broker.operations.run(self._run(act, now), now)
        return act

    def find(self, number: int, now: float) -> BulkAct | None:
        """The one with this number, if it is still known."""
        self._forget_old(now)
        return self._known.get(number)

    def all(self, now: float) -> list[BulkAct]:
        """All that are known, the oldest first."""
        self._forget_old(now)
        return list(self._known.values())

    def stop(self, act: BulkAct, now: float) -> bool:
        """
        Do no more; what is done stays done.

        @return: whether it was under way.
        """
        if act.over:
            return False
        act.end(STOPPED, now)
        # It may have ended here, and not at others.
        act.state = STOPPED
        act.changed += 1
        return True

    def _forget_old(self, now: float) -> None:
        ended = [act for act in self._known.values() if act.over]
        for index, act in enumerate(sorted(ended, key=lambda act: act.over, reverse=True)):
            if index >= MOST_ENDED or act.over + KEPT_SECONDS <= now:
                del self._known[act.number]

    # In pieces

    def _run(self, act: BulkAct, began: float) -> BulkTask:
        order = act.order
        selection = SELECTIONS[order.of](self._broker, act.asker, order.search, began, FEW)
        rows = self._rows(act)
        # Taken down now; L{one_by_one} only begins when it is asked.
        numbers = one_by_one(list(selection.candidates))
        partial = act.asker.rights is not None
        act.total = 0 if partial else len(selection.candidates) + self._count(order.of, rows)
        selection = Selection({}, selection.matches)
        now = yield
        if act.ended:
            return
        act.go_on(COUNTING)
        found: list[int] = []
        work = 0
        for number in numbers:
            job = self._job(order.of, number)
            if job is not None and not knows(act.asker, job.function):
                job = None
            if not partial:
                # One that has left the memory meanwhile is looked at among those that only the store has.
                act.looked_at += job is not None or not rows
            elif job is not None:
                act.looked_at += 1
                act.total += 1
            work += 1
            if job is not None:
                if rows:
                    rows.seen.add(number)
                cost, matched = selection.matches(job)
                work += cost
                if matched:
                    act.matched += 1
                    found.append(number)
            if work >= LOOKS:
                work = 0
                act.changed += 1
                now = yield
                if act.ended:
                    return
        if rows:
            self._count_rows(act, rows, rows.walk(), selection, found, now)
        elif self._are_counted(act, now):
            yield from self._act(act, rows, found, selection)

    @staticmethod
    def _are_counted(act: BulkAct, now: float) -> bool:
        """
        All have been looked at.

        @return: whether it goes on.
        """
        act.counted = True
        if act.order.preview:
            act.end(DONE, now)
            return False
        act.go_on(ACTING)
        return True

    def _act(self, act: BulkAct, rows: _Rows, found: list[int], selection: Selection) -> BulkTask:
        """
        Do it.

        @param found: the numbers of those that are what is looked for and were in memory.
        """
        if act.order.most:
            del found[act.order.most :]
        numbers = one_by_one(found)
        now = yield
        if act.order.act == MOVE and self._broker.pager is not None:
            self._act_on_pages(act, rows, numbers, selection, now)
            return
        for number in numbers:
            if act.ended:
                return
            self._act_on(act, rows, number, selection, now)
            now = yield
        self._go_on(act, rows, selection, now)

    def _act_on_pages(
        self, act: BulkAct, rows: _Rows, numbers: Iterator[int], selection: Selection, now: float
    ) -> None:
        """The same where others have to be in memory for it: for some at once."""
        page = [*islice(numbers, PAGE)]
        if act.ended or not page:
            self._go_on(act, rows, selection, now)
            return

        def do(later: float) -> None:
            for number in () if act.ended else page:
                self._act_on(act, rows, number, selection, later)

            def go_on() -> BulkTask:
                at_last = yield
                self._act_on_pages(act, rows, numbers, selection, at_last)

            self._broker.operations.rest(go_on(), later)

        there = (self._job(act.order.of, number) for number in page)
        self._among_alike(act, [job for job in there if job is not None], do, now)

    def _act_on(self, act: BulkAct, rows: _Rows, number: int, selection: Selection, now: float) -> None:
        """It is the turn of one that was in memory."""
        job = self._job(act.order.of, number)
        if job is None and rows:
            # It may be a row by now.
            rows.seen.discard(number)
        elif job is None or not self._matches(act, job, selection):
            act.passed += 1
        else:
            self._try(act, job, now)
        act.changed += 1

    def _go_on(self, act: BulkAct, rows: _Rows, selection: Selection, now: float) -> None:
        """It is done to all that were in memory."""
        if rows and not act.ended:
            self._act_on_rows(act, rows, rows.walk(), selection, now)
        else:
            act.end(DONE, now)

    def _among_alike(
        self, act: BulkAct, jobs: Sequence[Job], do: Callable[[float], None], now: float
    ) -> None:
        """
        Do something with jobs when those are in memory that have the same uniques, if it has to be seen
        whether there are such: one that is moved is not to be the second of its name.

        @param do: called once, at once or in a later turn.
        """
        lookups, stock = self._broker.lookups, self._broker.stock
        keys = [job.key for job in jobs if job.key is not None] if act.order.act == MOVE else []
        if act.order.of != "jobs" or not lookups.lacks(keys):
            do(now)
            return
        for job in jobs:
            stock.hold(job)

        def come(answered: bool, later: float) -> None:
            if answered or act.ended:
                do(later)
                stock.release_all(jobs, later)
            else:
                self._broker.operations.rest(again(), later + PATIENCE)

        def again() -> BulkTask:
            later = yield
            lookups.load(keys, come, later)

        lookups.load(keys, come, now)

    @staticmethod
    def _matches(act: BulkAct, job: Job, selection: Selection) -> bool:
        return selection.matches(job)[1] and knows(act.asker, job.function)

    def _try(self, act: BulkAct, job: Job, now: float) -> None:
        try:
            self._do(act, job, now)
            act.done += 1
        except ServerError as error:
            act.fail(job, error)

    # Those that only the store has

    def _rows(self, act: BulkAct) -> _Rows:
        broker, order = self._broker, act.order
        search, last = order.search, broker.table.last_number
        wanted = search.functions(act.asker)
        if order.of != "jobs":
            lanes: list[Lane | bytes] = [*ended_lanes(broker, order.of, search, wanted)]
            return _Rows(self._named(search, lanes), last)
        if search.worker or not search.state & OF_ROWS or not broker.table.rows:
            return _Rows([], last)
        functions = [function for function in broker.functions.by_name.values() if wanted(function)]
        # What is moved comes to lanes that have been gone over.
        functions.sort(key=lambda function: function.name != order.function)
        lanes = [lane for function in functions for lane in broker.stock.lanes_of(function)]
        return _Rows(self._named(search, lanes), last)

    @staticmethod
    def _named(search: Search, lanes: list[Lane | bytes]) -> list[Lane | bytes]:
        """By what those of these lanes are to be found that have the unique that is looked for."""
        by_unique = bool(search.unique) and search.unique != UNIQUE_FROM_WORKLOAD
        return [search.unique] if by_unique and lanes else lanes

    def _count(self, of: str, rows: _Rows) -> int:
        """About how many there are of them."""
        if not rows:
            return 0
        return self._broker.table.rows if of == "jobs" else self._broker.archive.rows

    def _count_rows(
        self, act: BulkAct, rows: _Rows, walk: Walk, selection: Selection, found: list[int], now: float
    ) -> None:
        question = walk.question
        if question is None:
            act.total = act.looked_at
            if self._are_counted(act, now):
                self._broker.operations.run(self._act(act, rows, found, selection), now)
            return

        def look(page: Found | None, later: float) -> None:
            if act.ended:
                return
            if page is not None:
                there = {job.number: job for job in page.jobs}
                for number in walk.go_on(page.records):
                    job = there.get(number) or self._job(act.order.of, number)
                    if job is not None and number not in rows.seen and knows(act.asker, job.function):
                        act.looked_at += 1
                        act.matched += selection.matches(job)[1]
                act.total = max(act.total, act.looked_at)
                act.changed += 1

            def go_on() -> BulkTask:
                at_last = yield
                self._count_rows(act, rows, walk, selection, found, at_last)

            self._broker.operations.rest(go_on(), later if page is not None else later + PATIENCE)

        self._broker.stock.peek(question, look)

    def _act_on_rows(self, act: BulkAct, rows: _Rows, walk: Walk, selection: Selection, now: float) -> None:
        question, order = walk.question, act.order
        if question is None or 0 < order.most <= act.done + act.failed:
            act.passed = max(act.passed, min(act.matched, order.most or act.matched) - act.done - act.failed)
            act.end(DONE, now)
            return

        def look(page: Found | None, later: float) -> None:
            if act.ended:
                return
            if page is None:
                self._broker.operations.rest(go_on(), later + PATIENCE)
                return
            numbers = set(walk.go_on(page.records)) - rows.seen
            jobs = [job for job in page.jobs if job.number in numbers]

            def do(at_last: float) -> None:
                for job in jobs:
                    full = act.ended or 0 < order.most <= act.done + act.failed
                    there = self._job(order.of, job.number) is job
                    if there and not full and self._matches(act, job, selection):
                        self._try(act, job, at_last)
                act.changed += 1
                self._broker.operations.rest(go_on(), at_last)

            self._among_alike(act, jobs, do, later)

        def go_on() -> BulkTask:
            at_last = yield
            self._act_on_rows(act, rows, walk, selection, at_last)

        self._broker.stock.visit(question, look)

    def _job(self, of: str, number: int) -> Job | None:
        jobs = self._broker.table.jobs if of == "jobs" else self._broker.archive.jobs
        return jobs.get(number)

    def _do(self, act: BulkAct, job: Job, now: float) -> None:
        """
        @raise ServerError: it cannot be done.
        """
        order, operations = act.order, self._broker.operations
        check(act.asker, order.act, job.function.name)
        if order.act == CANCEL:
            operations.cancel(job.handle, now)
        elif order.act == REQUEUE:
            operations.requeue(job.handle, now)
        elif order.act == FORGET:
            operations.forget(job.handle)
        elif order.act == PRIORITISE:
            operations.reprioritise(job, order.priority, now)
        elif order.act == REVIEW and order.review:
            operations.review(job, order.review, now, act.asker.who)
        elif order.act == REVIEW:
            operations.release(job)
        else:
            check(act.asker, MOVE, order.function)
            operations.move(job, order.function, now)

"""
What is done to all jobs that a search is for: in pieces, with a count before, a progress, and a stop.

The jobs are taken down when it begins: those that come later are none of them. First they are counted; then
each of those that were found has its turn, if it still is what was looked for. Whether that may be done is
asked for each job at its turn, for whoever began it, as the rights of that may change meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from txgear.broker.bulk import BulkTask, one_by_one
from txgear.broker.matching import SELECTIONS, Selection
from txgear.broker.rights import CANCEL, FORGET, MOVE, PRIORITISE, REQUEUE, REVIEW, check, knows
from txgear.errors import ServerError

if TYPE_CHECKING:
    from txgear.broker.broker import Broker
    from txgear.broker.model import Job, Peer
    from txgear.broker.search import Search

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


class Failure(NamedTuple):
    """
    A job to which it could not be done.

    @ivar handle: the job's.
    @ivar code: the error's, and
    @ivar text: what it says.
    """

    handle: bytes
    code: str
    text: str


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
        "state",
        "total",
    )

    def __init__(
        self, number: int, order: Order, asker: Peer, now: float, told: Callable[[BulkAct], None]
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
        self.changed = 0
        self.counted = False
        self._told = told

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


class BulkActs:
    """All that are under way, and those that have ended lately."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._known: dict[int, BulkAct] = {}
        self._last = 0

    def start(
        self, order: Order, asker: Peer, now: float, told: Callable[[BulkAct], None] = lambda act: None
    ) -> BulkAct:
        """
        Begin one.

        @param asker: see L{BulkAct}.
        @param told: called with it when its jobs have been counted, and when it has ended.
        @raise ServerError: it cannot be done to such jobs, or there are too many that have not ended.
        """
        if order.of not in KINDS[order.act]:
            kinds = " or ".join(KINDS[order.act])
            raise ServerError(f"{order.act} is for {kinds}, not for {order.of}", "INVALID_ARGUMENTS")
        self._forget_old(now)
        if sum(not act.ended for act in self._known.values()) >= MOST_TASKS:
            raise ServerError(f"{MOST_TASKS} tasks are under way: wait, or stop one", "TOO_MANY_TASKS")
        self._last += 1
        act = self._known[self._last] = BulkAct(self._last, order, asker, now, told)
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
        if act.ended:
            return False
        act.end(STOPPED, now)
        return True

    def _forget_old(self, now: float) -> None:
        ended = [act for act in self._known.values() if act.ended]
        for index, act in enumerate(sorted(ended, key=lambda act: act.ended, reverse=True)):
            if index >= MOST_ENDED or act.ended + KEPT_SECONDS <= now:
                del self._known[act.number]

    # In pieces

    def _run(self, act: BulkAct, began: float) -> BulkTask:
        order = act.order
        selection = SELECTIONS[order.of](self._broker, act.asker, order.search, began, FEW)
        # Taken down now; L{one_by_one} only begins when it is asked.
        numbers = one_by_one(list(selection.candidates))
        partial = act.asker.rights is not None
        act.total = 0 if partial else len(selection.candidates)
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
                act.looked_at += 1
            elif job is not None:
                act.looked_at += 1
                act.total += 1
            work += 1
            if job is not None:
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
        act.counted = True
        if order.preview:
            act.end(DONE, now)
            return
        act.go_on(ACTING)
        if order.most:
            del found[order.most :]
        now = yield
        yield from self._act(act, one_by_one(found), selection, now)

    def _act(self, act: BulkAct, numbers: Iterator[int], selection: Selection, now: float) -> BulkTask:
        for number in numbers:
            if act.ended:
                return
            job = self._job(act.order.of, number)
            if job is None or not (selection.matches(job)[1] and knows(act.asker, job.function)):
                act.passed += 1
            else:
                try:
                    self._do(act, job, now)
                    act.done += 1
                except ServerError as error:
                    act.fail(job, error)
            act.changed += 1
            now = yield
        act.end(DONE, now)

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

"""
Which functions a list shows: those that match a pattern, in some order, a page of them.

All functions are passed over for that, in pieces; of these only as many are kept as the page has, so that a
hundred thousand take no more memory than a hundred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import nsmallest
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from txgear.broker.broker import Broker
from txgear.broker.model import Function
from txgear.broker.operators.inspection import place
from txgear.broker.operators.search import EVERY, OF_FUNCTIONS, Search
from txgear.broker.rights import knows
from txgear.protocol.textlines import unescaped
from txgear.web.api.models import Place, Word

if TYPE_CHECKING:
    from txgear.broker.model import Peer

MOST_ROWS: Final = 100
"""Functions of one page of the dashboard."""
NEVER: Final = 1e12
"""By the server's time: later than any job."""
STEP: Final = 500
"""Functions that are passed over in one step: a millisecond, about."""

Sort = Literal["name", "queued", "oldest", "running", "rate", "dead", "workers"]


class FunctionQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Which functions are wanted.

    @ivar function: a pattern for their names, as the shell has them; empty for all.
    @ivar sort: in which order: by their names, or the highest first.
    @ivar behind: what the last one of the page before was sorted by, and
    @ivar after: its name, or what stands for a long one; empty for the first page.
    """

    function: Word = ""
    sort: Sort = "name"
    behind: float = 0.0
    after: Place = ""


class Sums(NamedTuple):
    """
    What all functions have together of which a peer may know.

    @ivar functions: how many there are.
    @ivar queued: jobs that are ready.
    @ivar delayed: jobs that wait for their time, or for the store.
    @ivar running: jobs that workers have.
    @ivar dead: jobs that have no attempt left.
    """

    functions: int = 0
    queued: int = 0
    delayed: int = 0
    running: int = 0
    dead: int = 0


def dead_of(broker: Broker, function: Function) -> int:
    """How many of its jobs are dead."""
    return broker.archive.ended.dead(function) if function.kept else 0


def queued_of(function: Function) -> int:
    """How many of its jobs are ready."""
    lanes = function.lanes
    return lanes.ready + lanes.paged + lanes.held


def droppable(broker: Broker, function: Function) -> bool:
    """Whether it is there, and nobody would miss it but who has set something for it."""
    there = broker.functions.by_name.get(function.name) is function
    return there and not (function.workers or function.total or function.kept)


class FunctionList:
    """
    One page of functions, once its L{steps} have been taken.

    @ivar rows: the functions.
    @ivar matched: how many there are on all pages, and those before this one.
    @ivar next: C{behind} and C{after} of the next page; C{None} if this is the last.
    @ivar sums: those of all functions, whatever the pattern is.
    """

    def __init__(
        self,
        broker: Broker,
        peer: Peer,
        query: FunctionQuery,
        rate: Callable[[bytes], float],
        most: int = MOST_ROWS,
    ) -> None:
        """
        @param rate: how many jobs of a function end in a second.
        @param most: functions of the page.
        @raise InvalidArgument: the pattern makes no sense.
        """
        self.rows: list[Function] = []
        self.matched = 0
        self.next: tuple[float, bytes] | None = None
        self.sums = Sums()
        self._broker = broker
        self._peer = peer
        self._rate = rate
        words = {"function": unescaped(query.function.encode("utf-8"))} if query.function else {}
        self._pattern = Search.parse(words, OF_FUNCTIONS).function
        self._after = (query.behind, unescaped(query.after.encode("utf-8"))) if query.after else None
        self._sort = query.sort
        self._most = most

    def steps(self, gone: Iterable[Function] = ()) -> Iterator[None]:
        """
        Pass over all functions, a millisecond in each step.

        @param gone: functions that are to be in the list although nobody uses them any more.
        """
        broker, peer, after = self._broker, self._peer, self._after
        value: Callable[[Function], float] = getattr(self, f"_by_{self._sort}")
        matches = None if self._pattern is EVERY else self._pattern.fullmatch
        best: list[tuple[float, bytes, Function]] = []
        fresh: list[tuple[float, bytes, Function]] = []
        functions = queued = delayed = running = dead = matched = 0
        for passed, function in enumerate([*broker.functions.by_name.values(), *gone], 1):
            if knows(peer, function):
                functions += 1
                queued += queued_of(function)
                delayed += function.waiting
                running += function.running
                dead += dead_of(broker, function)
                if matches is None or matches(function.name):
                    matched += 1
                    entry = value(function), place(function.name), function
                    if (after is None or entry[:2] > after) and (
                        len(best) <= self._most or entry[:2] < best[-1][:2]
                    ):
                        fresh.append(entry)
            if passed % STEP == 0:
                best, fresh = self._best(best, fresh), []
                yield
        best = self._best(best, fresh)
        self.rows = [entry[2] for entry in best[: self._most]]
        self.matched = matched
        self.next = None
        if len(best) > self._most:
            last = best[self._most - 1]
            self.next = last[:2]
        self.sums = Sums(functions, queued, delayed, running, dead)

    def _best(
        self,
        best: list[tuple[float, bytes, Function]],
        fresh: list[tuple[float, bytes, Function]],
    ) -> list[tuple[float, bytes, Function]]:
        """The first ones, and one more that tells whether there is another page."""
        if not fresh:
            return best
        return nsmallest(self._most + 1, [*best, *fresh], key=lambda entry: entry[:2])

    # What they are sorted by, the lowest first

    def _by_name(self, function: Function) -> float:
        return 0.0

    def _by_queued(self, function: Function) -> float:
        return -queued_of(function)

    def _by_oldest(self, function: Function) -> float:
        # Not the age: a moment stays, so that the next page begins where this one ends.
        return function.waiting_since or NEVER

    def _by_running(self, function: Function) -> float:
        return -function.running

    def _by_rate(self, function: Function) -> float:
        return -self._rate(function.name)

    def _by_dead(self, function: Function) -> float:
        return -dead_of(self._broker, function)

    def _by_workers(self, function: Function) -> float:
        return -len(function.workers)

"""
Lists of jobs wherever they are, in pages: those in memory, and among them those that only the store has.

Rows of the store are looked at some hundred at a time, as jobs that are in no place. Making a page asks the
store a bounded number of times; it may have no rows, and still say where the next one begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from zlib import crc32

from txgear.broker.ended.deadgroups import DEAD_REASONS
from txgear.broker.operators import inspection
from txgear.broker.operators.matching import SELECTIONS
from txgear.broker.operators.search import BOUNDS, Bounds, Rows, Search, page_by_place
from txgear.broker.records import DEAD, KEPT, LAST_NUMBER, NAMED, OWN, ByKey, InLane, InOrder, WithUnique
from txgear.broker.states import DELAYED, QUEUED, STATE_NAMES
from txgear.protocol.constants import UNIQUE_FROM_WORKLOAD

if TYPE_CHECKING:
    from txgear.broker.broker import Broker
    from txgear.broker.model import Function, Job, Peer
    from txgear.broker.ports import Found
    from txgear.broker.records import Lane

MOST_ASKED: Final = 10
"""Times that it is asked for one page: that takes some ten milliseconds if nobody else asks."""
BUCKETS: Final = 1000
"""In so many parts a great many lanes are: a page reads a hundred where there are a hundred thousand."""
PLACES: Final = 10**15
"""Places are below this; what comes above is the bucket, where a page says where the next one begins."""
OF_ROWS: Final = frozenset((STATE_NAMES[QUEUED], STATE_NAMES[DELAYED]))
"""How a job can be that only the store has."""

Then: TypeAlias = "Callable[[dict[str, Any] | None], None]"
"""Called once, at once or later, with a page; with C{None} if the store does not answer."""


def find(
    broker: Broker, peer: Peer, of: str, search: Search, now: float, then: Then, bounds: Bounds = BOUNDS
) -> None:
    """
    Make a page of a list.

    @param of: of which: C{jobs}, C{dead} or C{kept}.
    @param then: called with what L{txgear.broker.operators.inspection} makes of it.
    """
    _FIND[of](broker, peer, search, now, then, bounds)


def _live(broker: Broker, peer: Peer, search: Search, now: float, then: Then, bounds: Bounds) -> None:
    """See L{inspection.jobs}."""
    begun = search.after >= PLACES
    if search.worker or not search.state & OF_ROWS or not (begun or broker.table.rows):
        then(inspection.jobs(broker, peer, search, now, bounds))
    elif search.unique and search.unique != UNIQUE_FROM_WORKLOAD:
        _live_by_unique(broker, peer, search, then, bounds)
    else:
        _LiveWalk(broker, peer, search, then, bounds).start(now)


_number = attrgetter("number")
_place = attrgetter("place")


def _rows_of(found: Found) -> dict[int, Job]:
    """Those of them that have not ended, by number."""
    return {job.number: job for job in found.jobs if not job.ended}


def _live_by_unique(broker: Broker, peer: Peer, search: Search, then: Then, bounds: Bounds) -> None:
    def look(found: Found | None, now: float) -> None:
        if found is None:
            then(None)
            return
        rows = Rows(_rows_of(found), broker.table.last_number)
        then(inspection.jobs(broker, peer, search, now, bounds, rows))

    broker.stock.peek(ByKey((search.unique,)), look)


class _LiveWalk:
    """
    Jobs in the order of their numbers, looked at until a page is full or the store was asked often enough.

    Where not all functions are looked for, only the lanes of those that are: so all are in the order of
    places, which are the numbers of those that were not put behind others. No place is another's number. A
    list that has begun so goes on so, or it would miss some: a page then says C{PLACES} and the place.
    """

    def __init__(self, broker: Broker, peer: Peer, search: Search, then: Then, bounds: Bounds) -> None:
        self._broker = broker
        self._peer = peer
        self._search = search
        self._then = then
        self._bounds = bounds
        self._wanted = search.functions(peer)
        self._asked = 0
        self._jobs: list[dict[str, Any]] = []
        begun, self._first = divmod(search.after, PLACES)
        self._by_place = bool(begun) or (not search.after and self._is_sooner_by_lanes())

    def _is_sooner_by_lanes(self) -> bool:
        """Whether not all that the store has is looked at as soon."""
        functions = self._broker.functions.by_name.values()
        return not all(map(self._wanted, functions)) and len(self._lanes()) <= self._bounds.lanes

    def _lanes(self) -> list[Lane]:
        """Where the store has what is looked for."""
        wanted = [function for function in self._broker.functions.by_name.values() if self._wanted(function)]
        return [lane for function in wanted for lane in self._broker.stock.lanes_of(function)]

    def start(self, now: float) -> None:
        """Look at the first ones."""
        self._go_on(self._first, now, 4 * self._search.limit)

    def _go_on(self, after: int, now: float, most: int = LAST_NUMBER) -> None:
        """
        Look at the next ones.

        @param after: their numbers, or places, are higher than this.
        @param most: how many of the store's at the most, within the bounds.
        """
        self._asked += 1
        limit = min(most, self._bounds.rows)
        questions: list[InOrder | InLane] = [InOrder(after, limit)]
        if self._by_place:
            lanes = self._lanes()
            questions = [InLane(lane, after, max(limit // len(lanes), 1)) for lane in lanes]
        found: list[Found | None] = []

        def look(one: Found | None, later: float) -> None:
            found.append(one)
            if len(found) == len(questions):
                self._look(after, questions, found, later)

        for question in questions:
            self._broker.stock.peek(question, look)
        if not questions:
            self._look(after, questions, found, now)

    def _look(
        self, after: int, questions: list[InOrder | InLane], found: list[Found | None], now: float
    ) -> None:
        table, by_place = self._broker.table, self._by_place
        there, turn = table.jobs, _place if by_place else _number
        rows: dict[int, Job] = {}
        # Up to where the store was looked at, if not to its end.
        last: int | None = None
        asked: set[Lane] = set()
        for question, one in zip(questions, found, strict=True):
            if one is None:
                self._then(None)
                return
            jobs = (job for number, job in _rows_of(one).items() if number not in there)
            rows.update((turn(job), job) for job in jobs)
            if len(one.records) == question.limit:
                upto = turn(one.records[-1])
                last = upto if last is None else min(last, upto)
            if isinstance(question, InLane):
                asked.add(question.lane)
        if by_place and self._asked < MOST_ASKED and not asked.issuperset(self._lanes()):
            # Some have left the memory to where nobody has looked.
            self._go_on(after, now)
            return
        left = self._search.limit - len(self._jobs)
        search = replace(self._search, after=after, limit=left)
        known = Rows(rows, last or table.last_number, table.moved if by_place else None)
        page = inspection.jobs(self._broker, self._peer, search, now, self._bounds, known)
        self._jobs += page["jobs"]
        following = last if page["next"] is None else page["next"]
        full = len(self._jobs) == self._search.limit
        if following is not None and not full and self._asked < MOST_ASKED:
            self._go_on(following, now)
            return
        if following is not None and by_place:
            following += PLACES
        self._then({"jobs": self._jobs, "next": following})


def ended_lanes(
    broker: Broker, of: str, search: Search, wanted: Callable[[Function], bool]
) -> Iterator[Lane]:
    """
    Where the store may have ended jobs that are looked for and are not in memory.

    @param of: C{dead} or C{kept}.
    @param wanted: whether a function is.
    """
    if search.review:
        # These are in memory.
        return
    for rows in broker.archive.ended.lanes:
        lane = rows.lane
        kind = lane.kind & ~OWN
        if of == "dead":
            there = kind >= DEAD and (not search.reason or DEAD_REASONS[kind - DEAD] in search.reason)
        else:
            there = kind in (KEPT, NAMED)
        if there and wanted(broker.functions.by_name[lane.function]):
            yield lane


def _ended(
    of: str, broker: Broker, peer: Peer, search: Search, now: float, then: Then, bounds: Bounds
) -> None:
    """See L{inspection.dead} and L{inspection.kept}."""
    if broker.pager is None:
        make = inspection.dead if of == "dead" else inspection.kept
        then(make(broker, peer, search, now, bounds))
    else:
        _EndedPage(of, broker, peer, search, now, then, bounds).start()


class _EndedPage:
    """
    Jobs that have ended in the order of their places, which is that of their ends.

    The lanes of the store that are looked for are read together, each as far as its turn goes. Where there
    are a great many, one bucket of functions comes after the other, and a page says in which it ends.
    """

    def __init__(
        self, of: str, broker: Broker, peer: Peer, search: Search, now: float, then: Then, bounds: Bounds
    ) -> None:
        self._of = of
        self._broker = broker
        self._peer = peer
        self._search = search
        self._now = now
        self._then = then
        self._bounds = bounds
        self._bucket, self._after = divmod(search.after, PLACES)
        self._jobs: dict[int, Job] = {}

    def start(self) -> None:
        """Find out where to look, and ask the store for what it has there."""
        broker, search = self._broker, self._search
        self._note_loaded()
        lanes = list(ended_lanes(broker, self._of, search, search.functions(self._peer)))
        if search.unique and search.unique != UNIQUE_FROM_WORKLOAD:
            self._ask([WithUnique(search.unique, self._after, self._bounds.rows)] if lanes else [])
            return
        # A list that has begun without them goes on so.
        if self._bucket or (len(lanes) > self._bounds.lanes and not self._after):
            lanes = self._of_bucket(lanes)
        most = max(self._bounds.rows // len(lanes), 1) if lanes else 0
        self._ask([InLane(lane, self._after, most) for lane in lanes])

    def _note_loaded(self) -> None:
        """
        Those that are in memory are among the jobs. One may leave it before all answers are there, and be in
        none of them, or in one of them as well.
        """
        candidates, self._matches = SELECTIONS[self._of](
            self._broker, self._peer, self._search, self._now, self._bounds.few
        )
        self._jobs.update(candidates)

    def _of_bucket(self, lanes: list[Lane]) -> list[Lane]:
        """The lanes of the first bucket in which there is anything, from the one on where the page begins."""
        first = max(self._bucket, 1)
        buckets = {_bucket_of(lane.function) for lane in lanes}
        buckets.update(_bucket_of(job.function.name) for job in self._jobs.values())
        self._bucket = min((bucket for bucket in buckets if bucket >= first), default=BUCKETS + 1)
        if self._bucket > first:
            self._after = 0
        return [lane for lane in lanes if _bucket_of(lane.function) == self._bucket]

    def _ask(self, questions: Sequence[InLane | WithUnique]) -> None:
        found: list[Found | None] = []

        def look(one: Found | None, now: float) -> None:
            if now != self._now or not found:
                # Those that are told at one time were found by one call.
                self._now = now
                self._note_loaded()
            found.append(one)
            if len(found) == len(questions):
                self._look(questions, found)

        for question in questions:
            self._broker.stock.peek(question, look)
        if not questions:
            self._look([], [])

    def _look(self, questions: Sequence[InLane | WithUnique], found: list[Found | None]) -> None:
        last = LAST_NUMBER
        there = self._jobs
        for question, one in zip(questions, found, strict=True):
            if one is None:
                self._then(None)
                return
            for job in one.jobs:
                there.setdefault(job.number, job)
            if len(one.records) == question.limit:
                last = min(last, one.records[-1].place)
        among = [job for job in there.values() if job.ended and self._is_on_page(job)]
        if self._of == "dead":
            make = inspection.look_at_dead(self._broker, self._peer, self._matches, self._now)
        else:
            make = inspection.look_at_kept(self._broker, self._matches, self._now)
        jobs, following = page_by_place(among, last, self._search.limit, make, self._bounds)
        if following is None and last < LAST_NUMBER:
            following = last
        if self._bucket and following is not None:
            following += self._bucket * PLACES
        elif 0 < self._bucket < BUCKETS:
            following = (self._bucket + 1) * PLACES
        self._then({"jobs": jobs, "next": following})

    def _is_on_page(self, job: Job) -> bool:
        """Whether a job is not before the page, nor in another bucket."""
        if self._bucket and _bucket_of(job.function.name) != self._bucket:
            return False
        return job.place > self._after


def _bucket_of(name: bytes) -> int:
    """A number from 1 to L{BUCKETS}, the same for a function at any time."""
    return 1 + crc32(name) % BUCKETS


_FIND: Final[Mapping[str, Callable[..., None]]] = {
    "jobs": _live,
    "dead": partial(_ended, "dead"),
    "kept": partial(_ended, "kept"),
}

"""
A container of jobs that have ended: by number, by unique, and by function on shelves with their bounds; the
dead by why they are, and those that are set aside. Of those that are not in memory it is known how many there
are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from math import inf
from typing import TYPE_CHECKING, Final

from txgear.broker.deadgroups import DEAD_REASONS, UNKNOWN, DeadGroups
from txgear.broker.endednames import EndedNames
from txgear.broker.records import ASIDE, KEPT, NAMED, OWN, Lane
from txgear.broker.records import DEAD as DEAD_KIND
from txgear.broker.reviews import Reviews
from txgear.broker.shelves import LaneRows, Shelf
from txgear.broker.states import DEAD
from txgear.broker.timerqueue import TimerQueue

if TYPE_CHECKING:
    from txgear.broker.history import Aside
    from txgear.broker.model import Function, Job
    from txgear.broker.tenants import Tenant
    from txgear.broker.uniques import Key


_KIND_OF: Final = {reason: DEAD_KIND + index for index, reason in enumerate(DEAD_REASONS)}

MOST_FRESH: Final = 1000
"""Jobs that have just ended and are not put away yet, at the most: that takes half a millisecond."""


def lane_of(job: Job, kind: int) -> Lane:
    """Where the store has a job of this kind."""
    return Lane(job.function.name, "" if job.tenant is None else job.tenant.name, kind)


class EndedJobs:
    """
    Jobs that have ended.

    @ivar jobs: those in memory, by number.
    @ivar rows: how many there are besides.
    @ivar own: those that are kept because of settings of their own.
    @ivar groups: the dead that are not set aside, by function and reason.
    @ivar reviews: the dead that are. They stand on no shelf: no bound of a function's, and no ceiling, counts
        them.
    """

    __slots__ = (
        "_dead",
        "_due",
        "_fresh",
        "_fresh_due",
        "_kept",
        "_lanes",
        "_names",
        "groups",
        "jobs",
        "own",
        "reviews",
        "rows",
    )

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.rows = 0
        self.own = Shelf()
        self.groups = DeadGroups()
        self.reviews = Reviews()
        self._due: TimerQueue[Job] = TimerQueue()
        self._names = EndedNames()
        # Those that are on no shelf yet, in the order of their ends; and no later than when one is to go.
        self._fresh: dict[int, Job] = {}
        self._fresh_due = inf
        self._dead: defaultdict[Function, Shelf] = defaultdict(Shelf)
        self._kept: defaultdict[Function, Shelf] = defaultdict(Shelf)
        self._lanes: dict[Lane, LaneRows] = {}

    @property
    def lanes(self) -> Collection[LaneRows]:
        """Those of the store in which there are some that are not in memory."""
        return self._lanes.values()

    @property
    def names(self) -> EndedNames:
        """Those in memory, by their uniques."""
        self.put_away()
        return self._names

    @property
    def due(self) -> TimerQueue[Job]:
        """When those in memory are to be forgotten."""
        self.put_away()
        return self._due

    def next_due(self) -> float:
        """When the first of those in memory is to be forgotten, or earlier; infinite for never."""
        return min(self._due.next_due(), self._fresh_due)

    def shelf(self, function: Function, dead: bool) -> Shelf:
        """The dead of a function that are not set aside, or the others that are kept of it."""
        self.put_away()
        return (self._dead if dead else self._kept).get(function) or Shelf()

    def shelf_of(self, job: Job) -> Shelf | None:
        """The one on which a job stands that counts for the bounds of its function."""
        self.put_away()
        shelf = (self._dead if job.state == DEAD else self._kept).get(job.function)
        return shelf if shelf is not None and job.number in shelf.jobs else None

    def dead(self, function: Function) -> int:
        """How many of a function are dead, those that are set aside included."""
        return self.reviews.count(function) + self.shelf(function, dead=True).count

    def kind_of(self, job: Job) -> int:
        """As what the store counts a job that is here; see L{txgear.broker.records}."""
        number = job.number
        self.put_away()
        if job.state != DEAD:
            shelf = self._kept.get(job.function)
            kind = KEPT if shelf is not None and number in shelf.jobs else NAMED
        elif self.reviews.of(job) is not None:
            return ASIDE
        else:
            kind = _KIND_OF[self.groups.reason_of(job)]
        return kind | OWN if number in self.own.jobs else kind

    def keep(self, job: Job, until: float) -> None:
        """
        Keep a job that has ended otherwise than dead, as its function's policy says, with its result. It is
        put where it will be looked for when somebody looks, or with many others: with a store most are not
        here any more by then.

        @param until: when it is to be forgotten, by the server's time.
        """
        self.jobs[job.number] = self._fresh[job.number] = job
        job.due = until
        job.function.kept += 1
        # Without min, which is a call more for each job.
        self._fresh_due = until if until < self._fresh_due else self._fresh_due
        if len(self._fresh) >= MOST_FRESH:
            self.put_away()

    def put_away(self) -> None:
        """Put those that have just ended on their shelves, and wherever else they are found."""
        if not self._fresh:
            return
        names, last = self._names, self._names.last.jobs
        function: Function | None = None
        shelf: Shelf | None = None
        for number, job in self._fresh.items():
            if job.function is not function:
                function = job.function
                shelf = self._kept.get(function)
            if shelf is None:
                shelf = self._kept[job.function] = Shelf()
            shelf.jobs[number] = job
            shelf.bytes += job.size
            if (key := job.key) is not None:
                if key in last:
                    names.add(job, key)
                else:
                    last[key] = job
        self._due.add_all(self._fresh.values())
        self._fresh.clear()
        self._fresh_due = inf

    def add(
        self,
        job: Job,
        until: float,
        counted: bool = True,
        own: bool = False,
        reason: str = UNKNOWN,
        aside: Aside | None = None,
    ) -> None:
        """
        Keep a job that has ended.

        @param counted: whether it counts for the bounds of its function's; not if only its unique is kept.
        @param own: whether settings of its own are the reason.
        @param until: when it is to be forgotten, by the server's time.
        @param reason: why it is dead, if it is; see L{DeadGroups.group}.
        @param aside: in which review it is, if it is in one.
        """
        self.put_away()
        self.jobs[job.number] = job
        self._due.add(job, until)
        job.function.kept += 1
        if aside is not None:
            self.reviews.add(job, aside)
        else:
            self._put_up(job, counted, own, reason)
        if job.key is not None:
            self._names.add(job, job.key)

    def _put_up(self, job: Job, counted: bool, own: bool, reason: str) -> None:
        """On its shelves."""
        if job.state == DEAD:
            kind = _KIND_OF[reason]
        else:
            kind = KEPT if counted else NAMED
        for shelf in self._shelves(job.function, kind | OWN if own else kind):
            shelf.add(job)
        if job.state == DEAD:
            shelf = self._dead[job.function]
            shelf.last = max(shelf.last, job.since)

    def _shelves(self, function: Function, kind: int) -> Iterator[Shelf]:
        """Those on which jobs of this kind stand; made where there is none."""
        if kind & OWN:
            yield self.own
            kind -= OWN
        if kind >= DEAD_KIND:
            yield self._dead[function]
            yield self.groups.group(function, DEAD_REASONS[kind - DEAD_KIND])
        elif kind == KEPT:
            yield self._kept[function]

    def _tidy(self, function: Function, kind: int) -> None:
        """Something has left the shelves for this kind: one may be empty."""
        kind &= ~OWN
        if kind >= DEAD_KIND:
            self.groups.tidy(function, DEAD_REASONS[kind - DEAD_KIND])
        if kind >= DEAD_KIND or kind == KEPT:
            shelves = self._kept if kind == KEPT else self._dead
            if not shelves[function].count:
                del shelves[function]

    def set_aside(self, job: Job, aside: Aside) -> None:
        """A dead job is in a review from now on, and in no other."""
        self._take_down(job)
        self.reviews.add(job, aside)

    def give_back(self, job: Job, own: bool, reason: str) -> None:
        """A dead job is in no review any more; for all bounds it is the last one that died."""
        self.reviews.remove(job)
        self._put_up(job, True, own, reason)

    def _take_down(self, job: Job) -> None:
        """Off all shelves, and out of its review."""
        if self.reviews.remove(job):
            return
        kind = self.kind_of(job)
        for shelf in self._shelves(job.function, kind):
            shelf.remove(job)
        self._tidy(job.function, kind)

    def remove(self, job: Job) -> None:
        """Keep this one no more."""
        self.put_away()
        number, function = job.number, job.function
        del self.jobs[number]
        self._due.discard(job)
        shelf = self._kept.get(function)
        if shelf is not None and number in shelf.jobs and number not in self.own.jobs:
            # As nearly each: it is on this shelf alone.
            del shelf.jobs[number]
            shelf.bytes -= job.size
            if not shelf.count:
                del self._kept[function]
        else:
            self._take_down(job)
        function.kept -= 1
        if job.key is not None:
            self._names.remove(job, job.key)

    def correct(self, job: Job, key: Key | None, size: int) -> None:
        """A dead job has got another workload."""
        growth = size - job.size
        if (review := self.reviews.of(job)) is not None:
            review.count(job.function, 0, growth)
        else:
            for shelf in self._shelves(job.function, self.kind_of(job)):
                shelf.bytes += growth
        job.size = size
        if key != job.key:
            if job.key is not None:
                self._names.remove(job, job.key)
            job.key = key
            if key is not None:
                self._names.add(job, key)

    def drop_result(self, job: Job) -> None:
        """Nothing is left of this one but that it has ended, and how; it counts no more for any bounds."""
        shelf = self.shelf_of(job)
        if shelf is not None:
            shelf.remove(job)
            self._tidy(job.function, KEPT)
        if job.number in self.own.jobs:
            self.own.bytes -= job.size
        job.size = 0

    # What is not in memory

    def __len__(self) -> int:
        return len(self.jobs) + self.rows

    def add_rows(self, function: Function, lane: Lane, count: int, size: int, read_to: int = 0) -> None:
        """
        There are so many more that are not in memory.

        @param size: bytes of them.
        @param read_to: their places are higher.
        """
        rows = self._lanes.get(lane)
        if rows is None:
            rows = self._lanes[lane] = LaneRows(lane, read_to)
        rows.read_to = min(rows.read_to, read_to)
        self._count_rows(function, rows, count, size)

    def _count_rows(self, function: Function, rows: LaneRows, count: int, size: int) -> None:
        rows.count += count
        rows.bytes += size
        self.rows += count
        function.kept += count
        kind = rows.lane.kind
        if kind == ASIDE:
            self.reviews.count_rows(function, rows)
        for shelf in self._shelves(function, kind):
            shelf.count_rows(rows, count, size)
        if not rows.count:
            del self._lanes[rows.lane]

    def let_go(self, jobs: Iterable[Job]) -> None:
        """These are not in memory any more."""
        own, discard, forget, fresh = self.own.jobs, self._due.discard, self._names.remove, self._fresh
        function: Function | None = None
        tenant: Tenant | None = None
        shelf: Shelf | None = None
        rows: LaneRows | None = None
        for job in jobs:
            number, place = job.number, job.place
            if job.function is not function or job.tenant is not tenant:
                function, tenant, rows = job.function, job.tenant, None
                shelf = self._kept.get(function)
            new = number in fresh
            if new and shelf is None:
                shelf = self._kept[function] = Shelf()
            if shelf is None or number in own or not (new or number in shelf.jobs):
                self.add_rows(function, lane_of(job, self.kind_of(job)), 1, job.size, place - 1)
                self.remove(job)
                function = None
                continue
            # As nearly each that is kept: it stays on its shelf, where it is counted as it was.
            if rows is None:
                lane = lane_of(job, KEPT)
                rows = self._lanes.get(lane)
                if rows is None:
                    rows = self._lanes[lane] = shelf.lanes[lane] = LaneRows(lane, place - 1)
            if rows.read_to >= place:
                rows.read_to = place - 1
            rows.count += 1
            rows.bytes += job.size
            shelf.rows += 1
            self.rows += 1
            del self.jobs[number]
            if new:
                # Nor was it anywhere else.
                del fresh[number]
                shelf.bytes += job.size
                job.due = 0.0
                continue
            del shelf.jobs[number]
            discard(job)
            if job.key is not None:
                forget(job, job.key)

    def take_in(self, job: Job, until: float, kind: int, aside: Aside | None) -> None:
        """
        One is in memory from now on.

        @param until: as in L{add}.
        @param kind: as what the store counts it.
        @param aside: in which review it is, if that is its kind.
        """
        plain = kind & ~OWN
        reason = DEAD_REASONS[plain - DEAD_KIND] if plain >= DEAD_KIND else UNKNOWN
        self.add(job, until, plain != NAMED, kind != plain, reason, aside if plain == ASIDE else None)
        for shelf in self._shelves(job.function, kind):
            shelf.mix()
        if job.key is not None:
            self._names.sort(job.function, job.key)
        # Where the store has more than it has counted it is one more.
        if (rows := self._lanes.get(lane_of(job, kind))) is not None:
            self._count_rows(job.function, rows, -1, -job.size)

    def check(self) -> None:
        """
        Is each job where it will be looked for, and counted?

        @raise AssertionError: one is not.
        """
        kept: dict[object, int] = {}
        assert self.rows == sum(rows.count for rows in self._lanes.values())
        for number, job in self.jobs.items():
            assert number == job.number, job
            assert job.ended, job
            assert job.due, job
            kept[job.function] = kept.get(job.function, 0) + 1
        for job in self.jobs.values():
            missing = job.function.kept - kept[job.function]
            assert missing >= 0 if self.rows else not missing, (job.function, missing)
        fresh = self._fresh
        assert len(self._due) + len(fresh) == len(self.jobs), (len(self._due), len(fresh), len(self.jobs))
        for number, job in fresh.items():
            assert self.jobs[number] is job, job
            assert job.state != DEAD, job
            assert self._fresh_due <= job.due, job
        for dead, shelves in ((True, self._dead), (False, self._kept)):
            for function, shelf in shelves.items():
                self._check_shelf(shelf)
                for job in shelf.jobs.values():
                    assert job.function is function, job
                    assert dead == (job.state == DEAD), job
                    assert self.reviews.of(job) is None, job
        if self.own.count:
            self._check_shelf(self.own)
        dead_jobs = [job for job in self.jobs.values() if job.state == DEAD]
        self.groups.check(job for job in dead_jobs if self.reviews.of(job) is None)
        self.reviews.check()
        for function in {job.function for job in dead_jobs}:
            found = sum(job.function is function for job in dead_jobs)
            rows = self.shelf(function, dead=True).rows + self.reviews.rows(function)
            assert self.dead(function) == found + rows, function
        for review in self.reviews.by_name.values():
            for number, job in review.jobs.items():
                assert self.jobs[number] is job, job
                assert job.state == DEAD, job
                assert number not in self.own.jobs, job
        named = sum(job.key is not None for number, job in self.jobs.items() if number not in fresh)
        assert len(self._names) == named, (len(self._names), named)

    def _check_shelf(self, shelf: Shelf) -> None:
        assert shelf.count, shelf
        sizes = sum(job.size for job in shelf.jobs.values()), sum(rows.bytes for rows in shelf.lanes.values())
        assert shelf.bytes == sum(sizes), (shelf.bytes, sizes)
        assert shelf.rows == sum(rows.count for rows in shelf.lanes.values()), shelf.lanes
        for lane, rows in shelf.lanes.items():
            assert self._lanes[lane] is rows, lane
        for number, job in shelf.jobs.items():
            assert self.jobs[number] is job, job

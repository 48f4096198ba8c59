"""
A container of jobs that have ended: by number, by unique, and by function with their bounds, the dead beside
those of which results are kept; the dead by why they are, and those that are set aside. Of those that are not
in memory it is known how many there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

from txgear.broker.ended.deadgroups import DEAD_REASONS, UNKNOWN, DeadGroups
from txgear.broker.ended.results import Results
from txgear.broker.ended.reviews import Reviews
from txgear.broker.ended.shelves import Counted, LaneRows, Shelf
from txgear.broker.model import Run
from txgear.broker.records import ASIDE, KEPT, NAMED, OWN, Lane
from txgear.broker.records import DEAD as DEAD_KIND
from txgear.broker.states import DEAD
from txgear.broker.timerqueue import TimerQueue
from txgear.broker.trimming import trim

if TYPE_CHECKING:
    from txgear.broker.history import Aside
    from txgear.broker.keys import Key
    from txgear.broker.model import Function, Job
    from txgear.broker.tenants import Tenant
    from txgear.broker.uniques import Uniques


_KIND_OF: Final = {reason: DEAD_KIND + index for index, reason in enumerate(DEAD_REASONS)}

MOST_FRESH: Final = 1000
"""Jobs that have just ended and are not put away yet, at the most: that takes half a millisecond."""
FRESH: Final = Run()
"""What each of these has for its run."""


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
        "_going",
        "_kept",
        "_lanes",
        "_uniques",
        "groups",
        "jobs",
        "own",
        "reviews",
        "rows",
    )

    def __init__(self, uniques: Uniques) -> None:
        """
        @param uniques: by which they are found, as those are that have not ended.
        """
        self._uniques = uniques
        self.jobs: dict[int, Job] = {}
        self.rows = 0
        self.own = Shelf()
        self.groups = DeadGroups()
        self.reviews = Reviews()
        # When they are to be forgotten: the results of a function by their runs, others one by one.
        self._due: TimerQueue[Job | Run] = TimerQueue()
        # The run of which some are being forgotten.
        self._going: Run | None = None
        # In the order of their ends those that are in no run yet, and some that have left; none of them is to
        # be forgotten before C{_fresh_due}.
        self._fresh: list[Job] = []
        self._fresh_due = inf
        self._dead: defaultdict[Function, Shelf] = defaultdict(Shelf)
        self._kept: defaultdict[Function, Results] = defaultdict(partial(Results, self._due))
        self._lanes: dict[Lane, LaneRows] = {}

    @property
    def lanes(self) -> Collection[LaneRows]:
        """Those of the store in which there are some that are not in memory."""
        return self._lanes.values()

    def next_due(self) -> float:
        """When the first of those in memory is to be forgotten, or earlier; infinite for never."""
        due = min(self._due.next_due(), self._fresh_due)
        for job in self._going.jobs.values() if self._going is not None else ():
            return min(due, job.due)
        return due

    def pop_due(self, now: float) -> Job | None:
        """
        One whose time has come, which is still here: whoever asks is to L{remove} it.

        @return: C{None} if there is none, or if a great many have to be put in order before; L{next_due}
            is not in the future then.
        """
        if self._fresh_due <= now:
            self.put_away()
        while True:
            run = self._going
            if run is None:
                due = self._due.pop_due(now)
                if not isinstance(due, Run):
                    return due
                run = self._going = due
            for job in run.jobs.values():
                if job.due <= now:
                    return job
                self._due.add(run, job.due)
                break
            self._going = None

    def shelf(self, function: Function) -> Shelf:
        """The dead of a function that are not set aside."""
        return self._dead.get(function) or Shelf()

    def results(self, function: Function) -> Results:
        """The others that are kept of it; those not counted of which only the uniques are."""
        self.put_away()
        return self._kept.get(function) or Results(self._due)

    def counted(self, job: Job) -> Counted | None:
        """Those among which a job counts for the bounds of its function."""
        if job.state != DEAD:
            return None if job.run is None else self.results(job.function)
        shelf = self._dead.get(job.function)
        return shelf if shelf is not None and job.number in shelf.jobs else None

    def dead(self, function: Function) -> int:
        """How many of a function are dead, those that are set aside included."""
        return self.reviews.count(function) + self.shelf(function).count

    def kind_of(self, job: Job) -> int:
        """As what the store counts a job that is here; see L{txgear.broker.records}."""
        if job.state != DEAD:
            kind = NAMED if job.run is None else KEPT
        elif self.reviews.of(job) is not None:
            return ASIDE
        else:
            kind = _KIND_OF[self.groups.reason_of(job)]
        return kind | OWN if job.number in self.own.jobs else kind

    def keep(self, job: Job, until: float) -> None:
        """
        Keep a job that has ended otherwise than dead, as its function's policy says, with its result. It is
        put away when somebody looks, or with many others, which takes less for each; with a store most are
        not here any more by then. By its unique it is found as before.

        @param until: when it is to be forgotten, by the server's time.
        """
        self.jobs[job.number] = job
        job.function.kept += 1
        job.run, job.due = FRESH, until
        if until < self._fresh_due:  # noqa: PLR1730 - min is one call more for each job
            self._fresh_due = until
        fresh = self._fresh
        fresh.append(job)
        if len(fresh) >= MOST_FRESH:
            self.put_away()

    def put_away(self) -> None:
        """Have those that have just ended be found among the others of their functions."""
        if not self._fresh:
            return
        fresh, self._fresh, self._fresh_due = self._fresh, [], inf
        of: dict[Function, list[Job]] = {}
        for job in fresh:
            if job.run is not FRESH:
                continue
            if (several := of.get(job.function)) is None:
                several = of[job.function] = []
            several.append(job)
        for function, jobs in of.items():
            self._kept[function].add(jobs)

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
        job.function.kept += 1
        job.run, job.due = None, until
        if counted and job.state != DEAD:
            self._kept[job.function].add((job,))
        else:
            self._due.add(job, until)
        if aside is not None:
            self.reviews.add(job, aside)
        else:
            self._put_up(job, own, reason)
        if job.key is not None:
            self._uniques.keep(job.key, job)

    def _put_up(self, job: Job, own: bool, reason: str) -> None:
        """On its shelves."""
        kind = _KIND_OF[reason] if job.state == DEAD else NAMED
        for shelf in self._shelves(job.function, kind | OWN if own else kind):
            shelf.add(job)
        if job.state == DEAD:
            shelf = self._dead[job.function]
            shelf.last = max(shelf.last, job.since)

    def _shelves(self, function: Function, kind: int) -> Iterator[Shelf]:
        """The shelves on which jobs of this kind stand; made where there is none."""
        if kind & OWN:
            yield self.own
            kind -= OWN
        if kind >= DEAD_KIND:
            yield self._dead[function]
            yield self.groups.group(function, DEAD_REASONS[kind - DEAD_KIND])

    def _all_counted(self, function: Function, kind: int) -> Iterator[Counted]:
        """The same, and its results, for which there is no shelf."""
        yield from self._shelves(function, kind)
        if kind & ~OWN == KEPT:
            yield self._kept[function]

    def _tidy(self, function: Function, kind: int) -> None:
        """Something of this kind has left: there may be none any more."""
        kind &= ~OWN
        if kind >= DEAD_KIND:
            self.groups.tidy(function, DEAD_REASONS[kind - DEAD_KIND])
            if not self._dead[function].count:
                del self._dead[function]
        elif kind == KEPT and not self._kept[function].count:
            del self._kept[function]

    def set_aside(self, job: Job, aside: Aside) -> None:
        """A dead job is in a review from now on, and in no other."""
        self._take_down(job)
        self.reviews.add(job, aside)

    def give_back(self, job: Job, own: bool, reason: str) -> None:
        """A dead job is in no review any more; for all bounds it is the last one that died."""
        self.reviews.remove(job)
        self._put_up(job, own, reason)

    def _take_down(self, job: Job) -> None:
        """Off all shelves, and out of its review."""
        if self.reviews.remove(job):
            return
        kind = self.kind_of(job)
        for shelf in self._shelves(job.function, kind):
            shelf.remove(job)
        if kind & ~OWN == KEPT:
            self._kept[job.function].remove(job)
        self._tidy(job.function, kind)

    def remove(self, job: Job) -> None:
        """Keep this one no more."""
        self.put_away()
        number, function, key = job.number, job.function, job.key
        del self.jobs[number]
        if job.state != DEAD and job.run is not None and number not in self.own.jobs:
            # As nearly each: it is nowhere else.
            results = self._kept[function]
            results.remove(job)
            if not results.count:
                del self._kept[function]
        else:
            self._take_down(job)
            self._due.discard(job)
        function.kept -= 1
        if key is not None:
            self._uniques.remove(key, job)
        if not self.jobs:
            self.trim()

    def trim(self) -> None:
        """Take no memory for jobs that were there, where few are left: some of the dead stay for days."""
        trim(self.jobs)
        self._uniques.trim()

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
                self._uniques.remove(job.key, job)
            job.key = key
            if key is not None:
                self._uniques.keep(key, job)

    def drop_result(self, job: Job) -> None:
        """Nothing is left of this one but that it has ended, and how; it counts no more for any bounds."""
        self.put_away()
        if job.run is not None:
            until = job.due
            self._kept[job.function].remove(job)
            self._tidy(job.function, KEPT)
            self._due.add(job, until)
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
        for counted in self._all_counted(function, kind):
            counted.count_rows(rows, count, size)
        if not rows.count:
            del self._lanes[rows.lane]

    def let_go(self, jobs: Iterable[Job]) -> None:
        """These are not in memory any more."""
        own, forget = self.own.jobs, self._uniques.remove
        function: Function | None = None
        tenant: Tenant | None = None
        rows: LaneRows | None = None
        for job in jobs:
            number, place = job.number, job.place
            if job.state == DEAD or job.run is None or number in own:
                self.add_rows(job.function, lane_of(job, self.kind_of(job)), 1, job.size, place - 1)
                self.remove(job)
                function = None
                continue
            # As nearly each: it stays among its function's, where it is counted as it was.
            if rows is None or job.function is not function or job.tenant is not tenant:
                function, tenant = job.function, job.tenant
                results = self._kept[function]
                lane = lane_of(job, KEPT)
                rows = self._lanes.get(lane)
                if rows is None:
                    rows = self._lanes[lane] = results.lanes[lane] = LaneRows(lane, place - 1)
            if rows.read_to >= place:
                rows.read_to = place - 1
            rows.count += 1
            rows.bytes += job.size
            results.rows += 1
            if job.run is FRESH:
                job.run, job.due = None, 0.0
            else:
                results.remove(job)
            if job.key is not None:
                forget(job.key, job)
            results.bytes += job.size
            self.rows += 1
            del self.jobs[number]

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
        for counted in self._all_counted(job.function, kind):
            counted.mix()
        if job.key is not None:
            self._uniques.sort(job.function, job.key)
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
        alone = sum(job.state == DEAD or job.run is None for job in self.jobs.values())
        kept_jobs = [job for job in self.jobs.values() if job.state != DEAD and job.run is not None]
        fresh = [job for job in self._fresh if job.run is FRESH]
        assert fresh == [job for job in kept_jobs if job.run is FRESH], fresh
        for job in fresh:
            assert self._fresh_due <= job.due, job
        runs = {job.run for job in kept_jobs} - {FRESH, self._going}
        assert len(self._due) == alone + len(runs), (len(self._due), alone, runs)
        for function, results in self._kept.items():
            results.check_all(function)
            self._check_lanes(results)
        there = sum(results.there for results in self._kept.values())
        assert there == len(kept_jobs) - len(fresh), there
        for function, shelf in self._dead.items():
            self._check_shelf(shelf)
            for job in shelf.jobs.values():
                assert job.function is function, job
                assert job.state == DEAD, job
                assert self.reviews.of(job) is None, job
        if self.own.count:
            self._check_shelf(self.own)
        dead_jobs = [job for job in self.jobs.values() if job.state == DEAD]
        self.groups.check(job for job in dead_jobs if self.reviews.of(job) is None)
        self.reviews.check()
        for function in {job.function for job in dead_jobs}:
            found = sum(job.function is function for job in dead_jobs)
            rows = self.shelf(function).rows + self.reviews.rows(function)
            assert self.dead(function) == found + rows, function
        for review in self.reviews.by_name.values():
            for number, job in review.jobs.items():
                assert self.jobs[number] is job, job
                assert job.state == DEAD, job
                assert number not in self.own.jobs, job
        named = sum(job.key is not None for job in self.jobs.values())
        ended = [job for job in self._uniques if job.ended]
        assert len(ended) == named, (ended, named)

    def _check_shelf(self, shelf: Shelf) -> None:
        shelf.check(shelf.jobs.values())
        self._check_lanes(shelf)
        for number, job in shelf.jobs.items():
            assert self.jobs[number] is job, job

    def _check_lanes(self, counted: Counted) -> None:
        for lane, rows in counted.lanes.items():
            assert self._lanes[lane] is rows, lane

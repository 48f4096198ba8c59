"""
A container of jobs that have ended: by number, by unique, and by function on shelves with their bounds; the
dead by why they are, and those that are set aside.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Final

from txgear.broker.deadgroups import UNKNOWN, DeadGroups
from txgear.broker.reviews import Reviews
from txgear.broker.states import DEAD, DONE
from txgear.broker.timerqueue import TimerQueue
from txgear.broker.uniques import Key, Uniques

if TYPE_CHECKING:
    from txgear.broker.history import Aside
    from txgear.broker.model import Function, Job
    from txgear.policies import Retention


MOST_AT_ONCE: Final = 100
"""Jobs that make room for one at the most: when the bounds were lowered, that takes some ends."""


def _end(job: Job) -> float:
    return job.since


class Shelf:
    """
    What is kept of one function's dead, or of its others.

    @ivar jobs: by number, in the order of their ends.
    @ivar bytes: the sum of their sizes.
    """

    __slots__ = ("bytes", "jobs")

    def __init__(self) -> None:
        # The oldest leave: in a plain dict whoever looks for the first passes over their holes.
        self.jobs: OrderedDict[int, Job] = OrderedDict()
        self.bytes = 0

    def add(self, job: Job) -> None:
        """One more; its size is to stay as it is."""
        self.jobs[job.number] = job
        self.bytes += job.size

    def surplus(self, bounds: Retention) -> list[Job]:
        """The oldest that are too many by these bounds; never the newest, and not very many at once."""
        number, size = len(self.jobs), self.bytes
        found: list[Job] = []
        for job in islice(self.jobs.values(), MOST_AT_ONCE):
            if number <= 1 or not (0 < bounds.jobs < number or 0 < bounds.bytes < size):
                break
            found.append(job)
            number -= 1
            size -= job.size
        return found


class EndedJobs:
    """
    Jobs that have ended, in the order of their ends.

    @ivar jobs: by number.
    @ivar own: those of them that are kept because of settings of their own.
    @ivar due: when they are to be forgotten.
    @ivar groups: the dead that are not set aside, by function and reason.
    @ivar uniques: the job of each function and key that ended last.
    @ivar reviews: the dead that are. They stand on no shelf: no bound of a function's, and no ceiling, counts
        them.
    """

    __slots__ = ("_dead", "_kept", "_older", "due", "groups", "jobs", "own", "reviews", "uniques")

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.own = Shelf()
        self.groups = DeadGroups()
        self.reviews = Reviews()
        self.due: TimerQueue[Job] = TimerQueue()
        self.uniques: Uniques[Job] = Uniques()
        # Where several have one name those that ended before the last one, in that order.
        self._older: dict[tuple[Function, Key], list[Job]] = {}
        self._dead: dict[Function, Shelf] = {}
        self._kept: dict[Function, Shelf] = {}

    def shelf(self, function: Function, dead: bool) -> Shelf:
        """The dead of a function that are not set aside, or the others that are kept of it."""
        return (self._dead if dead else self._kept).get(function) or Shelf()

    def dead(self, function: Function) -> int:
        """How many of a function are dead, those that are set aside included."""
        shelf = self._dead.get(function)
        return self.reviews.count(function) + (0 if shelf is None else len(shelf.jobs))

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
        @param reason: why it is dead, if it is; see L{DeadGroups.add}.
        @param aside: in which review it is, if it is in one.
        """
        number, function = job.number, job.function
        self.jobs[number] = job
        self.due.add(job, until)
        function.kept += 1
        if aside is not None:
            self.reviews.add(job, aside)
        elif own or job.state == DEAD:
            self._put_up(job, counted, own, reason)
        elif counted:
            # As there, which is two calls more for each job that is kept.
            shelf = self._kept.get(function)
            if shelf is None:
                shelf = self._kept[function] = Shelf()
            shelf.jobs[number] = job
            shelf.bytes += job.size
        if (key := job.key) is not None:
            if key in self.uniques.jobs:
                self._give_name(job, key)
            else:
                # As nearly each that has ended.
                self.uniques.jobs[key] = job

    def _put_up(self, job: Job, counted: bool, own: bool, reason: str) -> None:
        """On its shelves."""
        dead = job.state == DEAD
        if counted:
            shelves = self._dead if dead else self._kept
            shelf = shelves.get(job.function)
            if shelf is None:
                shelf = shelves[job.function] = Shelf()
            shelf.add(job)
        if dead:
            self.groups.add(job, reason)
        if own:
            self.own.add(job)

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
        if job.state == DEAD:
            self.groups.remove(job)
        self._take_off(job)
        if self.own.jobs.pop(job.number, None) is not None:
            self.own.bytes -= job.size

    def _give_name(self, job: Job, key: Key) -> None:
        last = self.uniques.find(job.function, key)
        if last is not None:
            self.uniques.remove(key, last)
            self._older.setdefault((job.function, key), []).append(last)
        self.uniques.add(key, job)

    def sort(self) -> None:
        """Put jobs that were not added in the order of their ends into it."""
        for jobs in (
            self.jobs,
            self.own.jobs,
            *(shelf.jobs for shelf in (*self._dead.values(), *self._kept.values())),
        ):
            ordered = sorted(jobs.items(), key=lambda item: item[1].since)
            jobs.clear()
            jobs.update(ordered)
        self.groups.sort()
        for (function, key), older in self._older.items():
            last = self.uniques.find(function, key)
            assert last is not None
            self.uniques.remove(key, last)
            *older[:], last = sorted([*older, last], key=lambda job: job.since)
            self.uniques.add(key, last)

    def surplus(self, job: Job, bounds: Retention) -> list[Job]:
        """The oldest of those beside this one that are too many by these bounds; not the job itself."""
        shelf = (self._dead if job.state == DEAD else self._kept).get(job.function)
        return [] if shelf is None or job.number not in shelf.jobs else shelf.surplus(bounds)

    def beyond(self, ceiling: Retention) -> list[Job]:
        """The oldest of those that are kept by settings of their own, and are too many by this ceiling."""
        return self.own.surplus(ceiling)

    def remove(self, job: Job) -> None:
        """Keep this one no more."""
        del self.jobs[job.number]
        self.due.discard(job)
        self._take_down(job)
        job.function.kept -= 1
        if job.key is not None:
            self._take_name(job, job.key)

    def _take_name(self, job: Job, key: Key) -> None:
        place = job.function, key
        older = self._older.get(place, [])
        if self.uniques.find(*place) is not job:
            older.remove(job)
        else:
            self.uniques.remove(key, job)
            if older:
                self.uniques.add(key, older.pop())
        if not older:
            self._older.pop(place, None)

    def correct(self, job: Job, key: Key | None, size: int) -> None:
        """A dead job has got another workload."""
        growth = size - job.size
        if (review := self.reviews.of(job)) is not None:
            review.count(job.function, 0, growth)
        else:
            for shelf in (self._dead[job.function], self.own):
                if job.number in shelf.jobs:
                    shelf.bytes += growth
        job.size = size
        if key != job.key:
            if job.key is not None:
                self._take_name(job, job.key)
            job.key = key
            if key is not None:
                self._give_name(job, key)

    def drop_result(self, job: Job) -> None:
        """Nothing is left of this one but that it has ended, and how; it counts no more for any bounds."""
        self._take_off(job)
        if job.number in self.own.jobs:
            self.own.bytes -= job.size
        job.size = 0

    def _take_off(self, job: Job) -> None:
        """Off its shelf, if it is there."""
        shelves = self._dead if job.state == DEAD else self._kept
        shelf = shelves.get(job.function)
        if shelf is not None and shelf.jobs.pop(job.number, None) is not None:
            shelf.bytes -= job.size
            if not shelf.jobs:
                del shelves[job.function]

    def find(self, function: Function, key: Key) -> Job | None:
        """The job of this function and key that ended last."""
        return self.uniques.find(function, key)

    def find_done(self, function: Function, key: Key) -> Job | None:
        """The same, of those that were done."""
        last = self.uniques.find(function, key)
        if last is None or last.state == DONE:
            return last
        return next(
            (job for job in reversed(self._older.get((function, key), [])) if job.state == DONE), None
        )

    def newest(self, unique: bytes, wanted: Callable[[Job], bool] | None = None) -> Job | None:
        """
        The one with this unique that ended last, of whatever function.

        @param wanted: whether a job counts; by default each does.
        """
        found = self.uniques.jobs.get(unique)
        if found is None:
            return None
        several = reversed(found) if isinstance(found, list) else (found,)
        return max(several if wanted is None else filter(wanted, several), key=_end, default=None)

    def named(self, unique: bytes) -> list[Job]:
        """All with this unique, of whatever function."""
        return [
            job
            for last in self.uniques.named(unique)
            for job in (last, *self._older.get((last.function, unique), ()))
        ]

    def check(self) -> None:
        """
        Is each job where it will be looked for, and counted?

        @raise AssertionError: one is not.
        """
        kept: dict[object, int] = {}
        for number, job in self.jobs.items():
            assert number == job.number, job
            assert job.ended, job
            assert job.due, job
            kept[job.function] = kept.get(job.function, 0) + 1
        for job in self.jobs.values():
            assert job.function.kept == kept[job.function], (job.function, job.function.kept)
        assert len(self.due) == len(self.jobs), (len(self.due), len(self.jobs))
        for dead, shelves in ((True, self._dead), (False, self._kept)):
            for function, shelf in shelves.items():
                assert shelf.jobs, function
                assert shelf.bytes == sum(job.size for job in shelf.jobs.values()), shelf.jobs
                for number, job in shelf.jobs.items():
                    assert self.jobs[number] is job, job
                    assert job.function is function, job
                    assert dead == (job.state == DEAD), job
                    assert self.reviews.of(job) is None, job
        assert self.own.jobs.keys() <= self.jobs.keys(), self.own.jobs
        assert self.own.bytes == sum(job.size for job in self.own.jobs.values()), self.own.bytes
        dead_jobs = [job for job in self.jobs.values() if job.state == DEAD]
        self.groups.check(job for job in dead_jobs if self.reviews.of(job) is None)
        self.reviews.check()
        for function in {job.function for job in dead_jobs}:
            assert self.dead(function) == sum(job.function is function for job in dead_jobs), function
        for review in self.reviews.by_name.values():
            for number, job in review.jobs.items():
                assert self.jobs[number] is job, job
                assert job.state == DEAD, job
                assert number not in self.own.jobs, job
        older = sum(map(len, self._older.values()))
        named = sum(job.key is not None for job in self.jobs.values())
        assert len(self.uniques) + older == named, (len(self.uniques), older, named)

"""
Jobs by their uniques: those that others may join, and those that have ended and are kept.

One that ends stays where it was found: to be put elsewhere it would take two more looks at memory that is in
no cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.states import DONE
from txgear.broker.trimming import trim

if TYPE_CHECKING:
    from txgear.broker.keys import Key
    from txgear.broker.model import Function, Job

APART: Final[dict[Key, Any]] = dict.fromkeys(range(-5000, 0))
"""
What is no key of any job: more than jobs come in a few turns. A dict that has these as well grows some turns
before one that has the same jobs. They stand for nothing: were they lists, Python's cycle collector would
look at all of that dict.
"""


_number_of = attrgetter("number")
_place_of = attrgetter("place")
_end_of = attrgetter("since", "place")


class Uniques:
    """
    The jobs in memory by their uniques, whatever their function: those that others may join, of which a
    function has one of each key, and those that have ended and are kept, of which it may have several.

    @ivar jobs: by key, one of each function: the one that others may join, or else the one that ended last.
        Nearly every unique belongs to one function, so there is a list only where several share it.
    @ivar older: by function and key all others, which have ended, in the order of their ends.
    """

    __slots__ = ("jobs", "older")

    def __init__(self) -> None:
        self.jobs: dict[Key, Job | list[Job]] = {}
        self.older: dict[tuple[Function, Key], list[Job]] = {}

    def grow_apart(self) -> None:
        """Grow in another turn than the table of the jobs by their numbers, from now on; see L{APART}."""
        if -1 not in self.jobs:
            self.jobs.update(APART)

    def shrink(self) -> None:
        """There is none that others may join: take no memory for those that there were."""
        jobs = self.jobs
        if -1 in jobs:
            for key in APART:
                del jobs[key]
        trim(jobs)

    def trim(self) -> None:
        """Take no memory for those that there were, where few are left."""
        trim(self.jobs)
        trim(self.older)

    def _several(self, key: Key) -> list[Job]:
        """Those in L{jobs}, one of each function."""
        found = self.jobs.get(key)
        if found is None:
            return []
        return found if isinstance(found, list) else [found]

    def _of(self, function: Function, key: Key) -> Job | None:
        """The one of these that is of this function."""
        found = self.jobs.get(key)
        if not isinstance(found, list):
            return found if found is not None and found.function is function else None
        for job in found:
            if job.function is function:
                return job
        return None

    def _put(self, key: Key, job: Job, instead: Job) -> None:
        """Have a job in L{jobs} in place of another of its function."""
        found = self.jobs[key]
        if isinstance(found, list):
            found[found.index(instead)] = job
        else:
            self.jobs[key] = job

    # Those that others may join

    def find(self, function: Function, key: Key) -> Job | None:
        """The job of this function with this key."""
        found = self._of(function, key)
        return None if found is None or found.ended else found

    def named(self, key: Key) -> list[Job]:
        """All with this key, of whatever function."""
        return [job for job in self._several(key) if not job.ended]

    def newest(self, unique: bytes, wanted: Callable[[Job], bool] | None = None) -> Job | None:
        """
        The newest job with this unique, of any function: GET_STATUS_UNIQUE
        names no function.

        @param wanted: whether a job counts; by default each does.
        """
        # They may have come into memory in another order.
        return max(filter(wanted, self.named(unique)), key=_number_of, default=None)

    def add(self, key: Key, job: Job) -> None:
        """From now on others may join this job; L{find} has found none."""
        found = self.jobs.setdefault(key, job)
        if found is job:
            return
        function = job.function
        if (other := self._of(function, key)) is not None:
            self.older.setdefault((function, key), []).append(other)
            self._put(key, job, other)
        elif isinstance(found, list):
            found.append(job)
        else:
            self.jobs[key] = [found, job]

    # Those that have ended

    def find_ended(self, function: Function, key: Key) -> Job | None:
        """The job of this function and key that ended last."""
        return next(self._all_ended(self._of(function, key), key), None)

    def find_done(self, function: Function, key: Key) -> Job | None:
        """The same, of those that were done."""
        ended = self._all_ended(self._of(function, key), key)
        return next((job for job in ended if job.state == DONE), None)

    def _all_ended(self, there: Job | None, key: Key) -> Iterator[Job]:
        """
        All of one function, the last one first.

        @param there: its job in L{jobs}; C{None} where it has none.
        """
        if there is None:
            return
        if there.ended:
            yield there
        yield from reversed(self.older.get((there.function, key), ()))

    def named_ended(self, key: Key) -> list[Job]:
        """All with this key, of whatever function."""
        return [job for there in self._several(key) for job in self._all_ended(there, key)]

    def newest_ended(self, unique: bytes, wanted: Callable[[Job], bool] | None = None) -> Job | None:
        """
        The one with this unique that ended last, of whatever function.

        @param wanted: whether a job counts; by default each does. Of a function only the last one does.
        """
        last = [next(self._all_ended(there, unique), None) for there in self._several(unique)]
        several = filter(wanted, [job for job in last if job is not None])
        return max(several, key=_end_of, default=None)

    def keep(self, key: Key, job: Job) -> None:
        """
        A job has ended, after all others with its key, and is found as one of those. Where others might join
        it, it is here already.
        """
        other = self._of(job.function, key)
        if other is None or (other is not job and other.ended):
            self.add(key, job)
        elif other is not job:
            self.older.setdefault((job.function, key), []).append(job)

    def sort(self, function: Function, key: Key) -> None:
        """One was kept that did not end after all others: of jobs that a store has places say that."""
        older = self.older.get((function, key))
        if older is None:
            return
        there = self._of(function, key)
        assert there is not None
        if there.ended:
            *older[:], last = sorted([*older, there], key=_place_of)
            self._put(key, last, there)
        else:
            older.sort(key=_place_of)

    # Both

    def remove(self, key: Key, job: Job) -> None:
        """A job that is here is not found by this key any more."""
        found = self.jobs[key]
        place = job.function, key
        older = self.older.get(place)
        if older is not None:
            if self._of(*place) is job:
                self._put(key, older.pop(), job)
            else:
                older.remove(job)
            if not older:
                del self.older[place]
        elif found is job:
            # As nearly each.
            del self.jobs[key]
        else:
            assert isinstance(found, list)
            found.remove(job)
            if len(found) == 1:
                self.jobs[key] = found[0]

    def __iter__(self) -> Iterator[Job]:
        """Each job that is here."""
        for key in self.jobs:
            yield from self._several(key)
        for older in self.older.values():
            yield from older

    def check(self) -> None:
        """
        Is each where it is looked for?

        @raise AssertionError: one is not.
        """
        for key in self.jobs:
            for job in self._several(key):
                assert job.key == key, job
                assert self._of(job.function, key) is job, job
        for (function, key), older in self.older.items():
            assert older, (function, key)
            assert self._of(function, key) is not None, (function, key)
            for job in older:
                assert (job.function, job.key, job.ended) == (function, key, True), job

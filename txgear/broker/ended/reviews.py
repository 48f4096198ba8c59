"""
Reviews: dead jobs that somebody has set aside, a bounded number of them under a name, to look at them one by
one. What is done to all others passes over them.

Of a review there is nothing but its jobs: each says which one it is in, and the store keeps that with it.
"""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING, Final

from txgear.errors import InvalidArgument, ServerError

if TYPE_CHECKING:
    from txgear.broker.ended.shelves import LaneRows
    from txgear.broker.history import Aside
    from txgear.broker.model import Function, Job
    from txgear.broker.records import Lane

MOST_REVIEWS: Final = 20
"""Reviews at the same time: together they keep no more jobs from making room than somebody can look at."""
MOST_REVIEWED: Final = 1000
"""Jobs of one review."""

_NAME: Final = re.compile(r"\w[\w.-]{0,63}")


def check_name(name: str) -> None:
    """
    @raise InvalidArgument: a review cannot be called so.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidArgument(
            "The name of a review is 1 to 64 letters, digits, dots, lines and hyphens, and begins with one of"
            " the first two"
        )


class Review:
    """
    One of them.

    @ivar aside: what each of its jobs says.
    @ivar jobs: by number, in the order in which they were set aside.
    @ivar sizes: for each function, how many jobs of it there are, and bytes of their workloads.
    """

    __slots__ = ("aside", "jobs", "sizes")

    def __init__(self, aside: Aside) -> None:
        self.aside = aside
        self.jobs: dict[int, Job] = {}
        self.sizes: dict[Function, tuple[int, int]] = {}

    def count(self, function: Function, jobs: int, size: int) -> None:
        """So many more, or fewer."""
        before, bytes_before = self.sizes.get(function, (0, 0))
        if before + jobs:
            self.sizes[function] = before + jobs, bytes_before + size
        else:
            del self.sizes[function]


class Reviews:
    """
    All of them.

    @ivar by_name: those that there are. One without jobs is none.
    @ivar lanes: while the server starts, in which lanes of the store there are jobs that are set aside and
        not in memory yet, with their functions. Later all are in memory.
    """

    __slots__ = ("_by_number", "_counts", "by_name", "lanes")

    def __init__(self) -> None:
        self.by_name: dict[str, Review] = {}
        self.lanes: dict[Lane, tuple[Function, LaneRows]] = {}
        self._by_number: dict[int, Review] = {}
        self._counts: dict[Function, int] = {}

    def check_room(self, name: str) -> None:
        """
        Somebody is about to set a job aside.

        @raise InvalidArgument: no review can be called so.
        @raise ServerError: there is no room in it, or for another one.
        """
        check_name(name)
        review = self.by_name.get(name)
        if review is None and len(self.by_name) >= MOST_REVIEWS:
            raise ServerError(f"There are {MOST_REVIEWS} reviews: end one", "TOO_MANY_REVIEWS")
        if review is not None and len(review.jobs) >= MOST_REVIEWED:
            raise ServerError(f"The review has {MOST_REVIEWED} jobs", "REVIEW_FULL")

    def free_name(self) -> str:
        """A name that none has: C{review-1}."""
        return next(name for name in map("review-{}".format, count(1)) if name not in self.by_name)

    def add(self, job: Job, aside: Aside) -> None:
        """Set a job aside that is not: in what it says."""
        review = self.by_name.get(aside.review)
        if review is None:
            review = self.by_name[aside.review] = Review(aside)
        review.jobs[job.number] = job
        review.count(job.function, 1, job.size)
        self._by_number[job.number] = review
        self._counts[job.function] = self._counts.get(job.function, 0) + 1

    def remove(self, job: Job) -> bool:
        """
        A job is not set aside any more.

        @return: whether it was.
        """
        review = self._by_number.pop(job.number, None)
        if review is None:
            return False
        del review.jobs[job.number]
        review.count(job.function, -1, -job.size)
        if not review.jobs:
            del self.by_name[review.aside.review]
        self._counts[job.function] -= 1
        if not self._counts[job.function]:
            del self._counts[job.function]
        return True

    def of(self, job: Job) -> Review | None:
        """The review that a job is in."""
        return self._by_number.get(job.number)

    def name_of(self, job: Job) -> str:
        """The name of that; empty for none."""
        review = self._by_number.get(job.number)
        return "" if review is None else review.aside.review

    def count(self, function: Function) -> int:
        """How many jobs of a function are set aside."""
        return self._counts.get(function, 0) + self.rows(function)

    def rows(self, function: Function) -> int:
        """How many of them are not in memory."""
        return sum(rows.count for owner, rows in self.lanes.values() if owner is function)

    def count_rows(self, function: Function, rows: LaneRows) -> None:
        """
        So many of a function's are not in memory.

        @param rows: how many there are in one lane.
        """
        if rows.count:
            self.lanes[rows.lane] = function, rows
        else:
            self.lanes.pop(rows.lane, None)

    def check(self) -> None:
        """
        Is each job in one review, and counted there?

        @raise AssertionError: one is not.
        """
        counts: dict[Function, int] = {}
        for name, review in self.by_name.items():
            assert name == review.aside.review, name
            assert review.jobs, name
            sizes: dict[Function, tuple[int, int]] = {}
            for number, job in review.jobs.items():
                assert number == job.number, job
                assert self._by_number[number] is review, job
                jobs, size = sizes.get(job.function, (0, 0))
                sizes[job.function] = jobs + 1, size + job.size
                counts[job.function] = counts.get(job.function, 0) + 1
            assert review.sizes == sizes, (name, review.sizes, sizes)
        assert self._counts == counts, (self._counts, counts)
        assert len(self._by_number) == sum(counts.values()), self._by_number.keys()

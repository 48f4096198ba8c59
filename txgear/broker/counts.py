"""
What has been counted of one function: its submits, how its jobs ended, and how long they waited and ran.

A count never goes back. Times are counted in histograms: lists of L{BUCKETS} numbers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from typing import Final

from txgear.errors import QueueError, ServerError
from txgear.policies import REASONS

_STEPS: Final = (1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8)

EDGES: Final[tuple[float, ...]] = (
    *(float(f"{step}e{power}") for power in range(-4, 1) for step in _STEPS),
    *(10.0 * step for step in _STEPS[:-2]),
    *(60.0 * step for step in (*_STEPS, *(10 * step for step in _STEPS[:-2]))),
    *(3600.0 * step for step in (*_STEPS, 10, 12, 16, 20)),
    *(86400.0 * step for step in (*_STEPS[:-1], 7)),
)
"""
The upper bounds of the buckets, in seconds, from a tenth of a millisecond to a week. Each is at the most a
third above the one before it.
"""

BUCKETS: Final = len(EDGES) + 1
"""How many there are: the last one is for what took longer than a week."""

SETTLE_FROM: Final = 128
"""
Times that are put into a histogram together: so each costs less than half of what it costs by itself. They
take 4 kB until then.
"""

BOUNDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    *(60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0),
)
"""Those of L{EDGES} that are enough for a program that keeps histograms of its own: see L{cumulative}."""

_ENDS: Final = [EDGES.index(bound) + 1 for bound in BOUNDS]

VALUES: Final[tuple[float, ...]] = (
    EDGES[0],
    *(sqrt(lower * upper) for lower, upper in pairwise(EDGES)),
    EDGES[-1],
)
"""What stands for each bucket, in seconds: within 16 % of all that is in it, but for the two at the ends."""

CANCEL: Final = "cancelled"
"""An operator did not want the job any more."""
ABANDONED: Final = "abandoned"
"""Nobody was left who waited for it."""
TOO_LATE: Final = "expired"
"""No worker had it in time."""
NOT_STORED: Final = "not_stored"
"""The store did not take it. Its submit is counted as refused, too."""
UNREADABLE: Final = "unreadable"
"""The store has lost its workload."""

FAILURES: Final = (*REASONS, CANCEL, ABANDONED, TOO_LATE, NOT_STORED, UNREADABLE)
"""Why jobs end without a result: how their last attempt ended, or what came before it did."""


def word_of(error: ServerError) -> str:
    """What a refusal is counted under: why, where that is known, or the error's code."""
    return (isinstance(error, QueueError) and error.why) or error.code.lower()


def bucket(seconds: float) -> int:
    """Which bucket a time is counted in; one below 0.0 in the first."""
    return bisect_left(EDGES, seconds)


def count_all(histogram: list[int], times: list[float]) -> float:
    """
    Count all these times, in whatever order they are; the list is empty after that.

    @return: their sum.
    """
    # Nearly all fall into a few buckets.
    times.sort()
    total = sum(times)
    start, end = 0, len(times)
    while start < end:
        index = bisect_left(EDGES, times[start])
        following = bisect_right(times, EDGES[index], start) if index < len(EDGES) else end
        histogram[index] += following - start
        start = following
    times.clear()
    return total


def cumulative(histogram: Sequence[int]) -> list[int]:
    """How many times are at the most as long as each of L{BOUNDS}; and how many there are."""
    found: list[int] = []
    total = start = 0
    for end in _ENDS:
        total += sum(histogram[start:end])
        found.append(total)
        start = end
    found.append(total + sum(histogram[start:]))
    return found


def quantile_buckets(histogram: Sequence[int], *shares: float) -> list[int | None]:
    """
    In which buckets the quantiles of a histogram are; their times are L{VALUES}.

    @param shares: 0.5 for the median, and so on; each at least as large as the one before it.
    @return: a bucket for each; C{None} where nothing has been counted.
    """
    total = sum(histogram)
    if not total:
        return [None] * len(shares)
    found: list[int | None] = []
    index, passed = 0, histogram[0]
    for share in shares:
        while passed < share * total:
            index += 1
            passed += histogram[index]
        found.append(index)
    return found


def quantiles(histogram: Sequence[int], *shares: float) -> list[float | None]:
    """The quantiles of a histogram, in seconds: see L{quantile_buckets}."""
    return [None if index is None else VALUES[index] for index in quantile_buckets(histogram, *shares)]


class Counts:
    """
    What has been counted of one function since the server started, and of all others that have no counts of
    their own.

    @ivar submitted: jobs that were taken.
    @ivar joined: submits that were answered with a job that was there.
    @ivar elsewhere: jobs that were taken, and found to be the same as those of other servers.
    @ivar refused: submits that were answered with an error, by its L{word_of}.
    @ivar refused_at: when the last one of each was, by the server's time.
    @ivar restored: jobs that were found in the store.
    @ivar requeued: dead jobs that an operator has had done again.
    @ivar completed: jobs that ended with a result.
    @ivar failed: jobs that ended without one, by the reason: see L{FAILURES}.
    @ivar retried: attempts that ended without a result and are followed by another.
    @ivar new_waits: how long jobs were ready before a worker had them, in seconds, as far as that is not in
        L{waits} yet.
    @ivar new_runs: how long workers had them, in seconds, as far as that is not in L{runs} yet. Whoever adds
        the L{SETTLE_FROM}th has to L{settle}; until then there are no more new waits than that, and one for
        each job that runs.
    @ivar worker_left: when the last of its workers went, by the server's time; 0.0 for never.
    @ivar ended: when its last job ended, by the server's time; 0.0 for never.
    """

    __slots__ = (
        "_ran",
        "_runs",
        "_waited",
        "_waits",
        "completed",
        "elsewhere",
        "ended",
        "failed",
        "joined",
        "new_runs",
        "new_waits",
        "refused",
        "refused_at",
        "requeued",
        "restored",
        "retried",
        "submitted",
        "worker_left",
    )

    def __init__(self) -> None:
        self.submitted = 0
        self.joined = 0
        self.elsewhere = 0
        self.refused: dict[str, int] = {}
        self.refused_at: dict[str, float] = {}
        self.restored = 0
        self.requeued = 0
        self.completed = 0
        self.failed: dict[str, int] = {}
        self.retried = 0
        self.new_waits: list[float] = []
        self.new_runs: list[float] = []
        self._waits = [0] * BUCKETS
        self._runs = [0] * BUCKETS
        self._waited = 0.0
        self._ran = 0.0
        self.worker_left = 0.0
        self.ended = 0.0

    def settle(self) -> None:
        """Put the new times into the histograms."""
        self._waited += count_all(self._waits, self.new_waits)
        self._ran += count_all(self._runs, self.new_runs)

    @property
    def waits(self) -> list[int]:
        """
        A histogram: how long jobs were ready before a worker had them. A job that is tried again is counted
        again.
        """
        self.settle()
        return self._waits

    @property
    def runs(self) -> list[int]:
        """A histogram: how long workers had them, whatever came of it."""
        self.settle()
        return self._runs

    @property
    def waited(self) -> float:
        """The sum of all L{waits}, in seconds."""
        self.settle()
        return self._waited

    @property
    def ran(self) -> float:
        """The sum of all L{runs}, in seconds."""
        self.settle()
        return self._ran

    @property
    def failures(self) -> int:
        """Jobs that ended without a result."""
        return sum(self.failed.values())

    @property
    def live(self) -> int:
        """Jobs that have been counted and have not ended."""
        taken = self.submitted + self.restored + self.requeued - self.elsewhere
        return taken - self.completed - self.failures

    def fail(self, reason: str, now: float) -> None:
        """A job has ended without a result."""
        self.ended = now
        self.failed[reason] = self.failed.get(reason, 0) + 1

    def refuse(self, word: str, now: float) -> None:
        """A submit was answered with an error; see L{word_of}."""
        self.refused_at[word] = now
        self.refused[word] = self.refused.get(word, 0) + 1

    def add(self, other: Counts) -> None:
        """Count all that another has counted."""
        self.submitted += other.submitted
        self.joined += other.joined
        self.elsewhere += other.elsewhere
        self.restored += other.restored
        self.requeued += other.requeued
        self.completed += other.completed
        self.retried += other.retried
        for word, number in other.refused.items():
            self.refused[word] = self.refused.get(word, 0) + number
            self.refused_at[word] = max(self.refused_at.get(word, 0.0), other.refused_at[word])
        for reason, number in other.failed.items():
            self.failed[reason] = self.failed.get(reason, 0) + number
        # In place: whoever adds up many of them needs no new list for each.
        self.waits[:] = map(int.__add__, self.waits, other.waits)
        self.runs[:] = map(int.__add__, self.runs, other.runs)
        self._waited += other.waited
        self._ran += other.ran
        self.worker_left = max(self.worker_left, other.worker_left)
        self.ended = max(self.ended, other.ended)

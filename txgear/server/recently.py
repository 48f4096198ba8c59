"""
What functions have done of late: how many of their jobs came and ended in a second, and how long these waited
and ran.

Nothing is counted for that which is not counted anyway: the counts are looked at twice a minute, in pieces,
and what has come since is what they are now without what they were then. So it is there from the first
second on, whether or not anybody has asked before.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import sub
from typing import Any, Final, NamedTuple

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator, SchedulerStopped
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.broker.counts import Counts, quantiles
from txgear.broker.statistics import Statistics
from txgear.journal.timer import Timer

LOOK_SECONDS: Final = 30.0
"""Seconds between two looks at the counts. What is told is of the last one to two of them."""
KNOWN_SECONDS: Final = 5.0
"""Seconds for which quantiles are told again: to find them out takes 20 microseconds for each function."""


class Rates(NamedTuple):
    """
    Of the jobs of a function, how many a second.

    @ivar submitted: were taken.
    @ivar completed: ended with a result.
    @ivar failed: ended without one.
    """

    submitted: float
    completed: float
    failed: float


class Times(NamedTuple):
    """
    Within how many seconds half of the jobs of a function, and 95 of a hundred, had a worker or had been
    done by it; C{None} where there was none.
    """

    wait_p50: float | None
    wait_p95: float | None
    run_p50: float | None
    run_p95: float | None


class _Mark(NamedTuple):
    """What had been counted at some time. The numbers are those of L{Rates}."""

    counts: Counts
    numbers: tuple[int, int, int]
    waits: list[int]
    runs: list[int]


def _numbers(counts: Counts) -> tuple[int, int, int]:
    return counts.submitted, counts.completed, counts.failures


class Recently:
    """
    Of all functions that are counted by themselves.

    @ivar began: when the time began that it is about, by the clock: less than two L{LOOK_SECONDS} ago.
    """

    log = Logger()

    def __init__(self, statistics: Statistics, clock: IReactorTime, cooperator: Cooperator) -> None:
        self._statistics = statistics
        self._clock = clock
        self._cooperator = cooperator
        self._timer = Timer(clock, self._time_has_come)
        self._marks: dict[bytes, _Mark] = {}
        self._later: dict[bytes, _Mark] = {}
        self._known: dict[bytes, tuple[Counts, float, Times]] = {}
        self.began = self._began_later = clock.seconds()

    def start(self) -> None:
        """Nothing has been counted yet: look from now on."""
        self.began = self._began_later = self._clock.seconds()
        self._timer.start(LOOK_SECONDS)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _time_has_come(self) -> None:
        self._timer.start(LOOK_SECONDS)
        done: Any = self._cooperator.cooperate(self._look(self._clock.seconds())).whenDone()
        done.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(SchedulerStopped):
            self.log.failure("what functions have done of late is not known", failure)

    def _look(self, now: float) -> Iterator[None]:
        found: dict[bytes, _Mark] = {}
        last = self._later
        for name, counts in list(self._statistics.by_name.items()):
            mark = last.get(name)
            now_counted = _Mark(counts, _numbers(counts), counts.waits, counts.runs)
            # Of functions of which no job came or ended nothing new is kept.
            if mark is None or mark.counts is not counts or mark[1:] != now_counted[1:]:
                mark = now_counted._replace(waits=counts.waits[:], runs=counts.runs[:])
            found[name] = mark
            yield
        self._marks, self._later = last, found
        self.began, self._began_later = self._began_later, now
        self._known.clear()

    # Reading

    @property
    def seconds(self) -> float:
        """How long the time is that it is about; more than 0.0."""
        return max(self._clock.seconds() - self.began, 0.001)

    def _mark(self, name: bytes, counts: Counts) -> _Mark | None:
        mark = self._marks.get(name)
        return mark if mark is not None and mark.counts is counts else None

    def rates(self, name: bytes, counts: Counts) -> Rates:
        """
        How many jobs of a function came and ended in a second.

        @param counts: what its jobs are counted in, and those of no other.
        """
        mark = self._mark(name, counts)
        seconds = self.seconds
        submitted, completed, failed = (0, 0, 0) if mark is None else mark.numbers
        return Rates(
            (counts.submitted - submitted) / seconds,
            (counts.completed - completed) / seconds,
            (counts.failures - failed) / seconds,
        )

    def times(self, name: bytes, counts: Counts) -> Times:
        """
        How long jobs of a function waited and ran; it is some seconds old.

        @param counts: as with L{rates}.
        """
        now = self._clock.seconds()
        known = self._known.get(name)
        if known is not None and known[0] is counts and now - known[1] < KNOWN_SECONDS:
            return known[2]
        mark = self._mark(name, counts)
        waits, runs = counts.waits, counts.runs
        if mark is not None:
            waits = [] if waits == mark.waits else list(map(sub, waits, mark.waits))
            runs = [] if runs == mark.runs else list(map(sub, runs, mark.runs))
        wait = quantiles(waits, 0.5, 0.95)
        run = quantiles(runs, 0.5, 0.95)
        found = Times(wait[0], wait[1], run[0], run[1])
        self._known[name] = counts, now, found
        return found

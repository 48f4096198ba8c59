"""
The jobs of one function of which results are kept, in the order of their ends.

They lie in runs, each of which is to be forgotten in the order in which its jobs have ended. So to keep a
result is to put it behind the last one, and only the first of each run waits for its time. Each job knows its
run, and can be taken out of it at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Final

from txgear.broker.ended.shelves import Counted
from txgear.broker.model import Run

if TYPE_CHECKING:
    from txgear.broker.model import Function, Job
    from txgear.broker.timerqueue import TimerQueue

RUN: Final = 500
"""
Jobs of one run: whoever looks for its first one passes over the holes of those that have left it, and that
is a microsecond at the most.
"""


class Results(Counted):
    """
    @ivar there: how many are in memory.
    """

    __slots__ = ("_due", "_mixed", "_runs", "there")

    def __init__(self, due: TimerQueue[Job | Run]) -> None:
        """
        @param due: has each run that is not empty.
        """
        super().__init__()
        self._due = due
        self._runs: deque[Run] = deque()
        self._mixed = False
        self.there = 0

    @property
    def count(self) -> int:
        return self.there + self.rows

    def add(self, jobs: Collection[Job]) -> None:
        """
        Some more, which have just ended, one after the other; their sizes are to stay as they are, and their
        C{due} says when they are to be forgotten.
        """
        runs = self._runs
        run = runs[-1] if runs else None
        size = 0
        for job in jobs:
            until = job.due
            if run is None or until < run.last or len(run.jobs) >= RUN:
                run = Run()
                runs.append(run)
                self._due.add(run, until)
            run.jobs[job.number] = job
            run.last = until
            job.run = run
            size += job.size
        self.there += len(jobs)
        self.bytes += size

    def remove(self, job: Job) -> None:
        """One less, which is here and in memory: it waits for no time any more."""
        run = job.run
        assert run is not None
        del run.jobs[job.number]
        job.run, job.due = None, 0.0
        self.there -= 1
        self.bytes -= job.size
        if not run.jobs:
            self._runs.remove(run)
            self._due.discard(run)

    def mix(self) -> None:
        self._mixed = True

    def in_order(self) -> Iterator[Job]:
        if self._mixed:
            self._sort()
            self._mixed = False
        return chain.from_iterable(run.jobs.values() for run in self._runs)

    def _sort(self) -> None:
        """Of jobs that a store has places say in which order they have ended."""
        jobs = sorted((job for run in self._runs for job in run.jobs.values()), key=lambda job: job.place)
        for run in self._runs:
            # Nobody is to find anything in it who is just at it.
            run.jobs.clear()
            self._due.discard(run)
        self._runs.clear()
        counted, self.there = self.bytes, 0
        self.add(jobs)
        self.bytes = counted

    def check_all(self, function: Function) -> None:
        """
        Is each that is here counted, in its run, and one of this function's?

        @raise AssertionError: one is not.
        """
        jobs = [job for run in self._runs for job in run.jobs.values()]
        self.check(jobs)
        assert self.there == len(jobs), (self.there, jobs)
        for run in self._runs:
            times = [job.due for job in run.jobs.values()]
            assert times, run
            assert times == sorted(times), times
            assert run.due <= times[0], (run.due, times)
            assert times[-1] <= run.last, (times, run.last)
            for number, job in run.jobs.items():
                assert (job.number, job.run, job.function) == (number, run, function), job

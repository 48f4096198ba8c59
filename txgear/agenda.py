"""
What is to happen to jobs at a time: the earliest is known at once, and the
others cost nothing until then.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from txgear.jobs import Job

SLACK: Final = 64
"""Stale entries that are never worth a clean-up."""


class Agenda:
    """
    Jobs by their C{due}. An entry whose job has another C{due} by now is stale;
    it is passed over when its turn comes, or swept out when half are stale, so
    that jobs with long timeouts that end early leave nothing behind.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Job]] = []
        self._counter = 0
        self._live = 0

    def __len__(self) -> int:
        return self._live

    def add(self, job: Job, due: float) -> None:
        """Note that something is to happen to this job at C{due}, in seconds since the epoch."""
        job.due = due
        self._counter += 1
        self._live += 1
        heappush(self._entries, (due, self._counter, job))

    def discard(self, job: Job) -> None:
        """Nothing is to happen to this job any more."""
        if job.due:
            job.due = 0.0
            self._live -= 1
            if len(self._entries) > 2 * self._live + SLACK:
                self._entries = [entry for entry in self._entries if entry[2].due == entry[0]]
                heapify(self._entries)

    def next_due(self) -> float:
        """When the earliest is due; infinite for never."""
        entries = self._entries
        while entries:
            due, _, job = entries[0]
            if job.due == due:
                return due
            heappop(entries)
        return inf

    def pop_due(self, now: float) -> Job | None:
        """The earliest job, off the agenda, if its time has come."""
        if self.next_due() > now:
            return None
        job = heappop(self._entries)[2]
        job.due = 0.0
        self._live -= 1
        return job

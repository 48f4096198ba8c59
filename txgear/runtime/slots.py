"""
The jobs that a child does, written where the supervisor can see them.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Final

from twisted.python.failure import Failure

from txgear.runtime.status import StatusPage
from txgear.worker import WorkerJob

NO_PLACE: Final = -1
"""What a job has that found none free on the page."""
MORE_SLOTS: Final = 16
"""Places beside those of C{concurrency}: functions in threads that are given up run on for a while."""


def page_slots(concurrency: int) -> int:
    """How many jobs have a place on the page of a child."""
    return concurrency + MORE_SLOTS


class JobSlots:
    """
    Writes on the child's page which jobs run. Functions may run in threads, so all may be called there, but
    for L{turn}.

    @ivar ended: how many jobs have ended.
    """

    def __init__(self, page: StatusPage, now: Callable[[], float] = monotonic) -> None:
        self._page = page
        self._free = page.places()[::-1]
        self._places: dict[WorkerJob, int] = {}
        self._lock = Lock()
        self._now = now
        self.ended = 0
        self._idle_since = now()
        self._ended_before = 0

    def begin(self, job: WorkerJob) -> None:
        """Part of L{txgear.runtime.hooks.JobHooks}: the function of a job is called."""
        try:
            place = self._free.pop()
        except IndexError:
            place = NO_PLACE
        else:
            self._page.begin(place, self._now(), job.handle, job.attempt, job.function)
        self._places[job] = place

    def end(self, job: WorkerJob) -> None:
        """Part of L{txgear.runtime.hooks.JobHooks}: it has returned or raised."""
        place = self._places.pop(job)
        if place != NO_PLACE:
            self._page.end(place)
            self._free.append(place)
        with self._lock:
            self.ended += 1

    def failure(self, job: WorkerJob, failure: Failure) -> None:
        """Part of L{txgear.runtime.hooks.JobHooks}."""
        self.end(job)

    def turn(self, in_reach: bool) -> None:
        """
        The event loop turns; called from time to time: since when there is no job is no better known.

        @param in_reach: whether a server is there that can give it jobs.
        """
        now = self._now()
        if self.ended != self._ended_before:
            self._ended_before, self._idle_since = self.ended, now
        self._page.turn(now, self._ended_before, 0.0 if self._places else self._idle_since, in_reach)

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

NO_SLOT: Final = -1
"""What a job has that found no free place on the page."""
MORE_SLOTS: Final = 16
"""Places beside those of C{concurrency}: functions in threads that are given up run on for a while."""


def page_slots(concurrency: int) -> int:
    """How many jobs have a place on the page of a child."""
    return concurrency + MORE_SLOTS


class JobSlots:
    """
    Writes on the child's page which jobs run. Functions may run in threads, so all may be called there.

    @ivar begun: how many jobs have begun.
    @ivar ended: how many have ended.
    @ivar idle_since: since when there has been none; 0.0 while there is one.
    """

    def __init__(
        self,
        page: StatusPage,
        slots: int,
        now: Callable[[], float] = monotonic,
    ) -> None:
        """
        @param slots: how many places the page has.
        """
        self._page = page
        self._slots: dict[WorkerJob, int] = {}
        self._free = list(range(slots - 1, -1, -1))
        self._lock = Lock()
        self._now = now
        self.begun = 0
        self.ended = 0
        self.idle_since = now()

    def begin(self, job: WorkerJob) -> None:
        """Part of L{txgear.runtime.hooks.JobHooks}: the function of a job is called."""
        now = self._now()
        with self._lock:
            self.begun += 1
            self.idle_since = 0.0
            self._slots[job] = slot = self._free.pop() if self._free else NO_SLOT
        if slot != NO_SLOT:
            self._page.begin(slot, now, job.handle, job.attempt, job.function)

    def end(self, job: WorkerJob) -> None:
        """Part of L{txgear.runtime.hooks.JobHooks}: it has returned or raised."""
        with self._lock:
            slot = self._slots.pop(job)
            self.ended += 1
            if slot != NO_SLOT:
                self._page.end(slot)
                self._free.append(slot)
            if not self._slots:
                self.idle_since = self._now()

    def failure(self, job: WorkerJob, failure: Failure) -> None:
        """Part of L{txgear.runtime.hooks.JobHooks}."""
        self.end(job)

    def turn(self) -> None:
        """The event loop turns; called from time to time."""
        self._page.turn(self._now(), self.begun, self.ended, self.idle_since)

"""
What a job carries, or has brought, as far as a page has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from twisted.internet.defer import Deferred

from txgear.broker.ended.archive import history_of
from txgear.broker.states import DEAD, DONE
from txgear.web.answers import Problem
from txgear.web.pages.payloads import head

if TYPE_CHECKING:
    from txgear.broker.model import Job
    from txgear.web.pages.pages import Pages

PATIENCE: Final = 1.0
"""Seconds for which a page waits for the store, before it says that it does."""
AGAIN_SECONDS: Final = 5.0
"""Seconds until it is read again that could not be read."""

State = Literal["known", "reading", "unreadable", "none", "gone", "hidden"]


class Content:
    """
    A workload or a result: its beginning.

    @ivar state: C{known}; C{reading}, while the store is asked; C{unreadable}; or C{none}, where there is
        none yet, or none any more.
    @ivar head: its first bytes.
    @ivar size: how many it has.
    @ivar data_size: of a result, how many of these its worker sent before the last of it.
    @ivar version: changes with it.
    """

    def __init__(self, pages: Pages, job: Job, *, of_result: bool) -> None:
        self._server = pages.server
        self._payloads = pages.web.payloads
        self._job = job
        self._of_result = of_result
        self.state: State = "none"
        self.head = b""
        self.size = self.data_size = self.version = 0
        self._of: Any = None
        self._seen = 0
        self._again = 0.0

    @property
    def is_download(self) -> bool:
        """Whether all of it can be fetched."""
        return self.state == "known" and (not self._of_result or self._job.state == DONE)

    def look(self) -> Deferred[None] | None:
        """
        See whether it has changed.

        @return: fires when it has been read, or has been waited for long enough; C{None} where nothing has to
            be read.
        """
        job = self._job
        if not self._of_result and job.workload and not (job.ended and job.state != DEAD):
            # What lies in the store comes into memory and goes again, and is the same.
            if self._seen != id(job.workload):
                self._seen = id(job.workload)
                fresh = head(job.workload)
                if (self.state, self.size, self.head) != ("known", job.size, fresh):
                    self._take(fresh, job.size)
                    self._of = self._wanted()
            return None
        of = self._wanted()
        if of == self._of and not (self.state == "unreadable" and self._server.seconds() >= self._again):
            return None
        self._of, self._seen = of, 0
        if of is None:
            self.version += 1
            self.state, self.head, self.size = "none", b"", 0
            return None
        return self._read()

    def _wanted(self) -> Any:
        """What tells the content of now from any other; C{None} where there is none."""
        job = self._job
        over = job.ended and job.state != DEAD
        if self._of_result:
            if not over:
                return None
            history = history_of(job)
            self.data_size = history.data_size
            return (job.state, job.since, job.size) if history.complete else None
        return None if over else job.size

    def _take(self, found: bytes, size: int) -> None:
        self.version += 1
        self.state, self.head, self.size = "known", found, size

    def _read(self) -> Deferred[None] | None:
        job, of = self._job, self._of
        try:
            release = self._payloads.hold(job.size)
        except Problem:
            self._fail()
            return None
        self.version += 1
        self.state = "reading"
        done: Deferred[None] = Deferred()

        def stop_waiting() -> None:
            if not done.called:
                done.callback(None)

        def come(found: bytes | None) -> None:
            release()
            if of == self._of and self.state == "reading":
                if found is None:
                    self._fail()
                else:
                    self._take(head(found), len(found))
            stop_waiting()

        self._server.broker.archive.read(job, come)
        # Nobody else has the journal look at what is wanted: a look is no turn of any peer.
        self._server.end_turn()
        if done.called:
            return None
        timer = self._server.clock.callLater(PATIENCE, stop_waiting)

        def waited(nothing: None) -> None:
            if timer.active():
                timer.cancel()

        return done.addCallback(waited)

    def _fail(self) -> None:
        self.version += 1
        self.state = "unreadable"
        self._again = self._server.seconds() + AGAIN_SECONDS

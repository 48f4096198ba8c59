"""
C{/reviews/<name>}: dead jobs that are set aside, to be looked at one by one.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from twisted.internet.defer import Deferred

from txgear.broker.model import Peer
from txgear.broker.operators import deadlists
from txgear.broker.rights import FORGET, MOVE, READ, REQUEUE, knows
from txgear.protocol.textlines import text, unescaped
from txgear.web.answers import Problem
from txgear.web.api.models import After
from txgear.web.pages import bulk, dead
from txgear.web.pages.bulk import PUT_BACK
from txgear.web.pages.dead import DeadJobs
from txgear.web.pages.formats import part_of_path
from txgear.web.pages.forms import Form
from txgear.web.pages.pages import Done, Pages, act, page
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.broker.model import Job
    from txgear.server.turns import Steps
    from txgear.web.request import WebRequest

PATH: Final = "/reviews"
BEGINNING: Final = 200
"""Bytes of a workload that are shown in its row; the page of its job has more of it."""
MOST_READ: Final = 64 * 1024
"""Bytes of a workload that is read for that: of what is larger the row says how large it is."""
PATIENCE: Final = 1.0
"""Seconds for which a page waits for the store; what is read later comes into it later."""

AGAIN_SECONDS: Final = 5.0
"""Seconds until one is read again that could not be read."""


class ReviewQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What the address says.

    @ivar after: the number behind which the page begins.
    """

    after: After = 0


def _path(name: str, after: int = 0) -> str:
    path = f"{PATH}/{part_of_path(name)}"
    return f"{path}?after={after}" if after else path


def _unknown() -> Problem:
    return Problem(404, "unknown_review", "There is no such review, or none of its jobs is left in it")


class ReviewView(DeadJobs):
    """One review."""

    template = "review.html"
    acts = (REQUEUE, MOVE, PUT_BACK, FORGET)

    def __init__(self, pages: Pages, peer: Peer, request: WebRequest, name: str) -> None:
        query = request.query(ReviewQuery)
        self._name = name
        super().__init__(pages, peer, f"Review {name}", {"review": name.encode("utf-8")}, query.after)
        self._payloads = pages.web.payloads
        # By number, of those that have been read, or are being: with the size that they had.
        self._beginnings: dict[int, tuple[int, str | None]] = {}
        self._failed: dict[int, float] = {}
        self._reading = 0
        self._waiting: Deferred[None] | None = None
        self._facts()

    def _facts(self) -> dict[str, Any]:
        """
        @raise Problem: there is no such review, or it has no job of which the peer may know.
        """
        known = self.broker.archive.ended.reviews.by_name.get(self._name)
        found = None if known is None else deadlists.review(self.broker, self.peer, known)
        if found is None:
            raise _unknown()
        return found

    def address(self, after: int | None = None) -> str:
        """Part of L{JobList<txgear.web.pages.joblist.JobList>}."""
        return _path(self._name, after or 0)

    def context(self) -> dict[str, Any]:
        """Part of L{View}."""
        return {"name": self._name, "action": self.address(self.search.after)}

    def look(self) -> Steps:
        """Part of L{View}."""
        review = self._facts()
        self.put("head", tuple(review.values()), "head", partial(dict, review=review))
        yield from self.look_at_jobs(review["jobs"])
        yield from self._read_some()
        self.arrange("rows", [self.put_row(row, self._beginning(row)) for row in self.rows])
        self.put_rest()

    # Workloads

    def _job(self, row: dict[str, Any]) -> Job | None:
        number = int(row["handle"].rpartition(":")[2])
        return self.broker.archive.jobs.get(number)

    def _beginning(self, row: dict[str, Any]) -> dict[str, Any]:
        """
        @return: C{beginning}, or C{None} where it is not known; and C{why} not.
        """
        function = unescaped(row["function"].encode("utf-8"))
        if not self.may(READ, function):
            return {"beginning": None, "why": "hidden"}
        if row["size"] > MOST_READ:
            return {"beginning": None, "why": "large"}
        found = self._beginnings.get(int(row["handle"].rpartition(":")[2]))
        if found is None or found[1] is None:
            return {"beginning": None, "why": "unread"}
        return {"beginning": found[1], "why": None}

    def _read_some(self) -> Steps:
        """Read the workloads of the page's jobs that are not known, all at once, and wait for them."""
        shown = {job.number: job for row in self.rows if (job := self._job(row)) is not None}
        for number in self._beginnings.keys() - shown.keys():
            del self._beginnings[number]
        for number in self._failed.keys() - shown.keys():
            del self._failed[number]
        for job in shown.values():
            known = self._beginnings.get(job.number)
            wanted = known is None or known[0] != job.size
            if self.server.seconds() < self._failed.get(job.number, 0.0) or job.size > MOST_READ:
                wanted = False
            if wanted and self.may(READ, job.function.name):
                self._read(job)
        if self._reading:
            # Only at the end of a turn the store is asked.
            self.server.end_turn()
        if self._reading:
            waiting = self._waiting = Deferred()
            timer = self.server.clock.callLater(PATIENCE, self._stop_waiting)
            yield waiting
            if timer.active():
                timer.cancel()

    def _stop_waiting(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def _read(self, job: Job) -> None:
        number, size = job.number, job.size
        try:
            release = self._payloads.hold(size)
        except Problem:
            return
        self._beginnings[number] = size, None
        self._reading += 1

        def come(found: bytes | None) -> None:
            release()
            self._reading -= 1
            if self._beginnings.get(number) == (size, None):
                if found is None:
                    del self._beginnings[number]
                    self._failed[number] = self.server.seconds() + AGAIN_SECONDS
                else:
                    self._beginnings[number] = size, text(found[:BEGINNING])
            if not self._reading:
                self._stop_waiting()

        self.server.read(job, come)


class Reviews:
    """What is done with the jobs of a review."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._reviews = pages.server.broker.archive.ended.reviews

    def act(self, request: WebRequest, form: Form, name: str) -> Any:
        """Do something to jobs of the page."""
        known = self._reviews.by_name.get(name)
        if known is None or not any(knows(request.peer, function) for function in known.sizes):
            raise _unknown()
        back = _path(name, request.query(ReviewQuery).after)
        done = bulk.act(self._pages, request, form, "dead", {"review": name.encode("utf-8")}, back)

        def led(done: Any) -> Any:
            if isinstance(done, Done) and done.to == back and name not in self._reviews.by_name:
                return Done(f"{done.text}; the review has no jobs any more", dead.PATH)
            return done

        return done.addCallback(led) if isinstance(done, Deferred) else led(done)


def routes(pages: Pages) -> list[Route]:
    """Part of the dashboard."""
    return [
        page(f"{PATH}/<name>", pages.page(ReviewView)),
        act(f"{PATH}/<name>", pages.act(Reviews(pages).act)),
    ]

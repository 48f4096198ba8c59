"""
C{/jobs}: jobs that have not ended, or those that are kept, by what one looks for.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import Struct

from txgear.broker.model import Peer
from txgear.broker.operators import inspection
from txgear.broker.operators.inspection import moment
from txgear.broker.operators.search import Search
from txgear.broker.rights import CANCEL, FORGET, MOVE, PRIORITISE
from txgear.errors import InvalidArgument
from txgear.server import clusterstate
from txgear.server.turns import Steps
from txgear.web.answers import Answer
from txgear.web.api.models import After
from txgear.web.loading import when_loaded
from txgear.web.pages import bulk, filters
from txgear.web.pages.formats import job_path
from txgear.web.pages.forms import Form
from txgear.web.pages.joblist import JobList
from txgear.web.pages.pages import Pages, act, page
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

PATH: Final = "/jobs"
COUNTED: Final = 1000
"""Functions whose counts are looked at in one piece of work: a millisecond."""

_ACTS: Final = {"jobs": (MOVE, PRIORITISE, CANCEL), "kept": (FORGET,)}
"""
What can be done to the jobs of each list. The last ones cannot be undone: the key Enter stands for the first.
"""
_LABELS: Final = {
    "function": ("Function", "mail.*", 16),
    "state": ("State", "", 0),
    "older": ("Older than", "2h", 6),
    "worker": ("Worker", "part of its name", 16),
    "unique": ("Unique", "the whole of it", 16),
    "text": ("Text", "in unique or workload", 18),
}
"""The fields of the form: what each is called, what may stand there, and how wide it is."""


class JobsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What the address says.

    @ivar of: which list.
    @ivar after: the number behind which the page begins.
    @ivar q: a filter that is one line, or a handle; it leads to the address that says the same.
    """

    of: Literal["jobs", "kept"] = "jobs"
    function: str | None = None
    state: str | None = None
    older: str | None = None
    worker: str | None = None
    unique: str | None = None
    text: str | None = None
    after: After = 0
    q: str | None = None

    def words(self) -> dict[str, bytes]:
        """The filter."""
        return filters.of_values((name, getattr(self, name) or "") for name in _LABELS)

    def is_plain(self) -> bool:
        """Whether it says nothing that could be left out; a form sends all of its fields."""
        return self.q is None and "" not in [getattr(self, name) for name in _LABELS]

    def address(self, after: int | None = None, of: str | None = None) -> str:
        """
        The address of a page of this list, or of the other one with what it can be asked for.

        @param after: behind which number it begins.
        @param of: which list.
        """
        of = of or self.of
        words = {name: value for name, value in self.words().items() if name in filters.known(of)}
        return _address(words, of, after)


def _address(words: dict[str, bytes], of: str, after: int | None = None) -> str:
    return filters.address(PATH, words, of=None if of == "jobs" else of, after=after or None)


class JobsView(JobList):
    """
    A page of jobs.
    """

    template = "jobs.html"
    place = PATH
    rest = "end"

    def __init__(self, pages: Pages, peer: Peer, request: WebRequest) -> None:
        self._query = query = request.query(JobsQuery)
        super().__init__(pages, peer, "Jobs", query.of, query.words(), query.after)
        self.acts = _ACTS[query.of]
        known = filters.known(query.of)
        self._line = filters.line(self.words)
        if query.q is not None:
            self._line = query.q
            self.wrong["q"] = _why(query.q, query.of)
        elif beside := [why for name, why in self.wrong.items() if name not in known]:
            self.wrong["q"] = "; ".join(beside)

    def address(self, after: int | None = None) -> str:
        """Part of L{JobList}."""
        return self._query.address(after)

    def context(self) -> dict[str, Any]:
        """Part of L{View}."""
        query, known = self._query, filters.known(self._query.of)
        return {
            "of": query.of,
            "line": self._line,
            "wrong": self.wrong,
            "fields": filters.fields(
                {name: label for name, label in _LABELS.items() if name in known}, query, self.wrong
            ),
            "states": filters.state_choices(query.state or ""),
            "tabs": {of: query.address(of=of) for of in _ACTS},
            "action": query.address(query.after),
            "others": clusterstate.not_listed(self.server, self.peer),
        }

    # Looking

    def look(self) -> Steps:
        """Part of L{View}."""
        yield from self.look_at_jobs((yield from self._count()) if self.takes_long else None)
        make = self._put_live if self._query.of == "jobs" else self._put_kept
        wall = self.server.wall_clock()
        self.arrange("rows", [make(row, wall) for row in self.rows])
        self.put_rest()

    def _count(self) -> Generator[None, None, int]:
        """What changes when a job of these functions begins, ends or comes: a hash of their counts."""
        wanted = self.search.functions(self.peer)
        found = 0
        for passed, function in enumerate(list(self.broker.functions.by_name.values()), 1):
            if wanted(function):
                lanes, counts = function.lanes, function.counts
                figures = (
                    lanes.ready,
                    lanes.paged,
                    function.running,
                    function.waiting,
                    function.kept,
                    counts.submitted,
                    counts.requeued,
                    counts.completed,
                    counts.retried,
                    counts.failures,
                )
                found = hash((found, function.name, figures))
            if passed % COUNTED == 0:
                yield
        return found

    def _put_live(self, row: dict[str, Any], wall: float) -> str:
        facts = row["state"], row["priority"], row["attempts"], row["worker"], row["function"]
        return self._put_row(row, facts, "live_row", {}, wall)

    def _put_kept(self, row: dict[str, Any], wall: float) -> str:
        facts = row["outcome"], row["size"], row["function"]
        return self._put_row(row, facts, "kept_row", {"until": moment(wall + row["left"])}, wall)

    def _put_row(
        self, row: dict[str, Any], facts: tuple[Any, ...], macro: str, more: dict[str, Any], wall: float
    ) -> str:
        part = self.part_of(row)
        since = None if row["age"] is None else moment(wall - row["age"])
        self.put(part, facts, macro, lambda: {"row": row, "since": since, **more})
        return part


def _why(line: str, of: str) -> str:
    """Why a line is no filter of a list."""
    try:
        words = filters.of_line(line)
    except InvalidArgument as error:
        if "=" not in line:
            return "There is no job with this handle. A search is written as in function=mail.* state=queued"
        return error.text
    known = filters.known(of)
    unknown = ", ".join(name for name in words if name not in known)
    return f"{unknown} cannot be looked for here; there are {', '.join(known)}"


class Jobs:
    """The endpoints."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._show = pages.page(JobsView)

    def listed(self, request: WebRequest) -> Any:
        """The page; or where to find what was typed."""
        query = request.query(JobsQuery)
        if query.is_plain():
            return self._show(request)
        handles = (query.q.strip().encode("utf-8"),) if query.q else ()
        return when_loaded(request, handles, partial(self._lead, request, query))

    def _lead(self, request: WebRequest, query: JobsQuery) -> Any:
        to = self._meant(request, query)
        return self._show(request) if to is None else Answer(None, 303, {"Location": to})

    def _meant(self, request: WebRequest, query: JobsQuery) -> str | None:
        """
        @return: the address that says the same as simply as can be; C{None} where it makes no sense.
        """
        if query.q is None:
            return query.address(query.after)
        line = query.q.strip()
        if line and " " not in line:
            job = inspection.find(self._pages.server.broker, request.peer, line.encode("utf-8"))
            if job is not None:
                return job_path(job.handle)
        try:
            words = filters.of_line(line)
        except InvalidArgument:
            return None
        known = filters.known(query.of)
        return _address(words, query.of) if all(name in known for name in words) else None

    def act(self, request: WebRequest, form: Form) -> Any:
        """Do something to jobs of the page."""
        query = request.query(JobsQuery)
        words, known = query.words(), filters.known(query.of)
        Search.parse(words, known)
        return bulk.act(self._pages, request, form, query.of, words, query.address(query.after))


def routes(pages: Pages) -> list[Route]:
    """Part of the dashboard."""
    jobs = Jobs(pages)
    return [page(PATH, jobs.listed), act(PATH, pages.act(jobs.act))]

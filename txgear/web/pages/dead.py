"""
C{/dead}: how many jobs have died of what, in which reviews some are set aside, and the dead by what one looks
for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from twisted.internet.defer import Deferred

from txgear.broker.ended.deadgroups import DEAD_REASONS
from txgear.broker.ended.shelves import Shelf
from txgear.broker.model import Function, Peer
from txgear.broker.operators import deadlists
from txgear.broker.operators.search import Search
from txgear.broker.rights import FORGET, MOVE, REQUEUE, REVIEW
from txgear.server import clusterstate
from txgear.server.turns import Steps
from txgear.web.answers import Answer
from txgear.web.api.models import After
from txgear.web.loading import when_made
from txgear.web.pages import bulk, filters
from txgear.web.pages.board import part_id
from txgear.web.pages.bulk import Wish
from txgear.web.pages.formats import only
from txgear.web.pages.forms import Form
from txgear.web.pages.joblist import JobList
from txgear.web.pages.pages import Pages, act, page
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

PATH: Final = "/dead"
MOST_GROUPS: Final = 50
"""Groups that are shown, those with the most jobs; a filter finds the others."""
AT_ONCE: Final = 500
"""Groups that are looked at in one piece of work: a millisecond or less."""

ACTS: Final = (REQUEUE, MOVE, REVIEW, FORGET)
"""What can be done to the dead. The last one cannot be undone."""
_OF_GROUPS: Final = (REQUEUE, REVIEW, FORGET)

WORDS: Final = {
    "fail": "its worker said that it failed",
    "exception": "its worker raised an exception",
    "timeout": "it took too long",
    "silent": "its worker fell silent",
    "lost": "its worker was lost",
    "unknown": "it is not known why",
}
"""What the reasons mean."""

_LABELS: Final = {
    "function": ("Function", "mail.*", 16),
    "reason": ("Reason", "", 0),
    "unique": ("Unique", "the whole of it", 16),
    "text": ("Text", "in unique, workload or last words", 26),
    "review": ("Review", "its name", 12),
}
"""The fields of the form: what each is called, what may stand there, and how wide it is."""


class DeadQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What the address says.

    @ivar after: the number behind which the page begins.
    """

    function: str | None = None
    reason: str | None = None
    unique: str | None = None
    text: str | None = None
    review: str | None = None
    after: After = 0

    def words(self) -> dict[str, bytes]:
        """The filter."""
        return filters.of_values((name, getattr(self, name) or "") for name in _LABELS)

    def is_plain(self) -> bool:
        """Whether it says nothing that could be left out; a form sends all of its fields."""
        return "" not in [getattr(self, name) for name in _LABELS]

    def address(self, after: int | None = None) -> str:
        """
        The address of a page of this list.

        @param after: behind which number it begins.
        """
        return filters.address(PATH, self.words(), after=after or None)


class DeadJobs(JobList):
    """
    A page of dead jobs, with what can be done to them. Subclasses say which.
    """

    place = PATH
    rest = "rest"
    acts = ACTS

    def __init__(self, pages: Pages, peer: Peer, title: str, words: dict[str, bytes], after: int) -> None:
        super().__init__(pages, peer, title, "dead", words, after)

    def put_row(self, row: dict[str, Any], more: dict[str, Any]) -> str:
        """
        @param more: what is shown besides.
        @return: the part's id.
        """
        part = self.part_of(row)
        names = ("function", "died", "attempts", "reason", "text", "size", "unique")
        facts = (*(row[name] for name in names), *more.values())
        self.put(part, facts, "dead_row", partial(dict, row=row, **more))
        return part


def _stamp(function: Function, group: Shelf) -> object:
    """Changes when another job of a group is its first or its last one, or there are more or fewer."""
    ends = None if group.rows else deadlists.ends(group)
    numbers = ends and [job.number for job in ends]
    counts = function.counts
    return group.count, counts.failures, counts.requeued, numbers


class DeadView(DeadJobs):
    """The whole dead set."""

    template = "dead.html"

    def __init__(self, pages: Pages, peer: Peer, request: WebRequest) -> None:
        self._query = query = request.query(DeadQuery)
        # Of groups that are shown: when that was looked at, what is told of them, and when the first and the
        # last died.
        self._groups: dict[tuple[Function, str], tuple[object, dict[str, Any], tuple[float, float]]] = {}
        super().__init__(pages, peer, "Dead set", query.words(), query.after)

    def address(self, after: int | None = None) -> str:
        """Part of L{JobList}."""
        return self._query.address(after)

    def context(self) -> dict[str, Any]:
        """Part of L{View}."""
        query = self._query
        reason = query.reason or ""
        return {
            "fields": filters.fields(_LABELS, query, self.wrong),
            "reasons": [*DEAD_REASONS, *([reason] if reason and reason not in DEAD_REASONS else [])],
            "filtered": bool(self.words),
            "action": self.address(query.after),
            "others": clusterstate.not_listed(self.server, self.peer),
        }

    def look(self) -> Steps:
        """Part of L{View}."""
        stamp = yield from self._look_at_groups()
        self._look_at_reviews()
        yield from self.look_at_jobs(stamp)
        self.arrange("rows", [self.put_row(row, {}) for row in self.rows])
        self.put_rest()

    def _look_at_groups(self) -> Generator[Deferred[None] | None, None, object]:
        """
        Show the groups that the filter is for.

        @return: what changes when any of them does.
        """
        there, search = self.broker.archive.ended.groups, self.search
        wanted = search.functions(self.peer)
        found: list[tuple[int, bytes, str, Function]] = []
        total, seen = 0, AT_ONCE
        for function in list(there.functions):
            if not wanted(function):
                continue
            for reason, jobs in there.of(function).items():
                if not search.reason or reason in search.reason:
                    total += jobs.count
                    found.append((-jobs.count, function.name, reason, function))
            if len(found) >= seen:
                seen += AT_ONCE
                yield None
        chosen = [each[2:] for each in nsmallest(MOST_GROUPS, found)]
        yield from self._read_groups(chosen)
        ids = [
            self._put_group(function, reason) for reason, function in chosen if reason in there.of(function)
        ]
        self.arrange("groups", ids)
        left = len(found) - len(ids)
        self.put(
            "sum",
            (total, len(found), left),
            "sum",
            partial(dict, jobs=total, groups=len(found), left=left, filtered=bool(self.words)),
        )
        return self._stamp_of(found)

    def _stamp_of(self, found: list[tuple[int, bytes, str, Function]]) -> object:
        reviews = self.broker.archive.ended.reviews.by_name
        sizes = {name: len(review.jobs) for name, review in reviews.items()}
        return [
            (count, name, reason, function.counts.requeued) for count, name, reason, function in found
        ], sizes

    def _read_groups(self, chosen: list[tuple[str, Function]]) -> Steps:
        """Read what is told of groups, where it is not known and not in memory."""
        there = self.broker.archive.ended.groups
        wanted: list[tuple[str, Function, Shelf]] = []
        for reason, function in chosen:
            group = there.of(function).get(reason)
            known = self._groups.get((function, reason))
            if group is not None and (known is None or known[0] != _stamp(function, group)):
                wanted.append((reason, function, group))
        current = {(function, reason) for reason, function in chosen}
        self._groups = {key: known for key, known in self._groups.items() if key in current}
        if not wanted:
            return

        def look(answered: bool) -> None:
            for reason, function, group in wanted:
                row = deadlists.group(self.broker, self.peer, function, reason, group)
                ends = deadlists.ends(group)
                since = (0.0, 0.0) if ends is None else (ends[0].since, ends[1].since)
                # What was not answered is asked for again.
                stamp = _stamp(function, group) if answered else None
                self._groups[function, reason] = stamp, row, since

        def load(then: Callable[[bool], None]) -> None:
            def read(answered: bool) -> None:
                look(answered)
                then(answered)

            groups = [group for _, _, group in wanted]
            deadlists.load_ends(self.broker, groups, read, self.server.seconds())

        made = when_made(self.server, load)
        if not made.called:
            yield made.addCallback(lambda answered: None)

    def _put_group(self, function: Function, reason: str) -> str:
        _, row, since = self._groups[function, reason]
        part = part_id("group", b"%s\0%s" % (function.name, reason.encode("ascii")))
        # No pattern is for an empty name alone: what is for all that match would be done to all there are.
        acts = tuple(act for act in _OF_GROUPS if function.name and self.may(act, function.name))
        now = self.server.seconds()
        self.put(
            part,
            (row["jobs"], row["handle"], since, acts),
            "group_row",
            lambda: {
                "group": row,
                "ages": [now - moment for moment in since],
                "why": WORDS[reason],
                "wishes": [Wish(act) for act in acts],
                "path": f"{PATH}?function={only(function.name)}&reason={reason}",
            },
        )
        return part

    def _look_at_reviews(self) -> None:
        ids = []
        for review in deadlists.reviews(self.broker, self.peer):
            part = part_id("review", review["name"].encode("utf-8"))
            self.put(part, tuple(review.values()), "review_row", partial(dict, review=review))
            ids.append(part)
        self.arrange("reviews", ids)


class Dead:
    """The endpoints."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._show = pages.page(DeadView)

    def listed(self, request: WebRequest) -> Any:
        """The page; or where it is found by the shortest address."""
        query = request.query(DeadQuery)
        return self._show(request) if query.is_plain() else Answer(None, 303, {"Location": query.address()})

    def act(self, request: WebRequest, form: Form) -> Any:
        """Do something to jobs of the page."""
        query = request.query(DeadQuery)
        words = query.words()
        Search.parse(words, filters.known("dead"))
        return bulk.act(self._pages, request, form, "dead", words, query.address(query.after))


def routes(pages: Pages) -> list[Route]:
    """Part of the dashboard."""
    dead = Dead(pages)
    return [page(PATH, dead.listed), act(PATH, pages.act(dead.act))]

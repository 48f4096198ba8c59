"""
The dead as a whole: how many have died of what, and C{/api/v1/reviews}, in which some are set aside to be
looked at one by one.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

from msgspec import UNSET, Meta, Struct, UnsetType, field
from twisted.internet.defer import Deferred

from txgear.broker.ended.reviews import MOST_REVIEWED
from txgear.broker.operators import deadlists
from txgear.broker.operators.search import DEFAULT_ROWS
from txgear.broker.rights import REVIEW
from txgear.errors import ServerError
from txgear.server import tasks
from txgear.web.answers import Answer
from txgear.web.api.jobacts import ReviewName
from txgear.web.api.models import (
    ROOT,
    DeadFilter,
    DeadReason,
    Limit,
    Moment,
    Place,
    Reasons,
    Word,
    search_of,
    words_of,
)
from txgear.web.api.tasks import Task, begun
from txgear.web.loading import not_read, when_made
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web

Most = Annotated[int, Meta(ge=1, le=MOST_REVIEWED)]


class GroupPage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Which groups are wanted.

    @ivar function: a pattern for the names of their functions, as the shell has them: C{*}, C{?}, C{[abc]}.
    @ivar reason: how the last attempts ended: one or more, with commas between.
    @ivar behind: the C{next} of the page before.
    @ivar limit: how many. A function stands on one page with all its groups, be they a few more.
    """

    function: Word | UnsetType = UNSET
    reason: Reasons | UnsetType = UNSET
    behind: Place | UnsetType = field(default=UNSET, name="after")
    limit: Limit = DEFAULT_ROWS


class Group(Struct, frozen=True, kw_only=True):
    """
    Dead jobs of one function whose last attempts ended in one way; those that are set aside are none of them.

    @ivar function: its name.
    @ivar reason: how they ended; C{unknown} where that is not known.
    @ivar jobs: how many there are.
    @ivar oldest: when the first of them died, and
    @ivar newest: when the last of them did.
    @ivar handle: the handle of the last one.
    @ivar text: what its worker said; C{null} for nothing, or if you may not read it.
    """

    function: str
    reason: DeadReason
    jobs: int
    oldest: Moment | None
    newest: Moment | None
    handle: str
    text: str | None


class Groups(Struct, frozen=True, kw_only=True):
    """
    A page of groups.

    @ivar groups: by the names of their functions, byte by byte.
    @ivar next: what is C{after} of the next page; C{null} if this is the last.
    """

    groups: list[Group]
    next: str | None


class ReviewLinks(Struct, frozen=True, kw_only=True):
    """
    Paths of what belongs to a review.

    @ivar this: the review.
    @ivar jobs: its jobs.
    """

    this: str = field(name="self")
    jobs: str


class Review(Struct, frozen=True, kw_only=True):
    """
    Dead jobs that are set aside.

    @ivar name: what it is called.
    @ivar jobs: how many it has of which you may know.
    @ivar bytes: of the workloads of these.
    @ivar since: when it was begun.
    @ivar by: who did that; C{null} where that is not known, or you may not know it.
    @ivar links: where to find more.
    """

    name: str
    jobs: int
    bytes: int
    since: Moment | None
    by: str | None
    links: ReviewLinks


class ReviewList(Struct, frozen=True, kw_only=True):
    """All of which you may know any job, by their names."""

    reviews: list[Review]


class NewReview(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What is to be set aside.

    @ivar name: the name of the review: letters, digits, C{.}, C{_} and C{-}. To one that there is more are
        added.
    @ivar filter: which dead jobs.
    @ivar most: how many of them at the most, those that died first.
    @ivar preview: whether they are only counted.
    """

    name: ReviewName
    filter: DeadFilter
    most: Most = MOST_REVIEWED
    preview: bool = False


class DeadSet:
    """The endpoints."""

    def __init__(self, web: Web) -> None:
        self._server = web.server
        self._broker = web.server.broker

    def groups(self, request: WebRequest) -> Deferred[Answer]:
        """How many have died of what."""
        search = search_of(request.query(GroupPage))

        def answer(page: dict[str, Any] | None) -> Answer:
            if page is None:
                raise not_read()
            return Answer(page)

        find = partial(deadlists.find, self._broker, request.peer, search, request.now)
        return when_made(self._server, find).addCallback(answer)

    def begin(self, request: WebRequest) -> Answer:
        """Set some aside."""
        wanted: NewReview = request.body(NewReview)
        task = tasks.start(
            self._server,
            request.peer,
            REVIEW,
            "dead",
            words_of(wanted.filter),
            preview=wanted.preview,
            review=wanted.name,
            most=wanted.most,
        )
        return begun(self._server, task)

    def reviews(self, request: WebRequest) -> Answer:
        """All of them."""
        return Answer(
            {"reviews": [_linked(found) for found in deadlists.reviews(self._broker, request.peer)]}
        )

    def review(self, request: WebRequest, name: str) -> Answer:
        """One of them."""
        return Answer(_linked(self._found(request, name)))

    def _found(self, request: WebRequest, name: str) -> dict[str, object]:
        """
        @raise ServerError: there is none, or the peer may know of none of its jobs.
        """
        known = self._broker.archive.ended.reviews.by_name.get(name)
        found = None if known is None else deadlists.review(self._broker, request.peer, known)
        if found is None:
            raise ServerError("There is no such review", "UNKNOWN_REVIEW")
        return found

    def end(self, request: WebRequest, name: str) -> Answer:
        """Put its jobs back."""
        self._found(request, name)
        words = {"review": name.encode("utf-8")}
        return begun(self._server, tasks.start(self._server, request.peer, REVIEW, "dead", words))


def _linked(found: dict[str, object]) -> dict[str, object]:
    # Its name has no character that would have to be quoted but letters of all alphabets.
    name = quote(str(found["name"]))
    return {**found, "links": {"self": f"{ROOT}/reviews/{name}", "jobs": f"{ROOT}/dead?review={name}"}}


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    of = DeadSet(web)
    return [
        Route("GET", f"{ROOT}/dead/groups", of.groups, _GROUPS),
        Route("POST", f"{ROOT}/reviews", of.begin, _BEGIN),
        Route("GET", f"{ROOT}/reviews", of.reviews, _REVIEWS),
        Route("GET", f"{ROOT}/reviews/<name>", of.review, _REVIEW),
        Route("DELETE", f"{ROOT}/reviews/<name>", of.end, _END),
    ]


_TASK_LINKS = {name: {"number": "$response.body#/id"} for name in ("get_task", "stop_task")}

_GROUPS = Operation(
    "list_dead_groups",
    "How many jobs have died of what",
    "jobs",
    "By function, and by how the last attempt ended. They are counted as they die: it costs the same however"
    " many there are.",
    query=GroupPage,
    answers={200: Groups},
    links={"get_job": {"handle": "$response.body#/groups/0/handle"}},
)
_BEGIN = Operation(
    "begin_review",
    "Set dead jobs aside in a review",
    "reviews",
    "A [task](tasks.md) does it. What is done to all dead jobs that match a filter passes over them, and"
    " others are forgotten in their place where a function keeps so many.",
    body=NewReview,
    answers={202: Task},
    problems=(400, 401, 403, 409, 413, 415, 422, 503),
    links=_TASK_LINKS,
)
_REVIEWS = Operation(
    "list_reviews",
    "All reviews",
    "reviews",
    answers={200: ReviewList},
    problems=(401, 403),
    links={"get_review": {"name": "$response.body#/reviews/0/name"}},
)
_REVIEW = Operation(
    "get_review",
    "A review",
    "reviews",
    "Its jobs are those of `/api/v1/dead?review=NAME`.",
    answers={200: Review},
    problems=(401, 403, 404),
)
_END = Operation(
    "end_review",
    "Put the jobs of a review back",
    "reviews",
    "A [task](tasks.md) does it. They are dead as all others then.",
    answers={202: Task},
    problems=(401, 403, 404, 503),
    links=_TASK_LINKS,
)

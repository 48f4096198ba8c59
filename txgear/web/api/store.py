"""
The store: how it does, and how durable it is.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from txgear.broker.rights import METRICS, check
from txgear.server import storestate
from txgear.web.answers import Answer
from txgear.web.api.models import ROOT, Moment
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web

StoreCondition = Literal["memory", "ok", "reopening", "away", "ending"]


class Distribution(Struct, frozen=True, kw_only=True):
    """
    How large measured values were.

    @ivar count: how many there are.
    @ivar mean: their mean; C{null} where there are none.
    @ivar p50: what half of them do not exceed.
    @ivar p95: what 95 of 100 do not exceed.
    @ivar p99: what 99 of 100 do not exceed.
    """

    count: int
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None


class Report(Struct, frozen=True, kw_only=True):
    """
    What a store has said of itself.

    @ivar database: what it is made of, with the version.
    @ivar schema: the revision of its tables.
    @ivar settings: those of the database that decide what outlives a crash, by its own names for them.
    @ivar doubts: why what was answered could be lost all the same; empty where it is durable.
    @ivar size: bytes of the database; C{null} if that is not known.
    @ivar log_size: bytes of the log that is to become part of it; C{null} if that is not known.
    @ivar promise: on how many machines it is at present, in words: a Galera cluster, a primary with its
        standbys; empty for one machine alone.
    @ivar asked: when that was.
    """

    database: str
    schema: str
    settings: dict[str, str]
    doubts: list[str]
    size: int | None
    log_size: int | None
    promise: str
    asked: Moment | None


class StoreState(Struct, frozen=True, kw_only=True):
    """
    Where background jobs are kept, and how that does. What only a store has is C{null} without one.

    @ivar name: what it is and where, without a password; without the right C{settings} its kind only.
    @ivar state: how it is: C{memory} where there is none, C{reopening} where it was lost a moment ago.
    @ivar why: why it is away; C{null} otherwise.
    @ivar since: since when it is away.
    @ivar jobs: those that have not ended, in memory or there.
    @ivar ended: those that have, and are still known.
    @ivar loaded: how many of all these are in memory. The others are in the store only, until their turn
        comes or somebody asks for them.
    @ivar queue_bytes: bytes that jobs that have not ended take in memory, with their workloads.
    @ivar queue_memory: how many they may.
    @ivar losses: how often it was away since the server started.
    @ivar pending_changes: new jobs and changes on their way to it.
    @ivar pending_bytes: bytes of these.
    @ivar refused_jobs: jobs that it did not take.
    @ivar refused_results: results that it did not take.
    @ivar commits: seconds of commits, since the server started.
    @ivar lately: the same of the last five to ten minutes.
    @ivar rows: changes in a commit.
    @ivar report: what it has said of itself; C{null} where that is not known.
    """

    name: str
    state: StoreCondition
    why: str | None
    since: Moment | None
    jobs: int
    ended: int
    loaded: int
    queue_bytes: int | None
    queue_memory: int
    losses: int | None
    pending_changes: int | None
    pending_bytes: int | None
    refused_jobs: int | None
    refused_results: int | None
    commits: Distribution | None
    lately: Distribution | None
    rows: Distribution | None
    report: Report | None


class StoreRoutes:
    """What is answered."""

    def __init__(self, web: Web) -> None:
        self._server = web.server

    def store(self, request: WebRequest) -> Answer:
        """How it does."""
        check(request.peer, METRICS)
        return Answer(storestate.store(self._server, request.peer))


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    operation = Operation(
        "get_store",
        "The store",
        "server",
        "How it does, how much is on its way to it, and what it says of itself: the database is asked how"
        " durable it is when it is opened, and each minute. Takes the right `metrics`.",
        answers={200: StoreState},
        problems=(403,),
    )
    return [Route("GET", f"{ROOT}/store", StoreRoutes(web).store, operation)]

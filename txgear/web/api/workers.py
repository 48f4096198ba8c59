"""
Workers, and whoever else is connected.
"""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from txgear.broker import workers
from txgear.broker.connections import connections
from txgear.broker.search import DEFAULT_ROWS
from txgear.web.answers import Answer, Problem
from txgear.web.api.models import ROOT, After, Limit, Moment, Word, search_of
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web

Condition = Literal["paused", "asleep", "woken", "busy", "unread", "late", "silent", "awake"]
"""How a worker is; see L{txgear.broker.workforce.CONDITIONS}."""


Kind = Literal["gearman", "http", "web", "other"]
"""What a connection speaks: Gearman's protocol, jobs over HTTP, the web, or that of a plugin."""


class WorkerSearch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Which workers are wanted: all of it holds for each.

    @ivar function: a pattern for the name of one of their functions, as the shell has them: C{*}, C{?},
        C{[abc]}.
    @ivar worker: a part of what they call themselves, or of the address of one that has no name.
    @ivar after: the C{next} of the page before.
    @ivar limit: how many at the most.
    """

    function: Word | UnsetType = UNSET
    worker: Word | UnsetType = UNSET
    after: After = 0
    limit: Limit = DEFAULT_ROWS


class WorkerPage(WorkerSearch, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A page of workers.

    @ivar condition: how they are.
    """

    condition: Condition | UnsetType = UNSET


class ConnectionPage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Which connections are wanted: all of it holds for each.

    @ivar worker: a part of what they call themselves, or of the address of one that has no name.
    @ivar quickack: whether they are acknowledged at once.
    @ivar kind: what they speak.
    @ivar after: the C{next} of the page before.
    @ivar limit: how many at the most.
    """

    worker: Word | UnsetType = UNSET
    quickack: bool | UnsetType = UNSET
    kind: Kind | UnsetType = UNSET
    after: After = 0
    limit: Limit = DEFAULT_ROWS


class JobInHand(Struct, frozen=True, kw_only=True):
    """
    A job that a worker has.

    @ivar handle: its handle.
    @ivar function: its function.
    @ivar began: when the worker got it.
    @ivar seconds: how long ago that is.
    """

    handle: str
    function: str
    began: Moment
    seconds: float


class Who(Struct, frozen=True, kw_only=True):
    """
    Which connection it is.

    @ivar descriptor: its number; another connection may have it later.
    @ivar address: where it comes from.
    @ivar client_id: what it calls itself; C{null} for nothing.
    @ivar identity: who it is; C{null} for nobody.
    @ivar encrypted: whether it has TLS.
    @ivar heard: how many seconds ago the last bytes came from it; C{null} where the system does not tell.
    @ivar functions: how many functions it can do, of those that one may see.
    @ivar names: the first of them.
    """

    descriptor: int
    address: str
    client_id: str | None
    identity: str | None
    encrypted: bool
    heard: float | None
    functions: int
    names: list[str]


class Worker(Who, frozen=True, kw_only=True):
    """
    A connection that can do something.

    @ivar condition: how it is. C{paused}: it takes no job for now, as somebody told it; C{asleep}: it waits to be woken; C{woken}: it was, a moment ago; C{late}: it
        was, and has not asked; C{busy}: it has a job, and did not ask for another; C{awake}: it has asked for
        one not long ago; C{silent}: it has none, and has not asked for a minute; C{unread}: the server reads
        nothing of it, as the store is behind.
    @ivar asleep: whether it waits to be woken.
    @ivar silent: whether it has no job, does not sleep, and has not asked for a minute.
    @ivar jobs: how many jobs it has, of those that one may see.
    @ivar in_hand: the first of them.
    @ivar enrolled: when it said first that it can do anything.
    @ivar asked: when it last asked for a job, or said that it sleeps; C{null} for never.
    @ivar idle: for how many seconds it has neither had a job nor asked for one; C{null} if it has one, or
        sleeps.
    """

    condition: Condition
    asleep: bool
    silent: bool
    jobs: int
    in_hand: list[JobInHand]
    enrolled: Moment
    asked: Moment | None
    idle: float | None


class Workers(Struct, frozen=True, kw_only=True):
    """
    A page of workers.

    @ivar workers: by their numbers, those that one may know of; ten functions and ten jobs of each are shown.
    @ivar next: what is C{after} of the next page; C{null} if this is the last.
    """

    workers: list[Worker]
    next: int | None


class Connection(Who, frozen=True, kw_only=True):
    """
    A connection, whatever it speaks.

    @ivar kind: what it speaks: C{gearman}, C{http} (jobs over HTTP), C{web}, or C{other}.
    @ivar round_trip: seconds to it and back; C{null} where the system does not tell.
    @ivar quickack: whether it is acknowledged at once.
    @ivar quickacks: how often it was.
    """

    kind: Kind
    round_trip: float | None
    quickack: bool
    quickacks: int


class ConnectionTotal(Struct, frozen=True, kw_only=True):
    """
    Of all of them.

    @ivar connections: how many there are.
    @ivar quickack: how many are acknowledged at once now.
    @ivar quickacks: how often that was done since the server started.
    """

    connections: int
    quickack: int
    quickacks: int


class Connections(Struct, frozen=True, kw_only=True):
    """
    A page of connections.

    @ivar connections: by their numbers, those that one may know of.
    @ivar next: what is C{after} of the next page; C{null} if this is the last.
    @ivar total: of all that one may know of.
    """

    connections: list[Connection]
    next: int | None
    total: ConnectionTotal


class WorkerRoutes:
    """What is answered."""

    def __init__(self, web: Web) -> None:
        self._server = web.server

    def workers(self, request: WebRequest) -> Answer:
        """Those who can do something."""
        page = request.query(WorkerPage)
        wanted = WorkerSearch(function=page.function, worker=page.worker, after=page.after, limit=page.limit)
        how = () if page.condition is UNSET else (page.condition,)
        found = workers.workers(self._server.broker, request.peer, search_of(wanted), request.now, how)
        return Answer(found)

    def worker(self, request: WebRequest, descriptor: str) -> Answer:
        """One of them."""
        broker, peer = self._server.broker, request.peer
        # No system has a descriptor of ten digits.
        number = int(descriptor) if descriptor.isdecimal() and len(descriptor) < 10 else -1
        other = workers.find(broker, peer, number)
        if other is None:
            raise Problem(404, "unknown_worker", "There is no such worker")
        found = workers.worker(broker, peer, other, request.now, workers.MOST_OF_ONE)
        return Answer(found)

    def connections(self, request: WebRequest) -> Answer:
        """Everybody."""
        server, page = self._server, request.query(ConnectionPage)
        kind = "" if page.kind is UNSET else page.kind
        search = search_of(replace(page, kind=UNSET))
        return Answer(connections(server.broker, request.peer, server.quick_acks, search, kind=kind))


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    of = WorkerRoutes(web)
    return [
        Route("GET", f"{ROOT}/workers", of.workers, _WORKERS),
        Route("GET", f"{ROOT}/workers/<descriptor>", of.worker, _WORKER),
        Route("GET", f"{ROOT}/connections", of.connections, _CONNECTIONS),
    ]


_SEES = "Takes the right `peers`; without it only those of the same identity are shown."

_WORKERS = Operation(
    "list_workers",
    "Who can do what, and what each does",
    "workers",
    _SEES,
    query=WorkerPage,
    answers={200: Workers},
    links={"get_worker": {"descriptor": "$response.body#/workers/0/descriptor"}},
)
_WORKER = Operation(
    "get_worker",
    "One worker",
    "workers",
    "Up to a thousand functions and jobs of it.",
    answers={200: Worker},
    problems=(404,),
)
_CONNECTIONS = Operation(
    "list_connections",
    "Who is connected",
    "workers",
    _SEES,
    query=ConnectionPage,
    answers={200: Connections},
)

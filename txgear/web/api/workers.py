"""
Workers, and whoever else is connected.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from txgear.broker import workers
from txgear.broker.connections import connections
from txgear.broker.model import Peer
from txgear.broker.rights import MANAGE
from txgear.broker.search import DEFAULT_ROWS
from txgear.errors import ServerError
from txgear.server import workercommands
from txgear.web.acts import record
from txgear.web.answers import Answer
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
    @ivar number: its place in the order in which the server took jobs.
    @ivar function: its function.
    @ivar numerator: its progress, as the worker said last, and
    @ivar denominator: what that is a part of; 0 where it has said nothing.
    @ivar began: when the worker got it.
    @ivar seconds: how long ago that is.
    """

    handle: str
    number: int
    function: str
    numerator: int
    denominator: int
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

    @ivar condition: how it is. C{paused}: it takes no job for now, as somebody told it; C{asleep}: it waits
        to be woken; C{woken}: it was, a moment ago; C{late}: it was, and has not asked; C{busy}: it has a
        job, and did not ask for another; C{awake}: it has asked for one not long ago; C{silent}: it has none,
        and has not asked for a minute; C{unread}: the server reads nothing of it, as the store is behind.
    @ivar asleep: whether it waits to be woken.
    @ivar silent: whether it has no job, does not sleep, and has not asked for a minute.
    @ivar jobs: how many jobs it has, of those that one may see.
    @ivar in_hand: the first of them.
    @ivar enrolled: when it said first that it can do anything.
    @ivar asked: when it last asked for a job, or said that it sleeps; C{null} for never.
    @ivar idle: for how many seconds it has neither had a job nor asked for one; C{null} if it has one, or
        sleeps.
    @ivar words: what it can be told, such as C{pause}; of the classic protocol no worker can be told
        anything.
    """

    condition: Condition
    asleep: bool
    silent: bool
    jobs: int
    in_hand: list[JobInHand]
    enrolled: Moment
    asked: Moment | None
    idle: float | None
    words: list[str]


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


WorkerWord = Annotated[str, Meta(pattern="^[a-z][a-z-]{0,31}$", examples=["pause"])]


class Steer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What a worker is told.

    @ivar word: one of its C{words}. Those of txgear know C{pause} (it takes no job any more), C{resume} (it
        takes some again) and C{stop} (it finishes what it has in hand, and leaves).
    """

    word: WorkerWord


class Steered(Struct, frozen=True, kw_only=True):
    """
    What a worker has done that it was told.

    @ivar descriptor: its number.
    @ivar word: what it was told.
    @ivar text: what it says to that, for people to read; it may be empty.
    """

    descriptor: int
    word: str
    text: str


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
        other = workercommands.named(self._server, request.peer, descriptor)
        found = workers.worker(self._server.broker, request.peer, other, request.now, workers.MOST_OF_ONE)
        return Answer(found)

    def steer(self, request: WebRequest, descriptor: str) -> Deferred[Answer]:
        """Tell it something."""
        wanted: Steer = request.body(Steer)
        other = workercommands.named(self._server, request.peer, descriptor)
        found = Steered(descriptor=other.descriptor, word=wanted.word, text="")
        return steer(request, other, wanted.word).addCallback(lambda said: Answer(replace(found, text=said)))

    def disconnect(self, request: WebRequest, descriptor: str) -> Answer:
        """End its connection."""
        disconnect(request, workercommands.named(self._server, request.peer, descriptor))
        return Answer(None, 204)

    def connections(self, request: WebRequest) -> Answer:
        """Everybody."""
        server, page = self._server, request.query(ConnectionPage)
        kind = "" if page.kind is UNSET else page.kind
        search = search_of(replace(page, kind=UNSET))
        return Answer(connections(server.broker, request.peer, server.quick_acks, search, kind=kind))


def steer(request: WebRequest, worker: Peer, word: str) -> Deferred[str]:
    """
    Tell a worker something, and record what it has answered.

    @return: as L{txgear.server.workercommands.steer}.
    """

    def answered(said: str) -> str:
        record(request, MANAGE, worker=worker.name, arguments=word, answer=f"OK {said}".strip())
        return said

    def failed(failure: Failure) -> Failure:
        error = failure.value
        if isinstance(error, ServerError):
            record(request, MANAGE, worker=worker.name, arguments=word, answer=f"{error.code}: {error.text}")
        return failure

    return workercommands.steer(request.server, request.peer, worker, word).addCallbacks(answered, failed)


def disconnect(request: WebRequest, worker: Peer) -> None:
    """
    End the connection of a worker, and record that.

    @raise AccessDenied: the peer may not do that.
    """
    workercommands.disconnect(request.server, request.peer, worker)
    record(request, MANAGE, worker=worker.name, arguments=workercommands.DISCONNECT, answer="OK")


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    of = WorkerRoutes(web)
    return [
        Route("GET", f"{ROOT}/workers", of.workers, _WORKERS),
        Route("GET", f"{ROOT}/workers/<descriptor>", of.worker, _WORKER),
        Route("POST", f"{ROOT}/workers/<descriptor>/steer", of.steer, _STEER),
        Route("POST", f"{ROOT}/workers/<descriptor>/disconnect", of.disconnect, _DISCONNECT),
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
_STEER = Operation(
    "steer_worker",
    "Tell a worker to pause, to go on, or to stop",
    "workers",
    "The answer comes when the worker's does, within ten seconds; `504` says that it has not answered, and"
    " may still do it. With `409` it does not understand the word, refuses it, or has gone. Takes the right"
    " `manage`, of workers that one may see.",
    body=Steer,
    answers={200: Steered},
    problems=(400, 401, 403, 404, 409, 413, 415, 422, 503, 504),
)
_DISCONNECT = Operation(
    "disconnect_worker",
    "End the connection of a worker",
    "workers",
    "Its jobs come back as from a worker that is lost, by their policies. One that is well connects again."
    " Takes the right `manage`, of workers that one may see.",
    answers={204: None},
    problems=(401, 403, 404),
)
_CONNECTIONS = Operation(
    "list_connections",
    "Who is connected",
    "workers",
    _SEES,
    query=ConnectionPage,
    answers={200: Connections},
)

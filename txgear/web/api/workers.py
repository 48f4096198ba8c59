"""
Workers, and whoever else is connected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace
from twisted.internet.defer import Deferred

from txgear.broker.model import Peer
from txgear.broker.operators import workers
from txgear.broker.operators.connections import connections
from txgear.broker.operators.search import DEFAULT_ROWS
from txgear.broker.rights import MANAGE
from txgear.errors import ServerError
from txgear.protocol.constants import MAX_FUNCTION
from txgear.server import workercommands
from txgear.server.workercommands import DISCONNECT, Order, Outcome
from txgear.web.acts import record
from txgear.web.answers import Answer, Problem
from txgear.web.api.models import ROOT, After, Limit, Moment, Word, search_of
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web

Condition = Literal[
    "absent", "paused", "unused", "asleep", "woken", "busy", "unread", "late", "silent", "awake"
]
"""How a worker is; see L{txgear.broker.operators.workforce.CONDITIONS}."""


Kind = Literal["gearman", "http", "web", "other"]
"""What a connection speaks: Gearman's protocol, jobs over HTTP, the web, or that of a plugin."""


class WorkerSearch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Which workers are wanted: all of it holds for each.

    @ivar function: a pattern for the name of one of their functions, as the shell has them: C{*}, C{?},
        C{[abc]}.
    @ivar worker: a part of what they call themselves, or of the address of one that has no name.
    @ivar id: what they are called, the whole.
    @ivar group: their group, the whole name.
    @ivar host: their machine, the whole name.
    @ivar after: the C{next} of the page before.
    @ivar limit: how many at the most.
    """

    function: Word | UnsetType = UNSET
    worker: Word | UnsetType = UNSET
    id: Word | UnsetType = UNSET
    group: Word | UnsetType = UNSET
    host: Word | UnsetType = UNSET
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


class FunctionCounts(Struct, frozen=True, kw_only=True):
    """
    One of the functions of a worker.

    @ivar function: its name.
    @ivar in_use: whether the worker does it now. One that it knows and does not do it can be told to
        C{register}.
    @ivar running: how many jobs of it the worker has in hand, as this server knows.
    @ivar done: how many jobs of it have brought a result since the worker started, at all its servers, as it
        says itself, up to ten seconds ago; C{null} where it does not say.
    @ivar failed: how many have brought none; likewise.
    """

    function: str
    in_use: bool
    running: int
    done: int | None
    failed: int | None


class Worker(Who, frozen=True, kw_only=True):
    """
    A connection that can do something, or can be told to.

    @ivar id: what it is called: as it says itself, or its C{client_id}; several may have the same. C{null}
        for nothing.
    @ivar group: the group that it belongs to, in its runtime; C{null} for none.
    @ivar host: the machine that it runs on, as that calls itself; C{null} where it does not say.
    @ivar pid: its process there; likewise.
    @ivar version: what it is made of; likewise.
    @ivar started: when it started, by its own clock; likewise.
    @ivar concurrency: how many jobs it does at once; likewise.
    @ivar memory: bytes that it takes; likewise.
    @ivar condition: how it is. C{absent}: its connection is lost, and its jobs stay its own for a while, as
        it may come back; C{paused}: it takes no job for now, as somebody told it; C{unused}: it can be told
        what to do, and does no function now; C{asleep}: it waits to be woken; C{woken}: it was, a moment ago;
        C{late}: it was, and has not asked; C{busy}: it has a job, and did not ask for another; C{awake}: it
        has asked for one not long ago; C{silent}: it has none, and has not asked for a minute; C{unread}: the
        server reads nothing of it, as the store is behind.
    @ivar absent: since when it is absent; C{null} where it is not.
    @ivar until: up to when it may come back; likewise.
    @ivar asleep: whether it waits to be woken.
    @ivar silent: whether it has no job, does not sleep, and has not asked for a minute.
    @ivar counts: its functions, those in use first.
    @ivar done: how many jobs it has done since it started, at all its servers, as it says itself, up to ten
        seconds ago; of the functions that one may see. C{null} where it does not say.
    @ivar failed: how many have brought no result; likewise.
    @ivar jobs: how many jobs it has, of those that one may see.
    @ivar in_hand: the first of them.
    @ivar enrolled: when it said first that it can do anything; C{null} for never.
    @ivar asked: when it last asked for a job, or said that it sleeps; C{null} for never.
    @ivar idle: for how many seconds it has neither had a job nor asked for one; C{null} if it has one, or
        sleeps.
    @ivar words: what it can be told, such as C{pause}; of the classic protocol no worker can be told
        anything.
    """

    id: str | None
    group: str | None
    host: str | None
    pid: int | None
    version: str | None
    started: Moment | None
    concurrency: int | None
    memory: int | None
    condition: Condition
    absent: Moment | None
    until: Moment | None
    asleep: bool
    silent: bool
    counts: list[FunctionCounts]
    done: int | None
    failed: int | None
    jobs: int
    in_hand: list[JobInHand]
    enrolled: Moment | None
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
Argument = Annotated[str, Meta(max_length=MAX_FUNCTION, examples=["resize"])]


class Steer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What a worker is told.

    @ivar word: one of its C{words}. Those of txgear know C{pause} (it takes no job any more), C{resume} (it
        takes some again), C{stop} (it finishes what it has in hand, and leaves), C{grow} and C{shrink} (it
        does one job more or less at once; of a runtime: with one process of its group), C{restart} (a new
        process takes its place; of a runtime), C{register} and C{unregister} (it does a function that it
        knows, or does it no more).
    @ivar argument: what belongs to the word: of C{register} and C{unregister} the name of the function.
    """

    word: WorkerWord
    argument: Argument = ""


class SteerSeveral(Steer, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What workers are told, and which: all of it holds for each, and something of it has to be there.

    @ivar word: as for one worker, or C{disconnect}, which ends their connections.
    @ivar function: a pattern for the name of one of their functions: C{*}, C{?}, C{[abc]}.
    @ivar worker: a part of what they call themselves, or of the address of one that has no name.
    @ivar id: what they are called, the whole.
    @ivar group: their group, the whole name.
    @ivar host: their machine, the whole name.
    """

    function: Word | UnsetType = UNSET
    worker: Word | UnsetType = UNSET
    id: Word | UnsetType = UNSET
    group: Word | UnsetType = UNSET
    host: Word | UnsetType = UNSET


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


class SteeredOne(Struct, frozen=True, kw_only=True):
    """
    What has come of it at one worker.

    @ivar descriptor: its number.
    @ivar id: what it is called; C{null} for nothing.
    @ivar done: whether it has done it.
    @ivar code: what is wrong, as the C{code} of a problem; empty if nothing is.
    @ivar text: what it says to that, or what is wrong, for people to read; it may be empty.
    """

    descriptor: int
    id: str | None
    done: bool
    code: str
    text: str


class SteeredSeveral(Struct, frozen=True, kw_only=True):
    """
    What has come of it.

    @ivar word: what they were told.
    @ivar workers: each that matched, by their numbers; none if no worker did.
    """

    word: str
    workers: list[SteeredOne]


class WorkerRoutes:
    """What is answered."""

    def __init__(self, web: Web) -> None:
        self._server = web.server

    def workers(self, request: WebRequest) -> Answer:
        """Those who can do something."""
        page = request.query(WorkerPage)
        wanted = WorkerSearch(**{name: getattr(page, name) for name in WorkerSearch.__struct_fields__})
        how = () if page.condition is UNSET else (page.condition,)
        found = workers.workers(self._server.broker, request.peer, search_of(wanted), request.now, how)
        return Answer(found)

    def worker(self, request: WebRequest, worker: str) -> Answer:
        """One of them."""
        other = workercommands.named_alone(self._server, request.peer, worker.encode("utf-8"))
        found = workers.worker(self._server.broker, request.peer, other, request.now, workers.MOST_OF_ONE)
        return Answer(found)

    def steer(self, request: WebRequest, worker: str) -> Deferred[Answer]:
        """Tell it something."""
        wanted: Steer = request.body(Steer)
        other = workercommands.named_alone(self._server, request.peer, worker.encode("utf-8"))
        found = Steered(descriptor=other.descriptor, word=wanted.word, text="")
        return steer(request, other, _order(wanted)).addCallback(
            lambda said: Answer(replace(found, text=said))
        )

    def disconnect(self, request: WebRequest, worker: str) -> Deferred[Answer]:
        """End its connection."""
        other = workercommands.named_alone(self._server, request.peer, worker.encode("utf-8"))
        return steer(request, other, Order(DISCONNECT)).addCallback(lambda said: Answer(None, 204))

    def steer_several(self, request: WebRequest) -> Deferred[Answer]:
        """Tell all that match something."""
        wanted: SteerSeveral = request.body(SteerSeveral)
        order = _order(wanted)
        search = WorkerSearch(
            function=wanted.function,
            worker=wanted.worker,
            id=wanted.id,
            group=wanted.group,
            host=wanted.host,
        )
        if search == WorkerSearch():
            raise Problem(422, "which_workers", "Say which workers: by function, worker, id, group or host")
        found = workercommands.matching(self._server, request.peer, search_of(search))

        def answered(outcomes: list[Outcome]) -> Answer:
            return Answer(SteeredSeveral(word=wanted.word, workers=list(map(_outcome, outcomes))))

        return carry_out(request, found, order).addCallback(answered)

    def connections(self, request: WebRequest) -> Answer:
        """Everybody."""
        server, page = self._server, request.query(ConnectionPage)
        kind = "" if page.kind is UNSET else page.kind
        search = search_of(replace(page, kind=UNSET))
        return Answer(connections(server.broker, request.peer, server.quick_acks, search, kind=kind))


def _order(wanted: Steer) -> Order:
    return Order(wanted.word, wanted.argument.encode("utf-8"))


def _outcome(outcome: Outcome) -> SteeredOne:
    return SteeredOne(
        descriptor=outcome.worker.descriptor,
        id=workers.identifier(outcome.worker) or None,
        done=not outcome.code,
        code=outcome.code.lower(),
        text=outcome.text,
    )


def carry_out(request: WebRequest, found: Sequence[Peer], order: Order) -> Deferred[list[Outcome]]:
    """
    Have workers do something, and record what has come of it.

    @return: as L{workercommands.carry_out<txgear.server.workercommands.carry_out>}.
    """

    def noted(outcome: Outcome) -> None:
        record(request, MANAGE, worker=outcome.worker.name, arguments=order.told, answer=outcome.answer)

    return workercommands.carry_out(request.server, request.peer, found, order, noted)


def steer(request: WebRequest, worker: Peer, order: Order) -> Deferred[str]:
    """
    Have one worker do something, and record what has come of it.

    @return: fires with what it says; fails with a L{ServerError} if it has not done it.
    """

    def answered(outcomes: list[Outcome]) -> str:
        (outcome,) = outcomes
        if outcome.code:
            raise ServerError(outcome.text, outcome.code)
        return outcome.text

    return carry_out(request, [worker], order).addCallback(answered)


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    of = WorkerRoutes(web)
    return [
        Route("GET", f"{ROOT}/workers", of.workers, _WORKERS),
        Route("GET", f"{ROOT}/workers/<worker>", of.worker, _WORKER),
        Route("POST", f"{ROOT}/workers/<worker>/steer", of.steer, _STEER),
        Route("POST", f"{ROOT}/workers/<worker>/disconnect", of.disconnect, _DISCONNECT),
        Route("POST", f"{ROOT}/steering", of.steer_several, _STEER_SEVERAL),
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
    links={"get_worker": {"worker": "$response.body#/workers/0/descriptor"}},
)
_WORKER = Operation(
    "get_worker",
    "One worker",
    "workers",
    "Up to a thousand functions and jobs of it. It is named by its number, or by its id, if no other has the"
    " same.",
    answers={200: Worker},
    problems=(404, 409),
)
_STEER = Operation(
    "steer_worker",
    "Tell a worker something",
    "workers",
    "The answer comes when the worker's does, within ten seconds; `504` says that it has not answered, and"
    " may still do it. With `409` it does not understand the word, refuses it, or has gone. Takes the right"
    " `manage`, of workers that one may see. It is named by its number, or by its id, if"
    " no other has the same.",
    body=Steer,
    answers={200: Steered},
    problems=(400, 401, 403, 404, 409, 413, 415, 422, 503, 504),
)
_STEER_SEVERAL = Operation(
    "steer_workers",
    "Tell all workers that match something",
    "workers",
    "They are told at once, at most 200 of them; the answer comes when all have answered, within ten seconds."
    " What each says, or why it does not do it, stands in the answer. Takes the right `manage`, of workers"
    " that one may see.",
    body=SteerSeveral,
    answers={200: SteeredSeveral},
    problems=(400, 401, 403, 409, 413, 415, 422, 503),
)
_DISCONNECT = Operation(
    "disconnect_worker",
    "End the connection of a worker",
    "workers",
    "Its jobs come back as from a worker that is lost, by their policies. One that is well connects again."
    " Takes the right `manage`, of workers that one may see.",
    answers={204: None},
    problems=(401, 403, 404, 409),
)
_CONNECTIONS = Operation(
    "list_connections",
    "Who is connected",
    "workers",
    _SEES,
    query=ConnectionPage,
    answers={200: Connections},
)

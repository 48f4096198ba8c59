"""
The cluster: its servers, their parts, and what the database promises.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from txgear.broker.rights import SETTINGS, check
from txgear.server import clusterstate
from txgear.web.answers import Answer
from txgear.web.api.models import ROOT
from txgear.web.api.store import StoreCondition
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web


class ClusterPart(Struct, frozen=True, kw_only=True):
    """
    A part of the jobs.

    @ivar part: its number.
    @ivar term: how often it was taken.
    @ivar beat: how often its lease has moved since.
    @ivar seconds: for how long that has been seen standing still.
    """

    part: int
    term: int
    beat: int
    seconds: float


class ClusterServer(Struct, frozen=True, kw_only=True):
    """
    A server. What it says of itself is some seconds old, and C{null} where it has not said it.

    @ivar id: what it is known by until it ends.
    @ivar name: what it is called.
    @ivar address: where it is reached; C{null} where that was not said.
    @ivar own: whether it is the one that was asked.
    @ivar state: C{silent} where it has given no sign of life for some seconds; the others are about to take
        its parts then.
    @ivar silent: for how many seconds none was seen.
    @ivar parts: its parts; new jobs come to the last one.
    @ivar version: its version.
    @ivar uptime: seconds since it started.
    @ivar queued: jobs that have not ended and that no worker has.
    @ivar running: jobs that workers have.
    @ivar workers: how many there are.
    @ivar connections: how many there are.
    @ivar rate: jobs that ended there in a second, of late.
    @ivar lag: seconds by which its reactor was late at worst, in the last minute.
    @ivar lease: seconds without a sign of life after which it takes the parts of others.
    @ivar trust: seconds for which it could still rely on its parts without another sign.
    @ivar draining: whether it is about to end, and takes no new jobs.
    """

    id: str
    name: str
    address: str | None
    own: bool
    state: Literal["alive", "silent"]
    silent: float
    parts: list[ClusterPart]
    version: str | None
    uptime: float | None
    queued: int | None
    running: int | None
    workers: int | None
    connections: int | None
    rate: float | None
    lag: float | None
    lease: float | None
    trust: float | None
    draining: bool | None


class ClusterDatabase(Struct, frozen=True, kw_only=True):
    """
    The database, as the server that was asked sees it.

    @ivar name: what it is and where, without a password.
    @ivar state: how it is.
    @ivar why: why it takes no jobs; C{null} if it does.
    @ivar promise: on how many machines it is what was answered, in words.
    @ivar doubts: why what was answered could be lost all the same; empty where it is durable.
    """

    name: str
    state: StoreCondition
    why: str | None
    promise: str
    doubts: list[str]


class ClusterState(Struct, frozen=True, kw_only=True):
    """
    Several servers over one database, as the one that was asked has seen them last.

    @ivar lease: seconds without a sign of life after which a server's parts are taken.
    @ivar looked: seconds since the database has told of them.
    @ivar trust: seconds for which this server can still rely on its parts; 0 where others may have them.
    @ivar taken: parts that it has taken since it started, whether or not somebody had them.
    @ivar silent: of these, how many were of servers that were not heard of any more.
    @ivar database: what all have in common.
    @ivar servers: those that have parts, by their names.
    @ivar free: parts that nobody has.
    """

    lease: float
    looked: float
    trust: float
    taken: int
    silent: int
    database: ClusterDatabase
    servers: list[ClusterServer]
    free: list[ClusterPart]


class ClusterRoutes:
    """What is answered."""

    def __init__(self, web: Web) -> None:
        self._server = web.server

    def cluster(self, request: WebRequest) -> Answer:
        """All of it."""
        check(request.peer, SETTINGS)
        return Answer(clusterstate.cluster(self._server, request.peer))


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    operation = Operation(
        "get_cluster",
        "The servers of a cluster",
        "server",
        "Which servers have the same database, which parts of the jobs each has, what each has to do, and"
        " what the database promises at present. A server that has its store for itself answers 404 with the"
        " code `no_cluster`. Takes the right `settings`.",
        answers={200: ClusterState},
        problems=(403, 404),
    )
    return [Route("GET", f"{ROOT}/cluster", ClusterRoutes(web).cluster, operation)]

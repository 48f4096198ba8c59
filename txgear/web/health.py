"""
Whether the server is well, for who looks after it: C{/health}, and C{/ready}.

Both are for everybody, by whatever C{Host}, as probes of containers ask addresses. They say nothing that is
not seen from outside in any case, and change nothing.
"""

from __future__ import annotations

from typing import Final

import msgspec

from txgear.web.answers import Answer
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web

OK: Final = "ok"
LATE: Final = "late"
BAD_LAG: Final = 1.0
"""Seconds by which a reactor is late that serves nobody well; a healthy one is late by milliseconds."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """
    Of the process and its reactor.

    @ivar status: C{ok}, or C{late} where the reactor was late by L{BAD_LAG} when that was measured last.
    @ivar lag: by how many seconds it was.
    @ivar worst_lag: by how many at the worst within the last minute.
    """

    status: str
    lag: float
    worst_lag: float


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """
    Whether jobs are taken.

    @ivar ready: whether all the others are C{ok}.
    @ivar port: C{ok}, or C{closed}: whether the ports of the Gearman protocol are open.
    @ivar store: C{ok}, or C{unavailable}. Without a store it is C{ok}.
    @ivar draining: C{ok}, or C{draining}: no new jobs are taken, and the server is about to end.
    """

    ready: bool
    port: str
    store: str
    draining: str


class HealthRoutes:
    """The two."""

    def __init__(self, web: Web) -> None:
        self._server = web.server

    def health(self, request: WebRequest) -> Answer:
        """Who can read this knows that the process lives; how late its reactor is tells how well."""
        lag = self._server.lag
        late = lag.last >= BAD_LAG
        found = Health(status=LATE if late else OK, lag=round(lag.last, 4), worst_lag=round(lag.worst(), 4))
        return Answer(found, 503 if late else 200)

    def ready(self, request: WebRequest) -> Answer:
        """Whether jobs are taken, and if not why."""
        server = self._server
        journal = server.journal
        port = OK if server.listens() else "closed"
        store = OK if journal is None or journal.unavailable is None else "unavailable"
        draining = "draining" if server.broker.dispatcher.draining else OK
        found = Ready(ready=port == store == draining == OK, port=port, store=store, draining=draining)
        return Answer(found, 200 if found.ready else 503)


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    of = HealthRoutes(web)
    health = Operation(
        "health",
        "Whether the process is alive, and its reactor not late",
        "health",
        "For liveness probes. Needs no rights.",
        answers={200: Health, 503: Health},
    )
    ready = Operation(
        "ready",
        "Whether jobs are taken",
        "health",
        "For readiness probes and load balancers. Needs no rights. With the status 503 one part is not `ok`.",
        answers={200: Ready, 503: Ready},
    )
    return [
        Route("GET", "/health", of.health, health, free=True, types=()),
        Route("GET", "/ready", of.ready, ready, free=True, types=()),
    ]

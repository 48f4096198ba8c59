"""
All functions in one answer, with what they have done of late: for whoever looks each second.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType
from twisted.internet.defer import Deferred, DeferredSemaphore

from txgear.broker.model import Peer
from txgear.broker.rights import SEE, may
from txgear.server.jobserver import JobServer
from txgear.web.answers import Answer
from txgear.web.api.functionlist import FunctionList, FunctionQuery, Sort
from txgear.web.api.functions import FunctionFigures, with_figures
from txgear.web.api.models import ROOT, Word
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.steps import in_steps
from txgear.web.web import Web

MOST_FIGURES: Final = 1000
"""Functions of one answer: as many as are counted by themselves. They take some 10 ms, in pieces."""
TABLES_AT_ONCE: Final = 2
"""Answers that are made at the same time."""
STEP: Final = 50
"""Functions that are looked at in one step: half a millisecond, about."""


class FiguresQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Which functions are wanted.

    @ivar function: a pattern for their names, as the shell has them: C{*}, C{?}, C{[abc]}.
    @ivar sort: in which order: by their names, or the highest first.
    @ivar limit: how many at the most, those that come first.
    """

    function: Word | UnsetType = UNSET
    sort: Sort = "name"
    limit: Annotated[int, Meta(ge=1, le=MOST_FIGURES)] = MOST_FIGURES


class Totals(Struct, frozen=True, kw_only=True):
    """
    What all functions have together that one may see, whichever were asked for.

    @ivar functions: how many there are.
    @ivar queued: jobs that wait for a worker.
    @ivar waiting: jobs that wait for their time, or for the store.
    @ivar running: jobs that are at workers.
    @ivar dead: jobs that have no attempt left.
    @ivar submitted: jobs that were taken since the server started; as far as functions are counted by
        themselves, be they gone by now.
    @ivar completed: likewise, jobs that ended with a result.
    @ivar failed: likewise, jobs that ended without one.
    @ivar submitted_rate: jobs that were taken, a second, of late; as far as functions are counted by
        themselves.
    @ivar completed_rate: likewise, jobs that ended with a result.
    @ivar failed_rate: likewise, jobs that ended without one.
    """

    functions: int
    queued: int
    waiting: int
    running: int
    dead: int
    submitted: int
    completed: int
    failed: int
    submitted_rate: float
    completed_rate: float
    failed_rate: float


class FunctionTable(Struct, frozen=True, kw_only=True):
    """
    Functions, and what they do.

    @ivar functions: those that were asked for, in their order.
    @ivar matched: how many there are that match, here or not.
    @ivar totals: of all that one may see.
    @ivar time: seconds since the server started: who asks twice has rates of his own by it.
    @ivar seconds: how long the time is that is meant by "of late": a minute at the most.
    """

    functions: list[FunctionFigures]
    matched: int
    totals: Totals
    time: float
    seconds: float


class _Table:
    """One answer, once its L{steps} have been taken."""

    def __init__(self, server: JobServer, peer: Peer, query: FiguresQuery) -> None:
        self._server = server
        self._peer = peer
        wanted = FunctionQuery(
            function="" if query.function is UNSET else query.function,
            sort=query.sort,
        )
        self._list = FunctionList(server.broker, peer, wanted, self._ended, query.limit)
        self.found: dict[str, Any] = {}

    def _ended(self, name: bytes) -> float:
        """How many jobs of a function ended in a second."""
        counts = self._server.broker.statistics.by_name.get(name)
        if counts is None:
            return 0.0
        rates = self._server.recently.rates(name, counts)
        return rates.completed + rates.failed

    def steps(self) -> Iterator[None]:
        """Make it."""
        server = self._server
        yield from self._list.steps()
        rates = [0.0, 0.0, 0.0]
        submitted = completed = failed = 0
        functions = server.broker.functions.by_name
        for place, (name, counts) in enumerate(list(server.broker.statistics.by_name.items()), 1):
            if may(self._peer, SEE, name):
                submitted += counts.submitted
                completed += counts.completed
                failed += counts.failures
                if functions.get(name) is not None:
                    for index, rate in enumerate(server.recently.rates(name, counts)):
                        rates[index] += rate
            if place % (10 * STEP) == 0:
                yield
        now = server.seconds()
        rows: list[dict[str, Any]] = []
        for place, function in enumerate(self._list.rows, 1):
            rows.append(with_figures(server, function, now))
            if place % STEP == 0:
                yield
        sums = self._list.sums
        self.found = {
            "functions": rows,
            "matched": self._list.matched,
            "totals": {
                "functions": sums.functions,
                "queued": sums.queued,
                "waiting": sums.delayed,
                "running": sums.running,
                "dead": sums.dead,
                "submitted": submitted,
                "completed": completed,
                "failed": failed,
                "submitted_rate": round(rates[0], 3),
                "completed_rate": round(rates[1], 3),
                "failed_rate": round(rates[2], 3),
            },
            "time": round(now - server.started, 3),
            "seconds": round(server.recently.seconds, 3),
        }


class FigureRoutes:
    """What is answered."""

    def __init__(self, web: Web) -> None:
        self._server = web.server
        self._slots = DeferredSemaphore(TABLES_AT_ONCE)

    def figures(self, request: WebRequest) -> Deferred[Answer | None]:
        """All functions."""
        table = _Table(self._server, request.peer, request.query(FiguresQuery))
        answered: Deferred[Answer | None] = self._slots.run(
            in_steps, self._server.cooperator, table.steps(), lambda: Answer(table.found)
        )
        return answered


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    return [Route("GET", f"{ROOT}/figures", FigureRoutes(web).figures, _FIGURES)]


_FIGURES: Final = Operation(
    "list_figures",
    "All functions, and what they do",
    "functions",
    "In one answer, without pages, for whoever looks each second: how many jobs each has, how many came and"
    " ended, and how long they waited and ran of late. Those are shown that one may see.",
    query=FiguresQuery,
    answers={200: FunctionTable},
    links={"get_function": {"name": "$response.body#/functions/0/function"}},
)

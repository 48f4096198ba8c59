"""
Functions, as they are read.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType, field
from msgspec.structs import replace

from txgear.broker.model import Function as BrokerFunction
from txgear.broker.operators import inspection
from txgear.broker.operators.search import BOUNDS, DEFAULT_ROWS
from txgear.server.jobserver import JobServer
from txgear.web.answers import Answer
from txgear.web.api.finding import function_named, function_path
from txgear.web.api.models import ROOT, Limit, Maxqueue, Moment, Place, Settings, Share, Word, search_of
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web


class FunctionPage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Which functions are wanted.

    @ivar function: a pattern for their names, as the shell has them: C{*}, C{?}, C{[abc]}.
    @ivar paused: whether an operator has paused them.
    @ivar behind: the C{next} of the page before.
    @ivar limit: how many at the most.
    @ivar figures: whether what they have done is wanted as well.
    """

    function: Word | UnsetType = UNSET
    paused: bool | UnsetType = UNSET
    behind: Place | UnsetType = field(default=UNSET, name="after")
    limit: Limit = DEFAULT_ROWS
    figures: bool | UnsetType = False


class Function(Struct, frozen=True, kw_only=True):
    """
    A function.

    @ivar function: its name.
    @ivar queued: jobs that wait for a worker.
    @ivar waiting: jobs that wait for their time, or for the store.
    @ivar running: jobs that are at workers.
    @ivar oldest: seconds for which the one has been ready that has been so for longest; C{null} if none is.
    @ivar workers: connections that can do it.
    @ivar dead: jobs of it that have no attempt left.
    @ivar kept: others that have ended and are still known.
    @ivar paused: whether an operator has paused it.
    @ivar maxqueue: the bounds that an operator has set; C{null} for none.
    """

    function: str
    queued: int
    waiting: int
    running: int
    oldest: float | None
    workers: int
    dead: int
    kept: int
    paused: bool
    maxqueue: Maxqueue | None


class FunctionFigures(Function, frozen=True, kw_only=True):
    """
    A function, and what it has done. All that follows is C{null} where it is counted together with others, as
    there are too many functions.

    @ivar submitted: jobs that were taken since the server started.
    @ivar completed: jobs that ended with a result since then.
    @ivar failed: jobs that ended without one since then.
    @ivar retried: attempts since then that ended without a result and were followed by another.
    @ivar submitted_rate: jobs that were taken, a second, of late: within
        the last half a minute to a minute.
    @ivar completed_rate: jobs that ended with a result, a second, of late.
    @ivar failed_rate: jobs that ended without one, a second, of late.
    @ivar wait_p50: within how many seconds half of the jobs had a worker, of late; C{null} where none had.
    @ivar wait_p95: the same for 95 of a hundred.
    @ivar run_p50: within how many seconds workers were done with half of the jobs, of late; C{null} where
        none was.
    @ivar run_p95: the same for 95 of a hundred.
    """

    submitted: int | None
    completed: int | None
    failed: int | None
    retried: int | None
    submitted_rate: float | None
    completed_rate: float | None
    failed_rate: float | None
    wait_p50: float | None
    wait_p95: float | None
    run_p50: float | None
    run_p95: float | None


class ListedFunction(Function, frozen=True, kw_only=True):
    """
    A function of a list; with C{figures} it has what L{FunctionFigures} has as well.
    """

    submitted: int | UnsetType | None = UNSET
    completed: int | UnsetType | None = UNSET
    failed: int | UnsetType | None = UNSET
    retried: int | UnsetType | None = UNSET
    submitted_rate: float | UnsetType | None = UNSET
    completed_rate: float | UnsetType | None = UNSET
    failed_rate: float | UnsetType | None = UNSET
    wait_p50: float | UnsetType | None = UNSET
    wait_p95: float | UnsetType | None = UNSET
    run_p50: float | UnsetType | None = UNSET
    run_p95: float | UnsetType | None = UNSET


class Functions(Struct, frozen=True, kw_only=True):
    """
    A page of functions.

    @ivar functions: by their names, byte by byte, very long ones by their first bytes; a page may have fewer
        than there is room for, even none, and still have a next one.
    @ivar next: what is C{after} of the next page; C{null} if this is the last.
    """

    functions: list[ListedFunction]
    next: str | None


class FunctionLinks(Struct, frozen=True, kw_only=True):
    """
    Paths of what belongs to a function.

    @ivar this: the function.
    @ivar policy: what holds for it.
    @ivar diagnosis: why its jobs wait.
    @ivar history: its last hour and day.
    """

    this: str = field(name="self")
    policy: str
    diagnosis: str
    history: str


class Quantiles(Struct, frozen=True, kw_only=True):
    """
    How long something took for most jobs, in seconds, within a sixth; C{null} where none has been counted.

    @ivar p50: as long, or less, for half of them.
    @ivar p95: for 95 of a hundred.
    @ivar p99: for 99 of a hundred.
    """

    p50: float | None
    p95: float | None
    p99: float | None


class Counts(Struct, frozen=True, kw_only=True):
    """
    What has been counted of a function since the server started.

    @ivar submitted: jobs that were taken.
    @ivar joined: submits that were answered with a job that was there.
    @ivar refused: submits that were refused, by why.
    @ivar restored: jobs that were found in the store.
    @ivar requeued: dead jobs that an operator has had done again.
    @ivar completed: jobs that ended with a result.
    @ivar failed: jobs that ended without one, by why.
    @ivar retried: attempts that ended without a result and were followed by another.
    @ivar wait: how long jobs were ready before a worker had them.
    @ivar run: how long workers had them.
    @ivar worker_left: when the last of its workers went; C{null} for never.
    @ivar last_end: when its last job ended; C{null} for never.
    """

    submitted: int
    joined: int
    refused: dict[str, int]
    restored: int
    requeued: int
    completed: int
    failed: dict[str, int]
    retried: int
    wait: Quantiles
    run: Quantiles
    worker_left: Moment | None
    last_end: Moment | None


class FunctionDetails(Function, frozen=True, kw_only=True):
    """
    All that is known of a function.

    @ivar pattern: the pattern of the policy that holds for it; C{null} for none.
    @ivar settings: the settings of that.
    @ivar room: how many of its jobs may start now; C{null} for any number.
    @ivar share: what this server may do of what is allowed to all of a cluster; C{null} where nothing is
        divided.
    @ivar bytes: of the workloads of its jobs that have not ended.
    @ivar created: whether an operator wants it to be known even if nobody uses it.
    @ivar counts: what has been counted of it; C{null} where it is counted together with others, as there
        are too many functions.
    @ivar links: where to find more.
    """

    pattern: str | None
    settings: Settings
    room: int | None
    share: Share | None
    bytes: int
    created: bool
    counts: Counts | None
    links: FunctionLinks


_NOT_COUNTED: Final = dict.fromkeys(
    name for name in FunctionFigures.__struct_fields__ if name not in Function.__struct_fields__
)


def with_figures(server: JobServer, function: BrokerFunction, now: float) -> dict[str, Any]:
    """A function and what it has done: a L{FunctionFigures}."""
    broker, counts = server.broker, function.counts
    found = inspection.function(broker, function, now)
    if counts is broker.statistics.other:
        return {**found, **_NOT_COUNTED}
    submitted, completed, failed = server.recently.rates(function.name, counts)
    times = server.recently.times(function.name, counts)
    return {
        **found,
        "submitted": counts.submitted,
        "completed": counts.completed,
        "failed": counts.failures,
        "retried": counts.retried,
        "submitted_rate": round(submitted, 3),
        "completed_rate": round(completed, 3),
        "failed_rate": round(failed, 3),
        **times._asdict(),
    }


class FunctionRoutes:
    """What is answered."""

    def __init__(self, web: Web) -> None:
        self._server = web.server
        self._broker = web.server.broker

    def functions(self, request: WebRequest) -> Answer:
        """Those that the server knows."""
        query: FunctionPage = request.query(FunctionPage)
        search = search_of(replace(query, figures=UNSET))
        if not query.figures:
            return Answer(inspection.function_page(self._broker, request.peer, search, request.now))
        look = partial(with_figures, self._server)
        return Answer(inspection.function_page(self._broker, request.peer, search, request.now, BOUNDS, look))

    def function(self, request: WebRequest, name: str) -> Answer:
        """One of them."""
        function = function_named(request, name)
        found = inspection.function_details(self._broker, function, request.now)
        path = function_path(function.name)
        found["links"] = {
            "self": path,
            "policy": path.replace("/functions/", "/policies/", 1),
            "diagnosis": f"{path}/diagnosis",
            "history": f"{path}/history",
        }
        return Answer(found)


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    of = FunctionRoutes(web)
    return [
        Route("GET", f"{ROOT}/functions", of.functions, _FUNCTIONS),
        Route("GET", f"{ROOT}/functions/<name>", of.function, _FUNCTION),
    ]


_FUNCTIONS = Operation(
    "list_functions",
    "The functions that the server knows",
    "functions",
    "Those that have jobs, workers, or something set for them; by their names, in pages.",
    query=FunctionPage,
    answers={200: Functions},
    links={"get_function": {"name": "$response.body#/functions/0/function"}},
)
_FUNCTION = Operation(
    "get_function",
    "All that is known of a function",
    "functions",
    answers={200: FunctionDetails},
    problems=(404,),
    links={"get_policy": {"name": "$response.body#/function"}},
)

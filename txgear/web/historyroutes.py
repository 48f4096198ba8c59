"""
What was, as figures for charts: of the server, and of each function.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from txgear.broker.operators import inspection
from txgear.broker.rights import METRICS, SEE, check, may
from txgear.protocol.textlines import text
from txgear.server.figureseries import Series
from txgear.web.answers import Answer, Problem
from txgear.web.api.finding import as_sent
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web

Moment = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
Counted = list[float | None]
Length = list[int | None]
Seconds = list[float | None]


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    @ivar span: an hour in steps of ten seconds, or a day in steps of five minutes.
    """

    span: Literal["hour", "day"] = "hour"


class History(msgspec.Struct, frozen=True, kw_only=True):
    """
    Lists that are all as long, with an entry for each step, the oldest first. An entry is C{null} where the
    server did not run, and of a quantile where there was nothing to measure.

    @ivar function: whose it is; C{null} for the server as a whole.
    @ivar span: as asked for.
    @ivar start: when the first step began; C{null} where there is none yet.
    @ivar step: seconds of a step.
    @ivar submitted: jobs that were taken, a second.
    @ivar completed: jobs that ended with a result, a second.
    @ivar failed: jobs that ended without one, a second.
    @ivar queued: jobs that are ready. Of these five, and of C{oldest}, a step of five minutes has the
        highest.
    @ivar running: jobs at workers.
    @ivar delayed: jobs that wait for their time, or for the disk.
    @ivar workers: connections that can do the function; of the server, the sum over all functions.
    @ivar dead: dead jobs that are kept.
    @ivar oldest: seconds for which the oldest job had been ready.
    @ivar wait_p50: seconds after which half of what began had begun; likewise the others.
    @ivar run_p50: seconds after which half of what ended had ended; likewise the others.
    """

    function: str | None
    span: Literal["hour", "day"]
    start: Moment | None
    step: int
    submitted: Counted
    completed: Counted
    failed: Counted
    queued: Length
    running: Length
    delayed: Length
    workers: Length
    dead: Length
    oldest: Seconds
    wait_p50: Seconds
    wait_p95: Seconds
    wait_p99: Seconds
    run_p50: Seconds
    run_p95: Seconds
    run_p99: Seconds


class HistoryRoutes:
    """The two."""

    def __init__(self, web: Web) -> None:
        self._broker = web.server.broker
        self._history = web.history

    def server(self, request: WebRequest) -> Answer:
        """Of the server as a whole."""
        check(request.peer, METRICS)
        return self._answer(None, self._history.total, request.query(HistoryQuery))

    def function(self, request: WebRequest, name: str) -> Answer:
        """
        Of one function, which need not be there any more.

        @raise Problem: nothing is known of it, or it is not for this peer to know.
        """
        query = request.query(HistoryQuery)
        for each in inspection.readings(as_sent(name)):
            series = self._history.by_name.get(each)
            if (series is not None or each in self._broker.functions.by_name) and may(
                request.peer, SEE, each
            ):
                return self._answer(each, series, query)
        raise Problem(404, "unknown_function", "There is no such function")

    def _answer(self, name: bytes | None, series: Series | None, query: HistoryQuery) -> Answer:
        found: dict[str, Any] = self._history.figures(series, query.span)
        start = found.pop("start")
        return Answer(
            History(
                function=None if name is None else text(name),
                span=query.span,
                start=None if start is None else inspection.moment(start),
                **found,
            )
        )


_TAG: Final = "history"


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    of = HistoryRoutes(web)
    server = Operation(
        "get_history",
        "The last hour or day of the server",
        _TAG,
        "Takes the right `metrics`.",
        query=HistoryQuery,
        answers={200: History},
        problems=(400, 401, 403),
    )
    function = Operation(
        "get_function_history",
        "The last hour or day of a function",
        _TAG,
        "Takes the right `see` for the function. It may be gone by now.",
        query=HistoryQuery,
        answers={200: History},
        problems=(400, 401, 404),
    )
    return [
        Route("GET", "/api/v1/history", of.server, server),
        Route("GET", "/api/v1/functions/<name>/history", of.function, function),
    ]

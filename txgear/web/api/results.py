"""
C{GET /api/v1/jobs/{handle}/result} and C{GET /api/v1/results}: what became of a job, and what it brought.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from txgear.broker.ended.archive import history_of
from txgear.broker.history import History
from txgear.broker.model import Job
from txgear.broker.operators import inspection
from txgear.broker.rights import READ, SEE, check, knows, may, seen_by
from txgear.broker.states import DEAD, DONE
from txgear.protocol.textlines import unescaped
from txgear.server.elsewhere import Kept
from txgear.web.answers import Answer, Problem
from txgear.web.api import outcomes
from txgear.web.api.finding import as_sent
from txgear.web.api.outcomes import NO_RESULT, Pending
from txgear.web.elsewhere import passed_on
from txgear.web.loading import when_named, while_held
from txgear.web.payloads import PIECE, Sending
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web

MOST_WAIT: Final = 3600.0
"""Seconds that a request may wait for a job: longer than any proxy on its way lets it."""

WaitSeconds = Annotated[float, Meta(ge=0, le=MOST_WAIT)]
Wait = Annotated[
    WaitSeconds | None,
    Meta(description="Seconds to wait for the end of the job, where it has not ended."),
]


class ResultQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long to wait."""

    wait: Wait = None


_Name = Annotated[
    str, Meta(min_length=1, description="The name that its submitter gave it; of several the newest.")
]
_Function = Annotated[str, Meta(description="Its function; by default any.")]


class FindQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which job, and how long to wait."""

    unique: _Name
    function: _Function = ""
    wait: Wait = None


def wait_seconds(wait: float | None) -> float | None:
    """
    Seconds to wait.

    @raise Problem: it is no number; all other bounds are those of the query.
    """
    if wait is not None and not 0 <= wait <= MOST_WAIT:
        raise Problem(400, "invalid_query", f"wait: seconds are wanted, up to {MOST_WAIT:g}")
    return wait


def _unknown() -> Problem:
    return Problem(
        404, "unknown_job", "There is no such job; one that has ended is known if it was to be kept"
    )


class ResultWait:
    """
    Waits for the end of one job, and answers what became of it. What the peer may do is asked again before
    the answer, as rights change.
    """

    def __init__(self, request: WebRequest, job: Job, wait: float | None, failed: int = NO_RESULT) -> None:
        """
        @param wait: seconds to wait at the most; C{None} for not at all.
        @param failed: the status where it has failed.
        """
        self._request = request
        self._server = request.server
        self._job = job
        self._wait = wait
        self._failed = failed
        self._done: Deferred[Answer | None] = Deferred(self._cancelled)
        self._unwatch: Callable[[float], None] = lambda now: None
        self._over: IDelayedCall | None = None
        self._release: Callable[[], None] = lambda: None
        self._gone = False

    def answer(self) -> Answer | Deferred[Answer | None]:
        """
        @return: the answer, or what fires with it; to cancel that is to wait no more.
        @raise AccessDenied: the peer may not read what jobs of this function carry.
        @raise Problem: there is no result.
        """
        job = self._job
        self._check()
        if job.ended:
            return self._of_ended()
        if not self._wait:
            return outcomes.pending(job)
        self._unwatch = self._server.broker.watch(job, self._ended)
        self._over = self._server.clock.callLater(self._wait, self._time_over)
        return self._done

    def _check(self) -> None:
        peer, function = self._request.peer, self._job.function
        if not knows(peer, function):
            raise _unknown()
        check(peer, READ, function.name)

    # One that has not ended

    def _time_over(self) -> None:
        self._over = None
        self._unwatch(self._server.seconds())
        self._answer(lambda: outcomes.pending(self._job))

    def _ended(self, outcome: int, data: bytes, result: bytes, complete: bool) -> None:
        """The job has ended just now: its result is here even where it is not kept."""
        self._stop()

        def answer() -> Answer | None:
            handle = self._job.handle
            if outcome != DONE:
                raise outcomes.failure(handle, outcome, self._failed, result or None)
            if not complete:
                raise outcomes.not_kept(handle)
            return self._whole((data, result), len(data))

        self._answer(answer)

    def _answer(self, answer: Callable[[], Answer | None]) -> None:
        try:
            self._check()
            found = answer()
        except Exception as error:
            self._release()
            self._done.errback(error)
        else:
            self._done.callback(found)

    def _whole(self, parts: tuple[bytes, ...], data_size: int) -> Answer | None:
        """
        Answer with a result.

        @param parts: it; others may have the same.
        @param data_size: bytes of what its worker sent before the last of it.
        @return: C{None} where it is on its way, as fast as it is read.
        """
        handle, size = self._job.handle, sum(map(len, parts))
        if size <= PIECE:
            self._release()
            return outcomes.done(handle, b"".join(parts), data_size)
        headers = {**outcomes.done_headers(handle, data_size, size - data_size), "Content-Length": str(size)}
        streamed = self._request.stream(200, outcomes.BYTES, headers)
        if self._request.method == b"HEAD":
            self._release()
        else:
            Sending(streamed, parts, self._release).go_on()
        return None

    def _stop(self) -> None:
        if self._over is not None:
            self._over.cancel()
            self._over = None

    def _cancelled(self, done: Deferred[Any]) -> None:
        """Nobody waits any more."""
        self._gone = True
        self._release()
        self._unwatch(self._server.seconds())
        self._stop()

    # One that has

    def _of_ended(self) -> Answer | Deferred[Answer | None]:
        job = self._job
        handle, history = job.handle, history_of(job)
        archive = self._server.broker.archive
        if archive.by_handle(handle) is not job:
            raise _unknown()
        if job.state == DEAD:
            # Its workload is kept, for another attempt; what its worker said stands in its history.
            words = history.attempts[-1].text if history.attempts else ""
            message = unescaped(words.encode("utf-8")) or None
            raise outcomes.failure(handle, DEAD, self._failed, message)
        if not history.complete:
            raise self._nothing_kept()
        self._release = self._request.web.payloads.hold(history.data_size + history.result_size)
        archive.read(job, partial(self._read, history))
        return self._done

    def _nothing_kept(self) -> Problem:
        job = self._job
        if job.state == DONE:
            return outcomes.not_kept(job.handle)
        return outcomes.failure(job.handle, job.state, self._failed)

    def _read(self, history: History, found: bytes | None) -> None:
        if self._gone:
            return
        job, archive = self._job, self._server.broker.archive

        def answer() -> Answer | None:
            if found is not None and len(found) == history.data_size + history.result_size:
                if job.state == DONE:
                    return self._whole((found,), history.data_size)
                message = found[history.data_size :] or None
                raise outcomes.failure(job.handle, job.state, self._failed, message)
            if archive.by_handle(job.handle) is not job:
                raise _unknown()
            if not history_of(job).complete:
                # It has made room for others while it was to be read.
                raise self._nothing_kept()
            raise Problem(
                503, "store_unavailable", "The result cannot be read at present", headers={"Retry-After": "2"}
            )

        self._answer(answer)


class Results:
    """Finds jobs, and answers what became of them."""

    def __init__(self, web: Web) -> None:
        self._server = web.server
        self._broker = web.server.broker

    def by_handle(self, request: WebRequest, handle: str) -> Answer | Deferred[Answer | None]:
        """The result of the job with this handle."""
        wait = wait_seconds(request.query(ResultQuery).wait)
        job = inspection.find(self._broker, request.peer, as_sent(handle))
        if job is None:
            raise _unknown()
        return ResultWait(request, job, wait).answer()

    def by_unique(self, request: WebRequest) -> Any:
        """The result of the job that had this unique last."""
        query = request.query(FindQuery)
        wait = wait_seconds(query.wait)
        wanted = seen_by(request.peer)
        functions = inspection.readings(query.function.encode("utf-8"))
        uniques = inspection.readings(query.unique.encode("utf-8"))

        def find() -> Any:
            for function in functions:
                for unique in uniques:
                    if (job := self._broker.named(function, unique, wanted)) is not None:
                        return while_held(request, (job,), ResultWait(request, job, wait).answer)
            return self._elsewhere(request, functions[0], uniques[0], wait)

        return when_named(request, uniques, find)

    def _elsewhere(self, request: WebRequest, function: bytes, unique: bytes, wait: float | None) -> Any:
        """The same of a job that another server has."""
        elsewhere = self._server.elsewhere
        if elsewhere is None:
            raise _unknown()

        def unknown() -> Any:
            raise _unknown()

        def come(handle: bytes | None) -> Any:
            if handle is None:
                return unknown()
            query = "" if wait is None else f"?wait={wait:g}"
            target = f"{outcomes.result_path(handle)}{query}".encode("ascii")
            return passed_on(elsewhere, request, handle, unknown, target)

        return elsewhere.handle_of(function, unique, partial(may, request.peer, SEE)).addCallback(come)

    @staticmethod
    def kept(request: WebRequest, kept: Kept) -> Answer | None:
        """The result of a job of another server that is done."""
        handle, data_size, whole = kept
        size = len(whole)
        if size <= PIECE:
            return outcomes.done(handle, whole, data_size)
        release = request.web.payloads.hold(size)
        headers = {**outcomes.done_headers(handle, data_size, size - data_size), "Content-Length": str(size)}
        streamed = request.stream(200, outcomes.BYTES, headers)
        if request.method == b"HEAD":
            release()
        else:
            Sending(streamed, (whole,), release).go_on()
        return None


DESCRIPTION: Final = """\
`200` with the bytes of the result, what the worker sent as data before it included: `Txgear-Data-Size` says
how many those are. `202` while the job has not ended; `wait` waits for that. `410` where it has ended and
there is no result: it failed, was cancelled or expired, has no attempt left, or its result is not kept.
"""


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    results = Results(web)
    common: dict[str, Any] = {
        "answers": {200: bytes, 202: Pending},
        "problems": (400, 403, 404, 410, 503, 504),
        "content_types": {200: outcomes.BYTES},
    }
    by_handle = Operation(
        "get_result",
        "The result of a job",
        "results",
        DESCRIPTION,
        query=ResultQuery,
        links={"get_job": {"handle": "$request.path.handle"}},
        **common,
    )
    by_unique = Operation(
        "find_result",
        "The result of the newest job with this unique",
        "results",
        DESCRIPTION,
        query=FindQuery,
        **common,
    )
    return [
        Route("GET", "/api/v1/jobs/<handle>/result", results.by_handle, by_handle, kept=results.kept),
        Route("GET", "/api/v1/results", results.by_unique, by_unique, kept=results.kept),
    ]

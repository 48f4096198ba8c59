"""
C{POST /api/v1/functions/{name}/jobs}: one job, whose workload is the body.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, cast

import msgspec
from msgspec import Meta
from twisted.internet.defer import Deferred

from txgear.broker.model import Job
from txgear.broker.rights import READ, check
from txgear.errors import QueueError
from txgear.protocol.textlines import text
from txgear.web import refusals
from txgear.web.answers import Answer, Problem
from txgear.web.api import orders, outcomes
from txgear.web.api.finding import as_sent
from txgear.web.api.foreground import EventAnswer, ResultAnswer
from txgear.web.api.orders import Order, PolicyHeaders, Priority, Unique
from txgear.web.api.replies import Replies
from txgear.web.api.results import ResultWait, WaitSeconds, wait_seconds
from txgear.web.events.sse import EVENT_STREAM
from txgear.web.loading import while_held
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web

TAG: Final = "submit"


_Background = Annotated[
    bool | None,
    Meta(description="Whether the job outlives this request; by default it does, unless there is `wait`."),
]
_Wait = Annotated[
    WaitSeconds | None, Meta(description="Seconds to wait for the result, which is the answer then.")
]
_When = Annotated[
    str | None, Meta(description="When it may begin: RFC 3339 with its offset, or seconds since 1970.")
]
_Delay = Annotated[
    str | None, Meta(description="How long it must not begin: seconds, or words such as `90s` and `1.5h`.")
]


class SubmitQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a job is to be done."""

    unique: Unique = ""
    priority: Priority = "normal"
    background: _Background = None
    wait: _Wait = None
    when: _When = None
    delay: _Delay = None


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """
    A job that is taken; where there is a store, it is on the disk.

    @ivar joined: whether it was there before, by its unique.
    @ivar job: its path.
    @ivar result: the path of its result.
    """

    handle: str
    function: str
    joined: bool
    job: str
    result: str


def accepted(job: Job, joined: bool) -> Accepted:
    """What is said of a job that is taken."""
    handle = job.handle
    path = outcomes.job_path(handle)
    return Accepted(
        handle=text(handle),
        function=text(job.function.name),
        joined=joined,
        job=path,
        result=f"{path}/result",
    )


class Submits:
    """Submits single jobs."""

    def __init__(self, web: Web) -> None:
        self._server = web.server

    def submit(self, request: WebRequest, name: str) -> Deferred[Any]:
        """Submit the job of a request."""
        query = request.query(SubmitQuery)
        wait = wait_seconds(query.wait)
        events = EVENT_STREAM in request.listed("Accept").lower()
        background = (wait is None and not events) if query.background is None else query.background
        if background and events:
            raise Problem(
                400, "invalid_query", "A background job has no events here; /events?job=HANDLE follows it"
            )
        order = self._order(request, as_sent(name), query)
        if background and wait is not None:
            check(request.peer, READ, order.function)
        try:
            job, joined = orders.submit(self._server, request.peer, order, background, request.trace)
        except QueueError as error:
            raise refusals.problem(error, request.peer.tenant, request.now) from error
        if background:
            return self._background(request, job, joined, wait)
        kind = EventAnswer if events else ResultAnswer
        answer = kind(request, lambda job, found: self._accepted(request, job, joined or found), wait)
        answer.begin(job)
        return answer.done

    def _order(self, request: WebRequest, name: bytes, query: SubmitQuery) -> Order:
        headers = request.requestHeaders.getAllRawHeaders()
        settings = orders.settings_in_headers(
            (text(header), text(value)) for header, values in headers for value in values
        )
        function = orders.named_function(self._server.broker, request.peer, name)
        workload = request.take_body()
        return orders.order(
            function, query.unique, workload, query.priority, query.when, query.delay, settings
        )

    def _background(
        self, request: WebRequest, job: Job, joined: bool, wait: float | None
    ) -> Deferred[Answer | None]:
        stored: Deferred[tuple[Job, bool]] = Deferred()

        def told(job: Job, found: bool, error: QueueError | None) -> None:
            if error is not None:
                stored.errback(refusals.problem(error, request.peer.tenant, request.now))
            else:
                stored.callback((job, joined or found))

        def answer(taken: tuple[Job, bool]) -> Answer | Deferred[Answer | None]:
            job, joined = taken
            if wait is None:
                return self._accepted(request, job, joined)
            found = ResultWait(request, job, wait, outcomes.JOB_FAILED)
            return cast("Answer | Deferred[Answer | None]", while_held(request, (job,), found.answer))

        Replies(request).created(job, True, told)
        return stored.addCallback(answer)

    def _accepted(self, request: WebRequest, job: Job, joined: bool) -> Answer:
        handle = job.handle
        headers = {
            "Location": outcomes.job_path(handle),
            **outcomes.about(handle),
            **refusals.rate_headers(request.peer.tenant, request.now),
        }
        return Answer(accepted(job, joined), 202, headers)


DESCRIPTION: Final = """\
The body is the workload, of any type and any bytes.

By default the job goes to the background: the answer is `202` with its handle, once it is on the disk where
there is a store. With `wait` the answer is the result: `200` and its bytes, or a problem where the job
failed; after `wait` seconds it is `202`, and the job goes on in the background. With `background=false` and
no `wait` there is no bound. A client that goes away while it waits gives the job up, unless a worker has it
by then or `background=true` was said as well.

With `Accept: text/event-stream` the answer is a stream of events: `created`, `data`, `warning`, `progress`,
`restarted`, and at the end `completed`, `failed`, or `accepted` where `wait` seconds are over.
"""


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    operation = Operation(
        "submit_job",
        "Submit a job",
        TAG,
        DESCRIPTION,
        query=SubmitQuery,
        raw_body=True,
        headers=PolicyHeaders,
        answers={200: bytes, 202: Accepted},
        problems=(400, 403, 404, 413, 429, 500, 503, 507),
        content_types={200: outcomes.BYTES},
        links={
            "get_result": {"handle": "$response.body#/handle"},
            "get_job": {"handle": "$response.body#/handle"},
        },
    )
    return [Route("POST", "/api/v1/functions/<name>/jobs", Submits(web).submit, operation)]

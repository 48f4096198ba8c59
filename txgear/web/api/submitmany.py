"""
C{POST /api/v1/jobs}: one background job or many, each with its own outcome in the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType
from twisted.internet.defer import Deferred
from twisted.internet.task import SchedulerStopped
from twisted.python.failure import Failure

from txgear.broker.model import Job
from txgear.errors import AccessDenied, QueueError, ServerError
from txgear.web import refusals
from txgear.web.answers import Answer, Problem
from txgear.web.api import orders
from txgear.web.api.orders import JobPolicy, Moment, Order, Priority, Seconds, TraceHeaders, Unique
from txgear.web.api.replies import Replies
from txgear.web.api.submit import TAG, accepted
from txgear.web.problems import details, problem_of
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web

MOST_AT_ONCE: Final = 1000
"""Jobs in one request: more cost its client no less time, and others wait."""
MOST_BYTES: Final = 4 * 1024 * 1024
"""Bytes of one request with many jobs: to read them takes some milliseconds."""
AT_ONCE: Final = 50
"""Jobs that are submitted in one turn: a millisecond or two."""


_Function = Annotated[str, Meta(min_length=1)]
_Workload = Annotated[str | UnsetType, Meta(description="The workload as text, which is sent as UTF-8.")]
_Base64 = Annotated[bytes | UnsetType, Meta(description="The workload's bytes.")]
_When = Annotated[Moment | None, Meta(description="When it may begin.")]
_Delay = Annotated[Seconds | None, Meta(description="How long it must not begin.")]


class NewJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """
    A background job. Its workload is C{workload}, or C{base64} for bytes that are no text, or empty.
    """

    function: _Function
    workload: _Workload = UNSET
    base64: _Base64 = UNSET
    unique: Unique = ""
    priority: Priority = "normal"
    when: _When = None
    delay: _Delay = None
    policy: JobPolicy | UnsetType = UNSET


_Jobs = Annotated[list[NewJob], Meta(min_length=1, max_length=MOST_AT_ONCE)]


class NewJobs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Jobs, in the order in which they are submitted."""

    jobs: _Jobs


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What became of one of them: it has a handle, as L{txgear.web.api.submit.Accepted} has, or a problem.

    @ivar status: what the answer to it alone would have had: 202, or that of the problem.
    """

    status: int
    handle: str | UnsetType = UNSET
    function: str | UnsetType = UNSET
    joined: bool | UnsetType = UNSET
    job: str | UnsetType = UNSET
    result: str | UnsetType = UNSET
    problem: dict[str, Any] | UnsetType = UNSET


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """
    What became of them, in their order.

    @ivar accepted: how many were taken.
    @ivar refused: how many were not.
    """

    accepted: int
    refused: int
    jobs: list[Outcome]


class Batch:
    """
    The jobs of one request: submitted some at a time, and answered once all are on the disk or refused.
    """

    def __init__(self, request: WebRequest, jobs: list[NewJob]) -> None:
        """
        @param jobs: at least one.
        """
        self.done: Deferred[Answer | None] = Deferred(self._cancelled)
        self._request = request
        self._server = request.server
        self._jobs = jobs
        self._trace = request.trace
        self._outcomes: list[Outcome | None] = [None] * len(jobs)
        self._missing = len(jobs)
        self._retry: list[str] = []
        self._replies = Replies(request)
        self._gone = False

    def begin(self) -> None:
        """Submit them: the first of them now, the others soon."""
        steps = self._submit_all()
        if next(steps, self) is not self:
            going: Deferred[Any] = self._server.cooperator.coiterate(steps)
            _ = going.addErrback(self._failed)

    def _submit_all(self) -> Iterator[None]:
        for index, job in enumerate(self._jobs):
            if self._gone:
                return
            self._submit(index, job)
            if index % AT_ONCE == AT_ONCE - 1 and index + 1 < len(self._jobs):
                self._server.end_turn()
                yield

        self._server.end_turn()

    def _submit(self, index: int, wanted: NewJob) -> None:
        request = self._request
        try:
            order = self._order(wanted)
            job, joined = orders.submit(self._server, request.peer, order, True, self._trace)
        except Problem as problem:
            self._refuse(index, problem)
        except ServerError as error:
            if isinstance(error, AccessDenied):
                self._server.guard.denied(request.peer, error)
            self._refuse(index, self._problem(error))
        else:
            self._replies.created(job, True, partial(self._told, index, joined))

    def _order(self, wanted: NewJob) -> Order:
        if wanted.workload is not UNSET and wanted.base64 is not UNSET:
            raise Problem(422, "invalid_body", "A job has a workload or base64, not both")
        workload = b""
        if isinstance(wanted.workload, str):
            workload = wanted.workload.encode("utf-8")
        elif isinstance(wanted.base64, bytes):
            workload = wanted.base64
        name = wanted.function.encode("utf-8")
        function = orders.named_function(self._server.broker, self._request.peer, name)
        settings = orders.settings_of(wanted.policy)
        return orders.order(
            function, wanted.unique, workload, wanted.priority, wanted.when, wanted.delay, settings
        )

    def _problem(self, error: ServerError) -> Problem:
        if isinstance(error, QueueError):
            return refusals.problem(error, self._request.peer.tenant, self._request.now)
        problem = problem_of(error)
        assert problem is not None
        return problem

    def _told(self, index: int, joined: bool, job: Job, found: bool, error: QueueError | None) -> None:
        if error is not None:
            self._refuse(index, self._problem(error))
            return
        self._put(index, Outcome(status=202, **msgspec.structs.asdict(accepted(job, joined or found))))

    def _refuse(self, index: int, problem: Problem) -> None:
        if (retry := problem.headers.get("Retry-After")) is not None:
            self._retry.append(retry)
        instance = f"urn:txgear:request:{self._request.id}:{index}"
        self._put(index, Outcome(status=problem.status, problem=details(problem, instance)))

    def _put(self, index: int, outcome: Outcome) -> None:
        self._outcomes[index] = outcome
        self._missing -= 1
        if not self._missing:
            self.done.callback(self._answer())

    def _answer(self) -> Answer:
        found = [outcome for outcome in self._outcomes if outcome is not None]
        refused = sum(outcome.problem is not UNSET for outcome in found)
        headers = refusals.rate_headers(self._request.peer.tenant, self._request.now)
        if self._retry:
            headers["Retry-After"] = max(self._retry, key=int)
        body = Outcomes(accepted=len(found) - refused, refused=refused, jobs=found)
        return Answer(body, 207 if refused else 202, headers)

    def _failed(self, failure: Failure) -> None:
        """A defect; or the server ends, and has answered that."""
        if failure.check(SchedulerStopped) is None:
            self.done.errback(failure)

    def _cancelled(self, done: Deferred[Answer | None]) -> None:
        """Nobody hears of them any more: those that are submitted are done, no others follow."""
        self._gone = True


def submit_jobs(request: WebRequest) -> Deferred[Answer | None]:
    """Submit the jobs of a request."""
    batch = Batch(request, request.body(NewJobs).jobs)
    batch.begin()
    return batch.done


DESCRIPTION: Final = f"""\
Up to {MOST_AT_ONCE} background jobs. Where the body is not as it is to be (a wrong type, an unknown name),
nothing is submitted, and the answer is a problem that says where. Otherwise each job has its own outcome, in
the order of the request: `202` means that all were taken, `207` that some were not. The answer comes when
those that are taken are on the disk, where there is a store. To send a request once more after a lost answer
does no harm where each job has a `unique`.
"""


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    operation = Operation(
        "submit_jobs",
        "Submit many jobs",
        TAG,
        DESCRIPTION,
        body=NewJobs,
        most_body=MOST_BYTES,
        answers={202: Outcomes, 207: Outcomes},
        headers=TraceHeaders,
        problems=(400, 403, 413, 415, 422, 503),
        links={
            "get_result": {"handle": "$response.body#/jobs/0/handle"},
            "get_job": {"handle": "$response.body#/jobs/0/handle"},
        },
    )
    return [Route("POST", "/api/v1/jobs", submit_jobs, operation)]

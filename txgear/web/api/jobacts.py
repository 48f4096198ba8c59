"""
What operators do to one job: the acts of the text commands, as HTTP says them.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from txgear.broker.keys import key_of
from txgear.broker.model import Job
from txgear.broker.operators.inspection import PRIORITY_NAMES
from txgear.broker.operators.matching import state_name
from txgear.broker.rights import CANCEL, CORRECT, FORGET, MOVE, PRIORITISE, REQUEUE, REVIEW
from txgear.broker.words import number
from txgear.errors import ServerError
from txgear.protocol.constants import MAX_FUNCTION, UNIQUE_FROM_WORKLOAD
from txgear.protocol.textlines import text
from txgear.server import operatorcommands, reviewcommands
from txgear.web.acts import record
from txgear.web.answers import Answer
from txgear.web.api.finding import as_sent, unknown_job
from txgear.web.api.models import ROOT
from txgear.web.loading import when_named
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web

JOB: Final = f"{ROOT}/jobs/<handle>"

Priority = Literal["high", "normal", "low"]


class NewPriority(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a job is to have."""

    priority: Priority


ReviewName = Annotated[str, Meta(min_length=1, max_length=64)]
FunctionName = Annotated[str, Meta(min_length=1, max_length=4 * MAX_FUNCTION)]
"""Escaped, a byte may be four characters."""


class JobReview(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Where a dead job is to be.

    @ivar review: the name of a review, which may be new; C{null} for in none.
    """

    review: ReviewName | None


class NewFunction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Whose job it is to be.

    @ivar function: its name, as lists show it. It may be new.
    """

    function: FunctionName


class ChangedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job, as it is now."""

    handle: str
    function: str
    state: str
    priority: str
    size: int


class JobActs:
    """One method for each act. Each asks what the peer may do, does it, and records it."""

    def __init__(self, web: Web) -> None:
        self._server = web.server
        self._operations = web.server.broker.operations

    def _job(self, request: WebRequest, act: str, handle: str) -> Job:
        job = operatorcommands.named_job(self._server, request.peer, act, as_sent(handle))
        if job is None:
            raise unknown_job()
        return job

    @staticmethod
    def _changed(request: WebRequest, act: str, job: Job, arguments: str | bytes | None = None) -> Answer:
        record(request, act, handle=job.handle, arguments=arguments)
        return Answer(
            ChangedJob(
                handle=text(job.handle),
                function=text(job.function.name),
                state=state_name(job),
                priority=PRIORITY_NAMES[job.priority],
                size=job.size,
            )
        )

    def cancel(self, request: WebRequest, handle: str) -> Answer:
        """End it."""
        job = self._job(request, CANCEL, handle)
        if not self._operations.cancel(job.handle, request.now):
            raise ServerError("The job has ended", "ENDED")
        return self._changed(request, CANCEL, job)

    def requeue(self, request: WebRequest, handle: str) -> Answer:
        """Queue it again, as it is dead, or at once, as it waits."""
        job = self._job(request, REQUEUE, handle)
        operatorcommands.requeue_job(self._server, job)
        return self._changed(request, REQUEUE, job)

    def forget(self, request: WebRequest, handle: str) -> Answer:
        """Forget it, as it has ended."""
        job = self._job(request, FORGET, handle)
        operatorcommands.forget_job(self._server, job)
        record(request, FORGET, handle=job.handle)
        return Answer(None, 204)

    def prioritise(self, request: WebRequest, handle: str) -> Answer:
        """Give it another priority."""
        wanted: NewPriority = request.body(NewPriority)
        return self.give_priority(request, handle, wanted.priority)

    def give_priority(self, request: WebRequest, handle: str, priority: Priority) -> Answer:
        """Give it this priority."""
        job = self._job(request, PRIORITISE, handle)
        self._operations.reprioritise(job, PRIORITY_NAMES.index(priority), request.now)
        return self._changed(request, PRIORITISE, job, priority)

    def move(self, request: WebRequest, handle: str) -> Answer:
        """Make it one of another function."""
        wanted: NewFunction = request.body(NewFunction)
        return self.move_to(request, handle, wanted.function)

    def move_to(self, request: WebRequest, handle: str, function: str) -> Answer:
        """
        Make it one of this function.

        @param function: its name, as lists show it.
        """
        job = self._job(request, MOVE, handle)
        name = function.encode("utf-8")
        named = operatorcommands.named_function(self._server, request.peer, MOVE, name)
        self._operations.move(job, named, request.now)
        return self._changed(request, MOVE, job, named)

    def review(self, request: WebRequest, handle: str) -> Answer:
        """Set it aside, or put it back."""
        wanted: JobReview = request.body(JobReview)
        job = self._job(request, REVIEW, handle)
        reviewcommands.review_job(self._server, request.peer, job, wanted.review or "")
        return self._changed(request, REVIEW, job, wanted.review or "-")

    def correct(self, request: WebRequest, handle: str) -> Any:
        """Give it another workload."""
        job = self._job(request, CORRECT, handle)
        key = key_of(job.unique, request.raw_body) if job.unique == UNIQUE_FROM_WORKLOAD else None
        # Its unique is another one then, which some job may have.
        return when_named(request, [] if key is None else [key], lambda: self._correct(request, job))

    def _correct(self, request: WebRequest, job: Job) -> Answer:
        self._operations.correct(job, request.raw_body, request.now)
        if self._server.broker.persistence.crowded:
            # No more of this until less is on its way to the disk.
            self._server.outbox.pause(request.peer)
        return self._changed(request, CORRECT, job, number(job.size, "byte"))


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    of = JobActs(web)
    return [
        Route("POST", f"{JOB}/cancel", of.cancel, _CANCEL),
        Route("POST", f"{JOB}/requeue", of.requeue, _REQUEUE),
        Route("POST", f"{JOB}/forget", of.forget, _FORGET),
        Route("POST", f"{JOB}/prioritise", of.prioritise, _PRIORITISE),
        Route("POST", f"{JOB}/move", of.move, _MOVE),
        Route("POST", f"{JOB}/review", of.review, _REVIEW),
        Route("PUT", f"{JOB}/workload", of.correct, _CORRECT),
    ]


_PROBLEMS = (400, 401, 403, 404, 409, 503, 504)
_CHANGED = {200: ChangedJob}
_LINKS = {"get_job": {"handle": "$response.body#/handle"}}

_CANCEL = Operation(
    "cancel_job",
    "Cancel a job that has not ended",
    "jobs",
    "Clients hear that it failed; so does its worker, if it understands that.",
    answers=_CHANGED,
    problems=_PROBLEMS,
)
_REQUEUE = Operation(
    "requeue_job",
    "Queue a job that is dead or waits",
    "jobs",
    "A dead one has all its attempts again; one that waits for its time or its next attempt waits"
    " no more. It comes behind all others.",
    answers=_CHANGED,
    problems=_PROBLEMS,
    links=_LINKS,
)
_FORGET = Operation(
    "forget_job",
    "Forget a job that has ended",
    "jobs",
    answers={204: None},
    problems=_PROBLEMS,
)
_PRIORITISE = Operation(
    "prioritise_job",
    "Give a job another priority",
    "jobs",
    "One that no worker has, or a dead one. It comes behind all others that have this priority.",
    body=NewPriority,
    answers=_CHANGED,
    problems=(*_PROBLEMS, 413, 415, 422),
    links=_LINKS,
)
_MOVE = Operation(
    "move_job",
    "Make a job one of another function",
    "jobs",
    "One that no worker has, or a dead one. Who waits for it goes on waiting. The right is needed"
    " for both functions.",
    body=NewFunction,
    answers=_CHANGED,
    problems=(*_PROBLEMS, 413, 415, 422),
    links=_LINKS,
)
_REVIEW = Operation(
    "review_job",
    "Set a dead job aside in a review, or put it back",
    "jobs",
    "What is done to all dead jobs of a function passes over it.",
    body=JobReview,
    answers=_CHANGED,
    problems=(*_PROBLEMS, 413, 415, 422),
    links=_LINKS,
)
_CORRECT = Operation(
    "correct_job",
    "Give a job another workload",
    "jobs",
    "One that no worker has, or a dead one, which can be queued again then. It keeps its turn.",
    raw_body=True,
    answers=_CHANGED,
    problems=(*_PROBLEMS, 413),
    links=_LINKS,
)

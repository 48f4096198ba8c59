"""
What operators do to one job or one function: the acts of the text commands, as HTTP says them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from txgear.broker.inspection import PRIORITY_NAMES
from txgear.broker.matching import state_name
from txgear.broker.model import Job
from txgear.broker.rights import (
    CANCEL,
    CORRECT,
    CREATE,
    DROP,
    FORGET,
    MAXQUEUE,
    MOVE,
    PAUSE,
    PRIORITISE,
    PURGE,
    REQUEUE,
    RESUME,
    REVIEW,
)
from txgear.broker.uniques import key_of
from txgear.errors import ServerError
from txgear.protocol.constants import MAX_FUNCTION, UNIQUE_FROM_WORKLOAD
from txgear.protocol.textlines import shown_word, text
from txgear.server import everywhere, operatorcommands, reviewcommands
from txgear.server.everywhere import Outcome
from txgear.web.acts import record
from txgear.web.answers import Answer, Problem
from txgear.web.api.finding import as_sent, unknown_job
from txgear.web.loading import when_named
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web

Priority = Literal["high", "normal", "low"]

MOST_QUEUED: Final = 2**31 - 1
"""The largest bound that C{maxqueue} takes."""


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


Bound = Annotated[int, Meta(ge=0, le=MOST_QUEUED)]


class MaxQueue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Jobs of a function at which a submit of each priority is refused; 0 for no bound."""

    high: Bound = 0
    normal: Bound = 0
    low: Bound = 0


class ChangedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job, as it is now."""

    handle: str
    function: str
    state: str
    priority: str
    size: int


class ChangedFunction(msgspec.Struct, frozen=True, kw_only=True):
    """A function, as it is now."""

    function: str
    paused: bool


class Purged(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is purged.

    @ivar jobs: how many are cancelled, in this moment and the next.
    """

    function: str
    jobs: int


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
        return self._changed(request, CORRECT, job, f"{job.size} bytes")


class FunctionActs:
    """As L{JobActs}, for functions."""

    def __init__(self, web: Web) -> None:
        self._server = web.server
        self._operations = web.server.broker.operations

    def _named(self, request: WebRequest, act: str, name: str) -> bytes:
        return operatorcommands.named_function(self._server, request.peer, act, as_sent(name))

    def _given(self, request: WebRequest, act: str, name: str) -> bytes:
        word = as_sent(name)
        if not word:
            raise Problem(400, "invalid_function", "The name of a function is not empty here")
        return operatorcommands.known_or_given(self._server, request.peer, act, word)

    @staticmethod
    def _changed(request: WebRequest, act: str, function: bytes, paused: bool) -> Answer:
        record(request, act, function=function)
        return Answer(ChangedFunction(function=text(function), paused=paused))

    def pause(self, request: WebRequest, name: str) -> Answer:
        """Hand out no more of its jobs."""
        function = self._named(request, PAUSE, name)
        self._operations.pause(function, request.now, request.peer.who)
        return self._changed(request, PAUSE, function, True)

    def resume(self, request: WebRequest, name: str) -> Answer:
        """Hand them out again."""
        function = self._named(request, RESUME, name)
        if not self._operations.resume(function, request.now):
            raise ServerError("The function is not paused", "NOT_PAUSED")
        return self._changed(request, RESUME, function, False)

    def purge(self, request: WebRequest, name: str) -> Any:
        """Cancel its jobs that no worker has."""
        function = self._named(request, PURGE, name)
        purged = self._operations.purge(function, request.now, request.peer.who)
        if purged is not None:
            record(request, PURGE, function=function, answer=purged)

        def done(elsewhere: Outcome) -> Answer:
            if purged is None and not elsewhere.done:
                raise operatorcommands.unknown_function()
            count = (purged or 0) + (elsewhere.jobs or 0)
            _check(elsewhere, count)
            return Answer(Purged(function=text(function), jobs=count))

        return self._by_others(request, PURGE, function, done)

    def _by_others(
        self, request: WebRequest, act: str, function: bytes, done: Callable[[Outcome], Answer]
    ) -> Any:
        what = b"" if act == PURGE else b"function "
        line = b"%b %b%b" % (act.encode("ascii"), what, shown_word(function))
        return everywhere.by_others(self._server, request.peer, line, done)

    def limit(self, request: WebRequest, name: str) -> Answer:
        """Bound its queue, as the body says."""
        return self.set_limit(request, name, request.body(MaxQueue))

    def set_limit(self, request: WebRequest, name: str, wanted: MaxQueue) -> Answer:
        """Bound its queue."""
        function = self._given(request, MAXQUEUE, name)
        limits = wanted.high, wanted.normal, wanted.low
        self._operations.limit_function(function, limits)
        record(request, MAXQUEUE, function=function, arguments=" ".join(map(str, limits)))
        return Answer(wanted)

    def create(self, request: WebRequest, name: str) -> Answer:
        """Keep it although nobody uses it."""
        function = self._given(request, CREATE, name)
        known = self._server.broker.functions.by_name.get(function)
        self._operations.create_function(function)
        record(request, CREATE, function=function)
        found = self._server.broker.functions.by_name[function]
        changed = ChangedFunction(function=text(function), paused=found.paused)
        return Answer(changed, 201 if known is None else 200)

    def drop(self, request: WebRequest, name: str) -> Any:
        """Forget it."""
        word = as_sent(name)
        dropped = operatorcommands.drop_function(self._server, request.peer, word)
        if dropped:
            record(request, DROP, function=word)
        elif dropped is not None:
            raise _in_use()

        def done(elsewhere: Outcome) -> Answer:
            if elsewhere.in_use:
                raise _in_use()
            if dropped is None and not elsewhere.done:
                raise operatorcommands.unknown_function()
            _check(elsewhere, 0)
            return Answer(None, 204)

        return self._by_others(request, DROP, word, done)


def _in_use() -> ServerError:
    return ServerError("The function has workers or jobs", "FUNCTION_IN_USE")


def _check(elsewhere: Outcome, count: int) -> None:
    """
    @raise ServerError: others have not done it.
    """
    if (error := elsewhere.error(count)) is not None:
        raise error


ONE_JOB: Final = (400, 401, 403, 404, 409, 503, 504)
ONE_FUNCTION: Final = (400, 401, 403, 404, 409)
CHANGED: Final = {200: ChangedJob}


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    jobs, functions = JobActs(web), FunctionActs(web)
    links = {"get_job": {"handle": "$response.body#/handle"}}
    of_jobs = [
        Route(
            "POST",
            "/api/v1/jobs/<handle>/cancel",
            jobs.cancel,
            Operation(
                "cancel_job",
                "Cancel a job that has not ended",
                "jobs",
                "Clients hear that it failed; so does its worker, if it understands that.",
                answers=CHANGED,
                problems=ONE_JOB,
            ),
        ),
        Route(
            "POST",
            "/api/v1/jobs/<handle>/requeue",
            jobs.requeue,
            Operation(
                "requeue_job",
                "Queue a job that is dead or waits",
                "jobs",
                "A dead one has all its attempts again; one that waits for its time or its next attempt waits"
                " no more. It comes behind all others.",
                answers=CHANGED,
                problems=ONE_JOB,
                links=links,
            ),
        ),
        Route(
            "POST",
            "/api/v1/jobs/<handle>/forget",
            jobs.forget,
            Operation(
                "forget_job",
                "Forget a job that has ended",
                "jobs",
                answers={204: None},
                problems=ONE_JOB,
            ),
        ),
        Route(
            "POST",
            "/api/v1/jobs/<handle>/prioritise",
            jobs.prioritise,
            Operation(
                "prioritise_job",
                "Give a job another priority",
                "jobs",
                "One that no worker has, or a dead one. It comes behind all others that have this priority.",
                body=NewPriority,
                answers=CHANGED,
                problems=(*ONE_JOB, 413, 415, 422),
                links=links,
            ),
        ),
        Route(
            "POST",
            "/api/v1/jobs/<handle>/move",
            jobs.move,
            Operation(
                "move_job",
                "Make a job one of another function",
                "jobs",
                "One that no worker has, or a dead one. Who waits for it goes on waiting. The right is needed"
                " for both functions.",
                body=NewFunction,
                answers=CHANGED,
                problems=(*ONE_JOB, 413, 415, 422),
                links=links,
            ),
        ),
        Route(
            "POST",
            "/api/v1/jobs/<handle>/review",
            jobs.review,
            Operation(
                "review_job",
                "Set a dead job aside in a review, or put it back",
                "jobs",
                "What is done to all dead jobs of a function passes over it.",
                body=JobReview,
                answers=CHANGED,
                problems=(*ONE_JOB, 413, 415, 422),
                links=links,
            ),
        ),
        Route(
            "PUT",
            "/api/v1/jobs/<handle>/workload",
            jobs.correct,
            Operation(
                "correct_job",
                "Give a job another workload",
                "jobs",
                "One that no worker has, or a dead one, which can be queued again then. It keeps its turn.",
                raw_body=True,
                answers=CHANGED,
                problems=(*ONE_JOB, 413),
                links=links,
            ),
        ),
    ]
    of_functions = [
        Route(
            "POST",
            "/api/v1/functions/<name>/pause",
            functions.pause,
            Operation(
                "pause_function",
                "Hand out no more jobs of a function",
                "functions",
                "Until it is resumed, over restarts too; jobs are still taken.",
                answers={200: ChangedFunction},
                problems=ONE_FUNCTION,
            ),
        ),
        Route(
            "POST",
            "/api/v1/functions/<name>/resume",
            functions.resume,
            Operation(
                "resume_function",
                "Hand out jobs of a paused function again",
                "functions",
                answers={200: ChangedFunction},
                problems=ONE_FUNCTION,
            ),
        ),
        Route(
            "POST",
            "/api/v1/functions/<name>/purge",
            functions.purge,
            Operation(
                "purge_function",
                "Cancel all jobs of a function that no worker has",
                "functions",
                "By and by; one that is submitted again meanwhile stays.",
                answers={200: Purged},
                problems=(*ONE_FUNCTION, 504),
            ),
        ),
        Route(
            "PUT",
            "/api/v1/functions/<name>/maxqueue",
            functions.limit,
            Operation(
                "limit_function",
                "Bound the queue of a function",
                "functions",
                body=MaxQueue,
                answers={200: MaxQueue},
                problems=(*ONE_FUNCTION, 413, 415, 422, 503),
            ),
        ),
        Route(
            "PUT",
            "/api/v1/functions/<name>",
            functions.create,
            Operation(
                "create_function",
                "Keep a function although nobody uses it",
                "functions",
                "`201` where it was not known before.",
                answers={200: ChangedFunction, 201: ChangedFunction},
                problems=(*ONE_FUNCTION, 503),
            ),
        ),
        Route(
            "DELETE",
            "/api/v1/functions/<name>",
            functions.drop,
            Operation(
                "drop_function",
                "Forget a function that has no workers and no jobs",
                "functions",
                answers={204: None},
                problems=(*ONE_FUNCTION, 504),
            ),
        ),
    ]
    return of_jobs + of_functions

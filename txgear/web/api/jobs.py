"""
Jobs, as they are read: lists, one of them, and its workload.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec import UNSET, Struct, UnsetType, field
from twisted.internet.defer import Deferred

from txgear.broker.model import Job
from txgear.broker.operators import inspection
from txgear.broker.operators.search import Search
from txgear.broker.rights import READ, check, knows
from txgear.broker.states import DEAD
from txgear.server import clusterstate
from txgear.web.answers import Answer, Problem
from txgear.web.api import jobmodels, outcomes
from txgear.web.api.finding import function_path, job_named, job_path, unknown_job
from txgear.web.api.models import ROOT, DeadPage, EndedPage, LivePage, search_of
from txgear.web.api.openapi import BYTES
from txgear.web.loading import not_read, page_of
from txgear.web.payloads import Sending
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web

LARGEST: Final = 2**53
"""Up to here a whole number is exact in JavaScript, and wherever else JSON's numbers become doubles."""


class WorkloadQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    How a workload is wanted.

    @ivar form: C{json} for its beginning as text, to be shown; otherwise it is all of its bytes.
    """

    form: Literal["json"] | UnsetType = field(default=UNSET, name="as")


class JobRoutes:
    """What is answered."""

    def __init__(self, web: Web) -> None:
        self._broker = web.server.broker
        self._payloads = web.payloads

    def live(self, request: WebRequest) -> Deferred[Answer]:
        """Jobs that have not ended."""
        return self._page(request, "jobs", search_of(request.query(LivePage)))

    def dead(self, request: WebRequest) -> Deferred[Answer]:
        """The dead."""
        return self._page(request, "dead", search_of(request.query(DeadPage)))

    def kept(self, request: WebRequest) -> Deferred[Answer]:
        """The others that have ended."""
        return self._page(request, "kept", search_of(request.query(EndedPage)))

    @staticmethod
    def _page(request: WebRequest, of: str, search: Search) -> Deferred[Answer]:
        def answer(page: dict[str, Any] | None) -> Answer:
            if page is None:
                raise not_read()
            page["next"] = _exact(page["next"])
            return Answer({**page, "others": clusterstate.not_listed(request.server, request.peer)})

        return page_of(request.server, request.peer, of, search).addCallback(answer)

    def job(self, request: WebRequest, handle: str) -> Answer:
        """One of them."""
        job = job_named(request, handle)
        found = inspection.job(self._broker, request.peer, job, request.now)
        path = job_path(job)
        found["links"] = {
            "self": path,
            "function": function_path(job.function.name),
            "workload": f"{path}/workload",
            "result": f"{path}/result",
        }
        return Answer(found)

    def workload(self, request: WebRequest, handle: str) -> Deferred[Answer | None]:
        """Its workload."""
        query = request.query(WorkloadQuery)
        job = job_named(request, handle)
        check(request.peer, READ, job.function.name)
        if job.ended and job.state != DEAD:
            raise Problem(404, "no_workload", "The job has ended, its workload is not kept")
        release = self._payloads.hold(job.size)

        def gone(waiting: Deferred[Answer | None]) -> None:
            release()
            waiting.callback(None)

        done: Deferred[Answer | None] = Deferred(gone)

        def come(found: bytes | None) -> None:
            if done.called:
                return
            try:
                _check_read(request, job, found)
                assert found is not None
                if query.form == "json":
                    release()
                    done.callback(Answer(inspection.workload(job, found)))
                    return
                headers = outcomes.attachment(job.handle, "workload")
                if request.method == b"HEAD":
                    release()
                    done.callback(Answer(found, headers=headers, content_type=BYTES))
                    return
                streamed = request.stream(200, BYTES, {**headers, "Content-Length": str(len(found))})
            except Exception:
                release()
                done.errback()
                return
            Sending(streamed, (found,), release).go_on()
            done.callback(None)

        self._broker.archive.read(job, come)
        return done


def _exact(number: int | None) -> int | str | None:
    """A number as it arrives at whatever reads JSON."""
    return str(number) if number is not None and number > LARGEST else number


def _check_read(request: WebRequest, job: Job, found: bytes | None) -> None:
    """
    Look again, when something has been read: rights may have changed meanwhile.

    @raise Problem: nothing could be read, or the peer may not know of the job any more.
    @raise AccessDenied: the peer may not read it any more.
    """
    if not knows(request.peer, job.function):
        raise unknown_job()
    check(request.peer, READ, job.function.name)
    if found is None:
        raise not_read()


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    of = JobRoutes(web)
    return [
        Route("GET", f"{ROOT}/jobs", of.live, _LIVE),
        Route("GET", f"{ROOT}/dead", of.dead, _DEAD),
        Route("GET", f"{ROOT}/kept", of.kept, _KEPT),
        Route("GET", f"{ROOT}/jobs/<handle>", of.job, _JOB),
        Route("GET", f"{ROOT}/jobs/<handle>/workload", of.workload, _WORKLOAD),
    ]


_FIRST: dict[str, Any] = {"handle": "$response.body#/jobs/0/handle"}
_LINKS = {"get_job": _FIRST, "get_workload": _FIRST}

_LIVE = Operation(
    "list_jobs",
    "Jobs that have not ended",
    "jobs",
    "The oldest first, in pages. Making one takes milliseconds, however many jobs there are.",
    query=LivePage,
    answers={200: jobmodels.LiveJobs},
    links=_LINKS,
)
_DEAD = Operation(
    "list_dead",
    "Jobs that have no attempt left",
    "jobs",
    "The oldest first, in pages.",
    query=DeadPage,
    answers={200: jobmodels.DeadJobs},
    links=_LINKS,
)
_KEPT = Operation(
    "list_kept",
    "Other jobs that have ended and are still known",
    "jobs",
    "The oldest first, in pages.",
    query=EndedPage,
    answers={200: jobmodels.KeptJobs},
    links=_LINKS,
)
_JOB = Operation(
    "get_job",
    "All that is known of a job",
    "jobs",
    "Whether or not it has ended.",
    answers={200: jobmodels.Job},
    problems=(404, 503, 504),
    links={
        "get_workload": {"handle": "$response.body#/handle"},
        "get_function": {"name": "$response.body#/function"},
    },
)
_WORKLOAD = Operation(
    "get_workload",
    "The workload of a job",
    "jobs",
    "Whole, as bytes, and as fast as it is read; or with `as=json` its beginning, to be shown."
    " Takes the right `read`. A job that has ended has its workload only if it is dead.",
    query=WorkloadQuery,
    answers={200: bytes | jobmodels.Workload},
    content_types={200: BYTES},
    problems=(403, 404, 503, 504),
)

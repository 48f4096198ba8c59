"""
What is submitted by the clock, and what of that is submitted at once.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct
from twisted.internet.defer import Deferred

from txgear.broker.model import Job, Peer
from txgear.broker.rights import SETTINGS, SUBMIT, check
from txgear.errors import QueueError
from txgear.server import overview, runcommand
from txgear.server.runcommand import ScheduledJob
from txgear.server.turns import Steps
from txgear.web import refusals
from txgear.web.acts import record
from txgear.web.answers import Answer
from txgear.web.api import outcomes
from txgear.web.api.finding import as_sent
from txgear.web.api.models import ROOT, Moment
from txgear.web.api.replies import Replies
from txgear.web.api.submit import Accepted, accepted
from txgear.web.loading import kept_there
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.steps import at_once_or_in_steps
from txgear.web.web import Web

AT_ONCE: Final = 5
"""Schedules that are looked at between two yields."""


class ScheduleRun(Struct, frozen=True, kw_only=True):
    """
    A job that a schedule has brought.

    @ivar at: the time for which it was, or when somebody had it run.
    @ivar handle: its handle.
    @ivar joined: whether it was there before: the last one with its unique had not ended.
    @ivar by_hand: whether somebody had it run.
    @ivar state: how it is; C{null} where it is not known any more.
    """

    at: Moment
    handle: str
    joined: bool
    by_hand: bool
    state: str | None


class Schedule(Struct, frozen=True, kw_only=True):
    """
    When jobs are submitted by the clock.

    @ivar name: what it is called.
    @ivar cron: its cron line.
    @ivar timezone: where that is meant.
    @ivar function: the function of its jobs.
    @ivar last: the time for which it has run last, or from which on it counts.
    @ivar next: the next one; C{null} for none.
    @ivar words: its cron line in words.
    @ivar unique: the unique of its jobs; empty for none.
    @ivar priority: their priority.
    @ivar size: bytes of their workload.
    @ivar upcoming: the next times.
    @ivar remarks: sentences about what comes of it when the clock is changed.
    @ivar run: its last job since the server started; C{null} for none.
    @ivar refused: why the job for the last time was not taken; C{null} where it was.
    """

    name: str
    cron: str
    timezone: str
    function: str
    last: Moment | None
    next: Moment | None
    words: str
    unique: str
    priority: str
    size: int
    upcoming: list[Moment]
    remarks: list[str]
    run: ScheduleRun | None
    refused: str | None


class Schedules(Struct, frozen=True, kw_only=True):
    """
    The schedules in force.

    @ivar schedules: in the order of the file.
    """

    schedules: list[Schedule]


def run_at_once(request: WebRequest, name: str) -> Deferred[ScheduledJob]:
    """
    Submit the job of a schedule at once, and note that.

    @param name: a part of a path, or what a form has.
    @return: a Deferred that fires once the job is on the disk, where there is a store; it fails with a
        L{Problem<txgear.web.answers.Problem>} where the store does not take it.
    @raise ServerError: there is no such schedule, or the job is not taken.
    """
    server, peer = request.server, request.peer
    word = runcommand.schedule_named(server, peer, as_sent(name))
    if word is None:
        raise runcommand.unknown_schedule()
    found = runcommand.run(server, peer, word)
    done: Deferred[ScheduledJob] = Deferred()

    def told(job: Job, joined: bool, error: QueueError | None) -> None:
        if error is not None:
            server.scheduler.take_back(found.schedule, found.at)
            done.errback(refusals.problem(error))
        else:
            answered = found.answered(job.handle)
            server.scheduler.has_come(found.schedule, found.at, job.handle)
            record(request, SUBMIT, **runcommand.about(answered))
            done.callback(answered)

    Replies(request).created(found.job, True, told)
    return done


class ScheduleRoutes:
    """What is answered."""

    def __init__(self, web: Web) -> None:
        self._server = web.server

    def schedules(self, request: WebRequest) -> Answer | Deferred[Any]:
        """What is submitted by the clock."""
        check(request.peer, SETTINGS)
        found: list[dict[str, Any]] = []
        steps = self._list(request.peer, found)
        return at_once_or_in_steps(self._server.cooperator, steps, lambda: Answer({"schedules": found}))

    def _list(self, peer: Peer, found: list[dict[str, Any]]) -> Steps:
        """Each may take half a millisecond, where its next times are not known."""
        server = self._server
        names = overview.visible_schedules(server, peer, list(server.scheduler.schedules))
        release = yield from kept_there(server, peer, overview.last_jobs(server, names))
        try:
            for name in names:
                # It may be in force no more.
                if name in server.scheduler.schedules:
                    found.append(overview.schedule(server, peer, name))
                    if len(found) % AT_ONCE == 0:
                        yield None
        finally:
            release()

    def run(self, request: WebRequest, name: str) -> Deferred[Answer]:
        """The job of one of them, now."""
        return run_at_once(request, name).addCallback(self._accepted)

    @staticmethod
    def _accepted(found: ScheduledJob) -> Answer:
        handle = found.job.handle
        headers = {"Location": outcomes.job_path(handle), **outcomes.about(handle)}
        return Answer(accepted(found.job, found.joined), 202, headers)


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    of = ScheduleRoutes(web)
    return [
        Route("GET", f"{ROOT}/schedules", of.schedules, _SCHEDULES),
        Route("POST", f"{ROOT}/schedules/<name>/run", of.run, _RUN),
    ]


_SCHEDULES = Operation(
    "list_schedules",
    "The schedules in force",
    "policies",
    "Those of functions that one may see. Takes the right `settings`.",
    answers={200: Schedules},
    problems=(403,),
)
_RUN = Operation(
    "run_schedule",
    "Run the job of a schedule at once",
    "policies",
    "With the workload, the unique and the priority that it has at its time; its next time stays as it is."
    " Where its last job with that unique has not ended, no other is added, and the answer has that one"
    " (`joined`). Takes the right `submit` for its function, and `settings` and `see` to know of it.",
    answers={202: Accepted},
    problems=(400, 403, 404, 503, 507),
    links={
        "get_result": {"handle": "$response.body#/handle"},
        "get_job": {"handle": "$response.body#/handle"},
    },
)

"""
C{POST /api/v1/jobs/{handle}/copy}: a job that is made from another.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType
from twisted.internet.defer import Deferred

from txgear.broker.model import Job
from txgear.broker.rights import READ, SUBMIT
from txgear.errors import InvalidArgument, QueueError
from txgear.protocol.packets import Data
from txgear.protocol.textlines import text
from txgear.server import copying
from txgear.server.copying import NewCopy
from txgear.server.operatorcommands import named_job
from txgear.web import refusals
from txgear.web.acts import record
from txgear.web.answers import Answer
from txgear.web.api import orders, outcomes
from txgear.web.api.finding import as_sent, unknown_job
from txgear.web.api.jobacts import FunctionName
from txgear.web.api.orders import JobPolicy, Moment, Priority, Seconds, Unique
from txgear.web.api.replies import Replies
from txgear.web.api.submit import Accepted, accepted
from txgear.web.loading import not_read
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web

_Function = Annotated[FunctionName | UnsetType, Meta(description="By default that of the original.")]
_Workload = Annotated[
    str | UnsetType, Meta(description="Another workload, as text; by default it is that of the original.")
]
_Base64 = Annotated[bytes | UnsetType, Meta(description="Another workload, as bytes.")]
_Unique = Annotated[Unique, Meta(description="What the copy is called; by default it has no name.")]
_Priority = Annotated[Priority | UnsetType, Meta(description="By default that of the original.")]
_When = Annotated[Moment | None, Meta(description="When it may begin.")]
_Delay = Annotated[Seconds | None, Meta(description="How long it must not begin.")]
_Policy = Annotated[
    JobPolicy | UnsetType,
    Meta(description="What is to hold for it; by default what was set for the original."),
]


class Copy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be other than with the original."""

    function: _Function = UNSET
    workload: _Workload = UNSET
    base64: _Base64 = UNSET
    unique: _Unique = ""
    priority: _Priority = UNSET
    when: _When = None
    delay: _Delay = None
    policy: _Policy = UNSET

    def wanted(self, request: WebRequest) -> NewCopy:
        """
        @raise AccessDenied: the peer may not submit to the function.
        @raise InvalidArgument: something of it makes no sense.
        """
        function: bytes | None = None
        if self.function is not UNSET:
            name = self.function.encode("utf-8")
            function = orders.named_function(request.server.broker, request.peer, name)
        # Only what is read here is of interest of it.
        order = orders.order(
            function or b"", self.unique, self._given() or b"", "normal", self.when, self.delay, {}
        )
        return NewCopy(
            function,
            self._given(),
            order.unique,
            None if self.priority is UNSET else orders.PRIORITIES[self.priority],
            order.due,
            order.delay,
            None if self.policy is UNSET else orders.settings_of(self.policy),
        )

    def _given(self) -> bytes | None:
        if self.workload is not UNSET:
            if self.base64 is not UNSET:
                raise InvalidArgument("base64: a job has one workload, as text or as bytes, not both")
            return self.workload.encode("utf-8")
        return None if self.base64 is UNSET else self.base64


class Copies:
    """Makes them."""

    def __init__(self, web: Web) -> None:
        self._server = web.server
        self._payloads = web.payloads

    def copy(self, request: WebRequest, handle: str) -> Deferred[Answer]:
        """Make one, as a request says."""
        wanted: Copy = request.body(Copy)
        return self.make(request, handle, wanted).addCallback(self._answer)

    @staticmethod
    def _answer(made: tuple[Job, bool]) -> Answer:
        job, joined = made
        path = outcomes.job_path(job.handle)
        return Answer(accepted(job, joined), 202, {"Location": path, **outcomes.about(job.handle)})

    def make(self, request: WebRequest, handle: str, wanted: Copy) -> Deferred[tuple[Job, bool]]:
        """
        Make a copy, and record it.

        @return: fires with the job, once it is on the disk where there is a store, and whether it was there
            before, by its unique; fails with what is answered.
        """
        server, peer = self._server, request.peer
        original = named_job(server, peer, READ, as_sent(handle))
        if original is None:
            raise unknown_job()
        order = wanted.wanted(request)
        release = self._payloads.hold(original.size if order.workload is None else 0)
        done: Deferred[tuple[Job, bool]] = Deferred(lambda waiting: release())

        def come(workload: Data | None) -> None:
            release()
            if done.called:
                return
            try:
                if workload is None:
                    raise not_read()
                job, joined = copying.copy(server, peer, original, order, workload)
            except QueueError as error:
                done.errback(refusals.problem(error, peer.tenant, request.now))
            except Exception:
                done.errback()
            else:
                about = f"copy of {text(original.handle)}"
                record(request, SUBMIT, function=job.function.name, handle=job.handle, arguments=about)
                Replies(request).created(job, True, partial(told, joined))
            server.end_turn()

        def told(joined: bool, job: Job, found: bool, error: QueueError | None) -> None:
            if done.called:
                return
            if error is None:
                done.callback((job, joined or found))
            else:
                done.errback(refusals.problem(error, peer.tenant, request.now))

        try:
            copying.read_workload(server, original, order, come)
        except BaseException:
            release()
            raise
        return done


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    operation = Operation(
        "copy_job",
        "Submit a job that is made from another",
        "jobs",
        "The same once more, or with something changed: a new background job, on the account of who asks. The"
        " two show each other as `copy_of` and `copies`. It takes the right `read` for the original, and"
        " `submit` for the function of the copy. Of a job that is done no workload is kept: then one has to"
        " be given. With `{}` nothing is changed.",
        body=Copy,
        answers={202: Accepted},
        problems=(400, 401, 403, 404, 409, 413, 415, 422, 429, 503, 504, 507),
        links={"get_job": {"handle": "$response.body#/handle"}},
    )
    return [Route("POST", "/api/v1/jobs/<handle>/copy", Copies(web).copy, operation)]

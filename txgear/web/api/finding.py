"""
What a path means: a job, a function.

What one may not see is not there. A name may stand in a path as it is, or as it is shown in answers; see
L{txgear.broker.operators.inspection.readings}.
"""

from __future__ import annotations

from urllib.parse import quote

from txgear.broker.model import Function, Job
from txgear.broker.operators import inspection
from txgear.broker.rights import SEE, may
from txgear.protocol.textlines import text, unescaped
from txgear.web.answers import Problem
from txgear.web.api.models import ROOT
from txgear.web.request import WebRequest


def unknown_job() -> Problem:
    """There is no such job, or the peer may not know of it."""
    return Problem(404, "unknown_job", "There is no such job")


def as_sent(part: str) -> bytes:
    """
    The bytes of a part of a path.

    @param part: as an endpoint is given it.
    """
    return unescaped(part.encode("utf-8"))


def job_named(request: WebRequest, handle: str) -> Job:
    """
    @param handle: a part of the path.
    @raise Problem: there is no such job, or none of which the peer may know.
    """
    job = inspection.find(request.server.broker, request.peer, as_sent(handle))
    if job is None:
        raise unknown_job()
    return job


def function_named(request: WebRequest, name: str) -> Function:
    """
    @param name: a part of the path.
    @raise Problem: there is no such function, or none of which the peer may know.
    """
    broker, peer = request.server.broker, request.peer
    names = [each for each in inspection.readings(as_sent(name)) if may(peer, SEE, each)]
    known = inspection.known_function(broker, names)
    if known is None:
        raise Problem(404, "unknown_function", "There is no such function")
    return broker.functions.by_name[known]


def job_path(job: Job) -> str:
    """The path of a job."""
    return f"{ROOT}/jobs/{quote(text(job.handle), safe='')}"


def function_path(name: bytes) -> str:
    """The path of a function."""
    return f"{ROOT}/functions/{quote(text(name), safe='')}"

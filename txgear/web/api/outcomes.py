"""
How a job has ended, as HTTP says it.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import quote

import msgspec

from txgear.broker.model import Job
from txgear.broker.operators import inspection
from txgear.broker.operators.matching import state_name
from txgear.broker.states import CANCELLED, DEAD, DONE, EXPIRED, FAILED, STATE_NAMES
from txgear.protocol.packets import Data
from txgear.protocol.textlines import text
from txgear.web.answers import Answer, Problem
from txgear.web.events.sse import said

BYTES: Final = "application/octet-stream"
"""The type of results: nobody knows what they are."""

JOB_FAILED: Final = 500
"""The status where somebody waited for a job that failed; also that of the Gearman protocol's HTTP port."""
NO_RESULT: Final = 410
"""The status where somebody asks for a result, and there will be none."""

_FAILURES: Final = {
    FAILED: ("job_failed", "The job has failed"),
    DEAD: ("job_dead", "The job has failed, and no attempt is left; an operator may queue it again"),
    CANCELLED: ("job_cancelled", "The job was cancelled"),
    EXPIRED: ("job_expired", "No worker had the job in time"),
}
"""By the state of a job that has ended otherwise than done: the code and the text of the problem."""


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """
    A job that has not ended.

    @ivar state: as in lists of jobs.
    @ivar numerator: what its worker last said of its progress, and
    @ivar denominator: of how much; both are 0 where it has said nothing.
    @ivar result: the path of its result.
    """

    handle: str
    state: str
    numerator: int
    denominator: int
    job: str
    result: str


def job_path(handle: bytes) -> str:
    """The path of a job in the API."""
    return f"/api/v1/jobs/{quote(handle, safe='')}"


def result_path(handle: bytes) -> str:
    """The path of its result."""
    return f"{job_path(handle)}/result"


def about(handle: bytes) -> dict[str, str]:
    """The header that says which job an answer is about."""
    return {"Txgear-Handle": text(handle)}


def attachment(handle: bytes, what: str) -> dict[str, str]:
    """
    The header that has browsers put an answer into a file, and never show it.

    @param what: what it is: C{workload} or C{result}.
    """
    name = re.sub("[^A-Za-z0-9.-]", "_", text(handle))
    return {"Content-Disposition": f'attachment; filename="{name}.{what}"'}


def pending(job: Job) -> Answer:
    """The answer while a job has not ended."""
    handle = job.handle
    numerator, denominator = job.progress
    body = Pending(
        handle=text(handle),
        state=state_name(job),
        numerator=numerator,
        denominator=denominator,
        job=job_path(handle),
        result=result_path(handle),
    )
    return Answer(body, 202, {"Retry-After": "1", "Location": result_path(handle), **about(handle)})


def done_headers(handle: bytes, data_size: int, result_size: int) -> dict[str, str]:
    """
    The headers of a whole result.

    @param data_size: bytes that its worker sent before the last of it.
    @param result_size: bytes of that.
    """
    return {
        **about(handle),
        **attachment(handle, "result"),
        "Txgear-Outcome": STATE_NAMES[DONE],
        "Txgear-Data-Size": str(data_size),
        "Txgear-Result-Size": str(result_size),
    }


def done(handle: bytes, whole: bytes, data_size: int = 0) -> Answer:
    """
    The answer that is a whole result.

    @param whole: the data that its worker sent before the last of it, and that.
    @param data_size: bytes of the data.
    """
    return Answer(whole, 200, done_headers(handle, data_size, len(whole) - data_size), BYTES)


def failure(handle: bytes, outcome: int, status: int, message: Data | None = None) -> Problem:
    """
    A job has ended without a result.

    @param outcome: its state.
    @param message: what its worker sent as an exception; C{None} where it sent none.
    """
    code, words = _FAILURES[outcome]
    extra: dict[str, Any] = {"handle": text(handle), "outcome": STATE_NAMES[outcome]}
    if message is not None:
        extra["exception"] = exception(message)
    return Problem(status, code, words, extra, {**about(handle), "Txgear-Outcome": STATE_NAMES[outcome]})


def exception(message: Data) -> dict[str, Any]:
    """What a worker sent as an exception, its first 64 KiB, as L{said} has them; and its C{size}."""
    raw = bytes(message)
    return {**said(raw[: inspection.MOST_SHOWN]), "size": len(raw)}


def not_kept(handle: bytes) -> Problem:
    """A job is done, and its result is not there."""
    words = "The job is done, but its result is not kept: see the policy `results`"
    return Problem(
        NO_RESULT,
        "result_not_kept",
        words,
        {"handle": text(handle), "outcome": STATE_NAMES[DONE]},
        {**about(handle), "Txgear-Outcome": STATE_NAMES[DONE]},
    )

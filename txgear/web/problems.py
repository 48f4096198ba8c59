"""
Errors of the server as problems of the web.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from txgear.errors import PolicyError, QueueError, ServerError
from txgear.server.httpexchange import RETRY_SECONDS
from txgear.web import refusals
from txgear.web.answers import Problem

TYPE: Final = "urn:txgear:problem:"
"""What a problem's type begins with; its code follows. It is a name, and nowhere to be found."""

STATUSES: Final = {
    "ACCESS_DENIED": 403,
    "ARGUMENT_TOO_LARGE": 400,
    "INVALID_ARGUMENT": 400,
    "INVALID_ARGUMENTS": 400,
    "INVALID_PACKET": 400,
    "JOB_NOT_FOUND": 404,
    "NOT_ANSWERED": 504,
    "NOT_ALL_DONE": 504,
    "NO_CLUSTER": 404,
    "NOT_READ": 503,
    "TOO_MANY_ORDERS": 503,
    "TOO_MANY_TASKS": 503,
    "TOO_MANY_WORDS": 503,
    "UNKNOWN_FUNCTION": 404,
    "UNKNOWN_JOB": 404,
    "UNKNOWN_REVIEW": 404,
    "UNKNOWN_SCHEDULE": 404,
    "UNKNOWN_TASK": 404,
    "UNKNOWN_WORKER": 404,
}
"""By the code of an error. Any other says that things are not such that this can be done."""


def problem_of(error: BaseException) -> Problem | None:
    """
    @return: what is answered where an endpoint has raised this; C{None} for what is a defect.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, PolicyError):
        return Problem(422, "invalid_setting", str(error), {"setting": error.key})
    if isinstance(error, QueueError):
        return refusals.problem(error)
    if isinstance(error, ServerError):
        status = STATUSES.get(error.code, 409)
        headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else {}
        return Problem(status, error.code.lower(), error.text, headers=headers)
    return None


def details(problem: Problem, instance: str) -> dict[str, Any]:
    """
    The members of the problem details (RFC 9457).

    @param instance: tells this answer from all others.
    """
    title = HTTPStatus(problem.status).phrase
    own = {"type": TYPE + problem.code, "title": title, "status": problem.status, "detail": problem.detail}
    return {**problem.extra, **own, "instance": instance}

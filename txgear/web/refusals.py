"""
Why a job is not taken, as HTTP says it: statuses, when to try again, and how much of its quota an identity
has left.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple

from txgear.errors import (
    DRAINING,
    QUEUE_FULL,
    QUOTA_FULL,
    STORE_REFUSED,
    STORE_UNAVAILABLE,
    TOO_FAST,
    TOO_MANY_FUNCTIONS,
    TOO_MANY_WAIT,
    QueueError,
)
from txgear.web.answers import Problem

if TYPE_CHECKING:
    from txgear.broker.tenants import Tenant


class Refusal(NamedTuple):
    """
    What is answered where a job is not taken.

    @ivar status: the HTTP status.
    @ivar retry: seconds for C{Retry-After}; 0 where time alone helps nobody.
    """

    status: int
    retry: int


REFUSALS: Final[Mapping[str, Refusal]] = {
    TOO_FAST: Refusal(429, 1),
    QUOTA_FULL: Refusal(429, 5),
    QUEUE_FULL: Refusal(503, 5),
    TOO_MANY_WAIT: Refusal(503, 5),
    DRAINING: Refusal(503, 5),
    STORE_UNAVAILABLE: Refusal(503, 2),
    STORE_REFUSED: Refusal(507, 0),
    TOO_MANY_FUNCTIONS: Refusal(507, 0),
}
"""
By L{QueueError.why}. What is the submitter's own bound is 429, what holds for everybody is 503, and what no
waiting mends is 507.
"""
_OTHER: Final = Refusal(503, 1)

POLICY_NAME: Final = "submits"
"""What the rate of submits is called in C{RateLimit} headers."""


def problem(error: QueueError, tenant: Tenant | None = None, now: float = 0.0) -> Problem:
    """
    What is answered where a job is not taken.

    @param tenant: on whose account it would be.
    @param now: the server's time.
    """
    status, retry = REFUSALS.get(error.why, _OTHER)
    headers = rate_headers(tenant, now)
    if error.why == TOO_FAST and tenant is not None:
        retry = max(ceil(tenant.submits.opens() - now), 1)
    if retry:
        headers["Retry-After"] = str(retry)
    return Problem(status, error.why or "queue_error", error.text, headers=headers)


def rate_headers(tenant: Tenant | None, now: float) -> dict[str, str]:
    """
    How fast an identity may submit, and how much of that it has left: C{RateLimit-Policy} and C{RateLimit}
    (draft-ietf-httpapi-ratelimit-headers-10).

    Their windows are whole seconds, at least one. A bucket that holds fewer submits than come in a second
    is told as those of a second.

    @param tenant: the account; nothing is told of one that has no rate, nor of C{None}.
    @param now: the server's time.
    """
    rate = None if tenant is None else tenant.quota.submits
    if tenant is None or rate is None:
        return {}
    window = max(ceil(rate.burst * rate.interval), 1)
    most = max(rate.burst, int(window / rate.interval))
    bucket = tenant.submits
    left = bucket.tokens(rate, now)
    until = bucket.full if left else bucket.opens()
    return {
        "RateLimit-Policy": f'"{POLICY_NAME}";q={most};w={window}',
        "RateLimit": f'"{POLICY_NAME}";r={left};t={max(ceil(until - now), 0) if until > now else 0}',
    }

"""
When a job ends that no worker has had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from txgear.broker.history import History
from txgear.policies import CLASSIC

if TYPE_CHECKING:
    from txgear.broker.functions import Functions
    from txgear.broker.model import Function, Job


def expiry(functions: Functions, job: Job, function: Function, now: float) -> float:
    """
    @param function: that of the job, or one that it is to belong to.
    @return: when the job ends there unless it begins, by the server's time; 0.0 for never, as it is for one
        that has been tried.
    """
    history = job.history
    if job.retries or (history is not None and history.attempts):
        return 0.0
    policy = function.policy or CLASSIC
    if history is not None:
        policy = history.policy(policy, functions.policies)
    return (job.created or now) + policy.expires if policy.expires else 0.0


def set_expiry(functions: Functions, job: Job, now: float) -> None:
    """If its policy says so, the job ends unless it begins in time; one that has been tried has begun."""
    if (job.function.policy is None and job.history is None) or job.retries:
        return
    if expires := expiry(functions, job, job.function, now):
        job.history = job.history or History()
        job.history.expires = expires

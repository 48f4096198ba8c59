"""
What follows an attempt that ended without a result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from txgear.broker.states import CANCELLED, DEAD, FAILED
from txgear.policies import EXCEPTION, FAIL, Policy


class RetryAfter(NamedTuple):
    """
    The job is tried again.

    @ivar delay: seconds until then; 0.0 for at once.
    @ivar first: whether before all others; otherwise behind them.
    """

    delay: float
    first: bool


class End(NamedTuple):
    """
    The job is over.

    @ivar outcome: how: FAILED, DEAD or CANCELLED.
    @ivar lost: whether as too many of its workers were lost: then this one is counted as well.
    """

    outcome: int
    lost: bool = False


Decision: TypeAlias = RetryAfter | End


def decide(
    policy: Policy,
    counts: Mapping[str, int],
    reason: str,
    *,
    wanted: bool,
    background: bool,
    lost: int,
    bound: int,
    chance: Callable[[], float],
    after: float | None = None,
) -> Decision:
    """
    A function of policy and history, and of nothing else.

    Without C{retries} in its policy a job has the classic rules: what its worker says is the end, and one
    whose worker is lost is tried again, the first time where it was, from the second time on behind all
    others, so that a job that kills workers does not starve the rest.

    @param policy: what holds for the job.
    @param counts: its attempts that ended without a result, by reason, this one included; that matters
        for policies with C{retries} only.
    @param reason: how this one ended: one of L{txgear.policies.REASONS}.
    @param wanted: whether anybody would miss the job.
    @param background: whether it is to be done even when no client waits for it.
    @param lost: how many of its attempts have ended without a result and were followed by another.
    @param bound: how often a job may run at the most by the classic rules; negative for no bound.
    @param chance: a number from 0 to 1 at random, for the jitter of the delay.
    @param after: seconds after which the worker has asked for another attempt, if there is one; C{None} for
        what the policy says.
    """
    retries = policy.retries
    if retries is None and reason in (FAIL, EXCEPTION):
        return End(FAILED)
    if not wanted:
        return End(CANCELLED)
    if retries is None:
        return End(FAILED, lost=True) if 0 <= bound <= lost + 1 else RetryAfter(0.0, first=lost == 0)
    if retries.left(counts, reason):
        delay = policy.backoff.delay(sum(counts.values()), chance()) if after is None else after
        return RetryAfter(delay, first=False)
    return End(DEAD if background else FAILED)

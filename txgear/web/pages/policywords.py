"""
What is set for a function, in sentences.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from txgear.broker.words import number
from txgear.policies import EXCEPTION, FAIL, LOST, SILENT, TIMEOUT, Backoff, Policy, Retention, Retries
from txgear.quantities import byte_words, rate_text
from txgear.web.pages.charts import short

ENDINGS: Final[Mapping[str, str]] = {
    FAIL: "its worker said that it failed",
    EXCEPTION: "its worker told of an exception",
    TIMEOUT: "it took too long",
    SILENT: "its worker fell silent",
    LOST: "its worker went away",
    "cancelled": "an operator cancelled it",
    "abandoned": "nobody waited for it any more",
    "expired": "no worker had it in time",
    "not_stored": "the store did not take it",
    "unreadable": "the store has lost its workload",
}
"""Why a job, or an attempt, ended without a result."""


def settings(policy: Policy, share: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
    """
    What a policy says.

    @param share: what this server may do of it: L{txgear.broker.operators.inspection.share}.
    @return: for each setting that is not off its name, and a sentence.
    """
    found: list[tuple[str, str]] = []
    if policy.retries is not None:
        found.append(("retries", _retries(policy.retries)))
        found.append(("backoff", _backoff(policy.backoff)))
        dead = "A background job that has no attempt left is kept as dead"
        found.append(("dead", _retention(dead, policy.dead)))
    if policy.timeout:
        found.append(("timeout", f"An attempt may take {short(policy.timeout)}."))
    if policy.lease:
        found.append(("lease", f"A worker that can beat may be silent for {short(policy.lease)}."))
    if policy.expires:
        found.append(("expires", f"A job is given up that has not begun within {short(policy.expires)}."))
    if policy.results is not None:
        found.append(("results", _retention("The result of a background job is kept", policy.results)))
    if policy.unique_for:
        words = f"The unique of a job that is done stays taken for {short(policy.unique_for)}."
        found.append(("unique_for", words))
    if policy.rate is not None:
        burst = f", {policy.rate.burst:,} of them at once" if policy.rate.burst > 1 else ""
        here = "" if share is None else f", {share['rate']['jobs']} at this one"
        found.append(("rate", f"{_rate(policy.rate.interval)} may start{burst}{_divided(share, here)}."))
    if policy.concurrency:
        here = ""
        if share is not None:
            most = share["concurrency"]
            here = f", {most:,} at this one" if most else ", at this one when it is its turn"
        jobs = number(policy.concurrency, "job")
        found.append(("concurrency", f"{jobs} may run at once{_divided(share, here)}."))
    if policy.scope and (policy.rate or policy.concurrency):
        found.append(("scope", "That is for each server of a cluster by itself."))
    if policy.max_queue:
        found.append(("max_queue", f"Submits are refused from {number(policy.max_queue, 'job')} on."))
    if policy.max_bytes:
        found.append(("max_bytes", f"The workloads of all its jobs may have {byte_words(policy.max_bytes)}."))
    if policy.turns:
        found.append(("turns", "Jobs are handed out in turns between the identities that submitted them."))
    return found


def ceiling(kept: Retention) -> str:
    """What jobs may ask to be kept, over all functions, in a sentence."""
    return _retention(
        "What jobs ask by settings of their own to be kept, of all functions together, is kept", kept
    )


def _divided(share: Mapping[str, Any] | None, here: str) -> str:
    """
    Whom a bound is for, where it is divided.

    @param here: which part of it is this server's.
    """
    if share is None:
        return ""
    if not share["servers"]:
        return ", at all servers of the cluster together: this one has just joined them, and has to wait"
    servers = "all servers" if share["servers"] == 1 else f"all {share['servers']} servers"
    return f", at {servers} of the cluster together{here}"


def _rate(interval: float) -> str:
    jobs, _, unit = rate_text(interval).partition("/")
    return f"{number(int(jobs), 'job')} a {({'s': 'second', 'm': 'minute', 'h': 'hour', 'd': 'day'})[unit]}"


def _retries(retries: Retries) -> str:
    if retries.total is not None:
        if not retries.total:
            return "A job that fails is not tried again."
        return f"A job that fails is tried again, up to {number(retries.total, 'time')}."
    each = [
        f"up to {number(count, 'time')} where {ENDINGS[reason]}"
        for reason, count in retries.each.items()
        if count
    ]
    if not each:
        return "A job that fails is not tried again."
    return f"A job is tried again {', '.join(each)}."


def _backoff(backoff: Backoff) -> str:
    first, most = short(backoff.first), short(backoff.most)
    if backoff.kind == "fixed":
        words = f"The next attempt comes after {first}"
    elif backoff.kind == "linear":
        words = f"The next attempt comes after {first}, each wait as much longer than the last, up to {most}"
    else:
        words = f"The next attempt comes after {first}, each wait twice as long as the last, up to {most}"
    if backoff.jitter:
        words += f"; chance takes off up to {backoff.jitter * 100:g} %"
    return f"{words}."


def _retention(what: str, kept: Retention) -> str:
    if not kept.keep:
        return f"{what} for no time."
    bounds = []
    if kept.jobs:
        bounds.append(f"{kept.jobs:,} of them")
    if kept.bytes:
        bounds.append(byte_words(kept.bytes))
    return f"{what} for {short(kept.keep)}{', at most ' + ' and '.join(bounds) if bounds else ''}."

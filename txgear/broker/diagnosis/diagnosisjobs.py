"""
What a diagnosis says of the jobs of a function: what holds them back, and what has become of others.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.diagnosis.findings import CRITICAL, INFO, WARNING, Case, Finding
from txgear.broker.operators.inspection import moment
from txgear.broker.rights import SETTINGS, may
from txgear.broker.sharedlanes import SharedLanes
from txgear.broker.words import number, span, verb
from txgear.errors import QUEUE_FULL, STORE_REFUSED, QueueError
from txgear.protocol.constants import PRIORITIES
from txgear.quantities import rate_text

if TYPE_CHECKING:
    from txgear.broker.tenants import Tenant

LONG_WAIT: Final = 300.0
"""Seconds of waiting of the oldest job from which on somebody should look at it."""
STORE_SECONDS: Final = 5.0
"""Seconds that a job may be on its way to the store before somebody should look at it."""
REFUSED_SECONDS: Final = 300.0
"""Seconds for which it is said that the store has refused a job."""
RECENT_SECONDS: Final = 3600.0
"""Seconds in which a purge, and what has died, is recent."""
GROWS_FROM: Final = 10
"""How many more jobs come than end, at the least, before it is said that the queue grows."""
MOST_TENANTS: Final = 3
"""Identities that are named."""
MOST_PARTIES: Final = 1000
"""Identities of which it is looked whether they are held."""


def _jobs(count: int) -> str:
    return f"{number(count, 'job')} {verb(count, 'waits', 'wait')}"


# What an operator has done


def _by(case: Case, by: str) -> str:
    """Who has done something, where the peer may know that; empty where it may not, or nobody knows."""
    own = case.peer.tenant is not None and case.peer.who == by
    return by if case.names or own else ""


def paused(case: Case) -> Iterator[Finding]:
    """An operator has paused it."""
    throttle = case.function.throttle
    if throttle is None or not throttle.paused:
        return
    by, wall = _by(case, throttle.paused_by), case.broker.timers.wall(case.now)
    facts: dict[str, Any] = {
        "by": by or None,
        "since": moment(throttle.paused_since),
        "seconds": round(max(wall - throttle.paused_since, 0.0), 3),
        "jobs": case.waiting,
    }
    whose = f" by {by}" if by else ""
    since = f"since {case.at_wall(throttle.paused_since)} ({span(wall - throttle.paused_since)})"
    meanwhile = f"; {_jobs(case.waiting)}" if case.waiting else ""
    severity = WARNING if case.waiting else INFO
    yield Finding("paused", severity, f"paused{whose} {since}{meanwhile}", facts)


def purged(case: Case) -> Iterator[Finding]:
    """An operator has had all jobs cancelled that no worker had, or that is under way."""
    throttle = case.function.throttle
    purge = case.broker.operations.purges.get(case.function.name)
    under_way = throttle is not None and throttle.suspended
    if purge is None or not (under_way or case.now - purge.when < RECENT_SECONDS):
        return
    by = _by(case, purge.by)
    whose = f" by {by}" if by else ""
    facts = {
        "by": by or None,
        "when": case.iso(purge.when),
        "seconds": case.seconds(purge.when),
        "jobs": purge.jobs,
    }
    jobs = number(purge.jobs, "job")
    if under_way:
        words = f"{jobs} {verb(purge.jobs, 'is', 'are')} being purged{whose}: nothing is handed out meanwhile"
        yield Finding("being_purged", INFO, words, facts)
    else:
        words = f"{jobs} {verb(purge.jobs, 'was', 'were')} purged{whose} at {case.at(purge.when)}"
        yield Finding("purged", INFO, f"{words} ({case.ago(purge.when)} ago)", facts)


# What is set


def rate(case: Case) -> Iterator[Finding]:
    """The rate lets no job start now."""
    throttle = case.function.throttle
    if throttle is None or throttle.rate is None or not case.waiting:
        return
    opens = throttle.opens()
    if opens > case.now:
        limit = rate_text(throttle.rate.interval)
        yield Finding(
            "rate",
            INFO,
            f"the rate ({limit}) allows the next at {case.at(opens)}, in {span(opens - case.now)}",
            {"rate": limit, "next": case.iso(opens), "seconds": round(opens - case.now, 3)},
        )


def concurrency(case: Case) -> Iterator[Finding]:
    """As many of its jobs run as may."""
    throttle, running = case.function.throttle, case.function.running
    most = None if throttle is None else throttle.concurrency
    if throttle is None or most is None or running < most or not case.waiting:
        return
    words = f"{running:,} {verb(running, 'job runs', 'jobs run')}, and {most:,} may at once"
    if throttle.borrowed:
        words += " at this server: all servers together have fewer places than they are, and take turns"
    elif not most:
        words += ": this server has just joined the others"
    yield Finding("concurrency", INFO, words, {"running": running, "concurrency": most})


def tenants_held(case: Case) -> Iterator[Finding]:
    """Those who submitted jobs have as many at workers, of all functions together, as they may."""
    lanes = case.function.lanes
    if not isinstance(lanes, SharedLanes) or not lanes.held:
        return
    held = [
        (party.tenant, party.lanes.ready + party.lanes.paged)
        for party in islice(lanes.parties.values(), MOST_PARTIES)
        if party.held and party.tenant is not None and not party.empty
    ]
    held.sort(key=lambda each: -each[1])
    known = [(tenant, jobs) for tenant, jobs in held if case.names or case.peer.tenant is tenant]
    named = ", ".join(_held(tenant, jobs) for tenant, jobs in known[:MOST_TENANTS])
    named = f": {named}" if named else ""
    if named and len(held) > len(known[:MOST_TENANTS]):
        named += f" and {number(len(held) - len(known[:MOST_TENANTS]), 'other')}"
    wait = f"{_jobs(lanes.held)} until others end of those who submitted them"
    facts = {
        "jobs": lanes.held,
        "identities": [
            {"identity": tenant.name, "jobs": jobs, "running": tenant.running, "bound": tenant.quota.running}
            for tenant, jobs in known[:MOST_TENANTS]
        ],
    }
    yield Finding("identity_bound", INFO, wait + named, facts)


def _held(tenant: Tenant, jobs: int) -> str:
    return f"{jobs:,} of {tenant.name}, of which {tenant.running:,} run and {tenant.quota.running:,} may"


def queue_full(case: Case) -> Iterator[Finding]:
    """There is no room for another job: submits are refused."""
    function = case.function
    try:
        for priority in PRIORITIES:
            function.check_room(priority, 1)
    except QueueError as error:
        reason = error.text
    else:
        return
    facts: dict[str, Any] = {"jobs": function.total, "bytes": function.bytes, "reason": reason}
    words = (
        f"submits are refused: {reason}; {number(function.total, 'job')} of {number(function.bytes, 'byte')}"
    )
    counts = case.counts
    if counts is not None and (refused := counts.refused.get(QUEUE_FULL, 0)):
        last = counts.refused_at[QUEUE_FULL]
        facts["refused"], facts["last"] = refused, case.iso(last)
        words += f"; {_refused(case, refused, last)}"
    yield Finding("queue_full", CRITICAL, words, facts)


def _refused(case: Case, submits: int, last: float) -> str:
    was = verb(submits, "was", "were")
    return f"{number(submits, 'submit')} {was} refused, the last {case.ago(last)} ago"


def store_refuses(case: Case) -> Iterator[Finding]:
    """The store works, and has refused a job of late."""
    counts = case.counts
    if counts is None or not (refused := counts.refused.get(STORE_REFUSED, 0)):
        return
    last = counts.refused_at[STORE_REFUSED]
    if case.now - last <= REFUSED_SECONDS:
        words = f"the store works, and does not keep all jobs: {_refused(case, refused, last)}"
        yield Finding("store_refuses", WARNING, words, {"refused": refused, "last": case.iso(last)})


def draining(case: Case) -> Iterator[Finding]:
    """The server is to end, or does so."""
    dispatcher, persistence = case.broker.dispatcher, case.broker.persistence
    if dispatcher.draining:
        takes = "takes background jobs for the other servers" if dispatcher.has_heir else "takes no job"
        left, stay = case.left, ""
        if left:
            least = "at least " if case.later.seen + case.later.rows < case.later.total else ""
            whom = "another" if dispatcher.has_heir else "the next one"
            fate = f"{verb(left, 'waits', 'wait')} for {whom}"
            if not persistence.keeps:
                fate = f"{verb(left, 'ends', 'end')} with it, as there is no store"
            stay = f"; {least}{number(left, 'job')} {fate}"
        yield Finding(
            "draining",
            WARNING,
            f"the server is to end: it {takes}, and hands out only what clients wait for{stay}",
            {"jobs": left},
        )
    elif persistence.closing:
        words = "the server ends: it takes no background job, and writes to its store what is left for that"
        yield Finding("draining", WARNING, words, {"jobs": 0})


# Time


def oldest_waits(case: Case) -> Iterator[Finding]:
    """For how long one has waited."""
    if case.waited >= LONG_WAIT:
        since = case.function.waiting_since
        yield Finding(
            "oldest_waits",
            WARNING,
            f"the oldest job has waited since {case.at(since)} ({span(case.waited)})",
            {"since": case.iso(since), "seconds": round(case.waited, 3)},
        )


def wait_grows(case: Case) -> Iterator[Finding]:
    """More come than end."""
    trend = case.trend
    if trend is None or not case.waiting or trend.came - trend.ended < GROWS_FROM:
        return
    yield Finding(
        "wait_grows",
        WARNING,
        f"more jobs come than end: {trend.came:,} came and {trend.ended:,} ended in the last"
        f" {span(trend.seconds)}",
        {"came": trend.came, "ended": trend.ended, "seconds": round(trend.seconds, 3)},
    )


def _of(case: Case) -> str:
    later = case.later
    if later.seen == later.total:
        return ""
    if later.rows:
        return f" (of {later.seen:,} in memory; {later.total:,} wait in all)"
    return f" (of the {later.seen:,} newest of {later.total:,} that wait)"


def delayed(case: Case) -> Iterator[Finding]:
    """Jobs wait for their time."""
    later = case.later
    for code, count, due, what in (
        ("delayed", later.delayed, later.next_delayed, "for their time"),
        ("retrying", later.retrying, later.next_retry, "to be tried again"),
    ):
        if count:
            what = "for its time" if (count, code) == (1, "delayed") else what
            yield Finding(
                code,
                INFO,
                f"{_jobs(count)} {what}{_of(case)}; the next at {case.at(due)}",
                {"jobs": count, "next": case.iso(due), "seconds": round(max(due - case.now, 0.0), 3)},
            )
    # While the server drains nobody can tell those from others that wait for the next one.
    if later.rows and not (later.delayed or later.retrying or case.broker.dispatcher.draining):
        yield Finding(
            "delayed",
            INFO,
            f"{_jobs(later.rows)} for a time that is not near, or to be tried again then",
            {"jobs": later.rows, "next": None, "seconds": None},
        )


# The store


def store_unavailable(case: Case) -> Iterator[Finding]:
    """No background job is taken."""
    trouble, dispatcher = case.broker.persistence.trouble, case.broker.dispatcher
    # One that drains takes none anyhow, unless it does for others.
    if trouble is not None and (dispatcher.has_heir or not dispatcher.draining):
        since = trouble.since
        reason = trouble.detail if may(case.peer, SETTINGS) else trouble.told
        yield Finding(
            "store_unavailable",
            CRITICAL,
            f"no background job is taken, as the store has not answered since {case.at(since)}"
            f" ({case.ago(since)}): {reason}",
            {"since": case.iso(since), "seconds": case.seconds(since), "reason": reason},
        )


def storing(case: Case) -> Iterator[Finding]:
    """Jobs are on their way to the store."""
    later = case.later
    if not later.storing:
        return
    count, seconds = later.storing, case.seconds(later.storing_since)
    way = f"{number(count, 'job')} {verb(count, 'is on its', 'are on their')} way to the store"
    yield Finding(
        "storing",
        WARNING if seconds >= STORE_SECONDS else INFO,
        f"{way}{_of(case)}, the first for {span(seconds)}",
        {"jobs": count, "since": case.iso(later.storing_since), "seconds": seconds},
    )


def paged(case: Case) -> Iterator[Finding]:
    """Jobs are ready, but not in memory, and no other is."""
    lanes = case.function.lanes
    if lanes.paged and not lanes.ready and case.muster.known:
        yield Finding(
            "being_read",
            INFO,
            f"{number(lanes.paged, 'job')} {verb(lanes.paged, 'is', 'are')} being read from the store",
            {"jobs": lanes.paged},
        )


def unreadable(case: Case) -> Iterator[Finding]:
    """The store has jobs that it cannot read."""
    later = case.later
    if later.unreadable:
        yield Finding(
            "unreadable",
            CRITICAL,
            f"{number(later.unreadable, 'job')} cannot be read from the store; the next attempt is at"
            f" {case.at(later.next_read)}",
            {"jobs": later.unreadable, "next": case.iso(later.next_read)},
        )


def died(case: Case) -> Iterator[Finding]:
    """Jobs have failed for good, and are kept for somebody to look at."""
    if not case.function.kept:
        return
    shelf = case.broker.archive.shelf(case.function)
    jobs, last = shelf.count, shelf.last
    if not jobs:
        return
    dead = f"{number(jobs, 'job')} {verb(jobs, 'is', 'are')} dead"
    when = f"; the last one died at {case.at(last)} ({case.ago(last)} ago)" if last else ""
    if shelf.rows:
        # How many died when only the store knows.
        severity = WARNING if last and case.now - last < RECENT_SECONDS else INFO
        facts = {"jobs": jobs, "last_hour": None, "last": case.iso(last) if last else None}
        yield Finding("dead", severity, f"{dead}{when}", facts)
        return
    recent = 0
    for job in islice(shelf.newest(), case.most):
        if case.now - job.since >= RECENT_SECONDS:
            break
        recent += 1
    many = "at least " if recent == case.most else ""
    yield Finding(
        "dead",
        WARNING if recent else INFO,
        f"{dead}, {many}{recent:,} of the last hour{when}",
        {"jobs": jobs, "last_hour": recent, "last": case.iso(last)},
    )

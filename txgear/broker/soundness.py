"""
Whether the counts that the broker keeps agree with what there is. For tests: it walks over all there is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from txgear.broker.states import DELAYED, PAGED, QUEUED, RUNNING, STORING

if TYPE_CHECKING:
    from txgear.broker.model import Function, Job, Peer
    from txgear.broker.statistics import Statistics
    from txgear.broker.tenants import Tenant
    from txgear.broker.timers import Timers


def check_tenants(tenants: Iterable[Tenant], peers: Iterable[Peer], jobs: Iterable[Job]) -> None:
    """
    Does each tenant have as many peers and running jobs as it says?

    @param jobs: those that have not ended.
    @raise AssertionError: something does not agree.
    """
    connections = Counter(peer.tenant for peer in peers)
    running = Counter(job.tenant for job in jobs if job.state == RUNNING)
    for tenant in tenants:
        assert (tenant.connections, tenant.running) == (connections[tenant], running[tenant]), tenant


def check_functions(functions: Iterable[Function], jobs: Iterable[Job], ended: Iterable[Job]) -> None:
    """
    Is every job in one place of its function, and does that count right?

    @param jobs: those that have not ended.
    @param ended: those that have, and are kept.
    @raise AssertionError: something does not agree.
    """
    known, live = set(functions), list(jobs)
    states = Counter((job.function, job.state) for job in live)
    assert {job.function for job in (*live, *ended)} <= known
    for function in known:
        lanes = function.lanes
        lying = states[function, QUEUED] + states[function, PAGED]
        assert lanes.ready + lanes.paged + lanes.held == lying + lanes.rows_count, function
        assert function.running == states[function, RUNNING], function
        assert len(function.delayed) == states[function, STORING] + states[function, DELAYED], function


def check_statistics(
    statistics: Statistics, functions: Collection[Function], jobs: Collection[Job], rows: int
) -> None:
    """
    Is each job counted once, and does each function know since when its jobs wait?

    @param functions: all that are known.
    @param jobs: those that have not ended and are in memory.
    @param rows: how many others there are; negative for some that are not to be counted.
    @raise AssertionError: something does not agree.
    """
    since: dict[Function, list[float]] = {}
    for job in jobs:
        if job.state in (QUEUED, PAGED):
            since.setdefault(job.function, []).append(job.since)
    for function in functions:
        assert function.waiting_since in since.get(function, [0.0]), function
    running = sum(function.running for function in functions)
    statistics.check({function.name: function.counts for function in functions}, len(jobs) + rows, running)


def check_timers(timers: Timers, functions: Iterable[Function], jobs: Iterable[Job]) -> None:
    """
    Are those among the timers that wait for a time?

    @param jobs: those that have not ended.
    @raise AssertionError: they are not.
    """
    live = list(jobs)
    timers.check(
        sum(job.due > 0 for job in live),
        sum(function.due > 0 for function in functions),
        sum(job.appointment is not None for job in live),
    )

"""
Whether the counts that the broker keeps agree with what there is. For tests: it walks over all there is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from txgear.broker.states import DELAYED, PAGED, QUEUED, RUNNING, STORING

if TYPE_CHECKING:
    from txgear.broker.model import Function, Job, Peer
    from txgear.broker.tenants import Tenant


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
        assert lanes.ready + lanes.paged + lanes.held == lying, function
        assert function.running == states[function, RUNNING], function
        assert len(function.delayed) == states[function, STORING] + states[function, DELAYED], function

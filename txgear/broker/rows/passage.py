"""
The ways of jobs that can be handed out, out of memory and into it: what that does to lanes and rings. Which
jobs go them, and when, L{txgear.broker.rows.stock} says.
"""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from txgear.broker.states import TO_PAGED, TO_QUEUED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from txgear.broker.dispatcher import Dispatcher
    from txgear.broker.model import Function, Job
    from txgear.broker.paging import Pager
    from txgear.broker.tenants import Tenant
    from txgear.broker.timers import Timers

_LANE: Final = attrgetter("function", "priority", "tenant")


class Passage:
    """Out of the places that L{Dispatcher} knows, and into them."""

    __slots__ = ("_dispatcher", "_pager", "_timers")

    def __init__(self, dispatcher: Dispatcher, timers: Timers, pager: Pager | None) -> None:
        """
        @param pager: C{None} where no job is stored: then all are in memory, and go none of these ways.
        """
        self._dispatcher = dispatcher
        self._timers = timers
        self._pager = pager

    # Out of memory

    def pass_by(self, jobs: Iterable[Job], now: float) -> None:
        """Jobs that are in no place could be handed out, and are not in memory from now on."""
        assert self._pager is not None
        for (function, priority, tenant), several in groupby(jobs, _LANE):
            lanes = function.lanes
            if tenant is not None and tenant.quota.running:
                lanes = self._dispatcher.bound(tenant, function, now)
            places = [job.place for job in several]
            if lanes.add_rows(priority, tenant, len(places), min(places)):
                self._dispatcher.to_ring_end(function, priority)
            self._pager.ask(function, priority, now)

    def let_go(self, job: Job, now: float) -> None:
        """The same for one that is PAGED."""
        lanes = job.function.lanes
        if job.due:
            self._timers.discard(job)
        # In this order, as the lane is not to look empty.
        lanes.add_rows(job.priority, job.tenant, 1, job.place)
        lanes.remove_overflow(job)
        assert self._pager is not None
        # Its workload may just be on its way, for somebody who wants it.
        self._pager.ask(job.function, job.priority, now)

    def add_rows(
        self, function: Function, priority: int, tenant: Tenant | None, count: int, now: float
    ) -> None:
        """There are so many jobs that can be handed out, and are not in memory."""
        lanes = function.lanes
        if tenant is not None and tenant.quota.running:
            lanes = self._dispatcher.bound(tenant, function, now)
        if lanes.add_rows(priority, tenant, count):
            self._dispatcher.to_ring_end(function, priority)

    # Into memory

    def take_in(self, job: Job) -> None:
        """
        A job that can be handed out is in memory again: it is PAGED, and L{Dispatcher.advance_lane} is to
        follow. While the server drains it is delayed for good, as all are that nobody waits for.
        """
        if self._dispatcher.draining:
            job.function.later -= 1
            self._dispatcher.delay(job)
            return
        lanes = job.function.lanes
        job.state = TO_PAGED[job.state]
        lanes.append_overflow(job)
        lanes.take_row(job.priority, job.tenant)

    def take_next_in(self, function: Function, first: Job, jobs: Sequence[Job], now: float) -> None:
        """
        Jobs of a lane are in memory again with their workloads, the first of its rows, and nothing else is
        behind it: they are QUEUED.

        @param first: the first of them.
        """
        priority, lanes = first.priority, function.lanes
        dry = not lanes.counts[priority]
        for job in jobs:
            job.state = TO_QUEUED[job.state]
        lanes.take_rows(priority, first.tenant, jobs)
        self._dispatcher.wake(function, now, len(jobs))
        if dry:
            self._dispatcher.unbar(priority, now)

    def rows_read(
        self,
        function: Function,
        priority: int,
        tenant: Tenant | None,
        after: int,
        read_to: int | None,
        now: float,
    ) -> int:
        """
        What a tenant has behind a lane is in memory from one place to another.

        @param after: behind which place; of what is before that nothing is said.
        @param read_to: C{None} for all of it.
        @return: how many are not there that were thought to be.
        """
        missing = function.lanes.read(priority, tenant, after, read_to)
        if missing:
            self._dispatcher.settle_rings(function, now)
        self._dispatcher.advance_lane(function, priority, tenant, now)
        return missing

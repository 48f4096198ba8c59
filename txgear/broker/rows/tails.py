"""
Lanes whose last job in memory has become a row: now the one before it may, too. Jobs that are moved to a lane
in great numbers get there in pieces, and of each piece it is told that it is written when others are behind
it already. So when those behind it are let go of, it is looked at once more, some in each turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from txgear.broker.model import Function, Job
    from txgear.broker.tenants import Tenant
    from txgear.broker.timers import Timers

    InMemory: TypeAlias = tuple[Function, int, Tenant | None]

SETTLED: Final = 500
"""Jobs that are looked at in one turn: two milliseconds."""


class Tails:
    """
    The lanes whose last jobs are to be looked at.
    """

    __slots__ = ("_lanes", "_settle", "_timers")

    def __init__(self, timers: Timers, settle: Callable[[Job, float], None]) -> None:
        """
        @param settle: has a job become a row if it may, and calls L{spared} if so.
        """
        self._timers = timers
        self._settle = settle
        self._lanes: dict[InMemory, None] = {}

    def __len__(self) -> int:
        """How many lanes are still to be looked at."""
        return len(self._lanes)

    def spared(self, job: Job, now: float) -> None:
        """This was the last one of its lane, and becomes a row as there is no room."""
        self._lanes[job.function, job.priority, job.tenant] = None
        self._timers.call_at(now)

    def work(self, now: float) -> None:
        """Look at the next ones."""
        left = SETTLED
        for lane in list(self._lanes):
            function, priority, tenant = lane
            while (job := function.lanes.last(priority, tenant)) is not None:
                if not left:
                    self._timers.call_at(now)
                    return
                left -= 1
                del self._lanes[lane]
                self._settle(job, now)
                if lane not in self._lanes:
                    break
            self._lanes.pop(lane, None)

"""
The server drains: it comes to hand out only what clients wait for, and is done with that in the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from txgear.broker.states import DELAYED, STORING
from txgear.protocol.constants import PRIORITIES

if TYPE_CHECKING:
    from txgear.broker.bulk import BulkTask
    from txgear.broker.dispatcher import Dispatcher
    from txgear.broker.functions import Functions
    from txgear.broker.life.departures import Departures
    from txgear.broker.model import Function, Peer
    from txgear.broker.rows.wakings import Wakings


class Draining:
    """Whether it does, and for whom, L{Dispatcher} knows."""

    __slots__ = ("_departures", "_dispatcher", "_functions", "_wakings")

    def __init__(
        self, functions: Functions, dispatcher: Dispatcher, wakings: Wakings, departures: Departures
    ) -> None:
        self._functions = functions
        self._dispatcher = dispatcher
        self._wakings = wakings
        self._departures = departures

    def start(self, now: float, has_heir: bool = False) -> None:
        """
        Take no new job, and hand out only those that a client waits for; the others wait for good. To do this
        twice is to do it once.

        @param has_heir: whether another server has what is stored next: background jobs are taken for it.
        """
        if not self._dispatcher.draining:
            self._wakings.stop()
            self._departures.start(self._sift(self._dispatcher.begin_to_drain(now, has_heir)), now)

    def _sift(self, functions: list[Function]) -> BulkTask:
        """Withhold what no client waits for, and let the rest be handed out."""
        now = yield
        for function in functions:
            for priority in PRIORITIES:
                # What is not in memory is not handed out: for those who count it waits as well.
                for owner in list(function.lanes.rows(priority)):
                    function.later += function.lanes.read(priority, owner, 0, None)
            for job in function.unassigned():
                if not job.clients:
                    self._dispatcher.withhold(job, now)
                now = yield
            self._dispatcher.sifted(function, now)
            now = yield

    def over(self, peers: dict[Peer, None]) -> bool:
        """
        Whether no job runs, and no client waits for one that could run; of paused functions none can.
        One that is to be tried again is waited for, unless it is a background job as well: that one is kept.
        One whose time is still to come for the first time is not.

        @param peers: all that there are.
        """
        return (
            self._dispatcher.draining
            and not self._dispatcher.running
            and not any(
                (function.lanes.ready or function.lanes.paged) and not function.paused
                for function in self._functions.by_name.values()
            )
            and not any(
                job.state == STORING or (job.state == DELAYED and job.retries and not job.background)
                for peer in peers
                for job in peer.attached
            )
        )

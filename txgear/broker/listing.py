"""
Lists of jobs wherever they are, in pages: those in memory, and among them those that only the store has.

Rows of the store are looked at some hundred at a time, as jobs that are in no place. Making a page asks the
store a bounded number of times; it may have no rows, and still say where the next one begins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from txgear.broker import inspection
from txgear.broker.records import ByKey, InOrder
from txgear.broker.search import BOUNDS, Bounds, Rows, Search
from txgear.broker.states import DELAYED, QUEUED, STATE_NAMES
from txgear.protocol.constants import UNIQUE_FROM_WORKLOAD

if TYPE_CHECKING:
    from txgear.broker.broker import Broker
    from txgear.broker.model import Job, Peer
    from txgear.broker.stock import Found

ROWS: Final = 500
"""Jobs that the store is asked for at once: to look at them takes some milliseconds."""
MOST_ASKED: Final = 10
"""Times that it is asked for one page: that takes some ten milliseconds if nobody else asks."""
OF_ROWS: Final = frozenset((STATE_NAMES[QUEUED], STATE_NAMES[DELAYED]))
"""How a job can be that only the store has."""

Then: TypeAlias = "Callable[[dict[str, Any] | None], None]"
"""Called once, at once or later, with a page; with C{None} if the store does not answer."""


def find(
    broker: Broker, peer: Peer, of: str, search: Search, now: float, then: Then, bounds: Bounds = BOUNDS
) -> None:
    """
    Make a page of a list.

    @param of: of which: C{jobs}, C{dead} or C{kept}.
    @param then: called with what L{txgear.broker.inspection} makes of it.
    """
    _FIND[of](broker, peer, search, now, then, bounds)


def _live(broker: Broker, peer: Peer, search: Search, now: float, then: Then, bounds: Bounds) -> None:
    """See L{inspection.jobs}."""
    if not broker.table.rows or search.worker or not search.state & OF_ROWS:
        then(inspection.jobs(broker, peer, search, now, bounds))
    elif search.unique and search.unique != UNIQUE_FROM_WORKLOAD:
        _live_by_unique(broker, peer, search, then, bounds)
    else:
        _LiveWalk(broker, peer, search, then, bounds).go_on(search.after, 4 * search.limit)


def _rows_of(found: Found) -> dict[int, Job]:
    """Those of them that have not ended, by number."""
    return {job.number: job for job in found.jobs if not job.ended}


def _live_by_unique(broker: Broker, peer: Peer, search: Search, then: Then, bounds: Bounds) -> None:
    def look(found: Found | None, now: float) -> None:
        if found is None:
            then(None)
            return
        rows = Rows(_rows_of(found), broker.table.last_number)
        then(inspection.jobs(broker, peer, search, now, bounds, rows))

    broker.stock.peek(ByKey((search.unique,)), look)


class _LiveWalk:
    """
    Jobs in the order of their numbers, looked at until a page is full or the store was asked often enough.
    """

    def __init__(self, broker: Broker, peer: Peer, search: Search, then: Then, bounds: Bounds) -> None:
        self._broker = broker
        self._peer = peer
        self._search = search
        self._then = then
        self._bounds = bounds
        self._asked = 0
        self._jobs: list[dict[str, Any]] = []

    def go_on(self, after: int, most: int = ROWS) -> None:
        """
        Look at the next ones.

        @param after: their numbers are higher than this.
        @param most: how many of the store's at the most.
        """
        self._asked += 1
        limit = min(most, ROWS)

        def look(found: Found | None, now: float) -> None:
            if found is None:
                self._then(None)
            else:
                last = None if len(found.records) < limit else found.records[-1].number
                self._look(after, Rows(_rows_of(found), last or self._broker.table.last_number), last, now)

        self._broker.stock.peek(InOrder(after, limit), look)

    def _look(self, after: int, rows: Rows, last: int | None, now: float) -> None:
        """
        @param last: the number up to which the store was looked at; C{None} for to its end.
        """
        left = self._search.limit - len(self._jobs)
        search = replace(self._search, after=after, limit=left)
        page = inspection.jobs(self._broker, self._peer, search, now, self._bounds, rows)
        self._jobs += page["jobs"]
        following = last if page["next"] is None else page["next"]
        full = len(self._jobs) == self._search.limit
        if following is None or full or self._asked == MOST_ASKED:
            self._then({"jobs": self._jobs, "next": following})
        else:
            self.go_on(following)


def _dead(broker: Broker, peer: Peer, search: Search, now: float, then: Then, bounds: Bounds) -> None:
    """See L{inspection.dead}."""
    then(inspection.dead(broker, peer, search, now, bounds))


def _kept(broker: Broker, peer: Peer, search: Search, now: float, then: Then, bounds: Bounds) -> None:
    """See L{inspection.kept}."""
    then(inspection.kept(broker, peer, search, now, bounds))


_FIND: Final = {"jobs": _live, "dead": _dead, "kept": _kept}

"""
Which leases of other servers have ended.

A lease lives as long as it moves. It has ended when it stands still for its length by our own clock, while
the database answered all the time. So after a failover of the database, when nobody could write, the owners
get a lease's length to do so before anybody judges them.

Nothing here is safe by itself: of several who take a part one has success, and the fence keeps off who had
it.

This knows no database and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from txgear.broker.records import Lease
from txgear.stores.looks import Looks

LOOK_SECONDS: Final = 1.0
"""Seconds from one look to the next, where no lease ends sooner."""
AGAIN_SECONDS: Final = 0.25
"""
Seconds from a look that has failed to the next: with the first one after an outage the lengths of all leases
begin, of those as well whose owners have died meanwhile.
"""
FREE_SECONDS: Final = 0.75
"""
Seconds for which nobody has a part before it is taken: workers that have just lost its server offer what they
have of it to the others meanwhile, also to one at the same place, to which they connect first. Who takes it
sooner hands that out once more.
"""
JITTER: Final = 0.5
"""Seconds after the end of a lease in which somebody looks: of all at once one has success."""
GAP: Final = 3.0
"""Seconds without a look after which nobody knows how the database was: twice as many as usual."""
LEAST: Final = 0.01
"""Seconds from one look to the next at the least."""


class Watch:
    """
    What one server has seen of the leases of all.
    """

    def __init__(self, length: float, chance: Callable[[], float]) -> None:
        """
        @param length: seconds of a lease.
        @param chance: a random number, 0 to 1.
        """
        self._length = length
        self._chance = chance
        self._looks = Looks(GAP)
        # Of each part what moves, and the end of the look that has shown that first.
        self._seen: dict[int, tuple[tuple[bytes, int, int], float]] = {}
        # When each part can be taken that cannot yet.
        self._ends: list[float] = []

    def looked(self, leases: Collection[Lease], asked: float, answered: float) -> list[Lease]:
        """
        The leases of all parts were read.

        @param asked: when they were asked for, by a monotonic clock;
        @param answered: when they were there.
        @return: those that may be taken as they are: nobody has them, or who has them is dead.
        """
        self._looks.looked(asked, answered)
        seen, self._seen, self._ends = self._seen, {}, []
        ended = []
        for lease in leases:
            moment = lease.owner, lease.term, lease.beat
            before = seen.get(lease.part)
            first = before[1] if before is not None and before[0] == moment else answered
            self._seen[lease.part] = moment, first
            if lease.is_ours:
                continue
            end = max(first, self._looks.since) + self._length if lease.owner else first + FREE_SECONDS
            if asked >= end:
                ended.append(lease)
            else:
                self._ends.append(end)
        return ended

    def failed(self) -> None:
        """A look has failed, and perhaps nobody could write: all begins anew."""
        self._looks.begin()

    def stood(self, part: int, now: float) -> float:
        """For how many seconds the lease of a part has been seen as it is; 0.0 for one that was not seen."""
        seen = self._seen.get(part)
        return 0.0 if seen is None else now - seen[1]

    def pause(self, now: float) -> float:
        """Seconds until the next look."""
        soon = [end - now for end in self._ends if end - now <= LOOK_SECONDS]
        if not soon:
            return LOOK_SECONDS
        return max(min(soon), LEAST) + self._chance() * JITTER

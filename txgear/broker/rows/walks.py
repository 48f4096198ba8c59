"""
Going over jobs of the store, a page at a time, to do something with all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from txgear.broker.records import InLane, WithUnique

if TYPE_CHECKING:
    from txgear.broker.records import JobRecord, Lane

PAGE: Final = 100
"""Jobs of a page: something is done to all of them in one turn, some ten milliseconds."""


class Walk:
    """
    Where it is. Those that come while it goes on are none of its jobs: their places are higher.

    @ivar last: the places of its jobs are not higher than this.
    """

    __slots__ = ("_after", "_lanes", "_size", "last")

    def __init__(self, lanes: Iterable[Lane | bytes], last: int, size: int = PAGE) -> None:
        """
        @param lanes: in which order they are gone over; or uniques.
        @param size: jobs of a page.
        """
        self.last = last
        self._lanes = [*lanes]
        self._lanes.reverse()
        self._after = 0
        self._size = size

    @property
    def question(self) -> InLane | WithUnique | None:
        """What the store is to be asked next; C{None} at the end."""
        if not self._lanes:
            return None
        lane = self._lanes[-1]
        if isinstance(lane, bytes):
            return WithUnique(lane, self._after, self._size)
        return InLane(lane, self._after, self._size)

    def go_on(self, records: Sequence[JobRecord]) -> list[int]:
        """
        The page is there.

        @return: the numbers of those that are its jobs; C{question} is the next one from now on.
        """
        if len(records) < self._size or records[-1].place >= self.last:
            self._lanes.pop()
            self._after = 0
        else:
            self._after = records[-1].place
        return [record.number for record in records if record.place <= self.last]

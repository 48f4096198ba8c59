"""
Items in lanes, and the two ways to know of some that an entry does not speak for them.

An item that ends while it is in a lane stays there as a tombstone, uncounted, until it is passed over or
swept out with others: taking one out of the middle would cost a walk along the lane. One that is withdrawn,
to be put into some lane again, leaves a stale entry, which looks as alive as the item is: so these are noted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Final, Generic, Protocol, TypeVar

SLACK: Final = 64
"""Tombstones in a lane that are never worth a sweep."""


class Item(Protocol):
    """
    What lies in lanes: a job.

    @ivar state: L{QUEUED} in a lane, L{PAGED} in an overflow; anything else is a tombstone.
    @ivar priority: which lane.
    @ivar place: its turn among those that have been handed out before; another one after it was withdrawn.
    """

    state: int
    priority: int
    place: int

    @property
    def loaded(self) -> bool:
        """Whether it may come from the overflow into the lane."""


T = TypeVar("T", bound=Item)


class Stale(Generic[T]):
    """
    Entries of one lane, or of one overflow, whose items were withdrawn. An item may be there again: of all
    its entries the last one counts then.
    """

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[T, int] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def __contains__(self, item: T) -> bool:
        return item in self._counts

    def add(self, item: T) -> None:
        """The entry of this item is stale from now on."""
        self._counts[item] = self._counts.get(item, 0) + 1

    def passed(self, item: T) -> bool:
        """
        The first entry of this item is about to be taken out.

        @return: whether it is stale; it is noted no more then.
        """
        left = self._counts.pop(item, 0)
        if left > 1:
            self._counts[item] = left - 1
        return left > 0

    def without(self, items: Iterable[T]) -> Iterator[T]:
        """Those entries, which are the first ones there, that are not stale."""
        if not self._counts:
            yield from items
            return
        met: dict[T, int] = {}
        for item in items:
            stale = self._counts.get(item, 0)
            if stale and met.get(item, 0) < stale:
                met[item] = met.get(item, 0) + 1
            else:
                yield item

    def clear(self) -> None:
        """All of them have been taken out."""
        self._counts.clear()


class Returned(Generic[T]):
    """
    Items in the order of their places, which come in any order: those of one priority that have come back
    from a worker for the first time, and are before all that is in the lane; or those that stand among rows.
    """

    __slots__ = ("_heap", "_there")

    def __init__(self, items: Iterable[T] = ()) -> None:
        # By their places, of which each is in the heap, besides some that are not here any more.
        self._there = {item.place: item for item in items}
        # Sorted, as here, they are a heap.
        self._heap = sorted(self._there)

    def __len__(self) -> int:
        return len(self._there)

    def __contains__(self, item: T) -> bool:
        return self._there.get(item.place) is item

    def add(self, item: T) -> None:
        """One more; none of the same place is here."""
        heappush(self._heap, item.place)
        self._there[item.place] = item

    def remove(self, item: T) -> None:
        """This one is not here any more."""
        del self._there[item.place]
        if len(self._heap) > 2 * len(self._there) + SLACK:
            self._heap = sorted(self._there)

    def first(self) -> T | None:
        """The one with the lowest place, left where it is."""
        heap, there = self._heap, self._there
        while heap:
            if (item := there.get(heap[0])) is not None:
                return item
            heappop(heap)
        return None

    def in_order(self) -> list[T]:
        """All of them, by their places."""
        return [self._there[place] for place in sorted(self._there)]

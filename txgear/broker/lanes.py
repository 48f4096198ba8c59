"""
Three lanes, one for each priority, first in first out; and behind each lane its overflow, what is too much
for the memory.

An item that ends while it is in a lane stays there as a tombstone, uncounted, until it is passed over or
swept out with others: taking one out of the middle would cost a walk along the lane.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import Final, Generic, Protocol, TypeVar

from txgear.broker.states import PAGED, QUEUED
from txgear.protocol.constants import PRIORITIES

SLACK: Final = 64
"""Tombstones in a lane that are never worth a sweep."""


class Item(Protocol):
    """
    What lies in lanes: a job.

    @ivar state: L{QUEUED} in a lane, L{PAGED} in an overflow; anything else is a tombstone.
    @ivar priority: which lane.
    @ivar place: its turn among those that have been handed out before.
    """

    state: int
    priority: int
    place: int

    @property
    def loaded(self) -> bool:
        """Whether it may come from the overflow into the lane."""


T = TypeVar("T", bound=Item)


class Overflow(Generic[T]):
    """
    What is behind one lane, oldest first.

    @ivar items: those that are PAGED, and tombstones.
    @ivar count: how many are PAGED.
    """

    __slots__ = ("count", "items")

    def __init__(self) -> None:
        self.items: deque[T] = deque()
        self.count = 0

    def remove(self, item: T) -> None:
        """Count an item out; its state is about to change."""
        self.count -= 1
        if self.items and self.items[0] is item:
            self.items.popleft()
        elif self.items and self.items[-1] is item:
            self.items.pop()
        elif len(self.items) > 2 * self.count + SLACK:
            self.items = deque(other for other in self.items if other.state == PAGED and other is not item)

    def first(self) -> T | None:
        """The item whose turn it is to come into the lane."""
        items = self.items
        while items and items[0].state != PAGED:
            items.popleft()
        return items[0] if items else None


class Lanes(Generic[T]):
    """
    The items of one function that no worker has, and that need not wait for their time.

    @ivar counts: how many are in each lane, by priority.
    @ivar ready: the sum of C{counts}.
    @ivar overflow: what is behind each lane, by priority; only where there is something.
    @ivar paged: how many are in C{overflow}.
    @cvar held: how many are not to be handed out for now: none, as in L{txgear.broker.sharedlanes}.
    @cvar limited: whether fewer may be handed out than are ready: likewise.
    """

    __slots__ = ("_lanes", "_returned", "counts", "overflow", "paged", "ready")

    held: Final = 0
    limited: Final = False

    def __init__(self) -> None:
        # None where there never was an item.
        self._lanes: list[deque[T] | None] = [None, None, None]
        # By priority, those that have come back from a worker for the first time: a heap by their places,
        # before all that is in the lane; only where there are some.
        self._returned: dict[int, list[tuple[int, T]]] = {}
        self.counts = [0, 0, 0]
        self.ready = 0
        self.overflow: dict[int, Overflow[T]] = {}
        self.paged = 0

    @property
    def startable(self) -> int:
        """How many may be handed out now."""
        return self.ready

    # In the lanes

    def append(self, item: T) -> bool:
        """
        Put an item behind all others of its lane.

        @return: whether the lane was empty before.
        """
        priority = item.priority
        lane = self._lanes[priority]
        if lane is None:
            self._lanes[priority] = deque((item,))
        else:
            lane.append(item)
        self.ready += 1
        counts = self.counts
        counts[priority] = count = counts[priority] + 1
        return count == 1

    def put_back(self, item: T) -> bool:
        """
        Put an item that was handed out before at the head of its lane: behind those older ones only that
        have come back for the first time as well.

        @return: whether the lane was empty before.
        """
        heappush(self._returned.setdefault(item.priority, []), (item.place, item))
        self.ready += 1
        self.counts[item.priority] += 1
        return self.counts[item.priority] == 1

    def take(self, priority: int) -> T:
        """The next item of this priority, out of its lane; there is one."""
        self.ready -= 1
        self.counts[priority] -= 1
        if self._returned and (returned := self._take_returned(priority)) is not None:
            return returned
        lane = self._lanes[priority]
        assert lane is not None
        item = lane.popleft()
        while item.state != QUEUED:
            item = lane.popleft()
        return item

    def _take_returned(self, priority: int) -> T | None:
        """The first of those that have come back."""
        heap = self._returned.get(priority)
        item = None
        while heap and item is None:
            first = heappop(heap)[1]
            item = first if first.state == QUEUED else None
        if not heap:
            self._returned.pop(priority, None)
        return item

    def remove(self, item: T) -> bool:
        """
        Count an item out that is in a lane; its state is about to change.

        @return: whether its lane is empty now.
        """
        priority = item.priority
        self.ready -= 1
        self.counts[priority] -= 1
        left = self.counts[priority]
        lane = self._lanes[priority]
        if not left:
            if lane:
                lane.clear()
            self._returned.pop(priority, None)
        elif lane and lane[0] is item:
            # Whoever takes out many takes the oldest first: that is to cost no sweep.
            lane.popleft()
            while lane and lane[0].state != QUEUED:
                lane.popleft()
        elif lane and lane[-1] is item:
            lane.pop()
            while lane and lane[-1].state != QUEUED:
                lane.pop()
        else:
            tombstones = len(lane or ()) + len(self._returned.get(priority, ())) - left
            if tombstones > left + SLACK:
                self._sweep(priority, item)
        return not left

    def _sweep(self, priority: int, gone: T) -> None:
        """Take the tombstones out of a lane."""
        lane = self._lanes[priority]
        if lane:
            self._lanes[priority] = deque(item for item in lane if item.state == QUEUED and item is not gone)
        if heap := self._returned.pop(priority, None):
            # Sorted, as here, they are a heap.
            left = sorted(entry for entry in heap if entry[1].state == QUEUED and entry[1] is not gone)
            if left:
                self._returned[priority] = left

    def head(self, priority: int, gone: T | None = None) -> T:
        """
        The next item of this priority, left where it is; there is one.

        @param gone: an item that was counted out, and whose state is about to change.
        """
        heap = self._returned.get(priority)
        while heap:
            item = heap[0][1]
            if item.state == QUEUED and item is not gone:
                return item
            heappop(heap)
        lane = self._lanes[priority]
        assert lane is not None
        while lane[0].state != QUEUED or lane[0] is gone:
            lane.popleft()
        return lane[0]

    def kinds(self, priority: int) -> tuple[list[T], list[T], list[T]]:
        """Those of a priority that have come back, those in the lane, and those behind it, in their order."""
        overflow = self.overflow.get(priority)
        return (
            [item for _, item in sorted(self._returned.get(priority, ())) if item.state == QUEUED],
            [item for item in self._lanes[priority] or () if item.state == QUEUED],
            # One that has left may be there again, behind its tombstone, which is none any more.
            list(dict.fromkeys(item for item in overflow.items if item.state == PAGED)) if overflow else [],
        )

    def fill(self, priority: int, returned: list[T], queued: list[T], paged: list[T]) -> None:
        """Put all these into a lane that has nothing, and behind it; as in L{kinds}."""
        if returned:
            # Sorted, as here, they are a heap.
            self._returned[priority] = sorted((item.place, item) for item in returned)
        self._lanes[priority] = deque(queued)
        self.counts[priority] = len(returned) + len(queued)
        self.ready += self.counts[priority]
        if paged:
            overflow = self.overflow[priority] = Overflow()
            overflow.items.extend(paged)
            overflow.count = len(paged)
            self.paged += overflow.count

    def all(self) -> list[T]:
        """Every item in the lanes and their overflow, in the order of being handed out, and tombstones."""
        found: list[T] = []
        for priority in PRIORITIES:
            found += self._in_order(priority)
            if priority in self.overflow:
                found += self.overflow[priority].items
        return found

    def _in_order(self, priority: int) -> list[T]:
        """A lane and what has come back to it."""
        returned = [item for _, item in sorted(self._returned.get(priority, ()))]
        return [*returned, *(self._lanes[priority] or ())]

    # In the overflow

    def behind(self, item: T) -> bool:
        """Whether there are others in the overflow behind which this item has to go."""
        return item.priority in self.overflow

    def append_overflow(self, item: T) -> bool:
        """
        Put an item behind all others of its priority, those that are not in memory included.

        @return: whether there was no other.
        """
        overflow = self.overflow.get(item.priority)
        if overflow is None:
            overflow = self.overflow[item.priority] = Overflow()
        overflow.items.append(item)
        overflow.count += 1
        self.paged += 1
        return overflow.count == 1 and not self.counts[item.priority]

    def remove_overflow(self, item: T) -> None:
        """Count an item out that is in an overflow; its state is about to change."""
        overflow = self.overflow[item.priority]
        overflow.remove(item)
        self.paged -= 1
        if not overflow.count:
            del self.overflow[item.priority]

    def pop_loaded(self, item: T) -> T | None:
        """The first item in the overflow in which this one is, or was, taken out, if it is loaded."""
        overflow = self.overflow.get(item.priority)
        first = None if overflow is None else overflow.first()
        if overflow is None or first is None or not first.loaded:
            return None
        overflow.items.popleft()
        self.remove_overflow(first)
        return first

    def to_read(self, priority: int) -> tuple[Overflow[T] | None, int]:
        """
        Of which overflow of this priority something is to be read next.

        @return: the overflow, C{None} if there is none; and how many are in the lane before it.
        """
        return self.overflow.get(priority), self.counts[priority]

    def firsts(self) -> list[T]:
        """The first item in each overflow."""
        found = (self.overflow[priority].first() for priority in sorted(self.overflow))
        return [item for item in found if item is not None]

    def heads(self) -> list[T]:
        """
        Of each priority the first item in the lane, of those that have come back, and in the overflow: all
        others have come later, but among those that have come back.
        """
        found = self.firsts()
        for priority, count in enumerate(self.counts):
            if count:
                heap = self._returned.get(priority)
                while heap and heap[0][1].state != QUEUED:
                    heappop(heap)
                lane = self._lanes[priority]
                while lane and lane[0].state != QUEUED:
                    lane.popleft()
                found += [heap[0][1]] if heap else []
                found += [lane[0]] if lane else []
        return found

    def total_of(self, priority: int) -> int:
        """Items of this priority, in the lane and in its overflow."""
        overflow = self.overflow.get(priority)
        return self.counts[priority] + (overflow.count if overflow is not None else 0)

    def check(self) -> None:
        """
        Do the counts say what is there?

        @raise AssertionError: they do not.
        """
        for priority in PRIORITIES:
            queued = [item for item in self._in_order(priority) if item.state == QUEUED]
            assert len(queued) == self.counts[priority], (priority, len(queued), self.counts)
            assert all(item.priority == priority for item in queued), priority
        assert self.ready == sum(self.counts), (self.ready, self.counts)
        for priority, overflow in self.overflow.items():
            paged = sum(item.state == PAGED for item in overflow.items)
            assert paged == overflow.count > 0, (priority, paged, overflow.count)
        assert self.paged == sum(overflow.count for overflow in self.overflow.values()), self.paged

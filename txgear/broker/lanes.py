"""
Three lanes, one for each priority, first in first out; and behind each lane its overflow, what is too much
for the memory.

An item that ends while it is in a lane stays there as a tombstone, uncounted, until it is passed over or
swept out with others: taking one out of the middle would cost a walk along the lane. One that is withdrawn,
to be put into some lane again, leaves a stale entry, which looks as alive as the item is: so these are noted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
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


class Overflow(Generic[T]):
    """
    What is behind one lane, oldest first.

    @ivar items: those that are PAGED, tombstones and stale entries.
    @ivar count: how many are PAGED.
    """

    __slots__ = ("_stale", "count", "items")

    def __init__(self) -> None:
        self.items: deque[T] = deque()
        self.count = 0
        self._stale: Stale[T] = Stale()

    def remove(self, item: T, *, again: bool = False) -> None:
        """
        Count an item out; its state is about to change.

        @param again: whether it was withdrawn, and may come again.
        """
        self.count -= 1
        items = self.items
        if items and items[-1] is item:
            items.pop()
        elif items and items[0] is item and item not in self._stale:
            items.popleft()
        else:
            if again:
                self._stale.add(item)
            if len(items) > 2 * self.count + SLACK:
                self.items = deque(other for other in self.upcoming() if other is not item)
                self._stale.clear()

    def first(self) -> T | None:
        """The item whose turn it is to come into the lane."""
        items, stale = self.items, self._stale
        while items and ((stale and stale.passed(items[0])) or items[0].state != PAGED):
            items.popleft()
        return items[0] if items else None

    def upcoming(self) -> Iterator[T]:
        """Those that are PAGED, in order."""
        return (item for item in self._stale.without(self.items) if item.state == PAGED)


class Returned(Generic[T]):
    """
    The items of one priority that have come back from a worker for the first time: a heap by their places,
    before all that is in the lane.
    """

    __slots__ = ("_heap", "_there")

    def __init__(self, items: Iterable[T] = ()) -> None:
        # Sorted, as here, they are a heap.
        self._heap = sorted((item.place, item) for item in items)
        self._there = {item for _, item in self._heap}

    def __len__(self) -> int:
        return len(self._there)

    def __contains__(self, item: T) -> bool:
        return item in self._there

    def add(self, item: T) -> None:
        """One more; none of the same place was ever here."""
        heappush(self._heap, (item.place, item))
        self._there.add(item)

    def remove(self, item: T) -> None:
        """This one is not here any more."""
        self._there.remove(item)
        if len(self._heap) > 2 * len(self._there) + SLACK:
            self._heap = sorted(entry for entry in self._heap if self._is_here(entry))

    def first(self) -> T | None:
        """The one with the lowest place, left where it is."""
        heap = self._heap
        while heap and not self._is_here(heap[0]):
            heappop(heap)
        return heap[0][1] if heap else None

    def in_order(self) -> list[T]:
        """All of them, by their places."""
        return [entry[1] for entry in sorted(self._heap) if self._is_here(entry)]

    def _is_here(self, entry: tuple[int, T]) -> bool:
        """Whether this is the entry of an item that is here: one that was withdrawn has another place."""
        return entry[1] in self._there and entry[1].place == entry[0]


class Odds(Generic[T]):
    """
    What one lane has besides its items.

    @ivar returned: what comes before them.
    @ivar stale: entries of the lane that are stale.
    """

    __slots__ = ("returned", "stale")

    def __init__(self) -> None:
        self.returned: Returned[T] = Returned()
        self.stale: Stale[T] = Stale()

    def __bool__(self) -> bool:
        return bool(self.returned) or bool(self.stale)


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

    __slots__ = ("_lanes", "_odds", "counts", "overflow", "paged", "ready")

    held: Final = 0
    limited: Final = False

    def __init__(self) -> None:
        # None where there never was an item.
        self._lanes: list[deque[T] | None] = [None, None, None]
        # By priority; only where there are some, so that they cost one look.
        self._odds: dict[int, Odds[T]] = {}
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
        self._odds_of(item.priority).returned.add(item)
        self.ready += 1
        self.counts[item.priority] += 1
        return self.counts[item.priority] == 1

    def take(self, priority: int) -> T:
        """The next item of this priority, out of its lane; there is one."""
        self.ready -= 1
        self.counts[priority] -= 1
        if self._odds and priority in self._odds:
            return self._take_oddly(priority)
        lane = self._lanes[priority]
        assert lane is not None
        item = lane.popleft()
        while item.state != QUEUED:
            item = lane.popleft()
        return item

    def _take_oddly(self, priority: int) -> T:
        """The same where there is more than the lane."""
        odds = self._odds[priority]
        item = odds.returned.first()
        if item is not None:
            odds.returned.remove(item)
        else:
            self._trim(priority)
            lane = self._lanes[priority]
            assert lane is not None
            item = lane.popleft()
        self._drop_odds(priority)
        return item

    def _odds_of(self, priority: int) -> Odds[T]:
        if priority not in self._odds:
            self._odds[priority] = Odds()
        return self._odds[priority]

    def _drop_odds(self, priority: int) -> None:
        """Have none where there are none any more."""
        if priority in self._odds and not self._odds[priority]:
            del self._odds[priority]

    def _trim(self, priority: int, gone: T | None = None) -> None:
        """
        Take what is no item any more from the head of a lane.

        @param gone: an item that was counted out, and whose state is about to change.
        """
        lane, odds = self._lanes[priority], self._odds.get(priority)
        while lane:
            item = lane[0]
            stale = odds is not None and odds.stale.passed(item)
            if not stale and item.state == QUEUED and item is not gone:
                return
            lane.popleft()

    def remove(self, item: T) -> bool:
        """
        Count an item out that is in a lane; its state is about to change.

        @return: whether its lane is empty now.
        """
        priority = item.priority
        lane = self._lanes[priority]
        if self._count_out(priority):
            return True
        if (odds := self._odds.get(priority)) is not None:
            if item in odds.returned:
                odds.returned.remove(item)
            else:
                self._trim(priority, item)
                self._sweep_if_due(priority, item)
            self._drop_odds(priority)
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
            self._sweep_if_due(priority, item)
        return False

    def withdraw(self, item: T) -> bool:
        """The same for an item that will come again, here or elsewhere, when it has got another place."""
        priority = item.priority
        lane = self._lanes[priority]
        if self._count_out(priority):
            return True
        odds = self._odds_of(priority)
        if item in odds.returned:
            odds.returned.remove(item)
        elif lane and lane[-1] is item:
            lane.pop()
        else:
            odds.stale.add(item)
            self._trim(priority)
            self._sweep_if_due(priority, item)
        self._drop_odds(priority)
        return False

    def _count_out(self, priority: int) -> bool:
        """
        There is one less.

        @return: whether that was the last one; nothing at all is left then.
        """
        self.ready -= 1
        self.counts[priority] -= 1
        if self.counts[priority]:
            return False
        if lane := self._lanes[priority]:
            lane.clear()
        self._odds.pop(priority, None)
        return True

    def _sweep_if_due(self, priority: int, gone: T) -> None:
        """Take the tombstones out of a lane, and what is stale, where these are more than the items."""
        lane, odds = self._lanes[priority], self._odds.get(priority)
        items = self.counts[priority] - (0 if odds is None else len(odds.returned))
        if lane and len(lane) > 2 * items + SLACK:
            self._lanes[priority] = deque(item for item in self._queued(priority) if item is not gone)
            if odds is not None:
                odds.stale.clear()

    def _queued(self, priority: int) -> Iterator[T]:
        """What is in a lane, in order, without what has come back."""
        lane, odds = self._lanes[priority] or (), self._odds.get(priority)
        items = lane if odds is None else odds.stale.without(lane)
        return (item for item in items if item.state == QUEUED)

    def head(self, priority: int, gone: T | None = None) -> T:
        """
        The next item of this priority, left where it is; there is one.

        @param gone: an item that was counted out, and whose state is about to change.
        """
        odds = self._odds.get(priority)
        if odds is not None and (first := odds.returned.first()) is not None:
            return first
        self._trim(priority, gone)
        lane = self._lanes[priority]
        assert lane is not None
        return lane[0]

    def kinds(self, priority: int) -> tuple[list[T], list[T], list[T]]:
        """Those of a priority that have come back, those in the lane, and those behind it, in their order."""
        odds, overflow = self._odds.get(priority), self.overflow.get(priority)
        return (
            [] if odds is None else odds.returned.in_order(),
            list(self._queued(priority)),
            list(overflow.upcoming()) if overflow else [],
        )

    def in_turn(self) -> Iterator[T]:
        """
        Every item in the lanes and their overflow, in the order of being handed out, each as it is asked for:
        to see the first few of a million costs little.
        """
        for priority in PRIORITIES:
            if (odds := self._odds.get(priority)) is not None:
                yield from odds.returned.in_order()
            yield from self._queued(priority)
            if (overflow := self.overflow.get(priority)) is not None:
                yield from overflow.upcoming()

    def fill(self, priority: int, returned: list[T], queued: list[T], paged: list[T]) -> None:
        """Put all these into a lane that has nothing, and behind it; as in L{kinds}."""
        if returned:
            self._odds_of(priority).returned = Returned(returned)
        self._lanes[priority] = deque(queued)
        self.counts[priority] = len(returned) + len(queued)
        self.ready += self.counts[priority]
        if paged:
            overflow = self.overflow[priority] = Overflow()
            overflow.items.extend(paged)
            overflow.count = len(paged)
            self.paged += overflow.count

    def all(self) -> list[T]:
        """Every item in the lanes and their overflow, in the order of being handed out."""
        return list(self.in_turn())

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

    def remove_overflow(self, item: T, *, again: bool = False) -> None:
        """
        Count an item out that is in an overflow; its state is about to change.

        @param again: whether it was withdrawn, and may come again.
        """
        overflow = self.overflow[item.priority]
        overflow.remove(item, again=again)
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
                if (odds := self._odds.get(priority)) is not None:
                    first = odds.returned.first()
                    found += [] if first is None else [first]
                self._trim(priority)
                found += list(self._lanes[priority] or ())[:1]
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
            returned, lying, _ = self.kinds(priority)
            queued = [*returned, *lying]
            assert len(set(queued)) == len(queued) == self.counts[priority], (priority, queued, self.counts)
            assert all(item.priority == priority for item in queued), priority
        assert self.ready == sum(self.counts), (self.ready, self.counts)
        for priority, overflow in self.overflow.items():
            paged = list(overflow.upcoming())
            assert len(set(paged)) == len(paged) == overflow.count > 0, (priority, paged, overflow.count)
            assert all(item.priority == priority for item in paged), priority
        assert self.paged == sum(overflow.count for overflow in self.overflow.values()), self.paged

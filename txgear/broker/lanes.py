"""
Three lanes, one for each priority, first in first out; and behind each lane its overflow, what is too much
for the memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from txgear.broker.entries import SLACK, Item, Returned, Stale
from txgear.broker.overflow import Overflow, Rows
from txgear.broker.states import QUEUED
from txgear.protocol.constants import PRIORITIES

if TYPE_CHECKING:
    from txgear.broker.tenants import Tenant

T = TypeVar("T", bound=Item)

LOW: Final = 2000
"""Items of a lane from which on there is no hurry to have more."""
EACH: Final = 50
"""
Items after which it is looked again whether there is a hurry, until there are no more than that: to look
takes half as long as to hand out an item.
"""


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
    @ivar paged: how many are in C{overflow}, those included that are not in memory.
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

    def squeeze_in(self, item: T) -> bool:
        """
        Put an item, which comes late, before those at the end of its lane that have higher places.

        @return: whether there are such, and nothing with a lower place is behind the lane; otherwise the item
            is not here, and is to come as all do.
        """
        priority = item.priority
        lane, overflow = self._lanes[priority] or (), self.overflow.get(priority)
        if overflow is not None and not overflow.is_behind(item.place):
            return False
        passed = 0
        for index, other in enumerate(reversed(lane), 1):
            if other.state == QUEUED:
                if other.place < item.place:
                    break
                passed = index
        if not (lane and passed):
            return False
        lane.insert(len(lane) - passed, item)
        self.ready += 1
        self.counts[priority] += 1
        return True

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

    def rows(self, priority: int) -> dict[Tenant | None, Rows]:
        """What is not in memory, by its owners."""
        overflow = self.overflow.get(priority)
        return {} if overflow is None else overflow.rows

    def has_rows(self, priority: int, owner: Tenant | None) -> bool:
        """Whether this owner has any of them."""
        overflow = self.overflow.get(priority)
        return overflow is not None and owner in overflow.rows

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
            overflow = self._overflow(priority)
            for item in paged:
                overflow.append(item)
            self.paged += len(paged)

    def fill_rows(self, priority: int, owner: Tenant | None, rows: Rows) -> None:
        """Have all these behind a lane behind which this owner has none; before L{fill}."""
        self._overflow(priority).rows[owner] = rows
        self.paged += rows.count

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
        opened = overflow is None and not self.counts[item.priority]
        if overflow is None:
            overflow = self.overflow[item.priority] = Overflow()
        overflow.append(item)
        self.paged += 1
        return opened

    def _overflow(self, priority: int) -> Overflow[T]:
        if priority not in self.overflow:
            self.overflow[priority] = Overflow()
        return self.overflow[priority]

    def remove_overflow(self, item: T, *, again: bool = False) -> None:
        """
        Count an item out that is in an overflow; its state is about to change.

        @param again: whether it was withdrawn, and may come again.
        """
        overflow = self.overflow[item.priority]
        overflow.remove(item, again=again)
        self.paged -= 1
        if not (overflow.count or overflow.rows):
            del self.overflow[item.priority]

    # Not in memory

    def may_spare(self, item: T) -> bool:
        """As L{Overflow.may_spare}, of an item that is PAGED."""
        return self.overflow[item.priority].may_spare(item)

    def last(self, priority: int, owner: Tenant | None) -> T | None:
        """As L{Overflow.last}, of a lane that may be empty."""
        overflow = self.overflow.get(priority)
        return None if overflow is None else overflow.last()

    def may_pass_by(self, item: T) -> bool:
        """As L{Overflow.may_pass_by}."""
        overflow = self.overflow.get(item.priority)
        return overflow is None or overflow.may_pass_by(item.place)

    def may_follow(self, item: T, owner: Tenant | None) -> bool:
        """L{may_pass_by} of an item whose owner has rows; C{False} of another: asked for each that comes."""
        overflow = self.overflow.get(item.priority)
        if overflow is None or owner not in overflow.rows:
            return False
        # As in Overflow.may_pass_by, which is one call more.
        return not (items := overflow.items) or items[-1].place < item.place

    def add_rows(self, priority: int, owner: Tenant | None, count: int, place: int = 1) -> bool:
        """
        Items that were in no place, or are in none any more, are not in memory from now on.

        @param place: the places of all of them are not lower than this.
        @return: whether their lane was empty before, and nothing was behind it.
        """
        opened = priority not in self.overflow and not self.counts[priority]
        self._overflow(priority).add_rows(owner, count, place)
        self.paged += count
        return opened

    def take_row(self, priority: int, owner: Tenant | None) -> None:
        """One is in memory again: L{append_overflow} came before."""
        self.overflow[priority].take_row(owner)
        self.paged -= 1

    def has_rows_only(self, priority: int, owner: Tenant | None, after: int) -> bool:
        """Whether all that is behind a lane are rows of this owner, with places that are higher than this."""
        overflow = self.overflow.get(priority)
        if overflow is None or overflow.count or overflow.rows.keys() != {owner}:
            return False
        return overflow.rows[owner].read_to >= after

    def take_rows(self, priority: int, owner: Tenant | None, items: Sequence[T]) -> None:
        """Items go into their lane that were the first rows behind it; see L{has_rows_only}."""
        count, lane = len(items), self._lanes[priority]
        if lane is None:
            lane = self._lanes[priority] = deque()
        lane.extend(items)
        self.counts[priority] += count
        self.ready += count
        self.paged -= count
        rows = self.overflow[priority].rows[owner]
        rows.count -= count
        rows.read_to = max(rows.read_to, items[-1].place)
        if rows.count <= 0:
            # There were at least as many as were known.
            self.paged -= rows.count
            del self.overflow[priority]

    def is_low(self, priority: int) -> bool:
        """Whether it is time to look for what is behind a lane; asked when an item was taken."""
        count = self.counts[priority]
        return count < LOW and (count < EACH or count % EACH == EACH - 1)

    def read(self, priority: int, owner: Tenant | None, after: int, read_to: int | None) -> int:
        """As L{Overflow.read}."""
        overflow = self.overflow.get(priority)
        if overflow is None:
            return 0
        missing = overflow.read(owner, after, read_to)
        self.paged -= missing
        if not (overflow.count or overflow.rows):
            del self.overflow[priority]
        return missing

    def pop_loaded(self, priority: int, owner: Tenant | None) -> T | None:
        """
        The first item behind a lane taken out, if it is loaded and before all rows.

        @param owner: here the lane is everybody's, as in L{txgear.broker.sharedlanes} it is not.
        """
        overflow = self.overflow.get(priority)
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

    @property
    def rows_count(self) -> int:
        """How many are not in memory."""
        every = (overflow.total - overflow.count for overflow in self.overflow.values())
        return sum(every)

    def owners(self) -> set[Tenant | None]:
        """Whose rows there are."""
        return {owner for overflow in self.overflow.values() for owner in overflow.rows}

    def firsts(self) -> list[T]:
        """The first items in each overflow: see L{Overflow.heads}."""
        return [item for priority in sorted(self.overflow) for item in self.overflow[priority].heads()]

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
        return self.counts[priority] + (overflow.total if overflow is not None else 0)

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
            assert len(set(paged)) == len(paged) == overflow.count, (priority, paged, overflow.count)
            assert all(item.priority == priority for item in paged), priority
            assert overflow.total > 0, priority
            assert all(rows.count > 0 for rows in overflow.rows.values()), priority
        assert self.paged == sum(overflow.total for overflow in self.overflow.values()), self.paged

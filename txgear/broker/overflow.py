"""
What is behind a lane, too much for it: items whose workloads are not in memory, and rows, items that are not
in memory at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from txgear.broker.entries import SLACK, Item, Returned, Stale
from txgear.broker.states import PAGED

if TYPE_CHECKING:
    from txgear.broker.tenants import Tenant

T = TypeVar("T", bound=Item)


class Rows:
    """
    Items of one owner that are not in memory: somebody else has them, and finds them by their places.

    @ivar count: how many; at least 1.
    @ivar read_to: the places of all of them are higher than this.
    """

    __slots__ = ("count", "read_to")

    def __init__(self, read_to: int) -> None:
        self.count = 0
        self.read_to = read_to


class Overflow(Generic[T]):
    """
    What is behind one lane: items in memory, and rows that are not. An item comes into the lane when all rows
    are behind it.

    @ivar items: those that are before all rows, oldest first: PAGED ones, tombstones and stale entries.
    @ivar count: how many are PAGED, wherever they are.
    @ivar rows: what is not in memory, by its owners; only where there is something.
    """

    __slots__ = ("_beyond", "_stale", "count", "items", "rows")

    def __init__(self) -> None:
        self.items: deque[T] = deque()
        self.count = 0
        self.rows: dict[Tenant | None, Rows] = {}
        self._stale: Stale[T] = Stale()
        # Items before which there are rows, or may be.
        self._beyond: Returned[T] = Returned()

    @property
    def total(self) -> int:
        """How many there are, rows included."""
        if not self.rows:
            return self.count
        return self.count + sum(rows.count for rows in self.rows.values())

    def append(self, item: T) -> None:
        """One more, which is PAGED: where its place is, which nearly always is behind all others."""
        self.count += 1
        if self.rows and item.place > self._barrier:
            self._beyond.add(item)
            return
        items, at = self.items, len(self.items)
        while at and items[at - 1].place > item.place:
            at -= 1
        items.insert(at, item)

    def remove(self, item: T, *, again: bool = False) -> None:
        """
        Count an item out; its state is about to change.

        @param again: whether it was withdrawn, and may come again.
        """
        self.count -= 1
        if item in self._beyond:
            self._beyond.remove(item)
            return
        items = self.items
        if items and items[-1] is item:
            items.pop()
        elif items and items[0] is item and item not in self._stale:
            items.popleft()
        else:
            if again:
                self._stale.add(item)
            if len(items) > 2 * (self.count - len(self._beyond)) + SLACK:
                self.items = deque(other for other in self._in_items() if other is not item)
                self._stale.clear()

    def first(self) -> T | None:
        """The item whose turn it is to come into the lane; C{None} as well where that may be a row."""
        items, stale = self.items, self._stale
        while items and ((stale and stale.passed(items[0])) or items[0].state != PAGED):
            items.popleft()
        return items[0] if items else None

    def heads(self) -> list[T]:
        """The first item before all rows, and the first of the others: what else is in memory came later."""
        return [item for item in (self.first(), self._beyond.first()) if item is not None]

    def upcoming(self) -> Iterator[T]:
        """Those that are PAGED, in order."""
        yield from self._in_items()
        yield from self._beyond.in_order()

    def before_rows(self) -> Iterator[T]:
        """Those of them that are before all rows."""
        return self._in_items()

    def _in_items(self) -> Iterator[T]:
        return (item for item in self._stale.without(self.items) if item.state == PAGED)

    def is_behind(self, place: int) -> bool:
        """Whether all that is here has a higher place."""
        first = self.first()
        return (first is None or first.place > place) and (not self.rows or self._barrier >= place)

    # Rows

    @property
    def _barrier(self) -> int:
        """The places of all rows are higher than this."""
        return min(rows.read_to for rows in self.rows.values())

    def may_spare(self, item: T) -> bool:
        """
        Whether an item can become a row: then no other may be handed out that is behind it. The first one
        stays: it is wanted next, and says since when there is something.
        """
        if item in self._beyond:
            return True
        return self.last() is item and self.first() is not item

    def last(self) -> T | None:
        """The last item before all rows; C{None} as well where that came again, as its entries look alike."""
        items, stale = self.items, self._stale
        while items and items[-1].state != PAGED and items[-1] not in stale:
            items.pop()
        return items[-1] if items and items[-1] not in stale else None

    def may_pass_by(self, place: int) -> bool:
        """The same of one that is about to come."""
        items = self.items
        return not items or items[-1].place < place

    def add_rows(self, owner: Tenant | None, count: int, place: int = 1) -> None:
        """
        So many more that are not in memory; see L{may_spare}.

        @param place: their places are not lower than this.
        """
        rows = self.rows.get(owner)
        if rows is None:
            rows = self.rows[owner] = Rows(place - 1)
        rows.count += count
        if place <= rows.read_to:
            rows.read_to = place - 1

    def take_row(self, owner: Tenant | None) -> None:
        """One less: it is in memory from now on, or over."""
        rows = self.rows[owner]
        rows.count -= 1
        if not rows.count:
            del self.rows[owner]
            self._settle()

    def read(self, owner: Tenant | None, after: int, read_to: int | None) -> int:
        """
        Those of this owner are in memory whose places are between these.

        @param after: they are higher than this.
        @param read_to: and not higher than this; C{None} for all that there are.
        @return: how many are not there that were thought to be.
        """
        missing = 0
        rows = self.rows.get(owner)
        # Otherwise some have become rows meanwhile that are before what was read.
        if rows is not None and rows.read_to >= after:
            if read_to is None:
                missing = self.rows.pop(owner).count
            else:
                rows.read_to = max(rows.read_to, read_to)
        self._settle()
        return missing

    def _settle(self) -> None:
        """Items before which there are no rows any more are only behind each other."""
        beyond = self._beyond
        barrier = self._barrier if self.rows else None
        while (item := beyond.first()) is not None and (barrier is None or item.place <= barrier):
            beyond.remove(item)
            self.items.append(item)

    def next_rows(self) -> tuple[Tenant | None, int]:
        """Whose rows are to be read next, and from which place on; there are some."""
        owner, rows = min(self.rows.items(), key=lambda each: each[1].read_to)
        return owner, rows.read_to

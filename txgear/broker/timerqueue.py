"""
Items by the time at which something is to happen to them.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf
from typing import Final, Generic, Protocol, TypeVar

SLACK: Final = 64
"""Empty seconds that are not worth a sweep, and entries among which the earliest is looked for."""
STEP: Final = 100
"""Entries that are put in order, or passed over, at once."""


class Timed(Protocol):
    """
    @ivar due: when something is to happen to it; 0.0 for never.
    """

    due: float


T = TypeVar("T", bound=Timed)


class TimerQueue(Generic[T]):
    """
    Items by their C{due}, all of them in seconds by one clock. That may be set back.

    They lie by whole seconds, where each can be taken out at once, however many there are: most items
    that have a time for something are over before it. When a second has come it is put in order, some at
    a time. Only what is taken out after that stays behind as a stale entry, for this second. Of two that
    are due at one moment the one comes first that was added first.
    """

    def __init__(self) -> None:
        self._later: dict[int, dict[T, None]] = {}
        self._seconds: list[int] = []  # of these, as a heap
        self._begun = -1  # the last second that has come
        # What it has: first as it lay there, then all of it with the next one last.
        self._begun_items: dict[T, None] = {}
        self._coming: list[T] = []
        self._entries: list[tuple[float, int, T]] = []  # a heap
        self._numbers: dict[T, int] = {}  # the entries of it that are not stale
        self._counter = 0
        self._live = 0

    def __len__(self) -> int:
        return self._live

    def add(self, item: T, due: float) -> None:
        """
        Note that something is to happen to this item, which is not in the queue yet.

        @param due: when.
        """
        item.due = due
        self._live += 1
        second = int(due)
        items = self._later.get(second)
        if items is None:
            if second <= self._begun:
                self._put_in_order(item)
                return
            items = self._later[second] = {}
            heappush(self._seconds, second)
        items[item] = None

    def discard(self, item: T) -> None:
        """Nothing is to happen to this item any more."""
        if item.due:
            items = self._later.get(int(item.due))
            if items is not None and item in items:
                del items[item]
                if not items:
                    # Its time may be far, and a table stays as large as it ever was.
                    items.clear()
            else:
                self._numbers.pop(item, None)
            item.due = 0.0
            self._live -= 1
            if len(self._seconds) > 2 * self._live + SLACK:
                self._later = {second: items for second, items in self._later.items() if items}
                self._seconds = sorted(self._later)

    def next_due(self) -> float:
        """When the earliest is due, or less than a second earlier; infinite for never."""
        self._pass_over()
        due = self._entries[0][0] if self._entries else inf
        if self._begun_items or self._coming:
            return min(due, self._begun)
        while self._seconds and self._seconds[0] <= due:
            items = self._later[self._seconds[0]]
            if items:
                return min(due, self._seconds[0] if len(items) > SLACK else min(item.due for item in items))
            del self._later[heappop(self._seconds)]
        return due

    def pop_due(self, now: float) -> T | None:
        """
        The earliest item, out of the queue, if its time has come.

        @return: C{None} if there is none, or if a great many have to be put in order before; L{next_due}
            is not in the future then.
        """
        self._begin(now)
        self._pass_over()
        entries = self._entries
        if not entries or entries[0][0] > now or self._is_stale(entries[0]):
            return None
        item = heappop(entries)[2]
        del self._numbers[item]
        item.due = 0.0
        self._live -= 1
        return item

    def _begin(self, now: float) -> None:
        """Put what is due in the seconds that have come in order."""
        for _ in range(STEP):
            if self._begun_items:
                # Only the last one leaves a dict at once, and to copy and drop a million would take a while.
                self._coming.append(self._begun_items.popitem()[0])
            elif self._coming:
                if int((item := self._coming.pop()).due) == self._begun:
                    self._put_in_order(item)
            elif self._seconds and self._seconds[0] <= now:
                self._begun = heappop(self._seconds)
                self._begun_items = self._later.pop(self._begun)
            else:
                return

    def _put_in_order(self, item: T) -> None:
        self._counter += 1
        self._numbers[item] = self._counter
        heappush(self._entries, (item.due, self._counter, item))

    def _is_stale(self, entry: tuple[float, int, T]) -> bool:
        return self._numbers.get(entry[2]) != entry[1]

    def _pass_over(self) -> None:
        """Drop stale entries, up to the first that is not."""
        for _ in range(STEP):
            if not self._entries or not self._is_stale(self._entries[0]):
                return
            heappop(self._entries)

"""
Which keys may be those of jobs that are in the store only.

Nothing can be taken out of such a filter: what has ended stays in it, until it is built anew from what the
store has. That is done in the background, and once after each start. Meanwhile the old one answers; where
there is none, each key may be that of such a job.

The store has what stands for a key, and that is in the filters that are built from it. Those of jobs that
were let go of since have the keys themselves: while there are no others, nothing is to be computed for a
submit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from rbloom import Bloom
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from txgear.broker.keys import HASH_BITS, Key, hash_of
from txgear.journal.link import Link
from txgear.journal.timer import Timer

RATE: Final = 0.01
"""How often a filter that knows as many keys as it is told would be wrong. It sets seven bits for each."""
SPACE: Final = 2.5
"""
How many keys a filter is told for each that it is for: so it has 24 bits for each, and is wrong of one in
fifteen thousand once it is full. Told the truth, it would have to set thirteen bits for that; and each bit is
a look at memory that no cache has. With ten million jobs each time that it is wrong costs the store a
millisecond: with one in a thousand, that was half of what a submit took.
"""
OVERDUE: Final = 0.1
"""Seconds after which the next are read though others want the store."""
AGAIN_SECONDS: Final = 10.0
"""Seconds after a failure until the same is tried again."""
REPORT_EVERY: Final = 1_000_000
"""Keys after which the log hears how many have been read."""

MOST_ASKED: Final = 10_000
"""Keys of which is remembered that they are new, as they are about to be hidden: a megabyte."""

MASK: Final = (1 << HASH_BITS) - 1
"""What of a number of the store's stands for the key."""


class Bounds(NamedTuple):
    """
    How much there is of what.

    @ivar capacity: keys that the first filter has room for at the least: three megabytes.
    @ivar ample: keys that each further one has room for at the least: thirty-eight megabytes. What is in none
        is looked for in each, and these are in no cache: where ten million keys are in two rather than in
        three that grow, a submit takes half a microsecond less, in as much memory.
    @ivar filters: how many there are at the most before all are made one, as a new key is looked for in each;
        together they are wrong of one in two thousand.
    @ivar ended: keys that have ended for which nothing is built anew.
    @ivar page: keys that are read at once: a millisecond of the reactor.
    """

    capacity: int = 2**20
    ample: int = 12 * 2**20
    filters: int = 8
    ended: int = 1000
    page: int = 5000


BOUNDS: Final = Bounds()
"""Those of a server."""


T = TypeVar("T", bound=Key)


class Filters(Generic[T]):
    """
    Keys, or what stands for them, in as many filters as they need.

    @ivar keys: how many, of which a few may be counted twice, and a few that it took for others not at all.
    @ivar filters: the filters; none while there are no keys.
    """

    __slots__ = ("_bounds", "_room", "filters", "keys")

    def __init__(self, bounds: Bounds, first: int = 0) -> None:
        """
        @param first: how many there are about to be.
        """
        self.keys = 0
        self.filters: list[Bloom] = []
        self._bounds = bounds
        self._room = 0
        if first > bounds.capacity:
            self._append(first)

    def __contains__(self, key: T) -> bool:
        for each in self.filters:  # noqa: SIM110 - for each submit: a generator takes as long as a filter
            if key in each:
                return True
        return False

    def others(self, keys: Iterable[T]) -> list[T]:
        """Those of these that are not in it, each once."""
        unknown = list(dict.fromkeys(keys))
        for each in self.filters:
            unknown = [key for key in unknown if key not in each]
        return unknown

    def update(self, keys: Sequence[T]) -> None:
        """Put in different ones that are not there."""
        first = 0
        while first < len(keys):
            self._make_room()
            part = keys[first : first + self._room]
            self.filters[-1].update(part)
            self.keys += len(part)
            self._room -= len(part)
            first += len(part)

    def _make_room(self) -> None:
        if not self._room:
            bounds = self._bounds
            self._append(max(bounds.ample if self.filters else bounds.capacity, self.keys // 2))

    def _append(self, room: int) -> None:
        self.filters.append(Bloom(int(SPACE * room), RATE))
        self._room = room


class Sieve:
    """
    The keys of jobs that are not in memory, or were not since this was built.
    """

    log = Logger()

    def __init__(
        self, link: Link, clock: IReactorTime, turn_ended: Callable[[], None], bounds: Bounds = BOUNDS
    ) -> None:
        """
        @param turn_ended: called when something may be read again.
        """
        self._link = link
        self._clock = clock
        self._pause = Timer(clock, turn_ended)
        self._bounds = bounds
        # What stands for the keys that the store had, and the keys that were hidden since.
        self._read: Filters[int] = Filters(bounds)
        self._hidden: Filters[Key] = Filters(bounds)
        # Keys that were asked for lately and are in neither: those of jobs that are submitted now, and are
        # about to be hidden.
        self._asked: set[Key] = set()
        # Whether nothing is known of what the store had when the server started, or took over jobs.
        self._blind = False
        # How many of the keys in the filters are those of no job any more, about.
        self._ended = 0
        # What is being built, and what is hidden meanwhile; up to where, and how many have been read; when
        # they began to wait for others; and how many had ended before.
        self._new: Filters[int] | None = None
        self._late: Filters[Key] = Filters(bounds)
        self._after = -1
        self._count = 0
        self._since = 0.0
        self._ended_before = 0

    @property
    def keys(self) -> int:
        """How many there are, of which a few may be counted twice, and a few not at all."""
        return self._read.keys + self._hidden.keys

    def hide(self, key: Key) -> None:
        """Part of L{txgear.broker.ports.Journal}."""
        self.hide_all((key,))

    def hide_all(self, keys: Iterable[Key]) -> None:
        """Part of L{txgear.broker.ports.Journal}."""
        every = dict.fromkeys(keys)
        if (new := self._new) is not None:
            self._late.update([key for key in self._late.others(every) if hash_of(key) not in new])
        if self._blind:
            return
        # Those that were submitted since they were asked for are surely new.
        asked = self._asked
        absent = [key for key in every if key in asked]
        asked.difference_update(absent)
        if len(absent) < len(every):
            others = [key for key in self._hidden.others(every.keys() - absent) if not self._had(key)]
            there = len(every) - len(absent) - len(others)
            self._ended = max(self._ended - there, min(self._ended, self._ended_before))
            absent += others
        self._hidden.update(absent)
        if len(self._read.filters) + len(self._hidden.filters) > self._bounds.filters:
            self._build()

    def _had(self, key: Key) -> bool:
        """Whether this may be one of those that the store had."""
        return bool(self._read.filters) and hash_of(key) in self._read

    def show(self, key: Key) -> None:
        """Part of L{txgear.broker.ports.Journal}."""
        self._ended += 1
        if self._ended > self._bounds.ended and 2 * self._ended > self.keys:
            self._build()

    def may_hide(self, key: Key) -> bool:
        """Part of L{txgear.broker.ports.Journal}."""
        if self._blind:
            return True
        # For each submit: a call takes as long as a filter.
        for each in self._hidden.filters:
            if key in each:
                return True
        if self._read.filters and self._had(key):
            return True
        asked = self._asked
        if len(asked) >= MOST_ASKED:
            asked.clear()
        asked.add(key)
        return False

    # It is built anew

    def found(self, jobs: int) -> None:
        """
        The server has started, or it has taken over what another had: none of these jobs is in memory.

        @param jobs: how many there are in the store.
        """
        if jobs:
            self._blind = True
            # What is being built has been read up to where there may be more by now.
            self._new = None
            self._build(jobs)

    def _build(self, more: int = 0) -> None:
        """
        @param more: how many more keys there may be than are known.
        """
        if self._new is None:
            known = self.keys - self._ended + more
            # A few were taken for others, and not counted: one more filter for those would be a large one.
            self._new = Filters(self._bounds, known + known // 100 + 1)
            self._late = Filters(self._bounds)
            self._after = -1
            self._count = 0
            self._since = self._clock.seconds()
            self._ended_before = self._ended

    @property
    def ready(self) -> bool:
        """Whether there is something to be read where nothing else is."""
        return self._new is not None and not self._pause.running and not self._link.closing

    @property
    def overdue(self) -> bool:
        """Whether that is L{ready}, and has waited so long that it comes before others."""
        return self.ready and self._clock.seconds() >= self._since + OVERDUE

    def start(self) -> None:
        """Read the next keys; that is L{ready}, and the link is open."""
        after, limit = self._after, self._bounds.page
        self._link.call(lambda store: store.hashes(after, limit), self._page, self._failed, is_read=True)

    def _page(self, numbers: list[int]) -> None:
        new = self._new
        assert new is not None
        new.update(list({number & MASK for number in numbers}))
        before, self._count = self._count, self._count + len(numbers)
        if len(numbers) == self._bounds.page:
            self._after = numbers[-1]
            self._since = self._clock.seconds()
            if self._blind and before // REPORT_EVERY != self._count // REPORT_EVERY:
                self.log.info("the uniques of {count} jobs in the store are known", count=self._count)
            return
        if self._blind and self._count >= REPORT_EVERY:
            self.log.info("those of all {count} jobs that have one are known", count=self._count)
        self._read, self._new = new, None
        self._hidden, self._late = self._late, Filters(self._bounds)
        self._asked.clear()
        self._blind = False
        self._ended -= self._ended_before
        self._ended_before = 0

    def _failed(self) -> None:
        """What is there answers for longer."""
        self._pause.start(AGAIN_SECONDS)

    def stop(self) -> None:
        """Cancel the timer."""
        self._pause.cancel()

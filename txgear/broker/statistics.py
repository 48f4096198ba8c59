"""
The counts of all functions. They outlive these: a function is forgotten when nobody uses it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from txgear.broker.counts import Counts

MOST_COUNTED: Final = 1000
"""
Functions that are counted by themselves: each takes 2 to 16 kB here, and some more in whatever shows its
counts.
"""


class Statistics:
    """
    Counts by the names of functions.

    @ivar by_name: those of functions that are counted by themselves.
    @ivar other: those of all others together.
    """

    __slots__ = ("_unused", "by_name", "other")

    def __init__(self) -> None:
        self.by_name: dict[bytes, Counts] = {}
        self.other = Counts()
        # The names of functions that are not there any more, the one that went first being first. It is
        # taken from its front: a plain dict would be walked over all that has been taken since it grew.
        self._unused: OrderedDict[bytes, None] = OrderedDict()

    def begin(self, name: bytes) -> Counts:
        """
        A function is there.

        @return: what its jobs are counted in: C{other}, where as many as may be are there already.
        """
        counts = self.by_name.get(name)
        if counts is not None:
            self._unused.pop(name, None)
            return counts
        if len(self.by_name) >= MOST_COUNTED:
            if not self._unused:
                return self.other
            gone, _ = self._unused.popitem(last=False)
            self.other.add(self.by_name.pop(gone))
        counts = self.by_name[name] = Counts()
        return counts

    def end(self, name: bytes, counts: Counts) -> None:
        """
        A function is not there any more: others may have its place, those that went before it first.

        @param counts: what L{begin} returned.
        """
        if counts is not self.other:
            self._unused[name] = None

    def refuse(self, name: bytes, word: str, now: float) -> None:
        """
        A submit was answered with an error.

        @param name: its function's, whether or not there is such a function.
        @param word: the error's L{txgear.broker.counts.word_of}.
        """
        self.by_name.get(name, self.other).refuse(word, now)

    def all(self) -> Iterator[Counts]:
        """All that there are, each once."""
        yield from self.by_name.values()
        yield self.other

    def check(self, live: dict[bytes, Counts], jobs: int, running: int) -> None:
        """
        Is each function counted where it should be, and each job that has not ended?

        @param live: what is counted in, of the functions that are there.
        @param jobs: how many jobs have not ended.
        @param running: how many of them are at workers.
        @raise AssertionError: they are not.
        """
        assert len(self.by_name) <= MOST_COUNTED, len(self.by_name)
        for name, counts in live.items():
            assert counts is self.other or counts is self.by_name[name], name
            assert name not in self._unused, name
        own = {name for name, counts in live.items() if counts is not self.other}
        assert self._unused.keys() | own == self.by_name.keys(), (self._unused, own)
        counted = sum(counts.live for counts in self.all())
        assert counted == jobs, (counted, jobs)
        begun = sum(sum(counts.waits) for counts in self.all())
        left = sum(sum(counts.runs) for counts in self.all())
        assert begun - left == running, (begun, left, running)

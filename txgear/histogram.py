"""
How often a measured value was how large.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """
    Counts values by their size, since the start.

    @ivar bounds: the largest value of each bucket, rising; what is larger than all of them has a bucket of
        its own, the last.
    @ivar counts: how many values are in each bucket, one more than there are bounds.
    @ivar sum: of all values.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one more."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.counts)

    def quantile(self, share: float) -> float | None:
        """
        A value that this part of all values does not exceed, as if those of a bucket lay evenly in it; of the
        last bucket, which has no end, where it begins. C{None} where there are no values.

        @param share: above 0, and 1 at the most.
        """
        rest = share * self.count
        if not rest:
            return None
        lower = 0.0
        for upper, count in zip(self.bounds, self.counts, strict=False):
            if rest <= count:
                return lower + (upper - lower) * rest / count
            rest -= count
            lower = upper
        return lower

    def plus(self, other: Histogram) -> Histogram:
        """The values of both; they have the same buckets."""
        found = Histogram(self.bounds)
        found.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        found.sum = self.sum + other.sum
        return found

"""
The history of one function: what it did in the last hour, and in the last day.
"""

from __future__ import annotations

from operator import sub
from typing import Final, NamedTuple

from txgear.broker.counts import BUCKETS, Counts, quantile_buckets
from txgear.server.figurerows import NOTHING, RATES, TIMES, Figures, Ring, highest, pack


class Span(NamedTuple):
    """
    How far back, and how fine.

    @ivar name: what it is called.
    @ivar seconds: of one step.
    @ivar steps: how many are kept.
    @ivar block: how many of them the store has in one chunk.
    """

    name: str
    seconds: int
    steps: int
    block: int


SPANS: Final = (Span("hour", 10, 360, 30), Span("day", 300, 288, 12))
"""All of them, the finest first."""

IDLE: Final = Figures()
_SHARES: Final = (0.5, 0.95, 0.99)
_NUMBERS: Final = len(RATES)
_NO_TIMES: Final[list[int | None]] = [None] * len(TIMES)


class Tally:
    """
    What has been counted up to a moment, or between two.

    @ivar numbers: submitted, completed, failed.
    @ivar waits: see L{Counts}.
    @ivar runs: likewise.
    """

    __slots__ = ("numbers", "runs", "waits")

    def __init__(self) -> None:
        self.numbers = [0] * _NUMBERS
        self.waits = [0] * BUCKETS
        self.runs = [0] * BUCKETS

    def add(self, other: Tally) -> None:
        """Count all that is in another."""
        for mine, others in (
            (self.numbers, other.numbers),
            (self.waits, other.waits),
            (self.runs, other.runs),
        ):
            mine[:] = map(int.__add__, mine, others)

    def advance(self, counts: Counts) -> Tally | None:
        """
        Go on to what has been counted by now.

        @return: what has come since; C{None} for nothing.
        """
        numbers = [counts.submitted, counts.completed, counts.failures]
        if numbers == self.numbers and counts.waits == self.waits and counts.runs == self.runs:
            return None
        since = Tally()
        since.numbers[:] = map(sub, numbers, self.numbers)
        since.waits[:] = map(sub, counts.waits, self.waits)
        since.runs[:] = map(sub, counts.runs, self.runs)
        self.numbers[:] = numbers
        self.waits[:] = counts.waits
        self.runs[:] = counts.runs
        return since


class Series:
    """
    One function, or what stands for several.

    @ivar name: the function's; empty for several.
    @ivar counts: what its jobs are counted in; C{None} while nothing is known of it but its history.
    @ivar marks: for each of L{SPANS}, what had been counted at the end of its last step.
    """

    __slots__ = ("_rings", "counts", "marks", "name")

    def __init__(self, name: bytes = b"") -> None:
        self.name = name
        self.counts: Counts | None = None
        self.marks = [Tally() for _ in SPANS]
        self._rings: list[Ring | None] = [None] * len(SPANS)

    def forget_counts(self, other: Series) -> None:
        """What had been counted is counted elsewhere now."""
        for mark, others in zip(self.marks, other.marks, strict=True):
            others.add(mark)
        self.counts = None
        self.marks = [Tally() for _ in SPANS]

    def put(self, span: int, step: int, lengths: Figures, since: Tally | None) -> None:
        """
        A step is over.

        @param lengths: what there is at its end.
        @param since: what was counted within it; C{None} for nothing.
        """
        times = _NO_TIMES
        if since is not None:
            lengths = lengths._replace(**dict(zip(RATES, since.numbers, strict=True)))
            times = quantile_buckets(since.waits, *_SHARES) + quantile_buckets(since.runs, *_SHARES)
        if lengths != IDLE or since is not None:
            self.put_row(span, step, pack(lengths, times))

    def put_row(self, span: int, step: int, row: bytes) -> None:
        """Have this at a step; nothing is nothing."""
        if row == NOTHING:
            return
        ring = self._rings[span]
        if ring is None:
            ring = self._rings[span] = Ring(SPANS[span].steps)
        ring.put(step, row)

    def highest(self, span: int, first: int, count: int) -> Figures:
        """The highest of the lengths, and of the ages, of some steps."""
        ring = self._rings[span]
        if ring is None or ring.last < first:
            return IDLE
        return highest(ring.rows(first, count))

    def get(self, span: int, step: int) -> bytes:
        """The row of a step."""
        ring = self._rings[span]
        return NOTHING if ring is None else ring.get(step)

    def rows(self, span: int, first: int, count: int) -> bytes:
        """The rows of some steps, one after the other; empty where there is nothing in them."""
        ring = self._rings[span]
        if ring is None or ring.last < first:
            return b""
        rows = ring.rows(first, count)
        return rows if any(rows) else b""

    def newest(self) -> int:
        """The last second at which there is something."""
        last = [
            (ring.last + 1) * span.seconds
            for ring, span in zip(self._rings, SPANS, strict=True)
            if ring is not None
        ]
        return max(last, default=0)

    def forget_old(self, span: int, step: int) -> None:
        """Keep no memory for what is too old at this step."""
        ring = self._rings[span]
        if ring is not None and ring.last <= step - SPANS[span].steps:
            self._rings[span] = None

    @property
    def empty(self) -> bool:
        """Whether nothing is known of it."""
        return self.counts is None and not any(self._rings)

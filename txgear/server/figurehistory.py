"""
The history of figures: what each function, and the server as a whole, did in the last hour and in the last
day.

It looks at the counts every ten seconds, in pieces. Steps are by the server's time, so that a clock that is
set makes no holes; what is shown and stored is by the wall clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from twisted.internet.task import SchedulerStopped
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.broker import words
from txgear.broker.counts import Counts
from txgear.broker.diagnosis.findings import Trend
from txgear.broker.model import Function
from txgear.broker.records import HistoryChunk
from txgear.broker.statistics import MOST_COUNTED
from txgear.journal.timer import Timer
from txgear.server import figurechunks
from txgear.server.figurechunks import Block, Named, number_of, place_of
from txgear.server.figurerows import LENGTHS, RATES, ROW, TIMES, Figures, Ring, column, rates, unpack
from txgear.server.figureseries import IDLE, SPANS, Series, Tally
from txgear.server.jobserver import JobServer

TOTAL: Final = 0
OTHER: Final = 1
FUNCTION: Final = 2
"""Kinds of series, as chunks have them."""

TREND: Final = 30
"""Short steps in which it shows whether more jobs come than end: five minutes."""

PIECE: Final = 100
"""Functions that are not counted by themselves, of which only the lengths are looked at in one go."""


class FigureHistory:
    """
    All of it, in memory that is bounded.

    @ivar total: the server as a whole.
    @ivar other: the functions that are not counted by themselves.
    @ivar by_name: those that are, as far as there is anything to tell of them.
    """

    log = Logger()

    def __init__(self, server: JobServer) -> None:
        self.total = Series()
        self.other = Series()
        self.by_name: dict[bytes, Series] = {}
        self._server = server
        self._chunks = None if server.journal is None else server.journal.chunks
        self._timer = Timer(server.clock, self._time_has_come)
        # For each span: which steps have been looked at; the last of them; the blocks that are over.
        self._present = [Ring(span.steps, 1) for span in SPANS]
        self._steps = [0 for _ in SPANS]
        self._blocks = [0 for _ in SPANS]
        # The numbers of all chunks that the store has.
        self._stored: set[int] = set()
        self._damaged: list[str] = []
        self._running = False
        self._is_read = False

    def trend(self, name: bytes) -> Trend | None:
        """
        How a function has fared in the last L{TREND} short steps.

        @return: C{None} where nothing is known of it.
        """
        series = self.by_name.get(name)
        if series is None:
            return None
        submitted, completed, failed = rates(series.rows(0, self._steps[0] - TREND + 1, TREND))
        return Trend(float(SPANS[0].seconds * TREND), submitted, completed + failed)

    # Its life

    def start(self) -> None:
        """
        The server has started, or somebody asks for the first time: look at it from now on, and read what the
        store has of before.
        """
        self._running = True
        self._server.trend = self.trend
        now = self._server.seconds()
        for index, span in enumerate(SPANS):
            self._steps[index] = int(now // span.seconds) - 1
            self._blocks[index] = (self._steps[index] + 1) // span.block
        self._mark()
        if self._chunks is not None:
            self._chunks.read(self._read)
            self._server.end_turn()
        elif self._server.journal is not None:
            self.log.info(
                "{store} keeps no history of figures: it begins anew with each start",
                store=self._server.journal.store_name,
            )
        self._wait()

    def _mark(self) -> None:
        """What has been counted by now does not belong to the first steps."""
        statistics = self._server.broker.statistics
        for name, counts in statistics.by_name.items():
            if counts.submitted or counts.restored or counts.requeued:
                series = self._make(name)
                series.counts = counts
                for mark in series.marks:
                    mark.advance(counts)
        for mark in self.other.marks:
            mark.advance(statistics.other)

    def stop(self) -> None:
        """The server ends: keep what has not been kept yet."""
        if not self._running:
            return
        self._running = False
        self._timer.cancel()
        for index, span in enumerate(SPANS):
            for _ in self._write(index, self._steps[index] // span.block):
                pass

    def _wait(self) -> None:
        seconds = SPANS[0].seconds
        self._timer.start(seconds - self._server.seconds() % seconds)

    def _time_has_come(self) -> None:
        done: Any = self._server.cooperator.cooperate(self._look()).whenDone()
        done.addCallbacks(lambda task: self._wait() if self._running else None, self._failed)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(SchedulerStopped):
            self.log.failure("the history of figures ends here", failure)

    # Looking

    def _look(self) -> Iterator[None]:
        """Note what has come since the last time, some functions at a time."""
        server = self._server
        now = server.seconds()
        due = []
        for index, span in enumerate(SPANS):
            step = int(now // span.seconds) - 1
            if step > self._steps[index]:
                due.append((index, step))
        if not due:
            # The timer was early.
            return
        statistics = server.broker.statistics
        self._let_go()
        functions = server.broker.functions.by_name
        sums = [Tally() for _ in SPANS]
        total, counted = IDLE, 0
        for name, counts in list(statistics.by_name.items()):
            function = functions.get(name)
            lengths = IDLE
            if function is not None and function.counts is counts:
                counted += 1
                lengths = self._lengths(function, now)
                total = _sum(total, lengths)
            self._note(self._series(name, counts, lengths), counts, lengths, due, sums)
            yield
        lengths = IDLE
        if len(functions) > counted:
            for place, function in enumerate(list(functions.values())):
                if function.counts is statistics.other:
                    lengths = _sum(lengths, self._lengths(function, now))
                if place % PIECE == 0:
                    yield
        # What has been added to the counts of the others just now had come before.
        self._let_go()
        self._note(self.other, statistics.other, lengths, due, sums)
        total = _sum(total, lengths)
        for index, step in due:
            self.total.put(index, step, self._over(self.total, index, step, total), sums[index])
            self._present[index].put(step, b"\1")
            self._steps[index] = step
        for index, step in due:
            yield from self._keep(index, step)

    def _let_go(self) -> None:
        """Of functions whose counts have been added to those of the others only the history is left."""
        by_name = self._server.broker.statistics.by_name
        for series in self.by_name.values():
            if series.counts is not None and by_name.get(series.name) is not series.counts:
                series.forget_counts(self.other)

    def _lengths(self, function: Function, now: float) -> Figures:
        """What there is of a function."""
        lanes = function.lanes
        dead = self._server.broker.archive.ended.dead(function) if function.kept else 0
        return Figures(
            queued=lanes.ready + lanes.paged + lanes.held,
            running=function.running,
            delayed=function.waiting,
            workers=len(function.workers),
            dead=dead,
            oldest=function.ready_for(now),
        )

    def _series(self, name: bytes, counts: Counts, lengths: Figures) -> Series | None:
        """The series of a function; a new one, if there is anything to tell of it."""
        series = self.by_name.get(name)
        if series is None:
            if lengths == IDLE and not (counts.submitted or counts.restored or counts.requeued):
                return None
            series = self._make(name)
        if series.counts is None:
            series.counts = counts
        return series

    def _make(self, name: bytes) -> Series:
        if len(self.by_name) >= MOST_COUNTED:
            # There is one: no more functions than that are counted by themselves.
            gone = min(
                (series for series in self.by_name.values() if series.counts is None), key=Series.newest
            )
            del self.by_name[gone.name]
        series = self.by_name[name] = Series(name)
        return series

    def _note(
        self,
        series: Series | None,
        counts: Counts,
        lengths: Figures,
        due: list[tuple[int, int]],
        sums: list[Tally],
    ) -> None:
        """A step is over for a function."""
        if series is None:
            return
        for index, step in due:
            since = series.marks[index].advance(counts)
            if since is not None:
                sums[index].add(since)
            series.put(index, step, self._over(series, index, step, lengths), since)

    def _over(self, series: Series, index: int, step: int, lengths: Figures) -> Figures:
        """What there was within a step: of a long one the highest of what there was within short ones."""
        if not index:
            return lengths
        fine = SPANS[index - 1]
        count = SPANS[index].seconds // fine.seconds
        return series.highest(index - 1, step * count, count)

    # The store

    def _keep(self, index: int, step: int) -> Iterator[None]:
        """If a block of steps is over, keep it; and forget what is too old."""
        span = SPANS[index]
        blocks = (step + 1) // span.block
        if blocks == self._blocks[index]:
            return
        self._blocks[index] = blocks
        for series in list(self.by_name.values()):
            series.forget_old(index, step)
            if series.empty:
                del self.by_name[series.name]
        yield from self._write(index, blocks - 1)
        self._server.end_turn()

    def _write(self, index: int, number: int) -> Iterator[None]:
        """Keep a block of steps, and no chunks that are too old, or of a time that has not come."""
        if self._chunks is None or not self._is_read:
            # What is to be read would be replaced by less.
            return
        span = SPANS[index]
        first = number * span.block
        present = self._present[index].rows(first, span.block)
        if not any(present):
            return
        ahead = self._ahead(index)
        block = (first + ahead) // span.block
        new = set()
        packed = figurechunks.parts(
            Block(index, first + ahead, present), self._named(index, first, span.block)
        )
        for part, chunk in enumerate(packed):
            new.add(number_of(index, block, part))
            self._chunks.put([(number_of(index, block, part), chunk)], [])
            yield
        oldest = block - span.steps // span.block
        old = [
            each
            for each in self._stored
            if place_of(each)[0] == index
            and (not oldest <= place_of(each)[1] <= block + 1 or place_of(each)[1] == block)
            and each not in new
        ]
        self._chunks.put([], old)
        self._stored = self._stored.difference(old) | new

    def _named(self, index: int, first: int, count: int) -> Iterator[Named]:
        for kind, series in ((TOTAL, self.total), (OTHER, self.other)):
            if rows := series.rows(index, first, count):
                yield kind, b"", rows
        for series in list(self.by_name.values()):
            if rows := series.rows(index, first, count):
                yield FUNCTION, series.name, rows

    def _ahead(self, index: int) -> int:
        """How many steps the wall clock is ahead of the server's time."""
        return round(self._server.broker.timers.offset / SPANS[index].seconds)

    def _read(self, chunks: list[HistoryChunk], more: bool) -> None:
        """The store has these."""
        for number, chunk in chunks:
            self._stored.add(number)
            try:
                self._restore(*figurechunks.read(chunk))
            except ValueError as error:
                self._damaged.append(str(error))
        self._is_read = not more
        if self._is_read and self._damaged:
            self.log.warn(
                "{chunks} of the history of figures {are} passed over: {why}",
                chunks=words.number(len(self._damaged), "chunk"),
                are=words.verb(len(self._damaged), "is", "are"),
                why=self._damaged[0],
            )

    def _restore(self, block: Block, series: list[Named]) -> None:
        """
        Have this, as far as it is not too old.

        @raise ValueError: there can be no such block.
        """
        if block.span >= len(SPANS):
            raise ValueError(f"a chunk of the span {block.span}")
        first = block.first - self._ahead(block.span)
        ring, last = self._present[block.span], self._steps[block.span]
        oldest = last - SPANS[block.span].steps
        steps = [
            (place, first + place)
            for place, here in enumerate(block.present)
            if here and oldest < first + place <= last
        ]
        for kind, name, rows in series:
            found = self._restored(kind, name)
            if found is not None:
                for place, step in steps:
                    if found.get(block.span, step) == bytes(ROW):
                        found.put_row(block.span, step, rows[place * ROW : (place + 1) * ROW])
        for _, step in steps:
            ring.put(step, b"\1")

    def _restored(self, kind: int, name: bytes) -> Series | None:
        if kind != FUNCTION:
            return self.total if kind == TOTAL else self.other
        if name not in self.by_name and len(self.by_name) >= MOST_COUNTED:
            return None
        return self.by_name.get(name) or self._make(name)

    # Reading

    @property
    def step(self) -> int:
        """The number of the last short step: until it changes, whatever is shown stays the same."""
        return self._steps[0]

    def last_hour(self, series: Series | None, name: str) -> list[int | None]:
        """
        One figure in the short steps of the last hour, the oldest first; it takes some tens of microseconds.

        @param series: C{None} for one of which nothing is known.
        @param name: one of L{RATES}, which are counts here, or of L{LENGTHS}.
        @return: C{None} for a step at which nobody looked.
        """
        count = SPANS[0].steps
        first = self.step - count + 1
        present = self._present[0].rows(first, count)
        rows = b"" if series is None else series.rows(0, first, count)
        if not rows:
            return [0 if here else None for here in present]
        values = column(rows, name)
        return [value if here else None for value, here in zip(values, present, strict=True)]

    def rates(self, series: Series | None) -> tuple[float, float, float]:
        """Each of L{RATES} in the last short step, a second; a series of which nothing is known has none."""
        rows = b"" if series is None else series.rows(0, self.step, 1)
        submitted, completed, failed = (number / SPANS[0].seconds for number in rates(rows))
        return submitted, completed, failed

    def figures(self, series: Series | None, span: str) -> dict[str, Any]:
        """
        What is known of a function, or of the server.

        @param series: C{None} for one of which nothing is known.
        @param span: C{hour} or C{day}.
        @return: C{start}, when the first step began, in seconds since the epoch, C{None} if there is no
            step; C{step}, its seconds; and by name a list of each of L{RATES} (a second), L{LENGTHS},
            C{oldest} (seconds) and L{TIMES} (seconds), with C{None} for a step at which nobody looked, or a
            time that there is not.
        """
        index = next(place for place, each in enumerate(SPANS) if each.name == span)
        seconds, count = SPANS[index].seconds, SPANS[index].steps
        last, present = self._steps[index], self._present[index]
        steps = range(last - count + 1, last + 1)
        first = next((step for step in steps if present.get(step) == b"\1"), None)
        columns: dict[str, list[Any]] = {name: [] for name in (*RATES, *LENGTHS, "oldest", *TIMES)}
        lists = list(columns.values())
        if first is not None:
            for step in range(first, last + 1):
                values: list[Any] = [None] * len(lists)
                if present.get(step) == b"\1":
                    row, times = unpack(bytes(ROW) if series is None else series.get(index, step))
                    rates = [round(number / seconds, 4) for number in row[: len(RATES)]]
                    values = [*rates, *row[len(RATES) :], *times]
                for column, value in zip(lists, values, strict=True):
                    column.append(value)
        offset = self._server.broker.timers.offset
        start = None if first is None else round(first * seconds + offset, 3)
        return {"start": start, "step": seconds, **columns}


def _sum(one: Figures, other: Figures) -> Figures:
    """Both together; of ages the higher."""
    if other == IDLE:
        return one
    return Figures._make((*map(int.__add__, one[:-1], other[:-1]), max(one.oldest, other.oldest)))

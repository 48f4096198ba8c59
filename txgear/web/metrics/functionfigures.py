"""
What the metrics say of functions.

Not every function has values of its own: there may be a hundred thousand, and each value is kept by whoever
collects them for as long as he keeps any. Those that the broker counts by themselves have
(L{txgear.broker.statistics}); all others together are called L{OTHER}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from txgear.broker.counts import BOUNDS, Counts, cumulative
from txgear.broker.model import Function
from txgear.protocol.textlines import for_line, text
from txgear.server.jobserver import JobServer
from txgear.web.metrics import families
from txgear.web.metrics.families import FUNCTION, Family

OTHER: Final = "other"
"""The label of all functions together that have no values of their own."""
OTHER_ESCAPED: Final = "\\x6fther"
"""The label of a function that is called so."""
MOST_LABEL: Final = 256
"""Characters of a label at the most: a name of 8 kB would stand in each scrape some seventy times."""
SHOWN: Final = 192
"""Characters of a longer name that are shown, before what tells it from all others."""

ROWS_AT_ONCE: Final = 20
"""Functions that are looked at in one piece: a millisecond or less."""
SAMPLES_AT_ONCE: Final = 100
"""Values that are handed on in one piece, about: to write them takes a millisecond or less."""
SKIPPED_AT_ONCE: Final = 1000
"""Functions that are only counted, in one piece."""

LE: Final = (*map(floatToGoString, BOUNDS), "+Inf")
"""The bounds of the times of jobs, as Prometheus writes them."""


def label(name: bytes) -> str:
    """
    A function's name as a label: as lists show it, so that no two look alike; one that is very long is cut,
    and has a digest of all of it at its end.
    """
    shown = for_line(text(name)).decode("utf-8")
    if len(shown) > MOST_LABEL:
        # Longer than any that is shown whole.
        shown = f"{shown[:SHOWN]}\N{HORIZONTAL ELLIPSIS}{sha256(name).hexdigest()}"
    return OTHER_ESCAPED if shown == OTHER else shown


class Row:
    """
    The values of one function, or of all L{OTHER} ones.

    @ivar label: what it is called.
    @ivar live: whether the function is there; counts of it may be without it.
    @ivar counts: what has been counted of it.
    @ivar states: how many of its jobs are in each of L{families.STATES}.
    @ivar workers: how many have registered; and how many of them are asleep, busy and silent.
    """

    __slots__ = ("bytes", "counts", "label", "live", "oldest", "paused", "states", "total", "workers")

    def __init__(self, label: str, counts: Counts) -> None:
        self.label = label
        self.counts = counts
        self.live = False
        self.states = [0] * len(families.STATES)
        self.total = 0
        self.bytes = 0
        self.oldest = 0.0
        self.paused = False
        self.workers = [0, 0, 0, 0]

    def add(self, server: JobServer, function: Function, now: float) -> None:
        """Count what is there of a function."""
        self.live = True
        lanes = function.lanes
        dead = server.broker.archive.ended.dead(function) if function.kept else 0
        found = (
            lanes.ready + lanes.held,
            lanes.paged,
            function.waiting,
            function.running,
            dead,
            function.kept - dead,
        )
        self.states = [before + more for before, more in zip(self.states, found, strict=True)]
        self.total += function.total
        self.bytes += function.bytes
        self.oldest = max(self.oldest, function.ready_for(now))
        self.paused = self.paused or function.paused
        seen = server.census.of(function)
        found_workers = (len(function.workers), seen.asleep, seen.busy, seen.silent)
        self.workers = [before + more for before, more in zip(self.workers, found_workers, strict=True)]


Value = tuple[tuple[str, ...], float]
Values = Callable[[Row], Iterable[Value]]


def _one(get: Callable[[Row], float], *, live: bool = True) -> Values:
    """One value for each function; C{live} where it is one only of those that are there."""

    def values(row: Row) -> Iterable[Value]:
        return (((row.label,), get(row)),) if row.live or not live else ()

    return values


def _states(row: Row) -> Iterable[Value]:
    if row.live:
        for state, count in zip(families.STATES, row.states, strict=True):
            yield (row.label, state), count


def _workers(row: Row) -> Iterable[Value]:
    if row.live:
        for state, count in zip(families.WORKER_STATES, row.workers[1:], strict=True):
            yield (row.label, state), count


def _by(get: Callable[[Counts], dict[str, int]]) -> Values:
    def values(row: Row) -> Iterable[Value]:
        for word, count in get(row.counts).items():
            yield (row.label, word), count

    return values


def _count(get: Callable[[Counts], int]) -> Values:
    return _one(lambda row: get(row.counts), live=False)


_VALUES: Final[tuple[tuple[Family, Values], ...]] = (
    (families.JOBS, _one(lambda row: row.total)),
    (families.JOBS_RUNNING, _one(lambda row: row.states[families.STATES.index(families.RUNNING)])),
    (
        families.JOBS_WAITING,
        _one(lambda row: row.total - row.states[families.STATES.index(families.RUNNING)]),
    ),
    (families.WORKERS, _one(lambda row: row.workers[0])),
    (families.JOBS_BY_STATE, _states),
    (families.QUEUED_BYTES, _one(lambda row: row.bytes)),
    (families.OLDEST, _one(lambda row: row.oldest)),
    (families.PAUSED, _one(lambda row: row.paused)),
    (families.WORKERS_BY_STATE, _workers),
    (families.SUBMITTED, _count(lambda counts: counts.submitted)),
    (families.JOINED, _count(lambda counts: counts.joined)),
    (families.REFUSED, _by(lambda counts: counts.refused)),
    (families.COMPLETED, _count(lambda counts: counts.completed)),
    (families.FAILED, _by(lambda counts: counts.failed)),
    (families.RETRIED, _count(lambda counts: counts.retried)),
)
"""What is one number, or one for each word."""


def _histogram(family: Family, histogram: list[int], sum_: float, row: Row) -> list[Sample]:
    return family.histogram({FUNCTION: row.label}, LE, cumulative(histogram), sum_)


_HISTOGRAMS: Final[tuple[tuple[Family, Callable[[Row], list[Sample]]], ...]] = (
    (
        families.WAITED,
        lambda row: _histogram(families.WAITED, row.counts.waits, row.counts.waited, row),
    ),
    (families.RAN, lambda row: _histogram(families.RAN, row.counts.runs, row.counts.ran, row)),
)


def figures(server: JobServer) -> Iterator[Metric | None]:
    """
    All metrics of functions, in pieces. Those that follow each other with one name are parts of one; C{None}
    is a piece of work that has brought none yet.
    """
    rows: list[Row] = []
    yield from _rows(server, rows)
    yield families.FUNCTIONS.value(len(server.broker.functions.by_name))
    for family, values in _VALUES:
        yield from _pieces(
            family,
            rows,
            lambda row, family=family, values=values: [  # type: ignore[misc]
                family.sample(labels, value) for labels, value in values(row)
            ],
        )
    for family, samples in _HISTOGRAMS:
        yield from _pieces(family, rows, samples)


def _rows(server: JobServer, rows: list[Row]) -> Iterator[None]:
    """Fill the list of rows: those of functions that are counted by themselves, then that of the others."""
    broker = server.broker
    statistics = broker.statistics
    functions = broker.functions.by_name
    now = server.seconds()
    for index, (name, counts) in enumerate(list(statistics.by_name.items())):
        row = Row(label(name), counts)
        if (function := functions.get(name)) is not None:
            row.add(server, function, now)
        rows.append(row)
        if index % ROWS_AT_ONCE == 0:
            yield
    others = Row(OTHER, statistics.other)
    if len(functions) > len(statistics.by_name):
        looked = 0
        for function in list(functions.values()):
            if function.counts is statistics.other:
                others.add(server, function, now)
                looked += SKIPPED_AT_ONCE // ROWS_AT_ONCE
            looked += 1
            if looked >= SKIPPED_AT_ONCE:
                looked = 0
                yield
    rows.append(others)


def _pieces(
    family: Family, rows: list[Row], samples_of: Callable[[Row], list[Sample]]
) -> Iterator[Metric | None]:
    samples: list[Sample] = []
    for row in rows:
        samples += samples_of(row)
        if len(samples) >= SAMPLES_AT_ONCE:
            yield family.metric(samples)
            samples = []
    if samples:
        yield family.metric(samples)

"""
How functions have fared in the last hour, as an overview shows it: made once for each step of the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from txgear.broker.counts import quantiles
from txgear.broker.model import Function
from txgear.server.figurehistory import FigureHistory
from txgear.server.figureseries import SPANS, Series
from txgear.web.pages import formats
from txgear.web.pages.charts import fewer, highest, mean, sparkline

EACH: Final = 60 // SPANS[0].seconds
"""Short steps of a minute, which is what a sparkline has a point for."""


class Lately(NamedTuple):
    """
    How one function has fared.

    @ivar rate: jobs that ended, a second, in the last step.
    @ivar ended: a sparkline: the same in the last hour.
    @ivar queued: a sparkline: jobs that are ready.
    @ivar failed: jobs that ended without a result in the last hour.
    @ivar wait: seconds within which half of all jobs had a worker, and 95 of 100, since the server started;
        C{None} where none had.
    """

    rate: float
    ended: Markup
    queued: Markup
    failed: int
    wait: tuple[float | None, float | None]


class Recent:
    """
    How functions have fared, by their names.
    """

    def __init__(self, history: FigureHistory) -> None:
        self._history = history
        self._step = -1
        self._known: dict[bytes, Lately] = {}
        self._rates: dict[bytes, float] = {}

    def begin(self) -> None:
        """A look begins: what belongs to a step that is over is made anew."""
        if self._history.step != self._step:
            self._step = self._history.step
            self._known.clear()
            self._rates.clear()

    def of(self, function: Function, own: bool) -> Lately:
        """
        How one has fared; it takes a fifth of a millisecond when it is new.

        @param own: whether it is counted by itself.
        """
        found = self._known.get(function.name)
        if found is None:
            found = self._known[function.name] = self._made(function, own)
        return found

    def _made(self, function: Function, own: bool) -> Lately:
        series = self._history.by_name.get(function.name)
        failed = self._history.last_hour(series, "failed")
        wait: list[float | None] = quantiles(function.counts.waits, 0.5, 0.95) if own else [None, None]
        return Lately(
            self.rate(function.name),
            ended_line(self._history, series),
            queued_line(self._history, series),
            sum(value or 0 for value in failed),
            (wait[0], wait[1]),
        )

    def rate(self, name: bytes) -> float:
        """How many jobs of a function ended in a second, in the last step."""
        found = self._rates.get(name)
        if found is None:
            _, completed, failed = self._history.rates(self._history.by_name.get(name))
            found = self._rates[name] = completed + failed
        return found


def ended_line(history: FigureHistory, series: Series | None) -> Markup:
    """A sparkline of how many jobs ended in a second."""
    completed, failed = history.last_hour(series, "completed"), history.last_hour(series, "failed")
    rates = [
        None if done is None or lost is None else (done + lost) / SPANS[0].seconds
        for done, lost in zip(completed, failed, strict=True)
    ]
    return _line(fewer(rates, EACH, mean), rates[-1], "jobs out per second")


def queued_line(history: FigureHistory, series: Series | None) -> Markup:
    """A sparkline of how many jobs were ready."""
    lengths = history.last_hour(series, "queued")
    return _line(fewer(lengths, EACH, max), lengths[-1], "jobs queued")


def _line(values: Sequence[float | None], now: float | None, what: str) -> Markup:
    """
    @param now: the last value, C{None} where there is none yet.
    """
    most = formats.rate(highest(values))
    return sparkline(values, f"{what}, last hour: now {formats.rate(now)}, at most {most}")

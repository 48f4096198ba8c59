"""
The charts of one function: how it went over an hour or a day, and how long its jobs waited and ran.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from txgear.broker.counts import quantiles
from txgear.broker.operators.inspection import moment
from txgear.server.figureseries import Span
from txgear.web.pages import charts, formats
from txgear.web.pages.charts import MARKED, Line, Values

OF_SPAN: Final = {"hour": "the last hour", "day": "the last day"}
TICKS: Final = 6
"""Parts into which the time is divided."""

HISTOGRAMS: Final = (
    ("waits", "How long jobs waited for a worker", "begun"),
    ("runs", "How long workers had them", "ended"),
)
"""Of what is counted by itself: its name, the caption, and what a job has done that is counted there."""


class _Kind(NamedTuple):
    """
    A chart.

    @ivar unit: of its values; empty for times in seconds.
    @ivar lines: what they are called, and which figures they have.
    """

    name: str
    caption: str
    unit: str
    lines: Sequence[tuple[str, str]]

    @property
    def form(self) -> Callable[[float | None], str]:
        """How a value is written."""
        return formats.rate if self.unit else formats.seconds


_KINDS: Final = (
    _Kind(
        "rate",
        "Jobs per second",
        "per second",
        (("came", "submitted"), ("ended with a result", "completed"), ("ended without one", "failed")),
    ),
    _Kind(
        "length",
        "Jobs there",
        "jobs",
        (("queued", "queued"), ("running", "running"), ("for later", "delayed")),
    ),
    _Kind("age", "For how long the oldest has waited", "", (("the oldest", "oldest"),)),
    _Kind("wait", "Wait for a worker", "", (("p50", "wait_p50"), ("p95", "wait_p95"), ("p99", "wait_p99"))),
)


class Chart(NamedTuple):
    """
    A chart, as a template has it.

    @ivar svg: the chart itself.
    @ivar legend: for each line what it looks like, and its name.
    @ivar ticks: the times under it, at equal distances.
    """

    name: str
    caption: str
    svg: Markup
    legend: Sequence[tuple[Markup, str]]
    ticks: Sequence[str | None]


def over_time(figures: Mapping[str, Any], span: Span, now: float) -> list[Chart]:
    """
    All charts of a time.

    @param figures: what L{FigureHistory.figures<txgear.server.figurehistory.FigureHistory.figures>} returns.
    @param span: of how long.
    @param now: the time by the wall clock, which is where they end if there are no figures yet.
    """
    whole = span.seconds * span.steps
    known = len(figures["queued"])
    end = now if figures["start"] is None else figures["start"] + known * span.seconds
    ticks = [moment(end - whole + whole * place / TICKS) for place in range(TICKS + 1)]
    missing: Values = [None] * (span.steps - known)
    found = []
    for kind in _KINDS:
        lines = [Line(name, [*missing, *figures[figure]]) for name, figure in kind.lines]
        top = charts.round_top(max(charts.highest(line.values) for line in lines))
        said = "; ".join(_in_words(line, kind) for line in lines)
        svg = charts.time_chart(
            lines,
            f"{kind.caption}, {OF_SPAN[span.name]}: {said}",
            f"{top:g} {kind.unit}" if kind.unit else charts.short(top),
            top,
            TICKS,
        )
        legend = [(charts.swatch(place), line.name) for place, line in enumerate(lines)]
        found.append(Chart(kind.name, kind.caption, svg, legend, ticks))
    return found


def _in_words(line: Line, kind: _Kind) -> str:
    now = next((value for value in reversed(line.values) if value is not None), None)
    return f"{line.name}: now {kind.form(now)}, at most {kind.form(charts.highest(line.values))}"


def histogram_of(histogram: Sequence[int], caption: str, of_what: str) -> dict[str, Any]:
    """
    How long something took, as a template has it.

    @param histogram: may be empty.
    @return: C{caption}, C{of_what}, C{svg} (C{None} where there is nothing to show) and C{quantiles}, each
        with its name.
    """
    known = bool(sum(histogram))
    marks = quantiles(histogram, *MARKED) if known else []
    return {
        "caption": caption,
        "of_what": of_what,
        "svg": charts.histogram(histogram, "job") if known else None,
        "quantiles": [(f"p{share * 100:g}", value) for share, value in zip(MARKED, marks, strict=False)],
    }

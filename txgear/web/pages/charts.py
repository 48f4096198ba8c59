"""
Charts, as SVG text: sparklines, what was over a time, and histograms.

They have no styles of their own: C{style.css} has those of their classes. What is drawn over a time is drawn
in a box that is as wide as there are steps and stretched to its place; numbers stand outside of that, so that
they are not stretched. Each chart says in words what it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from math import floor, log10
from typing import Final, NamedTuple

from markupsafe import Markup, escape

from txgear.broker.counts import BOUNDS, VALUES, cumulative, quantile_buckets
from txgear.broker.words import number, span

Values = Sequence["float | None"]
"""One for each step, the oldest first; C{None} where the server did not run."""

SPARK_HEIGHT: Final = 16
"""Of the box of a sparkline. The line keeps a unit away from its edges."""
HEIGHT: Final = 200
"""Of the box of other charts."""
LINES: Final = ("first", "second", "third")
"""The classes of the lines of one chart. Each has a pattern of its own: nothing is told by colour alone."""


# Paths


def _steps(values: Iterable[int | None]) -> str:
    """
    A line through values that are a unit apart, as short as it can be said; it is broken where there is none.

    @param values: heights, measured from above.
    """
    found: list[str] = []
    last: int | None = None
    flat = 0
    begun = False
    for place, value in enumerate((*values, None)):
        if last is not None:
            if value == last:
                flat += 1
                continue
            # One alone is as long as a step, or nobody would see it.
            if flat or (begun and value is None):
                found.append(f"h{flat or 1}")
        if value is not None:
            if last is None:
                found.append(f"M{place} {value}")
            else:
                # A sign parts two numbers as well as a space does.
                found.append(f"l1 {value - last}" if value > last else f"l1{value - last}")
            begun = last is None
        last, flat = value, 0
    return "".join(found)


def _heights(values: Values, top: float, height: int) -> list[int | None]:
    """How far from above each is to be drawn in a box of this height, with a unit left above and below."""
    scale = (height - 2) / top if top else 0.0
    floor_ = height - 1
    return [None if value is None else floor_ - round(value * scale) for value in values]


def highest(values: Values) -> float:
    """The highest; 0.0 where there is none."""
    return max((value for value in values if value is not None), default=0.0)


def round_top(value: float) -> float:
    """The next number at which an axis can end: 1, 2 or 5, and as many noughts as it takes."""
    if value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))


# Sparklines


def sparkline(values: Values, words: str) -> Markup:
    """
    A line of the size of a word.

    @param words: what it shows.
    """
    path = _steps(_heights(values, highest(values), SPARK_HEIGHT))
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"><title>{}</title>'
        '<path d="{}"/></svg>'
    ).format(max(len(values) - 1, 1), SPARK_HEIGHT, words, path)


def mean(values: Sequence[float]) -> float:
    """The mean of some values; there is one."""
    return sum(values) / len(values)


def fewer(values: Values, each: int, join: Callable[[Sequence[float]], float]) -> list[float | None]:
    """
    Fewer values, for a small chart.

    @param each: how many become one; the last of them are whole.
    @param join: makes one of them: L{mean}, or C{max}.
    """
    first = len(values) % each
    edges = [0] if first else []
    edges += range(first, len(values), each)
    found: list[float | None] = []
    for begin, end in pairwise([*edges, len(values)]):
        there = [value for value in values[begin:end] if value is not None]
        found.append(join(there) if there else None)
    return found


# Over a time


class Line(NamedTuple):
    """
    One of the lines of a chart.

    @ivar name: what it is called in the legend.
    @ivar values: what it goes through.
    """

    name: str
    values: Values


def time_chart(lines: Sequence[Line], words: str, top_words: str, top: float, ticks: int) -> Markup:
    """
    What was over a time.

    @param lines: L{LINES} at the most, all with as many values.
    @param words: what it shows.
    @param top_words: what is written at the top of its axis.
    @param top: the value there.
    @param ticks: into how many parts a grid divides the time.
    """
    width = max(max(len(line.values) for line in lines) - 1, 1)
    grid = "".join(f"M{width * place / ticks:g} 0V{HEIGHT}" for place in range(1, ticks))
    found = [
        Markup(
            '<svg class="chart" role="img"><title>{}</title>'
            '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" width="100%" height="100%">'
            '<path class="axis" d="{}M0 {}H{}"/>'
        ).format(words, width, HEIGHT, grid, HEIGHT // 2, width)
    ]
    for line, kind in zip(lines, LINES, strict=False):
        path = _steps(_heights(line.values, top, HEIGHT))
        found.append(Markup('<path class="{}" d="{}"/>').format(kind, path))
    found.append(Markup('</svg><text x="4" y="12">{}</text></svg>').format(top_words))
    return Markup("").join(found)


def swatch(place: int) -> Markup:
    """What the line of a chart looks like, for its legend."""
    return Markup(
        '<svg class="swatch" viewBox="0 0 24 8" width="24" height="8" aria-hidden="true"><path class="{}"'
        ' d="M0 4h24"/></svg>'
    ).format(LINES[place])


# Histograms


class Bar(NamedTuple):
    """
    One bar of a histogram.

    @ivar upper: up to how many seconds; C{None} for whatever is longer than all others.
    @ivar times: how many took as long.
    """

    upper: float | None
    times: int


MARKED: Final = (0.5, 0.95, 0.99)
"""The quantiles that are marked."""


def short(seconds: float) -> str:
    """One of L{BOUNDS}, as short as it can be: C{2.5 ms}, C{30 s}, C{15 min}."""
    return span(seconds) if seconds >= 60 else f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1000:g} ms"


def bars(histogram: Sequence[int]) -> list[Bar]:
    """
    The bars of a histogram of L{counts<txgear.broker.counts>}: those that have something, those between them,
    and one before them.
    """
    counts = cumulative(histogram)
    return bars_of(BOUNDS, [count - before for count, before in zip(counts, [0, *counts], strict=False)])


def bars_of(bounds: Sequence[float], counts: Sequence[int]) -> list[Bar]:
    """
    The same of other bounds.

    @param counts: how many values are in each bucket, one more than there are bounds.
    """
    there = [place for place, count in enumerate(counts) if count]
    if not there:
        return []
    uppers = (*bounds, None)
    return [Bar(uppers[place], counts[place]) for place in range(max(there[0] - 1, 0), there[-1] + 1)]


def histogram(counted: Sequence[int], one: str) -> Markup:
    """
    How long something took, and how often: a bar for each of L{BOUNDS} as far as there is something, with
    L{MARKED} quantiles.

    @param counted: a histogram of L{counts<txgear.broker.counts>} in which there is something.
    @param one: what is counted, such as C{job}.
    """
    quantiles = [VALUES[place or 0] for place in quantile_buckets(counted, *MARKED)]
    return histogram_of(bars(counted), quantiles, one)


def histogram_of(found: Sequence[Bar], values: Sequence[float], one: str) -> Markup:
    """
    The same of bars, in which there is something.

    @param values: those of L{MARKED}.
    """
    most = max(bar.times for bar in found)
    width = len(found)
    quantiles = list(zip(MARKED, values, strict=True))
    words = ", ".join(f"{share * 100:g} % within {_about(value)}" for share, value in quantiles)
    pieces = [
        Markup(
            '<svg class="chart" role="img"><title>{}</title>'
            '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" width="100%" height="100%">'
        ).format(f"{number(sum(bar.times for bar in found), one)}: {words}", width * 10, HEIGHT)
    ]
    for place, bar in enumerate(found):
        if bar.times:
            high = max(round(bar.times * (HEIGHT - 40) / most), 1)
            pieces.append(
                Markup('<rect x="{}" y="{}" width="9" height="{}"><title>{}</title></rect>').format(
                    place * 10, HEIGHT - 20 - high, high, _of_bar(found, place, one)
                )
            )
    marks = [(share, _place_of(value, found)) for share, value in quantiles]
    for _, at in marks:
        pieces.append(Markup('<path class="mark" d="M{} 0V{}"/>').format(f"{at * 10:.4g}", HEIGHT - 20))
    pieces.append(Markup("</svg>"))
    for row, (share, at) in enumerate(marks):
        right = at > width / 2
        pieces.append(
            Markup('<text x="{}%" y="{}" dx="{}"{}>p{}</text>').format(
                f"{at * 100 / width:.4g}",
                10 + 11 * row,
                -3 if right else 3,
                Markup(' text-anchor="end"') if right else "",
                f"{share * 100:g}",
            )
        )
    each = -(-width // 6)
    for place, bar in enumerate(found[:-1]):
        if bar.upper is not None and (place + 1) % each == 0:
            pieces.append(
                Markup('<text x="{}%" y="98%" text-anchor="middle">{}</text>').format(
                    f"{(place + 1) * 100 / width:.4g}", short(bar.upper)
                )
            )
    return Markup("").join([*pieces, Markup("</svg>")])


def _about(seconds: float) -> str:
    return short(float(f"{seconds:.2g}"))


def _of_bar(found: Sequence[Bar], place: int, one: str) -> Markup:
    upper = found[place].upper
    if upper is not None:
        words = f"up to {short(upper)}"
    else:
        words = f"longer than {short(found[place - 1].upper or 0.0)}"
    return escape(f"{words}: {number(found[place].times, one)}")


def _place_of(seconds: float, found: Sequence[Bar]) -> float:
    """Where a time is between the edges of the bars."""
    for place, bar in enumerate(found):
        if bar.upper is None or seconds <= bar.upper:
            lower = (found[place - 1].upper or 0.0) if place else 0.0
            upper = bar.upper if bar.upper is not None else 7 * 86400.0
            return place + min(max((seconds - lower) / (upper - lower), 0.0), 1.0)
    return float(len(found))

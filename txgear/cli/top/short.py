"""
Counts, rates and times in five characters: a row has many of them.
"""

from __future__ import annotations


def count(number: float) -> str:
    """A count: C{17}, C{9999}, C{12k}, C{3.4M}."""
    if number < 10_000:
        return str(int(number))
    size, unit = next(each for each in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if number >= each[0])
    return f"{number / size:.0f}{unit}" if number >= 10 * size else f"{number / size:.1f}{unit}"


def rate(per_second: float) -> str:
    """A rate: C{0}, C{0.02}, C{3.4}, C{120}, C{12k}."""
    if per_second < 0.005:
        return "0"
    if per_second < 10:
        return f"{per_second:.2f}" if per_second < 1 else f"{per_second:.1f}"
    return count(round(per_second))


def span(seconds: float) -> str:
    """A time: C{3ms}, C{0.25s}, C{7.1s}, C{59s}, C{12m}, C{30h}, C{4d}."""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.2f}s" if seconds < 1 else f"{seconds:.1f}s"
    for size, unit in ((86400 * 2, "d"), (7200, "h"), (120, "m")):
        if seconds >= size:
            return f"{seconds // (86400 if unit == 'd' else 3600 if unit == 'h' else 60):.0f}{unit}"
    return f"{seconds:.0f}s"

"""
Ages, sizes and times for people.
"""

from __future__ import annotations

from typing import Final

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"))


def age(seconds: float) -> str:
    """A duration in two units at the most: C{3d4h}, C{12m5s}, C{7s}, C{1.25s}, C{250ms}, C{0.12ms}."""
    if 0 < seconds < 0.9995:
        return f"{seconds * 1000:.3g}ms"
    if seconds < 10:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + "s"
    whole = int(seconds)
    for index, (size, unit) in enumerate(_UNITS):
        if whole >= size:
            lower, name = (*_UNITS, (1, "s"))[index + 1]
            rest = whole % size // lower
            return f"{whole // size}{unit}" + (f"{rest}{name}" if rest else "")
    return f"{whole}s"


def size(octets: int) -> str:
    """Bytes: C{17}, C{3.4K}, C{12M}."""
    value, unit = float(octets), ""
    for unit in ("", "K", "M", "G", "T"):
        if value < 1024 or unit == "T":
            break
        value /= 1024
    return f"{value:.1f}{unit}" if unit and value < 10 else f"{value:.0f}{unit}"


def moment(text: str) -> str:
    """A time of the API without its milliseconds: C{2026-11-28T09:00:00Z}."""
    head, point, _ = text.partition(".")
    return f"{head}Z" if point else text

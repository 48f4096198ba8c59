"""
How pages write times, spans, sizes and numbers: the filters of their templates.

Times are written in UTC, for those without JavaScript; C{times.js} puts them into the reader's time zone, and
has ages go on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from markupsafe import Markup

from txgear.broker.words import span
from txgear.protocol.textlines import text

_WILD: Final = re.compile(r"[*?[]")
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")
NOTHING: Final = "\N{EN DASH}"
"""What stands where there is nothing to say."""
NAMELESS: Final = "(no name)"
"""What the function is called whose name is empty."""


def size(count: int | None) -> str:
    """Bytes: C{120 B}, C{1.2 kB}, C{48 MB}."""
    if count is None:
        return NOTHING
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 or value >= 99.5 else f"{value:.2g} {_UNITS[unit]}"


def count(value: float | None) -> str:
    """How many: C{1,234,567}."""
    return NOTHING if value is None else f"{value:,}"


def rate(value: float | None) -> str:
    """How many a second: C{0.03}, C{4.2}, C{1,234}."""
    if value is None:
        return NOTHING
    if value >= 99.5:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.95 else f"{value:.2g}"


def seconds(value: float | None) -> str:
    """A short time, as one measures it: C{1.2 ms}, C{340 ms}, C{4.1 s}, C{3 min}."""
    if value is None:
        return NOTHING
    if value >= 60:
        return span(value)
    if value >= 1:
        return f"{value:.1f} s"
    thousandths = value * 1000
    return f"{thousandths:.0f} ms" if thousandths >= 10 else f"{thousandths:.1f} ms"


def moment(iso: str | None) -> Markup | str:
    """
    A time.

    @param iso: as L{txgear.broker.operators.inspection.moment} makes it.
    """
    if iso is None:
        return NOTHING
    shown = f"{iso[:10]} {iso[11:19]} UTC"
    return Markup('<time datetime="{}">{}</time>').format(iso, shown)


def ago(iso: str | None, now: float, then: float) -> Markup | str:
    """
    How long something is ago; it goes on while one looks.

    @param iso: when that was.
    @param now: by the same clock as
    @param then: the same moment.
    """
    if iso is None:
        return NOTHING
    return Markup('<time datetime="{}" data-age>{}</time>').format(iso, span(max(now - then, 0.0)))


def until(iso: str | None, now: str) -> Markup | str:
    """
    How long it is until something; it goes on while one looks.

    @param iso: when that is to be.
    @param now: the time now, as the same.
    """
    if iso is None:
        return NOTHING
    left = time_of(iso) - time_of(now)
    shown = f"in {span(left)}" if left > 0 else "now"
    return Markup('<time datetime="{}" data-until>{}</time>').format(iso, shown)


def time_of(iso: str) -> float:
    """A time that C{inspection.moment} has made, in seconds since the epoch."""
    # Python 3.10 does not read the Z.
    return datetime.fromisoformat(iso.replace("Z", "+00:00")).timestamp()


def following(path: str, query: Mapping[str, Any], after: int) -> str:
    """
    The next page of a list.

    @param path: that of the list.
    @param query: what was asked for; what is empty is left out.
    @param after: what the list goes on after.
    """
    asked = {name: value for name, value in query.items() if value and name != "after"}
    return f"{path}?{urlencode({**asked, 'after': after})}"


def age(iso: str | None, value: float | None) -> Markup | str:
    """
    As L{ago}, of what is so many seconds old.
    """
    return NOTHING if value is None else ago(iso, value, 0.0)


def part_of_path(name: str) -> str:
    """A name of any characters, as a part of a path."""
    if name in (".", ".."):
        # Browsers take them, escaped or not, for this folder and the one above it. Names are read as they are
        # shown, so that there is another way to write them.
        return quote(name.replace(".", r"\x2e"), safe="")
    return quote(name, safe="")


def named(name: str) -> str:
    """The name of a function, as a link has it: there may be one whose name is empty."""
    return name or NAMELESS


def only(name: bytes | str) -> str:
    """A pattern that matches this name and no other, as a part of a query."""
    shown = text(name) if isinstance(name, bytes) else name
    return quote(_WILD.sub(r"[\g<0>]", shown), safe="")


def function_path(name: bytes | str) -> str:
    """The page of a function."""
    return f"/functions/{part_of_path(text(name) if isinstance(name, bytes) else name)}"


def job_path(handle: bytes | str) -> str:
    """The page of a job."""
    return f"/jobs/{part_of_path(text(handle) if isinstance(handle, bytes) else handle)}"


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "age": age,
    "ago": ago,
    "count": count,
    "function_path": function_path,
    "job_path": job_path,
    "moment": moment,
    "named": named,
    "only": only,
    "part_of_path": part_of_path,
    "rate": rate,
    "seconds": seconds,
    "size": size,
    "span": span,
    "until": until,
}
"""By the names that templates call them."""

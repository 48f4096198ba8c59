"""
Times, spans and numbers in the words of a sentence, for people to read.

A time is by UTC, as short as it can be without doubt: C{14:02:07 UTC} within an hour of now, C{14:02 UTC} on
the same day, and with its date on any other.
"""

from __future__ import annotations

from time import gmtime
from typing import Final

from txgear.quantities import LAST_SECOND

_SPANS: Final = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 0, ""))
"""Seconds of a unit and its name, and the same of the unit that is told with it while there are few."""
FEW: Final = 10
"""Of a unit: then the next smaller one is of interest, too."""


def clock(moment: float, now: float) -> str:
    """
    A time, as people say it.

    @param moment: in seconds since the epoch, by the wall clock.
    @param now: the same of now.
    """
    year, month, day, hour, minute, second = gmtime(int(min(moment, LAST_SECOND)))[:6]
    if gmtime(int(min(now, LAST_SECOND)))[:3] != (year, month, day):
        return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC"
    if abs(moment - now) < 3600:
        return f"{hour:02}:{minute:02}:{second:02} UTC"
    return f"{hour:02}:{minute:02} UTC"


def span(seconds: float) -> str:
    """A time between two others: C{less than 1 s}, C{4 s}, C{3 h 12 min}, C{12 d}; never more than it is."""
    if seconds < 1:
        return "less than 1 s"
    whole = int(seconds)
    for unit, name, smaller, its_name in _SPANS:
        count, rest = divmod(whole, unit)
        if count >= (2 if unit == 60 else 1):
            if smaller and count < FEW and rest >= smaller:
                return f"{count} {name} {rest // smaller} {its_name}"
            return f"{count} {name}"
    return f"{whole} s"


def number(count: int, one: str, many: str = "") -> str:
    """
    A number of things: C{1 job}, C{1,200 jobs}.

    @param many: the word for several; by default that for one, and an C{s}.
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def verb(count: int, one: str, many: str) -> str:
    """The word that follows a number of things."""
    return one if count == 1 else many

"""
Cron lines in words, and what comes of one when the clock is changed.

cronsim can say a line in words. It is given a line that means the same where its words would say something
else: where a field of days names all of them without a star, and where a step leaves few values of a range.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from itertools import islice, takewhile
from typing import Final, NamedTuple, cast

from cronsim import CronSim
from cronsim.cronsim import Field
from cronsim.explain import Expression

from txgear.server.crontimes import clock_changes, follows, zone_of

DAY: Final = 86400.0
LOOKS_AHEAD: Final = 366 * 86400.0
"""Seconds in which changes of the clock are looked for: the next two, where there are any."""
NAMED: Final = 3
"""Times that are named of those which a change of the clock affects."""
FEW: Final = 2
"""Values of a step that are told one by one: C{every 45th minute} says little of 0 and 45."""

_ORDINAL: Final = re.compile(r"\b([2-9])([123])th\b")
_ENDINGS: Final = {"1": "st", "2": "nd", "3": "rd"}
_ALL_DAYS: Final = frozenset(range(1, 32))
_WEEK: Final = frozenset(range(7))


def in_words(cron: str) -> str:
    """
    When a line runs: C{At 02:30 on Monday through Friday}.

    @param cron: see L{txgear.server.crontimes.check_cron}.
    """
    parts = cron.upper().split()
    days, weekdays = Field.DAY.parse(parts[2]), Field.DOW.parse(parts[4])
    all_days = days >= _ALL_DAYS
    all_week = {day % 7 for day in weekdays if isinstance(day, int)} == _WEEK
    both = parts[2].startswith("*") or parts[4].startswith("*")
    if all_days or (all_week and not both):
        parts[2] = "*"
    if all_week or (all_days and not both):
        parts[4] = "*"
    fields = (Field.MINUTE, Field.HOUR, Field.DAY, Field.MONTH, Field.DOW)
    parts = [_spelled(field, part) for field, part in zip(fields, parts, strict=True)]
    expression = Expression(parts)
    # What it would take from the stars that are not there any more.
    expression.day_and = both
    return _ORDINAL.sub(lambda found: found[1] + found[2] + _ENDINGS[found[2]], expression.explain())


def _spelled(field: Field, part: str) -> str:
    """A field whose steps are told by their values, where these are few, or are days of the week."""
    terms = []
    for term in part.split(","):
        if "/" not in term:
            terms.append("0" if field is Field.DOW and term == "7" else term)
            continue
        found = field.parse(term)
        values = sorted({cast(int, value) % 7 for value in found} if field is Field.DOW else found)
        spell = len(values) <= FEW or (field is Field.DOW and len(values) < len(_WEEK))
        # The last day of the month is a number below 0.
        terms.append(",".join(map(str, values)) if spell and cast(int, values[0]) >= 0 else term)
    return ",".join(terms)


class Remark(NamedTuple):
    """
    What comes of a line when the clock is changed.

    @ivar at: when it is changed, in seconds since the epoch.
    @ivar text: a sentence.
    """

    at: float
    text: str


def remarks(cron: str, zone_name: str, after: float) -> list[Remark]:
    """
    What comes of a line at the next two changes of the clock within a year, where it is not what one would
    think: a time that there is not, or twice.

    @param cron: see L{txgear.server.crontimes.check_cron}.
    @param zone_name: see L{txgear.server.crontimes.check_timezone}.
    @param after: the time from which on.
    """
    if cron.split()[1] == "*":
        # Each hour is like the other.
        return []
    changes = [at for at in _changes(zone_name, after // DAY * DAY) if at > after]
    said = ((at, _remark(cron, zone_name, at)) for at in changes[:2])
    return [Remark(at, text) for at, text in said if text]


@lru_cache(maxsize=64)
def _changes(zone_name: str, day: float) -> list[float]:
    """The next two, and one that may be of this day: looked for once for all lines of a zone, and a day."""
    return list(islice(clock_changes(zone_name, day, day + LOOKS_AHEAD), 3))


def _remark(cron: str, zone_name: str, at: float) -> str:
    zone = zone_of(zone_name)
    before = datetime.fromtimestamp(at - 1, zone).replace(tzinfo=None) + timedelta(seconds=1)
    after = datetime.fromtimestamp(at, zone).replace(tzinfo=None)
    first, last = min(before, after), max(before, after)
    faces = list(islice(_faces(cron, first, last), NAMED + 1))
    if not faces:
        return ""
    one = len(faces) == 1
    named = ", ".join(f"{face:%H:%M}" for face in faces[:NAMED])
    if len(faces) > NAMED:
        named += " and so on"
    day = f"{first:%Y-%m-%d}"
    if before < after:
        skipped = f"On {day} the clock there goes from {before:%H:%M} to {after:%H:%M}: "
        if follows(cron):
            return f"{skipped}no run for {named}"
        return f"{skipped}the run for {named} comes at {after:%H:%M}" + ("" if one else ", once")
    back = f"On {day} the clock there goes back from {before:%H:%M} to {after:%H:%M}: "
    if follows(cron):
        return f"{back}{'the run' if one else 'each run'} for {named} comes twice"
    return f"{back}{'the run' if one else 'each run'} for {named} comes once, the first time"


def _faces(cron: str, first: datetime, last: datetime) -> Iterator[datetime]:
    """The times of day that a line matches, from the first on, and before the last."""
    start = (first - timedelta(seconds=1)).replace(tzinfo=timezone.utc)
    for face in takewhile(lambda face: face.replace(tzinfo=None) < last, CronSim(cron, start)):
        yield face.replace(tzinfo=None)

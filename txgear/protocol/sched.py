"""
The fields of SUBMIT_JOB_SCHED, and the next moment that matches them.
"""

from __future__ import annotations

import time
from datetime import date, datetime, timedelta
from typing import Final

from txgear.errors import InvalidArgument

FIELDS: Final = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 6),
)
"""The fields in the order of the packet, with their bounds; day 0 of the week is Monday."""

YEARS: Final = 41
"""
Years that are searched: the 29th of February falls on each day of the week within 28
years, or within 40 across a year like 2100, which is no leap year.
"""


def parse_fields(texts: list[bytes]) -> list[int | None]:
    """
    Read the fields.

    @param texts: the five fields; an empty one means any.
    @return: the fields as numbers, C{None} for any.
    @raise InvalidArgument: one is no number, or out of its bounds.
    """
    fields: list[int | None] = []
    for text, (name, lowest, highest) in zip(texts, FIELDS, strict=True):
        if not text:
            fields.append(None)
        elif text.isdigit() and len(text) < 5 and lowest <= int(text) <= highest:
            fields.append(int(text))
        else:
            raise InvalidArgument(f"The {name} is a number from {lowest} to {highest}, or empty for any")
    return fields


def next_moment(fields: list[int | None], now: float) -> float:
    """
    The first full minute after C{now} that matches the fields, in local time.

    A local time that the clock skips in spring does not match on that day. A local
    time that comes twice in autumn matches the first time.

    @param fields: minute, hour, day of the month, month, day of the week, as
        L{parse_fields} gives them.
    @param now: seconds since the epoch.
    @return: seconds since the epoch.
    @raise InvalidArgument: there is no such day (the 31st of February).
    """
    minute, hour, month_day, month, week_day = fields
    here = time.localtime(now)
    today = date(here.tm_year, here.tm_mon, here.tm_mday)
    hours = range(24) if hour is None else (hour,)
    minutes = range(60) if minute is None else (minute,)
    day = today
    while day.year < today.year + YEARS:
        if month is not None and day.month != month:
            day = date(day.year + day.month // 12, day.month % 12 + 1, 1)
            continue
        if month_day in (None, day.day) and week_day in (None, day.weekday()):
            for each_hour in hours:
                for each_minute in minutes:
                    # Not mktime: for a time that comes twice it gives sometimes one, sometimes the other.
                    shown = (day.year, day.month, day.day, each_hour, each_minute)
                    moment = datetime(*shown).timestamp()
                    if moment > now and time.localtime(moment)[:5] == shown:
                        return moment
        day += timedelta(days=1)
    raise InvalidArgument("No day matches the day of the month, the month and the day of the week")

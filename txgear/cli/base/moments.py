"""
Times as people type them: a time of the wall clock, and a time from now on.
"""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from typing import Final

import click

from txgear.errors import PolicyError
from txgear.quantities import LAST_SECOND, duration

_NUMBER: Final = re.compile(r"@?(\d{1,12}(?:\.\d{1,6})?)")
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


def moment(text: str, now: float) -> float:
    """
    Seconds since 1970.

    @param text: C{18:30}, the next time that a clock shows it here; C{2026-12-24} or C{2026-12-24 18:30},
        here or, with C{Z} or C{+01:00} behind it, there; or seconds since 1970, with an C{@} in front or not.
    @param now: seconds since 1970.
    @raise ValueError: it is none of these.
    """
    wanted = text.strip()
    if found := _NUMBER.fullmatch(wanted):
        seconds = float(found[1])
    elif found := _CLOCK.fullmatch(wanted):
        today = datetime.fromtimestamp(now)
        then = today.replace(
            hour=int(found[1]), minute=int(found[2]), second=int(found[3] or 0), microsecond=0
        )
        # By the date, and not by 24 hours: there are longer and shorter days.
        seconds = (then if then.timestamp() > now else then + timedelta(days=1)).timestamp()
    else:
        seconds = datetime.fromisoformat(wanted).timestamp()
    if not 0 <= seconds <= LAST_SECOND:
        raise ValueError("it is not between the years 1970 and 9999")
    return seconds


def moment_value(text: str) -> float:
    """The type of an option that is a time of the wall clock: seconds since 1970."""
    try:
        return moment(text, time.time())
    except (ValueError, OverflowError) as error:
        wanted = "such as 18:30, '2026-12-24 18:30' or 1798131600"
        raise click.BadParameter(f"{text!r} is no time, {wanted}") from error


def span_value(text: str) -> float:
    """The type of an option that is a time from now on, or of so long: seconds."""
    try:
        return duration(text)
    except PolicyError as error:
        raise click.BadParameter(str(error)) from error

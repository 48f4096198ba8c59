"""
Times, sizes, counts and rates, as people write them in files and in options.
"""

from __future__ import annotations

import re
from reprlib import Repr
from typing import Any, Final

from txgear.errors import PolicyError

MOST_SECONDS: Final = 10 * 365 * 86400.0
"""Ten years: a time that is longer is a mistake."""
LAST_SECOND: Final = 253402300799
"""Seconds from 1970 to the end of the year 9999; a later time is a mistake."""
MOST_COUNT: Final = 10**9
"""No bound that anybody means is larger."""
MOST_BYTES: Final = 2**50
"""A pebibyte."""

_DURATION: Final = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) *(ms|s|m|h|d)?")
_RATE_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS: Final = {"ms": 0.001, **_RATE_UNITS}
_SIZE: Final = re.compile(r"(\d{1,15}) *(?:([KMGT])(?:iB)?)?", re.IGNORECASE)
_RATE: Final = re.compile(r"(\d{1,9}) */ *(s|m|h|d)")


class _Brief(Repr):
    """Not as Python writes what TOML and JSON write otherwise."""

    def repr_bool(self, value: bool, level: int) -> str:
        return "true" if value else "false"

    def repr_NoneType(self, value: None, level: int) -> str:  # noqa: N802 - reprlib looks for that name
        return "null"

    def repr_datetime(self, value: Any, level: int) -> str:
        return str(value.isoformat())

    repr_date = repr_time = repr_datetime


brief: Final = _Brief().repr
"""A value as people wrote it in a file or in JSON, cut where it is long; for what is said of a mistake."""


def duration(value: Any) -> float:
    """
    Seconds, from a number or from words such as C{90s}, C{1.5h} and C{30d}.

    @raise PolicyError: it is no time, or longer than L{MOST_SECONDS}.
    """
    seconds = -1.0
    if isinstance(value, str) and (found := _DURATION.fullmatch(value)):
        seconds = float(found[1]) * _UNITS[found[2] or "s"]
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value
    if not 0 <= seconds <= MOST_SECONDS:
        raise PolicyError(
            "", f"a time is wanted, such as 90, '90s', '1.5h' or '30d', up to ten years, not {brief(value)}"
        )
    return float(seconds)


def duration_text(seconds: float) -> str:
    """
    The time of which L{duration} makes these seconds, in the largest unit of which it is a whole number:
    C{30d}, C{90m}, C{250ms}.
    """
    thousandths = round(seconds * 1000)
    if not thousandths or abs(seconds * 1000 - thousandths) > 1e-6:
        return f"{seconds:g}s"
    for unit in ("d", "h", "m", "s"):
        number, rest = divmod(thousandths, round(_UNITS[unit] * 1000))
        if not rest:
            return f"{number}{unit}"
    return f"{thousandths}ms"


def size(value: Any) -> int:
    """
    Bytes, from a number or from words such as C{64K} and C{1GiB}.

    @raise PolicyError: it is no size, or larger than L{MOST_BYTES}.
    """
    number = -1
    if isinstance(value, str) and (found := _SIZE.fullmatch(value)):
        number = int(found[1]) << 10 * " KMGT".index((found[2] or " ").upper())
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    if not 0 <= number <= MOST_BYTES:
        raise PolicyError("", f"bytes are wanted, such as 65536, '64K' or '1G', not {brief(value)}")
    return number


def size_text(number: int) -> str:
    """The size of which L{size} makes these bytes, in the largest unit of which it is a whole number."""
    for power, unit in enumerate("TGMK"):
        whole, rest = divmod(number, 1 << 10 * (4 - power))
        if whole and not rest:
            return f"{whole}{unit}"
    return str(number)


def byte_words(number: int) -> str:
    """The same for people: C{64 MiB}, C{1,000 bytes}."""
    text = size_text(number)
    if text.isdigit():
        return f"{number:,} byte{'s' * (number != 1)}"
    return f"{text[:-1]} {text[-1]}iB"


def second_words(seconds: float) -> str:
    """A time for people, in the unit in which it was said: C{1 second}, C{0.5 seconds}."""
    return f"{seconds:g} second{'s' * (seconds != 1)}"


def count(value: Any) -> int:
    """
    A whole number, as it is.

    @raise PolicyError: it is no whole number from 0 to L{MOST_COUNT}.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_COUNT:
        raise PolicyError("", f"a whole number from 0 to {MOST_COUNT} is wanted, not {brief(value)}")
    return value


def fraction(value: Any) -> float:
    """
    A part of a whole, as it is.

    @raise PolicyError: it is no number from 0 to 1.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        raise PolicyError("", f"a number from 0 to 1 is wanted, not {brief(value)}")
    return float(value)


def interval(value: Any) -> float:
    """
    Seconds from one job to the next, from a rate such as C{10/s}, C{100/m}, C{1000/h} and C{5/d}.

    @raise PolicyError: it is no rate.
    """
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if found is None or not int(found[1]):
        raise PolicyError(
            "",
            "jobs in a time are wanted, such as '10/s', '100/m' or '5/d', of 1 to 999999999 jobs,"
            f" not {brief(value)}",
        )
    return _RATE_UNITS[found[2]] / int(found[1])


def rate_text(seconds: float) -> str:
    """The rate of which L{interval} makes these seconds; about that rate, if it makes them of none."""
    # In one of the units it is a whole number: in that with which it was written.
    for unit, length in _RATE_UNITS.items():
        if abs(length / seconds - round(length / seconds)) < 1e-6:
            return f"{round(length / seconds)}/{unit}"
    unit = next((unit for unit, length in _RATE_UNITS.items() if length > seconds), "d")
    return f"{_RATE_UNITS[unit] / seconds:.3g}/{unit}"

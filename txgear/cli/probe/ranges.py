"""
Thresholds and figures as Nagios, Naemon and Icinga write them: the rules of the Monitoring Plugins
(U{https://www.monitoring-plugins.org/doc/guidelines.html}).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf
from typing import Final

from txgear.cli.base.output import printable
from txgear.cli.base.statuses import MISUSED, CommandError

_NUMBER: Final = re.compile(r"(-?\d+(?:\.\d+)?|-?\.\d+)([smhd]?)", re.ASCII)
_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
MOST_DIGITS: Final = 40
"""Characters of a range at the most."""


@dataclass(frozen=True)
class Range:
    """
    Which values are well, or with C{@} which are not.

    @ivar start: the least, and
    @ivar end: the largest of them; both belong to it.
    @ivar inside: whether what lies in it is what is wrong.
    """

    start: float
    end: float
    inside: bool = False

    def wrong(self, value: float) -> bool:
        """Whether a value is one to be called for."""
        return (self.start <= value <= self.end) == self.inside

    def __str__(self) -> str:
        """As it is written, without units: so programs that draw it understand it."""
        start = "~:" if self.start == -inf else f"{number(self.start)}:"
        end = "" if self.end == inf else number(self.end)
        # So short as it is mostly written; but 0 alone would be no threshold.
        if start == "0:" and end not in ("", "0"):
            start = ""
        return f"{'@' if self.inside else ''}{start}{end}"


def number(value: float) -> str:
    """A number as programs read it: not in powers of ten, and whole where it is."""
    return str(int(value)) if value == int(value) else f"{value:.6f}".rstrip("0").rstrip(".")


def parse_range(text: str) -> Range:
    """
    @param text: C{10} (from 0 to 10 is well), C{10:} (10 or more), C{~:10} (10 or less), C{10:20}, C{@10:20}
        (from 10 to 20 is not well). Each number may have a unit of time: C{5m}.
    @raise CommandError: it is no range.
    """
    inside, body = text.startswith("@"), text.removeprefix("@")
    first, _, last = body.rpartition(":")
    try:
        if len(text) > MOST_DIGITS:
            raise ValueError
        start = -inf if first == "~" else _value(first) if first else 0.0
        end = inf if first and not last else _value(last)
    except ValueError as error:
        raise CommandError(
            f"{text!r} is no range: 10, 10:, ~:10, 10:20 or @10:20 is wanted, with s, m, h or d for times",
            MISUSED,
        ) from error
    if start > end:
        raise CommandError(f"{text!r} is no range: it ends before it begins", MISUSED)
    return Range(start, end, inside)


def _value(text: str) -> float:
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return float(found[1]) * _UNITS[found[2]]


def figure(
    label: str, value: float, unit: str = "", warning: Range | None = None, critical: Range | None = None
) -> str:
    """
    A figure for programs that draw: C{'mail_queued'=12;100;1000;0}.

    @param label: what it is called; an equals sign, which would end it, becomes an underscore.
    @param unit: C{s} for seconds; empty for a number.
    """
    name = printable(label).replace("=", "_").replace("'", "''").replace("|", "_")
    limits = ";".join("" if each is None else str(each) for each in (warning, critical))
    return f"'{name}'={number(value)}{unit};{limits};0"

"""
C{--where}: which rows of a list are shown, whatever the server can look for itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from txgear.cli.base.output import Column, plain
from txgear.cli.base.statuses import MISUSED, CommandError
from txgear.errors import PolicyError
from txgear.quantities import duration, size

Row = Mapping[str, Any]
Condition = Callable[[Row], bool]

_CONDITION: Final = re.compile(r"([a-z_0-9]+)(!=|>=|<=|=|>|<)(.*)", re.DOTALL)


def condition(text: str, columns: Mapping[str, Column]) -> Condition:
    """
    What C{--where} means.

    @param text: C{COLUMN=PATTERN} and C{COLUMN!=PATTERN}, as the shell has patterns; C{COLUMN<VALUE},
        C{COLUMN<=VALUE}, C{COLUMN>VALUE} and C{COLUMN>=VALUE}: a number, a time as C{90s} or C{2h}, a size as
        C{64K}, or text. A row that has nothing there is C{-}, and neither less nor more than anything.
    @param columns: those that there are, by name.
    @raise CommandError: it is not understood.
    """
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise CommandError(f"--where {text!r}: COLUMN=PATTERN or COLUMN>VALUE is wanted", MISUSED)
    name, sign, value = match.groups()
    if name not in columns:
        raise CommandError(f"there is no column {name!r}; there are {', '.join(columns)}", MISUSED)
    column = columns[name]
    if sign in ("=", "!="):
        return _like(column, value, sign == "=")
    return _compared(column, sign, value)


def _like(column: Column, pattern: str, wanted: bool) -> Condition:
    def holds(row: Row) -> bool:
        value = column.value(row)
        texts = ("-",) if value is None or value == "" else (plain(value), column.text(row))
        return any(fnmatchcase(text, pattern) for text in texts) == wanted

    return holds


def _compared(column: Column, sign: str, text: str) -> Condition:
    bound = _number(text)

    def holds(row: Row) -> bool:
        value = column.value(row)
        if isinstance(value, (int, float)):
            if bound is None:
                raise CommandError(f"--where {column.name}{sign}{text}: {text!r} is no number", MISUSED)
            return _meets(value, sign, bound)
        return value is not None and _meets(plain(value), sign, text)

    return holds


def _meets(value: Any, sign: str, bound: Any) -> bool:
    if value == bound:
        return "=" in sign
    return bool(value > bound) == (sign[0] == ">")


def _number(text: str) -> float | None:
    """A number, perhaps with a unit: of time, or of size in capitals."""
    for read in (float, duration, size):
        try:
            return read(text)
        except (ValueError, PolicyError):
            continue
    return None

"""
Many rows of SQLite as one.

For each row the driver gives up the interpreter's lock and waits for it again, which beside a busy reactor
takes longer than all else. So each column of many jobs comes as one text, with commas between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.records import JobRecord
from txgear.stores.questions import TEXTS, Questions

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPICursor

    from txgear.stores.statements import Statements

FINE: Final = 2.0**22
"""
Times are told as whole numbers of this part of a second, as SQLite does not write each number with all its
digits. All times are such numbers, from 2004 on.
"""
NOTHING: Final = "-"
"""Stands for NULL in a column of bytes."""

NULLABLE: Final = ("digest", "life")
INTEGERS: Final = ("number", "place", "priority", "retries", "size", "state", "kind")
TIMES: Final = ("created", "due", "ended", "wake")


class SQLiteQuestions(Questions):
    """Questions whose answers come as one row each; row by row only where something odd is among them."""

    def __init__(self, statements: Statements) -> None:
        super().__init__(statements)
        self._names = [column.name for column in self.columns()]
        self._one_row = lru_cache(TEXTS)(self._make_one_row)
        self._decoders = [self._decoder(name) for name in self._names]

    def read(self, cursor: DBAPICursor, text: str, parameters: Sequence[Any]) -> list[JobRecord]:
        cursor.execute(self._one_row(text), parameters)
        odd, *columns = cursor.fetchall()[0]
        if odd is None:
            return []
        if not odd:
            # A column may have anything in it, if somebody has changed the file.
            with suppress(ValueError):
                values = [decode(column) for decode, column in zip(self._decoders, columns, strict=True)]
                return list(map(JobRecord._make, zip(*values, strict=True)))
        return super().read(cursor, text, parameters)

    def hashes(self, cursor: DBAPICursor, after: int, limit: int) -> list[int]:
        text = f"SELECT group_concat(ukey) FROM ({self._hashes_text(limit)})"  # noqa: S608 - it is our own
        cursor.execute(text, (after,))
        return _integers(cursor.fetchall()[0][0] or "")

    def _make_one_row(self, text: str) -> str:
        odd = " + ".join(f"({name} * {FINE} <> CAST({name} * {FINE} AS INTEGER))" for name in TIMES)
        columns = ", ".join(f"group_concat({self._encoded(name)})" for name in self._names)
        return f"SELECT sum({odd}), {columns} FROM ({text})"  # noqa: S608 - it is our own

    @staticmethod
    def _encoded(name: str) -> str:
        """A column's value, as it stands in the text."""
        if name in TIMES:
            return f"CAST({name} * {FINE} AS INTEGER)"
        if name in INTEGERS:
            return name
        if name in NULLABLE:
            return f"CASE WHEN {name} IS NULL THEN '{NOTHING}' ELSE hex({name}) END"
        return f"hex({name})"

    @staticmethod
    def _decoder(name: str) -> Callable[[str], Sequence[Any]]:
        if name in TIMES:
            return _times
        return _integers if name in INTEGERS else _bytes


def _integers(text: str) -> list[int]:
    return list(map(int, text.split(","))) if text else []


def _times(text: str) -> list[float]:
    parts = text.split(",")
    if parts.count(parts[0]) == len(parts):
        return [int(parts[0]) / FINE] * len(parts)
    return [int(part) / FINE for part in parts]


def _bytes(text: str) -> list[bytes | None]:
    parts = text.split(",")
    kinds = set(parts)
    if len(kinds) > len(parts) // 2:
        return [None if part == NOTHING else bytes.fromhex(part) for part in parts]
    known = {part: None if part == NOTHING else bytes.fromhex(part) for part in kinds}
    return [known[part] for part in parts]

"""
Many rows of SQLite as one.

For each row the driver gives up the interpreter's lock and waits for it again, which beside a busy reactor
takes longer than all else. So each column of many jobs comes as one text, with commas between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, cast

from txgear.broker.records import JobRecord
from txgear.stores.questions import TEXTS, Questions

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPICursor

    from txgear.stores.parts import Parts
    from txgear.stores.statements import Statements

FINE: Final = 2.0**22
"""
Times are told as whole numbers of this part of a second, as SQLite does not write each number with all its
digits. All times are such numbers, from 2004 on.
"""
NOTHING: Final = "-"
"""Stands for NULL in a column of bytes."""

NULLABLE: Final = ("digest", "life")
OWN: Final = "uniq"
"""The column of which each job has a value of its own."""
INTEGERS: Final = ("number", "place", "priority", "retries", "size", "state", "kind")
TIMES: Final = ("created", "due", "ended", "wake")

_record: Final = cast("Callable[[Iterable[Any]], JobRecord]", partial(tuple.__new__, JobRecord))
"""As JobRecord._make, without a call of Python's own for each."""


class SQLiteQuestions(Questions):
    """Questions whose answers come as one row each; row by row only where something odd is among them."""

    def __init__(self, statements: Statements) -> None:
        super().__init__(statements)
        self._names = [column.name for column in self.columns()]
        self._one_row = lru_cache(TEXTS)(self._make_one_row)
        self._decoders = [self._decoder(name) for name in self._names]

    def read(self, cursor: DBAPICursor, text: str, parameters: Sequence[Any]) -> list[JobRecord]:
        cursor.execute(self._one_row(text), parameters)
        count, odd, *columns = cursor.fetchall()[0]
        if not count:
            return []
        if not odd:
            # A column may have anything in it, if somebody has changed the file.
            with suppress(ValueError):
                pairs = zip(self._decoders, columns, strict=True)
                values = [_values(column, count, decode) for decode, column in pairs]
                return list(map(_record, zip(*values, strict=True)))
        return super().read(cursor, text, parameters)

    def hashes(self, cursor: DBAPICursor, parts: Parts, after: int, limit: int) -> list[int]:
        hashes = self._hashes_text(limit, len(parts.bounds))
        text = f"SELECT group_concat(ukey) FROM ({hashes})"  # noqa: S608 - it is our own
        cursor.execute(text, (after, *parts.bounds))
        return integers(cursor.fetchall()[0][0] or "")

    def _make_one_row(self, text: str) -> str:
        odd = " + ".join(f"({name} * {FINE} <> CAST({name} * {FINE} AS INTEGER))" for name in TIMES)
        columns = ", ".join(f"group_concat({self._encoded(name)})" for name in self._names)
        return f"SELECT count(*), sum({odd}), {columns} FROM ({text})"  # noqa: S608 - it is our own

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
    def _decoder(name: str) -> Callable[[list[str]], list[Any]]:
        if name in TIMES:
            return _times
        if name in INTEGERS:
            return _integers
        if name in NULLABLE:
            return _nullable
        return _own if name == OWN else _shared


def integers(text: str) -> list[int]:
    """Whole numbers with commas between."""
    return _integers(text.split(",")) if text else []


def _values(text: str, count: int, decode: Callable[[list[str]], list[Any]]) -> list[Any]:
    """
    The values of a column.

    @param count: how many there are.
    """
    first = text.partition(",")[0]
    if text == ",".join([first] * count):
        # In a lane most columns are so.
        return decode([first]) * count
    return decode(text.split(","))


def _integers(parts: list[str]) -> list[int]:
    return list(map(int, parts))


def _times(parts: list[str]) -> list[float]:
    return list(map((1 / FINE).__mul__, map(int, parts)))


def _own(parts: list[str]) -> list[bytes]:
    return list(map(bytes.fromhex, parts))


def _nullable(parts: list[str]) -> list[bytes | None]:
    return [None if part == NOTHING else bytes.fromhex(part) for part in parts]


def _shared(parts: list[str]) -> list[bytes]:
    known = {part: bytes.fromhex(part) for part in set(parts)}
    return [known[part] for part in parts]

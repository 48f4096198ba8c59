"""
Many rows of SQLite as one.

For each row the driver gives up the interpreter's lock and waits for it again, which beside a busy reactor
takes longer than all else. So each column of many jobs comes as one text, with commas between.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, select

from txgear.broker.keys import hash_of
from txgear.broker.records import JobRecord, record_of
from txgear.stores import schema
from txgear.stores.places import ukey_of
from txgear.stores.questions import TEXTS, Questions
from txgear.stores.sqlitekeys import BLOCK, THERE, Keys

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPICursor

    from txgear.broker.records import JobChange
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


class SQLiteQuestions(Questions):
    """Questions whose answers come as one row each; row by row only where something odd is among them."""

    ukey = schema.keys.c.ukey
    # By themselves they come as they are, and not as hexadecimal digits.
    brings_workloads = False

    def __init__(self, statements: Statements) -> None:
        super().__init__(statements)
        self._keys = Keys(statements)
        self._names = [column.name for column in self.columns()]
        self._one_row = lru_cache(TEXTS)(self._make_one_row)
        self._decoders = [self._decoder(name) for name in self._names]

    def read(
        self,
        cursor: DBAPICursor,
        text: str,
        parameters: Sequence[Any],
        workloads: dict[int, bytes] | None = None,
    ) -> list[JobRecord]:
        cursor.execute(self._one_row(text), parameters)
        count, odd, *columns = cursor.fetchall()[0]
        if not count:
            return []
        if not odd:
            # A column may have anything in it, if somebody has changed the file.
            with suppress(ValueError):
                pairs = list(zip(self._decoders, columns, strict=True))
                # Many are alike: most jobs have their numbers as their places.
                known = {pair: _values(count, *pair) for pair in dict.fromkeys(pairs)}
                values = [known[pair] for pair in pairs]
                return list(map(record_of, zip(*values, strict=True)))
        return super().read(cursor, text, parameters)

    # Keys

    @property
    def few_segments(self) -> bool:
        return False

    def forget(self) -> None:
        self._keys.forget()

    def came(self, cursor: DBAPICursor, numbers: Sequence[int], ukeys: Sequence[int | None]) -> None:
        # Before they come: what has ended by now is not put there.
        while self.place(cursor):
            pass
        if numbers:
            self._keys.came(cursor, numbers, ukeys)

    def changed(self, cursor: DBAPICursor, changes: Sequence[JobChange]) -> None:
        self._load(cursor)
        self._keys.changed(cursor, [change.number for change in changes], list(map(ukey_of, changes)))

    def gone(self, cursor: DBAPICursor, numbers: Collection[int]) -> None:
        self._keys.gone(cursor, numbers)

    def place(self, cursor: DBAPICursor, *, at_once: bool = False) -> bool:
        """As L{Keys.place}."""
        self._load(cursor)
        return self._keys.place(cursor, at_once=at_once)

    def segments(self, cursor: DBAPICursor) -> list[int]:
        self._load(cursor)
        return self._keys.segments

    def _load(self, cursor: DBAPICursor) -> None:
        if not self._keys.known:
            self._keys.load(cursor, self._find_segments(cursor))

    def named(
        self, cursor: DBAPICursor, keys: Collection[bytes | int]
    ) -> Iterator[tuple[tuple[int, ...], bool]]:
        yield from super().named(cursor, keys)
        for part in self._statements.key_lists(self._keys.later(cursor, set(map(hash_of, keys)))):
            yield part, True

    def has_key(self, keys: int) -> ColumnElement[bool]:
        there = select(schema.keys.c.number).where(self._statements.is_one_of(self.ukey, keys))
        return schema.jobs.c.number.in_(there)

    def hashes(self, cursor: DBAPICursor, parts: Parts, after: int, limit: int) -> list[int]:
        self._load(cursor)
        cursor.execute(self._hashes_text(limit, 0), (after, self._keys.placed, after))
        return integers(cursor.fetchall()[0][0] or "")

    def _make_hashes(self, limit: int, bounds: int) -> str:
        # What is in memory only has other jobs' as well.
        pages = (
            f"SELECT ukey FROM {schema.keys.name} WHERE ukey > ? AND {THERE}",  # noqa: S608
            f"SELECT {BLOCK} AS ukey FROM {schema.jobs.name} WHERE number > ? AND {BLOCK} > ?",  # noqa: S608
        )
        both = " UNION ALL ".join(f"SELECT * FROM ({page} ORDER BY 1 LIMIT {limit})" for page in pages)  # noqa: S608
        return f"SELECT group_concat(ukey) FROM ({both} ORDER BY ukey LIMIT {limit})"  # noqa: S608

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


def _values(count: int, decode: Callable[[list[str]], list[Any]], text: str) -> list[Any]:
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

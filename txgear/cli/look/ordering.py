"""
Brings rows into another order than the server has them in, in memory that is bounded: they lie in a temporary
file meanwhile.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from txgear.cli.base.statuses import FAILED, CommandError

Row = Mapping[str, Any]

_UP: Final = "SELECT row FROM listed ORDER BY key IS NULL, key, rowid"
_DOWN: Final = "SELECT row FROM listed ORDER BY key IS NULL, key DESC, rowid"


def in_order(rows: Iterable[Row], key: Callable[[Row], Any], down: bool = False) -> Iterator[Row]:
    """
    Rows in the order of a value: numbers by their size and before all text, text by its characters, rows
    without a value last in any case. Those with the same one stay in the order in which they came.

    @param key: makes the value of a row; one with parts counts as its JSON.
    @param down: whether the largest comes first.
    @raise CommandError: there is no room for the file.
    """
    # An empty name is a database of its own on the disk, which goes with the connection. What is sorted lies
    # there as well, but for a few MiB.
    database = sqlite3.connect("", isolation_level=None)
    try:
        database.execute("BEGIN")
        database.execute("CREATE TABLE listed (key, row TEXT)")
        pairs = ((_plain(key(row)), json.dumps(row)) for row in rows)
        database.executemany("INSERT INTO listed VALUES (?, ?)", pairs)
        for (row,) in database.execute(_DOWN if down else _UP):
            yield json.loads(row)
    except sqlite3.OperationalError as error:
        where = tempfile.gettempdir()
        raise CommandError(
            f"cannot sort: {error}; TMPDIR says where there is room, now {where}", FAILED
        ) from error
    finally:
        database.close()


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (int, float, str)) else json.dumps(value)

"""
A cursor of PyMySQL's that sends statements together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from txgear.stores.pymysqlconnection import PyMySQLConnection

MOST_TEXT: Final = 64 * 1024
"""
Characters that are sent at once, unless one statement alone has more: a few statements of many rows, for
which a round trip more is little. It is far below any C{max_allowed_packet}.
"""


class GatheringCursor:
    """
    A cursor for one transaction. What is to be executed waits until somebody wants to know what came of it,
    or until the COMMIT, and is then sent as one text: a round trip is as much work as a statement of a few
    rows.

    The server executes no statement after one that has failed; the error is that one's.
    """

    def __init__(self, connection: PyMySQLConnection) -> None:
        """
        @param connection: one that may send several statements as one text.
        """
        self._connection = connection
        self._cursor = connection.cursor()
        self._waiting: list[str] = []
        self._length = 0
        # Who is to hear how many rows a statement has changed, by its place among those that wait.
        self._hearers: list[tuple[int, Callable[[int], None]]] = []

    def execute(self, text: str, parameters: Sequence[Any] | None = None) -> None:
        """As in the DB API."""
        self._add(self._cursor.mogrify(text, parameters))

    def executemany(self, text: str, rows: Iterable[Sequence[Any]]) -> None:
        """As in the DB API; L{rowcount} is that of the last row."""
        for row in rows:
            self._add(self._cursor.mogrify(text, row))

    def tell(self, hearer: Callable[[int], None]) -> None:
        """
        Tell somebody how many rows the last statement has changed, when that is known. It is before the
        COMMIT.
        """
        self._hearers.append((len(self._waiting) - 1, hearer))

    def _add(self, statement: str) -> None:
        if self._length + len(statement) > MOST_TEXT:
            self._send()
        self._waiting.append(statement)
        self._length += len(statement)

    def _send(self) -> None:
        """Send what waits; afterwards the driver's cursor is at what came of the last statement."""
        waiting, hearers = self._waiting, self._hearers
        if not waiting:
            return
        self._waiting, self._length, self._hearers = [], 0, []
        cursor, counts = self._cursor, []
        try:
            cursor.execute("; ".join(waiting))
            counts.append(cursor.rowcount)
            while len(counts) < len(waiting):
                cursor.nextset()
                counts.append(cursor.rowcount)
        finally:
            # What they say to it counts more than the error of a statement that came after.
            for place, hearer in hearers:
                if place < len(counts):
                    hearer(counts[place])

    @property
    def rowcount(self) -> int:
        """As in the DB API."""
        self._send()
        return self._cursor.rowcount

    def fetchall(self) -> Sequence[tuple[Any, ...]]:
        """As in the DB API."""
        self._send()
        return self._cursor.fetchall()

    def commit(self) -> None:
        """
        Commit, and be closed. The COMMIT goes with what waits, unless somebody is to hear of that before.
        """
        if self._hearers:
            self._send()
        self._waiting.append("COMMIT")
        self._send()
        self._cursor.close()

    def close(self) -> None:
        """As in the DB API: what waits is not sent."""
        self._waiting.clear()
        self._hearers.clear()
        self._cursor.close()

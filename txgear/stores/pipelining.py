"""
A cursor of psycopg's that sends statements together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from psycopg.adapt import Transformer

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

    from txgear.stores.psycopgconnection import PsycopgConnection, Statement


class PipeliningCursor:
    """
    A cursor for one transaction. What is to be executed waits until somebody wants to know what came of it,
    and is then sent in one round trip.

    The server executes no statement after one that has failed; the error is that one's.
    """

    def __init__(self, connection: PsycopgConnection) -> None:
        self._connection = connection
        self._waiting: list[Statement] = []
        self._last: PGresult | None = None

    def execute(self, text: str, parameters: Sequence[Any] = ()) -> None:
        """As in the DB API."""
        self._waiting.append((text, parameters))

    def executemany(self, text: str, rows: Iterable[Sequence[Any]]) -> None:
        """As in the DB API; L{rowcount} is that of the last row."""
        self._waiting += [(text, row) for row in rows]

    def send(self) -> None:
        """Send what waits."""
        if waiting := self._waiting:
            self._waiting = []
            self._last = self._connection.together(waiting)[-1]

    def copy(self, text: str) -> Any:
        """As psycopg's."""
        self.send()
        return self._connection.copying.copy(text)

    @property
    def rowcount(self) -> int:
        """As in the DB API."""
        return self._result().command_tuples or 0

    def fetchall(self) -> list[tuple[Any, ...]]:
        """As in the DB API."""
        result = self._result()
        rows = Transformer(self._connection)
        rows.set_pgresult(result)
        return rows.load_rows(0, result.ntuples, tuple)

    def _result(self) -> PGresult:
        self.send()
        assert self._last is not None, "nothing was executed"
        return self._last

    def close(self) -> None:
        """As in the DB API: what waits is not sent."""
        self._waiting = []

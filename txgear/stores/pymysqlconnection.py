"""
PyMySQL's connection, with timeouts that a slow line does not run into.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import pymysql
from pymysql.constants import CR
from pymysql.converters import escape_float

from txgear.quantities import second_words
from txgear.stores.listed import Rows, Selected, Values
from txgear.stores.unsent import unsent, until_sent

SLICE: Final = 64 * 1024
"""Bytes of one write, which has the whole timeout: a line that takes them in that time is slow, not dead."""
WRITERS: Final[dict[type, Callable[[Any], str]]] = {
    int: repr,
    float: escape_float,
    bytes: lambda value: f"X'{value.hex()}'",
    type(None): lambda value: "NULL",
}
"""How values are written that are of these types and no others; the driver takes three times as long."""


class PyMySQLConnection(pymysql.connections.Connection):
    """
    A connection whose write timeout is for each L{SLICE}.

    PyMySQL gives the socket up to 16 MiB at once, and a Python socket has one deadline for all of it: a
    large workload would never arrive over a slow line. Its answer would be late as well, as long as
    most of the workload lies in the socket. Reads need no such care: each piece that comes has the
    whole timeout.

    L{Rows} and L{Values} may be parameters.

    @ivar server_version: what the database says that it is.
    """

    server_version = ""

    def escape(self, obj: Any, mapping: Any = None) -> str:
        """Write a parameter as it stands in a statement."""
        if (write := WRITERS.get(type(obj))) is not None:
            return write(obj)
        if type(obj) is Values:
            return self._list(obj.values)
        if type(obj) is Selected:
            first, *others = self._written(obj.values)
            if others and "MariaDB" in self.server_version:
                # A SELECT is as much work as the look-up of its row.
                return f"SELECT {first} AS value UNION ALL VALUES ({'), ('.join(others)})"
            return " UNION ALL SELECT ".join([f"SELECT {first} AS value", *others])
        if type(obj) is Rows:
            return f"({'), ('.join(map(self._list, obj.rows))})"
        text: str = super().escape(obj, mapping)
        return text

    def _list(self, values: Sequence[Any]) -> str:
        return ", ".join(self._written(values))

    def _written(self, values: Sequence[Any]) -> list[str]:
        try:
            return [WRITERS[type(value)](value) for value in values]
        except KeyError:
            return list(map(self.escape, values))

    def _write_bytes(self, data: bytes) -> None:
        if len(data) <= SLICE:
            super()._write_bytes(data)  # type: ignore[misc]
            return
        view = memoryview(data)
        for start in range(0, len(view), SLICE):
            super()._write_bytes(view[start : start + SLICE])  # type: ignore[misc]
        self._wait_until_sent()

    def _wait_until_sent(self) -> None:
        """
        Wait until nearly all has left the socket.

        @raise pymysql.OperationalError: nothing has left for as long as the write timeout.
        """
        stall_seconds: float = self._write_timeout  # type: ignore[attr-defined]
        descriptor: int = self._sock.fileno()  # type: ignore[attr-defined]
        if not until_sent(lambda: unsent(descriptor), SLICE, stall_seconds):
            self._force_close()  # type: ignore[attr-defined]
            problem = f"no answer within {second_words(stall_seconds)}"
            raise pymysql.OperationalError(CR.CR_SERVER_LOST, problem)

"""
A connection to MySQL that does not count a long way as silence.
"""

from __future__ import annotations

from time import monotonic, sleep
from typing import Final

import pymysql
from pymysql.constants import CR

from txgear.stores.unsent import unsent

SLICE: Final = 64 * 1024
"""Bytes that have the whole time for one write: a line that takes these in time is slow, and not dead."""
LOOK: Final = 0.02
"""Seconds between two looks at how much of a large packet has arrived."""


class PatientConnection(pymysql.connections.Connection):
    """
    PyMySQL hands up to 16 MiB to the socket at once, and Python's sockets have one deadline for all of
    that: on a slow line a large workload would never arrive. Nor would its answer be in time while
    most of it lies in the socket. Its reads have their time for each piece that comes.
    """

    def _write_bytes(self, data: bytes) -> None:
        if len(data) <= SLICE:
            super()._write_bytes(data)  # type: ignore[misc]
            return
        view = memoryview(data)
        for start in range(0, len(view), SLICE):
            super()._write_bytes(view[start : start + SLICE])  # type: ignore[misc]
        self._see_it_off()

    def _see_it_off(self) -> None:
        """Wait until nearly all has left, as long as that gets on."""
        patience: float = self._write_timeout  # type: ignore[attr-defined]
        descriptor: int = self._sock.fileno()  # type: ignore[attr-defined]
        left, since = unsent(descriptor), monotonic()
        while left > SLICE:
            sleep(LOOK)
            now_left = unsent(descriptor)
            if now_left < left:
                left, since = now_left, monotonic()
            elif monotonic() - since > patience:
                self._force_close()  # type: ignore[attr-defined]
                raise pymysql.OperationalError(CR.CR_SERVER_LOST, f"no answer within {patience:g} seconds")

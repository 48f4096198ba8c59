"""
TCP connections as the system sees them: round trips, and acknowledgements that are sent at once.

L{txgear.broker.quickacks} says which connections those are.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from txgear.broker.quickacks import QuickAcks, Tally

AVAILABLE: Final = hasattr(socket, "TCP_QUICKACK")
"""Whether this is Linux. Elsewhere nothing sends an acknowledgement at once."""

_QUICKACK: Final = getattr(socket, "TCP_QUICKACK", 0)
_INFO: Final = struct.Struct("=52xI12xI76xI")
"""
Of Linux's C{struct tcp_info}: milliseconds since the last data came (C{tcpi_last_data_recv}), and
microseconds of a round trip, smoothed (C{tcpi_rtt}) and the shortest (C{tcpi_min_rtt}).
"""


class TcpLink:
    """
    One TCP connection, under TLS or not.

    @ivar acks: whether it is acknowledged at once.
    """

    __slots__ = ("_socket", "acks")

    def __init__(self, sock: socket.socket, tally: Tally) -> None:
        self._socket = sock
        self.acks = QuickAcks(tally)

    @classmethod
    def over(cls, sock: socket.socket | None, tally: Tally) -> TcpLink | None:
        """
        @param sock: a connection's socket, if it has one.
        @return: C{None} if it is no TCP connection, or this is not Linux.
        """
        if not AVAILABLE or sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        return cls(sock, tally)

    def came_late(self, gap: float) -> bool:
        """
        Note a packet that was read some time after one that was not answered.

        @param gap: that time, in seconds.
        @return: whether the connection is marked now.
        """
        waited, round_trip = self._look()
        # The time for which it has lain here unread is our own delay, not the peer's.
        self.acks.came(gap - waited, round_trip)
        return self.acks.marked

    def unanswered(self) -> bool:
        """
        Acknowledge what was read of a marked peer and is not answered, if that is wanted.

        @return: whether the connection is still marked.
        """
        if self.acks.unanswered() and self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        return self.acks.marked

    def round_trip(self) -> float:
        """Seconds to the peer and back, the shortest of the last minutes."""
        return self._look()[1]

    def heard(self) -> float:
        """Seconds since the last bytes came, or the peer, as the system knows it."""
        return self._look()[0]

    def _look(self) -> tuple[float, float]:
        """
        @return: seconds since the last data came, and of a round trip. The smoothed time has in it how
            long the peer waits with its own acknowledgements, so the shortest counts; kernels before 4.6
            do not know that.
        """
        if self._socket.fileno() < 0:
            # It has just been closed. What lay in the TLS layer comes after that.
            return 0.0, 0.0
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
        waited, smoothed, shortest = _INFO.unpack(info.ljust(_INFO.size, b"\xff"))
        return waited / 1e3, min(smoothed, shortest) / 1e6

"""
When one end of a connection to a database takes the other one for gone.

A machine that is cut off, or loses its power, says nothing of that: by Linux's defaults the other end
believes in the connection for two hours. To a database that is a transaction that goes on, and its rows stay
locked.
"""

from __future__ import annotations

import socket
from math import ceil
from typing import Final, NamedTuple

from txgear.stores.tenure import BEAT_SECONDS, LENGTH

PROBES: Final = 4
"""How many have to get lost, one after the other."""


class Probes(NamedTuple):
    """
    The probes of TCP (SO_KEEPALIVE). The system of the other end answers them, also where its program says
    nothing for long, and over a slow line.

    @ivar idle: seconds without a byte before the first one.
    @ivar interval: seconds between two.
    @ivar number: how many that are not answered end the connection.
    """

    idle: int
    interval: int
    number: int

    @property
    def seconds(self) -> int:
        """After how many without a byte the other end is gone."""
        return self.idle + self.interval * self.number

    def apply(self, sock: socket.socket) -> None:
        """Ask for them on a socket, as far as the system has that."""
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", self.idle),
            ("TCP_KEEPINTVL", self.interval),
            ("TCP_KEEPCNT", self.number),
        ):
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def probes_for(patience: float) -> Probes:
    """
    The probes of a connection; 12 seconds by default.

    They end none that our server would still use: it has something to say at each beat, and gives the
    connection up where no answer comes to that. And where it is gone, others who wait for what it has locked
    need not wait much longer than for its lease.

    @param patience: seconds for which our server waits for the next byte of an answer.
    """
    interval = ceil(max(LENGTH, BEAT_SECONDS + patience) / PROBES)
    return Probes(2 * interval, interval, PROBES)

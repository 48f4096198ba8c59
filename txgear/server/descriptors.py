"""
The last descriptors of the process: when they run out, an operator still gets in, and the log is not flooded.

A system gives the lowest number that is free, so the number of a new connection tells how many are left.
The last ones are for text commands only. When nearly all are taken, new connections are closed. Otherwise
the reactor would meet the end of descriptors itself, and log three lines for each connection.
"""

from __future__ import annotations

import resource
from math import inf
from typing import Any, Final

from twisted.internet.error import ConnectionAborted
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

FOR_OPERATORS: Final = 16
"""Descriptors that are kept for text commands."""
FOR_OURSELVES: Final = 8
"""Descriptors that no connection gets, as the store and the log open files now and then."""
SPOKEN_SECONDS: Final = 5.0
"""Seconds that a connection with one of the last descriptors may take until its first text command."""


class Descriptors:
    """
    Where the last descriptors begin.

    @ivar text_only: connections from this number on are for text commands.
    @ivar refused: connections from this number on are closed.
    """

    def __init__(self, limit: float = inf) -> None:
        """
        @param limit: how many the process may have; infinite for no bound.
        """
        self.refused = limit - FOR_OURSELVES
        self.text_only = self.refused - FOR_OPERATORS


def soft_limit() -> float:
    """How many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return inf if soft == resource.RLIM_INFINITY else soft


def close_now(transport: Any) -> None:
    """End a connection that has just been made; a plain one at once, before another is accepted."""
    if isinstance(transport, Connection) and not transport.TLS:
        transport.connectionLost(Failure(ConnectionAborted()))
    else:
        transport.abortConnection()

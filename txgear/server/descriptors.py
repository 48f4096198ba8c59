"""
The last descriptors: when they run out, an operator still gets in, and the log does not overflow.

A system gives the lowest number that is free, so the number of a new connection tells how many are left. The
last ones are for text commands only. When nearly all are taken, new connections are closed
before the reactor meets that itself: it says three lines for each.
"""

from __future__ import annotations

import resource
from math import inf
from typing import Any, Final

from twisted.internet.error import ConnectionAborted
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

FOR_OPERATORS: Final = 16
"""Descriptors that are kept for those who give text commands."""
FOR_OURSELVES: Final = 8
"""Descriptors that no connection gets: the store and the log open files now and then."""
SPOKEN_SECONDS: Final = 5.0
"""How long somebody may take who has one of the last descriptors until the first text command."""


class Descriptors:
    """
    From which number on they are the last.

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
    """End a connection that has just been made: a plain one before another is."""
    if isinstance(transport, Connection) and not transport.TLS:
        transport.connectionLost(Failure(ConnectionAborted()))
    else:
        transport.abortConnection()

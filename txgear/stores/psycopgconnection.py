"""
A connection to PostgreSQL that does not wait for ever.
"""

from __future__ import annotations

import select
from time import monotonic
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.waiting import Ready, Wait

RV = TypeVar("RV")

MASKS: Final = {Wait.R: select.POLLIN, Wait.W: select.POLLOUT, Wait.RW: select.POLLIN | select.POLLOUT}


class BoundedConnection(psycopg.Connection[Any]):
    """
    PostgreSQL's own timeouts are no use when it has stopped, and TCP's are none when its system
    goes on without it: a statement that takes too long is given up here, with the connection.

    @ivar patience: seconds that each statement has.
    """

    patience = 5.0

    def wait(self, gen: PQGen[RV], *args: Any, **kwargs: Any) -> RV:
        """
        Through this comes all that talks to the server: run what yields the events that it waits for.
        """
        deadline = monotonic() + self.patience
        poll = select.poll()
        try:
            wanted = next(gen)
            while True:
                poll.register(self.pgconn.socket, MASKS[wanted])
                events = poll.poll(max(0.0, deadline - monotonic()) * 1000)
                if not events:
                    self.close()
                    raise psycopg.OperationalError(f"no answer within {self.patience:g} seconds")
                wanted = gen.send(_ready(events[0][1]))
        except StopIteration as end:
            result: RV = end.value
            return result


def _ready(events: int) -> Ready:
    """What psycopg may do now; what is wrong with a socket it finds out by reading."""
    if not events & select.POLLOUT:
        return Ready.R
    return Ready.RW if events & ~select.POLLOUT else Ready.W

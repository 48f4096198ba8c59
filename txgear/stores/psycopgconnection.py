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

from txgear.stores.unsent import unsent

RV = TypeVar("RV")

LOOK: Final = 0.1
"""Seconds between two looks at how much of what was sent has arrived."""

MASKS: Final = {Wait.R: select.POLLIN, Wait.W: select.POLLOUT, Wait.RW: select.POLLIN | select.POLLOUT}


class BoundedConnection(psycopg.Connection[Any]):
    """
    PostgreSQL's own timeouts are no use when it has stopped, and TCP's are none when its system
    goes on without it: a statement that does not get on is given up here, with the connection. One that
    does has its time, as a large workload takes long on a slow line.

    @ivar patience: seconds without a byte that comes or leaves.
    """

    patience = 5.0

    def wait(self, gen: PQGen[RV], *args: Any, **kwargs: Any) -> RV:
        """
        Through this comes all that talks to the server: run what yields the events that it waits for.
        """
        poll = select.poll()
        try:
            wanted = next(gen)
            while True:
                socket = self.pgconn.socket
                poll.register(socket, MASKS[wanted])
                left, since = unsent(socket), monotonic()
                while not (events := poll.poll(LOOK * 1000)):
                    before, left = left, unsent(socket)
                    if left < before:
                        since = monotonic()
                    elif monotonic() - since >= self.patience:
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

"""
psycopg's connection, with a timeout of its own.
"""

from __future__ import annotations

import logging
import select
from contextlib import suppress
from time import monotonic
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq.abc import PGconn
from psycopg.waiting import Ready, Wait

from txgear.stores.unsent import unsent

RV = TypeVar("RV")

LOOK_SECONDS: Final = 0.1
"""Seconds between two looks at how much has left the socket."""

# A lost connection is an error already. Without this psycopg's warning of it goes to the standard error.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

MASKS: Final = {Wait.R: select.POLLIN, Wait.W: select.POLLOUT, Wait.RW: select.POLLIN | select.POLLOUT}


class PsycopgConnection(psycopg.Connection[Any]):
    """
    A connection that gives a statement up, and itself, when no byte comes or leaves for too long.

    PostgreSQL's own timeouts do not help when it has stopped, and TCP's do not when its machine goes on
    without it. A statement that makes progress is not given up: a large workload takes long on a slow
    line.

    @ivar stall_timeout: seconds for which no byte may come or leave.
    """

    stall_timeout = 5.0

    def __init__(self, pgconn: PGconn) -> None:
        super().__init__(pgconn)
        self._warning = ""
        self.add_notice_handler(self._noticed)

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warning = notice.message_primary or "warning"

    def commit(self) -> None:
        """
        Commit.

        @raise psycopg.OperationalError: a COMMIT that waited for a standby was cancelled. PostgreSQL says so
            by a mere warning, in its administrator's language: what was committed is on the primary, and
            nobody knows whether it is anywhere else. No other warning comes from a COMMIT.
        """
        self._warning = ""
        super().commit()
        if self._warning:
            self.close()
            raise psycopg.OperationalError(self._warning)

    def wait(self, gen: PQGen[RV], *args: Any, **kwargs: Any) -> RV:
        """
        Run a generator of psycopg's, which yields the events that it waits for; all that talks to the
        server comes through here.

        @raise psycopg.OperationalError: the server has stalled.
        """
        poll = select.poll()
        try:
            wanted = next(gen)
            while True:
                socket = self.pgconn.socket
                poll.register(socket, MASKS[wanted])
                waiting, since = unsent(socket), monotonic()
                while not (events := poll.poll(LOOK_SECONDS * 1000)):
                    before, waiting = waiting, unsent(socket)
                    if waiting < before:
                        since = monotonic()
                    elif monotonic() - since >= self.stall_timeout:
                        self.close()
                        raise psycopg.OperationalError(f"no answer within {self.stall_timeout:g} seconds")
                wanted = gen.send(_ready(events[0][1]))
        except StopIteration as end:
            result: RV = end.value
            return result
        finally:
            # Of a connection that is lost it has more to say: left to the collector, that goes to the log.
            with suppress(psycopg.Error):
                gen.close()


def _ready(events: int) -> Ready:
    """What psycopg may do now; it finds an error of the socket by reading."""
    if not events & select.POLLOUT:
        return Ready.R
    return Ready.RW if events & ~select.POLLOUT else Ready.W

"""
psycopg's connection, with a timeout of its own.
"""

from __future__ import annotations

import logging
import select
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from time import monotonic
from typing import Any, Final, TypeAlias, TypeVar

import psycopg
from psycopg import generators
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.types.string import BytesBinaryDumper
from psycopg.waiting import Ready, Wait

from txgear.quantities import second_words
from txgear.stores.unsent import unsent

RV = TypeVar("RV")

Statement: TypeAlias = tuple[str, Sequence[Any]]
"""A text with C{%s} in it, and what stands for these: numbers, texts, bytes or nothing."""

TEXTS: Final = 256
"""Texts that are remembered as libpq takes them."""
MOST_PREPARED: Final = 100
"""Statements that the server keeps prepared."""

BEGIN: Final = b"BEGIN ISOLATION LEVEL READ COMMITTED"

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
    @ivar copying: a cursor for COPY, which goes by itself; to make one costs nearly as much as a round trip.
    """

    stall_timeout = 5.0

    def __init__(self, pgconn: PGconn) -> None:
        super().__init__(pgconn)
        # For a bytea COPY would take what psycopg registers last, which is C{psycopg.Binary}'s and no C.
        self.adapters.register_dumper(bytes, BytesBinaryDumper)
        self.copying = self.cursor()
        self._names: dict[bytes, bytes] = {}
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

    def together(self, statements: Sequence[Statement]) -> list[PGresult]:
        """
        Execute statements in one round trip, in a transaction, which begins with the first of them.

        psycopg has pipelines, too. It waits for the socket at each statement of one: that takes twice the
        time of as many round trips.

        @return: what came of each; values are binary.
        @raise psycopg.Error: one has failed, and none after it is executed.
        """
        with self.lock:
            return self.wait(self._together(statements))

    def _together(self, statements: Sequence[Statement]) -> PQGen[list[PGresult]]:
        pgconn, names = self.pgconn, dict(self._names)
        # Of all that is sent: which are the statements, and what else is prepared for which text.
        places: list[int] = []
        prepared: dict[int, bytes] = {}
        sent = 0
        begins = pgconn.transaction_status == TransactionStatus.IDLE
        pgconn.enter_pipeline_mode()
        if begins:
            pgconn.send_query_params(BEGIN, None)
            sent += 1
        for text, parameters in statements:
            query = _numbered(text)
            values, formats = self._values(parameters)
            name = names.get(query)
            if name is None and self.prepare_threshold is not None and len(names) < MOST_PREPARED:
                name = names[query] = b"txgear_%d" % len(names)
                pgconn.send_prepare(name, query)
                prepared[sent] = query
                sent += 1
            if name is None:
                pgconn.send_query_params(query, values, None, formats, Format.BINARY)
            else:
                pgconn.send_query_prepared(name, values, formats, Format.BINARY)
            places.append(sent)
            sent += 1
        pgconn.pipeline_sync()
        yield from generators.send(pgconn)
        results: list[PGresult] = []
        for _ in range(sent):
            # None comes from a connection that is lost.
            results += yield from generators.fetch_many(pgconn)
        if pgconn.status == ConnStatus.OK:
            yield from generators.fetch_many(pgconn)
            pgconn.exit_pipeline_mode()
        for place, result in enumerate(results):
            if result.status == ExecStatus.FATAL_ERROR:
                raise error_from_result(result, self.info.encoding)
            if query := prepared.get(place, b""):
                # It stays so when the transaction is rolled back.
                self._names[query] = names[query]
        if len(results) < sent:
            raise psycopg.OperationalError("the connection is lost")
        return [results[place] for place in places]

    def _values(self, parameters: Sequence[Any]) -> tuple[list[bytes | None], list[Format]]:
        """Parameters as libpq takes them, and whether each is binary. The server knows their types."""
        values: list[bytes | None] = []
        formats = []
        for value in parameters:
            is_binary = isinstance(value, bytes)
            if value is not None and not is_binary:
                value = str(value).encode(self.info.encoding if isinstance(value, str) else "ascii")
            values.append(value)
            formats.append(Format.BINARY if is_binary else Format.TEXT)
        return values, formats

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
                # Nearly always it comes before anybody has to look at how much has left.
                events = poll.poll(LOOK_SECONDS * 1000) or self._wait_long(poll)
                wanted = gen.send(_ready(events[0][1]))
        except StopIteration as end:
            result: RV = end.value
            return result
        finally:
            # Of a connection that is lost it has more to say: left to the collector, that goes to the log.
            with suppress(psycopg.Error):
                gen.close()

    def _wait_long(self, poll: select.poll) -> list[tuple[int, int]]:
        socket = self.pgconn.socket
        waiting, since = unsent(socket), monotonic() - LOOK_SECONDS
        while not (events := poll.poll(LOOK_SECONDS * 1000)):
            before, waiting = waiting, unsent(socket)
            if waiting < before:
                since = monotonic()
            elif monotonic() - since >= self.stall_timeout:
                self.close()
                raise psycopg.OperationalError(f"no answer within {second_words(self.stall_timeout)}")
        return events


@lru_cache(TEXTS)
def _numbered(text: str) -> bytes:
    """A text as libpq takes it, with the numbers of its parameters."""
    first, *rest = text.split("%s")
    return "".join([first, *(f"${place}{part}" for place, part in enumerate(rest, 1))]).encode()


def _ready(events: int) -> Ready:
    """What psycopg may do now; it finds an error of the socket by reading."""
    if not events & select.POLLOUT:
        return Ready.R
    return Ready.RW if events & ~select.POLLOUT else Ready.W

"""
For leases: a database with one table, in which time passes, connections are cut, answers come late or never,
and from which a failover takes what it had confirmed; and servers that use it.

Time is that of an L{Agenda}: whoever waits for the database lets it pass. A transaction has its effect at one
moment, as the lock of the row, or the certification of a cluster, sees to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from random import Random
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from txgear.errors import StoreError, StoreTaken, StoreUnavailable
from txgear.stores.leases import Lease, Times
from txgear.stores.schema import leases
from txgear.stores.tenure import LENGTH, NOBODY, Session
from txgear.test.support.clock import Agenda

FAULTS: Final = ("lost before", "lost after", "late")
"""
What may become of a change: it is not done, or is done, and nobody hears of that; or it is done a while after
its server has been told that the connection is lost.
"""
LATE: Final = 3.0
"""Seconds by which a change is late."""


class Broken(AssertionError):
    """What must never happen has happened."""


class Snapshot(NamedTuple):
    """
    What a database is like.

    @ivar row: of the lease, C{None} if there is none.
    @ivar owner: the server that has taken it last.
    """

    row: tuple[Any, ...] | None
    owner: FakeServer | None


class FakeDatabase(Agenda):
    """
    @ivar latency: seconds that each statement takes.
    @ivar faults: what becomes of the next changes.
    @ivar owner: the server that has taken the lease last, and has not let go of it.
    @ivar changed_at: when the row has changed last.
    @ivar past: what it was like after each change.
    @ivar generation: how many failovers there were.
    @ivar chance: what is left to chance at its servers: each time the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.latency = 0.0
        self.faults: list[str] = []
        self.owner: FakeServer | None = None
        self.changed_at = 0.0
        self.generation = 0
        self.chance = Random(0)
        self.writes: list[FakeServer] = []
        self._numbers = count(1)
        self._file = sqlite3.connect(":memory:", isolation_level=None)
        self._file.execute(str(CreateTable(leases).compile(dialect=sqlite.dialect())))
        self.sessions: dict[int, FakeConnection] = {}
        self.past = [self.snapshot()]

    def close(self) -> None:
        self._file.close()

    # What it has

    @property
    def row(self) -> tuple[Any, ...] | None:
        """Of the lease: owner, term, beat, name and session."""
        found = self._file.execute("SELECT owner, term, beat, name, session FROM txgear_leases").fetchall()
        return found[0] if found else None

    def snapshot(self) -> Snapshot:
        return Snapshot(self.row, self.owner)

    def restore(self, snapshot: Snapshot) -> None:
        self._file.execute("DELETE FROM txgear_leases")
        if snapshot.row is not None:
            self._file.execute(
                "INSERT INTO txgear_leases (part, owner, term, beat, name, session, server)"
                " VALUES (1, ?, ?, ?, ?, ?, x'')",
                snapshot.row,
            )
        self.owner = snapshot.owner

    def fail_over(self, steps: int) -> None:
        """Be as it was so many changes ago; nobody is connected any more."""
        steps = min(steps, len(self.past) - 1)
        if steps:
            del self.past[-steps:]
        self.restore(self.past[-1])
        self.generation += 1
        self.changed_at = self.now
        self.sessions.clear()

    def connect(self) -> FakeConnection:
        connection = FakeConnection(self, next(self._numbers))
        self.sessions[connection.number] = connection
        return connection

    def name_of(self, number: int) -> str:
        return f"database {self.generation}/{number}"

    def execute(self, server: FakeServer, text: str, parameters: tuple[Any, ...]) -> sqlite3.Cursor:
        """Carry a statement out, and see that it is one that this server may do now."""
        before = self.row
        cursor = self._file.execute(text, parameters)
        after = self.row
        if cursor.description is None and after != before:
            self._check(server, before, after)
        return cursor

    def _check(
        self, server: FakeServer, before: tuple[Any, ...] | None, after: tuple[Any, ...] | None
    ) -> None:
        assert after is not None
        if before is None or after[0] == NOBODY:
            self.owner = None
        elif after[0] == before[0] and after[1] == before[1]:
            if server is not self.owner:
                raise Broken(f"{server.name} beats in the lease of {self.owner}")
        else:
            session = before[4]
            lives = any(self.name_of(number) == session for number in self.sessions)
            stood = self.now - self.changed_at
            if before[0] != NOBODY and lives and not server.comes_back and stood < LENGTH:
                raise Broken(f"{server.name} has taken a lease that moved {stood:g} seconds ago")
            self.owner = server
        self.changed_at = self.now
        self.past.append(self.snapshot())

    def committed(self, server: FakeServer) -> None:
        """A server has written something of jobs."""
        if server is not self.owner:
            raise Broken(f"{server.name} has written, and the lease is {self.owner and self.owner.name}'s")
        self.writes.append(server)


class FakeConnection:
    """One connection; it has one cursor, which is itself."""

    def __init__(self, database: FakeDatabase, number: int) -> None:
        self.database = database
        self.number = number
        self.server: FakeServer | None = None
        self.in_transaction = False
        self.rowcount = -1
        self._rows: list[Any] = []
        self._undo: tuple[Snapshot, float, int] | None = None
        self._change: tuple[str, tuple[Any, ...]] | None = None

    def begin(self) -> None:
        """What comes is a transaction."""
        self.in_transaction = True
        self._undo = self._change = None

    def check(self) -> None:
        if self.database.sessions.get(self.number) is not self:
            raise sqlite3.OperationalError("the connection is lost")

    def execute(self, text: str, parameters: tuple[Any, ...]) -> None:
        database, server = self.database, self.server
        assert server is not None
        database.spend(database.latency / 2)
        self.check()
        changes = not text.startswith("SELECT")
        if self.in_transaction and changes and self._undo is None:
            # Nothing happens between this and the commit: the row is locked.
            self._undo = database.snapshot(), database.changed_at, len(database.past)
            self._change = text, parameters
        fault = database.faults.pop(0) if changes and not self.in_transaction and database.faults else ""
        if fault == "lost before":
            self.lose()
        elif fault == "late":
            database.later(LATE, lambda: self._late(text, parameters, writes=False))
            self.lose()
        cursor = database.execute(server, text, parameters)
        self.rowcount, self._rows = cursor.rowcount, cursor.fetchall()
        if fault == "lost after":
            self.lose()
        if not self.in_transaction:
            database.spend(database.latency / 2)
            self.check()

    def fetchall(self) -> list[Any]:
        return self._rows

    def close(self) -> None:
        """Nothing."""

    def commit(self) -> None:
        database, server = self.database, self.server
        assert server is not None
        fault = database.faults.pop(0) if database.faults else ""
        if fault in ("lost before", "late"):
            self._roll_back()
            if fault == "late" and self._change is not None:
                text, parameters = self._change
                database.later(LATE, lambda: self._late(text, parameters, writes=True))
            self.lose()
        database.committed(server)
        if fault:
            self.lose()
        database.spend(database.latency)
        self.check()

    def _roll_back(self) -> None:
        if self._undo is not None:
            snapshot, changed_at, length = self._undo
            self.database.restore(snapshot)
            self.database.changed_at = changed_at
            del self.database.past[length:]

    def _late(self, text: str, parameters: tuple[Any, ...], *, writes: bool) -> None:
        """What was under way when the connection was lost has its effect, if nobody was quicker."""
        assert self.server is not None
        with suppress(sqlite3.IntegrityError):
            if self.database.execute(self.server, text, parameters).rowcount == 1 and writes:
                self.database.committed(self.server)

    def lose(self) -> None:
        """The connection is no more."""
        self.database.sessions.pop(self.number, None)
        raise sqlite3.OperationalError("the connection is lost")


class FakeDialect:
    """What L{Lease} wants of a dialect."""

    name = "fake:"
    driver_module = sqlite3
    waits_for = ""

    def __init__(self, database: FakeDatabase, server: FakeServer) -> None:
        self._database = database
        self._server = server
        self.statements = SimpleNamespace(
            text=lambda clause: str(clause.compile(dialect=sqlite.dialect(paramstyle="qmark")))
        )

    @contextmanager
    def autocommit(self, driver: FakeConnection) -> Iterator[None]:
        yield

    def cursor(self, driver: FakeConnection) -> FakeConnection:
        driver.server = self._server
        return driver

    def execute_first(
        self,
        driver: FakeConnection,
        cursor: FakeConnection,
        text: str,
        parameters: tuple[Any, ...],
        hearer: Callable[[int], None],
    ) -> None:
        cursor.execute(text, parameters)
        hearer(cursor.rowcount)

    def session(self, driver: FakeConnection, cursor: FakeConnection) -> str:
        return self._database.name_of(driver.number)

    def look_at(self, cursor: FakeConnection, session: str) -> Session:
        database = self._database
        place, _, number = session.rpartition("/")
        if place != f"database {database.generation}":
            return Session.UNKNOWN
        return Session.WAITING if int(number) in database.sessions else Session.GONE

    def end_session(self, cursor: FakeConnection, session: str) -> None:
        if self.look_at(cursor, session) is Session.WAITING:
            del self._database.sessions[int(session.rpartition("/")[2])]

    def is_locked(self, error: BaseException) -> bool:
        return False

    def message(self, error: BaseException) -> str:
        return str(error)


class FakeServer:
    """
    A server that writes.

    @ivar name: who it is.
    @ivar runs: whether it has the lease, as far as it knows.
    @ivar comes_back: whether it had it before, and takes it again.
    @ivar ended: why it does not run any more.
    """

    def __init__(self, database: FakeDatabase, name: str) -> None:
        self.name = name
        self.runs = self.comes_back = False
        self.ended: StoreError | None = None
        self.lease: Lease
        self._database = database
        self._connection: FakeConnection | None = None
        self._busy = False

    def _act(self, act: Callable[[], None]) -> None:
        """It does one thing after the other."""
        if self._busy:
            return
        self._busy = True
        try:
            act()
        finally:
            self._busy = False

    def start(self) -> None:
        """Start it, unless it runs."""
        self._act(self._start)

    def _start(self) -> None:
        if self.runs:
            return
        database = self._database
        dialect: Any = FakeDialect(database, self)
        # Clocks are not compared: each has its own.
        offset = float(sum(map(ord, self.name)))
        self.lease = Lease(
            dialect,
            times=Times(
                lambda: database.now + offset, lambda: database.now - offset, database.spend, database.chance
            ),
        )
        self.ended = None
        self._open()
        self.comes_back = self.runs

    def _open(self) -> None:
        """Connect, as often as it takes."""
        for _ in range(5):
            self._connection = self._database.connect()
            try:
                self.lease.take(self._connection)  # type: ignore[arg-type]
            except (StoreUnavailable, sqlite3.Error) as error:
                self.ended = StoreUnavailable(str(error))
                self._disconnect()
            except StoreError as error:
                self._end(error)
                return
            else:
                self.runs, self.ended = True, None
                return
        # A server that cannot start ends; one that runs tries again later.
        if not self.comes_back:
            self._end(self.ended)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._database.sessions.pop(self._connection.number, None)
        self._connection = None

    def _end(self, error: StoreError | None) -> None:
        self._disconnect()
        self.runs = self.comes_back = False
        self.ended = error

    def write(self) -> None:
        """Write something of jobs, if it runs; where it has lost its connection, it connects first."""
        self._act(self._write)

    def _write(self) -> None:
        if not self.runs:
            return
        if self._connection is None:
            self._open()
            return
        connection = self._connection
        connection.server = self
        try:
            connection.begin()
            self.lease.fence(connection, connection)  # type: ignore[arg-type]
            connection.commit()
            self.lease.committed()
        except StoreTaken as error:
            self._end(error)
        except (StoreUnavailable, sqlite3.Error):
            self._disconnect()
        finally:
            connection.in_transaction = False

    def close(self) -> None:
        """End it in order."""
        self._act(self._close)

    def _close(self) -> None:
        if self.runs and (connection := self._connection) is not None:
            connection.server = self
            connection.begin()
            try:
                self.lease.fence(connection, connection)  # type: ignore[arg-type]
                self.lease.let_go(connection)  # type: ignore[arg-type]
            except (StoreError, sqlite3.Error):
                # The next server has to wait.
                self._disconnect()
        self._end(None)

    def kill(self) -> None:
        """It is no more."""
        self._act(lambda: self._end(None))

    def cut(self) -> None:
        """Its connection is lost, and it does not know that yet."""
        if self._connection is not None:
            self._database.sessions.pop(self._connection.number, None)

    def __repr__(self) -> str:
        return self.name

"""
For stores that several servers have at once: a database in memory, with all tables, in which time passes,
connections are cut, answers come late or never, and from which a failover takes what it had confirmed.

Each connection has a copy of the tables, which follows the commits. What it changes is noted by row, and
comes to the others with its COMMIT. Two kinds of databases are so: one that locks each row that is changed
and shows each statement what is committed by then, as PostgreSQL; and one that shows a transaction what was
there when it began, and lets the first COMMIT win, as Galera does from node to node. Nothing else keeps two
transactions apart, in neither kind.

Time is that of an L{Agenda}: what others do happens in the middle of what one does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from functools import cache
from itertools import count
from random import Random
from typing import Any, ClassVar, Final, NamedTuple

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.pool import StaticPool

from txgear.broker.records import StoreReport
from txgear.stores import migrations
from txgear.stores.dialects import StoreDialect
from txgear.stores.hosts import Host
from txgear.stores.questions import Questions
from txgear.stores.schema import REVISIONS, TABLES
from txgear.stores.serverdialect import ServerDialect
from txgear.stores.statements import Statements, primary_key
from txgear.stores.tenure import Session
from txgear.stores.verdicts import Verdict
from txgear.test.support.clock import Agenda

FAULTS: Final = ("lost before", "lost after", "late", "not known before", "not known after", "conflict")
"""
What may become of a change, of a statement by itself or of a COMMIT: it is not done, or is done, and the
connection is lost; or it is done a while after that; or nobody says whether it is done, and the connection
lives; or another transaction came first.
"""
LATE: Final = 3.0
"""Seconds by which a change is late."""
LOCK_SECONDS: Final = 3.0
"""Seconds for which a statement waits for a row that is locked."""

KEYS: Final = {table.name: primary_key(table).name for table in TABLES}


class LostConnection(sqlite3.OperationalError):
    """The connection is no more."""


class NotKnown(sqlite3.OperationalError):
    """Nobody knows whether it is done, and the connection lives."""


class Conflict(sqlite3.OperationalError):
    """Another transaction came first."""


class Locked(sqlite3.OperationalError):
    """Somebody else keeps the row locked."""


class Change(NamedTuple):
    """
    A row that a transaction has changed.

    @ivar before: C{None} if it was not there.
    @ivar after: C{None} if it is no more.
    """

    table: str
    key: Any
    before: tuple[Any, ...] | None
    after: tuple[Any, ...] | None

    @property
    def place(self) -> tuple[str, Any]:
        return self[:2]


@cache
def columns(name: str) -> list[str]:
    """A table's columns, in the order of its rows."""
    return [column for _, column, *_ in _tables().execute(f"PRAGMA table_info({name})")]


@cache
def _tables() -> sqlite3.Connection:
    """All tables as a new store has them, which note by themselves the keys of what is changed."""
    file = sqlite3.connect(":memory:", isolation_level=None)
    engine = create_engine("sqlite://", creator=lambda: file, poolclass=StaticPool)
    with engine.connect() as connection:
        migrations.upgrade(connection)
        connection.commit()
    file.execute("CREATE TABLE changed (name, key, PRIMARY KEY (name, key))")
    for name, key in KEYS.items():
        for event_, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("UPDATE", "OLD"), ("DELETE", "OLD")):
            file.execute(
                f"CREATE TRIGGER {name}_{event_}_{row} AFTER {event_} ON {name}"  # noqa: S608
                f" BEGIN INSERT OR REPLACE INTO changed VALUES ('{name}', {row}.{key}); END"
            )
    return file


def _copy(file: sqlite3.Connection) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", isolation_level=None)
    file.backup(copy)
    return copy


def _row(file: sqlite3.Connection, name: str, key: Any) -> tuple[Any, ...] | None:
    found: tuple[Any, ...] | None = file.execute(
        f"SELECT * FROM {name} WHERE {KEYS[name]} = ?",  # noqa: S608
        (key,),
    ).fetchone()
    return found


def _put(file: sqlite3.Connection, name: str, key: Any, row: tuple[Any, ...] | None) -> None:
    file.execute(f"DELETE FROM {name} WHERE {KEYS[name]} = ?", (key,))  # noqa: S608
    if row is not None:
        file.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608


class SharedDatabase(Agenda):
    """
    @ivar locks: whether it is of the kind that locks rows.
    @ivar latency: seconds that each statement takes.
    @ivar faults: what becomes of the next changes; empty ones are carried out.
    @ivar generation: how many failovers there were.
    @ivar sessions: the connections that it knows of, by their numbers.
    @ivar log: the changes of each commit.
    @ivar file: all tables, as they were committed.
    @ivar chance: what is left to chance at its servers: each time the same.
    """

    def __init__(self, *, locks: bool, check: Callable[[Any, Sequence[Change]], None]) -> None:
        """
        @param check: called before each commit with whose it is, and what it changes.
        """
        super().__init__()
        self.locks = locks
        self.latency = 0.0
        self.faults: list[str] = []
        self.generation = 0
        self.chance = Random(0)
        self.sessions: dict[int, FakeSession] = {}
        self.log: list[list[Change]] = []
        self.file = _copy(_tables())
        self.file.execute("UPDATE txgear_numbers SET filled = NULL")
        self.locked: dict[tuple[str, Any], FakeSession] = {}
        self._check = check
        # The last commit that has changed a row.
        self._newest: dict[tuple[str, Any], int] = {}
        self._numbers = count(1)

    def close(self) -> None:
        for session in list(self.sessions.values()):
            session.vanish()
        self.file.close()

    def ask(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What was committed."""
        return self.file.execute(text, parameters).fetchall()

    def connect(self, server: Any) -> FakeSession:
        """
        @param server: whose connection it is.
        """
        session = FakeSession(self, next(self._numbers), server)
        self.sessions[session.number] = session
        return session

    def next_fault(self) -> str:
        return self.faults.pop(0) if self.faults else ""

    def is_newer(self, place: tuple[str, Any], version: int) -> bool:
        """Whether a row was changed since a version."""
        return self._newest.get(place, 0) > version

    def commit(self, server: Any, rows: dict[tuple[str, Any], tuple[Any, ...] | None]) -> None:
        """Somebody's changes are done: see that they may be."""
        changes = [
            Change(name, key, _row(self.file, name, key), after) for (name, key), after in rows.items()
        ]
        changes = [change for change in changes if change.before != change.after]
        self._check(server, changes)
        for change in changes:
            _put(self.file, change.table, change.key, change.after)
            self._newest[change.place] = len(self.log) + 1
        self.file.execute("DELETE FROM changed")
        self.log.append(changes)

    def fail_over(self, steps: int) -> list[list[Change]]:
        """
        Be as it was so many commits ago; nobody is connected any more.

        @return: what is lost.
        """
        for session in list(self.sessions.values()):
            session.vanish()
        lost = []
        for _ in range(min(steps, len(self.log))):
            changes = self.log.pop()
            lost.append(changes)
            for change in reversed(changes):
                _put(self.file, change.table, change.key, change.before)
        self.file.execute("DELETE FROM changed")
        self._newest = {
            change.place: number for number, changes in enumerate(self.log, 1) for change in changes
        }
        self.generation += 1
        return lost


class FakeSession:
    """
    A connection, as a driver has it.

    @ivar autocommit: whether each statement is a transaction.
    @ivar patience: seconds for which it waits for a row.
    @ivar in_transaction: whether it has begun one.
    """

    def __init__(self, database: SharedDatabase, number: int, server: Any) -> None:
        self.database = database
        self.number = number
        self.server = server
        self.autocommit = self.in_transaction = False
        self.patience = LOCK_SECONDS
        self._file = _copy(database.file)
        self._version = self._began_at = len(database.log)
        self._rows: dict[tuple[str, Any], tuple[Any, ...] | None] = {}

    @property
    def name(self) -> str:
        """What the database calls it: of Galera's three nodes each knows its own connections only."""
        node = 0 if self.database.locks else self.number % 3
        return f"{self.database.generation}.{node}"

    # What a driver's connection has

    def cursor(self) -> FakeCursor:
        return FakeCursor(self)

    def create_function(self, *arguments: Any, **named: Any) -> None:
        """SQLAlchemy makes one for regular expressions, which nobody uses."""

    def commit(self) -> None:
        if not self.in_transaction:
            return
        self.spend(0.5)
        self.check()
        if not self._rows:
            self._end()
            return
        fault = self.database.next_fault()
        self._commit(fault)
        self.spend(0.5)
        self.check()

    def rollback(self) -> None:
        self.check()
        if self.in_transaction:
            self._undo()

    def close(self) -> None:
        if not isinstance(self.server, _Gone):
            self.vanish()

    # Its transaction

    def begin(self) -> None:
        self._refresh()
        self._file.execute("BEGIN")
        self.in_transaction = True
        self._began_at = self._version

    def _refresh(self) -> None:
        """Follow what was committed, but for the rows that are changed here."""
        for changes in self.database.log[self._version :]:
            for change in changes:
                if change.place not in self._rows:
                    _put(self._file, change.table, change.key, change.after)
        self._version = len(self.database.log)
        self._file.execute("DELETE FROM changed")

    def _undo(self) -> None:
        self._file.execute("ROLLBACK")
        self._version = self._began_at
        self._forget()

    def _end(self) -> None:
        self._file.execute("COMMIT")
        self._forget()

    def _forget(self) -> None:
        self.in_transaction = False
        self._rows = {}
        locked = self.database.locked
        for place in [place for place, session in locked.items() if session is self]:
            del locked[place]

    def _commit(self, fault: str) -> None:
        """The transaction's end, if it has changed something."""
        if fault in ("lost before", "not known before", "conflict"):
            self._undo()
        elif fault == "late":
            # The session goes on for a while without us.
            self.server = _Gone(self.server)
            self.database.later(LATE, self._late)
            raise LostConnection("the connection is lost")
        else:
            self._certify()
            self.database.commit(self.server, self._rows)
            self._end()
        self._raise(fault)

    def _raise(self, fault: str) -> None:
        if fault.startswith("lost"):
            self.vanish()
            raise LostConnection("the connection is lost")
        if fault.startswith("not known"):
            raise NotKnown("nobody knows whether that is done")
        if fault == "conflict":
            raise Conflict("another transaction came first")

    def _certify(self) -> None:
        if not self.database.locks and any(
            self.database.is_newer(place, self._began_at) for place in self._rows
        ):
            self._undo()
            raise Conflict("another transaction came first")

    def _late(self) -> None:
        if self.database.sessions.get(self.number) is self:
            with suppress(Conflict):
                self._certify()
                self.database.commit(self.server.was, self._rows)
            self.vanish()

    # Its statements

    def spend(self, part: float) -> None:
        """
        Let a part of the latency pass, and as long as its server is stopped.
        """
        self.database.spend(self.database.latency * part)
        while (left := self.server.stopped_until - self.database.now) > 0:
            self.database.spend(left)

    def check(self) -> None:
        """
        @raise LostConnection: the database does not know it any more.
        """
        if self.database.sessions.get(self.number) is not self or isinstance(self.server, _Gone):
            raise LostConnection("the connection is lost")

    def vanish(self) -> None:
        """It is no more, and neither is what it had under way."""
        if self.database.sessions.pop(self.number, None) is self:
            self._forget()
            self._file.close()

    def execute(self, text: str, rows: Sequence[tuple[Any, ...]]) -> tuple[Any, int, list[Any]]:
        """
        @return: what the columns are, how many rows are changed, and what is read.
        """
        self.spend(0.5)
        self.check()
        was_open = self.in_transaction
        if not was_open:
            self.begin()
        elif self.database.locks:
            self._refresh()
        try:
            result = self._carry_out(text, rows)
        except BaseException:
            if not was_open and self.in_transaction and self.autocommit:
                self._undo()
            raise
        if self.autocommit:
            if self._rows:
                self._commit(self.database.next_fault())
            else:
                self._end()
        self.spend(0.5)
        self.check()
        return result

    def _carry_out(self, text: str, rows: Sequence[tuple[Any, ...]]) -> tuple[Any, int, list[Any]]:
        database = self.database
        until = database.now + self.patience
        while True:
            self._file.execute("SAVEPOINT statement")
            total = 0
            try:
                for row in rows:
                    cursor = self._file.execute(text, row)
                    total += max(cursor.rowcount, 0)
            except sqlite3.IntegrityError:
                self._file.execute("ROLLBACK TO statement")
                raise
            except sqlite3.Error as error:
                raise AssertionError(f"no database takes that: {text}") from error
            places = [(name, key) for name, key in self._file.execute("SELECT name, key FROM changed")]
            if not database.locks or not any(
                database.locked.get(place, self) is not self for place in places
            ):
                break
            self._file.execute("ROLLBACK TO statement")
            if database.now >= until:
                raise Locked("somebody keeps the row locked")
            database.spend(0.25)
            self.check()
            self._refresh()
        found = cursor.fetchall() if rows and cursor.description else []
        description = cursor.description if rows else None
        for place in places:
            self._rows[place] = _row(self._file, *place)
            if database.locks:
                database.locked[place] = self
        self._file.execute("DELETE FROM changed")
        self._file.execute("RELEASE statement")
        return description, total, found


class _Gone:
    """In place of a server that has heard that its connection is lost, while the database goes on with it."""

    stopped_until = 0.0

    def __init__(self, was: Any) -> None:
        # It may begin anew meanwhile.
        self.was = copy(was)


class FakeCursor:
    """A cursor of it."""

    def __init__(self, session: FakeSession) -> None:
        self.session = session
        self.rowcount = -1
        self.lastrowid = 0
        self.description: Any = None
        self._found: list[Any] = []

    def execute(self, text: str, parameters: Sequence[Any] = ()) -> FakeCursor:
        return self.executemany(text, [tuple(parameters)])

    def executemany(self, text: str, rows: Sequence[tuple[Any, ...]]) -> FakeCursor:
        self.description, self.rowcount, self._found = self.session.execute(text, rows)
        return self

    def fetchall(self) -> list[Any]:
        found, self._found = self._found, []
        return found

    def fetchone(self) -> Any:
        return self._found.pop(0) if self._found else None

    def close(self) -> None:
        """Nothing."""


@cache
def _statements() -> Statements:
    return Statements(create_engine("sqlite://").dialect)


class FakeServerDialect(ServerDialect):
    """The database as one server reaches it."""

    driver = "sqlite"
    options: ClassVar[dict[str, Any]] = {}
    limit = "patience"

    @staticmethod
    def judge(driver: Any, error: BaseException, *, committing: bool = False) -> Verdict:
        if isinstance(error, Conflict):
            return Verdict.CONFLICT
        if isinstance(error, sqlite3.IntegrityError):
            return Verdict.DUPLICATE
        return Verdict.NOT_KNOWN if committing or isinstance(error, NotKnown) else Verdict.CUT_OFF

    statements_class: ClassVar[Any] = staticmethod(lambda dialect: _statements())
    questions_class = Questions

    def __init__(self, database: SharedDatabase, server: Any) -> None:
        self.timeout = 5.0
        self.stall = 0.0
        self.lags = False
        self.server = self.waits_for = ""
        self._database = database
        self._owner = server
        StoreDialect.__init__(self, "fake:", URL.create("sqlite"), {})
        event.listen(self.engine, "do_connect", lambda *arguments: database.connect(server))

    def connect_args(self) -> dict[str, Any]:
        return {}

    def connect_to(self, host: Host, seconds: float, alone: bool, arguments: dict[str, Any]) -> Any:
        raise NotImplementedError

    def with_message(self, error: Exception, message: str, *, passes: bool) -> Exception:
        raise NotImplementedError

    def set_up(self, connection: Connection) -> None:
        """Nothing."""

    def leave(self) -> None:
        """Nothing: there is one host."""

    def lock(self, connection: Connection) -> bool:
        return True

    @contextmanager
    def autocommit(self, driver: Any) -> Iterator[None]:
        driver.autocommit = True
        yield
        driver.autocommit = False

    @contextmanager
    def short_waits(self, cursor: Any) -> Iterator[None]:
        cursor.session.patience = 1.0
        yield
        cursor.session.patience = LOCK_SECONDS

    def session(self, driver: DBAPIConnection, cursor: Any) -> str:
        self.server = cursor.session.name
        return f"{self.server}/{cursor.session.number}"

    def look_at_key(self, cursor: DBAPICursor, key: str) -> Session:
        return Session.WAITING if int(key) in self._database.sessions else Session.GONE

    def end_key(self, cursor: DBAPICursor, key: str) -> None:
        if session := self._database.sessions.get(int(key)):
            session.vanish()

    def is_locked(self, error: BaseException) -> bool:
        return isinstance(error, Locked)

    def report(self, cursor: DBAPICursor) -> StoreReport:
        return StoreReport("fake", REVISIONS[-1], (), (), 0)

    def message(self, error: BaseException) -> str:
        return str(error)

    def remedy(self, error: BaseException) -> str:
        return ""

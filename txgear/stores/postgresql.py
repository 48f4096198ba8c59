"""
PostgreSQL, with psycopg 3.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from math import ceil
from traceback import clear_frames
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import Column, Connection, Table, any_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor, Dialect

from txgear.broker.records import StoreReport
from txgear.stores import durability
from txgear.stores.dialects import OPTIONS, READ_ONLY
from txgear.stores.hosts import Host
from txgear.stores.probes import probes_for
from txgear.stores.schema import REVISIONS, inserted_columns
from txgear.stores.serverdialect import (
    ACCESS,
    FOREIGN_TABLES,
    GRACE,
    MISSING_TABLE,
    RIGHTS,
    SEPARATOR,
    ServerDialect,
)
from txgear.stores.statements import Placed, Statements
from txgear.stores.tenure import Session
from txgear.stores.verdicts import of_postgresql, state_of

if TYPE_CHECKING:
    from txgear.stores.pipelining import PipeliningCursor

LARGEST_SECONDS: Final = 600.0
"""
Seconds that a statement has beyond its timeout: the largest workload, 64 MiB, takes as long at a megabit a
second. The connection gives a statement that stalls up long before.
"""

LOCK: Final = int.from_bytes(b"txgear", "big")
"""The number of the advisory lock that keeps others off while tables of an earlier version are changed."""

BEGAN: Final = "to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"
SESSION: Final = (
    f"SELECT {BEGAN.replace('backend_start', 'pg_postmaster_start_time()')}, pid, {BEGAN},"  # noqa: S608
    " current_setting('synchronous_standby_names') FROM pg_stat_activity WHERE pid = pg_backend_pid()"
)
"""What stands for a connection: when the database server was started, its process, and since when that is."""
WAITS: Final = ("ClientRead", "ClientWrite", "SyncRep")
"""For what a connection may wait for ever."""

ADVICE: Final = {
    "28": ACCESS,
    "3D": ACCESS,
    "42501": RIGHTS,
    "3F": RIGHTS,
    "42P01": MISSING_TABLE,
    "42": FOREIGN_TABLES,
}
"""What to do, by the beginning of the SQLSTATE; the first that fits counts."""

WHO_IS_IT: Final = (
    "SELECT pg_backend_pid(), pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean"
)
"""
The process that answers: a pooler's connection has said another number when it was made. And whether it is a
standby, or a primary that is not to be written at present.
"""

SETTINGS: Final = (
    "SELECT set_config('lock_timeout', %s, {local}), set_config('statement_timeout', %s, {local}),"
    # Only a warning says that a COMMIT was not waited for.
    " set_config('client_min_messages', 'warning', {local}),"
    # With it off, a job that was answered could be lost. Stronger values are the operator's choice.
    " CASE current_setting('synchronous_commit')"
    " WHEN 'off' THEN set_config('synchronous_commit', 'on', {local}) END"
)
"""Settings of a session; behind a pooler, of each transaction, as the next one may be in another session."""

PROBE: Final = (
    "SELECT set_config(name, wanted.value, false) FROM (VALUES ('tcp_keepalives_idle', %s),"
    " ('tcp_keepalives_interval', %s), ('tcp_keepalives_count', %s), ('tcp_user_timeout', %s))"
    # PostgreSQL 11 has no tcp_user_timeout.
    " AS wanted (name, value) JOIN pg_settings USING (name)"
    # What somebody has set for this database, for this user or in the URL stays.
    " WHERE source NOT IN ('global', 'database', 'user', 'database user', 'client')"
)
"""
Has PostgreSQL find out that our server is cut off, which frees what that has locked.

Probes alone do not do that. TCP sends none as long as something that was sent is not acknowledged, and that
is the usual case in the middle of a transaction: an answer was on its way. Linux sends it again for a quarter
of an hour; C{tcp_user_timeout} bounds that. It would end a slow line, too, where not a byte of an answer was
acknowledged for so long, or our server read none of it. But a line that gets on, however slowly, acknowledges
something all the time, and our server waits less long for the next byte itself.

Over a Unix socket it has no effect. Behind a pooler it is not ours to say: the connection is the pooler's.
"""

PLACE: Final = (
    "UPDATE txgear_jobs SET lane = placed.lane, ukey = placed.ukey, wake = placed.wake"
    " FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::double precision[])"
    " AS placed (number, lane, ukey, wake) WHERE txgear_jobs.number = placed.number"
)
"""Says what many jobs are found by; one by one would take ten times as long."""

CLAIM: Final = (
    "INSERT INTO txgear_claims (digest, number) SELECT substr(sha256(%s::bytea ||"
    " set_byte('\\x00'::bytea, 0, length(uniq)) || uniq || function || coalesce(digest, '')), 1, 16), number"
    " FROM txgear_jobs WHERE number {are} ORDER BY 1 ON CONFLICT DO NOTHING"
)
CLAIM_ALL: Final = CLAIM.format(are="BETWEEN %s AND %s")
"""Takes the names of jobs whose numbers follow each other, as they nearly always do."""
CLAIM_SOME: Final = CLAIM.format(are="= ANY(%s::bigint[])")
"""Takes those of others: it costs the database as much again to find each."""

NOT_LET_IN: Final = (
    ("authentication failed", ACCESS),
    ("no password", f"{ACCESS}; --store-password-file or TXGEAR_STORE_PASSWORD gives the password"),
    ("pg_hba.conf", ACCESS),
    ("does not exist", ACCESS),
    ("not permitted", ACCESS),
    # Of target_session_attrs.
    ("session is read-only", READ_ONLY),
    ("in hot standby mode", READ_ONLY),
    (
        "unsupported startup parameter",
        "leave it out of the URL, as the pooler in between does not take it, and set it for the role instead",
    ),
    ("invalid connection option", OPTIONS),
)
"""Parts of messages that come without an SQLSTATE when a connection is refused, and what to do."""


def _array(values: Collection[Any]) -> str:
    """An array as PostgreSQL reads it. psycopg takes five times as long for one."""
    kinds = set(map(type, values))
    if kinds == {bytes}:
        return '{"\\\\x' + '","\\\\x'.join(map(bytes.hex, values)) + '"}'
    return "{" + ",".join(map(repr if kinds == {int} else _element, values)) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    return f'"\\\\x{value.hex()}"' if isinstance(value, bytes) else repr(value)


class PostgreSQLStatements(Statements):
    """
    Statements that insert rows by COPY and send keys as one array. Against INSERT with many rows and IN
    with many keys, psycopg needs a tenth of the time for the first and a third for the second.
    """

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self._copy = cache(self._make_copy)
        self._insert_arrays = cache(self._make_insert_arrays)

    def insert(
        self, cursor: DBAPICursor, table: Table, rows: Sequence[tuple[Any, ...]], weights: Sequence[int]
    ) -> None:
        if not rows:
            return
        text, types = self._copy(table)
        with cursor.copy(text) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)

    def insert_missing(self, cursor: DBAPICursor, table: Table, rows: Sequence[tuple[Any, ...]]) -> int:
        if not rows:
            return 0
        cursor.execute(self._insert_arrays(table), tuple(map(_array, zip(*rows, strict=True))))
        return cursor.rowcount

    def claim(self, cursor: DBAPICursor, salt: bytes, numbers: Sequence[int]) -> int:
        first, last = min(numbers), max(numbers)
        if last - first == len(numbers) - 1:
            cursor.execute(CLAIM_ALL, (salt, first, last))
        else:
            cursor.execute(CLAIM_SOME, (salt, _array(numbers)))
        return cursor.rowcount

    def place(self, cursor: DBAPICursor, rows: Sequence[Placed]) -> None:
        cursor.execute(PLACE, tuple(map(_array, zip(*rows, strict=True))))

    def is_one_of(self, key: Column[Any], keys: int) -> Any:
        return key == any_(bindparam(None, type_=ARRAY(key.type), required=True))

    def key_lists(self, keys: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        if keys:
            yield (_array(keys),)

    def _make_copy(self, table: Table) -> tuple[str, list[str]]:
        """The COPY statement, and psycopg's names for the types of its columns."""
        return f"COPY {self._columns(table)} FROM STDIN (FORMAT BINARY)", self._types(table)

    def _make_insert_arrays(self, table: Table) -> str:
        """An INSERT of any number of rows, by the arrays of their columns."""
        arrays = ", ".join(f"%s::{kind}[]" for kind in self._types(table))
        return (
            f"INSERT INTO {self._columns(table)} SELECT * FROM unnest({arrays})"  # noqa: S608
            " ON CONFLICT DO NOTHING"
        )

    def _columns(self, table: Table) -> str:
        """The table's name, and those of its columns."""
        quoted = self.dialect.identifier_preparer
        columns = ", ".join(quoted.quote(column.name) for column in inserted_columns(table))
        return f"{quoted.format_table(table)} ({columns})"

    def _types(self, table: Table) -> list[str]:
        return [column.type.compile(self.dialect).lower() for column in inserted_columns(table)]


class PostgreSQL(ServerDialect):
    """
    A PostgreSQL database.

    @ivar is_pooled: whether there is a pooler in between, such as PgBouncer, so that nothing can be said of
        the session in which the next transaction is.
    """

    is_pooled = False
    driver = "postgresql+psycopg"
    limit = "stall_timeout"
    package = "txgear[postgresql]"
    statements_class = PostgreSQLStatements
    judge = staticmethod(of_postgresql)

    def connect_args(self) -> dict[str, Any]:
        return {"fallback_application_name": "txgear"}

    def connect_to(self, host: Host, seconds: float, alone: bool, arguments: dict[str, Any]) -> Any:
        from psycopg import IsolationLevel
        from psycopg.errors import ConnectionTimeout, ReadOnlySqlTransaction

        from txgear.stores.psycopgconnection import PsycopgConnection

        try:
            connection = PsycopgConnection.connect(
                **{
                    **self._probed(),
                    **arguments,
                    **host.arguments,
                    # libpq takes whole seconds, and not less than two.
                    "connect_timeout": max(2, ceil(seconds)),
                }
            )
        except ConnectionTimeout as error:
            # psycopg leaves the attempt to the collector of cycles: the socket would go on, and keep a
            # session of the server's as soon as that can be reached again.
            clear_frames(error.__traceback__)
            raise
        connection.stall_timeout = seconds if not alone else self.timeout + GRACE
        # With another, whoever takes the lease would come late for as long as its owner writes.
        connection.isolation_level = IsolationLevel.READ_COMMITTED
        try:
            [(number, read_only)] = connection.execute(WHO_IS_IT).fetchall()
            connection.rollback()
            if read_only and not alone:
                raise ReadOnlySqlTransaction("it takes no writes")
        except BaseException:
            connection.close()
            raise
        self.is_pooled = number != connection.info.backend_pid
        if self.is_pooled:
            # A statement that is prepared may be in another session than the one that is to run it.
            connection.prepare_threshold = None
        connection.stall_timeout = self.timeout + GRACE
        return connection

    def with_message(self, error: Exception, message: str, *, passes: bool) -> Exception:
        from psycopg.errors import CannotConnectNow

        # Most come without a state, and are known by their message alone.
        return (CannotConnectNow if passes else type(error))(message)

    def set_up(self, connection: Connection) -> None:
        if not self.is_pooled:
            connection.exec_driver_sql(SETTINGS.format(local="false"), self._timeouts())
            probes = probes_for(self.timeout + GRACE)
            values = (*probes, 1000 * probes.seconds)
            connection.exec_driver_sql(PROBE, tuple(map(str, values)))

    def _probed(self) -> dict[str, int]:
        """
        What libpq is told: this end does the same, which counts where the database has an hour for something
        (C{patience}). There is no timeout for what is not acknowledged: the connection has one for that,
        which knows of a database that stands still.
        """
        names = ("keepalives_idle", "keepalives_interval", "keepalives_count")
        return dict(zip(names, probes_for(self.timeout + GRACE), strict=True))

    def _timeouts(self) -> tuple[str, str]:
        return f"{ceil(self.timeout * 1000)}ms", f"{ceil((self.timeout + LARGEST_SECONDS) * 1000)}ms"

    # Who else is there

    def lock(self, connection: Connection) -> bool:
        taken: bool = connection.exec_driver_sql("SELECT pg_try_advisory_xact_lock(%s)", (LOCK,)).scalar_one()
        return taken

    @contextmanager
    def autocommit(self, driver: DBAPIConnection) -> Iterator[None]:
        connection: Any = driver
        connection.autocommit = True
        yield
        connection.autocommit = False

    @contextmanager
    def short_waits(self, cursor: DBAPICursor) -> Iterator[None]:
        if self.is_pooled:
            # Whoever has the session next would have that, too.
            yield
            return
        cursor.execute("SET lock_timeout = 1000")
        yield
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", self._timeouts()[:1])

    def session(self, driver: DBAPIConnection, cursor: DBAPICursor) -> str:
        connection: Any = driver
        cursor.execute(SESSION)
        server, number, began, standbys = cursor.fetchall()[0]
        self.waits_for = f"the synchronous standbys, {standbys}" if standbys else ""
        # A pooler says another number than the connection has that it lends.
        self.server = server if connection.info.backend_pid == number else ""
        return f"{server}{SEPARATOR}{number} {began}" if self.server else ""

    def look_at_key(self, cursor: DBAPICursor, key: str) -> Session:
        number, _, began = key.partition(" ")
        cursor.execute(
            f"SELECT {BEGAN}, wait_event FROM pg_stat_activity WHERE pid = %s",  # noqa: S608
            (int(number),),
        )
        # What another user's connection does is not told.
        found = [each for each in cursor.fetchall() if each[0] in (began, None)]
        if not found:
            return Session.GONE
        return Session.WAITING if found[0][1] in WAITS else Session.WORKING

    def end_key(self, cursor: DBAPICursor, key: str) -> None:
        number, _, began = key.partition(" ")
        cursor.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND {BEGAN} = %s",  # noqa: S608
            (int(number), began),
        )

    def is_locked(self, error: BaseException) -> bool:
        return state_of(error) == "55P03"

    def cursor(self, driver: DBAPIConnection) -> DBAPICursor:
        # Otherwise bytes come as hexadecimal digits.
        return driver.cursor(binary=True)

    def transaction(self, driver: DBAPIConnection) -> DBAPICursor:
        from txgear.stores.pipelining import PipeliningCursor

        # It has what the statements use of one.
        connection: Any = driver
        return cast(DBAPICursor, PipeliningCursor(connection))

    def commit(self, driver: DBAPIConnection, cursor: DBAPICursor) -> None:
        cast("PipeliningCursor", cursor).send()
        super().commit(driver, cursor)

    def begin_work(self, cursor: DBAPICursor) -> None:
        if self.is_pooled:
            cursor.execute(SETTINGS.format(local="true"), self._timeouts())

    def report(self, cursor: DBAPICursor) -> StoreReport:
        cursor.execute(
            "SELECT current_setting('server_version'), current_setting('synchronous_commit'),"
            " current_setting('fsync'), current_setting('full_page_writes'),"
            " (SELECT relpersistence::text FROM pg_class WHERE oid = 'txgear_jobs'::regclass),"
            " pg_database_size(current_database()), current_setting('synchronous_standby_names'),"
            # Their states are for those who may see the statistics of all; that there are any is for all.
            " count(pid), count(sync_state), count(*) FILTER (WHERE sync_state IN ('sync', 'quorum'))"
            " FROM pg_stat_replication"
        )
        version, commit, fsync, pages, persistence, size, names, *counts = cursor.fetchall()[0]
        connected, seen, synchronous = counts
        standbys = durability.Standbys(connected, None if seen < connected else synchronous, names, commit)
        settings = {
            "synchronous_commit": commit,
            "fsync": fsync,
            "full_page_writes": pages,
            "tables": "logged" if persistence == "p" else "unlogged",
        }
        return StoreReport(
            f"PostgreSQL {version}",
            REVISIONS[-1],
            tuple(settings.items()),
            durability.of_postgresql(settings) + standbys.doubts(len(self.connector.hosts)),
            size,
            promise=standbys.promise(),
        )

    def message(self, error: BaseException) -> str:
        # Without the statement, the context and the hints.
        return getattr(getattr(error, "diag", None), "message_primary", None) or str(error)

    def remedy(self, error: BaseException) -> str:
        state = state_of(error)
        if not state:
            return next((advice for message, advice in NOT_LET_IN if message in str(error)), "")
        return next((advice for start, advice in ADVICE.items() if state.startswith(start)), "")

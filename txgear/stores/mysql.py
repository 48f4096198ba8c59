"""
MySQL and MariaDB, with PyMySQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain
from math import ceil
from typing import Any, Final, cast

from sqlalchemy import Column, Connection, Insert, Table, func, literal_column, select
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor, Dialect

from txgear.broker.records import StoreReport
from txgear.errors import StoreUnusable
from txgear.stores import durability, galera
from txgear.stores.gathering import GatheringCursor
from txgear.stores.hosts import Host, HostsError, QueryValue
from txgear.stores.listed import Rows, Selected, Values
from txgear.stores.probes import probes_for
from txgear.stores.schema import MAX_NAME, REVISIONS, jobs, lanes, results, workloads
from txgear.stores.serverdialect import (
    ACCESS,
    FOREIGN_TABLES,
    GRACE,
    MISSING_TABLE,
    RIGHTS,
    SEPARATOR,
    ServerDialect,
)
from txgear.stores.statements import (
    MOST_BYTES,
    MOST_ROWS,
    ROW_BYTES,
    WITH_WORKLOADS,
    Placed,
    Statements,
    parameter,
    primary_key,
    row_slices,
)
from txgear.stores.tenure import Session
from txgear.stores.verdicts import number_of, of_mysql

CLAIM: Final = (
    "INSERT IGNORE INTO txgear_claims (digest, number) SELECT LEFT(UNHEX(SHA2(CONCAT(%s,"
    " CHAR(LENGTH(uniq)), uniq, function, COALESCE(digest, '')), 256)), 16), number"
    " FROM txgear_jobs FORCE INDEX (PRIMARY) WHERE number IN (%s) ORDER BY 1"
)
"""
Takes the names of new jobs. It locks what it reads, so it names each row: behind the last one of a range
there may be one of another server's.
"""

LEAST_PACKET: Final = 512 * 1024
"""
Bytes of C{max_allowed_packet} at the least: they take any job without its workload. The history of 50
attempts is up to 110 kB of JSON, and PyMySQL may write a byte as two.
"""

IDLE_SECONDS: Final = 365 * 24 * 3600
"""Seconds that a connection may be idle; MySQL's default is eight hours."""

CLUSTER_VARIABLES: Final = (
    "SHOW GLOBAL VARIABLES WHERE variable_name IN ('wsrep_on', 'wsrep_provider_options')"
)
"""Nothing comes from a server without Galera; a node that is cut off answers, too."""

CLUSTER_STATUS: Final = (
    "SHOW GLOBAL STATUS WHERE variable_name IN"
    " ('wsrep_cluster_size', 'wsrep_cluster_status', 'wsrep_ready', 'wsrep_local_state_comment')"
)

NO_SUCH_THREAD: Final = 1094
LOCK_WAIT_TIMEOUT: Final = 1205
"""Numbers of errors."""

SESSION: Final = (
    "SELECT CONNECTION_ID(), CURRENT_USER(), @@hostname, @@port, UNIX_TIMESTAMP() - variable_value"
    " FROM {schema}.global_status WHERE variable_name = 'Uptime'"
)
"""
What stands for a connection: its number, and of the server its place and when it was started, which the two
times tell exactly, as they are of one moment.
"""
NUMBER_LENGTH: Final = 21
"""Characters of a connection's number at the most, and what stands before it."""

ADVICE: Final = {
    **dict.fromkeys((1044, 1045, 1049, 1130, 1698, 1820, 1862, 2059, 3118), ACCESS),
    **dict.fromkeys((1142, 1143, 1227), RIGHTS),
    **dict.fromkeys((1050, 1054), FOREIGN_TABLES),
    1146: MISSING_TABLE,
}
"""What to do, by MySQL's number of the error."""


def is_read_only(value: object) -> bool:
    """@param value: C{@@global.read_only}: a number, from MariaDB 12.1 on a word."""
    return value not in (0, "OFF")


class MySQLStatements(Statements):
    """
    Statements that have many keys or rows as one parameter, for which PyMySQL needs a third of the time that
    it needs for as many as there are values; so any number of them is one statement. And statements
    that read workloads and results in pieces where they are larger than a packet. Such values
    were written when C{max_allowed_packet} was higher, and a row that does not fit costs the connection.

    @ivar piece: bytes of one piece at the most.
    """

    piece = LEAST_PACKET - ROW_BYTES

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self._place_text = cache(self._make_place)
        # They are for any number of rows, and the first submit is not to wait until they are made.
        for table in (jobs, workloads, lanes):
            self._insert_text(table, 1)
        self._known_text(lanes, 1)

    def workloads(self, cursor: DBAPICursor, numbers: Sequence[int]) -> dict[int, bytes]:
        return self._whole(cursor, self._workloads_text, numbers, workloads.c.workload)

    def results(self, cursor: DBAPICursor, numbers: Sequence[int]) -> dict[int, bytes]:
        return self._whole(cursor, self._results_text, numbers, results.c.result)

    def key_lists(self, keys: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(keys), MOST_ROWS):
            yield (Values(keys[start : start + MOST_ROWS]),)

    def delete_by(self, cursor: DBAPICursor, column: Column[Any], values: Sequence[Any]) -> None:
        for start in range(0, len(values), MOST_ROWS):
            cursor.execute(self._delete_text(column, 1), (Selected(values[start : start + MOST_ROWS]),))

    def _make_delete(self, column: Column[Any], values: int) -> str:
        """
        By the index, whatever the optimizer thinks of it: for many values of a small table it reads all of
        that, and waits for the rows of all other servers, which wait for ours.
        """
        table = column.table.name
        return f"DELETE {table} FROM (%s) AS gone STRAIGHT_JOIN {table} ON {table}.{column.name} = gone.value"

    def row_lists(
        self, rows: Sequence[tuple[Any, ...]], weights: Sequence[int]
    ) -> Iterator[tuple[int, tuple[Any, ...]]]:
        start = size = 0
        for end, weight in enumerate(weights):
            if end > start and (size + weight > self.most_bytes or end - start == MOST_ROWS):
                yield 1, (Rows(rows[start:end]),)
                start, size = end, 0
            size += weight
        if rows:
            yield 1, (Rows(rows[start:]),)

    def _with_rows(self, statement: Insert, table: Table, rows: int) -> str:
        head, values, _ = super()._with_rows(statement, table, rows).partition(" VALUES ")
        return head + values + "%s"

    def claim(self, cursor: DBAPICursor, salt: bytes, numbers: Sequence[int]) -> int:
        claimed = 0
        for (listed,) in self.key_lists(numbers):
            cursor.execute(CLAIM, (salt, listed))
            claimed += cursor.rowcount
        return claimed

    def place(self, cursor: DBAPICursor, rows: Sequence[Placed]) -> None:
        for part in row_slices([ROW_BYTES] * len(rows), self.most_bytes):
            placed = rows[part]
            cursor.execute(self._place_text(len(placed)), tuple(chain.from_iterable(placed)))

    @staticmethod
    def _make_place(count: int) -> str:
        """Say it of many jobs: one by one takes ten times as long."""
        first = "SELECT %s AS number, %s AS lane, %s AS ukey, %s AS wake"
        rows = " UNION ALL ".join([first] + ["SELECT %s, %s, %s, %s"] * (count - 1))
        return (
            f"UPDATE txgear_jobs JOIN ({rows}) AS placed ON txgear_jobs.number = placed.number"  # noqa: S608
            " SET txgear_jobs.lane = placed.lane, txgear_jobs.ukey = placed.ukey,"
            " txgear_jobs.wake = placed.wake"
        )

    def _whole(
        self,
        cursor: DBAPICursor,
        text: Callable[[int], str],
        numbers: Sequence[int],
        column: Column[Any],
    ) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for part in self.key_lists(numbers):
            cursor.execute(text(len(part)), (self.piece, *part))
            for number, first, size in cursor.fetchall():
                pieces = [first or b""]
                for start in range(self.piece, size or 0, self.piece):
                    # Positions are counted from 1.
                    cursor.execute(self._piece_text(column), (start + 1, self.piece, number))
                    pieces += cursor.fetchall()[0]
                found[number] = b"".join(pieces)
        return found

    @staticmethod
    def _first(column: Column[Any]) -> tuple[Any, ...]:
        """Columns of a statement: the first piece of a value, and the value's length."""
        first = func.substring(column, literal_column("1"), parameter(primary_key(column.table)))
        return first, func.length(column)

    def _piece_text(self, column: Column[Any]) -> str:
        key = primary_key(column.table)
        piece = func.substring(column, parameter(key), parameter(key))
        return self.text(select(piece).where(key == parameter(key)))

    def _make_workloads(self, keys: int) -> str:
        first, size = self._first(workloads.c.workload)
        return self.text(
            select(jobs.c.number, func.coalesce(jobs.c.workload, first), size)
            .select_from(WITH_WORKLOADS)
            .where(self.is_one_of(jobs.c.number, keys))
        )

    def _make_results(self, keys: int) -> str:
        return self.text(
            select(results.c.number, *self._first(results.c.result)).where(
                self.is_one_of(results.c.number, keys)
            )
        )


class MySQL(ServerDialect):
    """
    A MySQL or MariaDB database.

    A statement that is larger than the server's C{max_allowed_packet} costs the
    connection, and the error does not say why. So a value that is too large is
    refused here (L{largest_value}).
    """

    driver = "mysql+pymysql"
    limit = "_read_timeout"
    package = "txgear[mysql]"
    statements_class = MySQLStatements
    judge = staticmethod(of_mysql)
    statements: MySQLStatements

    def __init__(self, url: str, password: str | None, timeout: float | None) -> None:
        super().__init__(url, password, timeout)
        # MySQL takes 64 characters.
        self._lock = f"txgear/{self.database}"[:64]

    def check_hosts(self, hosts: Sequence[Host], query: Mapping[str, QueryValue]) -> None:
        if any(host.is_folder for host in hosts):
            raise HostsError("its host is no name in a network; a socket of MySQL's is ?unix_socket=/path")
        if "unix_socket" in query and len(hosts) > 1:
            raise HostsError("its unix_socket stands beside several hosts, all of which it would be")

    def connect_args(self) -> dict[str, Any]:
        return {
            "charset": "utf8mb4",
            # Otherwise a value that does not fit is cut, and a table may be made without transactions.
            "sql_mode": "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
        }

    def connect_to(self, host: Host, seconds: float, alone: bool, arguments: dict[str, Any]) -> Any:
        from pymysql import OperationalError
        from pymysql.constants import CLIENT, ER

        from txgear.stores.pymysqlconnection import PyMySQLConnection

        patience = seconds + GRACE if alone else seconds
        connection: Any = PyMySQLConnection(
            **{
                **arguments,
                **host.arguments,
                # Of a GatheringCursor's; all values are written by the driver, or by Rows and Values.
                "client_flag": arguments.get("client_flag", 0) | CLIENT.MULTI_STATEMENTS,
                "connect_timeout": seconds,
                "read_timeout": patience,
                "write_timeout": patience,
            }
        )
        if not alone:
            try:
                # A node that is cut off from its cluster answers SELECT 1, and not that.
                connection.begin()
                with connection.cursor() as cursor:
                    cursor.execute("SELECT @@global.read_only")
                    [(read_only,)] = cursor.fetchall()
                connection.rollback()
                if is_read_only(read_only):
                    raise OperationalError(ER.OPTION_PREVENTS_STATEMENT, "it takes no writes")
            except BaseException:
                connection._force_close()
                raise
        connection._read_timeout = connection._write_timeout = self.timeout + GRACE
        return connection

    def with_message(self, error: Exception, message: str, *, passes: bool) -> Exception:
        return type(error)(number_of(error), message)

    def set_up(self, connection: Connection) -> None:
        self._see_cluster(connection)
        driver: Any = connection.connection.driver_connection
        # PyMySQL leaves it at two hours, and an index has an hour to be made. The database cannot be asked to
        # do the same: its tcp_keepalive_time is for all connections.
        probes_for(self.timeout + GRACE).apply(driver._sock)
        seconds = ceil(self.timeout)
        connection.exec_driver_sql(
            "SET SESSION innodb_lock_wait_timeout = %s, lock_wait_timeout = %s, wait_timeout = %s",
            (seconds, seconds, IDLE_SECONDS),
        )
        packet = connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one()
        if packet < LEAST_PACKET:
            raise StoreUnusable(f"its max_allowed_packet is {packet}: set it to {LEAST_PACKET} or more")
        # PyMySQL may write a byte as two.
        self.largest_value = packet // 2 - ROW_BYTES
        self.largest_value_why = f"its max_allowed_packet is {packet}"
        self.statements.most_bytes = min(MOST_BYTES, packet // 2)
        self.statements.piece = packet - ROW_BYTES

    def _see_cluster(self, connection: Connection) -> None:
        """Of a Galera cluster: wait for as long as it stands still when a node dies."""
        found = dict(map(tuple, connection.exec_driver_sql(CLUSTER_VARIABLES).all()))
        self.lags = found.get("wsrep_on") == "ON"
        if not self.lags:
            return
        settings = galera.options(found.get("wsrep_provider_options", ""))
        self.bear(
            galera.standstill(settings),
            f"evs.suspect_timeout is {settings.get('evs.suspect_timeout', 'unknown')}",
        )
        # What is read is not older than what was committed at another node before: the row of the lease would
        # seem to have come back, or a job not to be there. Only the first statement of a transaction waits
        # for that, and only where it is a read.
        connection.exec_driver_sql("SET SESSION wsrep_sync_wait = 1")
        driver: Any = connection.connection.driver_connection
        driver._read_timeout = driver._write_timeout = self.timeout + GRACE

    # Who else is there

    def lock(self, connection: Connection) -> bool:
        taken: bool = connection.exec_driver_sql("SELECT GET_LOCK(%s, 0)", (self._lock,)).scalar_one() == 1
        return taken

    def unlock(self, connection: Connection) -> None:
        connection.exec_driver_sql("SELECT RELEASE_LOCK(%s)", (self._lock,))
        connection.rollback()

    def transaction(self, driver: DBAPIConnection) -> DBAPICursor:
        connection: Any = driver
        # It has what the statements use of one.
        return cast(DBAPICursor, GatheringCursor(connection))

    def commit(self, driver: DBAPIConnection, cursor: DBAPICursor) -> None:
        cast(GatheringCursor, cursor).commit()

    def execute_first(
        self,
        driver: DBAPIConnection,
        cursor: DBAPICursor,
        text: str,
        parameters: tuple[Any, ...],
        hearer: Callable[[int], None],
    ) -> None:
        gathering: Any = cursor
        if isinstance(gathering, GatheringCursor):
            gathering.execute(text, parameters)
            gathering.tell(hearer)
        else:
            super().execute_first(driver, cursor, text, parameters, hearer)

    @contextmanager
    def autocommit(self, driver: DBAPIConnection) -> Iterator[None]:
        connection: Any = driver
        connection.autocommit(True)
        yield
        connection.autocommit(False)

    @contextmanager
    def short_waits(self, cursor: DBAPICursor) -> Iterator[None]:
        cursor.execute("SET SESSION innodb_lock_wait_timeout = 1")
        yield
        cursor.execute("SET SESSION innodb_lock_wait_timeout = %s", (ceil(self.timeout),))

    def session(self, driver: DBAPIConnection, cursor: DBAPICursor) -> str:
        connection: Any = driver
        cursor.execute("SELECT VERSION()")
        schema = "information_schema" if "MariaDB" in cursor.fetchall()[0][0] else "performance_schema"
        cursor.execute(SESSION.format(schema=schema))
        found = cursor.fetchall()
        self.server = ""
        if not found:
            return ""
        number, user, host, port, started = found[0]
        # A proxy says another number than the connection has that it lends.
        if connection.thread_id() == number:
            # Connections of other users are not shown to everybody.
            self.server = f"{host}:{port} since {int(started)} as {user}"[: MAX_NAME - NUMBER_LENGTH]
        return f"{self.server}{SEPARATOR}{number}" if self.server else ""

    def look_at_key(self, cursor: DBAPICursor, key: str) -> Session:
        cursor.execute("SELECT command FROM information_schema.processlist WHERE id = %s", (int(key),))
        found = cursor.fetchall()
        if not found:
            return Session.GONE
        return Session.WAITING if found[0][0] == "Sleep" else Session.WORKING

    def end_key(self, cursor: DBAPICursor, key: str) -> None:
        try:
            cursor.execute("KILL %s", (int(key),))
        except self.driver_module.Error as error:
            if number_of(error) != NO_SUCH_THREAD:
                raise

    def is_locked(self, error: BaseException) -> bool:
        return number_of(error) == LOCK_WAIT_TIMEOUT

    def report(self, cursor: DBAPICursor) -> StoreReport:
        names = ("innodb_flush_log_at_trx_commit", "log_bin", "sync_binlog", "innodb_doublewrite")
        cursor.execute(f"SELECT VERSION(), {', '.join('@@' + name for name in names)}")
        version, *values = cursor.fetchall()[0]
        cursor.execute(
            "SELECT engine, data_length + index_length FROM information_schema.tables"
            " WHERE table_schema = DATABASE() AND table_name LIKE 'txgear\\_%%'"
        )
        tables = cursor.fetchall()
        settings = {name: str(value) for name, value in zip(names, values, strict=True)}
        settings["engine"] = " ".join(sorted({str(engine) for engine, _ in tables}))
        doubts, promise = self._of_cluster(cursor)
        return StoreReport(
            f"{'MariaDB' if 'MariaDB' in version else 'MySQL'} {version}",
            REVISIONS[-1],
            tuple(settings.items()),
            durability.of_mysql(settings) + doubts,
            int(sum(size or 0 for _, size in tables)),
            promise=promise,
        )

    @staticmethod
    def _of_cluster(cursor: DBAPICursor) -> tuple[tuple[str, ...], str]:
        """What may be said against a Galera cluster, and what it promises; nothing without one."""
        cursor.execute(CLUSTER_VARIABLES)
        variables = dict(cursor.fetchall())
        if variables.get("wsrep_on") != "ON":
            return (), ""
        cursor.execute(CLUSTER_STATUS)
        status = dict(cursor.fetchall())
        settings = galera.options(variables.get("wsrep_provider_options", ""))
        return galera.doubts(status, settings), galera.promise(status)

    def message(self, error: BaseException) -> str:
        return str(error.args[1]) if len(error.args) > 1 else str(error)

    def remedy(self, error: BaseException) -> str:
        return ADVICE.get(number_of(error), "")

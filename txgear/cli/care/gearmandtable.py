"""
Readers of gearmand's tables in SQLite, MySQL and PostgreSQL; they write nothing.
"""

from __future__ import annotations

import os
import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, ClassVar, Final, NamedTuple
from urllib.parse import quote

from sqlalchemy import URL, Engine, create_engine, inspect, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from txgear.errors import ConfigurationError
from txgear.stores.hosts import Host, HostsError, split

COLUMNS: Final = ("function_name", "unique_key", "priority", "when_to_run", "data")
"""gearmand's columns, in the order of the fields of a L{Row}."""

OPTIONAL: Final = "when_to_run"
"""The column that tables of old versions do not have."""

CONNECT_SECONDS: Final = 10
PORT: Final = 5432
"""PostgreSQL's."""


class Row(NamedTuple):
    """
    A row, unchecked. Names and data are bytes or C{None}; the rest may be anything.
    """

    function: bytes | None
    unique: bytes | None
    priority: Any
    when: Any
    data: bytes | None


class GearmandTable(ABC):
    """
    A table of gearmand's.

    Each method connects to the database, and raises a L{ConfigurationError} of one
    line for an error of the database.

    @ivar name: the table and where it is, without a password.
    """

    default: ClassVar[str] = "gearman_queue"
    """The table's name, unless gearmand was told another."""

    def __init__(self, database: str, table: str | None) -> None:
        """
        @param database: where the table is, for messages.
        @param table: its name; C{None} for gearmand's default.
        """
        self._table = table or self.default
        self._columns: set[str] = set()
        self.name = f"table {self._table} of {database}"

    @contextmanager
    def _database(self) -> Iterator[Engine]:
        """The engine for as long as it is used; errors of the database become one line."""
        engine = self._engine()
        try:
            yield engine
        except (SQLAlchemyError, engine.dialect.loaded_dbapi.Error) as error:
            cause = getattr(error, "orig", None) or error
            raise ConfigurationError(f"cannot read {self.name}: {self._why(cause)}") from error
        finally:
            engine.dispose()

    def _why(self, error: BaseException) -> str:
        """The message of the driver's error, as one line."""
        return " ".join(str(error).split()) or type(error).__name__

    def count(self) -> int:
        """
        Count the rows.

        @raise ConfigurationError: there is no such table, or it is not gearmand's.
        """
        with self._database() as engine:
            inspector = inspect(engine)
            if not inspector.has_table(self._table):
                raise ConfigurationError(f"there is no {self.name}; --table names another")
            with engine.connect() as connection:
                # Their names only: of types such as SQLite's int(10) SQLAlchemy would warn.
                empty = f"SELECT * FROM {self._quoted(engine)} WHERE 1 = 0"  # noqa: S608
                self._columns = set(connection.exec_driver_sql(empty).keys())
            missing = set(COLUMNS) - self._columns - {OPTIONAL}
            if missing:
                raise ConfigurationError(
                    f"{self.name} is not gearmand's: it has no column {', '.join(sorted(missing))}"
                )
            with engine.connect() as connection:
                statement = f"SELECT count(*) FROM {self._quoted(engine)}"  # noqa: S608
                return int(connection.exec_driver_sql(statement).scalar_one())

    def rows(self) -> Generator[Row, None, None]:
        """
        Read all rows, in the order of gearmand's own start: as they lie in the table.
        One row is in memory at a time. L{count} has to be called before.
        """
        with self._database() as engine, closing(engine.raw_connection()) as pooled:
            expressions = {**dict.fromkeys(COLUMNS, "NULL"), **{name: name for name in self._columns}}
            for name in ("function_name", "unique_key"):
                expressions[name] = self._as_bytes(name)
            wanted = ", ".join(expressions[name] for name in COLUMNS)
            statement = f"SELECT {wanted} FROM {self._quoted(engine)}"  # noqa: S608
            # Closed here and not by the garbage collector: the connection must still be open.
            with closing(self._stream(pooled.driver_connection, statement)) as found:
                for function, unique, priority, when, data in found:
                    yield Row(function, unique, priority, self._when(when), data)

    def _quoted(self, engine: Engine) -> str:
        return engine.dialect.identifier_preparer.quote_identifier(self._table)

    def _when(self, when: Any) -> Any:
        return when

    @abstractmethod
    def _engine(self) -> Engine:
        """A new engine, which keeps no connections."""

    @abstractmethod
    def _as_bytes(self, name: str) -> str:
        """The SQL expression for the bytes of a name, as gearmand was sent them."""

    @abstractmethod
    def _stream(self, connection: Any, statement: str) -> Generator[Any, None, None]:
        """Run a statement read-only on the driver's connection, and fetch one row at a time."""


class SQLiteTable(GearmandTable):
    """
    A table in a SQLite file. A column may have values of any type, and names any bytes.
    """

    def __init__(self, path: str, table: str | None) -> None:
        super().__init__(f"sqlite:///{path}", table)
        self._path = path

    def _engine(self) -> Engine:
        path = os.path.abspath(self._path)
        if not os.path.isfile(path):
            raise ConfigurationError(f"--from: there is no file {path}")

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=CONNECT_SECONDS)

        return create_engine("sqlite://", creator=connect, poolclass=NullPool)

    def _why(self, error: BaseException) -> str:
        if "readonly" in str(error):
            # A reader has to write only to undo what a killed writer has left.
            return (
                "gearmand was killed while it wrote; let SQLite put the file right first:"
                f" sqlite3 {self._path} 'PRAGMA schema_version'"
            )
        return super()._why(error)

    def _as_bytes(self, name: str) -> str:
        return f"CAST({name} AS BLOB)"

    def _stream(self, connection: Any, statement: str) -> Generator[Any, None, None]:
        # TEXT in a column of another type is not always UTF-8.
        connection.text_factory = bytes
        yield from connection.execute(statement)


class ServerTable(GearmandTable):
    """A table in a database of a database server."""

    driver: ClassVar[str]

    def __init__(self, url: URL, table: str | None) -> None:
        """
        @param url: where the database is, with the password.
        @param table: the table's name; C{None} for gearmand's default.
        """
        # Without the driver's options: they may hold a secret as well.
        super().__init__(url.set(query={}).render_as_string(hide_password=True), table)
        self._url = url.set(drivername=self.driver)

    @classmethod
    def at(cls, url: URL, hosts: Sequence[Host]) -> URL:
        """
        A URL with several hosts.

        @raise ConfigurationError: the driver takes one.
        """
        raise ConfigurationError("--from: one host is wanted, that of the database with gearmand's table")

    def _engine(self) -> Engine:
        arguments = {"connect_timeout": CONNECT_SECONDS}
        return create_engine(self._url, poolclass=NullPool, connect_args=arguments)


class MySQLTable(ServerTable):
    """
    A table in MySQL or MariaDB.

    gearmand sends the bytes of names as they are, and the database converts them from
    the character set of gearmand's connection to that of the column. To convert them
    back, the former has to be known: utf8mb4, the default of MariaDB's library on
    Debian, unless the URL says C{?charset=latin1}.
    """

    driver = "mysql+pymysql"

    def __init__(self, url: URL, table: str | None) -> None:
        super().__init__(url, table)
        charset = str(url.query.get("charset", "utf8mb4"))
        if not re.fullmatch("[a-z0-9_]+", charset):
            raise ConfigurationError(f"--from: there is no character set {charset!r}")
        self._charset = charset

    def _when(self, when: Any) -> Any:
        # The column has 32 bits; of a time beyond 2038 gearmand writes the lower 32.
        return when + 2**32 if isinstance(when, int) and when < 0 else when

    def _as_bytes(self, name: str) -> str:
        return f"CAST(CONVERT({name} USING {self._charset}) AS BINARY)"

    def _stream(self, connection: Any, statement: str) -> Generator[Any, None, None]:
        from pymysql.cursors import SSCursor

        with connection.cursor(SSCursor) as cursor:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
            cursor.execute(statement)
            yield from cursor


class PostgresTable(ServerTable):
    """A table in PostgreSQL."""

    driver = "postgresql+psycopg"
    default = "queue"

    @classmethod
    def at(cls, url: URL, hosts: Sequence[Host]) -> URL:
        # libpq takes the first that answers.
        return url.update_query_dict(
            {
                "host": ",".join(host.name or "" for host in hosts),
                "port": ",".join(str(host.port or PORT) for host in hosts),
            }
        )

    def _as_bytes(self, name: str) -> str:
        return f"convert_to({name}, getdatabaseencoding())"

    def _stream(self, connection: Any, statement: str) -> Generator[Any, None, None]:
        connection.read_only = True
        with connection.cursor() as cursor:
            # Otherwise a long table may be read from its middle, or by several processes at once.
            cursor.execute("SET synchronize_seqscans = off")
            cursor.execute("SET max_parallel_workers_per_gather = 0")
            yield from cursor.stream(statement)


SERVERS: Final[dict[str, type[ServerTable]]] = {
    "mysql": MySQLTable,
    "mariadb": MySQLTable,
    "postgresql": PostgresTable,
}
"""The kinds of tables in database servers, by the URL's scheme."""


def gearmand_table(url: str, table: str | None, password: str | None) -> GearmandTable:
    """
    Make the reader of a table; nothing is connected yet.

    @param url: C{sqlite:///path}, where the path stands as it is, C{mysql://...},
        C{mariadb://...} or C{postgresql://...}.
    @param table: the table's name; C{None} for gearmand's default.
    @param password: replaces the one in the URL, if it is not C{None}.
    @raise ConfigurationError: the URL is none of these, or its driver is not installed.
    """
    file = "sqlite:///"
    if url.startswith(file) and url != file:
        return SQLiteTable(url.removeprefix(file), table)
    try:
        kind = SERVERS[url.partition("://")[0]]
        plain, hosts = split(url)
        parsed = make_url(plain if len(hosts) > 1 else url)
    except HostsError as error:
        raise ConfigurationError(f"--from: {error}") from error
    except (KeyError, ArgumentError, ValueError) as error:
        # Not the URL: it may hold a password.
        raise ConfigurationError(
            "--from: sqlite:///path, mysql://user@host/database or postgresql://user@host/database is wanted"
        ) from error
    if len(hosts) > 1:
        parsed = kind.at(parsed, hosts)
    if password is not None:
        parsed = parsed.set(password=password)
    found = kind(parsed, table)
    try:
        parsed.set(drivername=kind.driver).get_dialect().import_dbapi()
    except ImportError as error:
        extra = kind.driver.partition("+")[0]
        raise ConfigurationError(
            f"--from: {error.name} is not installed; pip install 'txgear[{extra}]'"
        ) from error
    return found

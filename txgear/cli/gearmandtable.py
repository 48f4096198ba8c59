"""
gearmand's queue tables in SQLite, MySQL and PostgreSQL: read, and never written.
"""

from __future__ import annotations

import os
import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, ClassVar, Final, NamedTuple
from urllib.parse import quote

from sqlalchemy import URL, Engine, create_engine, inspect, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from txgear.errors import ConfigurationError

COLUMNS: Final = ("function_name", "unique_key", "priority", "when_to_run", "data")
"""gearmand's columns, in the order of a L{Row}."""

OPTIONAL: Final = "when_to_run"
"""The column that the tables of old versions do not have."""

CONNECT_SECONDS: Final = 10


class Row(NamedTuple):
    """
    One row as it stands there. Nothing is sure but that names and data are bytes or C{None}.
    """

    function: bytes | None
    unique: bytes | None
    priority: Any
    when: Any
    data: bytes | None


class GearmandTable(ABC):
    """
    A table that some gearmand has left.

    Each method connects for itself, and raises L{ConfigurationError} with one
    line if the database does not do as it should.

    @ivar name: where it is, without a password.
    """

    default: ClassVar[str] = "gearman_queue"
    """The table's name, unless gearmand was told another."""

    def __init__(self, database: str, table: str | None) -> None:
        """
        @param database: where it is, for messages.
        @param table: the table's name; gearmand's own by default.
        """
        self._table = table or self.default
        self._columns: set[str] = set()
        self.name = f"table {self._table} of {database}"

    @contextmanager
    def _database(self) -> Iterator[Engine]:
        """What connects to it; errors become one line."""
        engine = self._engine()
        try:
            yield engine
        except (SQLAlchemyError, engine.dialect.loaded_dbapi.Error) as error:
            cause = getattr(error, "orig", None) or error
            raise ConfigurationError(f"cannot read {self.name}: {self._why(cause)}") from error
        finally:
            engine.dispose()

    def _why(self, error: BaseException) -> str:
        """What the driver has to say, in one line."""
        return " ".join(str(error).split()) or type(error).__name__

    def count(self) -> int:
        """
        Look whether it is gearmand's.

        @return: how many rows it has.
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
        All rows in the order in which gearmand would read them at its start:
        as they lie in the table. Only one is in memory at a time. L{count} comes first.
        """
        with self._database() as engine, closing(engine.raw_connection()) as pooled:
            expressions = {**dict.fromkeys(COLUMNS, "NULL"), **{name: name for name in self._columns}}
            for name in ("function_name", "unique_key"):
                expressions[name] = self._as_bytes(name)
            wanted = ", ".join(expressions[name] for name in COLUMNS)
            statement = f"SELECT {wanted} FROM {self._quoted(engine)}"  # noqa: S608
            # Closed here and not when it is forgotten: the connection must still be open then.
            with closing(self._stream(pooled.driver_connection, statement)) as found:
                for function, unique, priority, when, data in found:
                    yield Row(function, unique, priority, self._when(when), data)

    def _quoted(self, engine: Engine) -> str:
        return engine.dialect.identifier_preparer.quote_identifier(self._table)

    def _when(self, when: Any) -> Any:
        return when

    @abstractmethod
    def _engine(self) -> Engine:
        """What connects to the database, and keeps no connections."""

    @abstractmethod
    def _as_bytes(self, name: str) -> str:
        """The expression for a name as gearmand was sent it, byte by byte."""

    @abstractmethod
    def _stream(self, connection: Any, statement: str) -> Generator[Any, None, None]:
        """Run it on the driver's own connection, which is told to change nothing; one row at a time."""


class SQLiteTable(GearmandTable):
    """
    A table in a SQLite file. Names may be of any bytes, and a column's type means little.
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
            # All that a reader would ever write is what a killed writer has left to be undone.
            return (
                "gearmand was killed while it wrote; let SQLite put the file right first:"
                f" sqlite3 {self._path} 'PRAGMA schema_version'"
            )
        return super()._why(error)

    def _as_bytes(self, name: str) -> str:
        return f"CAST({name} AS BLOB)"

    def _stream(self, connection: Any, statement: str) -> Generator[Any, None, None]:
        # What stands as TEXT in a column of another type is not always UTF-8 either.
        connection.text_factory = bytes
        yield from connection.execute(statement)


class ServerTable(GearmandTable):
    """A table in a database that is a server."""

    driver: ClassVar[str]

    def __init__(self, url: URL, table: str | None) -> None:
        """
        @param url: where the database is, with the password.
        @param table: the table's name; gearmand's own by default.
        """
        # Without the driver's options, too: they may hold a secret of their own.
        super().__init__(url.set(query={}).render_as_string(hide_password=True), table)
        self._url = url.set(drivername=self.driver)

    def _engine(self) -> Engine:
        arguments = {"connect_timeout": CONNECT_SECONDS}
        return create_engine(self._url, poolclass=NullPool, connect_args=arguments)


class MySQLTable(ServerTable):
    """
    A table in MySQL or MariaDB.

    gearmand sends names as they come, and the server turns them from the
    connection's character set into the column's. Reading turns them back, so it
    has to use gearmand's: utf8mb4, as MariaDB's library does on Debian, unless the
    URL says C{?charset=latin1}.
    """

    driver = "mysql+pymysql"

    def __init__(self, url: URL, table: str | None) -> None:
        super().__init__(url, table)
        charset = str(url.query.get("charset", "utf8mb4"))
        if not re.fullmatch("[a-z0-9_]+", charset):
            raise ConfigurationError(f"--from: there is no character set {charset!r}")
        self._charset = charset

    def _when(self, when: Any) -> Any:
        # The column has 32 bits, and gearmand writes the lower ones of a time beyond 2038 into it.
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

    def _as_bytes(self, name: str) -> str:
        return f"convert_to({name}, getdatabaseencoding())"

    def _stream(self, connection: Any, statement: str) -> Generator[Any, None, None]:
        connection.read_only = True
        with connection.cursor() as cursor:
            # Otherwise a long table may be read from somewhere in its middle, or by several at once.
            cursor.execute("SET synchronize_seqscans = off")
            cursor.execute("SET max_parallel_workers_per_gather = 0")
            yield from cursor.stream(statement)


SERVERS: Final[dict[str, type[ServerTable]]] = {
    "mysql": MySQLTable,
    "mariadb": MySQLTable,
    "postgresql": PostgresTable,
}
"""The kinds of tables that are not in a file, by the URL's scheme."""


def gearmand_table(url: str, table: str | None, password: str | None) -> GearmandTable:
    """
    @param url: C{sqlite:///path}, where the path stands as it is, C{mysql://...},
        C{mariadb://...} or C{postgresql://...}.
    @param table: the table's name; gearmand's own by default.
    @param password: the one to use instead of the URL's, or C{None}.
    @raise ConfigurationError: the URL is none of these, or its driver is not installed.
    """
    file = "sqlite:///"
    if url.startswith(file) and url != file:
        return SQLiteTable(url.removeprefix(file), table)
    try:
        kind = SERVERS[url.partition("://")[0]]
        parsed = make_url(url)
    except (KeyError, ArgumentError, ValueError) as error:
        # Not the URL: it may hold a password.
        raise ConfigurationError(
            "--from: sqlite:///path, mysql://user@host/database or postgresql://user@host/database is wanted"
        ) from error
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

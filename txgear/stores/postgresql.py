"""
PostgreSQL, by psycopg 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from math import ceil
from typing import Any, Final

from sqlalchemy import Column, Connection, Table, any_, bindparam, event
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor, Dialect

from txgear.stores.schema import inserted
from txgear.stores.servers import ACCESS, GRACE, OTHERS, READ_ONLY, RIGHTS, ServerDialect
from txgear.stores.statements import Statements

LARGEST_SECONDS: Final = 600.0
"""
Seconds that a statement has beside its timeout: the largest workload, 64 MiB, at a megabit a second.
One that stands still is given up by the connection long before.
"""

LOCK: Final = int.from_bytes(b"txgear", "big")
"""The advisory lock of the server that has the database."""

ADVICE: Final = {"28": ACCESS, "3D": ACCESS, "42501": RIGHTS, "3F": RIGHTS, "25006": READ_ONLY, "42": OTHERS}
"""What to do, by the beginning of an SQLSTATE; the first that fits."""

NOT_LET_IN: Final = (
    ("authentication failed", ACCESS),
    ("no password", ACCESS),
    ("pg_hba.conf", ACCESS),
    ("does not exist", ACCESS),
    ("not permitted", ACCESS),
    ("invalid connection option", "check what follows the question mark in the URL"),
)
"""What PostgreSQL says to those whom it does not let in, without an SQLSTATE, and what to do."""


class CopyAndArrays(Statements):
    """
    Rows by COPY, and keys as one array: beside INSERT with many rows and IN with many keys,
    psycopg needs a tenth of its time for the one and a third for the other.
    """

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self._copy = cache(self._make_copy)

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

    def among(self, key: Column[Any], keys: int) -> Any:
        return key == any_(bindparam(None, type_=ARRAY(key.type), required=True))

    def lists(self, keys: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        if keys:
            yield (list(keys),)

    def _make_copy(self, table: Table) -> tuple[str, list[str]]:
        """The statement, and the types of its columns as psycopg knows them."""
        quoted = self.dialect.identifier_preparer
        columns = ", ".join(quoted.quote(column.name) for column in inserted(table))
        return (
            f"COPY {quoted.format_table(table)} ({columns}) FROM STDIN (FORMAT BINARY)",
            [column.type.compile(self.dialect).lower() for column in inserted(table)],
        )


class PostgreSQL(ServerDialect):
    """A PostgreSQL database."""

    driver = "postgresql+psycopg"
    package = "txgear[postgresql]"
    kind_of_statements = CopyAndArrays

    def __init__(self, url: str, password: str | None, timeout: float) -> None:
        super().__init__(url, password, timeout)
        event.listen(self.engine, "do_connect", self._connect)

    def connect_args(self) -> dict[str, Any]:
        # libpq takes whole seconds, and not less than two.
        return {"connect_timeout": max(2, ceil(self.timeout)), "fallback_application_name": "txgear"}

    def _connect(self, dialect: Dialect, record: Any, args: Any, kwargs: Any) -> Any:
        """What SQLAlchemy connects by."""
        from txgear.stores.psycopgconnection import BoundedConnection

        connection = BoundedConnection.connect(*args, **kwargs)
        connection.patience = self.timeout + GRACE
        return connection

    def settle(self, connection: Connection) -> None:
        connection.exec_driver_sql(
            "SELECT set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false),"
            # Or what is answered could be lost. All stronger values are the operator's choice.
            " CASE current_setting('synchronous_commit')"
            " WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END",
            (f"{ceil(self.timeout * 1000)}ms", f"{ceil((self.timeout + LARGEST_SECONDS) * 1000)}ms"),
        )

    def lock(self, connection: Connection) -> bool:
        taken: bool = connection.exec_driver_sql("SELECT pg_try_advisory_lock(%s)", (LOCK,)).scalar_one()
        if taken:
            self.session = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        elif self.session is not None:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                # How it shows the two halves of the number, and that they are of one.
                " AND classid = (%s >> 32)::oid AND objid = (%s & 4294967295)::oid AND objsubid = 1"
                " AND pid = %s",
                (LOCK, LOCK, self.session),
            )
        return taken

    def cursor(self, driver: DBAPIConnection) -> DBAPICursor:
        # Or bytes come as hexadecimal digits.
        return driver.cursor(binary=True)

    def words(self, error: BaseException) -> str:
        # Without the statement, the context and the hints.
        return getattr(getattr(error, "diag", None), "message_primary", None) or str(error)

    def refuses(self, error: BaseException) -> bool:
        # The disk is full, memory is short, something is larger than it may be. Not: too many connections.
        return _state(error).startswith(("53100", "53200", "54"))

    def hopeless(self, error: BaseException) -> str:
        state = _state(error)
        if not state:
            return next((advice for words, advice in NOT_LET_IN if words in str(error)), "")
        return next((advice for start, advice in ADVICE.items() if state.startswith(start)), "")


def _state(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or ""

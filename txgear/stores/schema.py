"""
The tables of a SQL store, as its newest revision has them.

There is no index but the primary keys: jobs come with growing numbers, so that
each insert is an append.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    text,
)
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.types import TypeEngine

REVISIONS: Final = ("0001", "0002")
"""All revisions, up to that of the tables below: the files in C{migrations/versions}."""

REVISION_TABLE: Final = "txgear_schema"
"""Where Alembic notes a database's revision; its usual name may be another program's."""

_metadata: Final = MetaData()

# On SQLite the number is the row's own.
_NUMBER: Final = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")


def _key(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _column(name: str, kind: TypeEngine[Any], default: str | None = None) -> Column[Any]:
    return Column(name, kind, nullable=False, server_default=None if default is None else text(default))


def _bytes(most: int) -> TypeEngine[Any]:
    """At most so many bytes; only MySQL asks how many."""
    return LargeBinary().with_variant(mysql.VARBINARY(most), "mysql")


def _digest(size: int) -> TypeEngine[Any]:
    return LargeBinary().with_variant(mysql.BINARY(size), "mysql")


jobs: Final = Table(
    "txgear_jobs",
    _metadata,
    # In the order of a JobRecord.
    _key("number", _NUMBER),
    _column("place", BigInteger()),
    _column("prefix", _bytes(64)),
    _column("function", _bytes(8191)),
    _column("uniq", _bytes(64)),
    Column("digest", _digest(16)),
    _column("reducer", _bytes(64)),
    _column("priority", SmallInteger()),
    _column("due", Double()),
    _column("retries", Integer()),
    _column("size", BigInteger()),
    _column("created", Double(), "0"),
    # Few jobs have these (see LATER).
    _column("state", SmallInteger(), "0"),
    _column("ended", Double(), "0"),
    # Databases have it as life, which is what it was called first.
    Column("life", LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql"), key="history"),
    mysql_engine="InnoDB",
)
"""The jobs that are kept."""

workloads: Final = Table(
    "txgear_workloads",
    _metadata,
    _key("number", _NUMBER),
    _column("workload", LargeBinary().with_variant(mysql.LONGBLOB(), "mysql")),
    mysql_engine="InnoDB",
)
"""Their workloads, where they are not empty: apart, so that the jobs can be read without them."""

results: Final = Table(
    "txgear_results",
    _metadata,
    _key("number", _NUMBER),
    _column("result", LargeBinary().with_variant(mysql.LONGBLOB(), "mysql")),
    mysql_engine="InnoDB",
)
"""What ended jobs have brought, where it is kept and not empty."""

stored_values: Final = Table(
    # Marks, in all databases, is what they were called first.
    "txgear_marks",
    _metadata,
    # SHA-256 of the kind, as one byte, and the name: MySQL has no keys as long as a function's name.
    _key("digest", _digest(32)),
    _column("kind", SmallInteger()),
    _column("name", _bytes(8191)),
    _column("value", Double()),
    mysql_engine="InnoDB",
)
"""What is kept that is no job."""

numbers: Final = Table(
    "txgear_numbers",
    _metadata,
    _key("next", _NUMBER),
    _column("openings", BigInteger()),
    mysql_engine="InnoDB",
)
"""One row: the first job number that is not reserved, and how often a server has opened the store."""

imported: Final = Table("txgear_imported", _metadata, _key("digest", _digest(32)), mysql_engine="InnoDB")
"""What has been taken over from another server's queue."""

LATER: Final = frozenset({"state", "ended", "history"})
"""Columns of L{jobs} that a new row leaves to their defaults."""

TABLES: Final = (jobs, workloads, results, stored_values, numbers, imported)


def inserted(table: Table) -> list[Column[Any]]:
    """The columns of a new row, in their order."""
    return [column for column in table.columns if table is not jobs or column.key not in LATER]

"""
The tables of a SQL store, in their newest revision.

Jobs come with growing numbers, so each insert is an append; and so it is, or nearly, in the indexes, which
are for the questions that a store is asked (L{txgear.stores.questions}).

Tables and columns keep the names that they were made with: C{txgear_marks} holds the
stored values, with C{note} for their texts, and C{life} the history of a job.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    text,
)
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.types import TypeEngine

REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008")
"""All revisions, up to that of the tables below: the files in C{migrations/versions}."""
LEASES_SINCE: Final = "0006"
"""
The revision from which on there are leases as they are now; before there were any, a lock of the database's
kept other servers off.
"""

REVISION_TABLE: Final = "txgear_schema"
"""The table in which Alembic notes the revision; its usual name may be another program's."""

MAX_NOTE: Final = 1024
"""Bytes of the text of a stored value; what is longer is cut off."""

MAX_NAME: Final = 255
"""Characters of the texts of a lease."""

MAX_STATUS: Final = 4096
"""Bytes of what a server says of itself."""

_metadata: Final = MetaData()

# On SQLite this makes the number the rowid.
_NUMBER: Final = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")


def _key(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _column(name: str, kind: TypeEngine[Any], default: str | None = None) -> Column[Any]:
    return Column(name, kind, nullable=False, server_default=None if default is None else text(default))


def _bytes(most: int) -> TypeEngine[Any]:
    """Bytes, of which only MySQL wants to know how many there may be."""
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
    # Few jobs have these (see UPDATED_ONLY).
    _column("state", SmallInteger(), "0"),
    _column("ended", Double(), "0"),
    Column("life", LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql"), key="history"),
    # What it is found by (L{txgear.stores.places}); a lane of 0 is one that is not known yet.
    _column("lane", BigInteger(), "0"),
    Column("ukey", BigInteger()),
    # When something is to be done to it, or 0.0: the wake of a JobRecord, or its due.
    _column("wake", Double(), "0"),
    # NULL where L{workloads} may have it. The last one, as most statements do not look at it.
    Column("workload", LargeBinary()),
    mysql_engine="InnoDB",
)
"""The jobs that are kept, with their workloads if these are small."""

BY_LANE: Final = Index("txgear_jobs_lane", jobs.c.lane, jobs.c.place)
BY_KEY: Final = Index(
    "txgear_jobs_ukey",
    jobs.c.ukey,
    sqlite_where=jobs.c.ukey.is_not(None),
    postgresql_where=jobs.c.ukey.is_not(None),
)
BY_WAKE: Final = Index(
    "txgear_jobs_wake",
    jobs.c.wake,
    jobs.c.number,
    sqlite_where=jobs.c.wake > 0,
    postgresql_where=jobs.c.wake > 0,
)

lanes: Final = Table(
    "txgear_lanes",
    _metadata,
    _key("lane", BigInteger()),
    _column("function", _bytes(8191)),
    _column("tenant", _bytes(1024)),
    _column("kind", SmallInteger()),
    _column("jobs", BigInteger()),
    _column("bytes", BigInteger()),
    # Of L{leases}.
    _column("part", Integer(), "1"),
    mysql_engine="InnoDB",
)
"""How many jobs each lane has. Its row may stay for a while when it has none."""

workloads: Final = Table(
    "txgear_workloads",
    _metadata,
    _key("number", _NUMBER),
    _column("workload", LargeBinary().with_variant(mysql.LONGBLOB(), "mysql")),
    mysql_engine="InnoDB",
)
"""
Large workloads, in a table of their own; and small ones that versions before have written there. None is of a
job whose own row has one.
"""

results: Final = Table(
    "txgear_results",
    _metadata,
    _key("number", _NUMBER),
    _column("result", LargeBinary().with_variant(mysql.LONGBLOB(), "mysql")),
    mysql_engine="InnoDB",
)
"""Results that are kept and not empty."""

stored_values: Final = Table(
    "txgear_marks",
    _metadata,
    # SHA-256 of the kind, as one byte, and the name: MySQL has no keys as long as a function's name.
    _key("digest", _digest(32)),
    _column("kind", SmallInteger()),
    _column("name", _bytes(8191)),
    _column("value", Double()),
    Column("note", _bytes(MAX_NOTE), key="text"),
    mysql_engine="InnoDB",
)
"""Values that are kept beside the jobs (L{txgear.broker.records.StoredValue})."""

numbers: Final = Table(
    "txgear_numbers",
    _metadata,
    _key("next", _NUMBER),
    # Nobody reads it any more: versions before the leases counted how often a server had opened the store.
    _column("openings", BigInteger()),
    # What the numbers of lanes are made with: nobody else can find two functions with the same one.
    Column("salt", _digest(16)),
    # The lanes of jobs with higher numbers are still to be filled in; NULL where all are known.
    Column("filled", BigInteger()),
    mysql_engine="InnoDB",
)
"""One row: the first job number that is not reserved, and more."""

leases: Final = Table(
    "txgear_leases",
    _metadata,
    _key("part", Integer()),
    # Random, anew with each taking; empty where it was let go of.
    _column("owner", _bytes(16)),
    _column("term", BigInteger()),
    _column("beat", BigInteger()),
    # For people: where the owner runs.
    _column("name", String(MAX_NAME)),
    # The database's own words for the owner's connection; empty where they tell nothing.
    _column("session", String(MAX_NAME)),
    # Where clients reach the owner; empty where that was not said.
    _column("address", String(MAX_NAME), "''"),
    # Random, the same in all parts of a server's run; empty where nobody has it.
    _column("server", _bytes(16), "''"),
    # The first job number of the part, the first that is not reserved, and the first above all; 0 is its end
    # where it is all there is, and txgear_numbers counts.
    _column("first", BigInteger(), "0"),
    _column("next", BigInteger(), "0"),
    _column("end", BigInteger(), "0"),
    # What that server says of itself, as JSON, in the part that its new jobs come to.
    Column("status", _bytes(MAX_STATUS)),
    mysql_engine="InnoDB",
)
"""Which server has which part of the rows (L{txgear.stores.leases}). A SQLite file has a lock instead."""

claims: Final = Table(
    "txgear_claims",
    _metadata,
    _key("digest", _digest(16)),
    _column("number", BigInteger()),
    mysql_engine="InnoDB",
)
"""Which job has a unique, of several servers: a digest of its function and its key, and its number."""

BY_CLAIMANT: Final = Index("txgear_claims_number", claims.c.number)

orders: Final = Table(
    "txgear_orders",
    _metadata,
    # Random.
    _key("number", BigInteger()),
    _column("part", Integer()),
    # What is to be done, and what has come of it, as JSON.
    _column("asked", LargeBinary().with_variant(mysql.LONGBLOB(), "mysql")),
    Column("answer", LargeBinary().with_variant(mysql.LONGBLOB(), "mysql")),
    mysql_engine="InnoDB",
)
"""What one server of several asks another one for, the owner of a part."""

imported: Final = Table("txgear_imported", _metadata, _key("digest", _digest(32)), mysql_engine="InnoDB")
"""Digests of the rows that C{txgear import} has taken over from another server's queue."""

history: Final = Table(
    "txgear_history",
    _metadata,
    _key("number", _NUMBER),
    _column("chunk", LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql")),
    mysql_engine="InnoDB",
)
"""Chunks of the history of figures. It is not looked at when the store is opened: no job needs it."""

keys: Final = Table(
    "txgear_keys",
    # Databases have no such table.
    MetaData(),
    _key("ukey", BigInteger()),
    _key("number", BigInteger()),
    sqlite_with_rowid=False,
)
"""Which jobs have which keys (L{txgear.stores.sqlitekeys}), in place of L{BY_KEY}: in SQLite only."""

UPDATED_ONLY: Final = frozenset({"state", "ended", "history"})
"""Columns of L{jobs} that an insert leaves to their defaults, and an update sets."""

TABLES: Final = (jobs, workloads, results, stored_values, numbers, imported, lanes, leases, claims, orders)
"""What a server cannot do without."""


def inserted_columns(table: Table) -> list[Column[Any]]:
    """The columns that an insert sets, in the order of the table."""
    return [column for column in table.columns if table is not jobs or column.key not in UPDATED_ONLY]

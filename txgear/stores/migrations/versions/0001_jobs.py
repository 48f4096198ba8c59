"""
Jobs, their workloads, the numbers that are reserved, and what has been imported.

The tables stand here as they were then, whatever has become of them since. MySQL
has no transaction around this, so that it may have been interrupted anywhere.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, sqlite

revision = "0001"
down_revision = None


def _bytes(most: int) -> Any:
    return sa.LargeBinary().with_variant(mysql.VARBINARY(most), "mysql")


def _digest(size: int) -> Any:
    return sa.LargeBinary().with_variant(mysql.BINARY(size), "mysql")


def _key(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite")
    tables: dict[str, list[sa.Column[Any]]] = {
        "txgear_jobs": [
            _key("number", number),
            sa.Column("place", sa.BigInteger(), nullable=False),
            sa.Column("prefix", _bytes(64), nullable=False),
            sa.Column("function", _bytes(8191), nullable=False),
            sa.Column("uniq", _bytes(64), nullable=False),
            sa.Column("digest", _digest(16)),
            sa.Column("reducer", _bytes(64), nullable=False),
            sa.Column("priority", sa.SmallInteger(), nullable=False),
            sa.Column("due", sa.Double(), nullable=False),
            sa.Column("retries", sa.Integer(), nullable=False),
            sa.Column("size", sa.BigInteger(), nullable=False),
        ],
        "txgear_workloads": [
            _key("number", number),
            sa.Column("workload", sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql"), nullable=False),
        ],
        "txgear_numbers": [
            _key("next", number),
            sa.Column("openings", sa.BigInteger(), nullable=False),
        ],
        "txgear_imported": [_key("digest", _digest(32))],
    }
    for name, columns in tables.items():
        op.create_table(name, *columns, mysql_engine="InnoDB", if_not_exists=True)
    numbers = sa.table("txgear_numbers", sa.column("next"), sa.column("openings"))
    if not op.get_bind().execute(sa.select(numbers)).all():
        op.get_bind().execute(sa.insert(numbers).values(next=1, openings=0))

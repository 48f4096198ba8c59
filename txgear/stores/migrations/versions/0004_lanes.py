"""
What jobs are found by, and how many there are of each kind.

MySQL has no transaction around this, so that it may have been interrupted anywhere. The columns of jobs that
are there are filled in afterwards, and the indexes made (L{txgear.stores.filling}), as that may take minutes.
"""

from __future__ import annotations

import os
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"


def _bytes(most: int) -> Any:
    return sa.LargeBinary().with_variant(mysql.VARBINARY(most), "mysql")


def _add_columns(table: str, *columns: sa.Column[Any]) -> None:
    there = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}
    for column in columns:
        if column.name not in there:
            op.add_column(table, column)


def upgrade() -> None:
    op.create_table(
        "txgear_lanes",
        sa.Column("lane", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("function", _bytes(8191), nullable=False),
        sa.Column("tenant", _bytes(1024), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        mysql_engine="InnoDB",
        if_not_exists=True,
    )
    _add_columns(
        "txgear_jobs",
        sa.Column("lane", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("ukey", sa.BigInteger()),
        sa.Column("wake", sa.Double(), nullable=False, server_default=sa.text("0")),
    )
    _add_columns(
        "txgear_numbers",
        sa.Column("salt", sa.LargeBinary().with_variant(mysql.BINARY(16), "mysql")),
        sa.Column("filled", sa.BigInteger()),
    )
    bind = op.get_bind()
    numbers = sa.table("txgear_numbers", sa.column("salt"), sa.column("filled"))
    if bind.execute(sa.select(numbers.c.salt)).scalar() is None:
        bind.execute(sa.update(numbers).values(salt=sa.literal(os.urandom(16), sa.LargeBinary()), filled=0))

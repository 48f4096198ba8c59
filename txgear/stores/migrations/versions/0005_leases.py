"""
Which server has which part of the store: a row that its owner changes in each transaction, in place of a lock
of the database's, which two servers may have at once where that is a cluster.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"


def _bytes(most: int) -> Any:
    return sa.LargeBinary().with_variant(mysql.VARBINARY(most), "mysql")


def upgrade() -> None:
    op.create_table(
        "txgear_leases",
        sa.Column("part", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("owner", _bytes(16), nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("session", sa.String(255), nullable=False),
        sa.Column("address", sa.String(255), nullable=False, server_default=sa.text("''")),
        sa.Column("first", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("next", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("end", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        mysql_engine="InnoDB",
        if_not_exists=True,
    )
    # MySQL has no transaction around this: it may have been interrupted here.
    if "part" not in {column["name"] for column in sa.inspect(op.get_bind()).get_columns("txgear_lanes")}:
        op.add_column(
            "txgear_lanes", sa.Column("part", sa.Integer(), nullable=False, server_default=sa.text("1"))
        )

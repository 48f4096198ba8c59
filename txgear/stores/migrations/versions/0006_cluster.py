"""
What several servers with one store say to each other: which job has a unique, orders, and what each says of
itself.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"


def _bytes(most: int) -> Any:
    return sa.LargeBinary().with_variant(mysql.VARBINARY(most), "mysql")


def _long() -> Any:
    return sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql")


def upgrade() -> None:
    op.create_table(
        "txgear_claims",
        sa.Column(
            "digest",
            sa.LargeBinary().with_variant(mysql.BINARY(16), "mysql"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("number", sa.BigInteger(), nullable=False),
        mysql_engine="InnoDB",
        if_not_exists=True,
    )
    op.create_table(
        "txgear_orders",
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("asked", _long(), nullable=False),
        sa.Column("answer", _long()),
        mysql_engine="InnoDB",
        if_not_exists=True,
    )
    # MySQL has no transaction around this: it may have been interrupted anywhere here.
    inspector = sa.inspect(op.get_bind())
    if "txgear_claims_number" not in {index["name"] for index in inspector.get_indexes("txgear_claims")}:
        op.create_index("txgear_claims_number", "txgear_claims", ["number"])
    there = {column["name"] for column in inspector.get_columns("txgear_leases")}
    for column in (
        sa.Column("server", _bytes(16), nullable=False, server_default=sa.text("''")),
        sa.Column("status", _bytes(4096)),
    ):
        if column.name not in there:
            op.add_column("txgear_leases", column)

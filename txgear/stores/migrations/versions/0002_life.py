"""
When jobs were submitted, how they ended and what they brought; and marks.

MySQL has no transaction around this, so that it may have been interrupted anywhere.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, sqlite

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite")
    columns: list[sa.Column[Any]] = [
        sa.Column("created", sa.Double(), nullable=False, server_default=sa.text("0")),
        sa.Column("state", sa.SmallInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("ended", sa.Double(), nullable=False, server_default=sa.text("0")),
        sa.Column("life", sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql")),
    ]
    there = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("txgear_jobs")}
    for column in columns:
        if column.name not in there:
            op.add_column("txgear_jobs", column)
    op.create_table(
        "txgear_results",
        sa.Column("number", number, primary_key=True, autoincrement=False),
        sa.Column("result", sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql"), nullable=False),
        mysql_engine="InnoDB",
        if_not_exists=True,
    )
    op.create_table(
        "txgear_marks",
        sa.Column(
            "digest",
            sa.LargeBinary().with_variant(mysql.BINARY(32), "mysql"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("name", sa.LargeBinary().with_variant(mysql.VARBINARY(8191), "mysql"), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

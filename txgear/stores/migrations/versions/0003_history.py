"""
What is said beside stored values, and chunks of the history of figures.

MySQL has no transaction around this, so that it may have been interrupted anywhere.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, sqlite

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    there = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("txgear_marks")}
    if "note" not in there:
        op.add_column(
            "txgear_marks",
            sa.Column("note", sa.LargeBinary().with_variant(mysql.VARBINARY(1024), "mysql")),
        )
    op.create_table(
        "txgear_history",
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("chunk", sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql"), nullable=False),
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

"""
The keys of SQLite's jobs in a table of their own, which is filled in large steps, in place of an index.

It is filled when the store is opened (L{txgear.stores.sqlitekeys}), as that may take minutes. Databases keep
their index.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    bind = op.get_bind()
    if bind.dialect.name != "sqlite":
        return
    op.create_table(
        "txgear_keys",
        sa.Column("ukey", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    # How far it is filled.
    op.execute("INSERT OR IGNORE INTO txgear_keys SELECT -1, 0 WHERE NOT EXISTS (SELECT 1 FROM txgear_keys)")
    # Where a version before 0004 has written the jobs there is none yet.
    op.execute("DROP INDEX IF EXISTS txgear_jobs_ukey")

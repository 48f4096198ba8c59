"""
Small workloads in the rows of their jobs. Those that are kept already stay where they are.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    # MySQL has no transaction around this: it may have been interrupted after it.
    if "workload" not in {column["name"] for column in sa.inspect(op.get_bind()).get_columns("txgear_jobs")}:
        op.add_column("txgear_jobs", sa.Column("workload", sa.LargeBinary()))

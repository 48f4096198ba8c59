"""
What Alembic runs to reach the database: it is given the connection and leaves the transaction, and
the logging, as they are.
"""

from __future__ import annotations

from alembic import context

from txgear.stores.schema import REVISION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=REVISION_TABLE)
context.run_migrations()

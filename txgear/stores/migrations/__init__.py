"""
The revisions of a SQL store's schema. Alembic carries them out, on the store's own connection.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table

from txgear.stores.schema import REVISION_TABLE, REVISIONS


def revision(connection: Connection) -> str | None:
    """The revision of the tables in a database; C{None} if there are none, or they were never finished."""
    if not inspect(connection).has_table(REVISION_TABLE):
        return None
    # Alembic's name for the column.
    return connection.execute(select(column("version_num")).select_from(table(REVISION_TABLE))).scalar()


def upgrade(connection: Connection, target: str = REVISIONS[-1]) -> None:
    """
    Bring the tables to a revision, within the transaction that is under way.

    Alembic is imported here: a server whose tables are up to date does not need it.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    # Alembic's parser gives per cent signs a meaning.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, target)

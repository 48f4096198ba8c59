"""
Jobs of a gearmand in the database of a store: it was stopped, and its table is still there.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, column, func, select, table
from sqlalchemy.exc import OperationalError, ProgrammingError

from txgear.stores import schema

COLUMNS = ("function_name", "unique_key", "priority", "data")
"""What each of gearmand's tables has, however old it is."""


class Leftovers(NamedTuple):
    """
    @ivar rows: jobs in gearmand's table.
    @ivar taken: those that C{txgear import} has taken over, from there or from elsewhere.
    """

    rows: int
    taken: int


def look(connection: Connection, name: str) -> Leftovers:
    """
    Count them.

    @param connection: the store's own, at rest; it is at rest again then.
    @param name: the table's.
    """
    theirs = table(name, *map(column, COLUMNS))
    try:
        connection.execute(select(*theirs.columns).limit(1)).all()
        rows = connection.execute(select(func.count()).select_from(theirs)).scalar_one()
    except (OperationalError, ProgrammingError):
        # As it should be: there is no such table, or it is somebody else's.
        rows = 0
    finally:
        connection.rollback()
    taken = connection.execute(select(func.count()).select_from(schema.imported)).scalar_one() if rows else 0
    connection.rollback()
    return Leftovers(rows, taken)

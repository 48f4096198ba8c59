"""
Jobs that a gearmand has left in the database of a store: its table is still there.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, column, func, select, table
from sqlalchemy.exc import OperationalError, ProgrammingError

from txgear.stores import schema

COLUMNS = ("function_name", "unique_key", "priority", "data")
"""Columns that each of gearmand's tables has, however old it is."""


class Leftovers(NamedTuple):
    """
    How many jobs there are.

    @ivar rows: jobs in gearmand's table.
    @ivar taken: jobs that C{txgear import} has taken over, from this table or from another.
    """

    rows: int
    taken: int


def count_leftovers(connection: Connection, name: str) -> Leftovers:
    """
    Count the jobs in gearmand's table; a table that is not there, or not gearmand's, has none.

    @param connection: the store's own, outside of a transaction; it is outside of one again afterwards.
    @param name: the table's name.
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

#!/usr/bin/env python3
"""
CPython: a closed connection of sqlite3 keeps its lock, and commits later, as long as there is a cursor.

Seen with: CPython 3.11.7, 3.12.1 and 3.13.0, SQLite 3.40.1. Nothing is installed: it is the standard
  library alone. With 3.10.13 it is not so: the rows are committed when the connection is closed.

Expected: the connection is in autocommit mode, and says that there is no transaction; execute() has
  returned, and SQLite's page on RETURNING says that all changes are made before the first row of it
  comes. So the rows are there, or they are when the connection is closed at the latest, and others can write.
Happens: only the end of the statement commits, and that comes when its last row has been fetched. Since 3.11
  close() leaves the statements of cursors as they are: the closed connection goes on to lock others out,
  whose timeout does not help, while nobody sees its rows. To close the cursor is refused by then. When the
  last reference to it goes, from a frame or a traceback perhaps, the rows are committed, by a connection that
  was closed long before. cursor.fetchall(), or cursor.close() before connection.close(), ends it.
  It is known that the file stays open, as Windows cannot remove it then (python/cpython issue 135117).

Output:
  executed: rows 0, in_transaction False, another one: database is locked
  connection closed: rows 0, another one: database is locked
  cursor.close(): Cannot operate on a closed database.
  cursor forgotten: rows 2, another one: writes
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from pathlib import Path

WANTED = """\
executed: rows 0, in_transaction False, another one: database is locked
connection closed: rows 0, another one: database is locked
cursor.close(): Cannot operate on a closed database.
cursor forgotten: rows 2, another one: writes
"""


def tried(path: Path) -> str:
    """What is seen by another connection at each step."""
    other = sqlite3.connect(path, isolation_level=None, timeout=0.2)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("CREATE TABLE jobs (number INTEGER)")

    def seen() -> str:
        (rows,) = other.execute("SELECT count(*) FROM jobs").fetchone()
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            return f"rows {rows}, another one: {error}"
        other.execute("ROLLBACK")
        return f"rows {rows}, another one: writes"

    connection = sqlite3.connect(path, isolation_level=None)
    cursor = connection.execute("INSERT INTO jobs VALUES (1), (2) RETURNING number")
    rows, others = seen().split(", ", 1)
    said = [f"executed: {rows}, in_transaction {connection.in_transaction}, {others}"]
    connection.close()
    said.append(f"connection closed: {seen()}")
    try:
        cursor.close()
        said.append("cursor.close(): done")
    except sqlite3.ProgrammingError as error:
        said.append(f"cursor.close(): {error}")
    del cursor
    said.append(f"cursor forgotten: {seen()}")
    other.close()
    return "".join(f"{line}\n" for line in said)


def main() -> int:
    if sys.version_info < (3, 11) or sqlite3.sqlite_version_info < (3, 35):
        print("Python 3.11 and SQLite 3.35 are needed", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        found = tried(Path(folder) / "jobs.sqlite")
    print(found, end="")
    return 0 if found == WANTED else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env bash
# SQLAlchemy: of a SQLite table whose CREATE TABLE is one line, a generated column is reflected with all that follows it.
#
# Seen with: SQLAlchemy 2.1.9 (PyPI), CPython 3.11.7, SQLite 3.40.1.
# Needs: python3 with venv, with SQLite 3.31 or newer.
#
# Expected: a table is reflected as it is, however its lines were broken when it was created, so that a table
#   which was reflected can be created elsewhere.
# Happens: the expression is looked for in the text of CREATE TABLE, from "GENERATED ALWAYS AS (" to the last bracket of
#   that line, which is the right one only where each column has a line of its own, as SQLAlchemy writes them. In one
#   line, as people write them in a shell, the expression becomes all the rest of the table; with the short
#   form, "AS (...)", which SQLite takes as well, it is empty, however the lines are. Nothing
#   is said until the table is to be created: "syntax error", or "duplicate column name".
#
# Output:
#   a line each: 'width * 2', created again: done
#   one line: 'width * 2) STORED, deep INTEGER DEFAULT (1 + 2', created again: near "STORED": syntax error
#   short form: '', created again: near ")": syntax error
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet SQLAlchemy==2.1.9 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

timeout 60 "$work/venv/bin/python" - <<'PYTHON'
import sqlite3
import sys

import sqlalchemy

if sqlite3.sqlite_version_info < (3, 31):
    print("SQLite 3.31 is needed", file=sys.stderr)
    sys.exit(2)
COLUMNS = ("width INTEGER", "area INTEGER GENERATED ALWAYS AS (width * 2) STORED", "deep INTEGER DEFAULT (1 + 2)")
TABLES = {
    "a line each": "CREATE TABLE boxes (\n" + ",\n".join(COLUMNS) + "\n)",
    "one line": "CREATE TABLE boxes (" + ", ".join(COLUMNS) + ")",
    "short form": "CREATE TABLE boxes (\n" + ",\n".join(COLUMNS).replace("GENERATED ALWAYS ", "") + "\n)",
}


def tried(text):
    """The expression as it is reflected, and what comes of creating that table."""
    reflected = sqlalchemy.MetaData()
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        connection.exec_driver_sql(text)
        boxes = sqlalchemy.Table("boxes", reflected, autoload_with=connection)
    with sqlalchemy.create_engine("sqlite://").connect() as another:
        try:
            reflected.create_all(another)
            outcome = "done"
        except sqlalchemy.exc.OperationalError as error:
            outcome = str(error.orig)
    return str(boxes.c.area.computed.sqltext), outcome


found = {name: tried(text) for name, text in TABLES.items()}
for name, (expression, outcome) in found.items():
    print(f"{name}: {expression!r}, created again: {outcome}")
wanted = {
    "a line each": ("width * 2", "done"),
    "one line": ("width * 2) STORED, deep INTEGER DEFAULT (1 + 2", 'near "STORED": syntax error'),
    "short form": ("", 'near ")": syntax error'),
}
sys.exit(0 if found == wanted else 1)
PYTHON

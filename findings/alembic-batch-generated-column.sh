#!/usr/bin/env bash
# Alembic: batch mode, which is how it alters a table of SQLite, cannot copy a table that has a generated column.
#
# Seen with: alembic 1.20.1, SQLAlchemy 2.1.9 (PyPI), CPython 3.11.7, SQLite 3.40.1.
# Needs: python3 with venv, with SQLite 3.31 or newer.
#
# Expected: batch mode makes a table with what was changed, copies the rows, and puts it in the place of the old one. It
#   knows generated columns (SQLAlchemy's Computed), as it creates them rightly in the new table; the column
#   that is altered here is another one.
# Happens: the rows are copied with all columns that the old table has, and SQLite refuses values for a generated one,
#   also where there are no rows. It makes no difference whether the table is reflected or given with copy_from. The
#   old table is as it was. To have it done, one drops the generated column in a batch, alters, and adds it by
#   hand: ALTER TABLE ADD COLUMN of SQLite takes virtual ones only.
#
# Output:
#   a plain column: done
#   a generated column beside, reflected: cannot INSERT into generated column "area"
#   a generated column beside, copy_from: cannot INSERT into generated column "area"
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" &&
    "$work/venv/bin/pip" install --quiet alembic==1.20.1 SQLAlchemy==2.1.9 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

timeout 60 "$work/venv/bin/python" - <<'PYTHON'
import sqlite3
import sys

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Column, Computed, Integer, MetaData, Table, create_engine
from sqlalchemy.exc import OperationalError

if sqlite3.sqlite_version_info < (3, 31):
    print("SQLite 3.31 is needed", file=sys.stderr)
    sys.exit(2)


def altered(*, generated, given=False):
    """What comes of forbidding NULL in a column of a table that is empty."""
    boxes = Table("boxes", MetaData(), Column("width", Integer))
    boxes.append_column(Column("area", Integer, *[Computed("width * width", persisted=True)] * generated))
    with create_engine("sqlite://").connect() as connection:
        boxes.create(connection)
        operations = Operations(MigrationContext.configure(connection))
        try:
            with operations.batch_alter_table("boxes", copy_from=boxes if given else None) as batch:
                batch.alter_column("width", nullable=False)
        except OperationalError as error:
            return str(error.orig)
        return "done"


found = {
    "a plain column": altered(generated=False),
    "a generated column beside, reflected": altered(generated=True),
    "a generated column beside, copy_from": altered(generated=True, given=True),
}
for name, outcome in found.items():
    print(f"{name}: {outcome}")
refused = 'cannot INSERT into generated column "area"'
sys.exit(0 if list(found.values()) == ["done", refused, refused] else 1)
PYTHON

#!/usr/bin/env bash
# Alembic: batch mode alters one column of a table of SQLite, and others lose ON DELETE CASCADE, COLLATE NOCASE and
# AUTOINCREMENT without a word.
#
# Seen with: alembic 1.20.1, SQLAlchemy 2.1.9 (PyPI), CPython 3.11.7, SQLite 3.40.1.
# Needs: python3 with venv.
#
# Expected: batch mode reflects the table, makes a new one with what was changed, and copies the rows; what the
#   migration does not name stays as it is. Where it cannot have something, it warns: so it does of a CHECK without a
#   name, and of an index of an expression. SQLAlchemy has all three words for its own tables of SQLite, and
#   reflects ON DELETE where the key is written at the end of the table.
# Happens: SQLAlchemy asks PRAGMA foreign_key_list, whose rows have the action, but takes that from the text of CREATE TABLE,
#   where it looks for FOREIGN KEY only; a key that is written at its column has none. It looks for neither of the other
#   words. So a parent that took its rows along when it was deleted cannot be deleted any more, two names that were
#   one are two, and the number of a row that was deleted is given again. The new table has the key at its end,
#   the next batch finds nothing amiss. To have it done, one gives the table with copy_from.
#
# Output:
#   before: the parent is deleted with its rows, 'Anna' and 'ANNA' are one, 3 follows 2
#   warnings: 0
#   after: the parent is not deleted (FOREIGN KEY constraint failed), 'Anna' and 'ANNA' are two, 2 follows 2
#   the key at the end of the table: ON DELETE CASCADE stays
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" &&
    "$work/venv/bin/pip" install --quiet alembic==1.20.1 SQLAlchemy==2.1.9 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

timeout 60 "$work/venv/bin/python" - <<'PYTHON'
import sys
import warnings

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import StaticPool

WANTED = """\
before: the parent is deleted with its rows, 'Anna' and 'ANNA' are one, 3 follows 2
warnings: 0
after: the parent is not deleted (FOREIGN KEY constraint failed), 'Anna' and 'ANNA' are two, 2 follows 2
the key at the end of the table: ON DELETE CASCADE stays"""
AT_COLUMN = """
create table member (
  id integer primary key autoincrement,
  team integer not null references team (id) on delete cascade,
  name text collate nocase unique,
  note text
)"""
AT_END = """
create table member (
  id integer primary key,
  team integer not null,
  note text,
  foreign key (team) references team (id) on delete cascade
)"""


def migrated(table):
    """A connection to a database in which note has become NOT NULL by a batch, before and after that."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.connect() as connection:
        connection.exec_driver_sql("create table team (id integer primary key)")
        connection.exec_driver_sql(table)
        connection.commit()
        yield connection
        # As Alembic's page and SQLite's have it for such a migration.
        connection.exec_driver_sql("pragma foreign_keys = off")
        connection.commit()
        with Operations(MigrationContext.configure(connection)).batch_alter_table("member") as batch:
            batch.alter_column("note", nullable=False)
        connection.commit()
        yield connection


def judged(connection):
    """What the table does; it is empty before and after."""
    said = []

    def run(statement):
        try:
            return connection.exec_driver_sql(statement)
        except IntegrityError as error:
            return str(error.orig)

    run("pragma foreign_keys = on")
    run("insert into team values (1)")
    run("insert into member (team, name, note) values (1, 'Anna', '')")
    second = run("insert into member (team, name, note) values (1, 'ANNA', '')")
    names = "one" if isinstance(second, str) else "two"
    run("delete from member where name <> 'Anna'")
    run("insert into member (id, team, name, note) values (2, 1, 'Bert', '')")
    run("delete from member where id = 2")
    run("insert into member (team, name, note) values (1, 'Carl', '')")
    number = run("select id from member where name = 'Carl'").scalar()
    deleted = run("delete from team")
    if isinstance(deleted, str):
        said.append(f"the parent is not deleted ({deleted})")
    elif not run("select count(*) from member").scalar():
        said.append("the parent is deleted with its rows")
    said += [f"'Anna' and 'ANNA' are {names}", f"{number} follows 2"]
    run("delete from member")
    run("delete from team")
    connection.commit()
    return ", ".join(said)


lines = []
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    steps = migrated(AT_COLUMN)
    lines.append(f"before: {judged(next(steps))}")
    after = next(steps)
    lines.append(f"warnings: {len(warned)}")
    lines.append(f"after: {judged(after)}")
steps = migrated(AT_END)
next(steps)
action = next(steps).exec_driver_sql("pragma foreign_key_list(member)").one()[6]
lines.append(f"the key at the end of the table: ON DELETE {action} stays")
found = "\n".join(lines)
print(found)
sys.exit(0 if found == WANTED else 1)
PYTHON

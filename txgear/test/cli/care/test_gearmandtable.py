"""
Tests for L{txgear.cli.care.gearmandtable}: what needs no database server.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError
from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.care.gearmandtable import GearmandTable, Row, gearmand_table
from txgear.errors import ConfigurationError
from txgear.test.support.extras import needs

GEARMANDS = (
    "CREATE TABLE {table} ( unique_key TEXT, function_name TEXT, priority INTEGER, data BLOB,"
    " when_to_run INTEGER, PRIMARY KEY (unique_key, function_name))"
)
"""How gearmand makes its table."""

OLD = "CREATE TABLE {table} ( unique_key TEXT PRIMARY KEY, function_name TEXT, priority INTEGER, data BLOB)"
"""How it did before there were jobs for later."""


def hide(test: SynchronousTestCase, name: str) -> None:
    """Make a package impossible to import until the end of the test."""
    modules: dict[str, Any] = sys.modules
    if name in modules:
        test.addCleanup(modules.__setitem__, name, modules[name])
    else:
        test.addCleanup(modules.pop, name)
    modules[name] = None


class SQLiteTests(SynchronousTestCase):
    """gearmand's table in a SQLite file."""

    def make(self, rows: list[tuple[Any, ...]], schema: str = GEARMANDS, table: str = "gearman_queue") -> str:
        """Make a file with such a table; its path."""
        path: str = os.path.abspath(self.mktemp())
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(schema.format(table=table))
            for row in rows:
                places = ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {table} VALUES ({places})", row)  # noqa: S608
            connection.commit()
        return path

    def table(self, path: str, name: str | None = None) -> GearmandTable:
        """The table of that file, looked at."""
        table = gearmand_table(f"sqlite:///{path}", name, None)
        table.count()
        return table

    def refusal(self, path: str, name: str | None = None) -> str:
        """What is said of a table that cannot be read: one line."""
        said = str(self.assertRaises(ConfigurationError, self.table, path, name))
        self.assertNotIn("\n", said)
        return said

    def test_rows(self) -> None:
        """The rows come in the order of the table, with names and data as bytes."""
        path = self.make(
            [("u2", "f", 1, b"a\0b", 0), ("u1", "f", 0, None, 4102444800), ("", "g", 2, b"", None)]
        )
        table = gearmand_table(f"sqlite:///{path}", None, None)
        self.assertEqual(table.count(), 3)
        self.assertEqual(
            list(table.rows()),
            [
                Row(b"f", b"u2", 1, 0, b"a\0b"),
                Row(b"f", b"u1", 0, 4102444800, None),
                Row(b"g", b"", 2, None, b""),
            ],
        )

    def test_any_bytes(self) -> None:
        """gearmand writes names as TEXT whatever their bytes; text in a column of blobs is bytes, too."""
        path = self.make([])
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(
                "INSERT INTO gearman_queue"
                " VALUES (CAST(x'FF00FE' AS TEXT), CAST(x'80' AS TEXT), 1, CAST(x'C3' AS TEXT), 'soon')"
            )
            connection.commit()
        [row] = self.table(path).rows()
        self.assertEqual(row, Row(b"\x80", b"\xff\0\xfe", 1, b"soon", b"\xc3"))

    def test_null_names(self) -> None:
        """Columns without a value are C{None}."""
        [row] = self.table(self.make([(None, None, None, None, None)])).rows()
        self.assertEqual(row, Row(None, None, None, None, None))

    def test_old_table(self) -> None:
        """A table that knows no times is read as well."""
        [row] = self.table(self.make([("u", "f", 1, b"w")], OLD)).rows()
        self.assertEqual(row, Row(b"f", b"u", 1, None, b"w"))

    def test_type_with_a_length(self) -> None:
        """SQLAlchemy warns of such a type where it is asked for one: nobody is to see that."""
        path = self.make([("u", "f", 1, b"w", 0)], GEARMANDS.replace("INTEGER", "int(10)"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            [row] = self.table(path).rows()
        self.assertEqual(row, Row(b"f", b"u", 1, 0, b"w"))

    def test_other_name(self) -> None:
        """The table may have another name, of any form."""
        path = self.make([("u", "f", 1, b"w", 0)], table='"my ""jobs"""')
        [row] = self.table(path, 'my "jobs"').rows()
        self.assertEqual(row.unique, b"u")

    def test_left_as_it_is(self) -> None:
        """Reading leaves the file, and nothing else in its folder."""
        path = self.make([("u", "f", 1, b"w", 0)])
        before = Path(path).read_bytes()
        list(self.table(path).rows())
        self.assertEqual(Path(path).read_bytes(), before)
        self.assertEqual(
            [name for name in os.listdir(os.path.dirname(path)) if name.startswith(os.path.basename(path))],
            [os.path.basename(path)],
        )

    def test_read_only(self) -> None:
        """What reads it could not write."""
        table = self.table(self.make([("u", "f", 1, b"w", 0)]))
        with table._database() as engine, engine.connect() as connection:
            self.assertRaises(OperationalError, connection.exec_driver_sql, "DELETE FROM gearman_queue")

    def test_no_file(self) -> None:
        """A file that is missing is not made."""
        path = os.path.abspath(self.mktemp())
        self.assertEqual(self.refusal(path), f"--from: there is no file {path}")
        self.assertFalse(os.path.exists(path))

    def test_no_table(self) -> None:
        """Another database is not gearmand's; the option that may help is named."""
        path = self.make([])
        self.assertIn("there is no table jobs of sqlite:///", self.refusal(path, "jobs"))
        self.assertIn("--table", self.refusal(path, "jobs"))

    def test_other_columns(self) -> None:
        """A table of the right name that is not gearmand's is refused by what it lacks."""
        path = self.make([], "CREATE TABLE {table} (unique_key TEXT, priority INTEGER)")
        self.assertIn("no column data, function_name", self.refusal(path))

    def test_no_database(self) -> None:
        """A file that is something else."""
        path = Path(self.mktemp())
        path.write_text("jobs, " * 1000)
        self.assertIn("not a database", self.refusal(str(path.resolve())))

    def test_damaged_on_the_way(self) -> None:
        """What breaks in the middle is a line, too."""
        path = self.make([(f"u{number}", "f", 1, b"w" * 3000, 0) for number in range(100)])
        table = self.table(path)
        rows = table.rows()
        next(rows)
        with open(path, "r+b") as file:
            file.seek(30 * 4096)
            file.write(b"\xff" * 4096 * 30)
        error = self.assertRaises(ConfigurationError, list, rows)
        self.assertIn(f"cannot read table gearman_queue of sqlite:///{path}: ", str(error))
        self.assertNotIn("\n", str(error))

    def test_gearmand_was_killed(self) -> None:
        """A write that was cut short has to be undone first; the line says how, as reading must not do it."""
        path = self.make([(f"u{number}", "f", 1, b"w" * 3000, 0) for number in range(10)])
        killed = os.path.abspath(self.mktemp())
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA cache_size = 1")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE gearman_queue SET data = zeroblob(3000)")
            shutil.copy(path, killed)
            shutil.copy(f"{path}-journal", f"{killed}-journal")
            connection.execute("ROLLBACK")
        self.assertIn(f"let SQLite put the file right first: sqlite3 {killed} ", self.refusal(killed))
        with closing(sqlite3.connect(killed)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
        self.assertEqual([row.data for row in self.table(killed).rows()], [b"w" * 3000] * 10)


class UrlTests(SynchronousTestCase):
    """What C{--from} may be."""

    def refusal(self, url: str) -> str:
        """What is said of a URL that is refused: one line."""
        said = str(self.assertRaises(ConfigurationError, gearmand_table, url, None, None))
        self.assertTrue(said.startswith("--from: "), said)
        self.assertNotIn("\n", said)
        return said

    def test_mistakes(self) -> None:
        """What is no URL, or one of another kind."""
        for url in (
            "",
            "jobs.db",
            "/jobs.db",
            "redis://h/",
            "sqlite",
            "mysql:",
            "memory:",
        ):
            self.assertIn("is wanted", self.refusal(url))
        self.assertIn("one of its ports is no number", self.refusal("mysql://h:port/d"))

    @needs("psycopg", "pymysql")
    def test_several_hosts(self) -> None:
        """PostgreSQL's library tries one after the other; the others have none that does."""
        self.assertIn("one host is wanted", self.refusal("mysql://me:secret@a:1,b:2/d"))
        self.assertIn("one of its hosts is empty", self.refusal("postgresql://me:secret@a,,b/d"))
        table = gearmand_table("postgresql://me:secret@a,[::1]:5433/d?sslmode=require", None, None)
        self.assertEqual(table.name, "table queue of postgresql://me:***@/d")
        engine = table._engine()
        _, given = engine.dialect.create_connect_args(engine.url)
        self.assertEqual((given["host"], given["port"]), ("a,::1", "5432,5433"))
        self.assertEqual((given["user"], given["password"], given["sslmode"]), ("me", "secret", "require"))

    def test_charset(self) -> None:
        """The character set becomes part of a statement: it is a plain word."""
        self.assertIn("character set", self.refusal("mysql://h/d?charset=a)b"))

    def test_no_driver(self) -> None:
        """Where the driver is not installed the line says how to get it."""
        for url, name, extra in (
            ("mysql://h/d", "pymysql", "mysql"),
            ("mariadb://h/d", "pymysql", "mysql"),
            ("postgresql://h/d", "psycopg", "postgresql"),
        ):
            hide(self, name)
            self.assertIn(f"pip install 'txgear[{extra}]'", self.refusal(url))

    @needs("psycopg", "pymysql")
    def test_names(self) -> None:
        """Each kind of database has gearmand's own table name; no name shows a password."""
        for url, expected in (
            ("mysql://me:secret@h/d", "table gearman_queue of mysql://me:***@h/d"),
            ("mariadb://me@h/d", "table gearman_queue of mariadb://me:***@h/d"),
            ("postgresql://me:other@h/d?sslpassword=third", "table queue of postgresql://me:***@h/d"),
        ):
            self.assertEqual(gearmand_table(url, None, "secret").name, expected)

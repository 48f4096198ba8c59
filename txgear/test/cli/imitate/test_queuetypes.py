"""
Tests for L{txgear.cli.imitate.queuetypes}.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.arguments import Parser
from txgear.cli.imitate import queuetypes
from txgear.errors import ConfigurationError
from txgear.test.cli.care.test_gearmandtable import hide
from txgear.test.support.extras import needs


class QueueTypesTests(SynchronousTestCase):
    """gearmand's queues as stores."""

    def store(self, queue_type: str, *options: str) -> tuple[str, str | None]:
        """The URL and the password that a queue type with these options stands for."""
        parser = Parser()
        parser.add_argument("--queue-type")
        queuetypes.add_options(parser)
        return queuetypes.store(parser.parse_args([f"--queue-type={queue_type}", *options]))

    def refusal(self, queue_type: str, *options: str) -> str:
        """What is said to a queue type that is refused: one line."""
        said = str(self.assertRaises(ConfigurationError, self.store, queue_type, *options))
        self.assertNotIn("\n", said)
        return said

    def test_libdrizzle(self) -> None:
        """There is no such store, but the jobs are in MySQL, and can be taken over from there."""
        self.assertIn(
            "is taken over by: txgear import --from=mysql://localhost/gearman --table=queue",
            self.refusal("libdrizzle"),
        )
        options = ["--libdrizzle-host=h", "--libdrizzle-port=1", "--libdrizzle-user=me", "--libdrizzle-db=d"]
        said = self.refusal("libdrizzle", *options, "--libdrizzle-password=secret", "--libdrizzle-table=a b")
        self.assertIn("txgear import --from=mysql://me@h:1/d '--table=a b'", said)
        self.assertNotIn("secret", said)
        self.assertNotIn("txgear import", self.refusal("redis"))

    def ignored(self, *options: str) -> list[str]:
        """Those of the options that say nothing."""
        parser = Parser()
        parser.add_argument("--queue-type")
        queuetypes.add_options(parser)
        return queuetypes.ignored(parser.parse_args(options))

    def test_builtin(self) -> None:
        """gearmand's default keeps jobs in memory; upper and lower case are the same."""
        self.assertEqual(self.store("builtin"), ("memory:", None))
        self.assertEqual(self.store("BuiltIn"), ("memory:", None))

    def test_sqlite(self) -> None:
        """A file is found from any folder; its name stands there as it is."""
        self.assertEqual(self.store("LibSQLite3", "--libsqlite3-db=/a/b.db"), ("sqlite:////a/b.db", None))
        here, _ = self.store("libsqlite3", "--libsqlite3-db=b.db")
        self.assertEqual(here, f"sqlite:///{os.path.abspath('b.db')}")
        strange, _ = self.store("libsqlite3", "--libsqlite3-db=/a?b%20 c.db")
        self.assertEqual(strange, "sqlite:////a?b%20 c.db")

    def test_sqlite_without_file(self) -> None:
        """As to gearmand, a file must be named."""
        self.assertIn("--libsqlite3-db", self.refusal("libsqlite3"))
        self.assertIn("--libsqlite3-db", self.refusal("libsqlite3", "--libsqlite3-db="))

    def test_mysql(self) -> None:
        """What gearmand has defaults for need not be said."""
        self.assertEqual(self.store("mysql", "--mysql-db=jobs"), ("mysql://localhost:3306/jobs", None))

    def test_mysql_in_full(self) -> None:
        """What would mean something in a URL is quoted; the password is not in it."""
        self.assertEqual(
            self.store(
                "MySQL",
                "--mysql-host=::1",
                "--mysql-port=3307",
                "--mysql-user=me@home",
                "--mysql-password=p@ss/word",
                "--mysql-db=a/b",
                "--mysql-table=t",
            ),
            ("mysql://me%40home@[::1]:3307/a%2Fb", "p@ss/word"),
        )

    def test_mysql_mistakes(self) -> None:
        """A database must be named, and a port is a number."""
        self.assertIn("--mysql-db", self.refusal("mysql"))
        self.assertIn("--mysql-port", self.refusal("mysql", "--mysql-db=d", "--mysql-port=many"))

    @needs("psycopg")
    def test_postgres(self) -> None:
        """libpq's connection strings, of both forms."""
        pairs = "host=db.example port=5433 user='me' password='it''s' dbname=jobs".replace("''", "\\'")
        self.assertEqual(
            self.store("postgres", f"--libpq-conninfo={pairs}"),
            ("postgresql://me@db.example:5433/jobs", "it's"),
        )
        url = "postgresql://me:it%27s@db.example/jobs"
        self.assertEqual(
            self.store("Postgres", f"--libpq-conninfo={url}"), ("postgresql://me@db.example/jobs", "it's")
        )

    @needs("psycopg")
    def test_postgres_options(self) -> None:
        """What else libpq is told it is told through the URL."""
        url, _ = self.store("postgres", "--libpq-conninfo=host=h dbname=d sslmode=require options='-c x=1'")
        self.assertEqual(url, "postgresql://h/d?options=-c%20x%3D1&sslmode=require")

    @needs("psycopg")
    def test_postgres_elsewhere(self) -> None:
        """Sockets, several hosts and libpq's own default have no place in a URL but behind it."""
        url, _ = self.store("postgres", "--libpq-conninfo=host=/run/postgresql port=5433 dbname=jobs")
        self.assertEqual(url, "postgresql:///jobs?host=%2Frun%2Fpostgresql&port=5433")
        url, _ = self.store("postgres", "--libpq-conninfo=host=a,b port=1,2 dbname=d")
        self.assertEqual(url, "postgresql:///d?host=a%2Cb&port=1%2C2")
        url, _ = self.store("postgres", "--libpq-conninfo=user=me dbname=jobs")
        self.assertEqual(url, "postgresql://me@/jobs")

    @needs("psycopg")
    def test_postgres_database(self) -> None:
        """The database's name is the user's by default, as libpq has it; one of them must be said."""
        self.assertEqual(self.store("postgres", "--libpq-conninfo=user=me"), ("postgresql://me@/me", None))
        self.assertIn("dbname", self.refusal("postgres"))

    @needs("psycopg")
    def test_postgres_mistake(self) -> None:
        """What libpq does not understand is refused, and the option named."""
        self.assertIn("--libpq-conninfo", self.refusal("postgres", "--libpq-conninfo=bogus"))

    def test_postgres_without_driver(self) -> None:
        """Where psycopg is not installed the line says how to get it."""
        hide(self, "psycopg")
        self.assertIn("pip install 'txgear[postgresql]'", self.refusal("postgres"))

    def test_others(self) -> None:
        """Queues that there are not are told from words that are none; both lines say what there is."""
        for name in ("redis", "libmemcached", "libtokyocabinet", "libDrizzle"):
            self.assertIn(f"{name} is not available: there are builtin, libsqlite3", self.refusal(name))
        self.assertIn("cellar is unknown: there are builtin, libsqlite3", self.refusal("cellar"))

    def test_ignored(self) -> None:
        """Options of other queues, and gearmand's tables, do not matter; those that do are not named."""
        self.assertEqual(self.ignored(), [])
        self.assertEqual(
            self.ignored("--queue-type=mysql", "--mysql-db=d", "--mysql-table=t", "--libsqlite3-db=f"),
            ["libsqlite3-db"],
        )
        self.assertEqual(
            self.ignored("--mysql-db=d", "--libdrizzle-mysql", "--store-queue-on-shutdown"),
            ["mysql-db", "store-queue-on-shutdown", "libdrizzle-mysql"],
        )

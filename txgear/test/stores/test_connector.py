"""Tests of L{txgear.stores.connector}."""

from __future__ import annotations

from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from txgear.stores.connector import LEAST_SECONDS, Connector
from txgear.stores.hosts import Host
from txgear.test.support.extras import needs

try:
    import pymysql

    from txgear.stores.mysql import MySQL, is_read_only
except ImportError:  # pragma: no cover
    pymysql = None  # type: ignore[assignment]

REFUSED = (2003, "Can't connect (Connection refused)")
NOT_READY = (1047, "WSREP has not yet prepared node for application use")
READ_ONLY = (1290, "it takes no writes")
ACCESS = (1045, "Access denied")


@skipUnless(pymysql, "there is no PyMySQL")
class ConnectorTests(SynchronousTestCase):
    """With a driver that is told what becomes of each attempt."""

    def setUp(self) -> None:
        self.now = 0.0
        self.takes: dict[str, float] = {}
        self.errors: dict[str, tuple[int, str]] = {}
        self.tried: list[tuple[str, float, bool]] = []

    def connector(self, hosts: str) -> Connector:
        test = self

        class Fake(MySQL):
            def connect_to(self, host: Host, seconds: float, alone: bool, arguments: dict[str, Any]) -> Any:
                name = str(host)
                test.tried.append((name, round(seconds, 3), alone))
                test.now += min(test.takes.get(name, 0.0), seconds)
                if name in test.errors:
                    raise pymysql.OperationalError(*test.errors[name])
                return f"connection to {name}"

        dialect = Fake(f"mysql://u:secret@{hosts}/db", None, 6.0)
        return Connector(dialect, dialect.connector.hosts, lambda: self.now)

    def test_one_host_has_all_the_time(self) -> None:
        self.assertEqual(self.connector("a").connect({}), "connection to a")
        self.assertEqual(self.tried, [("a", 6.0, True)])
        self.errors["a"] = READ_ONLY
        error = self.assertRaises(pymysql.OperationalError, self.connector("a").connect, {})
        self.assertEqual(error.args, READ_ONLY)

    def test_the_first_one_is_preferred(self) -> None:
        connector = self.connector("a,b:1,c")
        self.errors["a"] = REFUSED
        self.assertEqual(connector.connect({}), "connection to b:1")
        self.assertEqual(connector.host, Host("b", 1))
        del self.errors["a"]
        self.assertEqual(connector.connect({}), "connection to a")

    def test_one_that_cannot_be_used_is_passed_over(self) -> None:
        self.errors.update(a=NOT_READY, b=READ_ONLY, c=ACCESS)
        self.assertEqual(self.connector("a,b,c,d").connect({}), "connection to d")

    def test_one_that_was_left_comes_last(self) -> None:
        """Until another one is left; it is still tried, as the others may be worse."""
        connector = self.connector("a,b,c")
        for host in ("a", "b", "a", "b"):
            self.assertEqual(connector.connect({}), f"connection to {host}")
            connector.leave()
        self.errors.update(a=REFUSED, c=REFUSED)
        self.assertEqual(connector.connect({}), "connection to b")
        self.assertEqual([name for name, *_ in self.tried[-3:]], ["a", "c", "b"])

    def test_one_that_hangs_costs_its_share(self) -> None:
        self.takes.update(a=60.0, b=60.0)
        self.errors.update(a=REFUSED, b=REFUSED, c=REFUSED)
        self.assertEqual(self.connector("a,b,c,d").connect({}), "connection to d")
        self.assertEqual([seconds for _, seconds, _ in self.tried], [1.5, 1.5, 1.5, 3.0])

    def test_each_has_some_time(self) -> None:
        hosts = [str(number) for number in range(32)]
        self.takes.update(dict.fromkeys(hosts, 60.0))
        self.errors.update(dict.fromkeys(hosts, REFUSED))
        self.assertRaises(pymysql.OperationalError, self.connector(",".join(hosts)).connect, {})
        self.assertEqual({seconds for _, seconds, _ in self.tried}, {LEAST_SECONDS})

    def test_none_can_be_used(self) -> None:
        """All are told of; what passes by itself is what counts."""
        self.errors.update(a=READ_ONLY, b=REFUSED)
        error = self.assertRaises(pymysql.OperationalError, self.connector("a,b").connect, {})
        self.assertEqual(error.args, (2003, "a: it takes no writes; b: Can't connect (Connection refused)"))
        self.errors["b"] = ACCESS
        error = self.assertRaises(pymysql.OperationalError, self.connector("a,b").connect, {})
        self.assertEqual(error.args, (1290, "a: it takes no writes; b: Access denied"))


class ReadOnlyTests(SynchronousTestCase):
    @needs("pymysql")
    def test_numbers_and_words(self) -> None:
        for value, expected in ((0, False), ("OFF", False), (1, True), ("ON", True), ("NO_LOCK", True)):
            self.assertIs(is_read_only(value), expected, repr(value))


class MessagesTests(SynchronousTestCase):
    @needs("psycopg")
    def test_postgresql(self) -> None:
        import psycopg

        from txgear.stores.postgresql import PostgreSQL

        errors: list[Exception] = [
            psycopg.OperationalError(
                'connection failed: connection to server at "::1", port 1 failed: Connection refused\n\tIs'
            ),
            psycopg.errors.ReadOnlySqlTransaction("it takes no writes"),
            psycopg.errors.ConnectionTimeout(""),
        ]

        class Fake(PostgreSQL):
            def connect_to(self, host: Host, seconds: float, alone: bool, arguments: dict[str, Any]) -> Any:
                raise errors["abc".index(str(host))]

        dialect = Fake("postgresql://a,b,c/db", None, 6.0)
        error = self.assertRaises(psycopg.OperationalError, dialect.connector.connect, {})
        self.assertEqual(dialect.remedy(error), "")
        self.assertEqual(str(error), "a: Connection refused; b: it takes no writes; c: no answer")

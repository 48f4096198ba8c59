"""Tests of L{txgear.stores.verdicts}."""

from __future__ import annotations

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from txgear.stores.verdicts import MYSQL, POSTGRESQL, Verdict, of_mysql, of_postgresql, of_sqlite
from txgear.test.support.extras import needs

CONFLICT, DUPLICATE, REFUSED = Verdict.CONFLICT, Verdict.DUPLICATE, Verdict.REFUSED
READ_ONLY, CUT_OFF, NOT_KNOWN = Verdict.READ_ONLY, Verdict.CUT_OFF, Verdict.NOT_KNOWN


class PostgreSQLTests(SynchronousTestCase):
    @needs("psycopg")
    def test_states(self) -> None:
        """What each means for a statement, and for a COMMIT."""
        import psycopg

        for state, statement, commit in (
            ("08000", CUT_OFF, NOT_KNOWN),
            ("08006", CUT_OFF, NOT_KNOWN),
            ("08P01", CUT_OFF, NOT_KNOWN),
            ("22001", REFUSED, REFUSED),
            ("23502", REFUSED, REFUSED),
            ("23505", DUPLICATE, DUPLICATE),
            ("25006", READ_ONLY, READ_ONLY),
            ("25P03", CUT_OFF, NOT_KNOWN),
            ("26000", CUT_OFF, NOT_KNOWN),
            ("42P05", CUT_OFF, NOT_KNOWN),
            ("42P01", CUT_OFF, NOT_KNOWN),
            ("40001", CONFLICT, CONFLICT),
            ("40P01", CONFLICT, CONFLICT),
            ("40003", NOT_KNOWN, NOT_KNOWN),
            ("53100", REFUSED, REFUSED),
            ("53200", REFUSED, REFUSED),
            ("53300", CUT_OFF, NOT_KNOWN),
            ("54000", REFUSED, REFUSED),
            ("55P03", CUT_OFF, NOT_KNOWN),
            ("57014", CUT_OFF, NOT_KNOWN),
            ("57P01", CUT_OFF, NOT_KNOWN),
            ("57P02", CUT_OFF, NOT_KNOWN),
            ("57P03", CUT_OFF, NOT_KNOWN),
            ("58030", CUT_OFF, NOT_KNOWN),
            ("XX000", CUT_OFF, NOT_KNOWN),
        ):
            error = psycopg.errors.lookup(state)("words")
            self.assertIs(of_postgresql(psycopg, error), statement, state)
            self.assertIs(of_postgresql(psycopg, error, committing=True), commit, state)

    @needs("psycopg")
    def test_without_a_state(self) -> None:
        """So comes what psycopg finds by itself, and the end of a connection that somebody has ended."""
        import psycopg

        for error in (
            psycopg.OperationalError("server closed the connection unexpectedly"),
            psycopg.errors.ConnectionTimeout("connection timeout expired"),
            psycopg.InterfaceError("cursor is closed"),
        ):
            self.assertIs(of_postgresql(psycopg, error), CUT_OFF)
            self.assertIs(of_postgresql(psycopg, error, committing=True), NOT_KNOWN)
        data = psycopg.DataError("PostgreSQL text fields cannot contain NUL")
        self.assertIs(of_postgresql(psycopg, data), REFUSED)

    def test_nothing_else_is_in_the_table(self) -> None:
        self.assertTrue(all(len(start) in (2, 5) for start in POSTGRESQL))


class MySQLTests(SynchronousTestCase):
    @needs("pymysql")
    def test_numbers(self) -> None:
        import pymysql

        tried = set()
        for number, statement, commit in (
            (0, CUT_OFF, NOT_KNOWN),
            (1020, CONFLICT, CONFLICT),
            (1213, CONFLICT, CONFLICT),
            (1062, DUPLICATE, DUPLICATE),
            (1021, REFUSED, REFUSED),
            (1114, REFUSED, REFUSED),
            (1118, REFUSED, REFUSED),
            (1047, CUT_OFF, NOT_KNOWN),
            (1053, CUT_OFF, NOT_KNOWN),
            (1180, NOT_KNOWN, NOT_KNOWN),
            (1205, CUT_OFF, NOT_KNOWN),
            (1290, READ_ONLY, READ_ONLY),
            (1792, READ_ONLY, READ_ONLY),
            (1836, READ_ONLY, READ_ONLY),
            (1317, CUT_OFF, NOT_KNOWN),
            (1927, CUT_OFF, NOT_KNOWN),
            (2006, CUT_OFF, NOT_KNOWN),
            (2013, CUT_OFF, NOT_KNOWN),
            (2055, CUT_OFF, NOT_KNOWN),
        ):
            error = pymysql.OperationalError(number, "words")
            self.assertIs(of_mysql(pymysql, error), statement, str(number))
            self.assertIs(of_mysql(pymysql, error, committing=True), commit, str(number))
            tried.add(number)
        self.assertEqual(tried, set(MYSQL))

    @needs("pymysql")
    def test_by_their_classes(self) -> None:
        import pymysql

        for error in (pymysql.IntegrityError(1048, "Column 'a' cannot be null"), pymysql.DataError(1406, "")):
            self.assertIs(of_mysql(pymysql, error), REFUSED)
        self.assertIs(of_mysql(pymysql, pymysql.IntegrityError(1062, "Duplicate entry")), DUPLICATE)

    @needs("pymysql")
    def test_without_a_number(self) -> None:
        import pymysql

        for error in (pymysql.InterfaceError(0, ""), pymysql.Error("Already closed"), pymysql.Error()):
            self.assertIs(of_mysql(pymysql, error), CUT_OFF)
            self.assertIs(of_mysql(pymysql, error, committing=True), NOT_KNOWN)

    @needs("pymysql")
    def test_told_by_the_message(self) -> None:
        """A full disk, and what is larger than a Galera cluster takes."""
        import pymysql

        lost = "Error while appending streaming replication fragment"
        for number, message, statement, commit in (
            (1030, 'Got error 28 "No space left on device" from storage engine', REFUSED, REFUSED),
            (1030, 'Got error 5 "Input/output error" from storage engine', CUT_OFF, NOT_KNOWN),
            (1105, "Maximum writeset size exceeded", REFUSED, REFUSED),
            (1105, "Unknown error", CUT_OFF, NOT_KNOWN),
            (1180, "wsrep_max_ws_rows exceeded", REFUSED, REFUSED),
            (1180, f"{lost}(provider status: Not connected to Primary Component)", NOT_KNOWN, NOT_KNOWN),
        ):
            error = pymysql.OperationalError(number, message)
            self.assertIs(of_mysql(pymysql, error), statement, message)
            self.assertIs(of_mysql(pymysql, error, committing=True), commit, message)


class SQLiteTests(SynchronousTestCase):
    def test_messages(self) -> None:
        for error, statement, commit in (
            (sqlite3.OperationalError("database or disk is full"), REFUSED, REFUSED),
            (sqlite3.DataError("string or blob too big"), REFUSED, REFUSED),
            (sqlite3.IntegrityError("UNIQUE constraint failed"), REFUSED, REFUSED),
            (sqlite3.OperationalError("database is locked"), CUT_OFF, NOT_KNOWN),
            (sqlite3.DatabaseError("database disk image is malformed"), CUT_OFF, NOT_KNOWN),
        ):
            self.assertIs(of_sqlite(sqlite3, error), statement, str(error))
            self.assertIs(of_sqlite(sqlite3, error, committing=True), commit, str(error))

"""Statements that go to a real PostgreSQL in one round trip."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from databases import Postgres
from txgear.stores.pipelining import PipeliningCursor
from txgear.stores.psycopgconnection import MOST_PREPARED, PsycopgConnection


@pytest.fixture
def connection(postgres: Postgres) -> Iterator[PsycopgConnection]:
    this = PsycopgConnection.connect(postgres.url)
    this.execute("CREATE TABLE things (number bigint PRIMARY KEY, name bytea, weight double precision)")
    this.commit()
    yield this
    this.close()


@pytest.fixture
def cursor(connection: PsycopgConnection) -> PipeliningCursor:
    return PipeliningCursor(connection)


INSERT = "INSERT INTO things VALUES (%s, %s, %s)"
ALL = "SELECT number, name, weight FROM things ORDER BY number"


def prepared(connection: PsycopgConnection) -> int:
    """How many statements it has prepared."""
    (row,) = connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchall()
    found: int = row[0]
    return found


def test_values_come_back_as_they_were(connection: PsycopgConnection, cursor: PipeliningCursor) -> None:
    rows = [(1, b"\\x00\0'%s", 0.1), (2**62, None, 1e300), (-3, b"", None)]
    cursor.executemany(INSERT, rows)
    cursor.execute(ALL)
    assert cursor.fetchall() == sorted(rows)
    cursor.execute("SELECT %s, %s::text", ("Stra\u00dfe %s $1", "\u20ac"))
    assert cursor.fetchall() == [("Stra\u00dfe %s $1", "\u20ac")]
    cursor.execute("UPDATE things SET weight = 0 WHERE number > %s", (0,))
    assert cursor.rowcount == 2
    cursor.close()
    connection.commit()
    assert len(connection.execute(ALL).fetchall()) == 3


def test_nothing_is_done_after_what_failed(connection: PsycopgConnection, cursor: PipeliningCursor) -> None:
    cursor.execute(INSERT, (1, None, None))
    cursor.execute(INSERT, (1, None, None))
    cursor.execute("SELECT nobody knows this")
    with pytest.raises(psycopg.errors.UniqueViolation):
        cursor.send()
    assert connection.info.transaction_status == TransactionStatus.INERROR
    connection.rollback()
    # The connection goes on, with what was not prepared after all.
    for _ in range(2):
        cursor.execute(INSERT, (2, None, None))
        cursor.execute(ALL)
        assert cursor.fetchall() == [(2, None, None)]
        connection.rollback()


def test_copy_is_part_of_the_transaction(connection: PsycopgConnection, cursor: PipeliningCursor) -> None:
    cursor.execute(INSERT, (1, None, None))
    with cursor.copy("COPY things (number) FROM STDIN") as copy:
        copy.write_row((2,))
    cursor.execute("DELETE FROM things WHERE number = %s", (1,))
    cursor.execute(ALL)
    assert cursor.fetchall() == [(2, None, None)]
    connection.rollback()
    cursor.execute(ALL)
    assert cursor.fetchall() == []


def test_many_rows_of_both_ways(connection: PsycopgConnection, cursor: PipeliningCursor) -> None:
    # Neither side waits for the other one to read.
    for number in range(200):
        cursor.execute("SELECT %s || repeat('x', 100000)", ("y" * 100_000,))
        cursor.execute(INSERT, (number, bytes(100_000), None))
    assert cursor.rowcount == 1
    cursor.execute("SELECT count(*) FROM things")
    assert cursor.fetchall() == [(200,)]


def test_the_server_keeps_a_bounded_number_prepared(
    connection: PsycopgConnection, cursor: PipeliningCursor
) -> None:
    for number in range(MOST_PREPARED + 10):
        for _ in range(2):
            cursor.execute(f"SELECT {number}")
            assert cursor.fetchall() == [(number,)]
    assert prepared(connection) == MOST_PREPARED


def test_nothing_is_prepared_behind_a_pooler(connection: PsycopgConnection, cursor: PipeliningCursor) -> None:
    connection.prepare_threshold = None
    cursor.execute(INSERT, (1, None, None))
    cursor.send()
    assert prepared(connection) == 0


def test_a_connection_that_the_server_ends(connection: PsycopgConnection, cursor: PipeliningCursor) -> None:
    cursor.execute(INSERT, (1, None, None))
    cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    cursor.execute(ALL)
    with pytest.raises(psycopg.OperationalError):
        cursor.send()
    with pytest.raises(psycopg.OperationalError):
        connection.rollback()
    assert connection.closed

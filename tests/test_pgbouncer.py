"""A store behind PgBouncer in transaction mode, which gives each transaction to whichever session is free."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from clusterload import Load, settle
from databases import Database
from processes import PATIENCE, Programs, Servers, free_port, server_command
from txgear.broker.records import JobUpdate
from txgear.errors import StoreUnusable
from txgear.stores import make_store
from txgear.test.support.batches import adding, addition, updating

Tell = Callable[[str], None]


class Others:
    """Clients who take the sessions away between two transactions."""

    def __init__(self, url: str) -> None:
        self.settings: set[tuple[Any, ...]] = set()
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(url,)) for _ in range(3)]
        for thread in self._threads:
            thread.start()

    def _run(self, url: str) -> None:
        with psycopg.connect(url, prepare_threshold=None, autocommit=True) as connection:
            while not self._is_over.is_set():
                row = connection.execute(
                    "SELECT current_setting('lock_timeout'), current_setting('client_min_messages'),"
                    # Of the pooler's connection, which is not gone when a server is.
                    " current_setting('tcp_user_timeout')"
                ).fetchone()
                assert row is not None
                self.settings.add(row)

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()


def test_transaction_mode(postgres: Database, pooler: str) -> None:
    """Nothing is prepared in a session, nor set for one."""
    store = make_store(pooler)
    store.open()
    assert store._connection is not None
    driver: Any = store._connection.connection.driver_connection
    others = Others(pooler)
    sessions = set()
    try:
        for number in range(1, 101):
            store.write(adding(addition(number, b"workload")))
            store.write(updating(JobUpdate(number, number, 0.0, 7)))
            assert store.workloads([number]) == {number: b"workload"}
            row = store._reading(
                lambda cursor: (
                    cursor.execute(
                        "SELECT pg_backend_pid(), current_setting('lock_timeout'),"
                        " current_setting('tcp_user_timeout')"
                    ),
                    cursor.fetchall()[0],
                )[1]
            )
            sessions.add(row[0])
            assert row[1:] == ("5s", "0")
    finally:
        others.stop()
    assert len(sessions) > 1
    assert store._connection.connection.driver_connection is driver
    assert [job.retries for job in store.replay(0, 200)] == [7] * 100
    store.close(None)
    assert others.settings == {("0", "notice", "0")}
    assert "prepared statement" not in postgres.log()


def test_a_setting_that_it_does_not_take(pooler: str) -> None:
    store = make_store(f"{pooler}?options=-c%20work_mem%3D8MB")
    with pytest.raises(StoreUnusable, match="leave it out of the URL"):
        store.open()


def test_without_one(postgres: Database) -> None:
    store = make_store(postgres.url)
    store.open()
    assert store._connection is not None
    driver: Any = store._connection.connection.driver_connection
    assert driver.prepare_threshold == 5
    assert driver.execute("SHOW lock_timeout").fetchone() == ("5s",)
    store.close(None)


@pytest.mark.txgear_only
@pytest.mark.parametrize("pooler", ["session", "transaction"], indirect=True)
def test_two_servers(
    tell: Tell, pooler: str, postgres: Database, start_server: Servers, programs: Programs
) -> None:
    """The second one is kept off, by whichever way it comes; the next one after an end comes directly."""
    server = start_server(store=pooler)
    load = Load(server.port, clients=2)
    load.wait_for_kept()
    others = [programs.start(server_command(free_port(), url)) for url in (pooler, postgres.url)]
    for other in others:
        assert other.wait(2 * PATIENCE) != 0
        assert b"it is in use by another server" in other.stderr
        assert other.stderr.count(b"\n") == 1
    load.wait_for_kept()
    settle(tell, "behind a pooler", load, server, lambda: start_server(store=postgres.url))
    assert not load.refused()
    assert "prepared statement" not in postgres.log()

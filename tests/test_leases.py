"""Two servers on one database, which only one of them may have: real PostgreSQL and MariaDB servers."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
from twisted.logger import capturedLogs, formatEvent

from databases import USER, Database, Postgres
from fairtime import Stopwatch
from needs import lacks
from processes import Servers, wait_until
from txgear.errors import StoreError, StoreTaken, StoreUnavailable, StoreUnusable
from txgear.stores import make_store
from txgear.stores.sql import SqlStore
from txgear.stores.tenure import LENGTH
from txgear.test.support.batches import adding, addition
from wirepeer import P, packet

pytestmark = pytest.mark.txgear_only

JOBS: Final = 300


@pytest.fixture(params=["postgres", "mariadb"])
def database(request: pytest.FixtureRequest) -> Database:
    """One server of each kind, with an empty database."""
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def stores(database: Database) -> Iterator[list[SqlStore]]:
    """Two stores on it that are not open, and do not wait long."""
    these = [make_store(database.url, timeout=1.0) for _ in range(2)]
    yield these
    for each in these:
        each.close(None)


def seconds_to_open(store: SqlStore) -> float:
    watch = Stopwatch()
    store.open()
    return watch.seconds()


def numbers(database: Database) -> list[Any]:
    """The jobs that the database has."""
    return sorted(database.execute("SELECT number FROM txgear_jobs"))


def test_who_has_it_and_who_comes_after_a_kill(
    database: Database, stores: list[SqlStore], start_server: Servers
) -> None:
    """A second one is kept off soon, and told by whom; nobody waits for one that is dead."""
    server = start_server(store=database.url)
    before = time.monotonic()
    with pytest.raises(StoreUnusable, match=f"in use by another server: .*, process {server.pid}$"):
        stores[0].open()
    assert time.monotonic() - before < 3.0
    server.kill()
    assert seconds_to_open(stores[0]) < 2.0
    stores[0].close(None)
    assert seconds_to_open(stores[1]) < 2.0


def test_one_whose_session_was_ended(postgres: Postgres, start_server: Servers) -> None:
    """It has its lease again by another session, and psycopg says nothing of its own in the log."""
    server = start_server(store=postgres.url)
    sessions = f"FROM pg_stat_activity WHERE datname = '{postgres.database}' AND usename = '{USER}'"
    assert postgres.execute(f"SELECT pg_terminate_backend(pid) {sessions}") == [(True,)]
    peer = server.connect(timeout=30.0)
    peer.send(P.SUBMIT_JOB_BG, b"f", b"", b"x")
    assert peer.read().type == P.JOB_CREATED
    assert b"Pipeline" not in server.said()


def test_one_that_was_stopped(database: Database, stores: list[SqlStore], start_server: Servers) -> None:
    """It goes on when another has its store: it writes not one row, and ends with a status that is seen."""
    server = start_server(store=database.url)
    peer = server.connect(timeout=30.0)
    submits = b"".join(packet(P.SUBMIT_JOB_BG, b"f", b"", b"%d" % number) for number in range(JOBS))
    peer.send_raw(submits)
    server.pause()
    try:
        peer.send_raw(submits)
        assert seconds_to_open(stores[0]) >= LENGTH - 2.5
        found = numbers(database)
    finally:
        server.resume()
    assert server.wait(30.0) == 1
    assert b"is lost to this server: another server has taken it" in server.said()
    assert numbers(database) == found
    stores[0].write(adding(addition(10**12)))


def test_one_that_was_stopped_in_a_transaction(database: Database, stores: list[SqlStore]) -> None:
    """It keeps the row locked; whoever takes the lease ends its session."""
    old, new = stores
    old.open()

    def hang(cursor: Any) -> None:
        # It waits for nothing: what is not asked for may not have been sent.
        assert cursor.rowcount == 1
        assert seconds_to_open(new) >= LENGTH

    with pytest.raises(StoreUnavailable):
        old._writing(hang)
    with pytest.raises(StoreTaken):
        old.open()
    new.write(adding(addition(1)))


@pytest.fixture
def replicating() -> Iterator[Postgres]:
    """A PostgreSQL server that may have standbys, and has none."""
    lacks(Postgres.missing())
    folder = Path(tempfile.mkdtemp(prefix="txgear-"))
    folder.chmod(0o755)
    try:
        with Postgres(folder, "--max_wal_senders=2", "--wal_level=replica") as server:
            yield server
    finally:
        shutil.rmtree(folder)


def test_a_standby_that_is_away(replicating: Postgres) -> None:
    """A server that was killed while its COMMIT waited keeps nobody off; what cannot be had is told."""
    postgres = replicating

    def standbys(setting: str, names: str) -> None:
        postgres.execute(f"ALTER SYSTEM {setting}")
        postgres.execute("SELECT pg_reload_conf()")
        wait_until(
            lambda: postgres.execute("SHOW synchronous_standby_names") == [(names,)], what="the new setting"
        )

    old, new = (make_store(postgres.url, timeout=1.0) for _ in range(2))
    old.open()
    try:
        standbys("SET synchronous_standby_names = 'nobody'", "nobody")
        # What its end would be is that its process is no more: the session does not notice.
        driver: Any = old._driver_connection()
        driver.stall_timeout = 60.0

        def write() -> None:
            with suppress(StoreError):
                old.write(adding(addition(1)))

        thread = threading.Thread(target=write)
        thread.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        wait_until(lambda: postgres.execute(waiting) == [(1,)], what="a commit that waits")
        with pytest.raises(StoreUnavailable, match="may wait for the synchronous standbys, nobody"):
            new.open()
        thread.join(10)
        assert not thread.is_alive()
    finally:
        standbys("RESET synchronous_standby_names", "")
    new.open()
    # It was on the primary, and the end of the session has made it visible.
    assert new.known([1]) == {1}
    for each in (old, new):
        each.close(None)


def test_a_state_that_comes_back(database: Database, stores: list[SqlStore]) -> None:
    """As after a failover: it is no other server's doing, and no number is given out twice."""
    store, other = stores
    store.open()
    first = store.reserve(1000)
    kept = database.execute("SELECT owner, term, beat FROM txgear_leases")
    store.write(adding(addition(1)))
    store.write(adding(addition(2)))
    database.execute("DELETE FROM txgear_jobs WHERE number = 2")
    database.execute("UPDATE txgear_numbers SET next = 1")
    database.execute("UPDATE txgear_leases SET beat = beat - 2")
    with pytest.raises(StoreUnavailable):
        store.write(adding(addition(3)))
    with capturedLogs() as events:
        store.open()
    assert any("has lost what it had confirmed" in str(formatEvent(event)) for event in events)
    store.write(adding(addition(3)))
    assert store.reserve(1) == first + 1000
    assert database.execute("SELECT term FROM txgear_leases")[0][0] == kept[0][1] + 1
    store.close(None)
    assert seconds_to_open(other) < 2.0

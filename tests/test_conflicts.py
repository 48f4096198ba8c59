"""The store on real databases whose rows others change as well, and whose commits are not known."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from databases import Database, MariaDB, Postgres
from needs import lacks
from processes import wait_until
from txgear.broker.records import JobUpdate
from txgear.errors import StoreUnavailable
from txgear.stores import make_store
from txgear.stores.sql import SqlStore
from txgear.test.support.batches import adding, addition, updating


@pytest.fixture(params=["postgres", "mariadb"])
def database(request: pytest.FixtureRequest) -> Database:
    """One server of each kind, with an empty database."""
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def store(database: Database) -> Iterator[SqlStore]:
    """An open store with some jobs."""
    this = make_store(database.url)
    this.open()
    this.write(adding(*[addition(number) for number in range(1, 1001)]))
    yield this
    this.close(None)


class InThread:
    """Something that is done meanwhile."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:
            self.error = error

    def join(self) -> BaseException | None:
        """Its error, if any."""
        self._thread.join(30.0)
        assert not self._thread.is_alive()
        return self.error


@contextlib.contextmanager
def somebody(database: Database) -> Iterator[Any]:
    """A transaction of somebody else's."""
    connection = database._connect(database.database)
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("BEGIN")
        yield cursor


def driver_of(store: SqlStore) -> Any:
    assert store._connection is not None
    return store._connection.connection.driver_connection


def waits(database: Database) -> Callable[[], bool]:
    """Whether a statement waits for a lock."""
    if isinstance(database, Postgres):
        text = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    else:
        text = "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    return lambda: bool(database.execute(text)[0][0])


CHANGE = "UPDATE txgear_jobs SET retries = retries + 1 WHERE number = {}"


def test_a_deadlock(store: SqlStore, database: Database) -> None:
    """The store's transaction is undone; it is written again on the same connection, and once."""
    driver = driver_of(store)
    updates = [JobUpdate(1, 1, 0.0, 5), JobUpdate(2, 2, 0.0, 6)]
    with somebody(database) as other:
        # Much to undo: the other one is undone.
        other.execute("UPDATE txgear_jobs SET retries = 1 WHERE number > 100")
        other.execute(CHANGE.format(2))
        writing = InThread(lambda: store.write(updating(*updates)))
        wait_until(waits(database), what="a transaction that waits")
        other.execute(CHANGE.format(1))
        other.execute("COMMIT")
        assert writing.join() is None
    assert driver_of(store) is driver
    assert [job.retries for job in store.replay(0, 3)] == [5, 6, 0]
    assert [lane.jobs for lane in store.lanes()] == [1000]
    deadlocks = (
        f"SELECT deadlocks FROM pg_stat_database WHERE datname = '{database.database}'"  # noqa: S608
        if isinstance(database, Postgres)
        else "SELECT variable_value FROM information_schema.global_status"
        " WHERE variable_name = 'innodb_deadlocks'"
    )
    # PostgreSQL's statistics come when a session has nothing to do.
    wait_until(lambda: int(database.execute(deadlocks)[0][0]) > 0, what="a deadlock that was counted")


def test_a_row_that_has_changed_since(database: Database) -> None:
    """Where the administrator has chosen a stricter isolation: 40001, and MariaDB's 1020."""
    if isinstance(database, Postgres):
        database.execute(
            f"ALTER DATABASE {database.database} SET default_transaction_isolation = 'repeatable read'"
        )
    else:
        database.execute("SET GLOBAL innodb_snapshot_isolation = ON")
    store = make_store(database.url)
    try:
        store.open()
        store.write(adding(addition(1), addition(2)))
        driver = driver_of(store)
        with somebody(database) as other:
            other.execute(CHANGE.format(1))
            writing = InThread(lambda: store.write(updating(JobUpdate(1, 1, 0.0, 5))))
            wait_until(waits(database), what="a transaction that waits")
            other.execute("COMMIT")
            assert writing.join() is None
        assert driver_of(store) is driver
        assert store.replay(0, 1)[0].retries == 5
    finally:
        store.close(None)
        if isinstance(database, MariaDB):
            database.execute("SET GLOBAL innodb_snapshot_isolation = OFF")


@pytest.fixture
def alone() -> Iterator[Database]:
    """A PostgreSQL that can be told to wait for a standby."""
    lacks(Postgres.missing())
    folder = Path(tempfile.mkdtemp(prefix="txgear-"))
    this = Postgres(folder, "--max_wal_senders=2", "--wal_level=replica")
    this.start()
    yield this
    this.kill()
    shutil.rmtree(folder)


@pytest.mark.parametrize("end", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_commit_that_waits_for_a_standby(alone: Database, end: str) -> None:
    """Whoever ends the waiting: it is not known, though PostgreSQL calls it done where it is cancelled."""
    store = make_store(alone.url, timeout=2.0)
    store.open()
    store.write(adding(addition(1)))

    def standbys(names: str) -> None:
        alone.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        alone.execute("SELECT pg_reload_conf()")
        wait_until(
            lambda: alone.execute("SHOW synchronous_standby_names") == [(names,)], what="the new setting"
        )

    try:
        standbys("nobody")
        writing = InThread(lambda: store.write(adding(addition(2))))
        waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        wait_until(lambda: alone.execute(f"SELECT count(*) {waiting}") == [(1,)], what="a commit that waits")
        alone.execute(f"SELECT {end}(pid) {waiting}")
        assert isinstance(writing.join(), StoreUnavailable)
        with pytest.raises(StoreUnavailable, match="not open"):
            store.known([2])
        # It is there, on this server alone. Nobody says so before a commit of its own has come through.
        assert alone.execute("SELECT count(*) FROM txgear_jobs WHERE number = 2") == [(1,)]
        with pytest.raises(StoreUnavailable):
            store.open()
        standbys("")
        store.open()
        assert store.known([1, 2]) == {1, 2}
    finally:
        store.close(None)

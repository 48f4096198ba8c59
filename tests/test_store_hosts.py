"""A store with several hosts: it finds the one that can be written, and leaves one that cannot any more."""

from __future__ import annotations

import gc
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import pytest

from databases import ADMIN, PASSWORD, USER, Database, Postgres
from needs import lacks
from processes import PATIENCE, free_port, wait_until
from txgear.errors import StoreUnavailable, StoreUnusable
from txgear.stores import make_store
from txgear.stores.sql import SqlStore
from txgear.test.support.batches import adding, addition

REPLICATION: Final = ("--max_wal_senders=4", "--wal_level=replica", "--hot_standby=on")
WHO: Final = f"{USER}:{quote(PASSWORD, safe='')}"


class Standby(Postgres):
    """A hot standby of another PostgreSQL."""

    programs = ("postgres", "pg_basebackup")

    def __init__(self, folder: Path, primary: Postgres, *options: str) -> None:
        super().__init__(folder, *options)
        self._primary = primary

    def _prepare(self) -> None:
        source = f"host=127.0.0.1 port={self._primary.port} user={ADMIN} password={PASSWORD}"
        self._make(
            self.program("pg_basebackup"),
            f"--pgdata={self.data}",
            f"--dbname={source}",
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
        )

    def _populate(self) -> None:
        pass

    def _create(self, database: str) -> None:
        pass


class Pair(NamedTuple):
    primary: Postgres
    standby: Standby


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A PostgreSQL and its hot standby."""
    lacks(Postgres.missing() or Standby.missing())
    folders = [Path(tempfile.mkdtemp(prefix="txgear-")) for _ in range(2)]
    primary = Postgres(folders[0], *REPLICATION)
    standby = Standby(folders[1], primary, *REPLICATION)
    try:
        primary.start()
        standby.start()
        yield Pair(primary, standby)
    finally:
        for database in (standby, primary):
            database.kill()
        for folder in folders:
            shutil.rmtree(folder)


def url(databases: Sequence[Database], options: str = "") -> str:
    """The URL that names all of them, in this order."""
    hosts = ",".join(f"127.0.0.1:{database.port}" for database in databases)
    return f"{databases[0].name}://{WHO}@{hosts}/{databases[0].database}{options}"


def port_of(store: SqlStore) -> int:
    """Where it is connected to."""
    assert store._connection is not None
    driver: Any = store._connection.connection.driver_connection
    return int(driver.info.port if hasattr(driver, "info") else driver.port)


def test_a_primary_and_its_standby(pair: Pair) -> None:
    """Whoever is the primary is found, in whatever order, and whether that was asked for or not."""
    primary, standby = pair
    dead = f"postgresql://{WHO}@127.0.0.1:{free_port()},127.0.0.1:{standby.port}/jobs"
    with pytest.raises(StoreUnavailable) as caught:
        make_store(dead).open()
    text = str(caught.value)
    assert text.startswith("127.0.0.1:")
    assert "Connection refused; 127.0.0.1:" in text
    assert text.endswith(": it takes no writes")
    for options in ("", "?target_session_attrs=read-write", "?target_session_attrs=primary"):
        with pytest.raises(StoreUnusable, match="it is read-only: name a database that can be written"):
            make_store(url([standby], options), timeout=2.0).open()
        store = make_store(url([standby, primary], options), timeout=4.0)
        assert store.name == f"postgresql://{USER}@127.0.0.1:{standby.port},127.0.0.1:{primary.port}/jobs"
        store.open()
        assert port_of(store) == primary.port
        store.close(None)
    store.open()
    store.write(adding(addition(1, b"one")))
    position = primary.execute("SELECT pg_current_wal_lsn()")[0][0]
    caught_up = f"SELECT pg_last_wal_replay_lsn() >= '{position}'"
    wait_until(lambda: standby.execute(caught_up) == [(True,)], what="a standby that has it all")
    report = store.report()
    assert report.promise == "primary with 1 standby, not waited for"
    assert report.doubts == (
        "synchronous_standby_names is empty: a failover may lose the last jobs that were answered",
    )
    # What is seen of a standby depends on the user.
    for right, words in (
        ("", "primary with 1 standby; each commit waits for *"),
        (f"GRANT pg_monitor TO {USER}", "primary with 1 standby, 1 of them synchronous; each commit waits"),
    ):
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.execute("SELECT pg_reload_conf()")
        if right:
            primary.execute(right)
        wait_until(lambda: store.report().promise.startswith(words), what=words)  # noqa: B023 - at once
        assert store.report().doubts == ()
    primary.execute("ALTER SYSTEM RESET synchronous_standby_names")
    # It is not to be written any more, and still there.
    primary.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    primary.execute("SELECT pg_reload_conf()")
    standby.execute("SELECT pg_promote()")

    def is_refused() -> bool:
        try:
            store.reserve(1)
        except StoreUnavailable:
            return True
        return False

    wait_until(is_refused, what="a primary that is read-only")
    store.open()
    assert port_of(store) == standby.port
    assert store.known([1]) == {1}
    store.write(adding(addition(3)))
    store.close(None)


@pytest.fixture(params=["postgres", "mariadb"])
def database(request: pytest.FixtureRequest) -> Database:
    """One server of each kind, with an empty database."""
    found: Database = request.getfixturevalue(request.param)
    return found


def test_hosts_that_are_not_there(database: Database) -> None:
    where = f"127.0.0.1:{free_port()},[::1]:{database.port},127.0.0.1:{database.port}"
    store = make_store(f"{database.name}://{WHO}@{where}/{database.database}")
    store.open()
    assert port_of(store) == database.port
    store.write(adding(addition(1)))
    store.close(None)


def test_a_wrong_password_at_all_of_them(database: Database) -> None:
    where = f"127.0.0.1:{database.port},localhost:{database.port}"
    store = make_store(f"{database.name}://{USER}@{where}/{database.database}", "wrong")
    with pytest.raises(StoreUnusable, match="check the user, the password"):
        store.open()


def test_a_host_that_hangs(database: Database) -> None:
    """It costs no more than its share of the timeout."""
    # The system takes connections for it.
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        where = f"127.0.0.1:{hanging.getsockname()[1]},127.0.0.1:{database.port}"
        store = make_store(f"{database.name}://{WHO}@{where}/{database.database}", timeout=4.0)
        before = time.monotonic()
        store.open()
        assert 1.5 < time.monotonic() - before < 3.5
        assert port_of(store) == database.port
        store.close(None)


def test_an_attempt_that_is_given_up(database: Database) -> None:
    """Its connection ends at once, and not when Python collects it."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        where = f"127.0.0.1:{hanging.getsockname()[1]},127.0.0.1:{database.port}"
        store = make_store(f"{database.name}://{WHO}@{where}/{database.database}", timeout=4.0)
        gc.disable()
        try:
            store.open()
            peer, _ = hanging.accept()
            with peer:
                peer.settimeout(PATIENCE)
                while peer.recv(4096):
                    pass
        finally:
            gc.enable()
        store.close(None)


def test_a_server_that_is_read_only_now(mariadb: Database) -> None:
    """1290: the connection is left, for whichever host can be written."""
    where = f"127.0.0.1:{mariadb.port},127.0.0.1:{free_port()}"
    store = make_store(f"mysql://{WHO}@{where}/{mariadb.database}")
    store.open()
    mariadb.execute("SET GLOBAL read_only = 1")
    try:
        with pytest.raises(StoreUnavailable, match="read-only"):
            store.write(adding(addition(1)))
        with pytest.raises(StoreUnavailable, match=r"it takes no writes; 127\.0\.0\.1:.*refused"):
            store.open()
    finally:
        mariadb.execute("SET GLOBAL read_only = 0")
    store.open()
    store.write(adding(addition(1)))
    store.close(None)

"""A store behind PgBouncer in transaction mode, which gives each transaction to whichever session is free."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psycopg
import pytest

from databases import PASSWORD, USER, Database
from needs import lacks
from processes import free_port, wait_until
from txgear.broker.records import JobUpdate
from txgear.errors import StoreUnusable
from txgear.stores import make_store
from txgear.test.support.stores import adding, addition, updating

WHO: Final = f"{USER}:{quote(PASSWORD, safe='')}"
PROGRAM: Final = "/usr/sbin/pgbouncer"


@pytest.fixture
def pooler(postgres: Database, tmp_path: Path) -> Iterator[str]:
    """A pooler in transaction mode with a few sessions; its URL."""
    program = shutil.which("pgbouncer") or PROGRAM
    lacks("" if os.path.exists(program) else "there is no program pgbouncer")
    port = free_port()
    folder = postgres.folder / "pooler"
    folder.mkdir(exist_ok=True)
    (folder / "users").write_text(f'"{USER}" "{PASSWORD}"\n')
    (folder / "pgbouncer.ini").write_text(
        "[databases]\n"
        f"{postgres.database} = host=127.0.0.1 port={postgres.port} password='{PASSWORD}'\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = plain\nauth_file = {folder / 'users'}\n"
        "pool_mode = transaction\ndefault_pool_size = 3\n"
    )
    if os.geteuid() == 0:
        for place in (folder, *folder.iterdir()):
            shutil.chown(place, postgres.account)
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            [*postgres._as_somebody(), program, str(folder / "pgbouncer.ini")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url = f"postgresql://{WHO}@127.0.0.1:{port}/{postgres.database}"

    def answers() -> bool:
        assert process.poll() is None, (tmp_path / "log").read_text()
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(url, prepare_threshold=None).close()
            return True
        return False

    try:
        wait_until(answers, what="a pooler that answers")
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


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
                    "SELECT current_setting('lock_timeout'), current_setting('client_min_messages')"
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
                    cursor.execute("SELECT pg_backend_pid(), current_setting('lock_timeout')"),
                    cursor.fetchall()[0],
                )[1]
            )
            sessions.add(row[0])
            assert row[1] == "5s"
    finally:
        others.stop()
    assert len(sessions) > 1
    assert store._connection.connection.driver_connection is driver
    assert [job.retries for job in store.replay(0, 200)] == [7] * 100
    store.close(None)
    assert others.settings == {("0", "notice")}
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

"""The store on real PostgreSQL and MariaDB servers: its contract, and what it does when they do not."""

from __future__ import annotations

import contextlib
import gc
import os
import pwd
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from psycopg.waiting import Wait
from twisted.trial.unittest import SynchronousTestCase

from databases import PASSWORD, USER, Database, MariaDB, Postgres, Rows
from processes import free_port
from txgear.broker.history import MOST_ATTEMPTS, MOST_TEXT, Attempt, History, as_text
from txgear.broker.records import PAUSED, Batch, JobUpdate, StoredValue
from txgear.broker.states import DONE
from txgear.errors import StoreRefused, StoreTaken, StoreUnavailable, StoreUnusable
from txgear.interfaces import IHistoryStore
from txgear.stores import make_store, migrations, schema
from txgear.stores.mysql import LEAST_PACKET
from txgear.stores.sql import SqlStore
from txgear.test.support.batches import (
    adding,
    addition,
    deleting,
    deleting_all,
    stored,
    updating,
    with_results,
)
from txgear.test.support.storequestions import QuestionContract
from txgear.test.support.stores import HistoryContract, living
from txgear.test.support.storeworkloads import WorkloadContract


class TestPostgresContract(HistoryContract, QuestionContract, WorkloadContract, SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _place(self, postgres: Database) -> None:
        self.database = postgres

    def make_store(self) -> IHistoryStore:
        return make_store(self.database.url)

    def execute(self, sql: str) -> Rows:
        return self.database.execute(sql)


class TestMariaDBContract(HistoryContract, QuestionContract, WorkloadContract, SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _place(self, mariadb: Database) -> None:
        self.database = mariadb

    def make_store(self) -> IHistoryStore:
        return make_store(self.database.url)

    def execute(self, sql: str) -> Rows:
        return self.database.execute(sql)


@pytest.fixture(params=["postgres", "mariadb"])
def database(request: pytest.FixtureRequest) -> Database:
    """One server of each kind, with an empty database."""
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def store(database: Database) -> Iterator[SqlStore]:
    """A store in it that is not open, and does not wait long."""
    this = make_store(database.url, timeout=1.0)
    yield this
    this.close(None)


def filled(store: SqlStore) -> None:
    store.open()
    store.write(adding(addition(1, b"one"), addition(2)))


def refusal_to_open(store: SqlStore) -> str:
    """Why the store cannot be used, in a line that an operator may read and anybody may see."""
    with pytest.raises(StoreUnusable) as caught:
        store.open()
    text = str(caught.value)
    for noise in ("\n", PASSWORD, "SELECT ", "sqlalche", "psycopg", "pymysql"):
        assert noise not in text
    assert store.name in text
    return text


def driver_of(store: SqlStore) -> Any:
    assert store._connection is not None
    return store._connection.connection.driver_connection


# Two servers


def test_a_server_that_was_cut_off_notices_another(store: SqlStore, database: Database) -> None:
    """It may not go on with what it remembers, even when the other has gone again."""
    store.open()
    store._disconnect()
    store.open()  # nobody has been there
    store._disconnect()
    other = make_store(database.url)
    other.open()
    other.close(None)
    for _ in range(2):
        with pytest.raises(StoreTaken):
            store.open()


def test_a_lost_connection_speaks_once(postgres: Database) -> None:
    """psycopg has more to say of what was under way; nobody wants to find that in the log."""
    store = make_store(postgres.url)
    store.open()
    driver = driver_of(store)
    driver.close()

    def under_way() -> Iterator[Wait]:
        try:
            yield Wait.R
        finally:
            raise psycopg.OperationalError("that as well")

    with pytest.raises(psycopg.OperationalError, match="the connection is"):
        driver.wait(under_way())
    gc.collect()
    store.close(None)


# The schema


def test_the_revisions_lead_to_the_tables(store: SqlStore) -> None:
    store.open()
    assert store._connection is not None
    context = MigrationContext.configure(
        store._connection, opts={"version_table": schema.REVISION_TABLE, "compare_type": True}
    )
    assert compare_metadata(context, schema.jobs.metadata) == []


def from_first_revision(store: SqlStore, database: Database) -> None:
    """Leave tables as the first revision made them, with two jobs in them."""
    with store._dialect.engine.connect() as connection:
        migrations.upgrade(connection, "0001")
        connection.commit()
    database.execute(
        "INSERT INTO txgear_jobs VALUES"
        " (1, 9, 'p', 'f', 'u', NULL, '', 1, 0.5, 3, 3), (2, 2, 'p', 'f', '', NULL, 'r', 0, 0, 0, 0)"
    )
    database.execute("INSERT INTO txgear_workloads VALUES (1, 'one')")
    database.execute("UPDATE txgear_numbers SET next = 100")


@pytest.mark.parametrize("columns", range(5))
def test_a_database_of_the_first_revision(store: SqlStore, database: Database, columns: int) -> None:
    """Its jobs are kept; where the upgrade was interrupted on the way, the rest of it is done."""
    from_first_revision(store, database)
    double = "DOUBLE PRECISION"
    for name, kind in [("created", double), ("state", "SMALLINT"), ("ended", double)][:columns]:
        database.execute(f"ALTER TABLE txgear_jobs ADD COLUMN {name} {kind} DEFAULT 0 NOT NULL")
    if columns == 4:
        kind = "BYTEA" if isinstance(database, Postgres) else "MEDIUMBLOB"
        database.execute(f"ALTER TABLE txgear_jobs ADD COLUMN life {kind}")
        with store._dialect.engine.connect() as connection:
            schema.results.create(connection)
            connection.commit()
    store.open()
    assert store._connection is not None
    context = MigrationContext.configure(
        store._connection,
        opts={"version_table": schema.REVISION_TABLE, "compare_type": True, "compare_server_default": True},
    )
    assert compare_metadata(context, schema.jobs.metadata) == []
    assert migrations.revision(store._connection) == schema.REVISIONS[-1]
    jobs = [
        stored(1, place=9, prefix=b"p", unique=b"u", priority=1, due=0.5, retries=3, size=3),
        stored(2, prefix=b"p", reducer=b"r", priority=0),
    ]
    assert store.replay(0, 10) == jobs
    assert store.workloads([1, 2]) == {1: b"one", 2: b""}
    assert (store.results([1, 2]), store.values(), store.reserve(1)) == ({}, [], 100)
    store.write(
        Batch(
            [(stored(3, created=5.5, history=b"{}"), b"")],
            [JobUpdate(1, 1, 9.5, 0, 6, DONE, 7.5)],
            (),
            [(1, b"result")],
            values=[StoredValue(PAUSED, b"f", 1.0)],
        )
    )
    assert store.replay(2, 10) == [stored(3, created=5.5, history=b"{}")]
    assert (store.results([1, 2]), store.values()) == ({1: b"result"}, [StoredValue(PAUSED, b"f", 1.0)])


def test_an_upgrade_that_was_interrupted_is_done_again(store: SqlStore, database: Database) -> None:
    filled(store)
    store.close(None)
    database.execute("DROP TABLE txgear_imported")
    database.execute("DELETE FROM txgear_schema")
    store.open()
    assert store.workloads([1, 2]) == {1: b"one", 2: b""}
    assert store.imported([bytes(32)]) == set()


def test_a_revision_that_is_not_known_yet(store: SqlStore, database: Database) -> None:
    filled(store)
    store.close(None)
    database.execute("UPDATE txgear_schema SET version_num = '0999'")
    assert "written by a newer txgear (its schema is 0999" in refusal_to_open(store)


def test_tables_of_somebody_else(store: SqlStore, database: Database) -> None:
    database.execute("CREATE TABLE txgear_workloads (id INTEGER)")
    if isinstance(database, Postgres):
        database.execute(f"GRANT ALL ON txgear_workloads TO {USER}")
    assert "its tables are not txgear's" in refusal_to_open(store)


@pytest.mark.parametrize("table", ["leases", "workloads"])
def test_a_table_that_somebody_has_dropped(table: str, store: SqlStore, database: Database) -> None:
    filled(store)
    store.close(None)
    database.execute(f"DROP TABLE txgear_{table}")
    text = refusal_to_open(store)
    assert f"txgear_{table}" in text
    assert "its tables are not all there: restore it from a backup" in text


# Moving in


def test_what_was_taken_over_is_known(store: SqlStore) -> None:
    store.open()
    digests = [number.to_bytes(2, "big") + bytes(30) for number in range(600)]
    store.take_over([addition(number, b"w") for number in range(1, 301)], digests[:300])
    with pytest.raises(StoreRefused):
        store.take_over([addition(1000)], digests[299:])
    assert store.imported(digests) == set(digests[:300])
    assert len(store.known(range(2000))) == 300


# Who is let in


def test_a_wrong_password(database: Database) -> None:
    assert "check the user, the password" in refusal_to_open(make_store(database.url, "wrong"))


def test_an_unknown_database(database: Database) -> None:
    assert "check the user, the password and the database" in refusal_to_open(make_store(f"{database.url}_x"))


def test_a_user_who_may_not_make_tables(database: Database) -> None:
    name = f"{database.database}_theirs"
    database.execute(f"CREATE DATABASE {name}", database.home)
    if isinstance(database, MariaDB):
        database.execute(f"GRANT SELECT ON {name}.* TO '{USER}'@'127.0.0.1'", database.home)
    assert "let the server's user make and write tables" in refusal_to_open(
        make_store(f"{database.url}_theirs")
    )


def test_a_database_that_cannot_be_written(store: SqlStore, database: Database) -> None:
    filled(store)
    store.close(None)
    if isinstance(database, Postgres):
        database.execute(f"ALTER DATABASE {database.database} SET default_transaction_read_only = on")
    else:
        database.execute("SET GLOBAL read_only = 1")
    try:
        assert "it is read-only" in refusal_to_open(store)
    finally:
        if isinstance(database, MariaDB):
            database.execute("SET GLOBAL read_only = 0")


def test_an_option_that_the_driver_does_not_have(database: Database) -> None:
    refusal_to_open(make_store(f"{database.url}?nonsense=1"))


def test_nobody_listens(database: Database) -> None:
    store = make_store(database.url.replace(str(database.port), str(free_port())))
    with pytest.raises(StoreUnavailable) as caught:
        store.open()
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)


# Trouble


def test_a_server_that_is_killed(store: SqlStore, database: Database) -> None:
    filled(store)
    database.kill()
    with pytest.raises(StoreUnavailable):
        store.write(adding(addition(3)))
    with pytest.raises(StoreUnavailable, match="not open"):
        store.known([1])
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            store.open()
    database.start()
    store.open()
    assert store.workloads([1, 2, 3]) == {1: b"one", 2: b""}
    store.write(Batch([addition(3)], [JobUpdate(1, 9, 0.5, 1)], [2]))
    assert store.replay(0, 9) == [stored(1, place=9, due=0.5, retries=1, size=3), stored(3)]


def test_a_server_that_does_not_answer(store: SqlStore, database: Database) -> None:
    filled(store)
    database.pause()
    for call in (lambda: store.write(deleting([1])), store.open, store.open):
        before = time.monotonic()
        with pytest.raises(StoreUnavailable):
            call()
        # A second, one of grace; libpq does not connect in less than two.
        assert 0.9 < time.monotonic() - before < 3.5
    database.resume()
    store.open()
    # Whether the deletion was done is known now: the last connection has ended.
    kept = store.known([1, 2])
    assert 2 in kept
    store.write(deleting([1]))
    assert store.known([1, 2]) == {2}


def test_a_table_that_somebody_else_holds(store: SqlStore, database: Database) -> None:
    filled(store)
    with contextlib.closing(database._connect(database.database)) as other, other.cursor() as cursor:
        if isinstance(database, Postgres):
            cursor.execute("BEGIN; LOCK TABLE txgear_jobs IN ACCESS EXCLUSIVE MODE")
        else:
            cursor.execute("LOCK TABLES txgear_jobs WRITE")
        before = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.write(deleting([1]))
        assert 0.9 < time.monotonic() - before < 2.5
    store.open()
    assert store.known([1, 2]) == {1, 2}


class Cable:
    """
    The way to a server, which can be cut so that neither end hears of it.

    :ivar rate: bytes that it carries in a second.
    """

    def __init__(self, port: int, rate: float = inf) -> None:
        self._server = port
        self.rate = rate
        self._listener = socket.create_server(("127.0.0.1", 0))
        if rate < inf:
            # What has been taken here has arrived, as far as the sender knows.
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.port = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._ends: list[socket.socket] = []
        self._is_over = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over:
            for key, _ in self._selector.select(0.05):
                if key.fileobj is self._listener:
                    near = self._listener.accept()[0]
                    far = socket.create_connection(("127.0.0.1", self._server))
                    self._ends += [near, far]
                    self._selector.register(near, selectors.EVENT_READ, far)
                    self._selector.register(far, selectors.EVENT_READ, near)
                else:
                    self._carry(key)

    def _carry(self, key: selectors.SelectorKey) -> None:
        assert isinstance(key.fileobj, socket.socket)
        data = key.fileobj.recv(65536)
        if data:
            time.sleep(len(data) / self.rate)
            key.data.sendall(data)
        else:
            self._selector.unregister(key.fileobj)
            key.data.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Carry nothing any more for those who are connected now."""
        for end in self._ends:
            with contextlib.suppress(KeyError):
                self._selector.unregister(end)

    def close(self) -> None:
        self._is_over = True
        self._thread.join()
        for end in [*self._ends, self._listener]:
            end.close()


def test_a_connection_that_only_the_server_believes_in(database: Database) -> None:
    cable = Cable(database.port)
    store = make_store(database.url.replace(str(database.port), str(cable.port)), timeout=1.0)
    try:
        other = make_store(database.url)
        other.open()
        other.close(None)
        filled(store)
        cable.cut()
        with pytest.raises(StoreUnavailable):
            store.write(deleting([1]))
        # The old connection has the lock as long as it lives.
        store.open()
        assert store.known([1, 2]) == {1, 2}
        # But only this store's own.
        with living(store), pytest.raises(StoreUnusable, match="in use by another server"):
            other.open()
        assert store.known([1, 2]) == {1, 2}
    finally:
        store.close(None)
        cable.close()


#: Bytes of a large workload, and how many a slow line carries in a second: several times the deadline.
LARGE: Final = 6 * 2**20
SLOW: Final = 1.2 * 2**20


def test_a_slow_line(database: Database) -> None:
    """What takes longer than the deadline, and gets on, is written and read; several at once as well."""
    cable = Cable(database.port, SLOW)
    store = make_store(database.url.replace(str(database.port), str(cable.port)), timeout=1.0)
    try:
        store.open()
        workload = os.urandom(LARGE // 2 if isinstance(database, MariaDB) else LARGE)
        before = time.monotonic()
        store.write(adding(addition(1, workload), addition(2, b"two")))
        assert time.monotonic() - before > 2.5
        before = time.monotonic()
        assert store.workloads([1, 2]) == {1: workload, 2: b"two"}
        assert time.monotonic() - before > 2.0
        store.write(with_results((1, workload)))
        assert store.results([1]) == {1: workload}
        # One that has stopped is still found out.
        cable.cut()
        before = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.write(adding(addition(3, workload)))
        assert time.monotonic() - before < 6.0
    finally:
        store.close(None)
        cable.close()


# What differs


def test_postgresql_commits_to_the_disk(postgres: Database) -> None:
    store = make_store(postgres.url)
    for setting, expected in (("off", "on"), ("local", "local")):
        postgres.execute(f"ALTER DATABASE {postgres.database} SET synchronous_commit = {setting}")
        store.open()
        with driver_of(store).cursor() as cursor:
            assert cursor.execute("SHOW synchronous_commit").fetchone() == (expected,)
        store.close(None)


def test_what_a_database_says_of_itself(store: SqlStore, database: Database) -> None:
    """A server of the tests is durable: nothing is said against it."""
    store.open()
    report = store.report()
    assert report.doubts == ()
    assert report.schema == schema.REVISIONS[-1]
    assert report.size is not None
    assert report.size > 0
    assert report.database.startswith(("PostgreSQL 1", "MariaDB 1"))
    settings = dict(report.settings)
    if "fsync" in settings:
        assert settings == {
            "synchronous_commit": "on",
            "fsync": "on",
            "full_page_writes": "on",
            "tables": "logged",
        }
    else:
        assert (settings["innodb_flush_log_at_trx_commit"], settings["engine"]) == ("1", "InnoDB")


def test_doubts_of_postgresql(postgres: Database) -> None:
    store = make_store(postgres.url)
    store.open()
    postgres.execute("ALTER TABLE txgear_jobs SET UNLOGGED")
    (doubt,) = store.report().doubts
    assert doubt == "the tables are unlogged: a crash of the database empties them"
    store.close(None)


def test_doubts_of_mariadb(mariadb: Database) -> None:
    store = make_store(mariadb.url)
    store.open()
    mariadb.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    try:
        (doubt,) = store.report().doubts
        assert doubt.startswith("innodb_flush_log_at_trx_commit is 2: ")
    finally:
        mariadb.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
        store.close(None)


def test_mysql_refuses_what_does_not_fit_a_packet(mariadb: Database) -> None:
    before = mariadb.execute("SELECT @@global.max_allowed_packet")[0][0]
    store = make_store(mariadb.url)
    try:
        mariadb.execute(f"SET GLOBAL max_allowed_packet = {LEAST_PACKET}")
        store.open()
        fits = LEAST_PACKET // 2 - 512
        with pytest.raises(StoreRefused, match=f"max_allowed_packet is {LEAST_PACKET}"):
            store.write(adding(addition(1), addition(2, bytes(fits + 1))))
        assert store.known([1, 2]) == set()
        store.write(adding(addition(2000)))
        with pytest.raises(StoreRefused, match="a result of"):
            store.write(with_results((2000, bytes(fits + 1))))
        store.write(with_results((2000, b"'" * fits)))
        assert store.results([2000]) == {2000: b"'" * fits}
        # What is known of attempts that failed, at the worst.
        for sign in ("\N{FIRE}", "\x01", "\\"):
            life = History()
            for _ in range(MOST_ATTEMPTS):
                life.add_attempt(
                    Attempt(0.1, 0.2, "exception", sign * 127, as_text(sign.encode() * MOST_TEXT * 9))
                )
            store.write(updating(JobUpdate(2000, 2000, 0.0, 0, history=life.to_bytes())))
            assert store.replay(1999, 1)[0].history == life.to_bytes()
        store.write(deleting_all([2000]))
        # A packet each, and several to a packet.
        jobs = [addition(number, b"'" * (fits if number < 4 else 500)) for number in range(1, 1000)]
        store.write(adding(*jobs))
        assert store.workloads(range(1000)) == {job.number: workload for job, workload in jobs}
        long = [(stored(number, function=b"\\" * 8191), b"") for number in range(1000, 1100)]
        store.write(adding(*long))
        assert store.replay(999, 1000) == [job for job, _ in long]
        store.close(None)
        mariadb.execute("SET GLOBAL max_allowed_packet = 262144")
        assert f"set it to {LEAST_PACKET} or more" in refusal_to_open(store)
    finally:
        store.close(None)
        mariadb.execute(f"SET GLOBAL max_allowed_packet = {before}")


def test_mysql_reads_what_does_not_fit_a_packet_any_more(mariadb: Database) -> None:
    """It was written when max_allowed_packet was higher."""
    before = mariadb.execute("SELECT @@global.max_allowed_packet")[0][0]
    store = make_store(mariadb.url)
    try:
        store.open()
        sizes = (LEAST_PACKET - 1024, LEAST_PACKET - 512, LEAST_PACKET, 3 * LEAST_PACKET, 2**22 + 1)
        jobs = [
            (stored(number, size=size), os.urandom(size)) for number, size in enumerate((0, 1, *sizes), 1)
        ]
        store.write(adding(*jobs))
        store.write(adding(addition(100), addition(101)))
        store.write(with_results((100, jobs[-1][1]), (101, b"short")))
        store.close(None)
        mariadb.execute(f"SET GLOBAL max_allowed_packet = {LEAST_PACKET}")
        store.open()
        assert store.workloads(range(200)) == {
            **{job.number: workload for job, workload in jobs},
            100: b"",
            101: b"",
        }
        assert store.results(range(200)) == {100: jobs[-1][1], 101: b"short"}
        with pytest.raises(StoreRefused, match=f"max_allowed_packet is {LEAST_PACKET}"):
            store.write(adding(addition(200, jobs[-1][1])))
    finally:
        store.close(None)
        mariadb.execute(f"SET GLOBAL max_allowed_packet = {before}")


def test_a_file_of_another_user() -> None:
    if os.geteuid():
        pytest.skip("only root can be two users")
    nobody = pwd.getpwnam("nobody").pw_uid
    folder = Path(tempfile.mkdtemp(prefix="txgear-"))
    store = make_store(f"sqlite:///{folder}/jobs.sqlite")
    try:
        filled(store)
        store.close(None)
        os.chown(folder, nobody, -1)
        (folder / "jobs.sqlite.lock").unlink()
        for mode in (0o644, 0o600):
            (folder / "jobs.sqlite").chmod(mode)
            os.seteuid(nobody)
            try:
                text = refusal_to_open(store)
            finally:
                os.seteuid(0)
                store.close(None)
            assert "let the server's user write the file and its folder" in text
    finally:
        shutil.rmtree(folder)


def test_what_is_not_needed_is_not_imported(tmp_path: Path) -> None:
    program = """
import sys, txgear.stores
assert "sqlalchemy" not in sys.modules
store = txgear.stores.make_store(sys.argv[1])
store.open()
store.close(None)
print("alembic" in sys.modules)
"""
    said = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", program, f"sqlite:///{tmp_path}/jobs.sqlite"],
            capture_output=True,
            timeout=30,
            check=True,
        )
        for _ in range(2)
    ]
    # The first makes the tables; the second finds them.
    assert [(done.stdout, done.stderr) for done in said] == [(b"True\n", b""), (b"False\n", b"")]

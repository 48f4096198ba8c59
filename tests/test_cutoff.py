"""A server and its database find out that the other one's machine is gone, though no connection ends."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest

import machines
from databases import PASSWORD, USER, Database, Postgres, folder_for_services
from needs import lacks
from processes import run
from txgear.stores import make_store
from txgear.stores.probes import Probes, probes_for
from txgear.stores.serverdialect import GRACE
from txgear.stores.sql import SqlStore
from txgear.test.support.batches import adding, addition

pytestmark = pytest.mark.txgear_only

#: Seconds for a program that makes a database, and has servers of it cut off.
PATIENCE: Final = 90.0

#: What a timer of TCP may be early, or late.
EARLY: Final = 2.0
LATE: Final = 6.0

NAMES: Final = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")


def driver_of(store: SqlStore) -> Any:
    assert store._connection is not None
    return store._connection.connection.driver_connection


def of_session(store: SqlStore) -> list[str]:
    """What PostgreSQL has for the store's own session; a time limit in milliseconds."""
    driver = driver_of(store)
    rows = driver.execute(
        "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", (list(NAMES),)
    ).fetchall()
    return [dict(rows)[name] for name in NAMES]


def asked_for(probes: Probes) -> list[str]:
    return [*map(str, probes), str(1000 * probes.seconds)]


def test_what_is_locked_by_a_server_that_is_cut_off() -> None:
    """It is free soon, whether the database has to say something to it or not; but not if nobody asked."""
    lacks(Postgres.missing() or machines.missing())
    done = run([sys.executable, Path(__file__).with_name("cutoff.py")], timeout=PATIENCE)
    assert done.returncode == 0, done.stderr.decode(errors="backslashreplace")
    found = json.loads(done.stdout)
    seconds = probes_for(5.0 + GRACE).seconds
    assert seconds - EARLY < found["silent"] < seconds + LATE
    assert seconds - EARLY < found["answering"] < seconds + LATE
    assert found["told otherwise"] is None


@pytest.fixture(params=[5.0, 60.0])
def timeout(request: pytest.FixtureRequest) -> float:
    seconds: float = request.param
    return seconds


def test_postgresql_is_asked(postgres: Database, timeout: float) -> None:
    """For this session alone; what is asked of the own system is the same, but for the time limit."""
    probes = probes_for(timeout + GRACE)
    store = make_store(postgres.url, timeout=timeout)
    store.open()
    assert of_session(store) == asked_for(probes)
    assert options_of(driver_of(store).fileno()) == probes
    store.write(adding(addition(1)))
    assert of_session(store) == asked_for(probes)
    store.close(None)
    assert postgres.execute("SHOW tcp_user_timeout") == [("0",)]


def test_mariadb_cannot_be_asked(mariadb: Database, timeout: float) -> None:
    """Its own system can."""
    store = make_store(mariadb.url, timeout=timeout)
    store.open()
    assert options_of(driver_of(store)._sock.fileno()) == probes_for(timeout + GRACE)
    store.close(None)


def options_of(descriptor: int) -> Probes:
    with socket.socket(fileno=os.dup(descriptor)) as this:
        assert this.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        return Probes(*(this.getsockopt(socket.IPPROTO_TCP, option) for option in options))


@pytest.mark.parametrize("of", ["DATABASE", "ROLE"])
def test_what_somebody_has_set_stays(postgres: Database, of: str) -> None:
    """For the database, or the user; and in the URL, of both ends."""
    name = postgres.database if of == "DATABASE" else USER
    postgres.execute(f"ALTER {of} {name} SET tcp_user_timeout = '77s'")
    try:
        store = make_store(
            f"{postgres.url}?options=-c%20tcp_keepalives_interval%3D33&keepalives_idle=44", timeout=5.0
        )
        store.open()
        probes = probes_for(5.0 + GRACE)
        assert of_session(store) == [str(probes.idle), "33", str(probes.number), "77000"]
        assert options_of(driver_of(store).fileno()) == probes._replace(idle=44)
        store.close(None)
    finally:
        postgres.execute(f"ALTER {of} {name} RESET ALL")


@pytest.fixture
def local() -> Iterator[Postgres]:
    """A PostgreSQL server that has a Unix socket as well."""
    lacks(Postgres.missing())
    with folder_for_services() as folder, Postgres(folder, f"--unix_socket_directories={folder}") as this:
        yield this


def test_over_a_unix_socket(local: Postgres) -> None:
    """There is nothing to be probed, which is no error."""
    place = quote(str(local.folder), safe="")
    url = f"postgresql://{USER}:{quote(PASSWORD, safe='')}@/{local.database}?host={place}&port={local.port}"
    store = make_store(url)
    store.open()
    store.write(adding(addition(1)))
    assert of_session(store) == ["0"] * 4
    assert "setsockopt" not in local.log()
    store.close(None)

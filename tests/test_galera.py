"""One server whose database is a Galera cluster of three nodes, of which it uses the first.

Whatever happens to a node, nothing that was answered is lost, and nothing is done twice.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

import pymysql
import pytest

from clusterload import Load, settle
from databases import Database
from galera import Galera
from processes import PATIENCE, Programs, Servers, free_port, server_command
from txgear.broker.records import SLOTS, StoredValue, Swap
from txgear.errors import StoreRefused
from txgear.journal.batches import Refusals, write_all
from txgear.stores import make_store
from txgear.stores.membership import Membership
from txgear.stores.partedstore import PartedStore
from txgear.test.support.batches import adding, addition

pytestmark = pytest.mark.txgear_only

Tell = Callable[[str], None]

#: What a timer may be late.
LATE: Final = 1.0

#: Seconds between two attempts to connect, at the most, and for one.
AGAIN: Final = 5.0 + 2.0

#: Seconds for which no node answers a COMMIT when one has vanished, by Galera's defaults; and somewhat more.
STALL: Final = 6.5 + 2 * LATE


def test_own_node_cut_off(tell: Tell, galera: Galera, start_server: Servers) -> None:
    """A node without the others takes connections, and nothing else; the server waits for it."""
    own = galera.nodes[0]
    # Long enough for the node to say what it knows of the commit that was under way.
    server = start_server("--store-timeout=7", store=own.url)
    load = Load(server.port)
    load.wait_for_kept()
    own.cut()
    time.sleep(7 + LATE)
    assert load.refused()
    own.heal()
    again = load.wait_for_kept()
    settle(tell, f"cut off, taken after {again:.1f} s", load, server, lambda: start_server(store=own.url))
    assert again < AGAIN


@contextlib.contextmanager
def changing(node: Database) -> Iterator[None]:
    """Somebody else changes, all the time, the rows that each transaction of the server changes."""
    over = threading.Event()

    def change() -> None:
        with contextlib.closing(node._connect(node.database)) as connection, connection.cursor() as cursor:
            while not over.wait(0.002):
                with contextlib.suppress(pymysql.OperationalError):
                    cursor.execute("BEGIN")
                    cursor.execute("UPDATE txgear_lanes SET jobs = jobs + 1")
                    cursor.execute("UPDATE txgear_lanes SET jobs = jobs - 1")
                    cursor.execute("COMMIT")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_conflicts_with_another_node(tell: Tell, galera: Galera, start_server: Servers) -> None:
    """Somebody changes the same rows at another node: a transaction that is undone is run again."""
    own, second, _ = galera.nodes
    server = start_server(store=own.url)
    load = Load(server.port)
    load.wait_for_kept()

    def undone() -> int:
        return sum(int(own.status(name)) for name in ("wsrep_local_cert_failures", "wsrep_local_bf_aborts"))

    before = undone()
    with changing(second):
        load.wait_for_kept(200)
    count = undone() - before
    settle(tell, f"{count} transactions undone", load, server, lambda: start_server(store=own.url))
    assert count > 5
    assert not load.refused()
    assert b"lost" not in server.said()


@pytest.mark.parametrize(("setting", "value"), [("wsrep_max_ws_size", 2**20), ("wsrep_max_ws_rows", 50)])
def test_more_than_it_takes_at_once(galera: Galera, setting: str, value: int) -> None:
    """It comes with the errors of a commit that is not known, and is refused; the connection is good."""
    own = galera.nodes[0]
    before = own.execute(f"SELECT @@global.{setting}")[0][0]
    own.execute(f"SET GLOBAL {setting} = {value}")
    store = make_store(own.url)
    try:
        store.open()
        jobs = [addition(number, os.urandom(20_000)) for number in range(1, 101)]
        with pytest.raises(StoreRefused, match="exceeded"):
            store.write(adding(*jobs))
        assert store.known(range(200)) == set()
        # In halves it is taken.
        assert write_all(store, adding(*jobs)) == Refusals({}, {}, {})
        assert store.workloads([1, 100]) == {1: jobs[0][1], 100: jobs[99][1]}
    finally:
        store.close(None)
        own.execute(f"SET GLOBAL {setting} = {before}")


def test_second_server_at_another_node(galera: Galera, start_server: Servers, programs: Programs) -> None:
    """A node does not know the locks of another one, and the second server is kept off all the same."""
    own, second, _ = galera.nodes
    server = start_server(store=own.url)
    load = Load(server.port)
    load.wait_for_kept()
    other = programs.start(server_command(free_port(), second.url))
    assert other.wait(2 * PATIENCE) != 0
    assert b"it is in use by another server" in other.stderr
    assert other.stderr.count(b"\n") == 1
    load.wait_for_kept()
    load.stop()
    assert not load.refused()
    load.drain(server.port)
    load.judge()


def test_own_node_killed(tell: Tell, galera: Galera, start_server: Servers) -> None:
    """Jobs are refused while the server's node is away, and taken when it has come back."""
    own = galera.nodes[0]
    server = start_server("--store-timeout=3", store=own.url)
    load = Load(server.port)
    load.wait_for_kept()
    own.kill()
    killed = time.monotonic()
    time.sleep(3 + LATE)
    own.start()
    again = load.wait_for_kept()
    first = min(one.at + one.seconds for one in load.refused()) - killed
    figures = f"refused {first:.1f} s after, taken after {again:.1f} s"
    settle(tell, figures, load, server, lambda: start_server(store=own.url))
    assert 3 - LATE < first < 3 + LATE
    assert again < AGAIN


def test_other_nodes_vanish(tell: Tell, galera: Galera, start_server: Servers) -> None:
    """One is killed, another one held: commits take some seconds then, and nothing is refused."""
    own, second, third = galera.nodes
    server = start_server(store=own.url)
    load = Load(server.port)
    load.wait_for_kept()
    second.kill()
    killed = load.wait_for_kept()
    second.start()
    load.wait_for_kept()
    third.pause()
    held = load.wait_for_kept()
    settle(
        tell, f"stalls of {killed:.1f} and {held:.1f} s", load, server, lambda: start_server(store=own.url)
    )
    # Elsewhere a submit does not wait as long.
    assert min(killed, held) > 5.0
    assert max(killed, held) < STALL
    assert not load.refused()


@pytest.mark.parametrize("how", ["cut", "kill"])
def test_several_nodes_in_the_url(tell: Tell, galera: Galera, start_server: Servers, how: str) -> None:
    """The node that the server uses is lost, and it goes on at the next one; nothing is refused."""
    own = galera.nodes[0]
    hosts = ",".join(f"127.0.0.1:{node.port}" for node in galera.nodes)
    url = own.url.replace(f"127.0.0.1:{own.port}", hosts)
    server = start_server(store=url)
    load = Load(server.port)
    load.wait_for_kept()
    getattr(own, how)()
    again = load.wait_for_kept()
    settle(tell, f"{how}: at another node after {again:.1f} s", load, server, lambda: start_server(store=url))
    assert again < STALL
    assert not load.refused()


def test_values_that_two_servers_change(galera: Galera) -> None:
    """At two nodes at once: of two that have read the same one is done, whatever COMMIT says."""
    stores = [
        make_store(node.url, timeout=7.0, membership=Membership(name, "", 9.0))
        for node, name in zip(galera.nodes, "ab", strict=False)
    ]
    done = [0, 0]

    def swap(at: int) -> None:
        store = stores[at]
        assert isinstance(store, PartedStore)
        for number in range(100):
            there = next(iter(store.shared()), StoredValue(SLOTS, b"f", 0.0, text="0"))
            after = there._replace(value=1.0 + at + 2 * number, text=str(int(there.text) + 1))
            done[at] += store.swap([Swap(after, there.value)]) == [True]

    for store in stores:
        store.open()
    threads = [threading.Thread(target=swap, args=[at]) for at in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [value for value in stores[0].values() if value.kind == SLOTS]
    for store in stores:
        store.close(None)
    assert [int(value.text) for value in found] == [sum(done)]
    assert min(done) > 10

"""One server whose database is a PostgreSQL with a standby under Patroni, whichever of the two is primary.

While a commit waits for the standby, nothing that was answered is lost, whatever happens to the primary.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import pytest

from clusterload import Load, settle
from patronicluster import Cluster
from processes import Servers, wait_until

pytestmark = pytest.mark.txgear_only

Tell = Callable[[str], None]

#: What a timer may be late.
LATE: Final = 1.0

#: Seconds between two attempts to connect, at the most, and for one.
AGAIN: Final = 5.0 + 2.0

#: Seconds for which the standby is away: more than a lock was waited for, and less than Patroni waits.
AWAY: Final = 5.0


def test_switchover(tell: Tell, patroni: Cluster, start_server: Servers) -> None:
    """The two change their roles: that takes some seconds, and nothing is refused."""
    server = start_server(store=patroni.url)
    load = Load(server.port)
    load.wait_for_kept()
    new = patroni.standby
    patroni.switch_over()
    wait_until(lambda: new.writes, what="the other primary")
    again = load.wait_for_kept()
    settle(tell, f"taken after {again:.1f} s", load, server, lambda: start_server(store=patroni.url))
    assert not load.refused()


def test_killed_while_a_commit_waits(tell: Tell, patroni: Cluster, start_server: Servers) -> None:
    """The session of a server that was killed stays until the standby is back; the next one waits for it."""
    server = start_server(store=patroni.url)
    load = Load(server.port)
    load.wait_for_kept()
    # What has ended meanwhile would not be written.
    load.rest()
    primary, standby = patroni.primary, patroni.standby
    ended = {int(handle.rpartition(b":")[2]) for handle in load.ended()}
    numbers = "SELECT number FROM txgear_jobs"
    wait_until(
        lambda: ended.isdisjoint(number for (number,) in primary.execute(numbers)),
        what="the ends in the database",
    )
    standby.pause()
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    wait_until(lambda: primary.execute(waiting) == [(1,)], what="a commit that waits")
    server.kill()
    back = threading.Timer(AWAY, standby.resume)
    back.start()
    again = start_server(store=patroni.url)
    back.join()
    load.stop()
    load.drain(again.port)
    tell(f"killed while a commit waited: {load.judge()}")


def test_primary_lost(tell: Tell, patroni: Cluster, start_server: Servers) -> None:
    """The primary's machine is lost: jobs are refused until the standby is primary, and none is lost."""
    server = start_server("--store-timeout=3", store=patroni.url)
    load = Load(server.port)
    load.wait_for_kept()
    old, new = patroni.primary, patroni.standby
    old.kill()
    time.sleep(3 + LATE)
    assert load.refused()
    patroni.expire()
    wait_until(lambda: new.writes, what="the other primary")
    again = load.wait_for_kept()
    settle(tell, f"taken after {again:.1f} s", load, server, lambda: start_server(store=patroni.url))
    assert again < AGAIN


def test_two_primaries(tell: Tell, patroni: Cluster, start_server: Servers) -> None:
    """Patroni is killed, and its PostgreSQL stays primary beside the next one: the server leaves it."""
    old, new = patroni.primary, patroni.standby
    url = patroni.url_of(old, new)
    server = start_server("--store-timeout=3", store=url)
    load = Load(server.port)
    load.wait_for_kept()
    old.kill_patroni()
    patroni.expire()
    wait_until(lambda: new.writes, what="the other primary")
    again = load.wait_for_kept()
    assert old.writes
    old.kill()
    settle(tell, f"taken after {again:.1f} s", load, server, lambda: start_server(store=url))


def test_failover_without_what_was_written(tell: Tell, patroni: Cluster, start_server: Servers) -> None:
    """What the standby has not got yet is lost with the primary, the server's own start among it."""
    patroni.set_synchronous(False)
    patroni.wait_for_both()
    old, new = patroni.primary, patroni.standby
    old.hold_back()
    server = start_server(store=patroni.url)
    load = Load(server.port)
    load.wait_for_kept()
    old.kill()
    patroni.expire()
    wait_until(lambda: new.writes, what="the other primary")
    load.wait_for_kept()
    load.stop()
    # From its memory.
    load.drain(server.port)
    assert "has lost what it had confirmed" in server.log()
    tell(f"an asynchronous failover: {load.judge()}")
    assert server.stop() == 0
    again = Load(start_server(store=patroni.url).port)
    again.wait_for_kept(5)
    again.stop()
    assert not load.handles() & again.handles()

"""One server whose database is a PostgreSQL with a standby under Patroni, whichever of the two is primary.

While a commit waits for the standby, nothing that was answered is lost, whatever happens to the primary.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import pytest

from clusterload import Load, settle
from patronicluster import Cluster
from processes import Servers, wait_until

pytestmark = pytest.mark.txgear_only

Tell = Callable[[str], None]

#: Seconds that a submit waits for the store, by default, and what a timer may be late.
TIMEOUT: Final = 5.0
LATE: Final = 1.0

#: Seconds between two attempts to connect, at the most, and for one.
AGAIN: Final = 5.0 + 2.0


def test_primary_lost(tell: Tell, patroni: Cluster, start_server: Servers) -> None:
    """The primary's machine is lost: jobs are refused until the standby is primary, and none is lost."""
    server = start_server(store=patroni.url)
    load = Load(server.port)
    load.wait_for_kept()
    old, new = patroni.primary, patroni.standby
    old.kill()
    time.sleep(TIMEOUT + LATE)
    assert load.refused()
    patroni.expire()
    wait_until(lambda: new.writes, what="the other primary")
    again = load.wait_for_kept()
    settle(tell, f"taken after {again:.1f} s", load, server, lambda: start_server(store=patroni.url))
    assert again < AGAIN


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

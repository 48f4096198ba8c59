"""Several servers over one database, to which the same uniques and schedules come."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from databases import Database
from operating import configured
from processes import Server, Servers, wait_until
from steppedclock import PythonClock
from wirepeer import P, WirePeer

pytestmark = pytest.mark.txgear_only

UNIQUES = [b"%d" % number for number in range(300)]

SCHEDULE = """
[[schedule]]
name = "s"
cron = "* * * * *"
function = "f"
"""

MINUTE = 60


@pytest.fixture(params=["postgres", "mariadb", "galera"])
def databases_of_two(request: pytest.FixtureRequest) -> list[Database]:
    """The databases of two servers: a node each, where there are several."""
    if request.param == "galera":
        return list(request.getfixturevalue("galera").nodes[:2])
    database: Database = request.getfixturevalue(request.param)
    return [database, database]


def member(
    start_server: Servers,
    name: str,
    database: Database,
    *options: str,
    env: dict[str, str] | None = None,
) -> Server:
    options = ("--cluster", f"--cluster-name={name}", "--lease=12", *options)
    return start_server(*options, store=database.url, env=env)


def submit_all(peers: list[WirePeer]) -> list[dict[bytes, bytes]]:
    """All submit the same at once, each in an order of its own; the handles, by unique."""
    orders = [UNIQUES[turn:] + UNIQUES[:turn] for turn in range(0, 50 * len(peers), 50)]
    found: list[dict[bytes, bytes]] = [{} for _ in peers]
    # By and by: otherwise the first server has all of them before another one looks.
    for first in range(0, len(UNIQUES), 10):
        parts = [order[first : first + 10] for order in orders]
        for peer, part in zip(peers, parts, strict=True):
            peer.send_raw(b"".join(map(_submit, part)))
        for peer, part, handles in zip(peers, parts, found, strict=True):
            handles.update((unique, peer.expect(P.JOB_CREATED, timeout=20).body) for unique in part)
    return found


def _submit(unique: bytes) -> bytes:
    body = b"f\0%b\0%b" % (unique, unique)
    return b"\0REQ" + P.SUBMIT_JOB_BG.to_bytes(4, "big") + len(body).to_bytes(4, "big") + body


class Workers:
    """One at each server."""

    def __init__(self, servers: list[Server]) -> None:
        self._peers = [server.connect(timeout=20) for server in servers]
        for peer in self._peers:
            peer.can_do(b"f")
        #: The workloads of all jobs that were handed out, by server; they are done.
        self.found: list[list[bytes]] = [[] for _ in servers]

    def run(self, count: int) -> int:
        """Do what there is until it is so many in all, and then what there is at once; how many it is."""
        until = time.monotonic() + 20
        idle = 0
        while idle < 3 and time.monotonic() < until:
            before = sum(map(len, self.found))
            for peer, found in zip(self._peers, self.found, strict=True):
                while (job := peer.grab()) is not None:
                    found.append(job.workload)
                    peer.complete(job)
            idle += before == sum(map(len, self.found)) >= count
            time.sleep(0.02)
        return sum(map(len, self.found))


def wait_for_ends(databases: list[Database]) -> None:
    """What the workers have said is in the database, whichever node is asked."""
    for database in databases:
        wait_until(lambda: database.execute("SELECT * FROM txgear_claims") == [], 10)  # noqa: B023 - at once


def test_the_same_uniques_at_once(start_server: Servers, databases_of_two: list[Database]) -> None:
    """Each is one job, with one handle, and runs once; when it has ended it is a new one."""
    servers = [member(start_server, name, each) for name, each in zip("ab", databases_of_two, strict=True)]
    peers = [server.connect(timeout=20) for server in servers for _ in range(3)]
    earlier: set[bytes] = set()
    for _ in range(2):
        first, *others = submit_all(peers)
        assert others == [first] * len(others)
        assert len(set(first.values())) == len(UNIQUES)
        assert earlier.isdisjoint(first.values())
        earlier.update(first.values())
        workers = Workers(servers)
        assert workers.run(len(UNIQUES)) == len(UNIQUES)
        one, two = workers.found
        assert Counter(one + two) == Counter(UNIQUES)
        # They did meet.
        assert one
        assert two
        wait_for_ends(databases_of_two)


def test_that_of_a_dead_server(start_server: Servers, postgres: Database) -> None:
    first, second = (member(start_server, name, postgres) for name in "ab")
    handle = first.connect().submit(b"f", b"work", b"u", type=P.SUBMIT_JOB_BG)
    client = second.connect(timeout=20)
    first.signal(signal.SIGKILL)
    # Nobody has its part yet, and then the second has.
    assert client.submit(b"f", b"other", b"u", type=P.SUBMIT_JOB_BG) == handle
    wait_until(lambda: " of a, which has not been heard of" in second.log(), 20, what="a taking over")
    assert client.submit(b"f", b"other", b"u", type=P.SUBMIT_JOB_BG) == handle
    workers = Workers([second])
    assert workers.run(1) == 1
    assert workers.found == [[b"work"]]
    wait_for_ends([postgres])
    assert client.submit(b"f", b"other", b"u", type=P.SUBMIT_JOB_BG) != handle


def test_a_schedule(start_server: Servers, databases_of_two: list[Database], tmp_path: Path) -> None:
    """Three servers have it, whose clocks differ by seconds; each minute it runs once."""
    clocks: list[PythonClock] = []
    servers: list[Server] = []
    first = time.time() // MINUTE * MINUTE
    skews = (0, 3, -4)

    def set_to(minute: int, index: int) -> None:
        """It is twenty seconds past, whatever has gone by meanwhile."""
        clocks[index].set(int(first + minute * MINUTE + 20 + skews[index] - time.time()))

    for index, name in enumerate("abc"):
        folder = tmp_path / name
        folder.mkdir()
        clocks.append(PythonClock(folder))
        set_to(0, index)
        options = configured(folder, SCHEDULE)
        database = databases_of_two[index % 2]
        servers.append(member(start_server, name, database, *options, env=clocks[-1].environment))
    workers = Workers(servers)
    for minute in range(1, 6):
        for index in range(3):
            set_to(minute, index)
        assert workers.run(minute) == minute
    # Whoever looks last has looked.
    time.sleep(1.5)
    assert workers.run(minute) == minute

"""Three servers over one database: what is done to many jobs at one of them is done at all."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import NamedTuple

import pytest

from databases import Database
from operating import configured
from processes import Server, Servers, wait_until
from txgear.cli.base.api import Api, path_of
from txgear.cli.base.places import Place
from wirepeer import P

pytestmark = pytest.mark.txgear_only

POLICY = '[[function]]\nname = "*"\nretries = 0\ndead = "1h"\n'


class Three(NamedTuple):
    """Three servers, and what they have one database in."""

    database: Database
    servers: list[Server]

    def submit(self, count: int, function: bytes = b"f") -> list[list[bytes]]:
        """Have each get some jobs; their handles, by server."""
        found = []
        for server in self.servers:
            peer = server.connect()
            found.append([peer.submit(function, b"x", b"", type=P.SUBMIT_JOB_BG) for _ in range(count)])
        return found

    def jobs(self) -> int:
        """How many the database has."""
        return int(self.database.execute("SELECT count(*) FROM txgear_jobs")[0][0])

    def api(self, index: int) -> Api:
        port = self.servers[index].port
        return Api(Place(str(port), "127.0.0.1", port))


@pytest.fixture(params=["postgres", "mariadb"])
def three(request: pytest.FixtureRequest, start_server: Servers, tmp_path: Path) -> Three:
    database: Database = request.getfixturevalue(request.param)
    options = configured(tmp_path, POLICY)
    servers = [
        start_server("--cluster", f"--cluster-name={name}", "--lease=11", *options, store=database.url)
        for name in ("a", "b", "c")
    ]
    # Each looks at the parts once a second.
    wait_until(lambda: all(_knows(server) == 3 for server in servers), what="they know each other")
    return Three(database, servers)


def _knows(server: Server) -> int:
    return sum(row[7] == "alive" for row in server.list("cluster"))


def asked(server: Server, line: bytes) -> bytes:
    with server.connect(timeout=20) as peer:
        return peer.ask(line)


def let_die(server: Server, count: int, function: bytes = b"f") -> None:
    """Let jobs fail."""
    with server.connect() as worker:
        worker.can_do(function)
        for _ in range(count):
            job = worker.grab_soon()
            worker.send(P.WORK_FAIL, job.handle)
        worker.sync()


def test_functions(three: Three) -> None:
    a, b, c = three.servers
    three.submit(2)
    assert asked(b, b"drop function f").startswith(b"ERR there are still")
    assert asked(b, b"purge f") == b"OK 6\n"
    wait_until(lambda: three.jobs() == 0, what="they are gone")
    three.submit(1)
    for server in (a, c):
        let_die(server, 1)
    assert asked(b, b"requeue function f") == b"OK 2\n"
    for server in (a, c):
        let_die(server, 1)
    assert asked(a, b"forget dead f") == b"OK 2\n"
    wait_until(lambda: three.jobs() == 1, what="they are gone")
    api = three.api(2)
    assert api.send("POST", path_of("functions", "f", "purge"))["jobs"] == 1
    api.close()
    for server in (a, b):
        assert asked(server, b"create function g") == b"OK\r\n"
    assert asked(c, b"drop function g") == b"OK\r\n"
    assert a.status("g") is b.status("g") is None
    # One stands still, and does nothing of it later.
    three.submit(1)
    a.signal(signal.SIGSTOP)
    assert asked(b, b"purge f").startswith(b"ERR NOT_ALL_DONE Done+to+2+jobs,+and+not+everywhere:+a:")
    a.signal(signal.SIGCONT)
    wait_until(lambda: _knows(a) == 3, what="it goes on")
    assert asked(a, b"purge f") == b"OK 1\n"

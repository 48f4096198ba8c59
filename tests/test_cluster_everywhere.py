"""Three servers over one database: what is done to many jobs at one of them is done at all."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from databases import Database
from operating import configured
from processes import Server, Servers, run, txgear, wait_until
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
        start_server("--cluster", f"--cluster-name={name}", "--lease=8", *options, store=database.url)
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


def test_all(three: Three) -> None:
    functions(three)
    tasks(three)
    if three.database.url.startswith("postgresql:"):
        one_is_killed(three)


def functions(three: Three) -> None:
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


def cancel(*servers: Server) -> list[str]:
    """Cancel all jobs by the command line; the columns of what it says."""
    words = [word for server in servers for word in ("--server", f"127.0.0.1:{server.port}")]
    done = run([*txgear(), "cancel", "--function", "*", "--yes", *words])
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode().splitlines()[-1].split("\t")


def tasks(three: Three) -> None:
    a, b, c = three.servers
    three.submit(3)
    three.submit(1, b"g")
    assert asked(b, b"move jobs h function=f preview=yes") == b"OK 1 9\n"
    assert asked(b, b"move jobs h function=f") == b"OK 2 9\n"
    wait_until(
        lambda: all(server.status("h") == (3, 0, 0) for server in three.servers), what="they are moved"
    )
    rows = {row[0]: row for row in b.list("tasks")}
    assert rows["2"][2:8] == ["done", "12", "12", "9", "9", "0"]
    assert [row[1:3] for row in c.list("tasks")] == [["move", "done"]] * 2
    # Of a cluster one server is asked, however many are named.
    assert cancel(a, b, c)[-5:] == ["done", "12", "12", "0", "0"]
    wait_until(lambda: three.jobs() == 0, what="they are gone")


def one_is_killed(three: Three) -> None:
    a, b, _ = three.servers
    three.submit(2)
    wait_until(lambda: three.jobs() == 6, what="they are kept")
    a.kill()
    said = asked(b, b"cancel jobs function=*")
    assert said.startswith(b"ERR NOT_ALL_DONE Task+4+is+for+4+jobs,+and+not+everywhere:+a:"), said
    wait_until(lambda: three.jobs() == 2, what="those of the others are gone")
    wait_until(lambda: _knows(b) >= 2 and "a" not in {row[1] for row in b.list("cluster")}, 15, "a takeover")
    assert asked(b, b"cancel jobs function=*") == b"OK 5 2\n"
    wait_until(lambda: three.jobs() == 0, what="they are gone")

"""`txgear store copy` and `store backup`: a queue in another database, and a copy of one that goes on."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import Final, NamedTuple

import pytest

from databases import PASSWORD, Database, MariaDB
from operating import Operator, configured
from processes import PATIENCE, Programs, Server, Servers, run, txgear, wait_until
from startup import assert_one_line
from txgear.stores import make_store
from wirepeer import P

POLICIES: Final = """
[[function]]
name = "kept"
results = "1h"
[[function]]
name = "dies"
retries = 0
dead = "1h"
"""

pytestmark = pytest.mark.txgear_only

Done = subprocess.CompletedProcess[bytes]


def store(*words: str, env: dict[str, str] | None = None) -> Done:
    return run([*txgear(), "store", *words], timeout=90.0, env=env)


def copied(*words: str, env: dict[str, str] | None = None) -> dict[str, object]:
    """What a copy reports that has done all."""
    done = store("copy", *words, "--json", env=env)
    assert (done.returncode, done.stderr) == (0, b""), done
    found: dict[str, object] = json.loads(done.stdout)
    return found


class Handles(NamedTuple):
    """Of the jobs of a store with some of everything."""

    kept: bytes
    dead: bytes
    waiting: list[bytes]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Handles]:
    """A SQLite file of a server that has ended."""
    folder = tmp_path_factory.mktemp("template")
    path = folder / "old.sqlite"
    server = Server(folder, *configured(folder, POLICIES), store=f"sqlite:///{path}")
    try:
        peer, worker = server.connect(), server.connect()
        worker.can_do(b"kept", b"dies")
        kept = peer.submit(b"kept", b"x", type=P.SUBMIT_JOB_BG)
        worker.complete(worker.grab_soon(), b"the result")
        dead = peer.submit(b"dies", b"died", type=P.SUBMIT_JOB_BG)
        worker.send(P.WORK_FAIL, worker.grab_soon().handle)
        waiting = [peer.submit(b"wait", b"w%d" % n, type=P.SUBMIT_JOB_BG) for n in range(40)]
        assert Operator(server).order("pause wait") == "OK"
        worker.sync()
    finally:
        server.stop()
    return path, Handles(kept, dead, waiting)


class Filled:
    """A copy of that file, and servers that use it."""

    def __init__(self, template: tuple[Path, Handles], start_server: Servers, folder: Path) -> None:
        original, (self.kept, self.dead, self.waiting) = template
        self.path = folder / "old.sqlite"
        shutil.copy(original, self.path)
        self.url = f"sqlite:///{self.path}"
        self.options = configured(folder, POLICIES)
        self._start = start_server

    def serve(self, url: str, env: dict[str, str] | None = None) -> Server:
        return self._start(*self.options, store=url, env=env)

    def assert_there(self, server: Server) -> None:
        """A server has all of it: the same handles, the result, the workloads, the pause."""
        operator = Operator(server)
        assert operator.result(self.kept.decode())["result"] == "the result"
        assert operator.workload(self.dead.decode()) == "died"
        assert server.status("wait") == (40, 0, 0)
        worker = server.connect()
        worker.can_do(b"wait")
        assert worker.grab() is None
        assert operator.order("resume wait") == "OK"
        for number, handle in enumerate(self.waiting):
            job = worker.grab_soon()
            assert (job.handle, job.workload) == (handle, b"w%d" % number)
            worker.complete(job)
        worker.sync()
        new = server.connect().submit(b"wait", b"new", type=P.SUBMIT_JOB_BG)
        assert new not in {*self.waiting, self.kept, self.dead}


@pytest.fixture
def filled(template: tuple[Path, Handles], start_server: Servers, tmp_path: Path) -> Filled:
    return Filled(template, start_server, tmp_path)


def test_to_another_file(filled: Filled, tmp_path: Path) -> None:
    """All is there, once, however often it is copied; and what was done since then does not come back."""
    new = f"sqlite:///{tmp_path / 'new.sqlite'}"
    found = copied(filled.url, new)
    assert (found["jobs"], found["ended"], found["known"], found["wrong"]) == (42, 2, 0, None)
    again = copied(filled.url, new)
    assert (again["jobs"], again["known"], again["values"], again["chunks"]) == (0, 42, 0, 0)
    server = filled.serve(new)
    filled.assert_there(server)
    server.stop()
    done = store("copy", filled.url, new)
    assert done.returncode == 0, done
    assert b"42 jobs copied before" in done.stdout
    server = filled.serve(new)
    assert server.status("wait") == (1, 0, 0)


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_to_a_database_and_back(
    kind: str, request: pytest.FixtureRequest, filled: Filled, tmp_path: Path
) -> None:
    """With the password from a file, from the environment, and from the URL."""
    database: Database = request.getfixturevalue(kind)
    bare = re.sub(r"://(\w+):[^@]*@", r"://\1@", database.url)
    assert bare != database.url
    secret = tmp_path / "secret"
    secret.write_text(f"{PASSWORD}\n")
    assert copied(filled.url, bare, f"--to-password-file={secret}")["jobs"] == 42
    assert copied(filled.url, bare, env={"TXGEAR_STORE_PASSWORD": PASSWORD})["known"] == 42
    back = f"sqlite:///{tmp_path / 'back.sqlite'}"
    assert copied(bare, back, f"--from-password-file={secret}")["jobs"] == 42
    old, new = make_store(filled.url), make_store(back)
    for each in (old, new):
        each.open()
    try:
        assert new.replay(0, 1000) == old.replay(0, 1000)
        assert new.values() == old.values()
    finally:
        old.close(None)
        new.close(None)
    done = run([*txgear(), "store", "backup", str(tmp_path / "backup"), "--store", bare])
    assert_one_line(done, "mariadb-dump" if isinstance(database, MariaDB) else "pg_dump")
    server = filled.serve(database.url)
    assert_one_line(store("copy", database.url, back), "it is in use by another server")
    assert_one_line(store("copy", filled.url, database.url), "it is in use by another server")
    filled.assert_there(server)


def test_a_store_that_is_used(filled: Filled, start_server: Servers, tmp_path: Path) -> None:
    """The line says which process it is; either way nothing is made or changed."""
    server = filled.serve(filled.url)
    new = tmp_path / "new.sqlite"
    done = store("copy", filled.url, f"sqlite:///{new}")
    assert_one_line(done, f"process {server.pid}")
    assert done.returncode == 1
    assert not new.exists()
    other = f"sqlite:///{tmp_path / 'other.sqlite'}"
    used = start_server(store=other)
    server.stop()
    assert_one_line(store("copy", filled.url, other), f"process {used.pid}")


def test_mistakes(filled: Filled, tmp_path: Path) -> None:
    new = f"sqlite:///{tmp_path / 'new.sqlite'}"
    empty = tmp_path / "empty.sqlite"
    with closing(sqlite3.connect(empty)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    for words, status, text in (
        ((filled.url, filled.url), 2, "are both"),
        (("sqlite:////no/such/file", new), 1, "there is no file /no/such/file"),
        ((filled.url, "memory:"), 1, "URL"),
        ((f"sqlite:///{empty}", new), 1, "no txgear has ever kept jobs there"),
        ((filled.url, new, "--to-password-file=/none"), 1, "cannot read /none"),
        ((filled.url, "sqlite:////proc/x.sqlite"), 1, "/proc"),
        ((filled.url,), 2, "TO"),
    ):
        done = store("copy", *words)
        assert_one_line(done, text)
        assert done.returncode == status, done
    assert not (tmp_path / "new.sqlite").exists()
    assert filled.path.exists()


def test_interrupted(programs: Programs, tmp_path: Path) -> None:
    """Ctrl-C in the middle, and begun again: each job is there once."""
    from txgear.test.support.batches import adding, addition

    url, new = (f"sqlite:///{tmp_path / name}" for name in ("old.sqlite", "new.sqlite"))
    old = make_store(url)
    old.open()
    for start in range(1, 60_001, 2000):
        old.write(adding(*(addition(number, b"w" * 2000) for number in range(start, start + 2000))))
    old.reserve(70_000)
    old.close(None)
    program = programs.start([*txgear(), "store", "copy", url, new])
    path = tmp_path / "new.sqlite-wal"
    wait_until(lambda: path.exists() and path.stat().st_size > 4_000_000, what="some of it")
    program.signal(signal.SIGINT)
    assert program.wait(30) == 130, program.log()
    assert program.stderr.decode().splitlines()[-1].endswith("interrupted")
    found = copied(url, new)
    assert isinstance(found["known"], int)
    assert 0 < found["known"] < 60_000
    assert found["jobs"] == 60_000 - found["known"]
    with closing(sqlite3.connect(tmp_path / "new.sqlite")) as connection:
        [(jobs, workloads)] = connection.execute(
            "SELECT (SELECT count(*) FROM txgear_jobs), (SELECT count(*) FROM txgear_workloads)"
        )
    assert (jobs, workloads) == (60_000, 60_000)


def test_backup_while_the_server_writes(start_server: Servers, tmp_path: Path) -> None:
    """The copy is whole, and has all jobs that were answered before it began."""
    url = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    server = start_server(store=url)
    peer = server.connect()
    first = [peer.submit(b"f", bytes(20_000), type=P.SUBMIT_JOB_BG) for _ in range(300)]
    ended, later = Event(), []

    def submit() -> None:
        with server.connect() as other:
            while not ended.is_set():
                later.append(other.submit(b"f", b"x" * 1000, type=P.SUBMIT_JOB_BG))

    thread = Thread(target=submit)
    thread.start()
    try:
        wait_until(lambda: len(later) > 20)
        began = len(later)
        copy = tmp_path / "copy.sqlite"
        done = store("backup", str(copy), "--store", url)
        assert (done.returncode, done.stderr) == (0, b""), done
        wait_until(lambda: len(later) > began + 20, what="the server to go on")
    finally:
        ended.set()
        thread.join(PATIENCE)
    assert copy.stat().st_mode & 0o777 == 0o600
    restored = start_server(store=f"sqlite:///{copy}")
    found = {row[0].encode() for row in restored.list("show jobs") if len(row) == 4}
    assert {*first, *later[:began]} <= found
    assert len(found) <= len(first) + len(later)
    again = store("backup", str(copy), "--store", url)
    assert_one_line(again, "already")
    assert again.returncode == 1


def test_backup_of_the_usual_store(tmp_path: Path) -> None:
    """The file of a port, where the server itself would look; in JSON."""
    env = {"STATE_DIRECTORY": str(tmp_path)}
    missing = store("backup", str(tmp_path / "copy"), "--port=4999", env=env)
    assert_one_line(missing, "jobs-4999.sqlite")
    made = make_store(f"sqlite:///{tmp_path / 'jobs-4999.sqlite'}")
    made.open()
    made.close(None)
    began = time.monotonic()
    done = store("backup", str(tmp_path / "copy"), "--port=4999", "--json", env=env)
    found = json.loads(done.stdout)
    assert (found["jobs"], found["store"]) == (0, str(tmp_path / "jobs-4999.sqlite"))
    assert found["bytes"] == (tmp_path / "copy").stat().st_size
    assert found["seconds"] < time.monotonic() - began

"""Stores that a server does not start with: it says why in one line, and does not listen."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from databases import PASSWORD, Database
from hostile import KEPT, handles
from processes import Program, Servers, free_port, server_command
from startup import accepts
from wirepeer import P, WirePeer

pytestmark = pytest.mark.txgear_only

Tell = Callable[[str], None]

_numbers = itertools.count(1)


class Starts:
    """Servers that must not start; they are started at once and looked at one after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: list[tuple[Program, int, tuple[str, ...]]] = []

    def add(self, store: str, *words: str) -> None:
        """Start one on this store; it must say these words."""
        port = free_port()
        program = Program(server_command(port, store), self._folder, f"start{next(_numbers)}")
        self._all.append((program, port, words))

    def check(self, tell: Tell) -> None:
        """Each has ended with a status that is not 0 and one line, without the password; none listens."""
        for program, port, words in self._all:
            status = program.wait()
            lines = program.stderr.decode().splitlines()
            tell(f"status {status}: {lines[0] if lines else None}")
            assert status != 0, program.log()
            assert len(lines) == 1, program.log()
            assert lines[0].startswith("txgear"), lines
            for word in words:
                assert word in lines[0], (word, lines)
            assert b"Traceback" not in program.stdout
            assert PASSWORD not in program.log().partition("\n")[2]
            assert not accepts("127.0.0.1", port)
        self._all.clear()

    def stop(self) -> None:
        """End those that were not looked at."""
        for program, _, _ in self._all:
            program.stop()


@pytest.fixture
def starts(tmp_path: Path) -> Iterator[Starts]:
    """Servers that must not start."""
    folder = tmp_path / "starts"
    folder.mkdir()
    these = Starts(folder)
    yield these
    these.stop()


def sqlite_file(path: Path, *statements: str) -> str:
    """Carry these out in a SQLite file; its URL."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
    return f"sqlite:///{path}"


def test_sqlite_that_cannot_be_used(
    tell: Tell, start_server: Servers, starts: Starts, tmp_path: Path
) -> None:
    """A SQLite store that is no database, damaged, a folder, in use, locked or nowhere."""
    junk = tmp_path / "junk.sqlite"
    junk.write_bytes(os.urandom(50_000))
    starts.add(f"sqlite:///{junk}", str(junk), "not a database")

    damaged = tmp_path / "damaged.sqlite"
    sqlite_file(damaged, "PRAGMA page_size = 4096", "CREATE TABLE a (b)", "CREATE TABLE c (d)")
    with open(damaged, "r+b") as file:
        # All but the header, which looks sound.
        file.seek(100)
        file.write(b"\xff" * 3996)
    starts.add(f"sqlite:///{damaged}", str(damaged), "malformed")

    folder = tmp_path / "folder.sqlite"
    folder.mkdir()
    starts.add(f"sqlite:///{folder}", str(folder))
    starts.add("sqlite:////proc/nowhere/jobs.sqlite", "/proc/nowhere")

    used = tmp_path / "used.sqlite"
    first = start_server(store=f"sqlite:///{used}")
    starts.add(f"sqlite:///{used}", str(used), "another server", str(first.pid))

    locked = tmp_path / "locked.sqlite"
    with contextlib.closing(sqlite3.connect(locked, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        starts.add(f"sqlite:///{locked}", str(locked), "locked")
        starts.check(tell)
    # The one that was first has not noticed.
    with WirePeer(first.port) as peer:
        peer.submit(KEPT, type=P.SUBMIT_JOB_BG)


def test_sqlite_from_the_future(tell: Tell, start_server: Servers, starts: Starts, tmp_path: Path) -> None:
    """A schema that only a newer server knows is left alone; with the old one's number it works again."""
    path = tmp_path / "jobs.sqlite"
    server = start_server(store=f"sqlite:///{path}")
    handle = server.connect().submit(KEPT, type=P.SUBMIT_JOB_BG)
    assert server.stop() == 0
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        ((table,),) = connection.execute("SELECT name FROM sqlite_master WHERE sql LIKE '%version_num%'")
        ((present,),) = connection.execute(f"SELECT version_num FROM {table}")  # noqa: S608
        connection.execute(f"UPDATE {table} SET version_num = '9999'")  # noqa: S608
    starts.add(f"sqlite:///{path}", str(path), "newer txgear", "9999")
    starts.check(tell)
    sqlite_file(path, f"UPDATE {table} SET version_num = '{present}'")  # noqa: S608
    assert set(handles(start_server(store=f"sqlite:///{path}").port)) == {handle}


def test_sqlite_that_cannot_be_written(
    tell: Tell, start_server: Servers, starts: Starts, small_disk: Path
) -> None:
    """A SQLite store on a full disk, and on one that is read-only; with room, and written again, it works."""
    url = f"sqlite:///{small_disk / 'jobs.sqlite'}"
    server = start_server(store=url)
    handle = server.connect().submit(KEPT, type=P.SUBMIT_JOB_BG)
    assert server.stop() == 0
    ballast = small_disk / "ballast"
    with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    starts.add(url, "jobs.sqlite", "disk")
    starts.check(tell)
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    starts.add(url, "jobs.sqlite")
    starts.check(tell)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert set(handles(start_server(store=url).port)) == {handle}


def test_database_that_cannot_be_used(
    tell: Tell, start_server: Servers, starts: Starts, postgres: Database, mariadb: Database
) -> None:
    """A database that is in use, not there, does not let us in, or is not reached."""
    for database in (postgres, mariadb):
        port = free_port()
        first = start_server(store=database.url)
        starts.add(database.url, database.database, "another server")
        starts.add(database.url.replace("s%3A", "wrong"), "password")
        starts.add(f"{database.url}_missing", f"{database.database}_missing")
        starts.add(database.url.replace(f":{database.port}/", f":{port}/"), str(port))
        with WirePeer(first.port) as peer:
            peer.submit(KEPT, type=P.SUBMIT_JOB_BG)
    starts.check(tell)

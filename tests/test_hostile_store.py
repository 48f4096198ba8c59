"""A server whose store is away, locked, full or slow, or refuses a job: with figures of what clients saw.

Whatever the store does, those who have nothing to do with it go on, and nothing that was answered is lost.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from crashbook import Book
from crashpeers import Grabber, Line
from databases import PASSWORD, Database
from hostile import (
    KEPT,
    Outage,
    Peer,
    Witnesses,
    background,
    echo,
    handles,
    summary,
    wait_until_written,
)
from processes import Server, Servers, wait_until
from txgear.test.stores.test_sqlite_damage import damage
from wirepeer import P, packet

pytestmark = [pytest.mark.txgear_only, pytest.mark.alone]

Tell = Callable[[str], None]

#: Seconds that a submit waits for the store, by default, and what a timer may be late.
TIMEOUT: Final = 5.0
LATE: Final = 1.0

#: Seconds within which a submit is refused while the store is known to be down.
AT_ONCE: Final = 0.25


def has_waited(outage: Outage) -> None:
    """Those who came first were refused when their time was up, those after them at once."""
    refused = sorted(outage.refused(), key=lambda one: one.at)
    # A client that has nothing under way when the store is given up is among those after them.
    first = list(itertools.takewhile(lambda one: one.seconds >= AT_ONCE, refused))
    assert 1 <= len(first) <= 4
    assert all(TIMEOUT - 0.1 < one.seconds < TIMEOUT + LATE for one in first), first
    later = refused[len(first) :]
    assert len(later) > 20
    assert max(one.seconds for one in later) < AT_ONCE, later


def all_at_once(tell: Tell, outages: list[Outage], again: Callable[[Outage], Server]) -> None:
    """Let all the outages happen at the same time, and look into each one's end."""
    for outage in outages:
        outage.begin()
    time.sleep(1.0)
    for outage in outages:
        outage.meanwhile()
    for outage in sorted(outages, key=lambda one: one.seconds):
        outage.wait()
    tell("\n".join([outage.settle() for outage in outages]))
    for outage in outages:
        reasons = {one.reason for one in outage.refused()}
        tell(f"{outage.name}: {sorted(reasons)}")
        assert all(reason and "\n" not in reason and PASSWORD not in reason for reason in reasons)
        outage.check(again(outage).port)


def test_store_that_does_not_answer(
    tell: Tell, start_server: Servers, tmp_path: Path, postgres: Database, mariadb: Database
) -> None:
    """SQLite locked by somebody else for 10 s, PostgreSQL and MariaDB held for 8 s."""
    path = tmp_path / "jobs.sqlite"
    stores = {
        "sqlite, locked": f"sqlite:///{path}",
        "postgresql, held": postgres.url,
        "mysql, held": mariadb.url,
    }
    servers = {name: start_server(store=url) for name, url in stores.items()}
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        outages = [
            Outage(
                "sqlite, locked",
                servers["sqlite, locked"],
                10.0,
                lambda: other.execute("BEGIN IMMEDIATE"),
                lambda: other.execute("ROLLBACK"),
            ),
            *(
                Outage(name, servers[name], 8.0, database.pause, database.resume)
                for name, database in (("postgresql, held", postgres), ("mysql, held", mariadb))
            ),
        ]
        all_at_once(tell, outages, lambda outage: start_server(store=stores[outage.name]))
    for outage in outages:
        has_waited(outage)


def test_store_that_goes_away(
    tell: Tell, start_server: Servers, postgres: Database, mariadb: Database
) -> None:
    """PostgreSQL and MariaDB killed, and started again after 4 s."""
    outages = []
    for database in (postgres, mariadb):
        server = start_server(store=database.url)
        outages.append(Outage(database.name, server, 4.0, database.kill, database.start, late=4))
    urls = {database.name: database.url for database in (postgres, mariadb)}
    all_at_once(tell, outages, lambda outage: start_server(store=urls[outage.name]))
    for outage in outages:
        # Those whose jobs were on the way may wait for what becomes of them.
        refused = sorted(one.seconds for one in outage.refused())
        assert len(refused) > 20
        assert refused[-5] < AT_ONCE
        assert refused[-1] < TIMEOUT + LATE


def test_file_that_is_moved_away(tell: Tell, start_server: Servers, tmp_path: Path) -> None:
    """SQLite's file is not at its place for 8 s: nothing is answered that would not be found again."""
    path = tmp_path / "jobs.sqlite"
    away = tmp_path / "away"
    server = start_server(store=f"sqlite:///{path}")
    outage = Outage("sqlite, moved away", server, 8.0, lambda: path.rename(away), lambda: away.rename(path))
    all_at_once(tell, [outage], lambda outage: start_server(store=f"sqlite:///{path}"))
    has_waited(outage)
    assert f"somebody has removed {path}" in server.log()


def test_workload_that_cannot_be_read(tell: Tell, start_server: Servers, tmp_path: Path) -> None:
    """A page of the disk is damaged: all other jobs are done, more are kept; that one can be cancelled."""
    path = tmp_path / "jobs.sqlite"
    url = f"sqlite:///{path}"
    server = start_server(store=url)
    line = Line(server.port)
    workloads = [b"%d of them." % number * 3000 for number in range(20)]
    line.send(b"".join(packet(P.SUBMIT_JOB_BG, KEPT, b"", workload) for workload in workloads))
    created = [line.read()[1] for _ in workloads]
    line.close()
    assert server.stop() == 0
    damage(str(path), b"7 of them.")
    server = start_server("--queue-memory", "1M", store=url)
    bad = created[7]
    with Witnesses(server.port) as witnesses:
        client = Peer(server.port, background(b"more", b"x"))
        worker = Grabber(server.port, Book(), KEPT)
        done: set[bytes] = set()
        while len(done) < len(workloads) - 1:
            record = worker.grab()
            if record is None:
                worker.sleep()
            else:
                done.add(record.handle)
                worker.end(record, P.WORK_COMPLETE)
        # That is soon done, and the figures are of some time.
        time.sleep(1.0)
        times = witnesses.judge()
        seen = client.stop()
    assert done == set(created) - {bad}
    assert all(one.kept for one in seen)
    log = server.log()
    assert log.count("cannot read the workloads of") == 1
    assert bad.decode() in log
    operator = Line(server.port)
    assert any(row == b"unreadable\tyes" for row in operator.lines(b"job " + bad))
    assert operator.word(b"cancel job " + bad) == b"OK"
    operator.close()
    echo(worker.line)
    worker.line.close()
    wait_until_written(server.port)
    server.kill()
    assert set(handles(start_server(store=url).port)) == {one.body for one in seen}
    tell(f"sqlite, a damaged page: {len(done)} of {len(workloads)} jobs done meanwhile; {times}")


def test_short_store_timeout(start_server: Servers, tmp_path: Path) -> None:
    """--store-timeout is what a submit waits for the store."""
    path = tmp_path / "jobs.sqlite"
    server = start_server("--store-timeout", "1", store=f"sqlite:///{path}")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        line = Line(server.port)
        begin = time.monotonic()
        kind, body = background(KEPT, b"x")(line)
        seconds = time.monotonic() - begin
        line.close()
    assert (kind, body) == (P.ERROR, b"QUEUE_ERROR\0The store has not answered for 1 second")
    assert 0.9 < seconds < 1.0 + LATE


def test_slow_store(tell: Tell, start_server: Servers, postgres: Database) -> None:
    """With 100 ms a commit nobody is refused: all that comes meanwhile is the next commit."""
    for setting in ("commit_delay = 100000", "commit_siblings = 0"):
        postgres.execute(f"ALTER DATABASE {postgres.database} SET {setting}")
    server = start_server(store=postgres.url)
    with Witnesses(server.port) as witnesses:
        one_by_one = [Peer(server.port, background(KEPT, b"x"), 0.0) for _ in range(8)]
        line = Line(server.port)
        begin = time.monotonic()
        answers = 0
        while time.monotonic() < begin + 2.0:
            line.send(packet(P.SUBMIT_JOB_BG, KEPT, b"", b"x" * 100) * 200)
            for _ in range(200):
                kind, _ = line.read()
                assert kind == P.JOB_CREATED
                answers += 1
        rate = answers / (time.monotonic() - begin)
        line.close()
        seen = [one for client in one_by_one for one in client.stop()]
        times = witnesses.judge()
    assert all(one.kept for one in seen)
    seconds = sorted(one.seconds for one in seen)
    tell(
        f"postgresql, 100 ms a commit: submits one by one kept in {summary(seconds)}, "
        f"200 at once {rate:.0f}/s; meanwhile {times}"
    )
    # One waits for the commit that is under way and for its own; that it is slow is the point.
    assert seconds[0] > 0.08
    assert seconds[len(seconds) // 2] < 0.5
    assert len(handles(server.port)) == answers + len(seen)


def test_job_too_large(tell: Tell, start_server: Servers, mariadb: Database) -> None:
    """A job that MariaDB does not take is refused; those around it, in the same batch, are kept."""
    usual = mariadb.execute("SELECT @@GLOBAL.max_allowed_packet")[0][0]
    mariadb.execute(f"SET GLOBAL max_allowed_packet = {2**22}")
    try:
        server = start_server(store=mariadb.url)
    finally:
        mariadb.execute(f"SET GLOBAL max_allowed_packet = {usual}")
    with Witnesses(server.port) as witnesses:
        line = Line(server.port)
        small, large = (packet(P.SUBMIT_JOB_BG, KEPT, b"", b"x" * size) for size in (1000, 2**23))
        line.send(small * 20 + large + small * 20)
        answers = [line.read() for _ in range(41)]
        line.close()
        time.sleep(0.5)
        times = witnesses.judge()
    refused = [index for index, (kind, _) in enumerate(answers) if kind == P.ERROR]
    assert refused == [20]
    code, reason = answers[20][1].split(b"\0")
    assert code == b"QUEUE_ERROR"
    assert b"max_allowed_packet" in reason
    kept = {body for kind, body in answers if kind == P.JOB_CREATED}
    assert len(kept) == 40
    tell(
        f"mysql, a job of 8 MiB where 4 MiB fits: {reason.decode()!r}; its 40 neighbours kept; "
        f"meanwhile {times}"
    )
    server.kill()
    assert set(handles(start_server(store=mariadb.url).port)) == kept


# A full disk


def fill(tell: Tell, server: Server, name: str, more_room: Callable[[], object]) -> set[bytes]:
    """Submit until the store is full, then give it room; the jobs that must be there."""
    port = server.port
    kept: set[bytes] = set()
    line = Line(port)
    worker = Grabber(port, Book(), KEPT)
    ask = background(KEPT, os.urandom(100_000))
    with Witnesses(port) as witnesses:
        kind, body = ask(line)
        while kind == P.JOB_CREATED:
            kept.add(body)
            assert len(kept) < 1000, "the store is not full"
            kind, body = ask(line)
        code, reason = body.split(b"\0")
        assert (kind, code) == (P.ERROR, b"QUEUE_ERROR")
        assert reason
        assert b"\n" not in reason
        # What is done while there is no room must not come back.
        done = worker.grab()
        assert done is not None
        worker.end(done, P.WORK_COMPLETE)
        kept.remove(done.handle)
        refusals: list[float] = []
        for _ in range(50):
            begin = time.monotonic()
            kind, body = ask(line)
            if kind == P.JOB_CREATED:
                # That one job's room was given back.
                kept.add(body)
            else:
                refusals.append(time.monotonic() - begin)
            time.sleep(0.02)
        more_room()
        begin = time.monotonic()

        def taken() -> bool:
            kind, body = ask(line)
            if kind == P.JOB_CREATED:
                kept.add(body)
            return kind == P.JOB_CREATED

        wait_until(taken, what="a job that is kept again")
        again = time.monotonic() - begin
        times = witnesses.judge()
    tell(
        f"{name}: {reason.decode()!r} after {len(kept)} jobs of 100 kB; refused in {summary(refusals)}; "
        f"kept again {again:.2f} s after there was room; meanwhile {times}"
    )
    # The first one waits for what becomes of its job, and so does one now and then, as a probe.
    assert max(refusals) < TIMEOUT + LATE
    assert statistics.median(refusals) < AT_ONCE
    echo(worker.line)
    worker.line.close()
    line.close()
    wait_until_written(server.port)
    server.kill()
    return kept


def test_full_disk(tell: Tell, start_server: Servers, small_disk: Path) -> None:
    """On a full disk jobs are refused, and taken again when there is room."""
    url = f"sqlite:///{small_disk / 'jobs.sqlite'}"

    def more_room() -> None:
        subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)

    kept = fill(tell, start_server(store=url), "sqlite, full disk", more_room)
    assert set(handles(start_server(store=url).port)) == kept


def test_file_too_large(tell: Tell, start_server: Servers, tmp_path: Path) -> None:
    """The same where the system does not let the file grow."""
    url = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    server = start_server(store=url)
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (8 * 2**20, hard))

    def more_room() -> None:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))

    kept = fill(tell, server, "sqlite, limit of the file's size", more_room)
    assert set(handles(start_server(store=url).port)) == kept

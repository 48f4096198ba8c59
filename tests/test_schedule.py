"""Schedules: jobs by the clock, over restarts."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from processes import Server, Servers, wait_until
from wirepeer import WirePeer

pytestmark = pytest.mark.txgear_only

YEARLY = """
[[schedule]]
name = "new year"
cron = "0 0 1 1 *"
timezone = "Asia/Tokyo"
function = "celebrate"
workload = "fireworks"
unique = "party"
"""

#: A time that was missed whenever this runs: the server last ran over a year ago.
LONG_AGO = 400 * 86400


class Scheduled:
    """A server with a store and a file with schedules, started again and again."""

    def __init__(self, start: Servers, folder: Path, text: str) -> None:
        self._start = start
        self._path = folder / "jobs.sqlite"
        self.file = folder / "txgear.toml"
        self.file.write_text(text)

    def start(self) -> Server:
        return self._start(f"--config={self.file}", store=f"sqlite:///{self._path}")

    def marks(self) -> dict[bytes, float]:
        """What is remembered of schedules."""
        with contextlib.closing(sqlite3.connect(self._path)) as connection:
            return dict(connection.execute("SELECT name, value FROM txgear_marks WHERE kind = 2"))

    def move_back(self, seconds: float) -> None:
        """Let all that is remembered be older, while no server runs."""
        with contextlib.closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            connection.execute("UPDATE txgear_marks SET value = value - ? WHERE kind = 2", (seconds,))


def test_missed(start_server: Servers, tmp_path: Path) -> None:
    """Of the times that a server missed it makes up for the last, once, however it ends and starts again."""
    scheduled = Scheduled(start_server, tmp_path, YEARLY)
    server = scheduled.start()
    wait_until(scheduled.marks, what="a mark of the new schedule")
    assert abs(scheduled.marks()[b"new year"] - time.time()) < 60
    assert server.unused("celebrate")
    server.kill()

    scheduled.move_back(LONG_AGO)
    server = scheduled.start()
    wait_until(lambda: server.status("celebrate") == (1, 0, 0), what="the job of the last new year")
    # It is there before it is on the disk; with it comes the mark.
    wait_until(lambda: time.time() - scheduled.marks()[b"new year"] < 366 * 86400, what="the mark")
    value = scheduled.marks()[b"new year"]
    # Midnight in Tokyo.
    shown = time.gmtime(value + 9 * 3600)
    assert (shown.tm_mon, shown.tm_mday, shown.tm_hour, shown.tm_min, shown.tm_sec) == (1, 1, 0, 0, 0)
    assert value < time.time()

    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        server.signal(number)
        server.wait()
        server = scheduled.start()
        assert server.status("celebrate") == (1, 0, 0)
        assert scheduled.marks() == {b"new year": value}
    with WirePeer(server.port) as worker:
        worker.can_do(b"celebrate")
        job = worker.grab_soon()
    assert (job.unique, job.workload) == (b"party", b"fireworks")


def test_done(start_server: Servers, tmp_path: Path) -> None:
    """A run whose job is done is not made up for again."""
    scheduled = Scheduled(start_server, tmp_path, YEARLY)
    server = scheduled.start()
    wait_until(scheduled.marks, what="a mark of the new schedule")
    assert server.stop() == 0
    scheduled.move_back(LONG_AGO)
    server = scheduled.start()
    with WirePeer(server.port) as worker:
        worker.can_do(b"celebrate")
        worker.complete(worker.grab_soon())
        worker.sync()
    assert server.stop() == 0
    server = scheduled.start()
    assert server.unused("celebrate")


def test_reload(start_server: Servers, tmp_path: Path) -> None:
    """A schedule that is not in the file any more is forgotten; a new one begins with its next time."""
    scheduled = Scheduled(start_server, tmp_path, YEARLY)
    server = scheduled.start()
    wait_until(scheduled.marks, what="a mark of the new schedule")
    scheduled.file.write_text(YEARLY.replace("new year", "other"))
    server.signal(signal.SIGHUP)
    wait_until(lambda: scheduled.marks().keys() == {b"other"}, what="a mark of the other schedule")
    assert server.unused("celebrate")


def test_next_minute(start_server: Servers, tmp_path: Path) -> None:
    """The clock's next minute brings a job, by itself: a sleeping worker is woken for it, on time."""
    text = '[[schedule]]\nname = "m"\ncron = "* * * * *"\nfunction = "minute"\n'
    server = Scheduled(start_server, tmp_path, text).start()
    with WirePeer(server.port) as worker:
        worker.can_do(b"minute")
        worker.complete(worker.grab_soon(65))
    assert time.time() % 60 < 5

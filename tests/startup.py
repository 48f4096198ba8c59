"""What the tests of starting and ending share: failed starts, detached servers, open ports."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path

from processes import PATIENCE, Program, Programs, listening, twistd, wait_until
from wirepeer import WirePeer

Done = subprocess.CompletedProcess[bytes]


def assert_one_line(done: Done, *words: str) -> None:
    """It failed, and said why in one line on stderr, with these words and without a traceback."""
    assert done.returncode != 0, done
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1, done
    assert lines[0].startswith("txgear"), lines
    for word in words:
        assert word in lines[0]
    assert b"Traceback" not in done.stdout + done.stderr


def accepts(host: str, port: int) -> bool:
    """Somebody accepts connections there."""
    try:
        socket.create_connection((host, port), 2.0).close()
    except OSError:
        return False
    return True


def answers(port: int) -> bool:
    """A job server there answers. One that accepts connections may still fail to start."""
    try:
        with WirePeer(port, timeout=PATIENCE) as peer:
            return peer.sync() == []
    except ConnectionError:
        return False


def started(programs: Programs, *options: str) -> tuple[Program, set[tuple[str, int]]]:
    """A server whose ports we do not choose, and where it listens."""
    program = programs.start([*twistd(), "-n", "--pidfile=", "txgear", "--web=", *options], name="twistd")
    program.comes_up()
    places = listening(program.pid)
    for address, port in places:
        with WirePeer(port, address) as peer:
            peer.sync()
    return program, places


def gone(pid: int) -> bool:
    """The process has ended."""
    try:
        os.kill(pid, 0)
        # One that nobody has waited for is still listed.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


class Daemons:
    """Servers that detached themselves, found again by their pid files."""

    def __init__(self) -> None:
        self._pids: list[int] = []

    def pid(self, path: Path) -> int:
        """The process that wrote a pid file, to be ended with the test."""
        pid = int(wait_until(lambda: path.exists() and path.read_text().strip(), what=path.name))
        if pid not in self._pids:
            self._pids.append(pid)
        return pid

    def ends(self, pid: int) -> None:
        """End one with SIGTERM, and wait for that."""
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: gone(pid), what="the daemon's end")
        self._pids.remove(pid)

    def stop(self) -> None:
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

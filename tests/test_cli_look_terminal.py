"""The commands that show what servers have, on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping

import pytest

from clilooks import LISTS, OTHERS, World, begun, world
from processes import PATIENCE, Server, txgear
from wirepeer import P

__all__ = ["world"]

pytestmark = pytest.mark.txgear_only


def on_terminal(
    server: Server, *words: str, columns: int = 80, env: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a command in a terminal; its exit status, and what it has shown without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [*txgear(), *words, "--server", f"127.0.0.1:{server.port}"]
    environment = {**os.environ, "TERM": "xterm-256color", **(env or {})}
    environment.pop("COLUMNS", None)
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                break
            shown += piece
        status = process.wait(PATIENCE)
    os.close(ours)
    return status, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).replace("\r\n", "\n")


@pytest.mark.parametrize("words", [*LISTS, *OTHERS])
def test_no_line_is_too_long(world: World, words: str) -> None:
    """In a terminal of 80 columns, nothing is cut off either: the names of all columns are there."""
    status, shown = on_terminal(world.server, *words.split())
    assert status == 0
    assert max(map(len, shown.splitlines())) <= 80, shown
    if words in LISTS:
        names = world.look(words).stdout.decode().splitlines()[0].split("\t")
        header = shown.splitlines()[0].split()
        assert header == names, shown


def test_status_on_a_terminal(world: World) -> None:
    _, shown = on_terminal(world.server, "status", "--function", "[cm]a*")
    last = shown.splitlines()[-1].split()
    assert last[:5] == ["3", "functions", "4", "1", "1"]
    assert last[5:7] == ["2", "2"]


def test_no_binary_on_a_terminal(world: World) -> None:
    """Unless it is asked for."""
    status, shown = on_terminal(world.server, "workload", world.handles["hostile"])
    assert status == 1
    assert "these bytes are no text: --output FILE" in " ".join(shown.split())
    assert "\xff" not in shown
    assert on_terminal(world.server, "workload", world.handles["order 5"]) == (0, "text of 5\n")
    status, shown = on_terminal(world.server, "result", world.handles["order 1"], "--output", "-")
    assert (status, shown) == (0, "part sent")


def test_follow_on_a_terminal(world: World, function: str) -> None:
    worker, handle = begun(world.server, function)
    worker.send(P.WORK_DATA, handle, b"one\ntwo \x1b[2J\n")
    worker.send(P.WORK_STATUS, handle, b"4", b"10")
    worker.complete(handle, b"the end")
    worker.sync()
    status, shown = on_terminal(world.server, "job", handle.decode(), "--follow")
    assert status == 0
    assert "done" in shown

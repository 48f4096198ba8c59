"""
Commands whose standard streams are closed, or have no space left: the status is the right one all the same,
nothing is a traceback, and no error stands where data is wanted.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

COMMAND = f"{sys.executable} -m txgear"
NOBODY = "--server 127.0.0.1:1"


def shell(words: str) -> subprocess.CompletedProcess[bytes]:
    """A command that a shell has run."""
    return subprocess.run(["sh", "-c", f"{COMMAND} {words}"], capture_output=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("words", "status", "out", "err"),
    [
        ("--version >&-", 0, b"", b""),
        ("--version >/dev/full", 1, b"", b"txgear: No space left on device\n"),
        (f"info {NOBODY} >&-", 3, b"", b"txgear info: 127.0.0.1:1: Connection refused\n"),
        (f"info {NOBODY} 2>&-", 3, b"", b""),
        (f"info {NOBODY} 2>/dev/full", 3, b"", b""),
        (f"info {NOBODY} <&- >&- 2>&-", 3, b"", b""),
        (
            f"check {NOBODY} >/dev/full",
            3,
            b"",
            b"txgear check: cannot write what was found: No space left on device\n",
        ),
        ("token", 2, b"", b"txgear token: a command is wanted: new (see txgear token --help)\n"),
    ],
)
def test_streams(words: str, status: int, out: bytes, err: bytes) -> None:
    done = shell(words)
    assert (done.returncode, done.stdout, done.stderr) == (status, out, err)


def test_a_mistake_does_nothing_to_a_terminal() -> None:
    """A wrong word stands in what is said of it."""
    done = shell("audit '\033[31m\u202e\u009b2J'")
    assert done.returncode == 2
    assert rb"\x1b[31m\xe2\x80\xae\xc2\x9b2J" in done.stderr

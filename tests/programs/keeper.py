"""Runs a program, and ends when that and all that came of it have ended.

``keeper.py PROGRAM ARGUMENT...``: for a program that leaves others behind on purpose, as Patroni leaves
PostgreSQL; they stay descendants of this one. SIGINT asks the program to end, SIGTERM ends all at once.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

#: Orphans become our children, and not the first process's.
PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    children = Path(f"/proc/self/task/{os.getpid()}/children")

    def end(*_: object) -> None:
        while pids := children.read_text().split():
            for pid in map(int, pids):
                os.kill(pid, signal.SIGKILL)
            # Their own children are ours now.
            os.wait()
        sys.exit(1)

    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, end)
    program = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
    signal.signal(signal.SIGINT, lambda *_: os.kill(program, signal.SIGTERM))
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break


main()

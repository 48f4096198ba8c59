"""
Seconds as processes have them that get a processor when they want one.

A promise in seconds is the server's. Where the machine has other work, a process that could run waits for its
turn, and so does the test itself: Linux counts for how long, and that is left out here. Time in which they
sleep, wait for each other, a lock, a disk or a database, or run, is not.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path


class Stopwatch:
    """
    Runs from when it is made; one thread has it.
    """

    def __init__(self, *pids: int) -> None:
        """
        :param pids: processes on which what is measured depends; of each the main thread counts.
        """
        own = Path("/proc/self/task") / str(threading.get_native_id())
        self._tasks = [own, *(Path(f"/proc/{pid}") for pid in pids)]
        self._held_up = [_held_up(task) for task in self._tasks]
        self._began = time.monotonic()

    def seconds(self) -> float:
        """For how long it has run, without those in which one of them waited for a processor."""
        passed = time.monotonic() - self._began
        for task, before in zip(self._tasks, self._held_up, strict=True):
            # One that has ended since has nothing to say any more.
            passed -= max(_held_up(task) - before, 0.0)
        return passed


def _held_up(task: Path) -> float:
    """For how many seconds a thread has been ready, and waited for a processor; 0 if nobody knows."""
    with suppress(OSError):
        return int((task / "schedstat").read_text().split()[1]) / 1e9
    return 0.0

"""
How much memory processes have, with all that they have started.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

import psutil


def memory_of(pids: Collection[int]) -> dict[int, int]:
    """
    Look at processes.

    @param pids: their numbers.
    @return: the resident bytes of each and of all its descendants. What they share with others, as copies of
        one template do, counts for each of them. A process that has ended has none.
    """
    children: dict[int, list[int]] = {}
    for process in psutil.process_iter(["ppid"]):
        children.setdefault(process.info["ppid"], []).append(process.pid)
    found = {}
    for pid in pids:
        total, left = 0, [pid]
        while left:
            each = left.pop()
            left += children.get(each, ())
            # Processes of others cannot be read, and some end meanwhile.
            with suppress(psutil.Error):
                total += psutil.Process(each).memory_info().rss
        found[pid] = total
    return found

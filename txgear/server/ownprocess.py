"""
What the process of the server takes: memory and descriptors, as Linux tells them in C{/proc}.
"""

from __future__ import annotations

import os
import resource
from math import inf
from pathlib import Path
from typing import Final, NamedTuple

from txgear.server.descriptors import soft_limit

OWN: Final = Path("/proc/self")


class Figures(NamedTuple):
    """
    What is known of the process.

    @ivar pid: its number.
    @ivar memory: bytes that it has in memory; C{None} where the system does not tell.
    @ivar descriptors: how many descriptors it has open; C{None} likewise.
    @ivar limit: how many it may have; C{None} for no bound.
    """

    pid: int
    memory: int | None
    descriptors: int | None
    limit: int | None


def figures(folder: Path = OWN) -> Figures:
    """
    What is known of this process. It takes some microseconds; where an old system has thousands of
    descriptors counted one by one, a millisecond.

    @param folder: what the system tells of the process.
    """
    limit = soft_limit()
    return Figures(os.getpid(), _memory(folder), _descriptors(folder), None if limit == inf else int(limit))


def _memory(folder: Path) -> int | None:
    try:
        return int((folder / "statm").read_bytes().split()[1]) * resource.getpagesize()
    except OSError:
        return None


def _descriptors(folder: Path) -> int | None:
    try:
        # Linux 6.2 and later have the number there, and none of those before.
        return (folder / "fd").stat().st_size or len(os.listdir(folder / "fd"))
    except OSError:
        return None

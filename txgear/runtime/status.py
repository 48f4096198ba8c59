"""
What each process does at the moment, where the supervisor can see it without asking: a page of memory that
both have. It is right even if the process is stuck in C code, and it costs a job less than a microsecond.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

HEAD: Final = Struct("<dQd?")
"""
The time of its last turn, jobs that have ended, since when it has been idle, and whether a server is there
that can give it jobs.
"""
SLOT: Final = Struct("<I65p65pd")
"""
A job's attempt, 64 bytes at the most of its handle and of its function, and last since when it runs, or 0.0.
"""
_SINCE: Final = Struct("<d")
"""The last of that."""
_TO_SINCE: Final = SLOT.size - _SINCE.size


class Running(NamedTuple):
    """
    A job that a process does.

    @ivar slot: its place on the page.
    @ivar since: when it began, by the monotonic clock, which all processes share.
    @ivar handle: its handle.
    @ivar attempt: which attempt it is; 0 where that is not known.
    @ivar function: the beginning of its function's name.
    """

    slot: int
    since: float
    handle: bytes
    attempt: int
    function: bytes


def page_size(slots: int) -> int:
    """Bytes of a page for so many jobs at once."""
    return HEAD.size + slots * SLOT.size


class StatusPage:
    """
    The page of one process. That process writes, the supervisor reads.
    """

    __slots__ = ("_memory", "_slots")

    def __init__(self, file: int, slots: int) -> None:
        """
        @param file: the descriptor of a file of L{page_size} bytes; it may be closed then.
        @param slots: how many jobs run at once at the most.
        """
        self._memory = mmap.mmap(file, page_size(slots))
        self._slots = slots

    # The process

    def places(self) -> list[int]:
        """Where jobs can stand."""
        return list(range(HEAD.size, page_size(self._slots), SLOT.size))

    def begin(self, place: int, since: float, handle: bytes, attempt: int, function: bytes) -> None:
        """A job has begun."""
        # The time is written last: until then the reader sees no job there.
        SLOT.pack_into(self._memory, place, attempt, handle, function, since)

    def end(self, place: int) -> None:
        """It has ended."""
        _SINCE.pack_into(self._memory, place + _TO_SINCE, 0.0)

    def turn(self, now: float, ended: int, idle_since: float, in_reach: bool) -> None:
        """
        The process is alive: its event loop turns.

        @param idle_since: since when it has had no job; 0.0 while it has one.
        @param in_reach: whether a server is there that can give it jobs.
        """
        HEAD.pack_into(self._memory, 0, now, ended, idle_since, in_reach)

    # The supervisor

    def head(self) -> tuple[float, int, float, bool]:
        """What L{turn} was told last; zeros before."""
        return HEAD.unpack_from(self._memory, 0)

    def running(self) -> Iterator[Running]:
        """The jobs that run."""
        for slot, place in enumerate(self.places()):
            attempt, handle, function, since = SLOT.unpack_from(self._memory, place)
            if since:
                yield Running(slot, since, handle, attempt, function)

    def close(self) -> None:
        """The page is not needed any more."""
        self._memory.close()

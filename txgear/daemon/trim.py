"""
Giving memory back to the system after a burst.

The C library keeps freed memory: when ten peers were dropped that had left much unread, the process kept
657 MB, where it had had 48 before. glibc's C{malloc_trim} gives such memory back. That takes a tenth of a
second for half a gigabyte, so it is called at a quiet moment.

Python keeps some thousand small objects for the next use of them. Each keeps the megabyte that it lies in: of
300,000 jobs that had ended, 137 MB stayed free and unused. Only a full collection of cycles gives these up.
"""

from __future__ import annotations

import ctypes
import gc
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

BURST: Final = 32 * 1024 * 1024
"""
Bytes from which a trim is worth it: of resident memory beyond the least that there has been, and of what has
been freed. A thousand handshakes that stall are one, and so are a hundred thousand jobs. With a million jobs
in memory, a trim that finds nothing takes a tenth of a second.
"""
RETRY_SECONDS: Final = 600.0
"""Seconds after which a trim is tried without a burst, as jobs that have ended leave free memory as well."""
LOOK_SECONDS: Final = 2.0
"""Seconds between two looks at the memory. A look takes some microseconds."""
QUIET: Final = 0.2
"""The share of that time that the process may have computed, at a quiet moment."""
SHARE: Final = 1000
"""
A trim is followed by no other for so many times as long as it took: trims cost a thousandth at the most.
"""
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
"""Names of glibc's C{malloc.h}."""
LARGE: Final = 32 * 1024 * 1024
"""Bytes of a block up to which it comes from the memory that is kept; glibc takes no more."""
KEPT: Final = 2 * LARGE
"""Bytes that are kept at the end of that memory; as glibc has it for such blocks."""
MANY: Final = 50_000
"""
Objects that may make cycles from which on no look at them is worth it: that takes 20 ms. What was frozen at
the start of the process is not any more then.
"""


def resident() -> int:
    """Bytes of this process's resident memory; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def keep_large() -> None:
    """
    Let glibc have large blocks from the memory that it keeps: until L{give_back}, it keeps what it would give
    back at once. The tables of some hundred thousand jobs are copied when they are full; 9 of 11 ms of that
    were for memory that the system had just been given.
    """
    change = getattr(ctypes.CDLL(None), "mallopt", None)
    if change is not None:
        change(M_MMAP_THRESHOLD, LARGE)
        change(M_TRIM_THRESHOLD, KEPT)


def give_back() -> None:
    """Give memory that is not used back to the system, as far as Python and the C library can."""
    # A full collection gives up what Python keeps. It does not look at what is frozen: with 18,000
    # connections that took a fifth of a second.
    if many := len(gc.get_objects()) > MANY:
        gc.freeze()
    gc.collect()
    if many:
        gc.unfreeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class Trimmer:
    """
    Trims at quiet moments after bursts.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        seconds: Callable[[], float],
        trim: Callable[[], object],
        freed: Callable[[], int],
        held: Callable[[], int],
        memory: Callable[[], int] = resident,
        computed: Callable[[], float] = time.process_time,
    ) -> None:
        """
        @param seconds: measures how long it takes.
        @param trim: gives back what it can.
        @param freed: bytes of large things that have been freed so far.
        @param held: bytes of small things that there are; what they are less than they were has been freed.
        @param memory: bytes of resident memory.
        @param computed: seconds for which the process has computed so far.
        """
        self._clock = clock
        self._seconds = seconds
        self._trim = trim
        self._freed = freed
        self._held = held
        self._memory = memory
        self._computed = computed
        self._least = memory()
        self._before = computed()
        self._freed_before = freed()
        self._most_held = held()
        self._not_before = seconds()
        self._try_at = seconds() + RETRY_SECONDS
        self._timer: IDelayedCall | None = None
        self._look_later()

    def _look_later(self) -> None:
        self._timer = self._clock.callLater(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._look_later()
        before, self._before = self._before, self._computed()
        memory = self._memory()
        self._least = min(self._least, memory)
        held = self._held()
        self._most_held = max(self._most_held, held)
        quiet = self._before - before <= QUIET * LOOK_SECONDS
        now = self._seconds()
        freed = self._freed() - self._freed_before + self._most_held - held
        due = freed >= BURST or now >= self._try_at
        if not (quiet and due) or now < self._not_before or memory < self._least + BURST:
            return
        self._freed_before = self._freed()
        self._most_held = held
        self._trim()
        took = self._seconds() - now
        self._not_before = now + took * SHARE
        self._try_at = now + max(RETRY_SECONDS, took * SHARE)
        left = self._memory()
        self.log.debug("{size} bytes given back in {took:.3f} seconds", size=memory - left, took=took)

    def stop(self) -> None:
        """Trim no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

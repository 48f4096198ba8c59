"""
How much of what was written to a socket has not left it yet.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from fcntl import ioctl
from termios import TIOCOUTQ
from time import monotonic, sleep
from typing import Final

FIRST_LOOK: Final = 0.0002
LAST_LOOK: Final = 0.02
"""
Seconds between two looks, first and at the most; each look doubles them. A server that is near has read all
of it within a moment, and a batch is not to wait for more than that; a slow line needs no more looks.
"""


def unsent(descriptor: int) -> int:
    """Bytes that wait in a socket; as long as they become fewer, the line is slow and not dead."""
    return int.from_bytes(ioctl(descriptor, TIOCOUTQ, bytes(4)), sys.byteorder)


def until_sent(
    look: Callable[[], int],
    most: int,
    stall_seconds: float,
    clock: Callable[[], float] = monotonic,
    pause: Callable[[float], object] = sleep,
) -> bool:
    """
    Wait until nearly all has left a socket.

    @param look: L{unsent} of it.
    @param most: bytes of which nobody cares whether they have left.
    @param stall_seconds: how long it is waited where nothing leaves.
    @param clock: the time in seconds.
    @param pause: waits for so many seconds.
    @return: whether it has; otherwise the line is dead.
    """
    waiting, since, seconds = look(), clock(), FIRST_LOOK
    while waiting > most:
        pause(seconds)
        seconds = min(2 * seconds, LAST_LOOK)
        still_waiting = look()
        if still_waiting < waiting:
            waiting, since = still_waiting, clock()
        elif clock() - since > stall_seconds:
            return False
    return True

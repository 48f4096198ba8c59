"""
How much of what was written to a socket has not left it yet.
"""

from __future__ import annotations

import sys
from fcntl import ioctl
from termios import TIOCOUTQ


def unsent(descriptor: int) -> int:
    """Bytes that wait in a socket; as long as they become fewer, the line is slow and not dead."""
    return int.from_bytes(ioctl(descriptor, TIOCOUTQ, bytes(4)), sys.byteorder)

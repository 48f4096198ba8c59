"""
Standard output and standard error as C's C{stdio} has them, which C{gearman} uses beside its own writes.

What it prints with C{printf} stays in a buffer until that is full, or the program ends, or at the end of a
line on a terminal; what it writes by itself does not. So results come before lines that were printed earlier.
"""

from __future__ import annotations

import os
from typing import Final

BUFFER: Final = 4096
"""Bytes that are kept, as of pipes and files."""


class Stdio:
    """
    The outputs of a program.

    @ivar failed: whether a write has failed, after which nothing more is kept.
    """

    def __init__(self, out: int = 1, err: int = 2) -> None:
        """
        @param out: the descriptor of standard output.
        @param err: that of standard error.
        """
        self._out = out
        self._err = err
        self._by_line = os.isatty(out)
        self._kept = b""

    def print(self, text: bytes) -> None:
        """Print by C{printf}; what cannot be written is lost, as in C."""
        self._kept += text
        while len(self._kept) > BUFFER:
            self._put(self._kept[:BUFFER])
            self._kept = self._kept[BUFFER:]
        if self._by_line and (end := self._kept.rfind(b"\n") + 1):
            self._put(self._kept[:end])
            self._kept = self._kept[end:]

    def flush(self) -> None:
        """Write what is kept."""
        kept, self._kept = self._kept, b""
        self._put(kept)

    def write(self, data: bytes) -> None:
        """
        Write at once, before what is kept.

        @raise OSError: it cannot be written.
        """
        _write(self._out, data)

    def complain(self, text: bytes) -> None:
        """Write to standard error; what cannot be written is lost, as in C."""
        try:
            _write(self._err, text)
        except OSError:
            # There is nobody whom it could be told.
            return

    def _put(self, data: bytes) -> None:
        try:
            _write(self._out, data)
        except OSError as error:
            self.complain(os.fsencode(f"gearman: write ({error.strerror})\n"))


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]

"""
What a command writes, on its way: lines, the end of a text, progress.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST_LINE: Final = 64 * 1024
"""Bytes of a line at the most; a longer one is handed on in pieces."""
LONGEST_PROGRESS: Final = 64
"""Bytes of a line of progress that are looked at."""
TAIL: Final = 4096
"""Bytes of the standard error that are kept for the text of a failure."""

_OF: Final = re.compile(rb"\s*(\d{1,18})\s*/\s*(\d{1,18})\s*")
_PERCENT: Final = re.compile(rb"\s*(\d{1,3})(?:\.\d*)?\s*%\s*")


class Lines:
    """
    Cuts what arrives into lines.
    """

    def __init__(self, strip: bool) -> None:
        """
        @param strip: leave out the ends of the lines, a line feed each.
        """
        self._strip = strip
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are whole now, and whole pieces of one that is too long."""
        *whole, rest = (self._rest + data).split(b"\n")
        lines = whole if self._strip else [line + b"\n" for line in whole]
        while len(rest) >= LONGEST_LINE:
            lines.append(rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
        self._rest = rest
        return lines

    def end(self) -> list[bytes]:
        """What is left at the end: a line without an end, if there is one."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


class Tail:
    """
    Keeps the end of a text.
    """

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, data: bytes) -> None:
        """There is more of it."""
        self._kept = (self._kept + data[-TAIL:])[-TAIL:]

    def text(self) -> bytes:
        """Its last whole lines; of a single line that is too long its end."""
        kept = self._kept
        if len(kept) == TAIL and b"\n" in kept.rstrip(b"\n"):
            kept = kept.partition(b"\n")[2]
        return kept.strip(b"\r\n")


def progress(line: bytes) -> tuple[int, int] | None:
    """
    How far a job is, from a line such as C{3/10} or C{30%}.

    @return: the numerator and the denominator; C{None} if it says nothing of the kind.
    """
    if found := _OF.fullmatch(line):
        return int(found[1]), int(found[2])
    if found := _PERCENT.fullmatch(line):
        return int(found[1]), 100
    return None


class LastLine:
    """
    Finds the last whole line in what arrives, as a newer one makes all before it needless.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes | None:
        """
        @return: the last line that is whole now, without its end, and without its first bytes where it is
            long; C{None} if there is none.
        """
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-LONGEST_PROGRESS:]
        return lines[-1][-LONGEST_PROGRESS:] if lines else None

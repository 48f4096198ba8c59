"""
A line at the bottom of a terminal that says how far things are, with a bar where that is known.

It is drawn by hand: what would draw it takes as long to import as all else that a command does.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final, Protocol, TextIO

WIDTH: Final = 30
"""Characters of the bar itself at the most."""
EACH: Final = 0.2
"""Seconds from one drawing to the next: over a slow line, too, it is in nobody's way."""


class Later(Protocol):
    """What calls something later: a reactor."""

    def callLater(self, delay: float, callable: Any, *args: object) -> Any:
        """Call it in so many seconds."""


def drawn(text: str, part: float | None, width: int) -> str:
    """
    The line.

    @param part: how much of all is done, 0 to 1; C{None} where nobody knows.
    @param width: characters of it at the most.
    """
    if part is None:
        return text[:width]
    done = min(max(part, 0.0), 1.0)
    size = min(WIDTH, width - len(text) - 10)
    percent = f"{int(done * 100):3d} %"
    if size < 5:
        return f"{percent} {text}"[:width]
    full = int(done * size)
    return f"[{'#' * full}{'-' * (size - full)}] {percent}  {text}"


class Bar:
    """
    The line on a terminal. What else is written there has it L{hide} before; it comes back by itself.
    """

    def __init__(self, reactor: Later, out: TextIO = sys.stderr) -> None:
        self._reactor = reactor
        self._out = out
        self._text = ""
        self._part: float | None = None
        self._shown = ""
        self._timer: Any = None

    def show(self, text: str, part: float | None = None) -> None:
        """
        Say how far it is.

        @param text: in one line, without control characters.
        @param part: as for L{drawn}.
        """
        self._text, self._part = text, part
        if self._timer is None:
            self._timer = self._reactor.callLater(EACH, self._draw)

    def hide(self) -> None:
        """Clear the line for something else; it is drawn anew when it is said again, or a little later."""
        if self._shown:
            self._out.write("\r\x1b[K")
            self._out.flush()
            self._shown = ""
            if self._timer is None:
                self._timer = self._reactor.callLater(EACH, self._draw)

    def close(self) -> None:
        """Clear the line for good."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._shown:
            self._out.write("\r\x1b[K")
            self._out.flush()
            self._shown = ""

    def _draw(self) -> None:
        self._timer = None
        line = drawn(self._text, self._part, _columns(self._out) - 1)
        if line != self._shown:
            self._out.write(f"\r{line}\x1b[K")
            self._out.flush()
            self._shown = line


def _columns(out: TextIO) -> int:
    try:
        return os.get_terminal_size(out.fileno()).columns or 80
    except OSError:
        # Its size is not known to the system either.
        return 80

"""
What children write to their standard output and error: line by line, into the supervisor's log.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.logger import Logger

from txgear.runtime.processes import PipeReader

MOST_LINE: Final = 16 * 1024
"""Bytes of a line at the most; a longer one is cut into several."""


class OutputLines:
    """
    One output of a child.

    @ivar last: its last line that is not blank, as text.
    """

    log = Logger()

    def __init__(self, reactor: Any, pipe: int, child: str, stream: str) -> None:
        """
        @param pipe: our end, which is this object's from now on.
        @param child: the name of the child.
        @param stream: C{stdout} or C{stderr}.
        """
        self.last = ""
        self._child = child
        self._stream = stream
        self._rest = b""
        self._pipe = PipeReader(reactor, pipe, self._received, self._ended)

    def _received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._tell(line)
        while len(self._rest) >= MOST_LINE:
            self._tell(self._rest[:MOST_LINE])
            self._rest = self._rest[MOST_LINE:]

    def _ended(self) -> None:
        rest, self._rest = self._rest, b""
        self._tell(rest)

    def _tell(self, line: bytes) -> None:
        text = line.decode("utf-8", "backslashreplace").rstrip()
        if text:
            self.last = text
            self.log.info("{child}: {line}", child=self._child, line=text, stream=self._stream)

    def close(self) -> None:
        """Take what has been written, and nothing more."""
        self._pipe.take_rest()

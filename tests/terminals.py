"""
A terminal for programs that draw on one: what they write is made into a screen, as text.
"""

from __future__ import annotations

import os
import re
import termios
import time
from collections.abc import Callable, Sequence
from typing import Any

import pexpect
import pyte

from processes import PATIENCE

KEYS = {
    "up": "\x1b[A",
    "down": "\x1b[B",
    "escape": "\x1b",
    "enter": "\r",
    "page-down": "\x1b[6~",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "tab": "\t",
}


class Terminal:
    """
    A program in a terminal of its own.

    @ivar written: how many bytes the program has written.
    @ivar styles: the numbers of all attributes and colours that it has used.
    """

    def __init__(
        self, command: Sequence[str], width: int = 80, height: int = 24, env: dict[str, str] | None = None
    ) -> None:
        self._screen = pyte.Screen(width, height)
        self._stream = pyte.ByteStream(self._screen)
        self.written = 0
        self.styles: set[str] = set()
        known = {
            key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")
        }
        self.child: Any = pexpect.spawn(
            command[0],
            list(command[1:]),
            dimensions=(height, width),
            env={**known, "TERM": "xterm-256color", **(env or {})},
            timeout=PATIENCE,
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *about: object) -> None:
        self.child.close(force=True)

    def listen(self, seconds: float) -> bool:
        """
        Take what the program writes.

        @return: whether it still runs.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                data = self.child.read_nonblocking(65536, min(left, 0.05))
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                return False
            self.written += len(data)
            for codes in re.findall(rb"\x1b\[([0-9;]*)m", data):
                self.styles.update(codes.decode().split(";"))
            self._stream.feed(data)
        return True

    @property
    def lines(self) -> list[str]:
        """What stands on the screen."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def last_line(self) -> str:
        """The last line on which something stands."""
        return next((line for line in reversed(self.lines) if line), "")

    def clear(self) -> None:
        """Forget what stands on the screen."""
        self.listen(0.05)
        self._screen.reset()

    def until(self, holds: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
        """Wait until something holds."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"{what} does not come:\n{self.text}"
            self.listen(0.05)

    def shows(self, text: str) -> None:
        """Wait until this stands on the screen."""
        self.until(lambda: text in self.text, repr(text))

    def hides(self, text: str) -> None:
        """Wait until this does not stand on the screen."""
        self.until(lambda: text not in self.text, f"the end of {text!r}")

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self.child.send(KEYS.get(key, key))
            # An escape alone is one that nothing follows in the same moment.
            self.listen(0.1)

    def resize(self, width: int, height: int) -> None:
        self._screen.resize(height, width)
        self.child.setwinsize(height, width)

    def modes(self) -> list[Any]:
        """How the terminal is set."""
        return termios.tcgetattr(self.child.child_fd)

    def end(self) -> int:
        """Wait for the program's end; its exit status, negative for a signal."""
        end = time.monotonic() + PATIENCE
        while self.listen(0.1):
            assert time.monotonic() < end, f"it does not end:\n{self.text}"
        self.child.wait()
        return int(self.child.exitstatus if self.child.signalstatus is None else -self.child.signalstatus)

"""
The terminal: keys come from it, and lines go to it. However the program ends, it leaves the terminal as it
was.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Any, Final

from txgear.cli.top.keys import Keys
from txgear.cli.top.painting import Line, Painter

ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[?2004h"
"""Another screen than that of the shell, no cursor, no line that goes on in the next, and pastes are told."""
LEAVE: Final = "\x1b[?2004l\x1b[?7h\x1b[?25h\x1b[m\x1b[999H\x1b[K\x1b[?1049l"
"""A terminal that has no other screen has the shell go on in the last line."""
SPLIT_SECONDS: Final = 0.1
"""Seconds within which the rest of a key comes, over whatever line."""
LEAVE_SECONDS: Final = 1.0
"""Seconds for the terminal to take what makes it as it was."""
ENDING: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Terminal:
    """
    The terminal while the program has it.

    @ivar resized: whether it may have another size by now, or shows something else.
    """

    def __init__(self) -> None:
        self.resized = True
        self._in, self._out = sys.stdin.fileno(), sys.stdout.fileno()
        self._encoding = sys.stdout.encoding or "utf-8"
        self._before: list[Any] = []
        self._handlers: dict[int, Any] = {}
        self._keys = Keys()
        self._painter = Painter(colours=not os.environ.get("NO_COLOR"))
        # They stay open: threads may wake it as long as there is a process.
        self._wake_out, self._wake_in = os.pipe()
        for end in (self._wake_out, self._wake_in):
            os.set_blocking(end, False)

    def __enter__(self) -> Terminal:
        self._before = termios.tcgetattr(self._in)
        for number, handler in (
            (signal.SIGWINCH, self._note),
            (signal.SIGCONT, self._continued),
            (signal.SIGTSTP, self._suspend),
            *((number, _end) for number in ENDING),
        ):
            # What whoever started it wants to be ignored stays so, as with nohup.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, handler)
        try:
            self._begin()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def wake(self) -> None:
        """Let L{keys} return; from any thread."""
        try:
            os.write(self._wake_in, b"x")
        except BlockingIOError:
            # It is about to wake up anyway.
            return

    def keys(self, seconds: float) -> list[str]:
        """
        The keys that are pressed within a time, or until it is woken.

        @raise SystemExit: there is no terminal any more.
        """
        ready, _, _ = select.select([self._in, self._wake_out], [], [], seconds)
        if self._wake_out in ready:
            os.read(self._wake_out, 4096)
        if self._in not in ready:
            return []
        found = self._read()
        while self._keys.waits:
            if select.select([self._in], [], [], SPLIT_SECONDS)[0]:
                found += self._read()
            else:
                found += self._keys.flush()
        return found

    def size(self) -> tuple[int, int]:
        """Its width and height."""
        size = os.get_terminal_size(self._out)
        return max(size.columns, 1), max(size.lines, 1)

    def show(self, lines: Sequence[Line], width: int, height: int) -> None:
        """
        Write what has changed.

        @raise SystemExit: there is no terminal any more.
        """
        if self.resized:
            self.resized = False
            self._painter.forget()
        self._write(self._painter.paint(lines, width, height))

    def _read(self) -> list[str]:
        try:
            data = os.read(self._in, 1024)
        except OSError as error:
            raise SystemExit(128 + signal.SIGHUP) from error
        if not data:
            raise SystemExit(128 + signal.SIGHUP)
        return self._keys.feed(data)

    def _begin(self) -> None:
        try:
            _again(lambda: tty.setcbreak(self._in, termios.TCSANOW))
        except termios.error as error:
            raise SystemExit(128 + signal.SIGHUP) from error
        self._write(ENTER)
        self.resized = True

    def _leave(self) -> None:
        """Make it as it was; where it has gone, or takes nothing, there is nothing to be done."""
        try:
            _again(lambda: termios.tcsetattr(self._in, termios.TCSANOW, self._before))
            # After Ctrl-S it would take nothing; it is only what was stopped so that can be let go on so.
            termios.tcflow(self._out, termios.TCOOFF)
            termios.tcflow(self._out, termios.TCOON)
            if select.select([], [self._out], [], LEAVE_SECONDS)[1]:
                os.write(self._out, LEAVE.encode("ascii"))
        except (OSError, termios.error):
            return

    def _end(self) -> None:
        # Whatever comes now comes too late to hold this up.
        for number in (signal.SIGINT, *self._handlers):
            self._handlers[number] = self._handlers.get(number, signal.getsignal(number))
            signal.signal(number, signal.SIG_IGN)
        self._leave()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _write(self, text: str) -> None:
        data = text.encode(self._encoding, "replace")
        try:
            while data:
                data = data[os.write(self._out, data) :]
        except OSError as error:
            raise SystemExit(128 + signal.SIGHUP) from error

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.resized = True
        self.wake()

    def _suspend(self, number: int, frame: FrameType | None) -> None:
        """Let the shell have the terminal, as it was, until it lets us go on."""
        self._leave()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)

    def _continued(self, number: int, frame: FrameType | None) -> None:
        if signal.SIGTSTP in self._handlers:
            signal.signal(signal.SIGTSTP, self._suspend)
        self._begin()
        self.wake()


def _again(act: Callable[[], None]) -> None:
    """
    Do something to the terminal, over again where a signal has interrupted it. That is so for whoever wanted
    this while the shell had the terminal: the system has stopped it then until it was let go on.
    """
    while True:
        try:
            return act()
        except termios.error as error:
            if error.args[0] != errno.EINTR:
                raise


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)

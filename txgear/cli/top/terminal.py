"""
The terminal: keys come from it, and lines go to it, as few as have changed. However the program ends, it
leaves the terminal as it was.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from io import StringIO
from types import FrameType, TracebackType
from typing import Any, Final

from rich.console import Console
from rich.text import Text

ENTER: Final = "\x1b[?1049h\x1b[?25l"
"""Another screen than that of the shell, without a cursor."""
LEAVE: Final = "\x1b[0m\x1b[?25h\x1b[?1049l"
SEQUENCES: Final = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1b[C": "right",
    "\x1b[D": "left",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1bOC": "right",
    "\x1bOD": "left",
    "\x1b[5~": "page-up",
    "\x1b[6~": "page-down",
    "\x1b[H": "home",
    "\x1b[F": "end",
    "\x1b[1~": "home",
    "\x1b[4~": "end",
    "\x1bOH": "home",
    "\x1bOF": "end",
    "\x1b[Z": "back-tab",
}
CONTROLS: Final = {
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x0c": "redraw",
    "\x04": "end-of-input",
}


def keys_of(text: str) -> Iterator[str]:
    """
    The keys that were pressed.

    @param text: what the terminal has sent, whole.
    """
    while text:
        if text[0] != "\x1b":
            if text[0] in CONTROLS or text[0].isprintable():
                yield CONTROLS.get(text[0], text[0])
            text = text[1:]
            continue
        for sequence, name in SEQUENCES.items():
            if text.startswith(sequence):
                yield name
                text = text[len(sequence) :]
                break
        else:
            if len(text) == 1 or text[1] == "\x1b":
                yield "escape"
                text = text[1:]
            else:
                # One that is not known: it ends with a letter or a tilde.
                end = 2
                while end < len(text) and not (text[end].isalpha() or text[end] == "~"):
                    end += 1
                text = text[end + 1 :]


class Painter:
    """Makes what is written of lines: those that differ from the ones before."""

    def __init__(self) -> None:
        self._shown: list[str] = []
        self._size = (0, 0)

    def forget(self) -> None:
        """The screen shows something else by now: everything is written the next time."""
        self._shown = []
        self._size = (0, 0)

    def paint(self, lines: Sequence[Text], width: int, height: int) -> str:
        """
        @return: what has the terminal show these lines.
        """
        made = []
        if self._size != (width, height):
            self._size, self._shown = (width, height), []
            made.append("\x1b[2J")
        drawn = [draw(line, width) for line in lines]
        for index, line in enumerate(drawn):
            if index >= len(self._shown) or self._shown[index] != line:
                clear = "\x1b[K" if lines[index].cell_len < width else ""
                made.append(f"\x1b[{index + 1};1H{line}{clear}")
        self._shown = drawn
        return "".join(made)


def draw(line: Text, width: int, plain: bool = False) -> str:
    """A line as it is written, with its colours as far as this terminal has some."""
    if plain:
        return line.plain
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=max(width, 1) + 1, highlight=False)
    console.print(line, end="", no_wrap=True, overflow="ignore", crop=False)
    return out.getvalue()


class Terminal:
    """
    The terminal while the program has it.

    @ivar resized: whether it may have another size by now, or shows something else.
    """

    def __init__(self) -> None:
        self.resized = True
        self._in, self._out = sys.stdin.fileno(), sys.stdout.fileno()
        self._before: list[Any] = []
        self._handlers: dict[int, Any] = {}
        self._painter = Painter()
        self._wake_out, self._wake_in = os.pipe()
        for end in (self._wake_out, self._wake_in):
            os.set_blocking(end, False)

    def __enter__(self) -> Terminal:
        self._before = termios.tcgetattr(self._in)
        for number, handler in (
            (signal.SIGWINCH, self._note),
            (signal.SIGCONT, self._continued),
            (signal.SIGTSTP, self._suspend),
            (signal.SIGTERM, _end),
            (signal.SIGHUP, _end),
        ):
            self._handlers[number] = signal.signal(number, handler)
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._leave()
        os.close(self._wake_in)
        os.close(self._wake_out)

    def wake(self) -> None:
        """Let L{keys} return; from any thread."""
        try:
            os.write(self._wake_in, b"x")
        except (BlockingIOError, OSError):
            # It is about to wake up anyway, or has ended.
            return

    def keys(self, seconds: float) -> list[str]:
        """The keys that are pressed within a time, or until it is woken."""
        ready, _, _ = select.select([self._in, self._wake_out], [], [], seconds)
        if self._wake_out in ready:
            os.read(self._wake_out, 4096)
        if self._in not in ready:
            return []
        data = os.read(self._in, 1024)
        if not data:
            return ["end-of-input"]
        return list(keys_of(data.decode("utf-8", "ignore")))

    def size(self) -> tuple[int, int]:
        """Its width and height."""
        size = os.get_terminal_size(self._out)
        return max(size.columns, 1), max(size.lines, 1)

    def show(self, lines: Sequence[Text]) -> None:
        """Write what has changed."""
        if self.resized:
            self.resized = False
            self._painter.forget()
        self._write(self._painter.paint(lines, *self.size()))

    def _begin(self) -> None:
        tty.setcbreak(self._in)
        self._write(ENTER)
        self.resized = True

    def _leave(self) -> None:
        self._write(LEAVE)
        termios.tcsetattr(self._in, termios.TCSADRAIN, self._before)

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(self._out, data) :]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.resized = True
        self.wake()

    def _suspend(self, number: int, frame: FrameType | None) -> None:
        """Let the shell have the terminal, as it was, until it lets us go on."""
        self._leave()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)

    def _continued(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTSTP, self._suspend)
        self._begin()
        self.wake()


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)

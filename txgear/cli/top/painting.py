"""
Lines with styles, and what is written to have a terminal show them: of each line only the cells that differ
from what stood there before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Final

from rich.cells import cell_len, set_cell_size

ATTRIBUTES: Final = {"bold": "1", "underline": "4", "reverse": "7"}
COLOURS: Final = {"red": "31", "green": "32", "yellow": "33"}
"""Of the eight that every terminal has, those that can be read on a dark ground and on a light one."""
GAP: Final = 6
"""Cells that are written once more, as they are fewer bytes than a way around them."""

Cell = tuple[str, str]
"""A character of ASCII, and its style."""
BLANK: Final = (" ", "")


class Line:
    """
    A line of the screen.

    @ivar parts: its pieces of text, each with a style: words of L{ATTRIBUTES} and L{COLOURS}.
    """

    def __init__(self, text: str = "", style: str = "") -> None:
        self.parts: list[tuple[str, str]] = []
        self.append(text, style)

    def append(self, text: str, style: str = "") -> None:
        """Add a piece at its end."""
        if text:
            self.parts.append((text, style))

    @property
    def plain(self) -> str:
        """Its text."""
        return "".join(text for text, _ in self.parts)

    @property
    def cells(self) -> int:
        """How wide it is."""
        return sum(cell_len(text) for text, _ in self.parts)

    def cut(self, width: int) -> None:
        """Let it have so many cells at the most."""
        made: list[tuple[str, str]] = []
        for text, style in self.parts:
            if width <= 0:
                break
            kept = text if cell_len(text) <= width else set_cell_size(text, width)
            made.append((kept, style))
            width -= cell_len(kept)
        self.parts = made

    def fill(self, width: int, style: str) -> None:
        """Give all of it a style more, and spaces up to a width."""
        self.append(" " * (width - self.cells))
        self.parts = [(text, f"{own} {style}".strip()) for text, own in self.parts]


class Painter:
    """What is written for one screen after the other."""

    def __init__(self, colours: bool = True) -> None:
        """
        @param colours: whether there may be colours. Whatever they say is said without them as well.
        """
        self._codes = {**ATTRIBUTES, **(COLOURS if colours else {})}
        self._shown: list[Line] = []
        self._size = (0, 0)

    def printed(self, line: Line) -> str:
        """A line by itself, wherever it goes."""
        return "".join(self._styled(style, text) for text, style in line.parts)

    def forget(self) -> None:
        """The screen shows something else by now: everything is written the next time."""
        self._size = (0, 0)

    def paint(self, lines: Sequence[Line], width: int, height: int) -> str:
        """
        @return: what has the terminal show these lines.
        """
        made = []
        if self._size != (width, height):
            self._size, self._shown = (width, height), []
            made.append("\x1b[m\x1b[2J")
        for number, (before, line) in enumerate(zip_longest(self._shown, lines, fillvalue=Line()), 1):
            if before.parts != line.parts:
                made.append(self._changed(number, before, line))
        self._shown = list(lines)
        return "".join(made)

    def _changed(self, number: int, before: Line, line: Line) -> str:
        if not (before.plain.isascii() and line.plain.isascii()):
            # Terminals do not agree how wide some characters are: what comes behind them has no certain cell.
            return f"\x1b[{number}H\x1b[K{self.printed(line)}"
        old, new = _cells(before), _cells(line)
        width = max(len(old), len(new))
        old += [BLANK] * (width - len(old))
        new += [BLANK] * (width - len(new))
        end = width
        while end and new[end - 1] == BLANK:
            end -= 1
        made: list[str] = []
        at = 0
        for start, stop in _runs(old[:end], new[:end]):
            made.append(f"\x1b[{number};{start + 1}H" if not made else f"\x1b[{start - at}C")
            made.append(self._run(new[start:stop]))
            at = stop
        if old[end:] != new[end:]:
            if not made:
                made.append(f"\x1b[{number};{end + 1}H")
            elif at < end:
                made.append(f"\x1b[{end - at}C")
            made.append("\x1b[K")
        return "".join(made)

    def _run(self, cells: Iterable[Cell]) -> str:
        made: list[tuple[str, list[str]]] = []
        for character, style in cells:
            if not made or made[-1][0] != style:
                made.append((style, []))
            made[-1][1].append(character)
        return "".join(self._styled(style, "".join(text)) for style, text in made)

    def _styled(self, style: str, text: str) -> str:
        codes = ";".join(self._codes[word] for word in style.split() if word in self._codes)
        return f"\x1b[{codes}m{text}\x1b[m" if codes else text


def _cells(line: Line) -> list[Cell]:
    return [(character, style) for text, style in line.parts for character in text]


def _runs(old: Sequence[Cell], new: Sequence[Cell]) -> list[tuple[int, int]]:
    """Where they differ: from which cell to before which."""
    found: list[tuple[int, int]] = []
    for index, (before, after) in enumerate(zip(old, new, strict=True)):
        if before != after:
            if found and index - found[-1][1] <= GAP:
                found[-1] = (found[-1][0], index + 1)
            else:
                found.append((index, index + 1))
    return found

"""
From what a terminal sends to the keys that were pressed.

Over a slow line a key may come in pieces. What is pasted is no keys: nobody is to cancel jobs by it.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

PASTE: Final = "paste:"
"""What the name of a key begins with that is pasted text, which follows."""
MOST_PASTED: Final = 1000
"""Characters of one paste that are taken."""

_ESCAPE: Final = "\x1b"
_PASTE_BEGINS: Final = "\x1b[200~"
_PASTE_ENDS: Final = "\x1b[201~"
_SEQUENCES: Final = {
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
    "\x1b[7~": "home",
    "\x1b[8~": "end",
    "\x1bOH": "home",
    "\x1bOF": "end",
    "\x1bOM": "enter",
    "\x1b[Z": "back-tab",
}
_CONTROLS: Final = {
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x0c": "redraw",
    "\x15": "clear",
    "\x04": "end-of-input",
}
_WHOLE: Final = re.compile(r"\x1b(?:\[\[.|\[[0-?]*[ -/]*[@-Z\\-~]|O.|[^\[O\x1b])", re.DOTALL)
"""A key of several characters, whatever it is; with Alt as well."""
_BEGUN: Final = re.compile(r"\x1b(?:O|\[\[?|\[[0-?]{1,32}[ -/]{0,4})?")


class Keys:
    """What was sent and is not a key yet."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._left = ""
        self._pasted: str | None = None

    @property
    def waits(self) -> bool:
        """Whether the beginning of a key is there: its end comes soon, or it is a key by itself."""
        return bool(self._left) and self._pasted is None

    def feed(self, data: bytes) -> list[str]:
        """
        The keys that are whole by now.

        @return: characters, and names: C{up}, C{enter}, C{escape}.
        """
        self._left += self._decoder.decode(data)
        found: list[str] = []
        while self._left:
            if self._pasted is not None:
                if not self._paste(found):
                    break
            elif self._left[0] != _ESCAPE:
                first, self._left = self._left[0], self._left[1:]
                if first in _CONTROLS or first.isprintable():
                    found.append(_CONTROLS.get(first, first))
            elif self._left.startswith(_ESCAPE * 2):
                self._left = self._left[1:]
                found.append("escape")
            elif (match := _WHOLE.match(self._left)) is not None:
                self._left = self._left[match.end() :]
                if match[0] == _PASTE_BEGINS:
                    self._pasted = ""
                elif match[0] in _SEQUENCES:
                    found.append(_SEQUENCES[match[0]])
            elif _BEGUN.fullmatch(self._left):
                break
            else:
                # It is none, and never will be.
                self._left = self._left[1:]
        return found

    def flush(self) -> list[str]:
        """No more comes of what has begun: an escape by itself is a key, and all else is none."""
        if self._pasted is not None:
            return []
        alone, self._left = self._left == _ESCAPE, ""
        return ["escape"] if alone else []

    def _paste(self, found: list[str]) -> bool:
        """Whether the paste has ended."""
        assert self._pasted is not None
        text, end, rest = self._left.partition(_PASTE_ENDS)
        # The beginning of its end may be there.
        kept = 0 if end else next((n for n in range(5, 0, -1) if text.endswith(_PASTE_ENDS[:n])), 0)
        self._pasted = (self._pasted + text[: len(text) - kept])[:MOST_PASTED]
        self._left = rest if end else text[len(text) - kept :]
        if not end:
            return False
        found.append(PASTE + self._pasted)
        self._pasted = None
        return True

"""
JSON, as a tree: keys that are there twice, and numbers of any size, stand in it as they were written.
"""

from __future__ import annotations

import json
import re
from typing import Final

from txgear.web.pages.payloadtree import Enough, Node, Tree, Unlike, read

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORD: Final = re.compile(r"true|false|null")
_OPEN_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*')


def parse(text: str, cut: bool = False) -> Tree:
    """
    @param cut: whether this is only the beginning of it.
    @raise Unlike: it is no JSON.
    """
    reader = _Reader(text, cut, Tree())
    return read(reader.tree, cut, reader.whole)


class _Reader:
    def __init__(self, text: str, cut: bool, tree: Tree) -> None:
        self.at = 0
        self._text = text
        self._cut = cut
        self.tree = tree

    def whole(self) -> None:
        """All that there is: one value."""
        self.value(None, None, 0)
        self.skip_space()
        if self.at < len(self._text):
            raise Unlike(self.at, "something follows behind the end")

    def skip_space(self) -> None:
        match = _SPACE.match(self._text, self.at)
        assert match is not None
        self.at = match.end()

    def value(self, parent: Node | None, key: str | None, depth: int) -> None:
        """The value that begins here."""
        self.skip_space()
        first = self._text[self.at : self.at + 1]
        add = self.tree.add
        if first == "{":
            self._members(add(parent, Node(key, "object", "object", []), depth), depth)
        elif first == "[":
            self._elements(add(parent, Node(key, "array", "array", []), depth), depth)
        elif first == '"':
            try:
                add(parent, Node(key, "string", self._string()), depth)
            except Enough:
                begun = _OPEN_STRING.match(self._text, self.at)
                if begun is not None and begun.end() == len(self._text):
                    add(parent, Node(key, "string", self._text[self.at + 1 :], about="cut"), depth)
                raise
        elif (word := _WORD.match(self._text, self.at)) is not None:
            add(parent, Node(key, "word", self._take(word)), depth)
        elif (number := _NUMBER.match(self._text, self.at)) is not None:
            add(parent, Node(key, "number", self._take(number)), depth)
        else:
            raise self._wrong("a value is wanted")

    def _take(self, match: re.Match[str]) -> str:
        self.at = match.end()
        return match[0]

    def _string(self) -> str:
        match = _STRING.match(self._text, self.at)
        if match is None:
            raise self._wrong("a string is wrong", _OPEN_STRING)
        found: str = json.loads(self._take(match))
        return found

    def _wrong(self, why: str, begun: re.Pattern[str] = _SPACE) -> Exception:
        """What is not here may stand behind the place where the text is cut."""
        match = begun.match(self._text, self.at)
        end = self.at if match is None else match.end()
        # A word or an escape may be cut within.
        if self._cut and len(self._text) - end < len("\\u0000"):
            return Enough()
        return Unlike(end, why)

    def _members(self, node: Node, depth: int) -> None:
        self.at += 1
        self.skip_space()
        if self._ends("}"):
            return
        while True:
            self.skip_space()
            if self._text[self.at : self.at + 1] != '"':
                raise self._wrong("the name of a member is wanted")
            key = self._string()
            self.skip_space()
            if not self._ends(":"):
                raise self._wrong("a colon is wanted")
            self.value(node, key, depth + 1)
            if not self._goes_on("}"):
                return

    def _elements(self, node: Node, depth: int) -> None:
        self.at += 1
        self.skip_space()
        if self._ends("]"):
            return
        while True:
            self.value(node, None, depth + 1)
            if not self._goes_on("]"):
                return

    def _ends(self, mark: str) -> bool:
        """Whether this mark is here; it is passed."""
        found = self._text.startswith(mark, self.at)
        self.at += found
        return found

    def _goes_on(self, end: str) -> bool:
        self.skip_space()
        if self._ends(end):
            return False
        if self._ends(","):
            return True
        raise self._wrong(f"a comma or {end} is wanted")

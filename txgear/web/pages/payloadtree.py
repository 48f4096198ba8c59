"""
What is in a payload that has a structure: a tree of values, of bounded size, and its HTML.

Nothing is made of what is read but text: no number is computed, and no object comes to life.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from markupsafe import Markup, escape

MOST_NODES: Final = 1000
"""Values of one tree that are shown: some milliseconds, and 200 kB of HTML."""
MOST_DEPTH: Final = 40
"""How deep a value may lie within others."""
MOST_MARKS: Final = 1000
"""Runs of characters of one text that are marked, as nobody sees them; later ones are only escaped."""
OPEN_DEPTH: Final = 3
"""Values that lie less deep are open at first."""

_UNSEEN: Final = (
    (0x00, 0x08),
    (0x0B, 0x1F),
    (0x7F, 0x9F),
    (0xAD, 0xAD),
    (0x600, 0x605),
    (0x61C, 0x61C),
    (0x6DD, 0x6DD),
    (0x70F, 0x70F),
    (0x8E2, 0x8E2),
    (0x180E, 0x180E),
    (0x200B, 0x200F),
    (0x2028, 0x202E),
    (0x2060, 0x206F),
    (0xD800, 0xDFFF),
    (0xFEFF, 0xFEFF),
    (0xFFF9, 0xFFFB),
    (0x110BD, 0x110BD),
    (0x1D173, 0x1D17A),
    (0xE0001, 0xE007F),
)
"""Characters without a shape: controls, marks of direction and of invisible breaks, halves of characters."""


def _escaped(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:
        # A byte that is no UTF-8.
        return f"\\x{code - 0xDC00:02x}"
    if code == 0x0D:
        return "\\r"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_ESCAPES: Final = {code: _escaped(code) for first, last in _UNSEEN for code in range(first, last + 1)}
_RUN: Final = re.compile("([" + "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in _UNSEEN) + "]+)")
_MARK: Final = Markup('<span class="odd">{}</span>')


def decoded(raw: bytes) -> str:
    """
    Bytes as text; those that are no UTF-8 become halves of characters, which L{visible} writes as bytes.
    """
    return raw.decode("utf-8", "surrogateescape")


def visible(text: str) -> Markup:
    """Text in which all is seen that it has: what has no shape is escaped, and marked."""
    if _RUN.search(text) is None:
        return escape(text)
    pieces = _RUN.split(text, MOST_MARKS)
    rest = pieces.pop().translate(_ESCAPES)
    made = [
        _MARK.format(piece.translate(_ESCAPES)) if index % 2 else escape(piece)
        for index, piece in enumerate(pieces)
    ]
    return Markup("").join([*made, escape(rest)])


class Node:
    """
    A value.

    @ivar key: what it is called where it lies; C{None} where that has no names.
    @ivar kind: C{object}, C{array}, C{string}, C{number}, C{word}, or C{note} for what only tells of it.
    @ivar text: what it is; of a C{string} without its quotes, of what holds others its name.
    @ivar children: what it holds; C{None} for what holds nothing.
    @ivar about: what else there is to say, such as C{private}.
    """

    __slots__ = ("about", "children", "key", "kind", "text")

    def __init__(
        self, key: str | None, kind: str, text: str, children: list[Node] | None = None, about: str = ""
    ) -> None:
        self.key = key
        self.kind = kind
        self.text = text
        self.children = children
        self.about = about

    def __repr__(self) -> str:
        return f"<Node {self.key!r} {self.kind} {self.text!r} {self.children!r}>"


class Unlike(Exception):
    """
    This is not what it was read as.

    @ivar at: the place of the byte, or the character, where that shows.
    """

    def __init__(self, at: int, why: str) -> None:
        super().__init__(why)
        self.at = at


class Enough(Exception):
    """There is more than is shown."""


class Tree:
    """
    A tree that is being read.

    @ivar root: its first value.
    @ivar whole: whether all is in it.
    """

    def __init__(self) -> None:
        self.root: Node | None = None
        self.whole = True
        self._count = 0

    def add(self, parent: Node | None, node: Node, depth: int) -> Node:
        """
        One more value.

        @param parent: what holds it; C{None} for the first.
        @raise Enough: there is no room for it.
        """
        if self._count >= MOST_NODES or depth > MOST_DEPTH:
            raise Enough
        self._count += 1
        if parent is None:
            self.root = node
        else:
            assert parent.children is not None
            parent.children.append(node)
        return node

    def html(self) -> Markup:
        """The tree as lists within lists, of which each can be closed."""
        assert self.root is not None
        made: list[Markup | str] = [Markup('<div class="tree" tabindex="0"><ul>')]
        _write(made, self.root, 0)
        made.append(Markup("</ul></div>"))
        # What is no Markup is escaped here.
        return Markup("").join(made)


_ITEM: Final = Markup("<li>")
_ITEM_END: Final = Markup("</li>")
_KEY: Final = Markup('<span class="key">')
_SOFT: Final = Markup('<span class="soft">')
_SPAN_END: Final = Markup("</span>")
_KINDS: Final = {kind: Markup(f'<span class="{kind}">') for kind in ("string", "number", "word")}
_OPENED: Final = Markup("<details open><summary>")
_CLOSED: Final = Markup("<details><summary>")
_WITHIN: Final = Markup("</summary><ul>")
_HOLDER_END: Final = Markup("</ul></details>")


def read(tree: Tree, cut: bool, whole: Callable[[], None]) -> Tree:
    """
    Read a payload.

    @param cut: whether this is only the beginning of it.
    @param whole: reads it into the tree.
    @return: the tree.
    @raise Unlike: it is not what it was taken for.
    """
    try:
        whole()
    except Enough:
        tree.whole = False
    if cut:
        tree.whole = False
    if tree.root is None:
        raise Unlike(0, "it has no value")
    return tree


def _write(made: list[Markup | str], node: Node, depth: int) -> None:
    """Write a value, and all in it, as pieces of HTML."""
    made.append(_ITEM)
    if node.children is not None:
        made.append(_OPENED if depth < OPEN_DEPTH else _CLOSED)
    about = [" ", _SOFT, visible(node.about), _SPAN_END] if node.about else []
    if node.key is not None:
        made += [_KEY, visible(node.key), _SPAN_END, *about, ": "]
    if node.children is None:
        quote = '"' if node.kind == "string" else ""
        made += [_KINDS[node.kind], quote, visible(node.text), quote, _SPAN_END]
        if node.key is None:
            made += about
    else:
        made += [visible(node.text), " ", _SOFT, f"{len(node.children):,}", _SPAN_END, _WITHIN]
        for child in node.children:
            _write(made, child, depth + 1)
        made.append(_HOLDER_END)
    made.append(_ITEM_END)

"""
What a job carries, for people to read: as text, as a tree, or byte by byte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from markupsafe import Markup

from txgear.broker.operators.inspection import MOST_SHOWN
from txgear.protocol.packets import Data, Pieces
from txgear.web.pages import payloadjson, payloadphp
from txgear.web.pages.payloadtree import Tree, Unlike, decoded, visible

MOST_HEX: Final = 16 * 1024
"""Bytes that are shown one by one: a thousand lines."""
_ROW: Final = 16
_CONTROLS: Final = bytes(byte for byte in range(0x20) if byte not in b"\t\n\r\f\x1b")
_HALVES: Final = "".join(map(chr, range(0xDC80, 0xDD00)))

Form = Literal["text", "json", "php", "hex"]
FORMS: Final[dict[Form, str]] = {"text": "Text", "json": "JSON", "php": "PHP", "hex": "Bytes"}
"""What the forms are called in which it can be seen."""


class Shown(NamedTuple):
    """
    A payload, as it is shown.

    @ivar form: in which form.
    @ivar html: that.
    @ivar size: bytes that it has.
    @ivar shown: how many of them are shown, its first.
    @ivar is_whole: whether all of these are.
    @ivar why: why it is not shown in the form that was asked for; empty where it is.
    """

    form: Form
    html: Markup
    size: int
    shown: int
    is_whole: bool
    why: str = ""


def head(data: Data) -> bytes:
    """The first bytes, as many as are shown at the most."""
    if not isinstance(data, Pieces):
        return bytes(data[:MOST_SHOWN])
    found = bytearray()
    for chunk in data.chunks:
        found += chunk[: MOST_SHOWN - len(found)]
    return bytes(found)


def show(raw: bytes, size: int, form: Form | None) -> Shown:
    """
    @param raw: its first bytes: L{MOST_SHOWN}, or all of them.
    @param size: how many it has.
    @param form: the form that is wanted; C{None} for the one that suits it.
    """
    cut = len(raw) < size
    if form in ("json", "php"):
        try:
            return _of_tree(form, _TREES[form](raw, cut), raw, size)
        except Unlike as error:
            name = "no JSON" if form == "json" else "not what PHP's serialize() makes"
            why = f"This is {name}: {error}, at byte {error.at:,}."
            return (_hex if _is_binary(raw, cut) else _text)(raw, size)._replace(why=why)
    if form is None:
        return _guessed(raw, size, cut)
    return (_hex if form == "hex" else _text)(raw, size)


def _json(raw: bytes, cut: bool) -> Tree:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if not cut or len(raw) - error.start >= 4:
            raise Unlike(error.start, "the text is no UTF-8") from error
        text = raw[: error.start].decode("utf-8")
    try:
        return payloadjson.parse(text, cut)
    except Unlike as error:
        # Its place is one of characters.
        error.at = len(text[: error.at].encode("utf-8"))
        raise


_TREES: Final[dict[Form, Callable[[bytes, bool], Tree]]] = {"json": _json, "php": payloadphp.parse}


def _of_tree(form: Form, tree: Tree, raw: bytes, size: int) -> Shown:
    return Shown(form, tree.html(), size, len(raw), tree.whole)


def _guessed(raw: bytes, size: int, cut: bool) -> Shown:
    for form, read in _TREES.items():
        try:
            tree = read(raw, cut)
        except Unlike:
            continue
        assert tree.root is not None
        # A number alone is rather a number in text than JSON.
        if form == "php" or tree.root.children is not None:
            return _of_tree(form, tree, raw, size)
    return (_hex if _is_binary(raw, cut) else _text)(raw, size)


def _is_binary(raw: bytes, cut: bool) -> bool:
    """Whether it makes little sense as text."""
    if b"\0" in raw:
        return True
    controls = len(raw) - len(raw.translate(None, _CONTROLS))
    lost = len(raw) - len(raw.decode("utf-8", "ignore").encode("utf-8"))
    # Of what is cut the last character may be half.
    return (controls + max(lost - 3 * cut, 0)) * 10 > len(raw)


def _without_half(text: str, cut: bool) -> str:
    """Without the part of a character at the end of what is cut."""
    if cut:
        return text[:-3] + text[-3:].rstrip(_HALVES)
    return text


def _text(raw: bytes, size: int) -> Shown:
    text = _without_half(decoded(raw), len(raw) < size)
    return Shown(
        "text", Markup('<pre tabindex="0">\n{}</pre>').format(visible(text)), size, len(raw), len(raw) == size
    )


def _hex(raw: bytes, size: int) -> Shown:
    shown = raw[:MOST_HEX]
    lines = []
    for at in range(0, len(shown), _ROW):
        row = shown[at : at + _ROW]
        left, right = row[:8].hex(" "), row[8:].hex(" ")
        letters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        lines.append(f"{at:08x}  {left:23}  {right:23}  {letters}")
    html = Markup('<pre class="hex" tabindex="0">\n{}</pre>').format("\n".join(lines))
    return Shown("hex", html, size, len(shown), len(shown) == size)

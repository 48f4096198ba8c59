"""
What PHP's C{serialize()} makes, as a tree. Nothing of it is brought to life: an object is a class's name and
members.
"""

from __future__ import annotations

import re
from typing import Final

from txgear.broker.words import number, verb
from txgear.web.pages.payloadtree import Enough, Node, Tree, Unlike, decoded, read

MOST_KEY: Final = 40
"""
Characters of a key that are said where a reference leads. Each of many may lead through the same long one,
and they would be a thousand times as long as the payload.
"""
_LONGEST: Final = 10
_LENGTH: Final = re.compile(rb"([0-9]{1,10}):")
_INTEGER: Final = re.compile(rb"([+-]?[0-9]{1,20});")
_FLOAT: Final = re.compile(rb"(NAN|-?INF|[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?);")
_TRUTH: Final = re.compile(rb"([01]);")
_NUMBER: Final = re.compile(rb"([0-9]{1,10});")
_ESCAPE: Final = re.compile(rb"\\([0-9a-fA-F]{2})")
_REFERENCES: Final = {b"R": "reference to", b"r": "the same object as"}
KINDS: Final = b"abidsSNOCERr"
"""What a value can begin with."""


def parse(raw: bytes, cut: bool = False) -> Tree:
    """
    @param cut: whether this is only the beginning of it.
    @raise Unlike: PHP would not have made it.
    """
    reader = _Reader(raw, cut)
    return read(reader.tree, cut, reader.whole)


class _Reader:
    def __init__(self, raw: bytes, cut: bool) -> None:
        self.at = 0
        self.tree = Tree()
        self._raw = raw
        self._cut = cut
        # Where values stand to which references lead, by their numbers less one.
        self._places: list[str] = []

    def whole(self) -> None:
        """All that there is: one value."""
        self.value(None, None, "", "", 0)
        if self.at < len(self._raw):
            raise Unlike(self.at, "something follows behind the end")

    def value(self, parent: Node | None, key: str | None, about: str, path: str, depth: int) -> None:
        """
        The value that begins here.

        @param about: what there is to say of its key.
        @param path: where it stands.
        """
        kind = self._raw[self.at : self.at + 1]
        if not kind or kind not in KINDS:
            raise self._wrong("a value is wanted")
        if kind == b"N":
            self._expect(b"N;")
            self._add(parent, Node(key, "word", "null", about=about), path, depth)
            return
        self._expect(kind + b":")
        if kind == b"b":
            word = "true" if self._match(_TRUTH, "0 or 1 is wanted") == b"1" else "false"
            self._add(parent, Node(key, "word", word, about=about), path, depth)
        elif kind in (b"i", b"d"):
            number = self._match(_INTEGER if kind == b"i" else _FLOAT, "a number is wanted")
            self._add(parent, Node(key, "number", number.decode("ascii"), about=about), path, depth)
        elif kind in (b"s", b"S"):
            text, is_whole = self._string(kind == b"S")
            ended = about if is_whole else f"{about} cut".strip()
            self._add(parent, Node(key, "string", decoded(text), about=ended), path, depth)
            if not is_whole:
                raise Enough
            self._expect(b";")
        elif kind == b"E":
            name = decoded(self._named())
            self._expect(b";")
            self._add(parent, Node(key, "word", f"enum {name}", about=about), path, depth)
        elif kind in _REFERENCES:
            self._reference(parent, Node(key, "word", _REFERENCES[kind], about=about), kind, path, depth)
        else:
            self._holder(kind, parent, Node(key, "array", "array", [], about), path, depth)

    def _add(self, parent: Node | None, node: Node, path: str, depth: int) -> None:
        self.tree.add(parent, node, depth)
        self._places.append(path)

    def _reference(self, parent: Node | None, node: Node, kind: bytes, path: str, depth: int) -> None:
        begun = self.at
        number = int(self._match(_NUMBER, "a number is wanted"))
        if not 0 < number <= len(self._places):
            raise Unlike(begun, f"a reference leads to value {number}, which there is not")
        node.text += f" {self._places[number - 1] or 'the whole'}"
        self.tree.add(parent, node, depth)
        if kind == b"r":
            # It has a number of its own; a reference is what it leads to.
            self._places.append(path)

    def _holder(self, kind: bytes, parent: Node | None, node: Node, path: str, depth: int) -> None:
        if kind != b"a":
            node.kind = "object"
            node.text = decoded(self._named())
            self._expect(b":")
        count = int(self._match(_LENGTH, "a number is wanted"))
        self._expect(b"{")
        self._add(parent, node, path, depth)
        if kind == b"C":
            # What the class itself has made: nobody else can tell what it means.
            own, is_whole = self._taken(count)
            about = "" if is_whole else "cut"
            self.tree.add(node, Node(None, "string", decoded(own), about=about), depth + 1)
            if not is_whole:
                raise Enough
        else:
            for _ in range(count):
                key, about = self._key(kind == b"O")
                self.value(node, key, about, f"{path}[{_short(key)}]", depth + 1)
        self._expect(b"}")

    def _key(self, of_object: bool) -> tuple[str, str]:
        """
        @return: a key, and what there is to say of it.
        """
        kind = self._raw[self.at : self.at + 2]
        if kind == b"i:":
            self.at += 2
            return self._match(_INTEGER, "a number is wanted").decode("ascii"), ""
        if kind not in (b"s:", b"S:"):
            raise self._wrong("a key is wanted")
        self.at += 2
        key, is_whole = self._string(kind == b"S:")
        if not is_whole:
            raise Enough
        self._expect(b";")
        if of_object and key.startswith(b"\0"):
            owner, ended, name = key[1:].partition(b"\0")
            if ended:
                return decoded(name), "protected" if owner == b"*" else f"private of {decoded(owner)}"
        return decoded(key), ""

    def _named(self) -> bytes:
        """The name of a class."""
        name, is_whole = self._string(False)
        if not is_whole:
            raise Enough
        return name

    def _string(self, is_escaped: bool) -> tuple[bytes, bool]:
        """
        A string with its length.

        @return: it, and whether that is all of it.
        """
        count = int(self._match(_LENGTH, "a length is wanted"))
        self._expect(b'"')
        found, is_whole = self._escaped(count) if is_escaped else self._taken(count)
        if is_whole:
            self._expect(b'"')
        return found, is_whole

    def _too_few(self, wanted: int, there: int) -> Unlike:
        are = verb(wanted, "is", "are")
        return Unlike(
            self.at,
            f"{number(wanted, 'byte')} {are} wanted, and there {verb(there, 'is', 'are')} {there:,}",
        )

    def _taken(self, count: int) -> tuple[bytes, bool]:
        found = self._raw[self.at : self.at + count]
        is_whole = len(found) == count
        if not is_whole and not self._cut:
            raise self._too_few(count, len(found))
        self.at += len(found)
        return found, is_whole

    def _escaped(self, count: int) -> tuple[bytes, bool]:
        found = bytearray()
        while len(found) < count:
            match = _ESCAPE.match(self._raw, self.at)
            if match is not None:
                found.append(int(match[1], 16))
                self.at = match.end()
                continue
            byte = self._raw[self.at : self.at + 1]
            if byte == b"\\":
                raise self._wrong("an escape is wrong")
            if not byte:
                if not self._cut:
                    raise self._too_few(count, len(found))
                return bytes(found), False
            found += byte
            self.at += 1
        return bytes(found), True

    def _match(self, pattern: re.Pattern[bytes], why: str) -> bytes:
        match = pattern.match(self._raw, self.at)
        if match is None:
            raise self._wrong(why)
        self.at = match.end()
        return match[1]

    def _expect(self, mark: bytes) -> None:
        if not self._raw.startswith(mark, self.at):
            raise self._wrong(f"{mark.decode('ascii')} is wanted")
        self.at += len(mark)

    def _wrong(self, why: str) -> Exception:
        """What is not here may stand behind the place where the bytes are cut."""
        if self._cut and len(self._raw) - self.at <= 2 * _LONGEST + 4:
            return Enough()
        return Unlike(self.at, why)


def _short(key: str) -> str:
    return key if len(key) <= MOST_KEY else f"{key[: MOST_KEY - 1]}\N{HORIZONTAL ELLIPSIS}"

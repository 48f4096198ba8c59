"""
Chunks: what a store keeps of the history of figures.

A chunk has some steps of some functions. Its number says of which span it is and when it begins, so that old
ones are found without being read. What is in it says the same, with the names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct, error
from typing import Final, NamedTuple

from txgear.server.figurerows import ROW

VERSION: Final = 1
MOST_PARTS: Final = 2048
"""Chunks of one block of steps at the most: each has one name at the least."""
PART_BYTES: Final = 32 * 1024
"""Bytes of a chunk, about: to write it takes a store some milliseconds."""

_HEAD: Final = Struct("<BBqB")
_NAME: Final = Struct("<BH")


class Block(NamedTuple):
    """
    Some steps, one after the other.

    @ivar span: which span they are of: its place in the list of spans.
    @ivar first: the number of the first, by the wall clock.
    @ivar present: a byte for each: whether there are figures of it.
    """

    span: int
    first: int
    present: bytes


Named = tuple[int, bytes, bytes]
"""A kind, a name, and the rows of a block, one after the other."""


def number_of(span: int, block: int, part: int = 0) -> int:
    """
    The number of a chunk.

    @param block: how many blocks of this length there were since the epoch.
    """
    return (block * 2 + span) * MOST_PARTS + part + 1


def place_of(number: int) -> tuple[int, int]:
    """
    @return: the span and the block of a chunk.
    """
    block, span = divmod((number - 1) // MOST_PARTS, 2)
    return span, block


def parts(block: Block, series: Iterable[Named]) -> Iterator[bytes]:
    """What is to be kept of a block, in parts of about L{PART_BYTES}."""
    head = _HEAD.pack(VERSION, block.span, block.first, len(block.present)) + block.present
    part = bytearray(head)
    for kind, name, rows in series:
        if len(part) >= PART_BYTES:
            yield bytes(part)
            part = bytearray(head)
        part += _NAME.pack(kind, len(name)) + name + rows
    yield bytes(part)


def read(chunk: bytes) -> tuple[Block, list[Named]]:
    """
    What is in a chunk.

    @raise ValueError: it is damaged, or of another version.
    """
    try:
        version, span, first, steps = _HEAD.unpack_from(chunk)
        if version != VERSION:
            raise ValueError(f"a chunk of the version {version}")
        place = _HEAD.size + steps
        block = Block(span, first, chunk[_HEAD.size : place])
        series: list[Named] = []
        while place < len(chunk):
            kind, length = _NAME.unpack_from(chunk, place)
            begin = place + _NAME.size + length
            place = begin + steps * ROW
            if place > len(chunk):
                raise ValueError("a chunk is cut off")
            series.append((kind, chunk[begin - length : begin], chunk[begin:place]))
    except error as damage:
        raise ValueError(f"a chunk is damaged: {damage}") from damage
    return block, series

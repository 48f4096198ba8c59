"""
Long results in pieces that are made JSON one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from txgear.protocol.packets import Data, Pieces

MOST_PIECE: Final = 256 * 1024
"""Bytes that are made JSON at once: a millisecond."""


def pieces(data: Data, most: int = MOST_PIECE) -> Iterator[bytes]:
    """
    Bytes in pieces; at least one, which may be empty. No character of UTF-8 is cut at the end of a piece, but
    where C{data} came cut.

    @param most: bytes of a piece.
    """
    empty = True
    for chunk in data.chunks if isinstance(data, Pieces) else (data,):
        at = 0
        while at < len(chunk):
            end = at + most
            while at + most - 4 < end < len(chunk) and chunk[end] & 0xC0 == 0x80:
                end -= 1
            yield bytes(chunk[at:end])
            empty = False
            at = end
    if empty:
        yield b""

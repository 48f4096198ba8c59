"""
A connection's bytes as lines for people: each packet by its name, with its arguments.

What a packet declares costs no memory here: of a long one the beginning is kept, and the rest counted.
Tokens are cut: of those that have the form of one the ID is left. So are the keys of workers.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

from txgear.broker.words import number
from txgear.protocol.constants import (
    HEADER_SIZE,
    LOGIN,
    MALFORMED,
    REQUEST_MAGIC,
    RESPONSE_MAGIC,
    SET_CLIENT_ID,
    WORKER_GONE,
    WORKER_HELLO,
)
from txgear.protocol.packets import PACKETS, PRIVATE_PACKETS, Decoder
from txgear.protocol.textlines import shown, shown_word
from txgear.security.tokens import token_id, without_secrets

KEPT: Final = 16 * 1024
"""Bytes of a packet or a line that are looked at: more than its names and handles take."""

SHOWN: Final = 100
"""Bytes of an argument or a line that are shown. Of data that is longer only the size is."""

KNOWN: Final = {**PACKETS, **PRIVATE_PACKETS}

_KEY: Final = re.compile(rb"(?i)[0-9a-f]{16,}")
"""The key of a worker, or one with some digits too many or too few."""

_CREDENTIALS: Final = {
    # A wrong token may be another secret, or a right one with a letter too many.
    LOGIN: re.compile(rb"(?s).+"),
    SET_CLIENT_ID: re.compile(rb"(?s)(?<=\Atoken=)[^;]+"),
    WORKER_HELLO: _KEY,
    WORKER_GONE: _KEY,
}
"""By packet, what of its arguments says who the sender is."""

_AUTHORIZATION: Final = re.compile(rb"(?i)(?<=\Aauthorization:).+")
"""The same of a line of HTTP."""

_header = struct.Struct(">4sII")


class PacketView:
    """
    What one side of a connection says, a line of text for each packet.

    It shows also what no server would take: types that are unknown, packets that lack arguments, and
    bytes that are no packet at all. After these there are only bytes, as nobody knows where a packet begins.
    """

    def __init__(self, magic: bytes) -> None:
        """
        @param magic: what this side's packets begin with: L{REQUEST_MAGIC}, or L{RESPONSE_MAGIC}.
        """
        self._magic = magic
        self._lost = False
        self._begin()

    def _begin(self) -> None:
        self._kept = bytearray()
        self._came = 0
        self._wanted = HEADER_SIZE

    def feed(self, data: bytes) -> Iterator[str]:
        """Take what arrived, yield a line for each packet that is whole with it. To be used up."""
        at, end = 0, len(data)
        while at < end:
            if self._lost:
                yield f"{number(end - at, 'byte')}: {_shortened(data[at : at + KEPT], end - at)}"
                return
            is_text = (self._kept[0] if self._kept else data[at]) != 0
            if is_text:
                stop = data.find(b"\n", at) + 1
                whole = stop > 0
                stop = stop or end
            else:
                stop = min(at + self._wanted - self._came, end)
                whole = stop == at + self._wanted - self._came
            self._kept += data[at : min(stop, at + KEPT - len(self._kept))]
            self._came += stop - at
            at = stop
            if whole and not is_text and self._came == HEADER_SIZE:
                magic, _, size = _header.unpack(self._kept)
                self._lost = magic not in (REQUEST_MAGIC, RESPONSE_MAGIC)
                self._wanted += 0 if self._lost else size
                whole = self._came == self._wanted
            if whole:
                yield self._text() if is_text else self._packet()
                self._begin()

    def end(self) -> Iterator[str]:
        """Nothing more will arrive: a line for what has not come whole, if there is such."""
        if not self._came:
            return
        if self._kept[0]:
            yield f"{self._text()} [no end of line]"
        elif self._came < HEADER_SIZE:
            came = number(self._came, "byte")
            yield f"{came} of a header of {HEADER_SIZE}: {_shortened(self._kept, self._came)}"
        else:
            wanted = number(self._wanted, "byte")
            yield f"{_name(_header.unpack_from(self._kept)[1])} [{self._came:,} of {wanted}]"
        self._begin()

    def _text(self) -> str:
        line = bytes(self._kept).removesuffix(b"\n").removesuffix(b"\r")
        return f"text: {_shortened(_AUTHORIZATION.sub(_cut, line), self._came)}"

    def _packet(self) -> str:
        """The line for a packet of which the beginning, or all, is kept."""
        magic, kind, size = _header.unpack_from(self._kept)
        if self._lost:
            return f"{number(self._came, 'byte')} that begin no packet: {_shortened(self._kept, self._came)}"
        body = self._kept[HEADER_SIZE:]
        if kind not in KNOWN:
            return f"{_name(kind)} ({number(size, 'byte')})"
        decoder = Decoder(magic)
        decoder.extended = True
        [(found, cut)] = decoder.feed(_header.pack(magic, kind, len(body)) + body)
        arguments = list(map(bytes, cut))
        last_size = size - len(body) + (len(arguments[-1]) if arguments else 0)
        words = [_name(kind)]
        if kind in _CREDENTIALS and found != MALFORMED:
            arguments = [_CREDENTIALS[kind].sub(_cut, argument) for argument in arguments]
        if found == MALFORMED:
            words.append(f"[lacks arguments] {_shortened(body, size)}")
        elif arguments:
            *first, last = arguments
            words += map(_argument, first)
            words.append(_data(last, last_size) if KNOWN[kind][2] else _argument(last, last_size))
        elif size:
            words.append(f"[a body of {number(size, 'byte')}, where there is to be none]")
        if magic != self._magic:
            words.append("[with the magic of the other direction]")
        return " ".join(words)


def _cut(found: re.Match[bytes]) -> bytes:
    """What is shown of a token: its ID, where it is one without a letter too many or too few."""
    return b"..." if token_id(found[0]) is None else without_secrets(found[0])


def _name(kind: int) -> str:
    return KNOWN[kind][0] if kind in KNOWN else f"[unknown type {kind}]"


def _shortened(raw: bytes | bytearray, size: int) -> str:
    """The beginning of some bytes as text; tabs, which part columns, stay."""
    columns = without_secrets(bytes(raw))[:SHOWN].split(b"\t")
    text = b"\t".join(map(shown, columns)).decode("utf-8")
    return f"{text}... ({number(size, 'byte')})" if len(raw) > SHOWN else text


def _argument(value: bytes, size: int = 0) -> str:
    if not value:
        return '""'
    text = shown_word(without_secrets(value)[:SHOWN]).decode("utf-8")
    return f"{text}...({number(max(size, len(value)), 'byte')})" if len(value) > SHOWN else text


def _data(value: bytes, size: int) -> str:
    return (
        f'"{shown(without_secrets(value)).decode("utf-8")}"' if size <= SHOWN else f"({number(size, 'byte')})"
    )

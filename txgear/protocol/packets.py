"""
Binary packets and lines of text, from bytes and to bytes.

Nothing here does I/O. A L{Decoder} is fed what arrived, in whatever cuts, and
yields what is whole; L{request} and L{response} make the bytes of one packet.

A packet is a header of 12 bytes (magic, type, length of the body, both numbers
big-endian) and a body. Types with a data part have each argument ended by a
NUL and all the rest as data; types without one have NULs only between their
arguments (PROTOCOL, "Binary Packet").
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from txgear.errors import PacketTooLarge, ProtocolError
from txgear.protocol import constants
from txgear.protocol.constants import (
    HEADER_SIZE,
    LAST_TYPE,
    MALFORMED,
    MAX_LINE,
    MAX_PACKET,
    REQUEST_MAGIC,
    RESPONSE_MAGIC,
    TEXT,
    WORK_STATUS,
    WRONG_MAGIC,
)

PIECES_FROM: Final = 64 * 1024
"""
Bytes of a body from which its data travels as L{Pieces}: below it one copy
costs less than the care, above it each copy costs as much as the system calls.
"""

_header = struct.Struct(">4sII")
_pack = _header.pack
_unpack = _header.unpack_from


class Pieces:
    """
    A large data part, as the pieces in which it arrived: it is passed on
    without ever being joined.

    @ivar chunks: the bytes, in order; none of them is empty.
    """

    __slots__ = ("chunks", "size")

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self.chunks = [chunk for chunk in chunks if chunk]
        self.size = sum(map(len, self.chunks))

    def __len__(self) -> int:
        return self.size

    def __bytes__(self) -> bytes:
        return b"".join(self.chunks)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (bytes, Pieces)):
            return len(other) == self.size and bytes(other) == bytes(self)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(bytes(self))

    def __repr__(self) -> str:
        return f"<{self.size} bytes in {len(self.chunks)} pieces>"


Data: TypeAlias = bytes | Pieces
"""An argument: bytes, or for the data part of a large packet L{Pieces}."""

PACKETS: Final[dict[int, tuple[str, int, bool]]] = {
    kind: (name, arguments, data)
    for name, arguments, data in (
        ("CAN_DO", 1, False),
        ("CANT_DO", 1, False),
        ("RESET_ABILITIES", 0, False),
        ("PRE_SLEEP", 0, False),
        ("UNUSED", 0, False),
        ("NOOP", 0, False),
        ("SUBMIT_JOB", 2, True),
        ("JOB_CREATED", 1, False),
        ("GRAB_JOB", 0, False),
        ("NO_JOB", 0, False),
        ("JOB_ASSIGN", 2, True),
        ("WORK_STATUS", 3, False),
        ("WORK_COMPLETE", 1, True),
        ("WORK_FAIL", 1, False),
        ("GET_STATUS", 1, False),
        ("ECHO_REQ", 0, True),
        ("ECHO_RES", 0, True),
        ("SUBMIT_JOB_BG", 2, True),
        ("ERROR", 2, False),
        ("STATUS_RES", 5, False),
        ("SUBMIT_JOB_HIGH", 2, True),
        ("SET_CLIENT_ID", 1, False),
        ("CAN_DO_TIMEOUT", 2, False),
        ("ALL_YOURS", 0, False),
        ("WORK_EXCEPTION", 1, True),
        ("OPTION_REQ", 1, False),
        ("OPTION_RES", 1, False),
        ("WORK_DATA", 1, True),
        ("WORK_WARNING", 1, True),
        ("GRAB_JOB_UNIQ", 0, False),
        ("JOB_ASSIGN_UNIQ", 3, True),
        ("SUBMIT_JOB_HIGH_BG", 2, True),
        ("SUBMIT_JOB_LOW", 2, True),
        ("SUBMIT_JOB_LOW_BG", 2, True),
        ("SUBMIT_JOB_SCHED", 7, True),
        ("SUBMIT_JOB_EPOCH", 3, True),
        # The protocol document gives REDUCE three arguments, gearmand and
        # libgearman send a fourth, empty one before the data. Three are cut
        # here; L{reduce_workload} takes the empty fourth off.
        ("SUBMIT_REDUCE_JOB", 3, True),
        ("SUBMIT_REDUCE_JOB_BACKGROUND", 3, True),
        ("GRAB_JOB_ALL", 0, False),
        ("JOB_ASSIGN_ALL", 4, True),
        ("GET_STATUS_UNIQUE", 1, False),
        ("STATUS_RES_UNIQUE", 6, False),
    )
    for kind in (getattr(constants, name),)
}
"""For each packet type its name, its number of arguments, and whether data follows them."""

PRIVATE_PACKETS: Final[dict[int, tuple[str, int, bool]]] = {
    kind: (name, arguments, data)
    for name, arguments, data in (
        ("SUBMIT_JOB_OPTIONS", 3, True),
        ("GET_RESULT", 5, False),
        ("RESULT", 4, True),
        ("GRAB_JOB_OPTIONS", 0, False),
        ("JOB_ASSIGN_OPTIONS", 5, True),
        ("WORK_BEAT", 1, False),
        ("JOB_WITHDRAWN", 2, False),
    )
    for kind in (getattr(constants, name),)
}
"""The same for the packets of this server's own, which a peer must have asked for."""

_PRIVATE_CUTS: Final = {
    kind: arguments - (0 if data else 1) for kind, (_, arguments, data) in PRIVATE_PACKETS.items()
}

_CUTS: Final = [0] + [PACKETS[kind][1] - (0 if PACKETS[kind][2] else 1) for kind in range(1, LAST_TYPE + 1)]
"""How many NULs end or part the arguments, by type; -1 is a type with no body at all."""

_HAS_DATA: Final = [False] + [PACKETS[kind][2] for kind in range(1, LAST_TYPE + 1)]

Packet = tuple["int | Data", ...]
"""A packet to be sent: its type first, then its arguments. Only the last one may be L{Pieces}."""

Received = tuple[int, "list[Data]"]
"""What the decoder yields: a packet type, L{TEXT}, L{WRONG_MAGIC} or L{MALFORMED}, and the arguments."""


class Decoder:
    """
    Cuts a stream of bytes into packets and lines.

    Memory grows with what has arrived, never with what a header declares, and
    a packet's arguments are cut within its declared body, never beyond it
    (gearmand looks for a NUL in all it has received, and loses the stream).

    @ivar extended: whether the packets of this server's own are known; may be set while L{feed} is under way.
    @ivar needed: bytes that an unfinished packet or line must have before it is
        worth another look; 0 when nothing is unfinished.
    """

    __slots__ = ("_foreign", "_held", "_parts", "extended", "limit", "magic", "needed")

    def __init__(self, magic: bytes = REQUEST_MAGIC, limit: int = MAX_PACKET) -> None:
        """
        @param magic: the magic of the packets expected: L{REQUEST_MAGIC} on a
            server, L{RESPONSE_MAGIC} on a client or worker.
        @param limit: bytes of the largest body that is taken.
        """
        self.magic = magic
        self._foreign = RESPONSE_MAGIC if magic == REQUEST_MAGIC else REQUEST_MAGIC
        self.limit = limit
        self.extended = False
        self._parts: list[bytes] = []  # what has arrived of an unfinished packet or line
        self._held = 0  # bytes in them
        self.needed = 0

    @property
    def missing(self) -> int:
        """Bytes that the unfinished packet still wants at least; 0 when nothing is unfinished."""
        return max(self.needed - self._held, 0)

    @property
    def held(self) -> int:
        """Bytes of the unfinished packet or line; 0 when nothing is unfinished."""
        return self._held

    def feed(self, data: bytes) -> Iterator[Received]:
        """
        Take what arrived, yield what is whole.

        The iterator must be used up before the next call; what was yielded
        before an error is valid.

        @raise PacketTooLarge: the header declares a body over the limit.
        @raise ProtocolError: an unknown magic or type, or a line without an
            end. Nothing can be decoded after it.
        """
        if self._parts:
            large = self.needed > PIECES_FROM
            self._keep(data)
            if self._held < self.needed:
                return
            parts, extra = self._parts, self._held - self.needed
            self._parts, self._held, self.needed = [], 0, 0
            if large:
                last = parts[-1]
                parts[-1], data = last[: len(last) - extra], last[len(last) - extra :]
                head = parts[0]
                kind = int.from_bytes(head[4:8], "big")
                parts[0] = head[HEADER_SIZE:]
                yield self._packet(head[:4], kind, parts)
            else:
                data = b"".join(parts)
        at, end = 0, len(data)
        expected = self.magic
        while at < end:
            if data[at]:
                stop = data.find(b"\n", at, at + MAX_LINE + 1)
                if stop < 0:
                    if end - at > MAX_LINE:
                        raise ProtocolError(f"a line of more than {MAX_LINE} bytes")
                    self.needed = end - at + 1
                    break
                yield TEXT, [data[at:stop].removesuffix(b"\r")]
                at = stop + 1
                continue
            start = at + HEADER_SIZE
            if start > end:
                self.needed = HEADER_SIZE
                break
            magic, kind, size = _unpack(data, at)
            if magic != expected and magic != self._foreign:
                raise ProtocolError("neither a Gearman packet nor a line of text")
            if 0 < kind <= LAST_TYPE:
                cuts = _CUTS[kind]
            elif self.extended and kind in PRIVATE_PACKETS:
                cuts = _PRIVATE_CUTS[kind]
            else:
                raise ProtocolError(f"no packet has the type {kind}")
            if size > self.limit:
                raise PacketTooLarge(size, self.limit)
            stop = start + size
            if stop > end:
                self.needed = HEADER_SIZE + size
                break
            if magic != expected or size > PIECES_FROM:
                yield self._packet(magic, kind, [data[start:stop]])
            else:
                arguments: list[Data]
                if cuts > 0:
                    arguments = data[start:stop].split(b"\0", cuts)  # type: ignore[assignment]
                    if len(arguments) <= cuts:
                        yield _completed(kind, arguments, cuts)
                        at = stop
                        continue
                elif cuts == 0:
                    arguments = [data[start:stop]]
                else:
                    arguments = []
                yield kind, arguments
            at = stop
        if at < end:
            self._keep(data[at:] if at else data)

    def _keep(self, data: bytes) -> None:
        """
        Hold a part of something unfinished.

        Small parts are merged like the digits of a binary counter, so that a
        peer that sends byte by byte costs neither memory nor quadratic time.
        """
        parts = self._parts
        self._held += len(data)
        while parts and len(parts[-1]) <= len(data) < PIECES_FROM:
            data = parts.pop() + data
        parts.append(data)

    def _packet(self, magic: bytes, kind: int, parts: list[bytes]) -> Received:
        """Cut a large body, or refuse a packet of the other direction."""
        if magic != self.magic:
            return WRONG_MAGIC, []
        cuts, has_data = _shape(kind)
        if cuts < 0:
            return kind, []
        if not has_data:
            parts = [b"".join(parts)]
        elif len(parts) > 1 and parts[0].count(b"\0") < cuts:
            parts = [parts[0] + parts[1], *parts[2:]]
            if parts[0].count(b"\0") < cuts:
                parts = [b"".join(parts)]
        head: list[Data] = list(parts[0].split(b"\0", cuts))
        if len(head) <= cuts:
            return _completed(kind, head, cuts)
        if has_data:
            last = head.pop()
            head.append(Pieces([last, *parts[1:]]))  # type: ignore[list-item]
        return kind, head


def _shape(kind: int) -> tuple[int, bool]:
    """The cuts of a type, and whether data follows them."""
    if kind <= LAST_TYPE:
        return _CUTS[kind], _HAS_DATA[kind]
    return _PRIVATE_CUTS[kind], PRIVATE_PACKETS[kind][2]


def _completed(kind: int, arguments: list[Data], cuts: int) -> Received:
    """
    What becomes of a packet with too few NULs: where only the one before an
    empty data part is missing the packet is good (gearmand waits for that NUL
    in the next packet), otherwise it is malformed. Of a WORK_STATUS the
    denominator may be missing: one call of Perl's worker leaves it out.
    """
    if len(arguments) == cuts and (_shape(kind)[1] or kind == WORK_STATUS):
        return kind, [*arguments, b""]
    return MALFORMED, [(PACKETS.get(kind) or PRIVATE_PACKETS[kind])[0].encode("ascii")]


def reduce_workload(rest: Data) -> bytes:
    """
    The workload of a REDUCE submit, from all that follows its reducer.

    libgearman sends one more argument there, always an empty one; without it
    the packet is what the protocol document describes.
    """
    return bytes(rest).removeprefix(b"\0")


def request(kind: int, *arguments: bytes) -> bytes:
    """The bytes of one packet to a server. The last argument may hold NULs, the others none."""
    body = b"\0".join(arguments)
    return _pack(REQUEST_MAGIC, kind, len(body)) + body


def response(kind: int, *arguments: bytes) -> bytes:
    """The bytes of one packet from a server. The last argument may hold NULs, the others none."""
    body = b"\0".join(arguments)
    return _pack(RESPONSE_MAGIC, kind, len(body)) + body


def large(magic: bytes, kind: int, arguments: Sequence[bytes], data: Data) -> list[bytes]:
    """
    One packet as chunks to write one after another, its data not copied.

    @param arguments: those before the data; none may hold a NUL.
    """
    chunks = data.chunks if isinstance(data, Pieces) else [data]
    head = b"".join([argument + b"\0" for argument in arguments])
    return [_pack(magic, kind, len(head) + len(data)) + head, *chunks]


_decimal = re.compile(rb"\s*([+-]?[0-9]{1,30})")


def decimal(text: bytes) -> int:
    """The number that a text starts with, as C's C{strtoll} reads it, up to 30 digits; 0 for none."""
    found = _decimal.match(text)
    return int(found[1]) if found else 0

"""
Binary packets and lines of text, from bytes and to bytes.

Nothing here does I/O. A L{Decoder} is fed bytes as they arrive, in pieces of any
size, and yields whole packets and lines. L{request} and L{response} make the bytes
of one packet.

A packet is a header of 12 bytes (magic, type, length of the body, both numbers
big-endian) and a body. In types with a data part, a NUL ends each argument, and the
rest is the data. In types without one, NULs stand between the arguments only
(PROTOCOL, "Binary Packet").
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
    SWITCH_HTTP,
    TEXT,
    WORK_STATUS,
    WRONG_MAGIC,
)

PIECES_FROM: Final = 64 * 1024
"""
Bytes of a body above which its data is passed on as L{Pieces}. Below it, one copy is
cheaper than the care; above it, each copy costs as much as the system calls.
"""

_header = struct.Struct(">4sII")
pack_header = _header.pack
"""Makes the header of a packet from its magic, its type and the bytes of its body."""
_unpack = _header.unpack_from


class Pieces:
    """
    A large data part, as the pieces in which it arrived. It is passed on without
    being joined.

    @ivar chunks: the bytes, in order; none of them is empty.
    @ivar size: bytes of all chunks.
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
"""An argument: bytes, or L{Pieces} for the data part of a large packet."""

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
        # In the protocol document REDUCE has three arguments; gearmand and
        # libgearman send a fourth, empty one before the data. Three are read
        # here, and L{reduce_workload} takes the empty fourth off.
        ("SUBMIT_REDUCE_JOB", 3, True),
        ("SUBMIT_REDUCE_JOB_BACKGROUND", 3, True),
        ("GRAB_JOB_ALL", 0, False),
        ("JOB_ASSIGN_ALL", 4, True),
        ("GET_STATUS_UNIQUE", 1, False),
        ("STATUS_RES_UNIQUE", 6, False),
    )
    for kind in (getattr(constants, name),)
}
"""For each packet type, its name, the number of its arguments, and whether data follows them."""

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
        ("LOGIN", 1, False),
        ("LOGGED_IN", 1, False),
        ("WORKER_STATE", 1, False),
        ("STEER", 2, True),
        ("STEERED", 2, True),
        ("SWITCH_HTTP", 0, False),
        ("SWITCHED_HTTP", 0, False),
        ("WORKER_HELLO", 0, True),
        ("WORKER_WELCOME", 0, True),
        ("WORKER_GONE", 1, True),
        ("FUNCTION_LOAD", 0, True),
        ("FUNCTION_LOADS", 0, True),
        ("WORK_RETRY", 2, True),
        ("WORKER_OFFER", 0, True),
    )
    for kind in (getattr(constants, name),)
}
"""The same for this project's own packets, which a peer must have asked for."""

_PRIVATE_NULS: Final = {
    kind: arguments - (0 if data else 1) for kind, (_, arguments, data) in PRIVATE_PACKETS.items()
}

_NULS: Final = [0] + [PACKETS[kind][1] - (0 if PACKETS[kind][2] else 1) for kind in range(1, LAST_TYPE + 1)]
"""By type, how many NULs end or part the arguments; -1 for a type without a body."""

_HAS_DATA: Final = [False] + [PACKETS[kind][2] for kind in range(1, LAST_TYPE + 1)]

Packet = tuple["int | Data", ...]
"""A packet to be sent: its type first, then its arguments. Only the last one may be L{Pieces}."""

Received = tuple[int, "list[Data]"]
"""What L{Decoder} yields: a packet type, L{TEXT}, L{WRONG_MAGIC} or L{MALFORMED}, and the arguments."""


class Decoder:
    """
    A decoder of packets and lines from a stream of bytes.

    Memory grows with the bytes that have arrived, never with the length that a header
    declares. The arguments of a packet are looked for within its body, never beyond
    it (gearmand looks for a NUL in everything it has received, and loses its place
    in the stream).

    @ivar magic: the magic of the packets that are expected.
    @ivar limit: bytes of a body at the most; may be raised while L{feed} is under way.
    @ivar extended: whether this project's own packets are known; may be set while L{feed} is under way.
    @ivar needed: bytes that an unfinished packet or line must have before it is looked at again; 0
        when nothing is unfinished.
    """

    __slots__ = ("_buffered", "_foreign", "_parts", "_switch", "extended", "limit", "magic", "needed")

    def __init__(self, magic: bytes = REQUEST_MAGIC, limit: int = MAX_PACKET) -> None:
        """
        @param magic: the magic of the packets that are expected: L{REQUEST_MAGIC} in a
            server, L{RESPONSE_MAGIC} in a client or worker.
        @param limit: bytes of a body at the most.
        """
        self.magic = magic
        self._foreign = RESPONSE_MAGIC if magic == REQUEST_MAGIC else REQUEST_MAGIC
        self.limit = limit
        self.extended = False
        self._parts: list[bytes] = []  # of an unfinished packet or line
        self._buffered = 0  # bytes in the parts
        self.needed = 0
        self._switch = b"", 0  # what has come with the last SWITCH_HTTP, and where that ends

    def behind_switch(self) -> bytes:
        """
        What has arrived together with the SWITCH_HTTP that was yielded last, and stands behind it: where the
        peer speaks HTTP from now on, that is HTTP. It is told once.
        """
        (data, stop), self._switch = self._switch, (b"", 0)
        return data[stop:]

    @property
    def missing(self) -> int:
        """Bytes at the least that the unfinished packet lacks; 0 when nothing is unfinished."""
        return max(self.needed - self._buffered, 0)

    @property
    def buffered(self) -> int:
        """Bytes that have arrived of the unfinished packet or line; 0 when nothing is unfinished."""
        return self._buffered

    def feed(self, data: bytes) -> Iterator[Received]:
        """
        Take bytes that have arrived, and yield the packets and lines that are whole.

        The iterator must be exhausted before the next call. Packets that were yielded
        before an error are valid.

        @raise PacketTooLarge: a header declares a body over the limit.
        @raise ProtocolError: the magic or the type is unknown, or a line is too long.
            Nothing can be decoded after it.
        """
        if self._parts:
            large = self.needed > PIECES_FROM
            self._keep(data)
            if self._buffered < self.needed:
                return
            parts, extra = self._parts, self._buffered - self.needed
            self._parts, self._buffered, self.needed = [], 0, 0
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
        expected, limit = self.magic, self.limit
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
            foreign = magic != expected
            if foreign and magic != self._foreign:
                raise ProtocolError("neither a Gearman packet nor a line of text")
            if 0 < kind <= LAST_TYPE:
                nuls = _NULS[kind]
            elif self.extended and kind in PRIVATE_PACKETS:
                nuls = _PRIVATE_NULS[kind]
                if kind == SWITCH_HTTP:
                    self._switch = data, start + size
            else:
                raise ProtocolError(f"no packet has the type {kind}")
            if size > limit:
                # Whoever has just identified itself may send more.
                limit = self.limit
                if size > limit:
                    raise PacketTooLarge(size, limit)
            stop = start + size
            if stop > end:
                self.needed = HEADER_SIZE + size
                break
            if foreign or size > PIECES_FROM:
                yield self._packet(magic, kind, [data[start:stop]])
            else:
                arguments: list[Data]
                if nuls > 0:
                    arguments = data[start:stop].split(b"\0", nuls)  # type: ignore[assignment]
                    if len(arguments) <= nuls:
                        yield _completed(kind, arguments, nuls)
                        at = stop
                        continue
                elif nuls == 0:
                    arguments = [data[start:stop]]
                else:
                    arguments = []
                yield kind, arguments
            at = stop
        if at < end:
            self._keep(data[at:] if at else data)

    def _keep(self, data: bytes) -> None:
        """
        Keep a part of an unfinished packet or line.

        Small parts are joined like the digits of a binary counter: a peer that sends
        byte by byte costs neither much memory nor quadratic time.
        """
        parts = self._parts
        self._buffered += len(data)
        while parts and len(parts[-1]) <= len(data) < PIECES_FROM:
            data = parts.pop() + data
        parts.append(data)

    def _packet(self, magic: bytes, kind: int, parts: list[bytes]) -> Received:
        """What is to be yielded for a packet with a large body, or with the magic of the other direction."""
        if magic != self.magic:
            return WRONG_MAGIC, []
        nuls, has_data = _shape(kind)
        if nuls < 0:
            return kind, []
        if not has_data:
            parts = [b"".join(parts)]
        elif len(parts) > 1 and parts[0].count(b"\0") < nuls:
            parts = [parts[0] + parts[1], *parts[2:]]
            if parts[0].count(b"\0") < nuls:
                parts = [b"".join(parts)]
        head: list[Data] = list(parts[0].split(b"\0", nuls))
        if len(head) <= nuls:
            return _completed(kind, head, nuls)
        if has_data:
            last = head.pop()
            head.append(Pieces([last, *parts[1:]]))  # type: ignore[list-item]
        return kind, head


def _shape(kind: int) -> tuple[int, bool]:
    """How many NULs end or part the arguments of a type, and whether data follows them."""
    if kind <= LAST_TYPE:
        return _NULS[kind], _HAS_DATA[kind]
    return _PRIVATE_NULS[kind], PRIVATE_PACKETS[kind][2]


def _completed(kind: int, arguments: list[Data], nuls: int) -> Received:
    """
    What is to be yielded for a packet with too few NULs.

    If only the one before an empty data part is missing, the packet is good (gearmand
    waits for that NUL in the next packet); otherwise it is malformed. A WORK_STATUS
    may lack the denominator: one call of Perl's worker leaves it out.
    """
    if len(arguments) == nuls and (_shape(kind)[1] or kind == WORK_STATUS):
        return kind, [*arguments, b""]
    return MALFORMED, [(PACKETS.get(kind) or PRIVATE_PACKETS[kind])[0].encode("ascii")]


def reduce_workload(rest: Data) -> bytes:
    """
    The workload of a REDUCE submit.

    libgearman sends one more argument before it, always an empty one, which the
    protocol document does not have.

    @param rest: all that follows the reducer.
    """
    return bytes(rest).removeprefix(b"\0")


def request(kind: int, *arguments: bytes) -> bytes:
    """The bytes of one packet to a server. The last argument may hold NULs, the others none."""
    body = b"\0".join(arguments)
    return pack_header(REQUEST_MAGIC, kind, len(body)) + body


def response(kind: int, *arguments: bytes) -> bytes:
    """The bytes of one packet from a server. The last argument may hold NULs, the others none."""
    body = b"\0".join(arguments)
    return pack_header(RESPONSE_MAGIC, kind, len(body)) + body


def large(magic: bytes, kind: int, arguments: Sequence[bytes], data: Data) -> list[bytes]:
    """
    The bytes of one packet, as chunks to be written one after another; its data is not copied.

    @param arguments: the arguments before the data; none may hold a NUL.
    """
    chunks = data.chunks if isinstance(data, Pieces) else [data]
    head = b"".join([argument + b"\0" for argument in arguments])
    return [pack_header(magic, kind, len(head) + len(data)) + head, *chunks]


_decimal = re.compile(rb"\s*([+-]?[0-9]{1,30})")


def decimal(text: bytes) -> int:
    """The number at the beginning of a text, of up to 30 digits, as C's C{strtoll} reads it; 0 for none."""
    found = _decimal.match(text)
    return int(found[1]) if found else 0

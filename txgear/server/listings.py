"""
Lists as answers to text commands, which may be too long for one turn.

A list of a million jobs takes seconds to make. It is made some milliseconds at a time, and written as one
answer at the end, because C{gearadmin} reads until 5 ms of silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from twisted.internet.defer import Deferred, DeferredSemaphore

from txgear.errors import ServerError
from txgear.net.stream import DROP_FROM
from txgear.protocol import textlines
from txgear.protocol.packets import Data, Pieces
from txgear.server.turns import TURN_SECONDS, ShortTurns, Steps

AT_ONCE: Final = 50
"""Pieces of a list that is answered at once: with the longest names some milliseconds."""
LOOK_EVERY: Final = 32
"""Pieces between two looks at the time: some 20 microseconds, or with the longest names 3 ms."""
MOST_BYTES: Final = DROP_FROM // 2
"""Bytes of an answer at the most: a peer that leaves twice as many unread is dropped."""
LISTS_AT_ONCE: Final = 2
"""Lists that are gathered at the same time, for all peers: one that is long does not stop one that is not."""


class Listing:
    """
    A list answer, without the dot at its end.

    @ivar count: how many pieces it has.
    @ivar pieces: yields them; what it lists is to be taken down when it begins, as it changes meanwhile. It
        may raise a L{ServerError}, which is the answer then.
    @ivar waiting: while the next ones have to be waited for: fires when they are there. Meanwhile those that
        are yielded are empty. Only a long one has to wait.
    """

    __slots__ = ("count", "pieces", "waiting")

    def __init__(self, count: int, pieces: Callable[[], Iterator[bytes]]) -> None:
        self.count = count
        self.pieces = pieces
        self.waiting: Deferred[None] | None = None

    @property
    def long(self) -> bool:
        """Whether it is to be gathered."""
        return self.count > AT_ONCE

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces()) + textlines.END


def gather(
    stream: ShortTurns,
    listing: Listing,
    turn: DeferredSemaphore,
    seconds: Callable[[], float],
    done: Callable[[Data], None],
) -> Steps:
    """
    Gather a long list, once all that the peer was sent before has left: one that asks and asks, and never
    reads, is sent one answer. The work stops when the connection has ended.

    @param turn: lets in some at the same time.
    @param done: called with the answer.
    """
    yield from stream.until_caught_up()
    yield turn.acquire().addCallback(lambda acquired: None)
    try:
        pieces = listing.pieces()
        gathered: list[bytes] = []
        size = 0
        whole = failed = False
        while not whole and not stream.closing:
            part: list[bytes] = []
            end = seconds() + TURN_SECONDS
            try:
                while not whole and listing.waiting is None and seconds() < end:
                    # Each is a piece that may be empty, as not all are shown to everybody.
                    some = list(islice(pieces, LOOK_EVERY))
                    whole = not some
                    part += some
            except ServerError as error:
                gathered, part, size = [], [textlines.refused(error)], 0
                whole = failed = True
            gathered.append(b"".join(part))
            size += len(gathered[-1])
            if size > MOST_BYTES:
                too_long = ServerError(f"The list has more than {MOST_BYTES} bytes", "TOO_LONG")
                gathered, whole = [textlines.refused(too_long)], True
            elif whole and not failed:
                gathered.append(textlines.END)
            waiting, listing.waiting = listing.waiting, None
            yield waiting
    finally:
        turn.release()
    if whole:
        done(Pieces(gathered))

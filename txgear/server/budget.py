"""
One memory budget for the packets of all peers that have not arrived whole.

A packet is held until its last byte has come, and it may have 64 MiB. When the budget is used up, connections
with large packets are not read. One of them at a time is read all the same: the one that has waited longest.
Room for one packet is kept for it, so each packet is finished in the end. A peer that has sent a part of a
packet and sends no more of it is dropped after a while.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from txgear.protocol.packets import PIECES_FROM

UNFINISHED_MEMORY: Final = 512 * 1024 * 1024
"""Bytes for all peers, where the operator says nothing else: eight of the largest packets."""
LARGE: Final = PIECES_FROM // 4
"""Bytes of an unfinished packet from which it may have to wait. Nearly all packets are smaller."""
SILENT_SECONDS: Final = 60.0
"""How long a peer may leave a packet unfinished without sending one byte of it."""
PATIENCE: Final = 10.0
"""Seconds in which the privileged one, while others wait, must send L{PROGRESS} bytes."""
PROGRESS: Final = 1024 * 1024
"""100 kB a second: the others that wait for it may be many."""
LOOK_SECONDS: Final = 5.0
"""Seconds between two looks for silent peers."""


class Holder(Protocol):
    """A connection with an unfinished packet, or an unfinished body of an HTTP request."""

    @property
    def missing(self) -> int:
        """Bytes that are still to come at least."""

    @property
    def is_read(self) -> bool:
        """Whether the connection is read, so that the peer could send more."""

    def wait_for_memory(self) -> None:
        """Read no more until L{go_on}."""

    def go_on(self) -> None:
        """Read again; follows L{wait_for_memory}."""

    def drop(self, why: str) -> None:
        """
        Drop the connection.

        @param why: for the log.
        """


class Budget:
    """
    The budget: who holds how much, and who waits for memory.

    @ivar size: bytes in all.
    @ivar used: bytes that are held now.
    @ivar freed: bytes that have been freed since the start.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, seconds: Callable[[], float], size: int, largest: int) -> None:
        """
        @param seconds: the server's time.
        @param size: bytes in all; at least C{largest}.
        @param largest: bytes of the largest packet: so much is kept for the privileged one.
        """
        self._clock = clock
        self._seconds = seconds
        self.size = size
        self._limit = size - largest
        self.used = 0
        self.freed = 0
        self._held: dict[Holder, tuple[int, float]] = {}  # bytes, and since when; oldest first
        self._waiting: dict[Holder, None] = {}  # who waits longest is first
        self._privileged: Holder | None = None
        self._progress = 0.0, 0  # when the privileged one was looked at, and what it held then
        self._timer: IDelayedCall | None = None

    def holds(self, holder: Holder, size: int) -> None:
        """
        Count what a connection holds. Call it after each read of an unfinished packet, and when that is whole
        or the connection has ended.

        @param size: bytes of the unfinished packet; 0 for none.
        """
        before = self._held.pop(holder, (0, 0.0))[0]
        self.used += size - before
        self.freed += max(before - size, 0)
        if size:
            self._held[holder] = size, self._seconds()
            if self._timer is None:
                self._timer = self._clock.callLater(LOOK_SECONDS, self._look)
        else:
            self._waiting.pop(holder, None)
            if not self._held:
                self.stop()
        if holder is self._privileged and size < before:
            self._privileged = None
        if self.used > self._limit:
            if self.used - size + before <= self._limit:
                # All of them, now: each that was read once more would take another megabyte.
                for other, (held, _) in list(self._held.items()):
                    self._make_wait(other, held)
            else:
                self._make_wait(holder, size)
        if self._waiting:
            self._let_go_on()

    def _make_wait(self, holder: Holder, held: int) -> None:
        if held > LARGE and holder is not self._privileged and holder not in self._waiting:
            self._waiting[holder] = None
            holder.wait_for_memory()

    def _let_go_on(self) -> None:
        """Have those read again for whom there is room, and one in any case."""
        room = self._limit - self.used
        for holder in list(self._waiting) if room > 0 else ():
            if holder.missing <= room:
                room -= holder.missing
                self._go_on(holder)
        if self._privileged is None and self._waiting:
            self._privileged = next(iter(self._waiting))
            self._progress = self._seconds(), self._held[self._privileged][0]
            self._go_on(self._privileged)

    def _go_on(self, holder: Holder) -> None:
        del self._waiting[holder]
        # It was not silent: it was not read.
        self._held[holder] = self._held.pop(holder)[0], self._seconds()
        holder.go_on()

    def _look(self) -> None:
        """Drop who is silent for too long, and a privileged one that is too slow while others wait."""
        self._timer = None
        now = self._seconds()
        privileged = self._privileged
        if privileged is not None and self._waiting:
            since, before = self._progress
            held = self._held[privileged][0]
            if held >= before + PROGRESS or not privileged.is_read:
                self._progress = now, held
            elif now - since >= PATIENCE:
                self._privileged = None
                privileged.drop("sends too slowly, and others wait for the memory that it holds")
        for holder, (held, heard) in list(self._held.items()):
            if now - heard < SILENT_SECONDS:
                break
            if holder not in self._held:
                continue
            if holder.is_read:
                holder.drop("sends nothing more of what it has begun")
            else:
                del self._held[holder]
                self._held[holder] = held, now
        if self._held and self._timer is None:
            self._timer = self._clock.callLater(LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

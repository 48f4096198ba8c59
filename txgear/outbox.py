"""
What a turn wrote to each peer, carried in one write.
"""

from __future__ import annotations

from typing import Protocol

from twisted.logger import Logger

from txgear.roster import Peer
from txgear.wire import Data

Letter = tuple["int | Data", ...]
"""A packet on its way out: its type first, then its arguments."""


class Line(Protocol):
    """How one peer is reached."""

    def write_packets(self, packets: list[Letter]) -> None:
        """
        Write what a turn brought for this peer.

        @param packets: in order; each its type and then its arguments. The type
            L{constants.TEXT} stands for the answer to a text command.
        """

    def close(self) -> None:
        """End the connection once what was written has left."""


class Outbox:
    """
    Gathers packets until L{flush}, so that each peer costs one system call a
    turn, whatever it was sent. Order is kept for each peer.
    """

    log = Logger()

    def __init__(self) -> None:
        self._lines: dict[Peer, Line] = {}
        self._pending: dict[Peer, list[Letter]] = {}
        self._flushing = False

    def connect(self, peer: Peer, line: Line) -> None:
        """This peer is reached by that line."""
        self._lines[peer] = line

    def disconnect(self, peer: Peer) -> None:
        """The peer is out of reach; what was meant for it is dropped."""
        del self._lines[peer]
        self._pending.pop(peer, None)

    def lines(self) -> list[Line]:
        """All of them."""
        return list(self._lines.values())

    def send(self, peer: Peer, *packet: int | Data) -> None:
        """
        Keep one packet for a peer until the turn ends.

        @param packet: its type and then its arguments.
        """
        pending = self._pending.get(peer)
        if pending is None:
            self._pending[peer] = [packet]
        else:
            pending.append(packet)

    def flush(self) -> None:
        """
        Write what has gathered; the turn is over.

        A line may begin another turn while it is written to: an answer that is
        complete lets in the next request. What that one brings is written
        after the rest of this one, so that order is kept.
        """
        if self._flushing:
            return
        self._flushing = True
        try:
            while self._pending:
                pending, self._pending = self._pending, {}
                lines = self._lines
                for peer, packets in pending.items():
                    line = lines.get(peer)
                    if line is not None:
                        try:
                            line.write_packets(packets)
                        except Exception:
                            # A defect of one line must not cost the other peers what is theirs.
                            self.log.failure("what {peer} was to hear is lost", peer=peer)
        finally:
            self._flushing = False

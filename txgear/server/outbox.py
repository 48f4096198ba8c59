"""
What a turn wrote to each peer, carried in one write; and what waits, mostly for the disk.

Each connection's output is one line. An answer that is not there yet holds
its place in it, and all that comes later for that peer stays behind it. Other
peers' lines go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from twisted.logger import Logger

from txgear.broker.model import Peer, Reply
from txgear.interfaces import PeerLine
from txgear.protocol.packets import Data, Packet

MOST_HELD: Final = 10_000
"""Packets that wait behind an answer before the peer is no longer read: some 100 ms of a good disk."""
MOST_HELD_BYTES: Final = 16 * 1024 * 1024
"""What these packets and the workloads on their way to the disk may hold in bytes before that."""


class _Held:
    """What one peer is to be sent once the first of it is there."""

    __slots__ = ("items", "paused", "size", "then")

    def __init__(self) -> None:
        self.items: deque[Packet | Reply] = deque()
        self.size = 0
        self.paused = False
        self.then: Callable[[], None] | None = None


class Outbox:
    """
    Gathers packets until L{flush}, so that each peer costs one system call a
    turn, whatever it was sent. Order is kept for each peer.
    """

    log = Logger()

    def __init__(self) -> None:
        self._lines: dict[Peer, PeerLine] = {}
        self._pending: dict[Peer, list[Packet]] = {}
        self._held: dict[Peer, _Held] = {}
        self._paused: set[Peer] = set()
        # Those for whom an answer is there that their output has waited for.
        self._released: dict[Peer, None] = {}
        self._afterwards: list[tuple[Peer, Callable[[], None]]] = []
        self._flushing = False

    def connect(self, peer: Peer, line: PeerLine) -> None:
        """This peer is reached by that line."""
        self._lines[peer] = line

    def disconnect(self, peer: Peer) -> None:
        """The peer is out of reach; what was meant for it is dropped."""
        del self._lines[peer]
        self._pending.pop(peer, None)
        self._held.pop(peer, None)
        self._paused.discard(peer)

    def line_of(self, peer: Peer) -> PeerLine:
        """How a peer is reached that is connected."""
        return self._lines[peer]

    def lines(self) -> list[PeerLine]:
        """All of them."""
        return list(self._lines.values())

    def send(self, peer: Peer, *packet: int | Data) -> None:
        """
        Keep one packet for a peer until the turn ends.

        @param packet: its type and then its arguments.
        """
        if self._held and (held := self._held.get(peer)) is not None:
            self._hold(peer, held, packet, _size(packet))
            return
        pending = self._pending.get(peer)
        if pending is None:
            self._pending[peer] = [packet]
        else:
            pending.append(packet)

    def has_for(self, peer: Peer) -> bool:
        """Whether something leaves for this peer when the turn ends."""
        return peer in self._pending

    # Answers that wait

    def hold(self, peer: Peer, reply: Reply, crowded: bool = False) -> None:
        """
        The next packet for this peer is an answer that may not be there yet; L{release} follows then.

        @param crowded: whether so much waits on behalf of all peers that those
            who add to it are not to be read for now.
        """
        if reply.packet is not None:
            self.send(peer, *_packet_for(peer, reply, reply.packet))
            return
        held = self._held.get(peer)
        if held is None:
            held = self._held[peer] = _Held()
        reply.peers.append(peer)
        self._hold(peer, held, reply, reply.size, crowded)

    def _hold(self, peer: Peer, held: _Held, item: Packet | Reply, size: int, crowded: bool = False) -> None:
        held.items.append(item)
        held.size += size
        if not held.paused and (crowded or held.size > MOST_HELD_BYTES or len(held.items) > MOST_HELD):
            held.paused = True
            self._stop_reading(peer)

    def release(self, reply: Reply, *packet: int | Data) -> None:
        """
        Part of L{txgear.broker.ports.Outbox}: an answer is there. It leaves when the turn ends, with what is
        behind it up to the next answer that is not there.

        @param packet: its type and then its arguments.
        """
        reply.packet = packet
        for peer in reply.peers:
            self._released[peer] = None

    def wait_for(self, reply: Reply, other: Reply) -> None:
        """What an answer was that waits is known now: it is another one that may have to wait."""
        if other.packet is not None:
            self.release(reply, *other.packet)
            return
        for peer in reply.peers:
            if (held := self._held.get(peer)) is not None:
                held.items[held.items.index(reply)] = other
                held.size += other.size - reply.size
                other.peers.append(peer)

    def pause(self, peer: Peer) -> None:
        """
        Part of L{txgear.broker.ports.Outbox}: it adds to what is on its way to the disk, and that is too
        much; L{resume} follows.
        """
        if peer in self._lines and peer not in self._paused:
            self._paused.add(peer)
            self._stop_reading(peer)

    def resume(self) -> None:
        """There is room again on the way to the disk: read those who were paused for that reason alone."""
        paused, self._paused = self._paused, set()
        for peer in paused:
            held = self._held.get(peer)
            if held is None or not held.paused:
                self._go_on_reading(peer)

    def _stop_reading(self, peer: Peer) -> None:
        if (line := self._lines.get(peer)) is not None:
            peer.unread = True
            line.pause_reading()

    def _go_on_reading(self, peer: Peer) -> None:
        if (line := self._lines.get(peer)) is not None:
            peer.unread = False
            line.resume_reading()

    def _let_go(self) -> None:
        """Have those sent whose answers are there what they have waited for."""
        released, self._released = self._released, {}
        for peer in released:
            held = self._held.get(peer)
            if held is None:
                continue
            items = held.items
            ready: list[Packet] = []
            while items:
                item = items[0]
                if isinstance(item, tuple):
                    held.size -= _size(item)
                    ready.append(item)
                elif item.packet is None:
                    break
                else:
                    held.size -= item.size
                    ready.append(item.packet if item.others is None else _packet_for(peer, item, item.packet))
                items.popleft()
            if ready:
                self._pending.setdefault(peer, []).extend(ready)
            if not items:
                del self._held[peer]
                if held.then is not None:
                    self._afterwards.append((peer, held.then))
                elif held.paused and peer not in self._paused:
                    self._go_on_reading(peer)

    def afterwards(self, peer: Peer, call: Callable[[], None]) -> None:
        """
        Do something once the peer has been written all that it was sent. Nothing
        may be sent to it from now on, and it is read no more.

        @param call: made by L{flush}; not at all if the peer goes before.
        """
        held = self._held.get(peer)
        if held is None:
            self._afterwards.append((peer, call))
        else:
            held.then = call
            if not held.paused:
                held.paused = True
                self._stop_reading(peer)

    def hang_up(self, peer: Peer) -> None:
        """Part of L{txgear.broker.ports.Outbox}: what the peer was to be written is lost."""
        self._afterwards.append((peer, self._lines[peer].abort))

    def nothing_for(self, peer: Peer) -> bool:
        """Whether there is nothing that the peer is still to be written."""
        return peer not in self._pending and peer not in self._held

    # The end of a turn

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
            while self._pending or self._afterwards or self._released:
                if self._released:
                    self._let_go()
                pending, self._pending = self._pending, {}
                afterwards, self._afterwards = self._afterwards, []
                lines = self._lines
                for peer, packets in pending.items():
                    line = lines.get(peer)
                    if line is not None:
                        try:
                            line.write_packets(packets)
                        except Exception:
                            # A defect of one line must not cost the other peers what is theirs. Its peer
                            # counts answers: it would take the next one for the one that is lost.
                            self.log.failure("what {peer} was to hear is lost; connection dropped", peer=peer)
                            line.abort()
                for peer, call in afterwards:
                    if peer in self._lines:
                        call()
        finally:
            self._flushing = False


def _packet_for(peer: Peer, reply: Reply, packet: Packet) -> Packet:
    """What of an answer is for this peer."""
    return packet if reply.others is None else reply.others.get(peer, packet)


def _size(packet: Packet) -> int:
    """Bytes of a packet's arguments."""
    return sum(map(len, packet[1:]))  # type: ignore[arg-type]

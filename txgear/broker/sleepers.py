"""
The peers, what they can do, who of them sleeps, and whom to wake.
"""

from __future__ import annotations

from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from txgear.protocol.constants import PRIORITIES
from txgear.protocol.textlines import text

if TYPE_CHECKING:
    from txgear.broker.jobs import Job
    from txgear.broker.queues import Function
    from txgear.broker.quickacks import QuickAcks
    from txgear.protocol.packets import Data

WAKE_SECONDS: Final = 2.0
"""
How long a woken worker may take to grab before another is woken: far longer
than any that lives needs, and short for a job that nobody else would fetch.
"""


class Link(Protocol):
    """What can be known of the way to a peer; L{txgear.server.tcplink.TcpLink} is one."""

    @property
    def acks(self) -> QuickAcks:
        """Whether the peer is acknowledged at once, and how often it was."""

    def round_trip(self) -> float:
        """Seconds to the peer and back."""


BROAD: Final = 64
"""
Abilities with which a sleeper is not noted with each function that it can do: to fall asleep and
to be woken is to cost as much as a few jobs, whatever a peer has announced.
"""


class Peer:
    """
    One connection, as the broker knows it: a client, a worker, or both.

    @ivar descriptor: the number that C{workers} shows for it, its socket's where it has one.
    @ivar address: where it comes from.
    @ivar client_id: what it calls itself.
    @ivar exceptions: whether it asked for WORK_EXCEPTION packets.
    @ivar restarts: whether it is to be told by L{RESTARTED<txgear.protocol.constants.RESTARTED>} that what
        was sent of a job is void.
    @ivar extended: whether it speaks this server's own packets too.
    @ivar abilities: the queues of the functions that it can do, with the seconds
        that it gives itself for a job (0.0 for no bound).
    @ivar running: the jobs that it holds as a worker, by handle, oldest first.
    @ivar attached: the jobs that it waits for as a client, in the order of its first asking for them.
    @ivar asleep: whether it waits for a NOOP.
    @ivar barred: while it sleeps: the priority of which something is being read that it can do, so that no
        job of a lower one is for it; C{None} for none.
    @ivar woken_for: the queue for which it was sent a NOOP that it has not answered.
    @ivar link: the way to it, if it is one of which something is known.
    @ivar unread: whether the server reads nothing of it for now, so that its silence means nothing.
    @ivar raised: the handle of the last job that it ended with an exception, until it speaks of it again.
    """

    __slots__ = (
        "abilities",
        "address",
        "asleep",
        "attached",
        "barred",
        "client_id",
        "descriptor",
        "exceptions",
        "extended",
        "link",
        "raised",
        "restarts",
        "running",
        "unread",
        "woken_for",
    )

    def __init__(self, descriptor: int, address: str, exceptions: bool = False) -> None:
        self.descriptor = descriptor
        self.address = address
        self.client_id = b"-"
        self.exceptions = exceptions
        self.extended = False
        self.restarts = False
        self.abilities: dict[Function, float] = {}
        self.running: dict[bytes, Job] = {}
        self.attached: dict[Job, None] = {}
        self.asleep = False
        self.barred: int | None = None
        self.woken_for: Function | None = None
        self.raised: bytes | None = None
        self.link: Link | None = None
        self.unread = False

    @property
    def name(self) -> str:
        """What it calls itself, or where it comes from, for people to read."""
        return f"{self.address} {self.descriptor}" if self.client_id in (b"", b"-") else text(self.client_id)

    def __repr__(self) -> str:
        return f"<Peer {self.descriptor} {self.address}>"


class Outbox(Protocol):
    """Whoever carries packets to the peers."""

    def send(self, peer: Peer, kind: int, *arguments: Data) -> None:
        """
        Carry one packet to a peer, after all others to it.

        @param kind: the packet's type.
        @param arguments: its arguments; only the last may be large.
        """

    def pause(self, peer: Peer) -> None:
        """Take no more from this peer until less is on its way to the disk."""


class Roster:
    """
    Who is connected, who sleeps, and who was woken.

    Sleepers are noted with the functions that they can do, so that nobody looks for
    them among those who are busy; only those who can do a great many are kept apart.

    @ivar peers: all of them, the newest last.
    @ivar asleep: those that wait for a NOOP; who fell asleep first is first.
    """

    def __init__(self) -> None:
        self.peers: dict[Peer, None] = {}
        self.asleep: dict[Peer, None] = {}
        self._broad: dict[Peer, None] = {}  # those of them that can do a great many functions
        self._barred: list[dict[Peer, None]] = [{} for _ in PRIORITIES]  # and those that wait for a read
        self._woken: dict[Peer, float] = {}  # when the NOOP was sent, earliest first

    def fall_asleep(self, peer: Peer) -> Function | None:
        """
        The peer waits for a NOOP from now on.

        @return: the queue for which it had been woken.
        """
        woken_for = self.rise(peer)
        peer.asleep = True
        self.asleep[peer] = None
        self._enter(peer)
        return woken_for

    def _enter(self, peer: Peer) -> None:
        """Note a sleeper where it will be looked for."""
        if len(peer.abilities) > BROAD:
            self._broad[peer] = None
        else:
            for queue in peer.abilities:
                queue.asleep[peer] = None

    def _take_out(self, peer: Peer) -> None:
        if peer.barred is not None:
            del self._barred[peer.barred][peer]
            peer.barred = None
        elif peer in self._broad:
            del self._broad[peer]
        else:
            for queue in peer.abilities:
                del queue.asleep[peer]

    @property
    def barred(self) -> bool:
        """Whether any sleeper waits for something that is being read."""
        return any(self._barred)

    def bar(self, peer: Peer, priority: int) -> None:
        """A sleeper waits for something of this priority that is being read."""
        self._take_out(peer)
        peer.barred = priority
        self._barred[priority][peer] = None

    def unbar(self, priority: int) -> list[Peer]:
        """
        Nobody waits for anything of this priority that is being read.

        @return: those who did.
        """
        peers = list(self._barred[priority])
        for peer in peers:
            self._take_out(peer)
            self._enter(peer)
        return peers

    def learn(self, peer: Peer, queue: Function, timeout: float) -> None:
        """The peer can do one function more, or has another timeout for it."""
        moves = peer.asleep and (peer.barred is not None or len(peer.abilities) == BROAD)
        if moves:
            self._take_out(peer)
        queue.workers[peer] = None
        # The newest is last, also when it is said again: C{workers} shows it so.
        peer.abilities.pop(queue, None)
        peer.abilities[queue] = timeout
        if moves:
            self._enter(peer)
        elif peer.asleep and peer not in self._broad:
            queue.asleep[peer] = None

    def unlearn(self, peer: Peer, queues: list[Function]) -> None:
        """The peer can do these no more."""
        if peer.asleep:
            self._take_out(peer)
        for queue in queues:
            del peer.abilities[queue]
            del queue.workers[peer]
        if peer.asleep:
            self._enter(peer)

    def rise(self, peer: Peer) -> Function | None:
        """
        The peer neither sleeps nor is being woken any more.

        @return: the queue for which it had been woken.
        """
        if peer.asleep:
            self._wake_up(peer)
            return None
        queue = peer.woken_for
        if queue is not None:
            peer.woken_for = None
            queue.woken -= 1
            del self._woken[peer]
        return queue

    def wake(self, queue: Function, peer: Peer, now: float) -> None:
        """The sleeping peer is sent a NOOP for this queue."""
        self._wake_up(peer)
        peer.woken_for = queue
        queue.woken += 1
        self._woken[peer] = now

    def _wake_up(self, peer: Peer) -> None:
        peer.asleep = False
        del self.asleep[peer]
        self._take_out(peer)

    def sleepers(self, queue: Function, wanted: int) -> list[Peer]:
        """
        Up to C{wanted} sleepers that can do this function, the longest asleep
        first; after all others those that can do a great many, and those that wait for something of a
        higher priority.
        """
        found = list(islice(queue.asleep, wanted))
        if len(found) == wanted:
            return found
        if self._broad:
            able = (peer for peer in self._broad if queue in peer.abilities)
            found += islice(able, wanted - len(found))
        for priority, barred in enumerate(self._barred):
            if barred:
                ready = sum(queue.counts[: priority + 1]) - queue.woken
                able = (peer for peer in barred if queue in peer.abilities)
                found += islice(able, max(min(wanted, ready) - len(found), 0))
        return found

    def next_overdue(self) -> float:
        """When the earliest woken worker is given up; infinite for never."""
        for sent in self._woken.values():
            return sent + WAKE_SECONDS
        return inf

    def pop_overdue(self, now: float) -> Function | None:
        """
        Give the earliest woken worker up, if it took too long.

        @return: the queue for which it had been woken.
        """
        for peer, sent in self._woken.items():
            return self.rise(peer) if sent + WAKE_SECONDS <= now else None
        return None

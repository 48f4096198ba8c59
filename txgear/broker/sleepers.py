"""
Workers that wait for a NOOP: which of them to wake.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final

from txgear.protocol.constants import NOOP, PRIORITIES

if TYPE_CHECKING:
    from txgear.broker.model import Function, Peer
    from txgear.broker.timers import Timers

WAKE_SECONDS: Final = 2.0
"""
How long a woken worker may take to grab before another is woken: far longer
than any that works needs, and short for a job that nobody else would fetch.
"""

BROAD: Final = 64
"""
Abilities with which a sleeper is not noted with each function that it can do: to sleep and
to be woken is to cost as much as a few jobs, whatever a peer has announced.
"""


class Sleepers:
    """
    Who sleeps, and who was woken.

    Sleepers are noted with the functions that they can do, so that nobody looks for
    them among those who are busy; only those who can do a great many are kept apart.

    @ivar asleep: those that wait for a NOOP; who fell asleep first is first.
    """

    __slots__ = ("_barred", "_broad", "_send", "_timers", "_woken", "asleep")

    def __init__(self, send: Callable[[Peer, int], None], timers: Timers) -> None:
        """
        @param send: carries a packet to a peer.
        @param timers: is told when a woken worker is given up.
        """
        self._send = send
        self._timers = timers
        self.asleep: dict[Peer, None] = {}
        self._broad: dict[Peer, None] = {}  # those of them that can do a great many functions
        self._barred: list[dict[Peer, None]] = [{} for _ in PRIORITIES]  # and those that wait for a read
        self._woken: dict[Peer, float] = {}  # when the NOOP was sent, earliest first

    # Sleep

    def sleep(self, peer: Peer) -> Function | None:
        """
        The peer waits for a NOOP from now on.

        @return: the function for which it had been woken.
        """
        woken_for = self.awake(peer)
        peer.asleep = True
        self.asleep[peer] = None
        self._enter(peer)
        return woken_for

    def awake(self, peer: Peer) -> Function | None:
        """
        The peer neither sleeps nor is being woken any more.

        @return: the function for which it had been woken.
        """
        if peer.asleep:
            self._leave(peer)
            return None
        function = peer.woken_for
        if function is not None:
            peer.woken_for = None
            function.woken -= 1
            del self._woken[peer]
        return function

    def send_noop(self, function: Function, peer: Peer, now: float) -> None:
        """Wake a sleeper for a job of this function, and note when another is to be woken in its place."""
        self._leave(peer)
        peer.woken_for = function
        function.woken += 1
        self._woken[peer] = now
        self._timers.call_at(now + WAKE_SECONDS)
        self._send(peer, NOOP)

    def _leave(self, peer: Peer) -> None:
        peer.asleep = False
        del self.asleep[peer]
        self._take_out(peer)

    def _enter(self, peer: Peer) -> None:
        """Note a sleeper where it will be looked for."""
        if len(peer.abilities) > BROAD:
            self._broad[peer] = None
        else:
            for function in peer.abilities:
                function.sleepers[peer] = None

    def _take_out(self, peer: Peer) -> None:
        if peer.barred is not None:
            del self._barred[peer.barred][peer]
            peer.barred = None
        elif peer in self._broad:
            del self._broad[peer]
        else:
            for function in peer.abilities:
                del function.sleepers[peer]

    def find(self, function: Function, wanted: int) -> list[Peer]:
        """
        Up to C{wanted} sleepers that can do this function, the longest asleep
        first; after all others those that can do a great many, and those that wait for something of a
        higher priority.
        """
        found = list(islice(function.sleepers, wanted))
        if len(found) == wanted:
            return found
        if self._broad:
            able = (peer for peer in self._broad if function in peer.abilities)
            found += islice(able, wanted - len(found))
        for priority, barred in enumerate(self._barred):
            if barred:
                ready = sum(function.lanes.counts[: priority + 1]) - function.woken
                able = (peer for peer in barred if function in peer.abilities)
                found += islice(able, max(min(wanted, ready) - len(found), 0))
        return found

    # What they can do

    def add_ability(self, peer: Peer, function: Function, timeout: float, now: float) -> None:
        """The peer can do one function more, or has another timeout for it."""
        moves = peer.asleep and (peer.barred is not None or len(peer.abilities) == BROAD)
        if moves:
            self._take_out(peer)
        if not peer.abilities:
            peer.enrolled = now
        function.workers[peer] = None
        # The newest is last, also when it is announced again: C{workers} shows it so.
        peer.abilities.pop(function, None)
        peer.abilities[function] = timeout
        if moves:
            self._enter(peer)
        elif peer.asleep and peer not in self._broad:
            function.sleepers[peer] = None

    def remove_abilities(self, peer: Peer, functions: list[Function], now: float) -> None:
        """The peer can do these no more."""
        if peer.asleep:
            self._take_out(peer)
        for function in functions:
            del peer.abilities[function]
            del function.workers[peer]
            if not function.workers:
                function.counts.worker_left = now
        if peer.asleep:
            self._enter(peer)

    # What is being read

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

    # Those who do not answer

    def next_overdue(self) -> float:
        """When the earliest woken worker is given up; infinite for never."""
        for sent in self._woken.values():
            return sent + WAKE_SECONDS
        return inf

    def pop_overdue(self, now: float) -> Function | None:
        """
        Give the earliest woken worker up, if it took too long.

        @return: the function for which it had been woken.
        """
        for peer, sent in self._woken.items():
            if sent + WAKE_SECONDS > now:
                return None
            peer.missed = sent
            return self.awake(peer)
        return None

    def woken_at(self, peer: Peer) -> float:
        """When a peer was sent the NOOP that it has not answered, by the server's time; there is one."""
        return self._woken[peer]

    def check(self, peers: list[Peer]) -> None:
        """
        Is each sleeper where it will be looked for, and each woken one counted?

        @param peers: all that there are.
        @raise AssertionError: they are not.
        """
        asleep = {peer for peer in peers if peer.asleep}
        assert asleep == self.asleep.keys(), (asleep, self.asleep)
        for peer in peers:
            assert not (peer.asleep and peer.woken_for), peer
            barred = [priority for priority in PRIORITIES if peer in self._barred[priority]]
            assert barred == ([] if peer.barred is None else [peer.barred]), (peer, barred)
            broad = peer.asleep and peer.barred is None and len(peer.abilities) > BROAD
            assert (peer in self._broad) == broad, peer
            noted = peer.asleep and peer.barred is None and not broad
            for function in peer.abilities:
                assert (peer in function.sleepers) == noted, (peer, function)
                assert peer in function.workers, (peer, function)
        woken = {peer: peer.woken_for for peer in peers if peer.woken_for is not None}
        assert woken.keys() == self._woken.keys(), (woken, self._woken)
        for function in {function for peer in peers for function in peer.abilities}:
            count = sum(other is function for other in woken.values())
            assert function.woken == count, (function, function.woken, count)

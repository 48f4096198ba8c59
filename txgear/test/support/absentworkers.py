"""
Workers that come back, for L{txgear.test.broker.test_broker_machine}: they say who they are, are cut off and
offer what they have, also to the next server, or are said to be gone.
"""

from __future__ import annotations

from collections import Counter

from txgear.broker.broker import Broker
from txgear.broker.model import Peer
from txgear.errors import InvalidArgument
from txgear.test.support.broker import FakeOutbox
from txgear.test.support.model import BrokerModel


class Offer:
    """
    What a worker has in hand that was cut off.

    @ivar jobs: by handle, which attempt.
    @ivar parts: those of which it has sent something.
    """

    def __init__(self, key: str, jobs: dict[bytes, int], parts: set[bytes]) -> None:
        self.key = key
        self.jobs = jobs
        self.parts = parts


class AbsentWorkers:
    """The part of a machine that knows of them."""

    broker: Broker
    model: BrokerModel
    outbox: FakeOutbox
    peers: list[Peer]
    owed: Counter[tuple[Peer, bytes]]
    now: float

    def __init__(self) -> None:
        super().__init__()
        self.offers: list[Offer] = []
        # The jobs of which their present worker has sent something.
        self.sent: set[bytes] = set()
        self.keys = 0

    def connect(self, exceptions: bool) -> None:
        raise NotImplementedError

    def can_do(self, peer: Peer, name: bytes, timeout: float) -> None:
        raise NotImplementedError

    def grab(self, peer: Peer) -> None:
        raise NotImplementedError

    def answer(self, peer: Peer, own: bool, handle: bytes, what: str) -> None:
        raise NotImplementedError

    def leave(self, peer: Peer) -> None:
        raise NotImplementedError

    def hear(self) -> None:
        raise NotImplementedError

    def pass_time(self, seconds: float) -> None:
        raise NotImplementedError

    # What happens

    def know(self, peer: Peer) -> None:
        """A worker says who it is, once; twice is a mistake."""
        self.keys += 1
        key = f"{self.keys:032x}"
        if self.model.absences.key_of(peer) is None:
            self.greet(peer, Offer(key, {}, set()))
            return
        try:
            self.broker.absences.greet(peer, key, {}, (), self.now)
        except InvalidArgument:
            return
        raise AssertionError("it has said so before")

    def greet(self, peer: Peer, offer: Offer) -> None:
        expected = self.model.absences.greet(peer, offer.key, offer.jobs, offer.parts, self.now)
        held = self.broker.absences.greet(peer, offer.key, offer.jobs, offer.parts, self.now)
        assert held == expected
        self.sent |= offer.parts & set(held)
        for handle in held:
            job = peer.running[handle]
            assert job.worker is peer
            assert job.retries + 1 == offer.jobs[handle], "the attempt is the same"

    def note_sent(self, peer: Peer, what: str) -> None:
        """A worker has said this of its last job."""
        if what in ("work_data", "work_warning") and peer.running:
            self.sent.add(next(reversed(peer.running)))

    def note_absence(self, peer: Peer) -> None:
        """A connection is about to be lost: what its worker had, it may offer again."""
        key = self.model.absences.key_of(peer)
        if key is not None:
            jobs = {handle: job.retries + 1 for handle, job in peer.running.items()}
            self.offers = [*self.offers, Offer(key, jobs, self.sent & jobs.keys())][-6:]
        self.sent -= peer.running.keys()

    def note_absences(self) -> None:
        """The server goes: all are lost."""
        for peer in self.peers:
            self.note_absence(peer)
        self.outbox.hung_up.clear()

    def get_jobs(self, peer: Peer, name: bytes, times: int) -> str:
        """
        A worker that has said who it is gets some jobs of this function, as far as there are any.

        @return: its key.
        """
        if self.model.absences.key_of(peer) is None:
            self.know(peer)
        if name not in self.model.abilities[peer]:
            self.can_do(peer, name, 0.0)
        self.hear()
        for _ in range(times):
            self.grab(peer)
            self.hear()
        key = self.model.absences.key_of(peer)
        assert key is not None
        return key

    def cut_off(self, peer: Peer, name: bytes, times: int, seconds: float) -> None:
        """Such a worker's connection is lost."""
        if len(self.peers) > 1:
            self.get_jobs(peer, name, times)
            self.leave(peer)
            self.hear()
            self.pass_time(seconds)

    def come_back(self, who: int, claimed: int, attempt: int, then: str) -> None:
        """
        A worker has another connection. The last one is dead, known to be so or not.

        @param who: which of those that are known.
        """
        there = [peer for peer in self.peers if self.model.absences.key_of(peer) is not None]
        if self.offers and who % 2 == 0:
            self.come_back_with(self.offers[-1 - who % len(self.offers)], claimed, attempt, then)
        elif there:
            peer = there[who % len(there)]
            key = self.model.absences.key_of(peer)
            assert key is not None
            jobs = {handle: job.retries + 1 for handle, job in peer.running.items()}
            self.come_back_with(Offer(key, jobs, set()), claimed, attempt, then)

    def come_back_with(self, offer: Offer, claimed: int, attempt: int, then: str) -> None:
        """
        @param claimed: a bit for each of the first jobs that it claims, of those that it had.
        @param attempt: is added to the number of each.
        @param then: what it says of the last one at once.
        """
        jobs = {
            handle: number + attempt
            for index, (handle, number) in enumerate(offer.jobs.items())
            if claimed >> index & 1
        }
        self.connect(exceptions=False)
        peer = self.peers[-1]
        self.forbid_some(peer, len(self.offers))
        self.hear()
        self.greet(peer, Offer(offer.key, jobs, offer.parts & jobs.keys()))
        self.hear()
        if then and self.model.running[peer]:
            self.answer(peer, True, b"", then)
            self.hear()
        # There are not to be more and more of them.
        while len(self.peers) > 5:
            self.leave(self.peers[0])
            self.hear()

    def forbid_some(self, peer: Peer, chance: int) -> None:
        """A peer may not do everything, where there are rights."""

    def go_and_return(
        self, peer: Peer, name: bytes, times: int, away: float, claimed: int, attempt: int, then: str
    ) -> None:
        """A worker is cut off, comes back after some seconds, and goes on for another."""
        if len(self.peers) < 2:
            return
        self.cut_off(peer, name, times, away)
        self.come_back_with(self.offers[-1], claimed, attempt, "")
        last = self.peers[-1]
        self.pass_time(1.0)
        if then and self.model.running[last]:
            self.answer(last, True, b"", then)

    def gone(self, who: int, words: bytes) -> None:
        """Somebody says why a worker is gone, which is there, is absent, or never was."""
        keys: list[str] = [*self.model.absences.holders, "never"]
        key = keys[who % len(keys)]
        self.model.absences.gone(key, words, self.now)
        self.broker.absences.gone(key, words, self.now)

    def hang_up(self) -> None:
        """Connections end that the server does not want any more."""
        hung_up, self.outbox.hung_up = self.outbox.hung_up, []
        for peer in hung_up:
            if peer in self.peers:
                self.leave(peer)
                self.hear()
        if not self.peers:
            self.connect(exceptions=False)

    def absences_agree(self) -> None:
        """Who is absent is known, and still has what it had."""
        absent = self.model.absences.absent()
        assert set(self.broker.absences.absent()) == {peer for peer in absent if self.model.running[peer]}
        for peer in absent:
            assert self.broker.absences.since(peer) > 0
            assert self.broker.absences.until(peer) == self.model.absences.ends[peer]
            assert list(peer.running.values()) == [known.job for known in self.model.running[peer]]

"""
Workers that may be absent, as simple as it can be said: a part of L{txgear.test.support.model}.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import inf
from typing import Protocol

from txgear.broker.life.absences import GONE_SECONDS
from txgear.broker.model import Peer
from txgear.broker.records import JobRecord
from txgear.broker.states import PAGED, QUEUED, RUNNING
from txgear.test.support.model_jobs import ModelJob


class Model(Protocol):
    """
    What there is of L{BrokerModel<txgear.test.support.model.BrokerModel>}.

    @ivar abilities: what each connection can do.
    @ivar running: what it runs; of absent ones as well.
    """

    abilities: dict[Peer, dict[bytes, float]]
    running: dict[Peer, list[ModelJob]]

    @property
    def live(self) -> Sequence[ModelJob]:
        """The jobs that have not ended."""

    def may_work(self, peer: Peer, function: bytes) -> bool:
        """Whether it has the right."""

    def hand_over(self, known: ModelJob, worker: Peer) -> None:
        """It is another's, under the same attempt."""

    def claim(self, known: ModelJob, worker: Peer, now: float) -> None:
        """A worker has it already, and is not sent it."""

    def forget_all(self, peer: Peer, words: bytes) -> None:
        """All its functions and its jobs."""

    def lose(self, known: ModelJob, words: bytes) -> None:
        """Its attempt is lost."""

    def records(self) -> list[JobRecord]:
        """What the store has."""


class ModelAbsences:
    """
    @ivar grace: seconds for which a worker may be absent.
    @ivar holders: the last connection of each that has said hello, by its key.
    @ivar ends: when those are given up that are absent or said to be gone.
    @ivar words: why somebody is gone, of those that are said to be.
    @ivar claims_end: until when jobs may be claimed that the server before has left; 0.0 for not any more.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.grace = 0.0
        self.holders: dict[str, Peer] = {}
        self.ends: dict[Peer, float] = {}
        self.words: dict[Peer, bytes] = {}
        self.claims_end = 0.0

    def key_of(self, peer: Peer) -> str | None:
        return next((key for key, holder in self.holders.items() if holder is peer), None)

    def absent(self) -> list[Peer]:
        return [peer for peer in self.ends if peer not in self.model.abilities]

    def forget(self, peer: Peer) -> bytes:
        """
        @return: what was said of its end.
        """
        key = self.key_of(peer)
        if key is not None:
            del self.holders[key]
        self.ends.pop(peer, None)
        return self.words.pop(peer, b"")

    def leave(self, peer: Peer, now: float) -> bool:
        """
        @return: whether it keeps what it runs.
        """
        if self.key_of(peer) is None or peer in self.words or not (self.grace and self.model.running[peer]):
            return False
        self.ends[peer] = now + self.grace
        return True

    def greet(
        self, peer: Peer, key: str, jobs: Mapping[bytes, int], parts: Collection[bytes], now: float
    ) -> list[bytes]:
        """
        @return: what of the jobs it has.
        """
        former = self.holders.get(key)
        lost = former is not None and former in self.words
        words = b"" if former is None else self.forget(former)
        if former is not None and lost:
            self.let_go(former, words)
        self.holders[key] = peer
        held = []
        for handle, attempt in jobs.items():
            known = None
            if former is not None and not lost:
                own = self.model.running[former]
                known = next((known for known in own if known.job.handle == handle), None)
            known = known or self.find_left(handle, parts)
            if known is None or known.retries + 1 != attempt:
                continue
            if not self.model.may_work(peer, known.function):
                continue
            if known.state == RUNNING:
                assert former is not None
                self.model.running[former].remove(known)
                self.model.hand_over(known, peer)
            else:
                self.model.claim(known, peer, now)
            held.append(handle)
        if former is not None and not lost:
            self.let_go(former, b"")
        return held

    def find_left(self, handle: bytes, parts: Collection[bytes]) -> ModelJob | None:
        """A job that the server before has left, and that is still as it was."""
        known = next((known for known in self.model.live if known.job.handle == handle), None)
        if known is None or not known.left or handle in parts or known.state not in (QUEUED, PAGED):
            return None
        return known

    def let_go(self, peer: Peer, words: bytes) -> None:
        """Nothing is its own any more."""
        if peer in self.model.abilities:
            self.model.forget_all(peer, words)
            return
        for known in self.model.running[peer].copy():
            self.model.lose(known, words)
        del self.model.running[peer]

    def gone(self, key: str, words: bytes, now: float) -> None:
        """Somebody who knows its key says why."""
        peer = self.holders.get(key)
        if peer is None or peer in self.words:
            return
        if peer in self.ends:
            self.forget(peer)
            self.let_go(peer, words)
        else:
            self.words[peer] = words
            self.ends[peer] = now + GONE_SECONDS

    def server_started(self, now: float) -> None:
        """Nobody is known, but to those who come back."""
        self.holders.clear()
        self.ends.clear()
        self.words.clear()
        self.claims_end = now + self.grace if self.grace and self.model.live else 0.0
        for known in self.model.live:
            known.left = self.grace > 0

    def expire(self, now: float) -> None:
        for peer, end in sorted(self.ends.items(), key=lambda item: item[1]):
            if end <= now:
                self.let_go(peer, self.forget(peer))
        if self.claims_end and self.claims_end <= now:
            self.claims_end = 0.0
            for known in self.model.live:
                known.left = False

    def deadline(self) -> float:
        return min([self.claims_end or inf, *self.ends.values()])

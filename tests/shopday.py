"""
The past of the shop: what its functions did before its server was started, as that would have noted it.

The server's own rules, counts and history run here, by a clock that goes faster, and what they keep is put
into the store of the real one.
"""

from __future__ import annotations

import random
import time
from typing import Final, NamedTuple

from twisted.internet.defer import execute

from txgear.broker.model import Peer
from txgear.server.figurehistory import FigureHistory
from txgear.stores import make_store
from txgear.stores.memory import MemoryStore
from txgear.test.support.server import DurableServerFixture

MINUTES: Final = 75
"""So long is the past: an hour can be seen."""
TURNS: Final = 30
"""Pieces in which the server may note what has come, each second."""


class Work(NamedTuple):
    """
    What one function does.

    @ivar rate: jobs that come in a second.
    @ivar seconds: that one takes, about.
    @ivar workers: how many there are.
    @ivar failing: the share that fails.
    """

    rate: float
    seconds: float
    workers: int
    failing: float = 0.0


WORK: Final = {
    b"mail.order": Work(0.5, 0.7, 2, 0.03),
    b"mail.news": Work(0.3, 1.2, 2, 0.01),
    b"order.invoice": Work(0.2, 2.0, 2, 0.02),
    b"image.resize": Work(0.22, 9.0, 4, 0.04),
    b"image.thumbnail": Work(0.5, 2.0, 2),
    b"search.index": Work(1.5, 0.6, 2),
}


def have_past(url: str) -> None:
    """
    Fill a store.

    @param url: of a store that nobody has opened.
    """
    kept = MemoryStore()
    fixture = DurableServerFixture(kept, execute)
    server, clock = fixture.server, fixture.clock
    fixture.wall.ahead = time.time() - MINUTES * 60 - clock.seconds()
    server.wall_clock()
    history = FigureHistory(server)
    history.start()
    broker, chance = server.broker, random.Random(14)
    client = Peer(1, "192.0.2.1")
    broker.connect(client)
    idle: dict[bytes, list[Peer]] = {}
    for number, (name, work) in enumerate(WORK.items()):
        idle[name] = [Peer(10 * number + each + 10, "192.0.2.2") for each in range(work.workers)]
        for worker in idle[name]:
            broker.connect(worker)
            broker.can_do(worker, name, 0.0, server.seconds())
    busy: list[tuple[float, bytes, Peer, bytes]] = []
    for second in range(MINUTES * 60):
        now = server.seconds()
        for end, name, worker, handle in [each for each in busy if each[0] <= now]:
            busy.remove((end, name, worker, handle))
            idle[name].append(worker)
            if chance.random() < WORK[name].failing:
                broker.reports.work_fail(worker, handle, now)
            else:
                broker.reports.work_complete(worker, handle, b"", now)
        # Shops have their busy minutes.
        tide = 1.0 + 0.6 * ((second // 60) % 20 in range(8, 13)) + 0.2 * chance.random()
        for name, work in WORK.items():
            if chance.random() < work.rate * tide / 2:
                for _ in range(2):
                    broker.submit(client, name, b"", b"w", now, background=False)
            for worker in idle[name][:]:
                job = broker.grab(worker, now)
                if job is None:
                    break
                idle[name].remove(worker)
                end = now + work.seconds * chance.uniform(0.5, 1.8)
                busy.append((end, name, worker, bytes(job.kept_handle)))
        server.end_turn()
        clock.advance(1.0)
        for _ in range(TURNS):
            clock.advance(0)
    history.stop()
    server.end_turn()
    store = make_store(url)
    store.open()
    store.put_history(kept.history(0, 100_000), [])
    store.close(1)

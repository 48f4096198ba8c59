"""Tests of L{txgear.broker.operators.load}."""

from __future__ import annotations

from typing import Any

from txgear.broker.bulk import BATCH
from txgear.broker.model import Peer
from txgear.broker.operators.load import load
from txgear.broker.rights import SEE, WORK
from txgear.broker.tenants import Quota
from txgear.protocol.constants import LOW
from txgear.test.support.broker import BrokerTestCase, DurableBrokerTestCase, FakeRights

NOTHING = {"waiting": 0, "oldest": None, "running": 0}


class LoadTests(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.peer = self.fixture.connect()

    def load(self, name: bytes = b"f", peer: Peer | None = None) -> dict[str, Any]:
        broker = self.fixture.broker
        return dict(load(broker.functions, peer or self.peer, name, self.fixture.now))

    def check(self, waiting: int, oldest: float | None, running: int = 0) -> None:
        self.assertEqual(self.load(), {"waiting": waiting, "oldest": oldest, "running": running})

    def test_nothing(self) -> None:
        """Neither of a function that nobody knows, nor of one that has workers only."""
        self.assertEqual(self.load(), NOTHING)
        self.fixture.worker(b"f")
        self.assertEqual(self.load(), NOTHING)
        self.assertEqual(self.load(b""), NOTHING)

    def test_the_oldest_counts(self) -> None:
        """Of whatever priority it is; in seconds, to the thousandth."""
        self.fixture.submit(None, priority=LOW)
        self.fixture.pass_time(2.50049)
        self.fixture.submit(None)
        self.check(2, 2.5)
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.check(1, 2.5, 1)
        self.fixture.grab(worker)
        self.check(0, None, 2)

    def test_one_that_just_came(self) -> None:
        self.fixture.submit(None)
        self.check(1, 0.0)
        self.fixture.now -= 1
        self.check(1, 0.0)

    def test_delayed(self) -> None:
        """A job waits for a worker from when it is due."""
        self.fixture.submit(None, delay=10)
        self.check(0, None)
        self.fixture.pass_time(10)
        self.fixture.pass_time(3)
        self.check(1, 3.0)

    def test_whoever_may_not_work_on_it(self) -> None:
        """It is as if there were nothing, whatever else the peer may do."""
        self.fixture.submit(None)
        self.peer.rights = FakeRights((WORK, b"f"))
        self.assertEqual(self.load(), NOTHING)
        self.peer.rights = FakeRights((SEE, b"f"), (WORK, b"g"))
        self.check(1, 0.0)

    def test_paused(self) -> None:
        self.fixture.submit(None)
        self.broker.operations.pause(b"f", self.fixture.now)
        self.check(0, None)
        self.broker.operations.resume(b"f", self.fixture.now)
        self.check(1, 0.0)

    def test_a_bound_of_jobs_at_once(self) -> None:
        """More workers would not get more."""
        self.fixture.set(concurrency=2)
        for _ in range(5):
            self.fixture.submit(None)
        self.check(2, 0.0)
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.check(1, 0.0, 1)
        self.fixture.grab(worker)
        self.check(0, None, 2)

    def test_draining(self) -> None:
        """Only what clients wait for is handed out."""
        self.fixture.submit(None)
        self.fixture.submit(self.peer)
        self.fixture.drain()
        self.check(1, 0.0)

    def test_a_drain_that_has_just_begun(self) -> None:
        """Nothing is handed out of a function before it is known what somebody waits for."""
        for _ in range(2 * BATCH):
            self.fixture.submit(None)
        self.fixture.submit(self.peer)
        self.fixture.drain()
        self.check(0, None)
        self.fixture.pass_time(0)
        self.check(1, 0.0)

    def test_tenants_that_are_held(self) -> None:
        """What they may not have at workers yet waits for no worker; the next oldest counts."""
        self.fixture.quotas(a=Quota(running=2))
        a = self.fixture.tenant("a")
        for _ in range(4):
            self.fixture.submit(a)
        self.check(2, 0.0)
        self.fixture.pass_time(5)
        self.fixture.submit(None)
        self.check(3, 5.0)
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.check(2, 5.0, 1)
        self.fixture.grab(worker)
        self.fixture.pass_time(1)
        self.check(1, 1.0, 2)


class StoredTests(DurableBrokerTestCase):
    queue_memory = 0

    def test_what_is_not_in_memory_waits_as_well(self) -> None:
        """It is read before a worker gets it."""
        self.fixture.store(b"one", b"two", b"three")
        self.fixture.read()
        self.fixture.pass_time(4)
        found = load(self.broker.functions, self.fixture.connect(), b"f", self.fixture.now)
        self.assertEqual(found, {"waiting": 3, "oldest": 4.0, "running": 0})

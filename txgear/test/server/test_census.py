"""Tests of L{txgear.server.census}."""

from __future__ import annotations

from collections import Counter

from twisted.internet.task import Clock, Cooperator
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.broker import Broker
from txgear.broker.model import Function, Peer
from txgear.broker.operators.workforce import ASLEEP, AWAKE, SILENT_SECONDS, Headcount
from txgear.broker.rights import PEERS
from txgear.server import turns
from txgear.server.census import PER_SECOND, PERIOD, STEP, Census
from txgear.test.support.broker import BrokerFixture, FakeRights
from txgear.test.support.clock import START


class CensusTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fixture = BrokerFixture()
        self.clock = Clock()
        self.clock.advance(START)
        self.cooperator = turns.cooperator(self.clock, self.clock.seconds)
        self.census = self.made(self.fixture.broker)

    def made(self, broker: Broker, cooperator: Cooperator | None = None) -> Census:
        return Census(broker, self.clock, cooperator or self.cooperator, self.clock.seconds)

    def of(self, name: bytes = b"f") -> Headcount:
        return self.census.of(Function(name))

    def test_before_it_has_begun(self) -> None:
        self.assertEqual((self.of(), self.census.at), (Headcount(), 0.0))

    def test_it_counts_now_and_then(self) -> None:
        self.fixture.sleeper(b"f", b"g")
        self.fixture.worker(b"f")
        self.census.start()
        self.clock.advance(0)
        self.assertEqual(
            (self.of(), self.of(b"g"), self.of(b"h")), (Headcount(2, 1), Headcount(1, 1), Headcount())
        )
        self.assertEqual((self.census.at, self.census.total), (START, Headcount(2, 1)))
        self.fixture.worker(b"f")
        self.clock.advance(PERIOD - 1)
        self.assertEqual(self.of(), Headcount(2, 1))
        self.clock.pump([1, 0])
        self.assertEqual((self.of(), self.census.at), (Headcount(3, 1), START + PERIOD))
        self.clock.pump([SILENT_SECONDS, 0])
        self.assertEqual(self.of(), Headcount(3, 1, 0, 2))
        self.census.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_how_they_are_and_what_they_speak(self) -> None:
        self.fixture.sleeper(b"f", b"g")
        mine = self.fixture.tenant("team")
        mine.kind, mine.encrypted = "gearman", True
        self.fixture.broker.can_do(mine, b"f", 0.0, START)
        everybody = Peer(0, "")
        self.assertEqual(self.census.workers(everybody), Counter())
        self.census.start()
        self.clock.advance(0)
        self.assertEqual(self.census.workers(everybody), Counter({ASLEEP: 1, AWAKE: 1}))
        self.assertEqual((self.census.connections, self.census.encrypted), (Counter(other=1, gearman=1), 1))
        # Of others only those may know who may see them.
        nobody, member = Peer(0, ""), Peer(0, "")
        nobody.rights = member.rights = FakeRights((PEERS, b""))
        member.tenant = mine.tenant
        self.assertEqual(self.census.workers(nobody), Counter())
        self.assertEqual(self.census.workers(member), Counter({AWAKE: 1}))
        member.tenant = self.fixture.tenant("other").tenant
        self.assertEqual(self.census.workers(member), Counter())
        self.census.stop()

    def test_to_start_it_twice_is_to_start_it_once(self) -> None:
        self.census.start()
        self.census.start()
        self.clock.advance(0)
        self.census.start()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.census.stop()
        self.census.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_goes_in_pieces(self) -> None:
        """Between them others have their turn, and workers may go."""
        # One step in each turn.
        cooperator = Cooperator(lambda: lambda: True, lambda tick: self.clock.callLater(0.001, tick))
        self.census = self.made(self.fixture.broker, cooperator)
        workers = [self.fixture.worker(b"f") for _ in range(STEP)]
        self.census.start()
        self.clock.advance(0.001)
        self.assertEqual(self.census.at, 0.0)
        for worker in workers[-10:]:
            self.fixture.leave(worker)
        self.clock.pump([0.001] * 5)
        self.assertEqual(self.of(), Headcount(STEP - 10))
        self.census.stop()

    def test_it_is_stopped_half_way(self) -> None:
        cooperator = Cooperator(lambda: lambda: True, lambda tick: self.clock.callLater(0.001, tick))
        self.census = self.made(self.fixture.broker, cooperator)
        for _ in range(STEP):
            self.fixture.worker(b"f")
        self.census.start()
        self.clock.advance(0.001)
        self.census.stop()
        self.clock.pump([0.001] * 5)
        self.assertEqual((self.census.at, self.clock.getDelayedCalls()), (0.0, []))
        # And it may begin anew.
        self.census.start()
        self.clock.pump([0.001] * 5)
        self.assertEqual(self.of(), Headcount(STEP))
        self.census.stop()

    def test_the_server_ends_first(self) -> None:
        self.census.start()
        self.cooperator.stop()
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_where_there_are_very_many_it_comes_less_often(self) -> None:
        functions = [b"f%d" % number for number in range(10_000)]
        workers = 25
        for _ in range(workers):
            self.fixture.worker(*functions)
        self.census.start()
        self.clock.pump([0.001] * 10)
        self.assertEqual(self.of(b"f7"), Headcount(workers))
        (call,) = self.clock.getDelayedCalls()
        seconds = call.getTime() - self.census.at
        self.assertAlmostEqual(seconds, workers * 10_001 / PER_SECOND, 3)
        self.census.stop()

    def test_a_defect_is_logged_and_the_next_count_comes(self) -> None:
        worker = self.fixture.worker(b"f")
        abilities = worker.abilities
        worker.abilities = {None: 0.0}  # type: ignore[dict-item]
        self.census.start()
        self.clock.advance(0)
        (failure,) = self.flushLoggedErrors(AttributeError)
        self.assertIn("name", failure.getErrorMessage())
        worker.abilities = abilities
        self.clock.pump([PERIOD, 0])
        self.assertEqual(self.of(), Headcount(1))
        self.census.stop()

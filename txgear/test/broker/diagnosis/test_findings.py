"""Tests of L{txgear.broker.diagnosis.findings}."""

from __future__ import annotations

from txgear.broker.diagnosis.findings import Case, Later, Trend
from txgear.broker.model import Peer
from txgear.broker.operators.inspection import moment
from txgear.broker.rights import PEERS
from txgear.broker.statistics import MOST_COUNTED
from txgear.test.support.broker import BrokerFixture, DurableBrokerTestCase, FakeRights
from txgear.test.support.clock import START


class LaterTests(DurableBrokerTestCase):
    queue_memory = 2

    def later(self, most: int = 100) -> Later:
        return Later(self.broker, self.broker.functions.by_name[b"f"], most)

    def test_none(self) -> None:
        self.fixture.worker(b"f")
        later = self.later()
        self.assertEqual((later.total, later.seen, later.next_delayed), (0, 0, 0.0))

    def test_the_first_of_each_kind(self) -> None:
        self.fixture.set(retries=9, backoff={"kind": "fixed", "first": 30, "jitter": 0})
        worker, client = self.fixture.worker(b"f"), self.fixture.connect()
        for _ in range(3):
            self.fails(worker, self.grabbed(worker, self.fixture.submit(client)))
            self.fixture.now += 5
        for seconds in (700.0, 600.0, 800.0):
            self.fixture.submit(client, delay=seconds)
        now = self.fixture.now
        for _ in range(2):
            self.fixture.submit(None)
            self.fixture.now += 1
        later = self.later()
        self.assertEqual((later.total, later.seen, later.withheld, later.unreadable), (8, 8, 0, 0))
        self.assertEqual((later.storing, later.storing_since), (2, now))
        self.assertEqual((later.delayed, later.next_delayed), (3, now + 600))
        self.assertEqual((later.retrying, later.next_retry), (3, now + 15))

    def test_the_wall_clock(self) -> None:
        client = self.fixture.connect()
        self.fixture.submit(client, due=START + 5000)
        self.fixture.set_clock(3600)
        self.assertEqual(self.later().next_delayed, START + 1400)

    def test_what_cannot_be_read(self) -> None:
        self.broker.store_events.reserve(1, 1000)
        worker = self.fixture.worker(b"f")
        self.fixture.store_waited_for(b"123", b"456", b"789")
        self.fixture.grab(worker)
        self.broker.store_events.loaded([], self.fixture.now, [job for job, _ in self.journal.fetch()])
        later = self.later()
        self.assertEqual((later.unreadable, later.next_read, later.delayed), (1, START + 60, 0))

    def test_for_good(self) -> None:
        self.fixture = BrokerFixture(journal=self.journal)
        self.fixture.worker(b"f")
        self.fixture.store(b"", b"")
        self.fixture.drain()
        self.assertEqual(self.later().withheld, 2)

    def test_not_more_than_so_many(self) -> None:
        client = self.fixture.connect()
        for _ in range(5):
            self.fixture.submit(client, delay=60.0)
        later = self.later(3)
        self.assertEqual((later.total, later.seen, later.delayed), (5, 3, 3))

    def test_what_a_server_leaves_that_drains(self) -> None:
        """Of what waits for its time that which only the store has: it may be due."""

        def case() -> Case:
            function = self.broker.functions.by_name[b"f"]
            return Case(self.broker, Peer(0, "192.0.2.9"), function, self.fixture.now, None)

        self.broker.store_events.reserve(1, 1000)
        for seconds in (600.0, 700.0, 800.0):
            self.fixture.submit(None, delay=seconds)
        self.fixture.commit()
        self.assertEqual((case().later.rows, case().left), (3, 0))
        self.fixture.submit(None)
        self.fixture.commit()
        self.fixture.drain()
        self.assertEqual(case().left, 4)


class CaseTests(DurableBrokerTestCase):
    def case(self, peer: Peer | None = None, trend: Trend | None = None) -> Case:
        function = self.broker.functions.get(b"f")
        return Case(self.broker, peer or Peer(0, "192.0.2.9"), function, self.fixture.now, trend)

    def test_who_waits_and_for_how_long(self) -> None:
        case = self.case()
        self.assertEqual((case.waiting, case.waited), (0, 0.0))
        client = self.fixture.connect()
        for _ in range(2):
            self.fixture.submit(client)
            self.fixture.now += 5
        case = self.case()
        self.assertEqual((case.waiting, case.waited, case.muster.known, case.later.total), (2, 10.0, 0, 0))

    def test_what_is_counted_by_itself(self) -> None:
        case = self.case()
        self.assertIs(case.counts, self.broker.functions.by_name[b"f"].counts)

    def test_what_is_counted_with_others(self) -> None:
        for number in range(MOST_COUNTED):
            self.broker.operations.create_function(b"f%d" % number)
        self.assertIsNone(self.case().counts)

    def test_where_a_similar_name_is_looked_for(self) -> None:
        """The latest first, unless whoever looks at many has said where."""
        f, g = (self.broker.functions.get(name) for name in (b"f", b"g"))
        self.assertEqual(list(self.case().doers), [g, f])
        case = Case(self.broker, Peer(0, "192.0.2.9"), f, self.fixture.now, None, doers=[f])
        self.assertEqual(list(case.doers), [f])

    def test_who_may_know_names(self) -> None:
        self.assertTrue(self.case().names)
        peer = self.fixture.connect()
        peer.rights = FakeRights((PEERS, b""))
        self.assertFalse(self.case(peer).names)

    def test_times(self) -> None:
        self.fixture.set_clock(3600)
        self.fixture.now += 300
        case = self.case()
        self.assertEqual(case.at(START), "01:16:40 UTC")
        self.assertEqual(case.at_wall(START + 3600), "01:16:40 UTC")
        self.assertEqual(case.iso(START), moment(START + 3600))
        self.assertEqual(
            (case.ago(START), case.seconds(START), case.seconds(START + 600)), ("5 min", 300.0, 0.0)
        )

"""Tests of L{txgear.journal.beats}."""

from __future__ import annotations

from twisted.logger import capturedLogs

from txgear.broker.ports import Asking
from txgear.broker.records import ByNumber
from txgear.errors import StoreTaken, StoreUnavailable
from txgear.test.support.journal import FaultyStore, LeasedStore
from txgear.test.support.server import DurableServerTestCase, created, refused, submit

GONE = StoreUnavailable("the connection was lost")


class BeatsTests(DurableServerTestCase):
    store: LeasedStore

    def setUp(self) -> None:
        self.store = LeasedStore()
        self.begin()
        self.fixture.server.end_turn()
        self.thread.run_all()
        self.store.take()

    def beats(self, seconds: float) -> list[str]:
        """What the store is asked in so many seconds, in which nobody does anything."""
        for _ in range(int(seconds * 4)):
            self.clock.advance(0.25)
            self.thread.run_all()
        return self.store.take()

    def test_where_nothing_is_written(self) -> None:
        self.assertEqual(self.beats(1.75), [])
        self.assertEqual(self.beats(0.25), ["renew"])
        self.assertEqual(self.beats(4), ["renew"] * 2)

    def test_what_is_written_counts(self) -> None:
        self.beats(1.5)
        self.client.tell(submit())
        self.thread.run_all()
        self.assertEqual(self.client.heard(), created(1))
        self.assertEqual(self.store.take(), ["write"])
        self.assertEqual(self.beats(1.75), [])
        self.assertEqual(self.beats(0.25), ["renew"])

    def test_it_counts_from_its_beginning(self) -> None:
        """A call that takes long shows nothing of its end."""
        self.client.tell(submit())
        self.clock.advance(1.5)
        self.thread.run_all()
        self.store.take()
        self.assertEqual(self.beats(0.5), ["renew"])

    def test_what_is_read_does_not_count_nor_come_first(self) -> None:
        self.beats(1.75)
        self.fixture.journal.ask(Asking(ByNumber([1]), lambda *answer: None))
        self.fixture.server.end_turn()
        self.thread.run_all()
        self.assertEqual(self.store.take(), ["rows"])
        self.fixture.journal.ask(Asking(ByNumber([2]), lambda *answer: None))
        self.assertEqual(self.beats(0.25), ["renew", "rows"])

    def test_a_call_that_is_under_way(self) -> None:
        self.client.tell(submit())
        self.clock.advance(4)
        self.assertEqual(len(self.thread.waiting), 1)
        self.thread.run_all()
        self.assertEqual(self.store.take(), ["write", "renew"])

    def test_a_store_that_is_lost_by_it(self) -> None:
        self.store.fail("renew", GONE)
        with capturedLogs() as events:
            self.assertEqual(self.beats(2), ["renew", "open", "known"])
        self.assertEqual(events, [])
        self.assertEqual(self.beats(1.75), [])
        self.assertEqual(self.beats(0.25), ["renew"])

    def test_another_server_has_it(self) -> None:
        ended: list[bool] = []
        self.fixture.server.store_taken = lambda: ended.append(True)
        self.store.fail("renew", StoreTaken("another server has taken it"))
        with capturedLogs():
            self.assertEqual(self.beats(5), ["renew"])
        self.assertEqual(ended, [True])
        self.client.tell(submit())
        self.assertEqual(self.client.heard(), refused(b"The store cannot be used at present"))
        self.assertEqual(self.fixture.calls(), [])

    def test_not_after_the_end(self) -> None:
        closed = self.fixture.journal.close()
        self.thread.run_all()
        self.successResultOf(closed)
        self.assertEqual(self.beats(5), ["close"])
        self.assertEqual(self.fixture.calls(), [])


class OtherStoresTests(DurableServerTestCase):
    def test_a_store_that_is_not_watched(self) -> None:
        self.assertIsInstance(self.store, FaultyStore)
        self.fixture.server.end_turn()
        self.thread.run_all()
        self.store.take()
        self.clock.advance(10)
        self.thread.run_all()
        self.assertEqual(self.store.take(), [])

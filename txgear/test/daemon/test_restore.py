"""
Tests for L{txgear.daemon.restore}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.broker import Broker
from txgear.broker.inspection import functions
from txgear.broker.model import Peer
from txgear.broker.records import PAUSED, SCHEDULED, Batch, StoredValue
from txgear.broker.rules import Rules
from txgear.broker.search import Search
from txgear.daemon.restore import restore
from txgear.errors import StoreUnusable
from txgear.test.support.broker import FakeOutbox, record
from txgear.test.support.clock import START
from txgear.test.support.journal import FaultyStore


class RestoreTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.broker = Broker(FakeOutbox(), Rules(b"H:test"))
        self.store = FaultyStore()

    def test_an_empty_store(self) -> None:
        """It is opened, and gives the broker the numbers of jobs to come."""
        self.assertEqual(restore(self.broker, self.store, START, 10), [])
        self.assertEqual(self.store.take(), ["open", "reserve", "values", "replay"])
        self.assertEqual((self.broker.table.jobs, self.broker.table.next_number), ({}, 1))
        self.assertEqual(self.store.reserve(1), 11)

    def test_jobs_and_values(self) -> None:
        """Jobs are queued by their places, paused functions are paused, and all values are returned."""
        values = [StoredValue(PAUSED, b"f", 1.0), StoredValue(SCHEDULED, b"s", 60.0)]
        self.store.open()
        self.store.reserve(5)
        kept = [record(1), record(2, place=4), record(3)]
        self.store.write(Batch([(each, b"w" * each.size) for each in kept], (), (), values=values))
        self.store.close(5)
        self.assertEqual(sorted(restore(self.broker, self.store, START)), sorted(values))
        self.assertEqual(list(self.broker.table.jobs), [1, 3, 2])
        self.assertEqual(self.broker.table.next_number, 5)
        self.assertEqual(
            [function.name for function in functions(self.broker, Peer(0, ""), Search(paused=True))], [b"f"]
        )

    def test_an_error_of_the_store(self) -> None:
        """It is the caller's."""
        self.store.fail("open", StoreUnusable("no"))
        self.assertRaises(StoreUnusable, restore, self.broker, self.store, START)

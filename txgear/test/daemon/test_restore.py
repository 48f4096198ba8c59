"""
Tests for L{txgear.daemon.restore}.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker import records
from txgear.broker.broker import Broker
from txgear.broker.history import Aside, History
from txgear.broker.model import Peer
from txgear.broker.operators.inspection import functions
from txgear.broker.operators.search import Search
from txgear.broker.records import ASIDE, KEPT, NAMED, PAUSED, SCHEDULED, Batch, JobRecord, StoredValue
from txgear.broker.rules import Rules
from txgear.broker.states import DEAD, DONE
from txgear.daemon.restore import restore
from txgear.errors import StoreUnusable
from txgear.journal.journal import Journal
from txgear.test.support.broker import FakeOutbox, record
from txgear.test.support.clock import START
from txgear.test.support.journal import FaultyStore, ManualThread


class RestoreTests(SynchronousTestCase):
    """
    @ivar clock: stands at 0.0.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = FaultyStore()
        self.journal = Journal(self.store, ManualThread(), self.clock, 5.0)
        self.broker = Broker(FakeOutbox(), Rules(b"H:test"), self.journal)
        self.journal.begin(self.broker.store_events, lambda: None, lambda: None, 0)

    def keep(self, *jobs: JobRecord, values: Sequence[StoredValue] = ()) -> None:
        """The store has these."""
        self.store.open()
        self.store.write(Batch([(each, b"w" * each.size) for each in jobs], (), (), values=values))
        self.store.close(100)
        self.store.take()

    def test_an_empty_store(self) -> None:
        """It is opened, and gives the broker the numbers of jobs to come."""
        self.assertEqual(restore(self.broker, self.journal, self.store, START, 10), ([], 0, 0, 0))
        self.assertEqual(self.store.take(), ["open", "reserve", "values", "lanes"])
        self.assertEqual((self.broker.table.jobs, self.broker.table.next_number), ({}, 1))
        self.assertEqual(self.store.reserve(1), 11)
        self.assertFalse(self.journal.may_hide(b"u"))

    def test_jobs_and_values(self) -> None:
        """Jobs are counted, paused functions are paused, and all values are returned."""
        values = [StoredValue(PAUSED, b"f", 1.0), StoredValue(SCHEDULED, b"s", 60.0)]
        self.keep(
            record(1),
            record(2, due=1e9),
            record(3, function=b"g"),
            record(4, state=DONE, kind=KEPT),
            record(5, state=DONE, kind=NAMED),
            record(6, due=1e9, state=DEAD, kind=ASIDE),
            record(7, state=DEAD, kind=records.DEAD + 1),
            record(8, state=DEAD, kind=records.DEAD | records.OWN),
            record(9, state=DONE, kind=KEPT | records.OWN),
            values=values,
        )
        found = restore(self.broker, self.journal, self.store, START)
        self.assertEqual(
            (sorted(found.values), found.jobs, found.dead, found.others), (sorted(values), 3, 3, 3)
        )
        self.assertEqual(list(self.broker.archive.jobs), [6])
        self.assertEqual(self.broker.table.next_number, 100)
        self.assertEqual(
            [function.name for function in functions(self.broker, Peer(0, ""), Search(paused=True))], [b"f"]
        )
        self.broker.check()

    def test_it_takes_the_same_however_many_there_are(self) -> None:
        """Nothing is read of any job, and until the journal has, each may have any unique."""
        self.keep(*(record(number) for number in range(1, 2000)))
        self.assertEqual(restore(self.broker, self.journal, self.store, START).jobs, 1999)
        self.assertEqual(self.store.take(), ["open", "reserve", "values", "lanes"])
        self.assertEqual((len(self.broker.table.jobs), self.broker.table.rows), (0, 1999))
        self.assertTrue(self.journal.may_hide(b"u"))

    def test_what_is_set_aside(self) -> None:
        """It is there before anybody asks, in its order, page by page."""
        places = [*range(3000, 1500, -1)]
        history = History()
        history.aside = Aside("r", 1.0, "")
        jobs = []
        for place, function in zip(places, cycle((b"f", b"g", b"f")), strict=False):
            fields = {"due": 1e9, "state": DEAD, "kind": ASIDE, "history": history.to_bytes()}
            jobs.append(record(place, place=4000 - place, function=function, **fields))
        self.keep(*jobs)
        self.assertEqual(restore(self.broker, self.journal, self.store, START).dead, 1500)
        review = self.broker.archive.ended.reviews.by_name["r"]
        self.assertEqual(list(review.jobs), places)
        self.broker.check()

    def test_an_error_of_the_store(self) -> None:
        """It is the caller's."""
        self.store.fail("open", StoreUnusable("no"))
        self.assertRaises(StoreUnusable, restore, self.broker, self.journal, self.store, START)

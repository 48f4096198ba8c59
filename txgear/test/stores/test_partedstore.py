"""
Tests of L{txgear.stores.partedstore} at a node that lags; its machine is in a module of its own, and what it
does with real databases in tests/test_cluster_store.py and others.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TypeVar

from sqlalchemy.engine.interfaces import DBAPICursor
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import DoneElsewhere
from txgear.stores.leases import Times
from txgear.stores.membership import Membership
from txgear.stores.partedstore import PartedStore
from txgear.test.support.batches import adding, deleting, stored
from txgear.test.support.shareddatabase import FakeServerDialect, SharedDatabase

T = TypeVar("T")


class Follower(PartedStore):
    """
    One at a node that has what others have committed when it is read from, and not before.

    @ivar news: brings that.
    """

    news: Callable[[], None] | None = None

    def _reading(self, work: Callable[[DBAPICursor], T]) -> T:
        if self.news is not None:
            self.news()
        return super()._reading(work)


class LagTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.database = SharedDatabase(locks=True, check=lambda server, changes: None)
        self.addCleanup(self.database.close)
        self.other = PartedStore(*self.parts_of("other"))
        self.follower = Follower(*self.parts_of("follower"))
        for store in (self.other, self.follower):
            store.open()
            self.addCleanup(store.close, None)
        self.theirs, self.ours = self.other.reserve(1), self.follower.reserve(2)
        self.other.write(adding((stored(self.theirs, unique=b"u"), b"")))
        names = (b"u", b"v")
        self.batch = adding(
            *((stored(self.ours + index, unique=name), b"") for index, name in enumerate(names))
        )

    def parts_of(self, name: str) -> tuple[FakeServerDialect, Membership, Times]:
        """What a store is made of."""
        dialect = FakeServerDialect(self.database, SimpleNamespace(stopped_until=0.0))
        return dialect, Membership(name, "", 12.0), Times(sleep=self.database.spend)

    def joined(self) -> dict[int, int]:
        error = self.assertRaises(DoneElsewhere, self.follower.write, self.batch)
        return {number: record.number for number, record in error.joined.items()}

    def test_one_that_has_ended_before(self) -> None:
        """It is done once more."""
        self.follower._server.lags = True
        self.follower.news = lambda: self.other.write(deleting([self.theirs]))
        self.follower.write(self.batch)
        numbers = self.database.ask("SELECT number FROM txgear_claims ORDER BY number")
        self.assertEqual(numbers, [(self.ours,), (self.ours + 1,)])

    def test_one_that_has_not(self) -> None:
        self.follower._server.lags = True
        self.assertEqual(self.joined(), {self.ours: self.theirs})
        self.assertEqual(self.database.ask("SELECT number FROM txgear_jobs"), [(self.theirs,)])

    def test_where_nothing_lags(self) -> None:
        """Nobody is asked."""
        self.follower.news = lambda: self.fail("it has asked")
        self.assertEqual(self.joined(), {self.ours: self.theirs})

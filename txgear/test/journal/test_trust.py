"""Tests of L{txgear.journal.trust}."""

from __future__ import annotations

from math import inf

from txgear.errors import StoreUnavailable
from txgear.journal.trust import LAPSED, MARGIN
from txgear.protocol.constants import CAN_DO, GRAB_JOB, JOB_ASSIGN, NO_JOB, NOOP, PRE_SLEEP
from txgear.protocol.packets import request, response
from txgear.test.support.journal import LeasedStore
from txgear.test.support.server import (
    HANDLES,
    DurableServerTestCase,
    created,
    refused,
    submit,
)

LEASE = 8.0
GONE = StoreUnavailable("the connection was lost")


class TrustTests(DurableServerTestCase):
    store: LeasedStore

    def setUp(self) -> None:
        self.store = LeasedStore()
        self.begin(lease=LEASE)
        self.began = self.clock.seconds()

    @property
    def until(self) -> float:
        """Until when jobs are handed out, from the start on."""
        until = self.fixture.server.broker.dispatcher.trusted_until
        trust = self.fixture.journal.trust
        assert trust is not None
        self.assertEqual(trust.until, until)
        return until - self.began

    def test_from_the_start(self) -> None:
        self.assertEqual(self.until, LEASE - MARGIN)
        self.assertGreater(MARGIN, 0.5)

    def test_what_changes_there(self) -> None:
        self.clock.advance(1)
        self.client.tell(submit())
        self.clock.advance(0.5)
        self.assertEqual(self.until, LEASE - MARGIN)
        self.thread.run()
        self.assertEqual(self.until, 1 + LEASE - MARGIN)
        self.clock.advance(2)
        self.thread.run_all()
        self.assertEqual(self.until, 3.5 + LEASE - MARGIN)

    def test_what_is_read(self) -> None:
        self.clock.advance(1)
        self.fixture.journal.errands.run(
            lambda store: store.values(), lambda *done: None, lambda called: None
        )
        self.thread.run_all()
        self.assertEqual(self.until, LEASE - MARGIN)

    def test_it_is_opened_again(self) -> None:
        self.clock.advance(1)
        self.store.fail("write", GONE)
        self.client.tell(submit())
        self.thread.run()
        self.clock.advance(0.5)
        self.thread.run()
        self.assertEqual(self.until, 1 + LEASE - MARGIN)
        self.thread.run_all()
        self.assertEqual(self.client.heard(), created(1))

    def test_its_end(self) -> None:
        """
        What decides is the time, whether or not a timer has come: there is nobody to tell it to who was
        stopped.
        """
        self.client.tell(submit(), submit(unique=b"u"))
        self.thread.run_all()
        self.client.heard()
        journal, worker = self.fixture.journal, self.fixture.connect()
        worker.tell(request(CAN_DO, b"f"))
        assert journal.trust is not None
        self.clock.rightNow = self.began + LEASE - MARGIN - 0.25
        self.assertEqual((journal.unavailable, journal.unavailable_since), (None, 0.0))
        self.assertEqual((journal.trust.left, journal.trust.lapsed), (0.25, False))
        self.clock.rightNow += 0.25
        self.assertEqual(journal.unavailable, LAPSED)
        self.assertEqual(journal.unavailable_since, self.began + LEASE - MARGIN)
        self.clock.rightNow += 1.0
        self.assertEqual((journal.trust.left, journal.trust.lapsed), (0.0, True))
        self.assertEqual(worker.ask(request(GRAB_JOB)), response(NO_JOB))
        self.assertEqual(self.client.ask(submit(unique=b"u")), refused(LAPSED.encode()))
        self.assertEqual(self.client.ask(submit(unique=b"new")), refused(LAPSED.encode()))
        worker.tell(request(PRE_SLEEP))
        self.assertEqual(worker.heard(), b"")
        self.clock.advance(0)
        self.thread.run_all()
        self.assertEqual(worker.heard(), response(NOOP))
        self.assertEqual(worker.ask(request(GRAB_JOB)), response(JOB_ASSIGN, HANDLES[1], b"f", b"w"))
        self.client.tell(submit(unique=b"u"))
        self.assertEqual(self.client.heard(), created(2))

    def test_one_that_nobody_takes_over(self) -> None:
        self.begin()
        self.assertIsNone(self.fixture.journal.trust)
        self.assertEqual(self.fixture.server.broker.dispatcher.trusted_until, inf)
        self.clock.rightNow += 1e6
        self.assertIsNone(self.fixture.journal.unavailable)

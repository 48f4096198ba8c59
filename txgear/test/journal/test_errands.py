"""Tests of L{txgear.journal.errands}."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.ports import Asking
from txgear.broker.records import ByNumber
from txgear.errors import StoreRefused, StoreTaken, StoreUnavailable
from txgear.journal.errands import Errands, Pauses
from txgear.journal.link import LAST_RETRY, Link
from txgear.test.journal.test_writes import Unheard
from txgear.test.support.journal import FaultyStore, ManualThread
from txgear.test.support.server import DurableServerTestCase, created, submit

GONE = StoreUnavailable("the connection was lost")


class ErrandTests(DurableServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.told: list[Any] = []

    def run_errand(self, call: Any = lambda store: store.values()) -> None:
        self.fixture.journal.errands.run(
            call,
            lambda *found: self.told.append(found),
            lambda was_called: self.told.append("failed" if was_called else "given up"),
        )

    def test_at_once(self) -> None:
        began = self.clock.seconds()
        self.run_errand()
        self.clock.advance(0.5)
        self.thread.run_all()
        self.assertEqual(self.told, [([], began, began + 0.5)])
        self.assertEqual(self.store.take(), ["values"])

    def test_before_all_that_waits(self) -> None:
        """But for what is under way; and what waits for an answer has it in between."""
        self.client.tell(submit())
        self.fixture.journal.ask(Asking(ByNumber([1]), lambda *answer: None))
        self.other.tell(submit())
        self.run_errand()
        self.run_errand()
        self.assertEqual(self.told, [])
        self.thread.run()
        self.assertEqual(self.client.heard(), created(1))
        self.thread.run_all()
        self.assertEqual(self.store.take(), ["write", "values", "values", "rows", "write"])
        self.assertEqual(len(self.told), 2)
        self.assertEqual(self.other.heard(), created(2))

    def test_it_shows_nothing_of_writes(self) -> None:
        before = self.fixture.journal._link.changed_at
        self.clock.advance(1)
        self.run_errand()
        self.thread.run_all()
        self.assertEqual(self.fixture.journal._link.changed_at, before)

    def test_it_fails(self) -> None:
        for error in (GONE, StoreRefused("no")):
            self.store.fail("values", error)
            self.run_errand()
            self.thread.run_all()
            self.assertEqual(self.told, ["failed"])
            self.told.clear()
        self.client.tell(submit())
        self.thread.run_all()
        self.assertEqual(self.client.heard(), created(1))

    def test_a_store_that_does_not_answer(self) -> None:
        self.run_errand()
        self.run_errand()
        self.client.tell(submit())
        with capturedLogs():
            self.clock.advance(self.fixture.server.settings.store_timeout)
        self.assertEqual(self.told, ["given up"])
        self.run_errand()
        self.assertEqual(self.told, ["given up"] * 2)
        self.store.fail("values", GONE)
        self.thread.run_all()
        self.assertEqual(self.told, ["given up", "given up", "failed"])

    def test_another_server_has_it(self) -> None:
        self.store.fail("values", StoreTaken("another server has taken it"))
        self.run_errand()
        self.run_errand()
        with capturedLogs():
            self.thread.run_all()
        self.assertEqual(self.told, ["failed", "given up"])
        self.run_errand()
        self.assertEqual(self.told, ["failed", "given up", "given up"])

    def test_the_end(self) -> None:
        self.run_errand()
        self.run_errand()
        closed = self.fixture.journal.close()
        self.assertEqual(self.told, ["given up"])
        self.thread.run_all()
        self.successResultOf(closed)
        self.run_errand()
        self.assertEqual(self.told[2:], ["given up"])


class PausesTests(SynchronousTestCase):
    def test_each_is_twice_as_long(self) -> None:
        pauses = Pauses(0.5)
        self.assertEqual([pauses.failed(True) for _ in range(20)], [0.5, 1.0, 2.0, 4.0, *[LAST_RETRY] * 16])
        pauses.succeeded()
        self.assertEqual(pauses.failed(True), 0.5)

    def test_not_while_the_store_is_away(self) -> None:
        """The first one after an outage is soon."""
        pauses = Pauses(0.5)
        self.assertEqual([pauses.failed(True) for _ in range(3)], [0.5, 1.0, 2.0])
        self.assertEqual([pauses.failed(False) for _ in range(3)], [0.5] * 3)
        self.assertEqual(pauses.failed(True), 0.5)


class DefectTests(SynchronousTestCase):
    def fail_over(self, *found: object) -> None:
        raise ZeroDivisionError

    def test_one_in_what_follows(self) -> None:
        """It costs nobody else the store."""
        store, thread, clock = FaultyStore(), ManualThread(), Clock()
        store.open()
        link = Link(store, thread, clock, Unheard())
        errands = Errands(link, clock, lambda: None)
        errands.run(lambda store: 1, self.fail_over, lambda was_called: None)
        self.assertTrue(errands.ready)
        errands.start()
        thread.run()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertFalse(errands.ready)
        self.assertEqual(link.retries.attempts, 0)

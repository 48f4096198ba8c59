"""Tests of L{txgear.journal.reports}."""

from __future__ import annotations

from twisted.logger import capturedLogs, formatEvent

from txgear.errors import StoreRefused, StoreUnavailable
from txgear.journal.reports import AGAIN_SECONDS, FAILURES, Reports
from txgear.test.support.journal import WELL, FaultyStore, ReportingStore
from txgear.test.support.server import DurableServerFixture, DurableServerTestCase, created, submit

DOUBTFUL = WELL._replace(doubts=("synchronous is OFF",))


class ReportsTests(DurableServerTestCase):
    store: ReportingStore

    def setUp(self) -> None:
        self.store = ReportingStore()
        self.begin()
        self.thread.run_all()

    @property
    def reports(self) -> Reports:
        found = self.fixture.journal.reports
        assert found is not None
        return found

    def turn(self, seconds: float = AGAIN_SECONDS) -> None:
        self.clock.advance(seconds)
        self.fixture.server.end_turn()
        self.thread.run_all()

    def test_each_minute(self) -> None:
        self.turn(0)
        self.assertEqual((self.reports.last, self.store.questions), (WELL, 1))
        self.turn(AGAIN_SECONDS - 1)
        self.assertEqual(self.store.questions, 1)
        self.store.said = WELL._replace(size=8192)
        self.turn(1)
        self.assertEqual((self.reports.last, self.store.questions), (self.store.said, 2))
        self.assertEqual(self.reports.at, self.clock.seconds())

    def test_doubts_are_in_the_log_once(self) -> None:
        self.store.said = DOUBTFUL
        with capturedLogs() as events:
            for _ in range(3):
                self.turn()
        self.assertEqual([formatEvent(event) for event in events], ["the store memory:: synchronous is OFF"])
        self.store.said = WELL
        self.turn()
        self.store.said = DOUBTFUL
        with capturedLogs() as events:
            self.turn()
        self.assertEqual(len(events), 1)

    def test_jobs_do_not_suffer(self) -> None:
        """A store that cannot say it keeps jobs all the same, and is not asked for ever."""
        self.store.said = StoreRefused("permission denied")
        with capturedLogs() as events:
            for _ in range(4):
                self.turn()
        self.assertEqual(self.store.questions, FAILURES)
        self.assertIn("does not say how durable it is", formatEvent(events[-1]))
        self.client.tell(submit())
        self.thread.run_all()
        self.assertEqual(self.client.heard(), created(1))

    def test_it_is_lost_by_the_question(self) -> None:
        self.store.said = StoreUnavailable("gone")
        with capturedLogs():
            for _ in range(4):
                self.turn(1)
        self.assertEqual(self.store.questions, FAILURES)
        self.client.tell(submit())
        self.thread.run_all()
        self.assertEqual(self.client.heard(), created(1))
        self.assertIsNone(self.fixture.journal.unavailable)

    def test_it_is_asked_again_when_it_was_opened_again(self) -> None:
        self.turn(0)
        self.store.fail("write", StoreUnavailable("gone"))
        self.client.tell(submit())
        self.thread.run_all()
        self.turn(0)
        self.assertEqual(self.store.questions, 2)

    def test_not_at_the_end(self) -> None:
        asked = self.store.questions
        self.clock.advance(AGAIN_SECONDS)
        closed = self.fixture.journal.close()
        self.thread.run_all()
        self.successResultOf(closed)
        self.assertEqual(self.store.questions, asked)


class OtherStoresTests(DurableServerTestCase):
    def test_a_store_that_says_nothing_of_itself(self) -> None:
        self.assertIsNone(DurableServerFixture(FaultyStore()).journal.reports)

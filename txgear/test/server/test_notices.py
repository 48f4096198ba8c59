"""Tests of L{txgear.server.notices}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Peer
from txgear.broker.tenants import Tenant
from txgear.server.notices import MOST_KINDS, MOST_LOGGED, Notices
from txgear.test.support.broker import BrokerFixture


class NoticesTests(SynchronousTestCase):
    log = Logger()

    def setUp(self) -> None:
        self.clock = Clock()
        self.notices = Notices(self.clock)

    def said(
        self, *numbers: int, kind: str = "kind", burst: int = 1, seconds: float = 0.0
    ) -> list[str | None]:
        """What the log hears of these, and then of time that passes."""
        with capturedLogs() as events:
            for number in numbers:
                self.notices.emit(self.log, LogLevel.warn, kind, "number {number}", burst, number=number)
            self.clock.pump([1.0] * int(seconds))
        return [formatEvent(event) for event in events]

    def test_the_first_at_once_and_the_others_once_a_minute(self) -> None:
        self.assertEqual(self.said(1), ["number 1"])
        self.assertEqual(self.said(2, 3, 4, seconds=59), [])
        self.assertEqual(self.said(seconds=1), ["number 4; 2 more like it in the last minute"])
        self.assertEqual(self.said(5, seconds=60), ["number 5"])

    def test_once_for_good(self) -> None:
        with capturedLogs() as events:
            for number in (1, 2):
                self.notices.emit_once(self.log, LogLevel.warn, "number {number}", number=number)
            self.clock.advance(1000.0)
            self.notices.emit_once(self.log, LogLevel.warn, "other {number}", number=3)
        self.assertEqual([formatEvent(event) for event in events], ["number 1", "other 3"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_acts(self) -> None:
        """Those of a kind from one address are counted together, whoever does them."""
        one, other = Peer(1, "192.0.2.1"), Peer(2, "192.0.2.2")
        other.tenant = Tenant("ops")
        with capturedLogs() as events:
            for _ in range(MOST_LOGGED + 1):
                self.notices.acted(self.log, "command", one, "{address}{whose}: {what}", what="pause")
            self.notices.acted(self.log, "task", one, "{address}{whose}: {what}", what="purge")
            self.notices.acted(self.log, "command", other, "{address}{whose}: {what}", what="pause")
        said = [formatEvent(event) for event in events]
        self.assertEqual(said[: MOST_LOGGED + 1], ["192.0.2.1: pause"] * MOST_LOGGED + ["192.0.2.1: purge"])
        self.assertEqual(said[MOST_LOGGED + 1 :], ["192.0.2.2, identity ops: pause"])
        self.assertEqual({event["log_level"] for event in events}, {LogLevel.info})

    def test_a_damaged_row(self) -> None:
        with capturedLogs() as events:
            self.notices.damaged(b"H:x:1", "bad")
        (event,) = events
        text = "what the store has of H:x:1 is damaged; it goes on without its settings and attempts: bad"
        self.assertEqual((formatEvent(event), event["log_level"]), (text, LogLevel.error))

    def test_missing_rows(self) -> None:
        with capturedLogs() as events:
            self.notices.missing(b"mail", 3)
        (event,) = events
        text = "of the jobs of mail that the store has counted 3 are not found in it"
        self.assertEqual((formatEvent(event), event["log_level"]), (text, LogLevel.error))

    def test_it_is_new_after_a_quiet_minute(self) -> None:
        self.assertEqual(self.said(1, seconds=60), ["number 1"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.said(2), ["number 2"])

    def test_some_at_once(self) -> None:
        self.assertEqual(self.said(1, 2, 3, 4, 5, burst=3), ["number 1", "number 2", "number 3"])
        self.assertEqual(self.said(seconds=60), ["number 5; 1 more like it in the last minute"])

    def test_each_kind_for_itself(self) -> None:
        self.assertEqual(self.said(1, 2), ["number 1"])
        self.assertEqual(self.said(3, kind="other"), ["number 3"])

    def test_a_great_many_kinds_are_one(self) -> None:
        for number in range(MOST_KINDS):
            self.assertEqual(len(self.said(number, kind=f"kind {number}")), 1)
        self.assertEqual(self.said(1, kind="one more"), ["number 1"])
        self.assertEqual(self.said(2, kind="and another"), [])
        self.assertEqual(self.said(seconds=60), ["number 2"])

    def test_what_is_left_is_said_at_the_end(self) -> None:
        self.said(1, 2, 3)
        with capturedLogs() as events:
            self.notices.stop()
            self.notices.stop()
        (event,) = events
        self.assertEqual(formatEvent(event), "number 3; 1 more like it in the last minute")
        self.assertEqual(self.clock.getDelayedCalls(), [])


class TakenBackTests(SynchronousTestCase):
    """What the broker has taken back."""

    def test_each_function_for_itself(self) -> None:
        fixture, clock = BrokerFixture(), Clock()
        fixture.broker.lifecycle.witness = Notices(clock)
        worker = fixture.worker(b"a b")
        fixture.broker.can_do(worker, b"g", 5.0, fixture.now)
        fixture.submit(None, b"a b")
        fixture.submit(None, b"g")
        with capturedLogs() as events:
            for _ in range(3):
                fixture.grab(worker)
                fixture.grab(worker)
                fixture.pass_time(5.0)
            clock.advance(60)
        said = [formatEvent(event) for event in events]
        self.assertEqual(
            said,
            [
                "H:test:2 of g is taken back from 192.0.2.1 1 after 5 seconds: its time is over (attempt 1)",
                "H:test:2 of g is taken back from 192.0.2.1 1 after 5 seconds: its time is over (attempt 3);"
                " 1 more like it in the last minute",
            ],
        )

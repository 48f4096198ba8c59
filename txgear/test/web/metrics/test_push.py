"""Tests of L{txgear.web.metrics.push}."""

from __future__ import annotations

from typing import Any

from prometheus_client.metrics_core import Metric
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, Cooperator
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.test.support.server import ServerFixture
from txgear.web.metrics.push import NotSent, Push


class PushTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fixture = ServerFixture()
        self.clock = self.fixture.clock
        self.sent: list[list[Metric]] = []
        self.waiting: list[Deferred[Any]] = []
        self.push = Push(
            self.fixture.server, self.clock, self.in_thread, 10.0, "collector:4318", self.sent.append
        )
        self.push.start()

    def in_thread(self, call: Any) -> Deferred[Any]:
        """The thread is busy until L{answer}."""
        call()
        waiting: Deferred[Any] = Deferred()
        self.waiting.append(waiting)
        return waiting

    def pass_time(self, seconds: float = 10.0) -> None:
        self.clock.advance(seconds)
        for _ in range(200):
            self.clock.advance(0)

    def answer(self, result: Any = None) -> list[str]:
        """The thread has done it; what the log hears."""
        waiting = self.waiting.pop()
        with capturedLogs() as events:
            (waiting.errback if isinstance(result, Exception) else waiting.callback)(result)
        return [formatEvent(event) for event in events]

    def test_again_and_again(self) -> None:
        self.pass_time(9)
        self.assertEqual(self.sent, [])
        self.pass_time(1)
        self.assertEqual(len(self.sent), 1)
        self.assertIn("gearman_up", [metric.name for metric in self.sent[0]])
        self.assertEqual(self.answer(), [])
        self.pass_time(10)
        self.assertEqual(len(self.sent), 2)

    def test_one_at_a_time(self) -> None:
        self.pass_time()
        self.pass_time(1000)
        self.assertEqual(len(self.sent), 1)
        self.answer()
        self.pass_time(10)
        self.assertEqual(len(self.sent), 2)

    def test_one_that_is_away_is_told_once(self) -> None:
        said: list[list[str]] = []
        for result in (NotSent("nobody listens"), OSError("still not"), None, None, NotSent("again")):
            self.pass_time()
            said.append(self.answer(result))
        self.assertEqual(
            said,
            [
                [
                    "metrics cannot be sent to collector:4318: nobody listens; it is tried again each"
                    " 10 seconds"
                ],
                [],
                ["metrics are sent to collector:4318 again"],
                [],
                ["metrics cannot be sent to collector:4318: again; it is tried again each 10 seconds"],
            ],
        )

    def test_a_defect_is_no_end(self) -> None:
        self.pass_time()
        self.answer(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.pass_time()
        self.assertEqual(len(self.sent), 2)

    def test_stopped_before_its_time(self) -> None:
        self.push.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_while_values_are_read(self) -> None:
        steps = Clock()
        self.fixture.server.patient = Cooperator(
            lambda: lambda: True, lambda step: steps.callLater(1, step), started=True
        )
        self.clock.advance(10)
        steps.advance(1)
        self.push.stop()
        steps.pump([1] * 200)
        self.assertEqual(steps.getDelayedCalls(), [])
        self.assertEqual((self.sent, self.clock.getDelayedCalls()), ([], []))

    def test_stopped_while_it_sends(self) -> None:
        self.pass_time()
        self.push.stop()
        self.assertEqual(self.answer(NotSent("late")), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_server_has_stopped_first(self) -> None:
        self.clock.advance(10)
        self.fixture.server.stop()
        self.push.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

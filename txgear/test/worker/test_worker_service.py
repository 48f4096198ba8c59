"""
Tests for L{txgear.worker}: start and stop in any order, and what is logged of servers that cannot be reached.
"""

from __future__ import annotations

from itertools import product

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs, formatEvent

from txgear.protocol.constants import NO_JOB, NOOP
from txgear.test.support.client import ASKED, GRAB, ScriptedServer, WorkerTestCase
from txgear.worker import Worker

REFUSED = "Connection was refused by other side."


class OrderTests(WorkerTestCase):
    def idle(self) -> Worker:
        worker = self.start()
        self.server.line.send(NO_JOB)
        return worker

    def test_start_while_it_stops(self) -> None:
        """It works again as soon as it has stopped."""
        worker = self.idle()
        stopped = worker.stopService()
        worker.startService()
        self.assertEqual(1, self.server.attempts)
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(2, self.server.attempts)
        self.assertEqual([ASKED, ("CAN_DO", b"f")], self.server.line.welcome())
        self.assertEqual(GRAB, self.server.line.packets())

    def test_start_while_jobs_end(self) -> None:
        """The stop is as it always is: what runs is finished, and nothing more is asked for meanwhile."""
        worker = self.start()
        line = self.server.line
        self.assign(line, b"H:1")
        line.packets()
        stopped = worker.stopService()
        worker.startService()
        line.send(NOOP)
        self.clock.advance(30)
        self.assertNoResult(stopped)
        self.assertEqual(["ECHO_REQ"], [packet[0] for packet in line.packets()])
        self.results[0].callback(b"r")
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.server.line.welcome()
        self.assertEqual(GRAB, self.server.line.packets())

    def test_stop_again(self) -> None:
        """What was asked last holds."""
        worker = self.idle()
        stopped = worker.stopService()
        worker.startService()
        again = worker.stopService()
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.successResultOf(again)
        self.clock.advance(60)
        self.assertEqual(1, self.server.attempts)

    def test_start_in_a_callback(self) -> None:
        """Of the stop."""
        worker = self.idle()
        stopped = worker.stopService().addCallback(lambda _: worker.startService())
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(2, self.server.attempts)

    def test_parent(self) -> None:
        """Stopped by hand and by its parent."""
        parent = MultiService()
        worker = self.idle()
        worker.setServiceParent(parent)
        stopping = [worker.stopService(), parent.stopService(), worker.stopService()]
        self.clock.advance(0)
        for stopped in stopping:
            self.successResultOf(stopped)

    def test_any_order(self) -> None:
        """Nothing raises, every Deferred fires, and what was asked last is what holds."""
        for state in ("new", "hanging", "refusing", "connected", "ready", "busy"):
            for order in product(("startService", "stopService"), repeat=4):
                server = ScriptedServer(self.clock)
                server.hanging, server.refusing = state == "hanging", state == "refusing"
                worker = self.make_worker(server, stop_timeout=5)
                worker.register("f", self.wait)
                if state != "new":
                    worker.startService()
                if state in ("ready", "busy"):
                    server.line.welcome()
                if state == "busy":
                    self.assign(server.line, b"H:1")
                stopping: list[Deferred[None]] = list(
                    filter(None, [getattr(worker, name)() for name in order])
                )
                server.hanging = server.refusing = False
                self.clock.pump([5, 0, 1, 1, 1])
                for stopped in stopping:
                    self.successResultOf(stopped)
                open_lines = [line for line in server.lines if not line.ended]
                works = int(order[-1] == "startService" and state != "hanging")
                self.assertEqual(works, len(open_lines), (state, order))


class UnreachableTests(WorkerTestCase):
    """Who has not set up a log sees critical events only."""

    def setUp(self) -> None:
        super().setUp()
        self.second = ScriptedServer(self.clock, "second")
        self.server.refusing = self.second.refusing = True
        captured = capturedLogs()
        self.events = captured.__enter__()
        self.seen = 0
        self.addCleanup(captured.__exit__, None, None, None)

    def logged(self) -> list[tuple[str, str]]:
        found = [
            (event["log_level"].name, formatEvent(event))
            for event in self.events[self.seen :]
            if event["log_level"] >= LogLevel.warn
        ]
        self.seen = len(self.events)
        return found

    def test_no_server(self) -> None:
        """The reason is logged once."""
        self.make_worker().startService()
        words = "no server can be reached, the worker tries again: server: " + REFUSED
        self.assertEqual([("critical", words)], self.logged())
        self.clock.pump([1] * 100)
        self.assertEqual([], self.logged())
        self.server.refusing, self.server.hanging = False, True
        self.clock.pump([1] * 100)
        words = "no server can be reached, the worker tries again: server: no connection within 10 seconds"
        self.assertEqual([("critical", words)], self.logged())

    def test_it_goes_again(self) -> None:
        """After it has answered the same reason is news."""
        self.server.refusing = False
        self.make_worker().startService()
        self.server.line.welcome()
        self.server.refusing = True
        self.server.line.lose()
        self.assertEqual([], self.logged())
        self.clock.pump([1] * 30)
        words = "no server can be reached, the worker tries again: server: " + REFUSED
        self.assertEqual([("critical", words)], self.logged())

    def test_ends_before_it_answers(self) -> None:
        """A certificate that is not trusted looks like this: the connection is made, and ends."""
        self.server.refusing = False
        self.make_worker().startService()
        words = "no server can be reached, the worker tries again: server: certificate verify failed"
        for _ in range(5):
            self.server.line.lose(ConnectionError("certificate verify failed"))
            self.clock.advance(10)
        self.assertEqual([("critical", words)], self.logged())

    def test_one_of_two(self) -> None:
        """As long as there is another, it is no more than a warning."""
        self.second.refusing = False
        self.make_worker(self.server, self.second).startService()
        self.second.line.welcome()
        self.assertEqual([("warn", f"server cannot be reached: {REFUSED}")], self.logged())
        self.second.refusing = True
        self.second.line.lose()
        self.clock.pump([1] * 30)
        words = f"no server can be reached, the worker tries again: server: {REFUSED}; second: {REFUSED}"
        self.assertEqual([("critical", words)], self.logged())

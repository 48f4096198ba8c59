"""
Tests for L{txgear.worker.links}, through a worker: tokens, and functions that it may not do.
"""

from __future__ import annotations

from twisted.logger import LogLevel, capturedLogs, formatEvent

from txgear.protocol.constants import ECHO_RES, ERROR, LOGGED_IN, NO_JOB, NOOP, OPTION_RES
from txgear.test.support.client import ASKED, GRAB, STATE, ScriptedServer, WorkerTestCase
from txgear.worker import Worker

TOKEN = "txg_abcd1234_" + "s" * 43


class AccessTestCase(WorkerTestCase):
    def setUp(self) -> None:
        super().setUp()
        captured = capturedLogs()
        self.events = captured.__enter__()
        self.seen = 0
        self.addCleanup(captured.__exit__, None, None, None)

    def logged(self) -> list[str]:
        """What operators are shown since the last look."""
        new = self.events[self.seen :]
        self.seen = len(self.events)
        return [formatEvent(event) for event in new if event["log_level"] >= LogLevel.info]


class TokenTests(AccessTestCase):
    def test_before_anything_else(self) -> None:
        """Also before a function that is registered meanwhile."""
        worker = self.make_worker(token=TOKEN, client_id="w")
        worker.register("f", self.wait)
        worker.startService()
        line = self.server.line
        self.assertEqual([ASKED], line.packets())
        worker.register("g", self.wait)
        self.assertEqual([], line.packets())
        line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([("LOGIN", TOKEN.encode())], line.packets())
        line.send(LOGGED_IN, b"workers")
        self.assertEqual([("SET_CLIENT_ID", b"w"), ("CAN_DO", b"f"), ("CAN_DO", b"g")], line.welcome())
        self.assertEqual([STATE, ("GRAB_JOB_OPTIONS",)], line.packets())
        self.assertNotIn("sss", repr(self.events))

    def test_refused(self) -> None:
        """It is told once, and tried again, less and less often; the other servers go on."""
        second = ScriptedServer(self.clock, "second")
        worker = self.make_worker(self.server, second, token=TOKEN)
        worker.register("f", self.wait)
        worker.startService()
        second.line.send(OPTION_RES, b"txgear-1")
        second.line.send(LOGGED_IN, b"workers")
        second.line.packets()
        second.line.send(ECHO_RES, b"txgear")
        self.logged()
        moments = []
        for _ in range(600):
            if not self.server.line.ended:
                self.server.line.send(OPTION_RES, b"txgear-1")
                self.server.line.send(ERROR, b"ACCESS_DENIED", b"This token is not known")
                moments.append(self.clock.seconds())
                self.clock.advance(0)
            self.clock.advance(0.5)
            for name, *data in second.line.packets():
                if name == "ECHO_REQ":
                    second.line.send(ECHO_RES, *data)
                elif name.startswith("GRAB"):
                    second.line.send(NO_JOB)
        self.assertEqual([0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 63.5, 123.5, 183.5, 243.5], moments)
        warning, refusal = self.logged()
        self.assertIn("the token goes to server without TLS", warning)
        words = "server cannot be reached: it did not let us in: ACCESS_DENIED: This token is not known"
        self.assertEqual(words, refusal)


class RefusedFunctionsTests(AccessTestCase):
    def refused(self, function: bytes) -> None:
        self.server.line.send(ERROR, b"ACCESS_DENIED", b"Not allowed: work " + function)

    def begin(self) -> Worker:
        """A worker of two functions, of which it may not do one."""
        worker = self.make_worker()
        for name in ("f", "a\tb"):
            worker.register(name, self.wait)
        self.assertEqual({}, worker.refused)
        worker.startService()
        # As names are shown in lists.
        self.refused(b"a\\x09b")
        self.server.line.welcome()
        return worker

    def test_told(self) -> None:
        """The log tells it, and so does the worker, who goes on with the rest."""
        worker = self.begin()
        self.assertEqual({b"a\tb": ["server"]}, worker.refused)
        self.assertEqual(
            [
                "server does not let this worker work: ACCESS_DENIED: Not allowed: work a\\x09b",
                "working at server: 1 function",
            ],
            self.logged(),
        )
        self.assertEqual(GRAB, self.server.line.packets())
        self.assign(self.server.line, b"H:1")
        self.assertEqual(1, len(self.jobs))

    def test_while_a_job_is_asked_for(self) -> None:
        """The refusal is not the answer to that."""
        worker = self.begin()
        worker.register("g", self.wait)
        self.refused(b"g")
        self.assertFalse(self.server.line.ended)
        self.assertEqual({b"a\tb": ["server"], b"g": ["server"]}, worker.refused)
        self.server.line.packets()
        self.server.line.send(NO_JOB)
        self.assertEqual([("PRE_SLEEP",)], self.server.line.packets())
        self.server.line.send(NOOP)
        self.assertEqual(GRAB, self.server.line.packets())

    def test_each_connection_has_its_own(self) -> None:
        """It is told once, however often it is the same; and what is allowed meanwhile is not refused."""
        worker = self.begin()
        self.logged()
        self.server.line.lose()
        self.clock.advance(0.5)
        self.refused(b"a\\x09b")
        self.server.line.welcome()
        self.assertEqual({b"a\tb": ["server"]}, worker.refused)
        self.assertNotIn("does not let", str(self.logged()))
        self.server.line.lose()
        self.clock.advance(1.0)
        self.server.line.welcome()
        self.assertEqual({}, worker.refused)

    def test_something_else(self) -> None:
        """What no function of ours is refused with is told as it is, once."""
        worker = self.begin()
        self.logged()
        for text in (b"Not allowed: work another", b"Not known any more: log in again"):
            self.server.line.send(ERROR, b"ACCESS_DENIED", text)
        self.assertEqual({b"a\tb": ["server"]}, worker.refused)
        self.assertEqual(
            ["server does not let this worker work: ACCESS_DENIED: Not allowed: work another"], self.logged()
        )

"""
Tests for L{txgear.worker}: registering functions, and stopping. The other files test its parts.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError

from txgear.protocol.constants import (
    ECHO_RES,
    NO_JOB,
    NOOP,
)
from txgear.test.support.client import ASKED, GRAB, ScriptedServer, WorkerTestCase
from txgear.worker import WorkerJob


def mock_job(workload: bytes) -> Any:
    """As much of a job as a function of bytes to bytes needs."""

    class Workload:
        def __init__(self) -> None:
            self.workload = workload

    return Workload()


class RegistrationTests(WorkerTestCase):
    def test_greeting(self) -> None:
        """A worker sends its name and its functions, and asks for a job once the server has answered."""
        worker = self.make_worker(client_id="w1")

        @worker.function("reverse", timeout=30)
        def reverse(job: WorkerJob) -> bytes:
            return job.workload[::-1]

        @worker.function(b"plain")
        def plain(job: WorkerJob) -> None:
            """Does nothing."""

        self.assertEqual((b"cba", None), (reverse(mock_job(b"abc")), plain(mock_job(b""))))
        worker.startService()
        line = self.server.line
        self.assertEqual(
            [
                ("SET_CLIENT_ID", b"w1"),
                ASKED,
                ("CAN_DO_TIMEOUT", b"reverse", b"30000"),
                ("CAN_DO", b"plain"),
            ],
            line.welcome(),
        )
        self.assertEqual(GRAB, line.packets())

    def test_again_after_reconnect(self) -> None:
        """All is sent again after a reconnect, with the wait between attempts."""
        self.start()
        self.server.line.lose()
        self.clock.advance(0.4)
        self.assertEqual(1, self.server.attempts)
        self.clock.advance(0.1)
        self.assertEqual([ASKED, ("CAN_DO", b"f")], self.server.line.welcome())
        self.assertEqual(GRAB, self.server.line.packets())

    def test_later(self) -> None:
        """A function that is registered later is sent at once, and a sleeping worker asks for its jobs."""
        other = ScriptedServer(self.clock)
        worker = self.make_worker(self.server, other)
        worker.register("f", self.wait)
        other.refusing = True
        worker.startService()
        line = self.server.line
        line.welcome()
        line.packets()
        line.send(NO_JOB)
        self.assertEqual([("PRE_SLEEP",)], line.packets())
        worker.register("g", self.wait, timeout=1.5)
        self.assertEqual([("CAN_DO_TIMEOUT", b"g", b"1500"), *GRAB], line.packets())
        worker.register("h", self.wait)
        self.assertEqual([("CAN_DO", b"h")], line.packets())

    def test_refused_here(self) -> None:
        """What the protocol cannot carry, and what makes no sense, is refused."""
        worker = self.make_worker()
        worker.register("f", self.wait)
        wrong: list[tuple[str, dict[str, float]]] = [
            ("", {}),
            ("f", {}),
            ("g", {"timeout": 0}),
            ("g", {"timeout": -1}),
            ("g", {"timeout": 3e6}),
            ("g", {"timeout": float("nan")}),
        ]
        for name, options in wrong:
            self.assertRaises(ValueError, worker.register, name, self.wait, **options)
        self.assertRaises(ValueError, self.make_worker, concurrency=0)
        self.assertRaises(ValueError, self.make_worker, client_id="two words")


class StopTests(WorkerTestCase):
    def test_never_started(self) -> None:
        """A worker that never started stops at once."""
        self.successResultOf(self.make_worker().stopService())

    def test_idle(self) -> None:
        """A sleeping worker leaves at once, and says nothing."""
        worker = self.start()
        line = self.server.line
        line.send(NO_JOB)
        line.packets()
        stopped = worker.stopService()
        self.assertTrue(line.ended)
        self.assertNoResult(stopped)
        self.clock.advance(0)
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual([], line.packets())
        self.clock.advance(60)
        self.assertEqual(1, self.server.attempts)

    def test_finishes(self) -> None:
        """What runs is finished, and its result leaves; nothing more is asked for."""
        worker = self.start(concurrency=2)
        line = self.server.line
        self.assign(line, b"H:1")
        line.send(NO_JOB)
        line.packets()
        stopped = worker.stopService()
        again = worker.stopService()
        line.send(NOOP)
        self.clock.advance(59)
        line.send(ECHO_RES, b"")
        self.assertNoResult(stopped)
        line.packets()
        self.results[0].callback(b"r")
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"r")], line.packets())
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.successResultOf(again)

    def test_grab_under_way(self) -> None:
        """A grab that is under way is waited for, and the job that comes is run."""
        worker = self.start()
        line = self.server.line
        stopped = worker.stopService()
        self.assertFalse(line.ended)
        self.assign(line, b"H:1")
        line.packets()
        self.results[0].callback(b"r")
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"r")], line.packets())
        self.clock.advance(0)
        self.successResultOf(stopped)

    def test_grab_without_job(self) -> None:
        """If no job comes, the worker leaves."""
        worker = self.start()
        stopped = worker.stopService()
        self.server.line.send(NO_JOB)
        self.clock.advance(0)
        self.successResultOf(stopped)

    def test_deadline(self) -> None:
        """What has not ended by then is given up, and the connection ended."""
        worker = self.start(stop_timeout=20)
        line = self.server.line
        self.assign(line, b"H:1")
        stopped = worker.stopService()
        self.clock.advance(19.9)
        self.assertEqual([], self.cancelled)
        self.clock.pump([0.1, 0])
        self.assertEqual([b"H:1"], self.cancelled)
        self.assertTrue(line.transport.disconnected)
        self.successResultOf(stopped)

    def test_not_connected(self) -> None:
        """Servers that cannot be reached keep nobody from stopping."""
        second, third = ScriptedServer(self.clock), ScriptedServer(self.clock)
        self.server.refusing = second.hanging = True
        worker = self.make_worker(self.server, second, third, stop_timeout=1)
        worker.startService()
        stopped = worker.stopService()
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(1, second.given_up)

    def test_deadline_with_a_server_that_went(self) -> None:
        """At the deadline a server that never was connected is no trouble."""
        second = ScriptedServer(self.clock)
        worker = self.start(self.server, second, stop_timeout=1, concurrency=2)
        self.assign(self.server.line, b"H:1")
        self.assign(second.line, b"T:1")
        stopped = worker.stopService()
        second.line.lose()
        self.clock.advance(0)
        self.assertNoResult(stopped)
        self.clock.pump([1, 0])
        self.successResultOf(stopped)

    def test_lost_while_stopping(self) -> None:
        """A connection that breaks while the worker stops is not made again."""
        worker = self.start()
        self.assign(self.server.line, b"H:1")
        stopped = worker.stopService()
        self.server.line.lose()
        self.successResultOf(stopped)
        self.assertEqual(1, self.server.attempts)

    def test_cancel(self) -> None:
        """Cancelling the wait changes nothing about the stopping."""
        worker = self.start()
        self.assign(self.server.line, b"H:1")
        stopped = worker.stopService()
        stopped.cancel()
        self.failureResultOf(stopped, CancelledError)
        self.results[0].callback(b"")
        self.assertTrue(self.server.line.ended)

    def test_start_again(self) -> None:
        """A worker that has stopped can be started again."""
        worker = self.start()
        self.server.line.send(NO_JOB)
        worker.startService()
        self.assertEqual(1, self.server.attempts)
        stopped = worker.stopService()
        self.clock.advance(0)
        self.successResultOf(stopped)
        worker.startService()
        self.assertEqual([ASKED, ("CAN_DO", b"f")], self.server.line.welcome())
        self.assertEqual(2, self.server.attempts)

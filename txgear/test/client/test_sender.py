"""
Tests for L{txgear.client.sender}, through a client: which server is connected, and what waits meanwhile.
"""

from __future__ import annotations

from txgear.errors import (
    NotConnected,
)
from txgear.protocol.constants import (
    ERROR,
    JOB_CREATED,
    OPTION_RES,
    STATUS_RES,
    WORK_COMPLETE,
)
from txgear.test.support.client import ClientTestCase, ScriptedServer


class ConnectingTests(ClientTestCase):
    def test_lazy(self) -> None:
        """A client connects when it is first asked for something, and not before."""
        self.assertEqual(0, self.server.attempts)
        self.client.submit("f")
        self.assertEqual(1, self.server.attempts)
        self.client.submit("f")
        self.assertEqual(1, self.server.attempts)

    def test_greeting(self) -> None:
        """It asks for exceptions and an echo; requests wait for that, and leave in order, in one write."""
        self.client.submit("first", b"1")
        self.client.submit("second", b"2")
        line = self.server.line
        self.assertEqual([("OPTION_REQ", b"exceptions")], line.welcome())
        self.assertEqual(
            [("SUBMIT_JOB", b"first", b"", b"1"), ("SUBMIT_JOB", b"second", b"", b"2")], line.packets()
        )

    def test_client_id(self) -> None:
        """A client that has a name sends it."""
        client = self.make_client([self.server], client_id="billing")
        client.submit("f")
        self.assertEqual(
            [("OPTION_REQ", b"exceptions"), ("SET_CLIENT_ID", b"billing")], self.server.line.welcome()
        )

    def test_options_answer(self) -> None:
        """The option's answer is not one to a request, be it good or an error."""
        job = self.client.submit("f")
        line = self.server.line
        line.send(ERROR, b"UNKNOWN_OPTION", b"Server does not recognize given option")
        line.welcome()
        line.send(OPTION_RES, b"exceptions")
        line.send(JOB_CREATED, b"H:1")
        self.assertEqual(b"H:1", job.handle)

    def test_error_without_request(self) -> None:
        """An error that no request can have caused is passed over."""
        job, line = self.submitted("f")
        line.send(ERROR, b"QUEUE_ERROR", b"")
        line.send(WORK_COMPLETE, b"H:1", b"done")
        self.assertEqual(b"done", self.successResultOf(job.result))

    def test_refused_then_next(self) -> None:
        """Where one server refuses, the next one is tried at once."""
        second = ScriptedServer(self.clock)
        self.server.refusing = True
        client = self.make_client([self.server, second])
        client.submit("f")
        self.clock.advance(0)
        second.line.welcome()
        self.assertEqual([("SUBMIT_JOB", b"f", b"", b"")], second.line.packets())

    def test_hanging_then_next(self) -> None:
        """A server that never takes the connection is given up after ten seconds."""
        second = ScriptedServer(self.clock)
        self.server.hanging = True
        client = self.make_client([self.server, second])
        client.submit("f")
        self.clock.advance(9.9)
        self.assertEqual(0, second.attempts)
        self.clock.advance(0.2)
        self.assertEqual((1, 1), (self.server.given_up, second.attempts))

    def test_silent_then_next(self) -> None:
        """A server that takes the connection and says nothing is given up after ten seconds."""
        second = ScriptedServer(self.clock)
        client = self.make_client([self.server, second])
        client.submit("f")
        self.clock.advance(10)
        self.clock.pump([0, 0])
        self.assertTrue(self.server.line.ended)
        second.line.welcome()
        self.assertEqual([("SUBMIT_JOB", b"f", b"", b"")], second.line.packets())

    def test_sticks(self) -> None:
        """A client stays with the server that answered, and goes to the next when it is lost."""
        second = ScriptedServer(self.clock)
        client = self.make_client([self.server, second])
        client.submit("f")
        self.server.line.welcome()
        client.submit("g")
        self.assertEqual(0, second.attempts)
        self.server.line.lose()
        self.clock.advance(0)
        second.line.welcome()
        self.assertEqual((1, 1), (self.server.attempts, second.attempts))

    def test_reconnects(self) -> None:
        """A lost connection is made again without being asked for, longer waits between attempts."""
        self.client.submit("f")
        self.connect()
        self.server.line.lose()
        self.server.refusing = True
        moments = []
        for _ in range(4000):
            before = self.server.attempts
            self.clock.advance(0.01)
            if self.server.attempts > before:
                moments.append(round(self.clock.seconds(), 1))
        self.assertEqual([0.5, 1.5, 3.5, 7.5, 15.5, 25.5, 35.5], moments)

    def test_not_connected(self) -> None:
        """A request that finds no server for too long fails, and was never sent."""
        self.server.refusing = True
        job = self.client.submit("f")
        background = self.client.submit_background("f")
        self.clock.pump([1] * 30)
        for waiter in (job.result, job.created, background):
            error = self.failureResultOf(waiter, NotConnected).value
            self.assertEqual(
                "no server could be reached within 30 seconds; server: Connection was refused by other side.",
                str(error),
            )
        self.server.refusing = False
        self.clock.pump([1] * 11)
        self.connect()
        self.assertEqual([], self.server.line.packets())

    def test_why_not_connected(self) -> None:
        """The error says why the last server that was tried could not be reached."""
        client = self.make_client([self.server], connect_timeout=11)
        result = client.run("f")
        self.clock.pump([10, 0, 1])
        error = self.failureResultOf(result, NotConnected).value
        self.assertIn("; server: it did not answer within 10 seconds", str(error))
        self.server.hanging = True
        client = self.make_client([self.server], connect_timeout=5)
        result = client.run("f")
        self.clock.advance(5)
        error = self.failureResultOf(result, NotConnected).value
        self.assertEqual("no server could be reached within 5 seconds", str(error))

    def test_no_request_on_a_closing_connection(self) -> None:
        """What is asked after a connection was given up, but before it has gone, goes to the next one."""
        _, line = self.submitted("f")
        line.send(STATUS_RES, b"H:1", b"1", b"1", b"0", b"0")
        self.assertTrue(line.ended)
        job = self.client.submit("g")
        self.clock.pump([0, 1])
        self.connect()
        self.assertEqual([("SUBMIT_JOB", b"g", b"", b"")], self.server.line.packets())
        self.assertFalse(job.finished)

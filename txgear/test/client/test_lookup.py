"""
Tests for L{txgear.client.lookup}, through a client: asking after jobs.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError

from txgear.client import JobStatus
from txgear.client import connection as _clientconnection
from txgear.errors import (
    InvalidCommand,
    NotConnected,
)
from txgear.protocol.constants import (
    ERROR,
    JOB_CREATED,
    STATUS_RES,
    STATUS_RES_UNIQUE,
)
from txgear.test.support.client import ClientTestCase, ScriptedServer


class StatusTests(ClientTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.second = ScriptedServer(self.clock, "second")
        self.client = self.make_client([self.server, self.second])

    def test_connected(self) -> None:
        """The server that gave the handle is asked."""
        _, line = self.submitted("f")
        status = self.client.status(b"H:1")
        self.assertEqual([("GET_STATUS", b"H:1")], line.packets())
        line.send(STATUS_RES, b"H:1", b"1", b"1", b"3", b"4")
        self.assertEqual(JobStatus(True, True, 3, 4, None), self.successResultOf(status))

    def test_answers_in_order(self) -> None:
        """Answers to questions and submits come in one order."""
        _, line = self.submitted("f")
        status = self.client.status(b"H:1")
        job = self.client.submit("g")
        line.send(STATUS_RES, b"H:1", b"1", b"0", b"0", b"0")
        line.send(JOB_CREATED, b"H:2")
        self.assertEqual(JobStatus(True, False, 0, 0), self.successResultOf(status))
        self.assertEqual(b"H:2", job.handle)

    def test_home(self) -> None:
        """The server that gave the handle is asked, though the client has gone to another one since."""
        handle = self.client.submit_background("f")
        self.connect().send(JOB_CREATED, b"H:1")
        self.assertEqual(b"H:1", self.successResultOf(handle))
        self.server.line.lose()
        self.clock.advance(0)
        self.second.line.welcome()
        status = self.client.status(b"H:1")
        self.assertEqual(2, self.server.attempts)
        line = self.server.line
        line.welcome()
        self.assertEqual([("GET_STATUS", b"H:1")], line.packets())
        line.send(STATUS_RES, b"H:1", b"1", b"0", b"0", b"0")
        self.assertTrue(self.successResultOf(status).known)
        self.assertTrue(line.ended)
        self.assertEqual([], self.second.line.packets())

    def test_home_is_down(self) -> None:
        """If that server cannot be reached, nobody else is asked."""
        for down in ("refusing", "hanging"):
            self.server.refusing = self.server.hanging = False
            client = self.make_client([self.server, self.second])
            handle = client.submit_background("f")
            self.connect().send(JOB_CREATED, b"H:1")
            self.successResultOf(handle)
            self.server.line.lose()
            setattr(self.server, down, True)
            status = client.status(b"H:1")
            self.clock.advance(10)
            self.assertIn("server: ", str(self.failureResultOf(status, NotConnected).value))

    def test_visit_is_lost(self) -> None:
        """A connection that ends before the answer is no answer."""
        status = self.client.status(b"H:1")
        line = self.connect()
        line.send(STATUS_RES, b"H:1", b"0", b"0", b"0", b"0")
        self.second.line.lose()
        self.assertFalse(self.successResultOf(status).known)

    def test_unknown_handle(self) -> None:
        """A handle of unknown origin is asked for at all servers, until one knows it."""
        status = self.client.status(b"H:9")
        line = self.connect()
        line.send(STATUS_RES, b"H:9", b"0", b"0", b"0", b"0")
        self.second.line.welcome()
        self.second.line.send(STATUS_RES, b"H:9", b"1", b"0", b"0", b"0")
        self.assertTrue(self.successResultOf(status).known)

    def test_known_at_first(self) -> None:
        """One that knows it is enough."""
        status = self.client.status_unique("u")
        line = self.connect()
        self.assertEqual([("GET_STATUS_UNIQUE", b"u")], line.packets())
        line.send(STATUS_RES_UNIQUE, b"u", b"1", b"1", b"1", b"2", b"3")
        self.assertEqual(JobStatus(True, True, 1, 2, 3), self.successResultOf(status))
        self.assertEqual(0, self.second.attempts)

    def test_first_is_lost(self) -> None:
        """If the connection goes while the question is under way, the others are asked."""
        status = self.client.status_unique("u")
        self.connect().lose()
        line = self.second.line
        line.welcome()
        line.send(STATUS_RES_UNIQUE, b"u", b"0", b"0", b"0", b"0", b"0")
        self.assertFalse(self.successResultOf(status).known)

    def test_nobody_there(self) -> None:
        """If no server can be reached, the question fails."""
        self.server.refusing = self.second.refusing = True
        status = self.client.status(b"H:1")
        self.clock.pump([1] * 30)
        self.failureResultOf(status, NotConnected)

    def test_all_lost(self) -> None:
        """If all go before they answer, the question fails."""
        status = self.client.status(b"H:1")
        self.connect().lose()
        self.second.line.lose()
        self.failureResultOf(status, NotConnected)

    def test_refused(self) -> None:
        """A server that does not know the question says so."""
        status = self.client.status_unique("u")
        self.connect().send(ERROR, b"INVALID_COMMAND", b"Command not expected")
        self.failureResultOf(status, InvalidCommand)

    def test_cancel(self) -> None:
        """Cancelling gives the question up, wherever it has come to."""
        unsent = self.client.status(b"H:1")
        unsent.cancel()
        self.failureResultOf(unsent, CancelledError)
        self.second.hanging = True
        connecting = self.client.status(b"H:1")
        line = self.connect()
        self.assertEqual([("GET_STATUS", b"H:1")], line.packets())
        line.send(STATUS_RES, b"H:1", b"0", b"0", b"0", b"0")
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertEqual(1, self.second.given_up)
        self.second.hanging = False
        asked = self.client.status(b"H:1")
        line.send(STATUS_RES, b"H:1", b"0", b"0", b"0", b"0")
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.clock.advance(0)
        self.assertTrue(self.second.line.ended)

    def test_close(self) -> None:
        """Closing the client gives up what it asks elsewhere."""
        status = self.client.status(b"H:1")
        self.connect().send(STATUS_RES, b"H:1", b"0", b"0", b"0", b"0")
        _ = self.client.close()
        self.clock.advance(0)
        self.assertTrue(self.second.line.ended)
        self.assertFalse(self.successResultOf(status).known)
        self.failureResultOf(self.client.status(b"H:1"), NotConnected)

    def test_closed_with_home(self) -> None:
        """A closed client asks nobody."""
        handle = self.client.submit_background("f")
        self.connect().send(JOB_CREATED, b"H:1")
        self.successResultOf(handle)
        _ = self.client.close()
        self.clock.advance(0)
        self.failureResultOf(self.client.status(b"H:1"), NotConnected)

    def test_handle_as_text(self) -> None:
        """A handle that was kept as text is sent, and its server known, as if it were bytes."""
        handle = self.client.submit_background("f")
        self.connect().send(JOB_CREATED, b"H:1")
        self.successResultOf(handle)
        self.server.line.lose()
        self.clock.advance(0)
        self.second.line.welcome()
        status = self.client.status("H:1")
        self.server.line.welcome()
        self.assertEqual([("GET_STATUS", b"H:1")], self.server.line.packets())
        self.server.line.send(STATUS_RES, b"H:1", b"1", b"0", b"0", b"0")
        self.assertTrue(self.successResultOf(status).known)

    def test_refused_here(self) -> None:
        """gearmand leaves some of these without an answer."""
        for handle in (b"", b"x" * 64, b"a\0b", "", "x" * 64):
            self.assertRaises(ValueError, self.client.status, handle)
        for wrong in (None, 7, bytearray(b"H:1")):
            self.assertRaises(TypeError, self.client.status, wrong)
        for unique in ("", "x" * 65):
            self.assertRaises(ValueError, self.client.status_unique, unique)

    def test_remembers_so_many(self) -> None:
        """The oldest handle is forgotten when there are too many."""
        homes = _clientconnection.HandleMap()
        server: Any = object()
        for n in range(_clientconnection.HANDLES_REMEMBERED + 1):
            homes.add(b"%d" % n, server)
        self.assertEqual((None, server), (homes.get(b"0"), homes.get(b"1")))

"""
Tests for L{txgear.client.sender} and L{txgear.net.serverconnection}, through a client that has a token: how
it logs in, and what becomes of what was asked where it may not.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.logger import capturedLogs, formatEvent

from txgear.client import Client
from txgear.errors import AccessDenied, JobLost, NotConnected
from txgear.protocol.constants import (
    ECHO_RES,
    ERROR,
    JOB_CREATED,
    LOGGED_IN,
    NOOP,
    OPTION_RES,
    RESULT,
    STATUS_RES,
)
from txgear.test.support.client import ASKED, ClientTestCase, ScriptedConnection, ScriptedServer

TOKEN = "txg_abcd1234_" + "s" * 43
LOGIN = ("LOGIN", TOKEN.encode())
REFUSAL = (ERROR, b"ACCESS_DENIED", b"This token is not known")


class LoginTestCase(ClientTestCase):
    def make_client(self, servers: list[ScriptedServer], **options: Any) -> Client:
        return super().make_client(servers, **{"token": TOKEN, **options})

    def log_in(self, line: ScriptedConnection | None = None) -> ScriptedConnection:
        """Let the token in; what follows is left to be read."""
        line = line or self.server.line
        self.assertEqual([ASKED], line.packets())
        line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([LOGIN], line.packets())
        line.send(LOGGED_IN, b"web")
        return line

    def refuse(self, line: ScriptedConnection | None = None) -> None:
        line = line or self.server.line
        self.assertEqual([ASKED], line.packets())
        line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([LOGIN], line.packets())
        line.send(*REFUSAL)
        self.assertTrue(line.ended)
        self.clock.advance(0)


class LoggedInTests(LoginTestCase):
    def test_before_anything_else(self) -> None:
        """Each step waits for the one before, so that no server gets a token that does not know tokens."""
        client = self.make_client([self.server], client_id="billing")
        self.assertEqual(0, self.server.attempts)
        job = client.submit("f")
        line = self.log_in()
        self.assertEqual([("OPTION_REQ", b"exceptions"), ("SET_CLIENT_ID", b"billing")], line.welcome())
        self.assertEqual([("SUBMIT_JOB", b"f", b"", b"")], line.packets())
        line.send(JOB_CREATED, b"H:1")
        self.assertEqual(b"H:1", job.handle)

    def test_in_one_piece(self) -> None:
        """What comes together with the last answer is looked at as well."""
        self.client.submit("f")
        line = self.server.line
        line.send(OPTION_RES, b"txgear-1")
        line.packets()
        line.send_together((LOGGED_IN, b"web"), (OPTION_RES, b"exceptions"), (ECHO_RES, b"txgear"))
        self.assertEqual("SUBMIT_JOB", line.packets()[-1][0])

    def test_its_own_packets_need_no_further_question(self) -> None:
        _ = self.client.submit_background("f", delay=5).addErrback(lambda failure: failure.trap(JobLost))
        line = self.log_in()
        line.welcome()
        self.assertEqual("SUBMIT_JOB_OPTIONS", line.packets()[0][0])

    def test_again_on_each_connection(self) -> None:
        job = self.client.submit("f", resend=True)
        self.log_in().welcome()
        self.server.line.lose()
        self.clock.advance(0.5)
        self.log_in().welcome()
        self.assertEqual([("SUBMIT_JOB", b"f", b"", b"")], self.server.line.packets())
        job.cancel()

    def test_a_visit_logs_in_as_well(self) -> None:
        """Of the servers that are asked after a job, each is one to log in at."""
        second = ScriptedServer(self.clock)
        client = self.make_client([self.server, second])
        found = client.status(b"H:7")
        self.log_in().welcome()
        self.server.line.send(STATUS_RES, b"H:7", b"0", b"0", b"0", b"0")
        self.log_in(second.line).welcome()
        second.line.packets()
        second.line.send(STATUS_RES, b"H:7", b"1", b"0", b"0", b"0")
        self.assertTrue(self.successResultOf(found).known)


class NotLetInTests(LoginTestCase):
    def test_refused(self) -> None:
        """What waits fails at once, and nothing of the token is told."""
        with capturedLogs() as events:
            job, handle = self.client.submit("f"), self.client.submit_background("g")
            self.refuse()
        for waiting in (job.result, job.created, handle):
            error = self.failureResultOf(waiting, AccessDenied).value
            self.assertEqual("ACCESS_DENIED: This token is not known", str(error))
        said = [formatEvent(event) or "" for event in events]
        words = "server cannot be reached: it did not let us in: ACCESS_DENIED: This token is not known"
        self.assertIn(words, said)
        self.assertNotIn("sss", "".join(said) + repr(events))

    def test_an_error_that_holds_the_token(self) -> None:
        """The server might repeat it; nobody else does."""
        waiting = self.client.submit_background("f")
        line = self.server.line
        line.send(OPTION_RES, b"txgear-1")
        line.send(ERROR, b"ACCESS_DENIED", b"no such token: " + TOKEN.encode())
        self.clock.advance(0)
        error = self.failureResultOf(waiting, AccessDenied).value
        self.assertEqual("ACCESS_DENIED: no such token: txg_abcd1234_...", str(error))

    def test_nobody_tries_again_by_itself(self) -> None:
        """Only what is asked next is another attempt, and that waits: longer each time, a minute at most."""
        waits = []
        for _ in range(10):
            waiting = self.client.submit_background("f")
            before, attempts = self.clock.seconds(), self.server.attempts
            while not self.server.lines or self.server.line.ended:
                self.clock.advance(0.5)
                if waiting.called:
                    # It has waited for too long, and fails with the same error.
                    self.failureResultOf(waiting, AccessDenied)
                    waiting = self.client.submit_background("f")
            waits.append(self.clock.seconds() - before)
            self.refuse()
            self.failureResultOf(waiting, AccessDenied)
            self.assertLessEqual(self.server.attempts, attempts + 1)
        self.assertEqual([0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0], waits)
        attempts = self.server.attempts
        self.clock.pump([10.0] * 100)
        self.assertEqual(attempts, self.server.attempts)
        # The wait is over by now.
        _ = self.client.submit_background("f").addErrback(lambda _: None)
        self.assertEqual(attempts + 1, self.server.attempts)

    def test_another_server_lets_us_in(self) -> None:
        second = ScriptedServer(self.clock)
        client = self.make_client([self.server, second])
        job = client.submit("f")
        self.refuse()
        self.assertFalse(job.finished)
        self.log_in(second.line).welcome()
        self.assertEqual([("SUBMIT_JOB", b"f", b"", b"")], second.line.packets())

    def test_all_servers_refuse(self) -> None:
        second = ScriptedServer(self.clock)
        client = self.make_client([self.server, second])
        job = client.submit("f")
        self.refuse()
        self.refuse(second.line)
        self.failureResultOf(job.result, AccessDenied)

    def test_one_refuses_and_the_other_is_down(self) -> None:
        """It may come back, so that is waited for."""
        second = ScriptedServer(self.clock)
        second.refusing = True
        client = self.make_client([self.server, second], connect_timeout=0.4)
        waiting = client.submit_background("f")
        self.refuse()
        self.clock.advance(0.4)
        self.failureResultOf(waiting, NotConnected)

    def test_a_visit_that_is_refused(self) -> None:
        """The others are asked; where none knows the job, the refusal is told."""
        second = ScriptedServer(self.clock)
        client = self.make_client([self.server, second])
        found = client.fetch(b"H:7")
        self.log_in().welcome()
        ((_, token, *_),) = self.server.line.packets()
        self.server.line.send(RESULT, token, b"H:7", b"unknown", b"-", b"")
        self.refuse(second.line)
        self.failureResultOf(found, AccessDenied)

    def test_closed_before_it_is_in(self) -> None:
        _ = self.client.submit_background("f").addErrback(lambda failure: failure.trap(NotConnected))
        closed = self.client.close()
        self.assertTrue(self.server.line.transport.disconnected)
        self.clock.advance(0)
        self.successResultOf(closed)

    def test_refused_while_it_is_closed(self) -> None:
        """That is news to nobody."""
        _ = self.client.submit_background("f").addErrback(lambda failure: failure.trap(NotConnected))
        line = self.server.line
        line.send(OPTION_RES, b"txgear-1")
        line.send(*REFUSAL)
        closed = self.client.close()
        self.clock.advance(0)
        self.successResultOf(closed)
        self.assertEqual(1, self.server.attempts)


class NoTokensTests(LoginTestCase):
    """A server that knows no tokens, or does not keep to the order, is never sent one."""

    def assert_given_up(self, why: str) -> None:
        self.assertNotIn(LOGIN, self.server.line.packets())
        self.assertTrue(self.server.line.ended)
        self.clock.pump([1.0] * 31)
        error = self.failureResultOf(self.waiting, NotConnected).value
        self.assertIn(why, str(error))

    def setUp(self) -> None:
        super().setUp()
        self.waiting = self.client.submit_background("f")
        self.server.hanging = True

    def test_another_kind(self) -> None:
        self.server.line.send(ERROR, b"UNKNOWN_OPTION", b"Server does not recognize given option")
        self.assert_given_up("")

    def test_shut_out(self) -> None:
        """A server that lets nobody in from here says so to the first packet."""
        self.server.line.send(ERROR, b"ACCESS_DENIED", b"Too many wrong tokens")
        self.assertTrue(self.server.line.ended)
        self.clock.advance(0)
        self.failureResultOf(self.waiting, AccessDenied)

    def test_logged_in_unasked(self) -> None:
        self.server.line.protocol.decoder.extended = True
        self.server.line.send(LOGGED_IN, b"web")
        self.server.line.send(NOOP)
        self.assertFalse(self.server.line.ended)
        self.clock.advance(10)
        self.assert_given_up("")

    def test_no_gearman(self) -> None:
        self.server.line.protocol.dataReceived(b"SSH-2.0\r\n")
        self.assert_given_up("")

    def test_silence(self) -> None:
        self.clock.advance(10)
        self.assert_given_up("no connection within 10 seconds")

    def test_lost(self) -> None:
        self.server.line.lose(ConnectionDone())
        self.clock.pump([1.0] * 31)
        self.failureResultOf(self.waiting, NotConnected)


class NoAnswerTests(LoginTestCase):
    def test_hangs_up(self) -> None:
        """A server does that from where many wrong tokens have come; another time it may not."""
        waiting = self.client.submit_background("f")
        line = self.server.line
        line.send(OPTION_RES, b"txgear-1")
        self.server.refusing = True
        with capturedLogs() as events:
            line.lose(ConnectionDone())
        words = "Connection was closed cleanly. (after the token was sent: it may be refused)"
        self.assertIn(f"server cannot be reached: {words}", [formatEvent(event) for event in events])
        self.assertNoResult(waiting)
        _ = waiting.addErrback(lambda failure: failure.trap(NotConnected))


class RefusedRequestsTests(LoginTestCase):
    """What a client may not do is refused by the server for each request."""

    def setUp(self) -> None:
        super().setUp()
        _ = self.client.submit_background("first").addErrback(lambda failure: failure.trap(JobLost))
        self.log_in().welcome()
        self.server.line.packets()
        self.server.line.send(JOB_CREATED, b"H:1")

    def test_submit(self) -> None:
        """It fails by itself, and the next one does not."""
        refused, other = self.client.submit("f"), self.client.submit_background("g")
        self.server.line.send(ERROR, b"ACCESS_DENIED", b"Not allowed: submit f")
        error = self.failureResultOf(refused.result, AccessDenied).value
        self.assertEqual("ACCESS_DENIED: Not allowed: submit f", str(error))
        self.server.line.send(JOB_CREATED, b"H:2")
        self.assertEqual(b"H:2", self.successResultOf(other))

    def test_status(self) -> None:
        """What one may not see is unknown."""
        found = self.client.status(b"H:7")
        self.server.line.send(STATUS_RES, b"H:7", b"0", b"0", b"0", b"0")
        self.assertFalse(self.successResultOf(found).known)

    def test_result(self) -> None:
        found = self.client.fetch(b"H:7")
        ((_, token, *_),) = self.server.line.packets()
        self.server.line.send(RESULT, token, b"H:7", b"refused", b"-", b"Not allowed: read f")
        error = self.failureResultOf(found, AccessDenied).value
        self.assertEqual("ACCESS_DENIED: Not allowed: read f", str(error))

"""
Tests for L{txgear.client} where a server is about to end: it refuses jobs, and keeps those that it has.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock

from txgear.client import Client, Result
from txgear.errors import JobLost, JobTimeout, NotConnected, QueueError
from txgear.protocol.constants import (
    ERROR,
    JOB_CREATED,
    OPTION_RES,
    RESULT,
    SHUTTING_DOWN,
    STATUS_RES,
    WORK_COMPLETE,
)
from txgear.test.support.client import ClientTestCase, ScriptedConnection, ScriptedServer

REFUSAL = (ERROR, b"QUEUE_ERROR", SHUTTING_DOWN.encode())
SUBMIT_G = ("SUBMIT_JOB", b"g", b"", b"")


class DrainTestCase(ClientTestCase):
    """A client of three servers, connected to the first, which has a job of it and then drains."""

    def setUp(self) -> None:
        super().setUp()
        self.servers = [ScriptedServer(self.clock, name) for name in ("one", "two", "three")]
        self.one, self.two, self.three = self.servers
        self.client = self.make_client(self.servers)
        self.job = self.client.submit("f")
        self.line = self.one.line
        self.line.welcome()
        self.line.send(JOB_CREATED, b"H:1")
        self.line.packets()
        self.one.refusing = True

    def refuse(self, line: ScriptedConnection | None = None) -> None:
        line = line or self.line
        line.packets()
        line.send(*REFUSAL)
        self.clock.advance(0)

    def ask(self, client: Client) -> None:
        """For a job in whose end the test is not interested."""
        _ = client.submit_background("g").addErrback(lambda _: None)

    def welcome(self, server: ScriptedServer) -> ScriptedConnection:
        server.line.welcome()
        return server.line


class RefusedTests(DrainTestCase):
    def test_next_server(self) -> None:
        """What was refused goes to the next server, and so does what follows."""
        refused = self.client.run("g")
        self.refuse()
        line = self.welcome(self.two)
        self.assertEqual([SUBMIT_G], line.packets())
        line.send(JOB_CREATED, b"H:1")
        line.send(WORK_COMPLETE, b"H:1", b"two")
        self.assertEqual(b"two", self.successResultOf(refused))
        self.ask(self.client)
        self.assertEqual([("SUBMIT_JOB_BG", b"g", b"", b"")], line.packets())
        self.assertEqual([], self.line.packets())
        self.assertEqual((1, 1, 0), tuple(server.attempts for server in self.servers))

    def test_what_was_taken(self) -> None:
        """It is waited for over the old connection, which is closed when nothing is left there."""
        result = self.job.result
        self.ask(self.client)
        self.refuse()
        self.welcome(self.two)
        self.assertFalse(self.line.ended)
        self.line.send(WORK_COMPLETE, b"H:1", b"one")
        self.assertEqual(b"one", self.successResultOf(result))
        self.assertTrue(self.line.ended)
        self.assertFalse(self.two.line.ended)
        self.clock.advance(60)
        self.assertEqual(1, self.one.attempts)

    def test_cancelled(self) -> None:
        """A job that nobody waits for any more keeps no connection."""
        self.ask(self.client)
        self.refuse()
        self.job.cancel()
        self.assertTrue(self.line.ended)

    def test_nothing_there(self) -> None:
        self.line.send(WORK_COMPLETE, b"H:1", b"")
        self.ask(self.client)
        self.refuse()
        self.assertTrue(self.line.ended)
        self.welcome(self.two)
        self.assertEqual([("SUBMIT_JOB_BG", b"g", b"", b"")], self.two.line.packets())

    def test_the_old_connection_is_lost(self) -> None:
        """The job there is lost; the new connection is not touched."""
        result = self.job.result
        refused = self.client.submit_background("g")
        self.refuse()
        self.welcome(self.two)
        self.line.lose()
        self.failureResultOf(result, JobLost)
        self.two.line.send(JOB_CREATED, b"H:2")
        self.assertEqual(b"H:2", self.successResultOf(refused))
        self.assertEqual(1, self.two.attempts)

    def test_many(self) -> None:
        """Those that were on their way are refused one after the other; all go on, in order."""
        answers = [self.client.submit_background("g", b"%d" % n) for n in range(3)]
        self.line.packets()
        self.line.send(*REFUSAL)
        self.line.send(*REFUSAL)
        self.clock.advance(0)
        line = self.welcome(self.two)
        self.line.send(*REFUSAL)
        self.assertEqual(
            [("SUBMIT_JOB_BG", b"g", b"", b"%d" % n) for n in range(3)],
            line.packets(),
        )
        for n, answer in enumerate(answers):
            line.send(JOB_CREATED, b"H:%d" % n)
            self.assertEqual(b"H:%d" % n, self.successResultOf(answer))

    def test_hung_up(self) -> None:
        """The server may answer the first and hang up: the others were not taken either."""
        answers = [self.client.submit_background("g", b"%d" % n) for n in range(3)]
        status = self.client.status(b"H:1")
        cancelled = self.client.submit_background("g")
        self.line.packets()
        self.refuse()
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.line.lose()
        self.failureResultOf(self.job.result, JobLost)
        self.failureResultOf(status, NotConnected)
        line = self.welcome(self.two)
        self.assertEqual([b"0", b"1", b"2"], [packet[3] for packet in line.packets()])
        for answer in answers:
            line.send(JOB_CREATED, b"H:2")
            self.successResultOf(answer)

    def test_other_refusals(self) -> None:
        """They are left to the caller."""
        refused = self.client.submit_background("g")
        self.line.send(ERROR, b"QUEUE_ERROR", b"Job queue is full")
        self.failureResultOf(refused, QueueError)
        self.clock.advance(0)
        self.assertEqual(0, self.two.attempts)

    def test_cancelled_meanwhile(self) -> None:
        refused = self.client.run("g")
        refused.cancel()
        self.failureResultOf(refused, CancelledError)
        self.refuse()
        self.assertEqual([], self.welcome(self.two).packets())

    def test_with_settings(self) -> None:
        """The next server is asked whether it understands them."""
        refused = self.client.submit_background("g", policy={"retries": 1})
        self.line.send(OPTION_RES, b"txgear-1")
        self.refuse()
        line = self.welcome(self.two)
        self.assertEqual([("OPTION_REQ", b"txgear-1")], line.packets())
        line.send(OPTION_RES, b"txgear-1")
        self.assertEqual(["SUBMIT_JOB_OPTIONS"], [packet[0] for packet in line.packets()])
        line.send(JOB_CREATED, b"H:2")
        self.successResultOf(refused)

    def test_while_it_is_asked_what_it_understands(self) -> None:
        """Such a job is kept for the old connection, and goes on from there."""
        settings = self.client.submit_background("g", policy={"retries": 1})
        plain = self.client.submit_background("g")
        self.line.send(OPTION_RES, b"txgear-1")
        self.refuse()
        self.refuse()
        line = self.welcome(self.two)
        line.send(JOB_CREATED, b"H:2")
        line.send(OPTION_RES, b"txgear-1")
        line.send(JOB_CREATED, b"H:3")
        self.assertEqual([b"H:2", b"H:3"], sorted(map(self.successResultOf, (plain, settings))))


class NoOtherTests(DrainTestCase):
    def submit(self, **options: Any) -> Deferred[bytes]:
        return self.client.run("g", **options)

    def test_one_server(self) -> None:
        """Its refusal is the caller's; the connection stays."""
        client = self.make_client([self.server])
        refused = client.run("g")
        self.server.line.welcome()
        self.refuse(self.server.line)
        self.assertEqual(SHUTTING_DOWN, self.failureResultOf(refused, QueueError).value.text)
        self.assertFalse(self.server.line.ended)
        also = [client.submit_background("g") for _ in range(2)]
        self.server.line.packets()
        self.server.line.send(*REFUSAL)
        self.failureResultOf(also[0], QueueError)
        self.server.line.lose()
        self.failureResultOf(also[1], QueueError)
        self.clock.advance(0.5)
        self.ask(client)
        self.server.line.welcome()
        self.assertEqual([("SUBMIT_JOB_BG", b"g", b"", b"")], self.server.line.packets())

    def test_all_drain(self) -> None:
        refused = self.submit()
        for server in self.servers:
            self.refuse(self.line if server is self.one else self.welcome(server))
        self.failureResultOf(refused, QueueError)

    def test_no_other_answers(self) -> None:
        """The job fails with the refusal after the time in which a server could have been found."""
        self.two.refusing = self.three.refusing = True
        refused = self.submit()
        self.refuse()
        self.clock.pump([1] * 29)
        self.assertNoResult(refused)
        self.clock.advance(1)
        self.failureResultOf(refused, QueueError)

    def test_it_comes_back(self) -> None:
        """The first server again, where no other answers: it may be there anew."""
        self.two.refusing = self.three.refusing = True
        refused = self.submit()
        self.refuse()
        self.clock.pump([1] * 10)
        self.line.lose()
        self.one.refusing = False
        self.clock.pump([1] * 10)
        line = self.welcome(self.one)
        self.assertIsNot(self.line, line)
        self.assertEqual([SUBMIT_G], line.packets())
        line.send(JOB_CREATED, b"H:1")
        line.send(WORK_COMPLETE, b"H:1", b"again")
        self.assertEqual(b"again", self.successResultOf(refused))

    def test_it_drains_again_and_again(self) -> None:
        """A server that takes connections and no jobs: its refusals do not make the time longer."""
        self.one.refusing = False
        self.two.refusing = self.three.refusing = True
        refused = self.submit()
        self.refuse()
        for _ in range(58):
            self.assertNoResult(refused)
            self.clock.advance(0.5)
            if self.one.line is not self.line and not self.one.line.ended:
                self.welcome(self.one)
                self.refuse(self.one.line)
        self.clock.advance(1)
        self.failureResultOf(refused, QueueError)
        self.assertLess(self.one.attempts, 10)

    def test_own_timeout(self) -> None:
        self.two.refusing = self.three.refusing = True
        refused = self.submit(timeout=5)
        self.clock.advance(2)
        self.refuse()
        self.clock.pump([1] * 3)
        self.failureResultOf(refused, JobTimeout)

    def test_closed_meanwhile(self) -> None:
        """Nothing was taken."""
        self.two.refusing = self.three.refusing = True
        refused = self.submit()
        self.refuse()
        closed = self.client.close()
        self.failureResultOf(refused, NotConnected)
        self.failureResultOf(self.job.result, JobLost)
        self.clock.advance(0)
        self.successResultOf(closed)
        self.assertTrue(self.line.ended)

    def test_resend(self) -> None:
        """What may be sent again is, after its connection is lost, with all the time that there is."""
        resent = self.client.submit("g", resend=True)
        self.refuse()
        line = self.welcome(self.two)
        line.send(JOB_CREATED, b"H:2")
        self.clock.pump([1] * 40)
        self.three.refusing = True
        line.lose()
        self.clock.pump([1] * 12)
        self.three.refusing = False
        self.clock.pump([1] * 12)
        self.welcome(self.three)
        self.assertEqual([SUBMIT_G], self.three.line.packets())
        self.three.line.send(JOB_CREATED, b"H:3")
        self.three.line.send(WORK_COMPLETE, b"H:3", b"three")
        self.assertEqual(b"three", self.successResultOf(resent.result))


class QuestionTests(DrainTestCase):
    """After jobs at the server that drains: it takes no connection any more."""

    def setUp(self) -> None:
        super().setUp()
        self.ask(self.client)
        self.refuse()
        self.other = self.welcome(self.two)
        self.other.packets()

    def test_status(self) -> None:
        found = self.client.status(b"H:1")
        self.assertEqual([("GET_STATUS", b"H:1")], self.line.packets())
        self.line.send(STATUS_RES, b"H:1", b"1", b"1", b"1", b"2")
        self.assertTrue(self.successResultOf(found).running)
        self.assertFalse(self.line.ended)

    def test_status_of_an_unknown_handle(self) -> None:
        """It is one of all that are asked."""
        found = self.client.status(b"H:9")
        self.other.send(JOB_CREATED, b"H:2")
        self.other.send(STATUS_RES, b"H:9", b"0", b"0", b"0", b"0")
        self.assertEqual([("GET_STATUS", b"H:9")], self.line.packets())
        self.line.send(STATUS_RES, b"H:9", b"1", b"0", b"0", b"0")
        self.assertTrue(self.successResultOf(found).known)

    def test_fetch(self) -> None:
        """The connection is needed until the answer is there."""
        found = self.client.fetch(b"H:1", wait=True)
        self.line.send(OPTION_RES, b"txgear-1")
        token = self.line.packets()[-1][1]
        self.line.send(WORK_COMPLETE, b"H:1", b"r")
        self.assertFalse(self.line.ended)
        self.line.send(RESULT, token, b"H:1", b"done", b"0", b"r")
        self.assertEqual(Result(b"H:1", "done", b"", b"r"), self.successResultOf(found))

    def test_perls_handle(self) -> None:
        """It says where the job is; the rest is the handle."""
        one, two = ("192.0.2.1", 4730), ("192.0.2.2", 4731)
        for handle, asked in (
            ("192.0.2.2:4731//H:1", two),
            (b"192.0.2.1:4730//H:1", one),
            (b"gear.example:4730//H:1", one),
            (b"H:1", one),
        ):
            reactor = MemoryReactorClock()
            client = Client(reactor, ["192.0.2.1", "192.0.2.2:4731"])
            found = client.status(handle)
            self.assertEqual([asked], [(host, port) for host, port, *_ in reactor.tcpClients])
            found.cancel()
            self.failureResultOf(found, CancelledError)
            self.successResultOf(client.close())
        found = self.client.status("192.0.2.9:4730//H:1")
        self.assertEqual([("GET_STATUS", b"H:1")], self.line.packets())
        self.line.send(STATUS_RES, b"H:1", b"1", b"1", b"1", b"2")
        self.assertTrue(self.successResultOf(found).known)

"""
Tests for L{txgear.client}: start, stop and close in any order, and waits through a pause of our own.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred

from txgear.client import Client
from txgear.errors import JobLost, NotConnected
from txgear.protocol.constants import JOB_CREATED
from txgear.test.support.client import ClientTestCase, ScriptedServer

SUBMIT_G = ("SUBMIT_JOB", b"g", b"", b"")


class OrderTests(ClientTestCase):
    def test_stop_start_run(self) -> None:
        """A request after that goes over a new connection, at once."""
        job, line = self.submitted("f")
        stopped = self.client.stopService()
        self.client.startService()
        result = self.client.run("g")
        self.assertEqual(2, self.server.attempts)
        self.failureResultOf(job.result, JobLost)
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertTrue(line.ended)
        self.server.line.welcome()
        self.assertEqual([SUBMIT_G], self.server.line.packets())
        self.assertNoResult(result)
        _ = result.addErrback(lambda _: None)

    def test_stop_start_while_it_connects(self) -> None:
        for state in ("hanging", "refusing"):
            client = self.make_client([self.server])
            setattr(self.server, state, True)
            before = client.run("f")
            stopped = client.stopService()
            client.startService()
            self.failureResultOf(before, NotConnected)
            self.successResultOf(stopped)
            setattr(self.server, state, False)
            after = client.run("g").addErrback(lambda _: None)
            self.server.line.welcome()
            self.assertEqual([SUBMIT_G], self.server.line.packets())
            self.assertNoResult(after)

    def test_what_may_be_sent_again(self) -> None:
        """It ends with the stop, and is not sent by the client that was started anew."""
        job, _ = self.submitted("f", resend=True)
        _ = self.client.stopService()
        self.client.startService()
        result = self.client.run("g").addErrback(lambda _: None)
        self.clock.advance(0)
        self.failureResultOf(job.result, JobLost)
        self.server.line.welcome()
        self.assertEqual([SUBMIT_G], self.server.line.packets())
        self.assertNoResult(result)

    def test_not_sent_yet(self) -> None:
        """It waits for the server's word on its settings: it was never sent."""
        _ = self.submitted("f")[0].result.addErrback(lambda _: None)
        held = self.client.submit_background("g", policy={"retries": 1})
        _ = self.client.close()
        self.failureResultOf(held, NotConnected)

    def test_close_twice(self) -> None:
        """By hand and then by its parent, before the first has fired, and after."""
        parent = MultiService()
        self.client.setServiceParent(parent)
        parent.startService()
        job, _ = self.submitted("f")
        closing = [self.client.close(), self.client.close(), parent.stopService()]
        self.failureResultOf(job.result, JobLost)
        for closed in closing:
            self.assertNoResult(closed)
        self.clock.advance(0)
        for closed in [*closing, self.client.close(), self.client.stopService()]:
            self.successResultOf(closed)

    def test_close_in_a_callback(self) -> None:
        """Of what the first close has ended."""
        job, _ = self.submitted("f")
        closing: list[Deferred[None]] = []
        _ = job.result.addErrback(lambda _: closing.append(self.client.close()))
        closing.append(self.client.close())
        self.clock.advance(0)
        self.assertEqual(2, len(closing))
        for closed in closing:
            self.successResultOf(closed)

    def remember(self, client: Client) -> None:
        """The client gets a handle of the server, and loses the connection."""
        taken = client.submit_background("f")
        self.clock.advance(0)
        line = self.server.line
        line.welcome()
        line.send(JOB_CREATED, b"H:1")
        self.assertEqual(b"H:1", self.successResultOf(taken))
        line.lose()

    def test_visits(self) -> None:
        """The connections that were made for one question are waited for, too."""
        self.remember(self.client)
        found = self.client.status(b"H:1")
        self.server.line.welcome()
        closed = self.client.close()
        self.failureResultOf(found, NotConnected)
        self.assertNoResult(closed)
        self.clock.advance(0)
        self.successResultOf(closed)

    def test_visit_comes_too_late(self) -> None:
        """An attempt that cannot be stopped makes no connection that nobody closes."""
        other = ScriptedServer(self.clock)
        client = self.make_client([other, self.server])
        other.refusing = True
        self.remember(client)
        self.server.stubborn = True
        for end in (lambda found: found.cancel(), lambda found: self.clock.advance(11)):
            found = client.status(b"H:1")
            end(found)
            self.failureResultOf(found, CancelledError, NotConnected)
            self.assertFalse(self.server.go_on())

    def test_any_order(self) -> None:
        """Nothing raises, every Deferred fires, and what was asked last is what holds."""
        orders = ("startService", "stopService", "close", "run")
        for state in ("idle", "hanging", "refusing", "connected", "ready"):
            for order in product(orders, repeat=4):
                self.server.hanging, self.server.refusing = state == "hanging", state == "refusing"
                client = self.make_client([self.server])
                made = len(self.server.lines)
                waiting: list[Deferred[Any]] = [] if state == "idle" else [client.run("f")]
                if state == "ready":
                    self.server.line.welcome()
                for name in order:
                    made_one = getattr(client, name)(*["f"] * (name == "run"))
                    if made_one is not None:
                        waiting.append(made_one)
                waiting.append(client.close())
                fired: list[object] = []
                for deferred in waiting:
                    _ = deferred.addBoth(fired.append)
                self.clock.advance(0)
                self.assertEqual(len(waiting), len(fired), (state, order))
                self.assertTrue(all(line.ended for line in self.server.lines[made:]), (state, order))


class PauseTests(ClientTestCase):
    def test_connecting(self) -> None:
        """We stood still for longer than a request waits for a server: one attempt more has its time."""
        self.server.hanging = True
        result = self.client.run("g")
        self.clock.advance(31)
        self.assertNoResult(result)
        self.server.hanging = False
        self.clock.pump([0.1] * 10)
        self.server.line.welcome()
        self.assertEqual([SUBMIT_G], self.server.line.packets())
        self.server.line.send(JOB_CREATED, b"H:1")
        _ = result.addErrback(lambda _: None)

    def test_no_server(self) -> None:
        """It ends even so."""
        self.server.hanging = True
        result = self.client.run("g")
        self.clock.advance(1000)
        self.clock.advance(9)
        self.assertNoResult(result)
        self.clock.advance(1000)
        self.failureResultOf(result, NotConnected)

    def test_waits_do_not_grow(self) -> None:
        """A pause is no failure of the server's: the next attempt is as early as ever."""
        job, line = self.submitted("f")
        _ = job.result.addErrback(lambda _: None)
        for _ in range(5):
            self.clock.advance(1000)
            line.lose()
            before = self.server.attempts
            self.clock.advance(0.5)
            self.assertEqual(before + 1, self.server.attempts)
            line = self.server.line
            line.welcome()

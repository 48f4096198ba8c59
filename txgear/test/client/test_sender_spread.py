"""
Tests for L{txgear.client.sender}, through a client whose servers stand in one text: it spreads over them.
"""

from __future__ import annotations

from typing import Any

from txgear.client import Client, Task
from txgear.errors import AccessDenied, JobLost, NotConnected, QueueError, TxgearError
from txgear.protocol.constants import ERROR, JOB_CREATED, OPTION_RES, STATUS_RES, WORK_COMPLETE
from txgear.test.support.client import ScriptedConnection, ScriptedNet
from txgear.test.support.clock import ClockTestCase

GREETING = [("OPTION_REQ", b"exceptions"), ("OPTION_REQ", b"txgear-leaving")]
GOING = (b"QUEUE_ERROR", b"The server is shutting down")


def submit(workload: bytes) -> tuple[Any, ...]:
    return "SUBMIT_JOB_BG", b"f", b"", workload


class SpreadTestCase(ClockTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = self.net = ScriptedNet(3)
        self.servers = self.net.servers
        self.client = self.make_client()
        self.asked: list[Any] = []

    def make_client(self, **options: Any) -> Client:
        client = Client(self.net, self.net.text, random=lambda: 1.0, **options)
        self.addCleanup(self.close, client)
        return client

    def close(self, client: Client) -> None:
        closed = client.close()
        self.net.advance(0)
        self.successResultOf(closed)
        for each in self.asked:
            _ = each.addErrback(lambda failure: failure.trap(TxgearError))

    def submit(self, *workloads: bytes) -> list[Any]:
        asked = [self.client.submit_background("f", workload) for workload in workloads]
        self.asked += asked
        return asked

    def lines(self) -> list[ScriptedConnection]:
        """All servers are there, and have what came first."""
        (first,) = self.submit(b"first")
        for server in self.servers:
            self.assertEqual(server.line.welcome(), GREETING)
        lines = [server.line for server in self.servers]
        self.assertEqual(lines[0].packets(), [submit(b"first")])
        lines[0].send(JOB_CREATED, b"H:a:1")
        self.successResultOf(first)
        return lines


class SpreadTests(SpreadTestCase):
    def test_in_turn(self) -> None:
        lines = self.lines()
        self.submit(*(b"%d" % number for number in range(6)))
        found = [[packet[-1] for packet in line.packets()] for line in lines]
        self.assertEqual(found, [[b"0", b"3"], [b"1", b"4"], [b"2", b"5"]])

    def test_many_at_once(self) -> None:
        """Each server gets its own in one write."""
        lines = self.lines()
        before = [line.transport.writes for line in lines]
        _ = self.client.run_all([Task("f", b"%d" % number) for number in range(6)])
        self.assertEqual([line.transport.writes - 1 for line in lines], before)
        found = [[packet[-1] for packet in line.packets()] for line in lines]
        self.assertEqual(found, [[b"0", b"3"], [b"1", b"4"], [b"2", b"5"]])

    def test_a_list_is_tried_in_its_order(self) -> None:
        client = Client(self.net, self.net.text.split(","), random=lambda: 1.0)
        self.addCleanup(self.close, client)
        self.asked.append(client.submit_background("f"))
        self.assertEqual([server.attempts for server in self.servers], [1, 0, 0])

    def test_one_that_is_away(self) -> None:
        """It is passed over, and gets its share when it is back."""
        self.servers[1].refusing = True
        self.submit(b"1")
        for server in (self.servers[0], self.servers[2]):
            server.line.welcome()
        self.submit(b"2", b"3")
        found = [[packet[-1] for packet in self.servers[place].line.packets()] for place in (0, 2)]
        self.assertEqual(found, [[b"1", b"2"], [b"3"]])
        self.servers[1].refusing = False
        self.net.advance(0.5)
        self.servers[1].line.welcome()
        self.submit(b"4", b"5", b"6")
        found = [[packet[-1] for packet in server.line.packets()] for server in self.servers]
        self.assertEqual(sorted(found), [[b"4"], [b"5"], [b"6"]])

    def test_one_that_is_lost(self) -> None:
        """What may be sent again goes to another one at once; what was sent fails; it is connected again."""
        lines = self.lines()
        again = self.client.submit_background("f", b"again", resend=True)
        self.asked.append(again)
        lines[0].lose()
        self.assertIn(submit(b"again"), [packet for line in lines[1:] for packet in line.packets()])
        (lost,) = self.submit(b"lost")
        (line,) = [line for line in lines[1:] if submit(b"lost") in line.packets()]
        line.lose()
        self.failureResultOf(lost, JobLost)
        self.assertNoResult(again)
        self.net.advance(0.5)
        self.assertEqual(len(self.servers[0].lines), 2)

    def test_none_is_left(self) -> None:
        for server in self.servers:
            server.refusing = True
        (waiting,) = self.submit(b"1")
        self.net.pump([1.0] * 31)
        error = self.failureResultOf(waiting, NotConnected).value
        for number in (1, 2, 3):
            self.assertIn(f"192.0.2.{number}: ", str(error))

    def test_status(self) -> None:
        """The server that gave the handle is asked; others only where that is away."""
        lines = self.lines()
        asked = self.client.status(b"H:a:1")
        self.assertEqual(lines[0].packets(), [("GET_STATUS", b"H:a:1")])
        lines[0].send(STATUS_RES, b"H:a:1", b"1", b"0", b"0", b"0")
        self.assertTrue(self.successResultOf(asked).known)
        lines[0].lose()
        asked = self.client.status(b"H:a:1")
        (line,) = [line for line in lines[1:] if ("GET_STATUS", b"H:a:1") in line.packets()]
        line.send(STATUS_RES, b"H:a:1", b"1", b"0", b"0", b"0")
        self.assertTrue(self.successResultOf(asked).known)


class LeavingTests(SpreadTestCase):
    def test_what_it_has_not_answered_goes_to_another(self) -> None:
        """It has said that it ends the connection, and what crossed that is not carried out."""
        lines = self.lines()
        waiting = self.submit(b"1", b"2", b"3", b"4")
        lines[0].send(ERROR, *GOING)
        lines[0].lose()
        found = [packet[-1] for line in lines[1:] for packet in line.packets()]
        self.assertEqual(sorted(found), [b"1", b"2", b"3", b"4"])
        for each in waiting:
            self.assertNoResult(each)

    def test_told_before_anything_is_asked(self) -> None:
        lines = self.lines()
        lines[0].send(ERROR, *GOING)
        (crossed,) = self.submit(b"1")
        lines[0].lose()
        self.assertNoResult(crossed)
        self.assertIn(submit(b"1"), [packet for line in lines[1:] for packet in line.packets()])

    def test_a_job_that_was_taken_is_waited_for(self) -> None:
        lines = self.lines()
        taken, *others = [self.client.run("f", b"%d" % number) for number in range(3)]
        lines[0].send(JOB_CREATED, b"H:a:2")
        others += [self.client.run("f", b"%d" % number) for number in range(3)]
        self.asked += others
        lines[0].send(ERROR, *GOING)
        self.assertFalse(lines[0].ended)
        lines[0].send(WORK_COMPLETE, b"H:a:2", b"done")
        self.assertEqual(self.successResultOf(taken), b"done")
        self.assertTrue(lines[0].ended)
        for each in others:
            self.assertNoResult(each)

    def test_it_comes_back(self) -> None:
        lines = self.lines()
        self.submit(b"1")
        lines[0].send(ERROR, *GOING)
        self.net.advance(0.5)
        self.assertEqual(len(self.servers[0].lines), 2)
        self.assertEqual(self.servers[0].line.welcome(), GREETING)
        for line in lines:
            line.packets()
        self.submit(b"2", b"3", b"4")
        self.assertEqual(len(self.servers[0].line.packets()), 1)

    def test_all_of_them(self) -> None:
        lines = self.lines()
        (refused,) = self.submit(b"1")
        for line in lines:
            line.send(ERROR, *GOING)
        for line in lines:
            line.lose()
        self.failureResultOf(refused, QueueError)


class StoreTests(SpreadTestCase):
    AWAY = (b"STORE_UNAVAILABLE", b"The store is away")

    def test_one_that_cannot_store_a_job(self) -> None:
        """Another server gets that, and what follows; what was sent besides is still answered there."""
        lines = self.lines()
        first, _, _, second = self.submit(b"1", b"2", b"3", b"4")
        for line in lines:
            line.packets()
        lines[0].send(ERROR, *self.AWAY)
        self.assertIn(submit(b"1"), [packet for line in lines[1:] for packet in line.packets()])
        lines[0].send(JOB_CREATED, b"H:a:2")
        self.assertEqual(self.successResultOf(second), b"H:a:2")
        self.assertNoResult(first)
        self.assertTrue(lines[0].ended)
        self.net.advance(0.5)
        self.assertEqual(len(self.servers[0].lines), 2)

    def test_what_is_lost_then_may_have_been_done(self) -> None:
        lines = self.lines()
        *_, other = self.submit(b"1", b"2", b"3", b"4")
        lines[0].send(ERROR, *self.AWAY)
        lines[0].lose()
        self.failureResultOf(other, JobLost)

    def test_none_can(self) -> None:
        lines = self.lines()
        (asked,) = self.submit(b"1")
        for line in lines:
            line.send(ERROR, *self.AWAY)
        for _ in range(3):
            for line in lines:
                if submit(b"1") in line.packets():
                    line.send(ERROR, *self.AWAY)
        error = self.failureResultOf(asked, QueueError).value
        self.assertEqual((error.text, error.code), ("The store is away", "STORE_UNAVAILABLE"))

    def test_another_refusal(self) -> None:
        """Elsewhere it would be no other."""
        lines = self.lines()
        (asked,) = self.submit(b"1")
        for line in lines:
            if submit(b"1") in line.packets():
                line.send(ERROR, b"QUEUE_ERROR", b"full")
        self.failureResultOf(asked, QueueError)


class TokenTests(SpreadTestCase):
    def test_one_refuses(self) -> None:
        """The others do what is asked; where all refuse, nothing is tried before the next request."""
        self.client = self.make_client(token="txg_abcd1234_" + "s" * 43)
        asked = self.submit(b"1")
        for server in self.servers:
            server.line.send(OPTION_RES, b"txgear-1")
        for server in self.servers[:2]:
            server.line.send(ERROR, b"ACCESS_DENIED", b"no")
            self.net.advance(0)
            self.assertNoResult(asked[0])
        self.servers[2].line.send(ERROR, b"ACCESS_DENIED", b"no")
        self.net.advance(0)
        attempts = [server.attempts for server in self.servers]
        self.net.advance(100)
        self.assertEqual([server.attempts for server in self.servers], attempts)
        self.failureResultOf(asked[0], AccessDenied)

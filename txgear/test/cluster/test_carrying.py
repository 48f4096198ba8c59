"""Tests of L{txgear.cluster.carrying}, and of L{txgear.cluster.obeying} around it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from txgear.broker.orders import Order, Post
from txgear.cluster.exchange import DOUBT_SECONDS
from txgear.cluster.letters import MOST_BYTES, Letter
from txgear.cluster.obeying import ASKER_SECONDS
from txgear.daemon.config import parse_config
from txgear.errors import ServerError
from txgear.journal.link import LAST_RETRY
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import (
    CAN_DO,
    GET_RESULT,
    GET_STATUS,
    GRAB_JOB,
    OPTION_REQ,
    RESULT,
    STATUS_RES,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
)
from txgear.protocol.packets import request, response
from txgear.server import elsewhere
from txgear.server.elsewhere import PATIENCE
from txgear.test.support.cluster import LEASE
from txgear.test.support.http import HttpTransport
from txgear.test.support.orders import ANSWERED, OrdersTestCase, handle
from txgear.test.support.server import submit
from txgear.test.support.web import WebAnswer, WebPeer
from txgear.web.apisite import make_api


class CommandTests(OrdersTestCase):
    """Text commands, which are carried out where the job is."""

    def line(self, text: bytes, seconds: float = ANSWERED) -> bytes:
        return self.ask(text + b"\n", seconds)

    def test_one_that_waits_is_cancelled(self) -> None:
        self.submit(2)
        self.assertEqual(self.line(b"cancel job H:test:1"), b"OK\r\n")
        self.assertNotIn(1, self.world.database.kept)
        self.assertEqual(self.line(b"cancel job H:test:1"), b"ERR UNKNOWN_JOB\r\n")
        self.assertEqual(self.rows(), 0)

    def test_one_that_runs_is_cancelled(self) -> None:
        self.submit()
        self.grab()
        self.assertEqual(self.line(b"cancel job H:test:1"), b"OK\r\n")
        self.assertNotIn(1, self.world.database.kept)

    def test_it_is_answered_when_it_is_written(self) -> None:
        self.submit()
        self.a.store.hesitates = True
        self.assertEqual(self.line(b"cancel job H:test:1", 1), b"")
        self.assertIn(1, self.world.database.kept)
        self.a.store.hesitates = False
        self.world.run(2.5)
        self.assertEqual(self.client.heard(), b"OK\r\n")

    def test_an_answer_that_is_never_taken(self) -> None:
        """Each attempt has the store opened again: that becomes rare, and it is there when it can be."""
        self.submit()
        self.a.store.broken.add("answer")
        self.line(b"job H:test:1", 1)
        # It does not withdraw what it has asked.
        self.b.freeze()
        opened = self.a.store.opened
        self.world.run(60)
        self.assertLess(self.a.store.opened - opened, 60 / LAST_RETRY + 6)
        (order,) = self.world.database.orders.values()
        self.assertFalse(order.answer)
        self.a.store.broken.clear()
        self.world.run(LAST_RETRY)
        self.assertTrue(order.answer)

    def test_what_is_known_of_it(self) -> None:
        self.submit()
        self.assertIn(b"function\tf\n", self.line(b"job H:test:1"))
        self.assertIn(b"size\t1\n", self.line(b"workload H:test:1"))

    def test_others_go_on(self) -> None:
        """Who waits for a server that does not answer does so alone."""
        self.submit()
        self.a.freeze()
        self.client.tell(b"cancel job H:test:1\n")
        other = self.b.connect()
        self.assertEqual(self.ask(b"version\n", 0, other)[:2], b"OK")

    def test_nothing_else_is_passed_on(self) -> None:
        self.submit()
        for line in (b"cancel jobs f", b"forget dead H:test:1", b"job", b"cancel", b"show jobs"):
            self.line(line, 0)
            self.assertNotEqual(self.client.heard(), b"x")
        self.assertEqual(self.world.database.orders, {})

    def test_a_server_that_does_not_answer(self) -> None:
        self.submit()
        self.a.freeze()
        self.assertEqual(self.line(b"cancel job H:test:1", PATIENCE - 0.1), b"")
        refused = b"ERR NOT_ANSWERED The server that has the job does not answer\r\n"
        self.assertEqual(self.ask(b"", 0.5).replace(b"+", b" "), refused)
        self.assertEqual(self.world.database.orders, {})
        # Nor is it done later.
        self.a.thaw()
        self.world.run(3)
        self.assertIn(1, self.world.database.kept)

    def test_a_server_that_has_begun_and_does_not_answer(self) -> None:
        self.submit()
        self.a.store.hesitates = True
        heard = self.line(b"cancel job H:test:1", PATIENCE + DOUBT_SECONDS + 0.4)
        self.assertIn(b"it is not known whether it is done", heard.replace(b"+", b" "))
        self.a.store.hesitates = False
        self.world.run(1)
        self.assertEqual(self.world.database.orders, {})

    def test_a_server_that_dies_after_it_has_begun(self) -> None:
        """Who takes over carries it out once more, which does no harm."""
        self.submit()
        self.world.run(LEASE)
        self.a.kill()
        self.world.run(LEASE - 2)
        self.client.tell(b"cancel job H:test:1\n")
        self.world.run(0.1)
        (row,) = self.world.database.orders.values()
        row.answer = b""
        self.world.run(4)
        self.assertEqual(self.client.heard(), b"OK\r\n")
        self.assertNotIn(1, self.world.database.kept)

    def test_the_store_is_lost_while_it_answers(self) -> None:
        self.submit()
        self.client.tell(b"requeue job H:test:1\n")
        self.world.run(0.1)
        for fault in ("answer", "orders", "exchange"):
            for node in (self.a, self.b):
                node.store.faults.append(fault)
        self.assertEqual(self.ask(b"", 4).replace(b"+", b" ")[:12], b"ERR NOT_DEAD")
        self.assertEqual(self.rows(), 0)

    def test_its_asker_dies(self) -> None:
        self.submit()
        self.client.tell(b"job H:test:1\n")
        self.world.run(0.1)
        self.b.kill()
        self.world.run(1)
        self.assertEqual([bool(row.answer) for row in self.world.database.orders.values()], [True])

    def test_its_asker_ends(self) -> None:
        self.submit()
        self.a.freeze()
        other = self.b.connect()
        other.tell(request(GET_STATUS, handle(1)))
        self.client.tell(b"job H:test:1\n")
        self.world.run(1)
        self.b.member.stop()
        self.b.server.end_turn()
        self.assertEqual(other.heard()[:8], b"\0RES" + STATUS_RES.to_bytes(4, "big"))
        self.assertIn(b"does+not+answer", self.client.heard().replace(b" ", b"+"))
        self.assertEqual(self.line(b"job H:test:1", 0.1), b"ERR UNKNOWN_JOB\r\n")

    def test_rights_are_those_that_the_asked_server_knows(self) -> None:
        rules = """
            [[access]]
            identities = ["nobody"]
            allow = ["submit", "see", "cancel"]
            functions = ["f"]
            [[access]]
            identities = ["nobody"]
            deny = ["cancel"]
            functions = ["f*"]
        """
        self.submit()
        self.b.server.guard.replace(parse_config(rules, "test").access)
        self.world.run(0.1)
        heard = self.line(b"cancel job H:test:1")
        self.assertEqual(heard, b"ERR ACCESS_DENIED Not+allowed:+cancel+f\r\n")
        self.assertEqual(self.a.server.guard.refused, {("nobody", "cancel"): 1})
        self.b.server.guard.replace(parse_config(rules.replace('"f*"', '"g"'), "test").access)
        self.assertEqual(self.line(b"cancel job H:test:1"), b"OK\r\n")
        (line, *_), _ = self.a.server.audit.last(0, 5)
        self.assertEqual((line["act"], line["address"], line["handle"]), ("cancel", "192.0.2.1", "H:test:1"))


class ResultTests(OrdersTestCase):
    """GET_RESULT."""

    def setUp(self) -> None:
        super().setUp()
        policies = Policies([("f", CLASSIC.with_settings({"results": "1h"}))])
        for node in (self.a, self.b):
            node.server.broker.operations.set_policies(policies, self.world.clock.seconds())
        self.ask(request(OPTION_REQ, b"txgear-1"), 0)

    def get(self, number: int, wait: bytes = b"0", seconds: float = ANSWERED) -> bytes:
        return self.ask(request(GET_RESULT, b"t", handle(number), b"", b"", wait), seconds)

    def result(self, outcome: bytes, body: bytes = b"") -> bytes:
        return response(RESULT, b"t", handle(1), outcome, b"0", body)

    def complete(self) -> None:
        self.grab().tell(request(WORK_COMPLETE, handle(1), b"done"))
        self.world.run(0.2)

    def test_one_that_is_kept(self) -> None:
        self.submit(unique=b"u")
        self.assertEqual(self.get(1), self.result(b"pending"))
        self.complete()
        self.assertEqual(self.get(1), self.result(b"done", b"done"))
        self.assertEqual(self.get(7), response(RESULT, b"t", handle(7), b"unknown", b"0", b""))
        heard = self.ask(request(GET_RESULT, b"t", b"", b"f", b"u", b"0"))
        self.assertEqual(heard, self.result(b"done", b"done"))
        heard = self.ask(request(GET_RESULT, b"t", b"", b"g", b"u", b"0"))
        self.assertEqual(heard, response(RESULT, b"t", b"", b"unknown", b"0", b""))

    def test_one_that_is_kept_comes_from_the_store(self) -> None:
        self.submit()
        self.complete()
        self.a.freeze()
        self.assertEqual(self.get(1, seconds=0.1), self.result(b"done", b"done"))
        self.assertEqual(self.world.database.orders, {})

    def test_of_others_its_server_is_asked(self) -> None:
        """One that has failed, or of which too little is kept, or nothing that can be read."""
        self.submit(4)
        for number in (1, 2, 3):
            worker = self.grab()
            if number == 1:
                worker.tell(request(WORK_DATA, handle(1), b"da"), request(WORK_FAIL, handle(1)))
            else:
                worker.tell(request(WORK_COMPLETE, handle(number), b"done"))
        self.world.run(0.2)
        rows = self.world.database.rows
        rows._jobs[2] = rows._jobs[2]._replace(history=b"x")
        del rows._results[3]
        self.assertEqual(self.get(1), response(RESULT, b"t", handle(1), b"failed", b"2", b"da"))
        self.assertIn(b"cannot be read", self.get(2))
        self.assertIn(b"refused", self.get(3))

    def test_rights_for_a_result(self) -> None:
        rules = """
            [[access]]
            identities = ["nobody"]
            allow = ["see"]
        """
        self.submit(2)
        self.complete()
        self.get(2, b"1")
        self.b.server.guard.replace(parse_config(rules, "test").access)
        self.world.run(1.5)
        refused = response(RESULT, b"t", handle(2), b"refused", b"-", b"Not allowed: read f")
        self.assertEqual(self.client.heard(), refused)
        self.assertIn(b"refused", self.get(1))
        self.b.server.guard.replace(parse_config(rules.replace("see", "read"), "test").access)
        self.world.run(0.1)
        self.assertIn(b"unknown", self.get(1))

    def test_rights_change_while_one_is_waited_for(self) -> None:
        rules = """
            [[access]]
            identities = ["nobody"]
            allow = ["see", "read"]
        """
        self.submit()
        self.get(1, b"1")
        self.b.server.guard.replace(parse_config(rules, "test").access)
        self.world.run(1)
        self.assertEqual(self.rows(), 1)
        self.complete()
        self.world.run(1)
        self.assertEqual(self.client.heard(), self.result(b"done", b"done"))
        self.assertEqual(self.b.server.guard.waiting, {})

    def test_many_that_are_large(self) -> None:
        """They are not all in memory at once, and all come."""
        self.submit(20)
        worker = self.a.connect()
        worker.tell(request(CAN_DO, b"f"), request(GRAB_JOB) * 20)
        self.world.run(0.2)
        size = 2_000_000
        for number in range(1, 21):
            worker.tell(request(WORK_EXCEPTION, handle(number), bytes(size)))
            self.world.run(0.1)
        asked = [
            request(GET_RESULT, b"%d" % number, handle(number), b"", b"", b"0") for number in range(1, 21)
        ]
        heard = self.ask(b"".join(asked), 8)
        self.assertEqual(heard.count(b"failed"), 20)
        self.assertGreater(len(heard), 20 * size)

    def test_one_that_is_waited_for(self) -> None:
        self.submit()
        self.assertEqual(self.get(1, b"1", 60), b"")
        self.complete()
        self.world.run(1)
        self.assertEqual(self.client.heard(), self.result(b"done", b"done"))
        self.assertEqual(self.rows(), 0)

    def test_who_waits_is_told_by_the_server_that_takes_over(self) -> None:
        self.submit()
        self.get(1, b"1")
        self.a.kill()
        self.world.run(LEASE + 3)
        worker = self.b.connect()
        worker.tell(request(CAN_DO, b"f"), request(GRAB_JOB))
        self.world.run(0.2)
        worker.tell(request(GRAB_JOB), request(WORK_COMPLETE, handle(1), b"done"))
        self.world.run(1)
        self.assertEqual(self.client.heard(), self.result(b"done", b"done"))

    def test_who_waits_leaves(self) -> None:
        self.submit()
        self.get(1, b"1")
        self.assertEqual(self.rows(), 1)
        self.client.leave()
        self.world.run(1)
        self.assertEqual(self.world.database.orders, {})
        self.complete()

    def test_who_waits_asks_again(self) -> None:
        self.submit()
        self.get(1, b"1")
        self.assertEqual(self.get(1), self.result(b"pending"))
        self.assertEqual(self.rows(), 0)

    def test_whose_asker_is_gone(self) -> None:
        self.submit()
        self.get(1, b"1")
        self.b.kill()
        self.world.run(LEASE + ASKER_SECONDS)
        (row,) = self.world.database.orders.values()
        self.assertIn(b"Nobody waits", row.answer or b"")

    def test_an_answer_that_is_too_large(self) -> None:
        self.submit()
        self.grab().tell(request(WORK_COMPLETE, handle(1), bytes(MOST_BYTES + 1)))
        self.world.run(0.2)
        self.assertIn(b"ask the server that has the job", self.get(1)[:200])

    def test_what_makes_no_sense_there(self) -> None:
        self.submit()
        passed = self.b.member.elsewhere.pass_on(
            handle(1), self.client.protocol.peer, elsewhere.RESULT, [b"t"] * 5
        )
        self.world.run(1)
        self.assertEqual(self.failureResultOf(passed, ServerError).value.code, "INVALID_ARGUMENT")


class HttpTests(OrdersTestCase):
    """Requests of the web."""

    def setUp(self) -> None:
        super().setUp()
        self.webs = {node: make_api(node.server) for node in (self.a, self.b)}
        for node, web in self.webs.items():
            web.start()
            self.addCleanup(web.stop)
            node.server.web_channel = web.switched
        self.headers: dict[str, str] = {}

    def call(self, method: str, path: str, body: Any = None, seconds: float = ANSWERED) -> WebAnswer:
        peer = WebPeer(self.webs[self.b].factory(("localhost",)), HttpTransport())
        peer.ask_web(method, f"/api/v1/jobs/H:test:{path}", self.headers, body)
        self.world.run(seconds)
        return peer.web_answer()

    def test_one_that_is_looked_at(self) -> None:
        self.submit()
        answer = self.call("GET", "1")
        self.assertEqual((answer.status, answer.json["function"], answer.json["state"]), (200, "f", "queued"))
        self.assertIn("ETag", answer.headers)
        self.assertEqual(self.call("HEAD", "1").body, b"")
        workload = self.call("GET", "1/workload")
        self.assertEqual((workload.status, workload.body), (200, b"w"))
        self.assertEqual(workload.headers["Content-Type"], "application/octet-stream")
        self.assertIn("attachment", workload.headers["Content-Disposition"])
        unknown = self.call("GET", "7")
        self.assertEqual((unknown.status, unknown.code), (404, "unknown_job"))

    def test_acts(self) -> None:
        self.submit(2)
        self.assertEqual(self.call("POST", "1/prioritise", {"priority": "high"}).json["priority"], "high")
        self.assertEqual(self.call("POST", "1/move", {"function": "g"}).json["function"], "g")
        self.assertEqual(self.call("PUT", "1/workload", b"other").json["size"], 5)
        self.assertEqual(self.call("GET", "1/workload").body, b"other")
        self.assertEqual(self.call("POST", "1/requeue").code, "not_dead")
        self.assertEqual(self.call("POST", "1/cancel").status, 200)
        self.assertEqual(self.call("POST", "1/cancel").status, 404)
        self.assertEqual(self.call("POST", "2/forget").code, "not_ended")
        self.assertEqual(self.call("POST", "2/nonsense").status, 404)
        self.assertEqual(list(self.world.database.kept), [2])

    def test_a_result_that_is_waited_for(self) -> None:
        policies = Policies([("f", CLASSIC.with_settings({"results": "1h"}))])
        self.a.server.broker.operations.set_policies(policies, self.world.clock.seconds())
        self.submit()
        self.assertEqual(self.call("GET", "1/result?wait=3", seconds=4.5).status, 202)
        worker = self.grab()
        self.assertEqual(self.call("GET", "1/result?wait=3h").status, 400)
        worker.tell(request(WORK_COMPLETE, handle(1), b"done"))
        found = self.call("GET", "1/result?wait=9")
        self.assertEqual((found.status, found.body, found.headers["Txgear-Data-Size"]), (200, b"done", "0"))
        self.assertEqual(self.find("u").status, 404)

    def find(self, unique: str, seconds: float = ANSWERED) -> WebAnswer:
        peer = WebPeer(self.webs[self.b].factory(("localhost",)), HttpTransport())
        peer.ask_web("GET", f"/api/v1/results?unique={unique}&function=f", self.headers)
        self.world.run(seconds)
        return peer.web_answer()

    def test_a_result_by_its_unique(self) -> None:
        policies = Policies([("f", CLASSIC.with_settings({"results": "1h"}))])
        self.a.server.broker.operations.set_policies(policies, self.world.clock.seconds())
        self.submit(unique=b"u")
        self.submit(unique=b"v")
        self.assertEqual(self.find("u").status, 202)
        worker = self.grab()
        worker.tell(request(WORK_COMPLETE, handle(1), bytes(100_000)), request(GRAB_JOB))
        worker.tell(request(WORK_COMPLETE, handle(2), b"done"))
        self.world.run(0.2)
        self.a.freeze()
        found = self.find("u", 0.2)
        self.assertEqual((found.status, len(found.body)), (200, 100_000))
        self.assertEqual(found.headers["Content-Length"], "100000")
        head = self.call("HEAD", "1/result", seconds=0.2)
        self.assertEqual((head.status, head.body, head.headers["Content-Length"]), (200, b"", "100000"))
        self.assertEqual(self.find("v", 0.2).body, b"done")
        self.assertEqual(self.webs[self.b].payloads.held, 0)

    def test_a_server_that_does_not_answer(self) -> None:
        self.submit()
        self.a.freeze()
        answer = self.call("POST", "1/cancel", seconds=PATIENCE + 0.5)
        self.assertEqual((answer.status, answer.code), (504, "not_answered"))

    def test_one_without_a_web(self) -> None:
        self.submit()
        self.a.server.web_channel = None
        self.assertEqual(self.call("GET", "1").code, "not_spoken")

    def test_one_whose_web_is_being_made(self) -> None:
        self.submit()
        made: Deferred[None] = Deferred()
        self.a.server.web_channel = lambda: made
        self.world.clock.callLater(1, self._made, made)
        self.assertEqual(self.call("GET", "1", seconds=2.5).status, 200)

    def _made(self, made: Deferred[None]) -> None:
        self.a.server.web_channel = self.webs[self.a].switched
        made.callback(None)

    def test_too_large(self) -> None:
        self.submit()
        self.assertEqual(self.call("PUT", "1/workload", bytes(MOST_BYTES)).code, "not_passed_on")
        self.a.connect().tell(submit(bytes(MOST_BYTES)))
        self.world.run(0.5)
        self.assertEqual(self.call("GET", "2/workload").code, "not_passed_on")

    def test_who_asks_leaves(self) -> None:
        self.submit()
        peer = WebPeer(self.webs[self.b].factory(("localhost",)), HttpTransport())
        peer.ask_web("GET", "/api/v1/jobs/H:test:1/result?wait=60", {})
        self.world.run(1)
        peer.leave()
        self.world.run(1)
        self.assertEqual(self.world.database.orders, {})

    def test_nobody_is_shown_as_connected(self) -> None:
        self.submit()
        before = len(self.a.server.broker.peers), len(self.a.server.outbox.lines())
        peer = WebPeer(self.webs[self.b].factory(("localhost",)), HttpTransport())
        peer.ask_web("GET", "/api/v1/jobs/H:test:1/result?wait=1", {})
        self.world.run(1)
        after = len(self.a.server.broker.peers), len(self.a.server.outbox.lines())
        self.assertEqual(after, (before[0], before[1] + 1))
        self.world.run(2)
        self.assertEqual(len(self.a.server.outbox.lines()), before[1])


class StrangeTests(OrdersTestCase):
    """What stands in the table."""

    def put(self, asked: bytes) -> bytes:
        self.world.database.exchange(Post(new=[Order(5, 1, asked)]), ())
        self.world.run(1)
        return self.world.database.orders[5].answer or b""

    def test_no_order(self) -> None:
        for asked in (
            b"",
            b"x",
            b"{}\n",
            b'{"sizes":[3]}\nab',
            b'{"sizes":[],"job":1,"server":"","kind":"command"}\n',
        ):
            self.assertIn(b"A defect", self.put(asked))
            self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_one_of_a_later_version(self) -> None:
        self.assertIn(
            b"does not know", self.put(Letter({"job": 1, "server": "", "kind": "dance"}).to_bytes())
        )

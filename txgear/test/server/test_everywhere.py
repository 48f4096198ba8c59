"""Tests of L{txgear.server.everywhere}: what is done to functions at all servers."""

from __future__ import annotations

from typing import Any

from txgear.cluster.exchange import DOUBT_SECONDS
from txgear.daemon.config import parse_config
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import CAN_DO, GRAB_JOB, WORK_FAIL
from txgear.protocol.packets import request
from txgear.server.elsewhere import PATIENCE
from txgear.server.everywhere import Outcome, is_for_all, put_together
from txgear.test.support.cluster import LEASE, SIZE, Node
from txgear.test.support.http import HttpTransport
from txgear.test.support.orders import ANSWERED, OrdersTestCase, handle
from txgear.test.support.web import WebAnswer, WebPeer
from txgear.web.apisite import make_api


class WordsTests(OrdersTestCase):
    def test_which_commands(self) -> None:
        for line in (
            b"purge f",
            b"Drop function f",
            b"requeue FUNCTION f",
            b"forget dead f",
        ):
            self.assertTrue(is_for_all(line.split()), line)
        for line in (
            b"purge",
            b"requeue job f",
            b"create function f",
            b"forget dead function=f",
            b"requeue dead f=1",
            b"status",
            b"",
        ):
            self.assertEqual(is_for_all(line.split(b" ")), line == b"purge", line)

    def test_put_together(self) -> None:
        unknown = b"ERR UNKNOWN_FUNCTION There+is+no+such+function\r\n"
        for here, outcome, answer in (
            (b"OK 3\n", Outcome(4, True), b"OK 7\n"),
            (b"OK 3\n", Outcome(), b"OK 3\n"),
            (b"OK\r\n", Outcome(None, True), b"OK\r\n"),
            (unknown, Outcome(4, True), b"OK 4\n"),
            (unknown, Outcome(), unknown),
            (b"ERR function not found\r\n", Outcome(None, True), b"OK\r\n"),
            (
                b"OK 1\n",
                Outcome(None, False, [("b", "it is gone"), ("c", "x")]),
                b"ERR NOT_ALL_DONE Done+to+1+job,+and+not+everywhere:+b:+it+is+gone;+c:+x\r\n",
            ),
            (
                b"OK\r\n",
                Outcome(None, True, [("b", "x")], True),
                b"ERR there are still connected workers or executing clients\r\n",
            ),
        ):
            self.assertEqual(put_together(here, outcome), answer)


class EverywhereTests(OrdersTestCase):
    def line(self, text: bytes, seconds: float = ANSWERED) -> bytes:
        return self.ask(text + b"\n", seconds)

    def die(self, node: Node, count: int) -> None:
        """Let some jobs of a server have no attempt left."""
        dead = {"retries": 0, "dead": {"keep": "1h"}}
        policies = Policies([("f", CLASSIC.with_settings(dead))])
        node.server.broker.operations.set_policies(policies, self.world.clock.seconds())
        self.submit(count, node=node)
        worker = node.connect()
        first = 1 if node is self.a else 1 + SIZE
        worker.tell(request(CAN_DO, b"f"))
        for number in range(first, first + count):
            worker.tell(request(GRAB_JOB))
            self.world.run(0.2)
            worker.tell(request(WORK_FAIL, handle(number)))
        self.world.run(0.2)
        worker.leave()

    def test_purge(self) -> None:
        self.submit(2)
        self.submit(3, node=self.b)
        self.assertEqual(self.line(b"purge f"), b"OK 5\n")
        self.assertEqual(self.world.database.kept, {})
        self.assertEqual(self.rows(), 0)

    def test_one_that_only_the_other_knows(self) -> None:
        self.submit(2)
        self.assertEqual(self.line(b"purge f"), b"OK 2\n")
        self.assertIn(b"UNKNOWN_FUNCTION", self.line(b"purge g"))

    def test_the_dead(self) -> None:
        self.die(self.a, 2)
        self.die(self.b, 1)
        self.assertEqual(self.line(b"requeue function f"), b"OK 3\n")
        self.assertEqual(self.line(b"requeue function f"), b"OK 0\n")
        self.assertEqual(self.line(b"purge f"), b"OK 3\n")

    def test_the_dead_are_forgotten(self) -> None:
        self.die(self.a, 2)
        self.die(self.b, 1)
        self.assertEqual(self.line(b"forget dead f"), b"OK 3\n")
        self.assertEqual(self.world.database.kept, {})

    def test_drop(self) -> None:
        self.a.server.broker.operations.create_function(b"f g")
        self.assertEqual(self.line(rb"drop function f\x20g"), b"OK\r\n")
        self.assertNotIn(b"f g", self.a.server.broker.functions.by_name)
        self.assertEqual(self.line(b"drop function f"), b"ERR function not found\r\n")

    def test_one_in_use_elsewhere(self) -> None:
        self.submit()
        refused = b"ERR there are still connected workers or executing clients\r\n"
        self.assertEqual(self.line(b"drop function f"), refused)

    def test_what_is_refused_here_is_asked_nowhere(self) -> None:
        rules = """
            [[access]]
            identities = ["nobody"]
            allow = ["submit", "see"]
        """
        self.submit()
        self.b.server.guard.replace(parse_config(rules, "test").access)
        self.world.run(0.1)
        self.assertEqual(self.line(b"purge f", 0.3), b"ERR ACCESS_DENIED Not+allowed:+purge+f\r\n")
        self.assertEqual(self.world.database.orders, {})
        self.assertIn(1, self.world.database.kept)

    def test_rights_go_with_it(self) -> None:
        """What may be purged here may be there, whatever the rules of the other one say."""
        rules = """
            [[access]]
            identities = ["nobody"]
            allow = ["submit", "see", "purge"]
        """
        self.submit()
        self.b.server.guard.replace(parse_config(rules, "test").access)
        self.a.server.guard.replace(parse_config(rules.replace(', "purge"', ""), "test").access)
        self.assertEqual(self.line(b"purge f"), b"OK 1\n")

    def test_a_server_that_does_not_answer(self) -> None:
        self.submit(2)
        self.submit(3, node=self.b)
        self.a.freeze()
        self.assertEqual(self.line(b"purge f", PATIENCE - 0.1), b"")
        self.assertEqual(
            self.ask(b"", 0.5),
            b"ERR NOT_ALL_DONE Done+to+3+jobs,+and+not+everywhere:+a:+a+does+not+answer\r\n",
        )
        # Nor is it done later.
        self.a.thaw()
        self.world.run(3)
        self.assertEqual(list(self.world.database.kept), [1, 2])

    def test_one_that_has_begun_and_does_not_answer(self) -> None:
        self.submit(2)
        self.a.thread.until_heard = 0.2
        self.line(b"purge f", 0.1)
        while not any(order.answer == b"" for order in self.world.database.orders.values()):
            self.world.run(0.05)
        self.a.freeze()
        heard = self.ask(b"", PATIENCE + DOUBT_SECONDS + 1)
        self.assertIn(b"it+is+not+known+whether+it+is+done", heard)

    def test_whoever_takes_its_part_does_it(self) -> None:
        c = self.world.join("c")
        self.world.run(1.7)
        self.submit(2)
        self.submit(3, node=self.b)
        self.submit(1, node=c)
        _ = self.a.leave()
        heard = self.line(b"purge f", 4)
        self.assertEqual(heard, b"OK 6\n")
        self.assertEqual(self.world.database.kept, {})

    def test_without_a_store(self) -> None:
        self.b.store.is_cut = True
        self.submit(1)
        self.assertIn(b"The+store+does+not+answer", self.line(b"purge f", 3))

    def test_alone(self) -> None:
        self.submit(1, node=self.b)
        self.a.kill()
        self.world.run(2 * LEASE)
        self.assertEqual(self.line(b"purge f", 0.1), b"OK 1\n")


class HttpTests(OrdersTestCase):
    def setUp(self) -> None:
        super().setUp()
        web = make_api(self.b.server)
        web.start()
        self.addCleanup(web.stop)
        self.factory = web.factory(("localhost",))

    def call(self, method: str, path: str, body: Any = None, seconds: float = ANSWERED) -> WebAnswer:
        peer = WebPeer(self.factory, HttpTransport())
        peer.ask_web(method, f"/api/v1/functions/{path}", {}, body)
        self.world.run(seconds)
        return peer.web_answer()

    def test_purge(self) -> None:
        self.submit(2)
        self.assertEqual(self.call("POST", "f/purge").json, {"function": "f", "jobs": 2})
        self.submit(1, node=self.b)
        self.submit(2)
        self.assertEqual(self.call("POST", "f/purge").json, {"function": "f", "jobs": 3})
        self.assertEqual(self.call("POST", "g/purge").code, "unknown_function")

    def test_drop(self) -> None:
        self.assertEqual(self.call("PUT", "f%20g").status, 201)
        self.assertEqual(self.call("DELETE", "f%20g").status, 204)
        self.assertNotIn(b"f g", self.a.server.broker.functions.by_name)
        self.assertEqual(self.call("DELETE", "f%20g").status, 404)
        self.submit()
        self.assertEqual(self.call("DELETE", "f").code, "function_in_use")
        self.submit(node=self.b)
        self.assertEqual(self.call("DELETE", "f", seconds=0).code, "function_in_use")

    def test_one_that_does_not_answer(self) -> None:
        self.submit(1, node=self.b)
        self.a.freeze()
        answer = self.call("POST", "f/purge", seconds=PATIENCE + 0.5)
        self.assertEqual((answer.status, answer.code), (504, "not_all_done"))
        self.assertIn("Done to 1 job, and not everywhere: a", answer.json["detail"])

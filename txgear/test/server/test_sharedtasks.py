"""Tests of L{txgear.server.sharedtasks}, and of L{txgear.cluster.carriedtasks}: tasks of all servers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed

from txgear.broker.model import Peer
from txgear.broker.operators.bulkacts import ACTING, DONE, MOST_TASKS, STOPPED, BulkAct, Order
from txgear.broker.operators.bulkshares import Figures, Share
from txgear.broker.operators.search import Search
from txgear.daemon.config import parse_config
from txgear.server import tasks
from txgear.server.elsewhere import PATIENCE, Elsewhere, Other
from txgear.server.looks import PAUSE_SECONDS
from txgear.test.support.cluster import LEASE, Node
from txgear.test.support.http import HttpTransport
from txgear.test.support.orders import OrdersTestCase, handle
from txgear.test.support.web import WebAnswer, WebPeer
from txgear.web.apisite import make_api

SOON = 4.0
"""Seconds in which two servers have counted and done what takes no time."""


class TasksTestCase(OrdersTestCase):
    def line(self, text: bytes, seconds: float = SOON) -> bytes:
        return self.ask(text + b"\n", seconds)

    def task(self, node: Node, number: int = 1) -> BulkAct:
        task = node.server.bulk_acts.find(number, node.server.seconds())
        assert task is not None
        return task

    def begin_long(self) -> BulkAct:
        """A task that is half-way at the other server."""
        self.submit(900)
        self.a.clock.turn, self.a.thread.until_heard = 0.3, 0.01
        self.client.tell(b"cancel jobs function=f\n")
        task = self.task(self.b)
        while not (task.shares[0].figures.total and self.task(self.a).done):
            self.world.run(0.05)
        self.assertEqual(self.task(self.a).state, ACTING)
        return task

    def servers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = tasks.shown(self.b.server, self.task(self.b))["servers"]
        return found


class Strange:
    """
    A cluster with a server that answers what nobody can read.

    @ivar asked: how often it was asked.
    """

    def __init__(self) -> None:
        self.asked = 0

    def others(self) -> list[Other]:
        return [Other("c", 7, b"c", lives=True)]

    def ask(self, other: Other, peer: Peer, kind: str, parts: Sequence[bytes]) -> Deferred[list[bytes]]:
        self.asked += 1
        return succeed([b"{}"])


class Distant(Strange):
    """
    One whose other server answers when the test says so.

    @ivar answers: what it was asked, the last one unanswered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Deferred[list[bytes]]] = []

    def ask(self, other: Other, peer: Peer, kind: str, parts: Sequence[bytes]) -> Deferred[list[bytes]]:
        self.asked += 1
        self.answers.append(Deferred())
        return self.answers[-1]

    def says_how_far(self) -> None:
        """It is at it still."""
        said = {"state": ACTING, "ended": False, "counted": True, "figures": Figures(), "failures": []}
        self.answers[-1].callback([json.dumps(said).encode("ascii")])


class SharedTests(TasksTestCase):
    def test_an_answer_that_cannot_be_read(self) -> None:
        """It is not asked for again and again; the server's log has the defect."""
        strange = Strange()
        self.b.server.elsewhere = cast(Elsewhere, strange)
        task = tasks.start(self.b.server, self.client.protocol.peer, "cancel", "jobs", {"function": b"f"})
        self.world.run(SOON)
        self.assertEqual((strange.asked, task.stage), (1, DONE))
        self.assertIn("A defect in the server", self.servers()[0]["problem"])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_all_that_match(self) -> None:
        self.submit(3)
        self.submit(2, node=self.b)
        self.submit(1, b"g")
        self.assertEqual(self.line(b"cancel jobs function=f"), b"OK 1 5\n")
        self.assertEqual([job.function for job in self.world.database.kept.values()], [b"g"])
        row = self.line(b"tasks", 0.1).split(b"\n")[0].split(b"\t")
        self.assertEqual(
            row, [b"1", b"cancel", b"done", b"6", b"6", b"5", b"5", b"0", b"-", b"jobs function=f", b"-"]
        )
        self.assertEqual((self.task(self.a).state, self.task(self.a).done), (DONE, 3))
        self.assertEqual(
            self.servers(),
            [{"server": "a", "ended": True, "matched": 3, "done": 3, "failed": 0, "problem": None}],
        )
        self.assertEqual(self.rows(), 0)

    def test_they_are_only_counted(self) -> None:
        self.submit(3)
        self.submit(2, node=self.b)
        self.assertEqual(self.line(b"cancel jobs function=f preview=yes"), b"OK 1 5\n")
        self.assertEqual(len(self.world.database.kept), 5)
        begun = tasks.confirm(self.b.server, self.client.protocol.peer, self.task(self.b))
        self.world.run(SOON)
        self.assertEqual((begun.figures.done, begun.stage), (5, DONE))
        self.assertEqual(self.world.database.kept, {})

    def test_other_acts(self) -> None:
        """What an act has besides goes with it, and so do odd bytes."""
        self.submit(2, b"f \xff\\x20=")
        self.assertEqual(self.line(rb"move jobs g\x20g function=f*"), b"OK 1 2\n")
        self.assertEqual(self.line(b"prioritise jobs high function=g*"), b"OK 2 2\n")
        found = [(job.function, job.priority) for job in self.world.database.kept.values()]
        self.assertEqual(found, [(b"g g", 0)] * 2)
        self.assertEqual(self.line(rb"cancel jobs function=g\x20?"), b"OK 3 2\n")

    def test_what_cannot_be_done(self) -> None:
        self.submit(1)
        self.grab()
        self.assertEqual(self.line(b"move jobs g function=f"), b"OK 1 1\n")
        task = self.task(self.b)
        self.assertEqual(task.figures.failed, 1)
        self.assertEqual([(each.handle, each.code) for each in task.all_failures], [(handle(1), "RUNNING")])

    def test_reviews_are_each_server_s_own(self) -> None:
        self.assertEqual(self.line(b"review dead r most=3 function=f", 0.1), b"OK 1 0\n")
        self.assertEqual(self.world.database.orders, {})

    def test_it_is_stopped_everywhere(self) -> None:
        task = self.begin_long()
        self.assertTrue(tasks.stop(self.b.server, self.client.protocol.peer, task))
        self.assertEqual((task.stage, task.over), (STOPPED, 0.0))
        self.world.run(SOON)
        self.assertGreater(task.over, 0)
        self.assertEqual(task.shares[0].problem, "")
        self.assertEqual(self.task(self.a).state, STOPPED)
        self.assertEqual(len(self.world.database.kept), 900 - task.figures.done)
        self.assertNotEqual(task.figures.done, 900)

    def begin_afar(self) -> Distant:
        distant = Distant()
        self.b.server.elsewhere = cast(Elsewhere, distant)
        tasks.start(self.b.server, self.client.protocol.peer, "cancel", "jobs", {"function": b"f"})
        return distant

    def test_a_server_that_ends_does_not_look_again(self) -> None:
        distant = self.begin_afar()
        distant.says_how_far()
        self.world.run(PAUSE_SECONDS + 0.1)
        self.assertEqual(distant.asked, 2)
        distant.says_how_far()
        self.b.server.stop()
        self.world.run(SOON)
        self.assertEqual(distant.asked, 2)

    def test_a_server_that_has_ended_does_not_look_again(self) -> None:
        distant = self.begin_afar()
        distant.says_how_far()
        self.world.run(PAUSE_SECONDS + 0.1)
        self.b.server.stop()
        distant.says_how_far()
        self.world.run(SOON)
        self.assertEqual(distant.asked, 2)

    def test_it_is_stopped_there(self) -> None:
        task = self.begin_long()
        self.a.server.bulk_acts.stop(self.task(self.a), self.a.server.seconds())
        self.world.run(SOON)
        self.assertEqual(task.stage, DONE)
        self.assertEqual(self.servers()[0]["problem"], "it was stopped there")

    def test_one_that_cannot_begin(self) -> None:
        self.submit(1)
        self.submit(2, node=self.b)
        order = Order("cancel", "jobs", {}, Search.parse({}, ()))
        for _ in range(MOST_TASKS):
            self.a.server.bulk_acts.start(order, Peer(1, "x"), self.a.server.seconds(), shares=[Share("c")])
        heard = self.line(b"cancel jobs function=f")
        self.assertIn(b"Task+1+is+for+2+jobs,+and+not+everywhere:+a:+20+tasks+are+under+way", heard)

    def test_one_that_does_not_answer(self) -> None:
        self.submit(1)
        self.submit(2, node=self.b)
        self.a.freeze()
        self.assertEqual(self.line(b"cancel jobs function=f", PATIENCE - 0.1), b"")
        self.assertEqual(
            self.ask(b"", 0.5),
            b"ERR NOT_ALL_DONE Task+1+is+for+2+jobs,+and+not+everywhere:+a:+a+does+not+answer\r\n",
        )
        self.assertEqual(self.task(self.b).stage, DONE)
        self.a.thaw()
        self.world.run(3)
        self.assertEqual(list(self.world.database.kept), [1])

    def test_one_that_dies_while_it_is_at_it(self) -> None:
        task = self.begin_long()
        while not self.client.heard().startswith(b"OK 1 900"):
            self.world.run(0.05)
        self.assertEqual(self.task(self.a).state, ACTING)
        self.a.kill()
        self.world.run(PATIENCE + LEASE + 3)
        self.assertEqual(
            self.servers()[0]["problem"], "it has ended, and another server has its jobs: do it again"
        )
        self.assertGreater(task.over, 0)
        left = len(self.world.database.kept)
        self.assertGreater(left, 0)
        self.assertEqual(self.line(b"cancel jobs function=f"), b"OK 2 %d\n" % left)

    def test_one_that_ends_and_whose_part_is_taken(self) -> None:
        c = self.world.join("c")
        self.world.run(1.7)
        self.submit(2)
        self.submit(3, node=self.b)
        _ = self.a.leave()
        heard = self.line(b"cancel jobs function=f", 5)
        self.assertIn(b"not+everywhere:+a:+it+has+ended,+and+another+server+has+its+jobs:+do+it+again", heard)
        self.assertEqual(c.server.bulk_acts.find(2, c.server.seconds()), None)
        self.assertEqual(self.line(b"cancel jobs function=f"), b"OK 2 2\n")

    def test_a_part_that_nobody_has(self) -> None:
        self.submit(2)
        _ = self.a.leave()
        self.world.run(0.3)
        self.b.member._look()
        self.world.run(0.1)
        self.assertIn(b"part+1:+nobody+has+it+just+now:+do+it+again", self.line(b"cancel jobs function=f", 1))

    def test_rights_go_with_it(self) -> None:
        rules = """
            [[access]]
            identities = ["nobody"]
            allow = ["submit", "see", "cancel"]
            functions = ["f"]
        """
        self.submit(2)
        self.submit(1, b"g")
        self.b.server.guard.replace(parse_config(rules, "test").access)
        self.world.run(0.1)
        self.assertEqual(self.line(b"cancel jobs function=*"), b"OK 1 2\n")
        self.assertEqual([job.function for job in self.world.database.kept.values()], [b"g"])
        self.b.server.guard.replace(parse_config(rules.replace(', "cancel"', ""), "test").access)
        self.submit(1)
        self.world.run(0.1)
        self.assertEqual(self.line(b"cancel jobs function=*"), b"OK 2 1\n")
        self.assertEqual([each.code for each in self.task(self.b, 2).all_failures], ["ACCESS_DENIED"])


class HttpTests(TasksTestCase):
    def setUp(self) -> None:
        super().setUp()
        web = make_api(self.b.server)
        web.start()
        self.addCleanup(web.stop)
        self.factory = web.factory(("localhost",))

    def call(self, method: str, path: str, body: Any = None, seconds: float = 0.1) -> WebAnswer:
        peer = WebPeer(self.factory, HttpTransport())
        peer.ask_web(method, f"/api/v1/{path}", {}, body)
        self.world.run(seconds)
        return peer.web_answer()

    def test_a_task(self) -> None:
        self.submit(2)
        self.submit(1, node=self.b)
        body = {"act": "cancel", "filter": {"function": "f"}}
        begun = self.call("POST", "tasks", body)
        self.assertEqual((begun.status, begun.json["state"]), (202, "waiting"))
        self.assertEqual(begun.json["servers"][0]["ended"], False)
        self.world.run(SOON)
        found = self.call("GET", "tasks/1").json
        self.assertEqual((found["state"], found["matched"], found["done"]), ("done", 3, 3))
        self.assertEqual(len(self.call("GET", "tasks").json["tasks"]), 1)

    def test_it_is_stopped(self) -> None:
        self.submit(2)
        self.a.freeze()
        self.call("POST", "tasks", {"act": "cancel", "filter": {"function": "f"}})
        found = self.call("DELETE", "tasks/1").json
        self.assertEqual((found["state"], found["ended"]), ("stopped", None))
        self.world.run(PATIENCE + 1)
        found = self.call("GET", "tasks/1").json
        self.assertEqual(found["servers"][0]["problem"], "a does not answer")
        self.assertIsNotNone(found["ended"])

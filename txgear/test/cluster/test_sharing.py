"""Tests of L{txgear.cluster.sharing}: what several servers may do together."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import SLOTS
from txgear.broker.shares import NONE, Share
from txgear.cluster.sharing import JOINING_SECONDS
from txgear.cluster.slots import TURN_SECONDS
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import CAN_DO, GRAB_JOB, NO_JOB, SUBMIT_JOB, WORK_COMPLETE
from txgear.protocol.packets import request, response
from txgear.test.support.cluster import LEASE, Node, World
from txgear.test.support.server import FakePeer, submit

PROMPT = 1.7
"""Seconds within which all have looked who have nothing else to do."""


class SharingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.nodes: list[Node] = []
        self.workers: dict[Node, FakePeer] = {}

    def join(self, *names: str, **settings: Any) -> list[Node]:
        nodes = [self.world.join(name) for name in names]
        for node in nodes:
            self.set(node, **settings)
            self.workers[node] = node.connect()
            self.workers[node].tell(request(CAN_DO, b"f"))
        self.nodes += nodes
        self.world.run(JOINING_SECONDS + PROMPT)
        return nodes

    def set(self, node: Node, **settings: Any) -> None:
        policies = Policies([("f", CLASSIC.with_settings(settings))])
        node.server.broker.operations.set_policies(policies, node.server.seconds())

    def fill(self, count: int = 10, packet: bytes = b"") -> None:
        """All have so many jobs."""
        for node in self.nodes:
            for _ in range(count):
                node.connect().tell(packet or submit())
        self.world.run(0.2)

    def start(self, node: Node) -> int:
        """How many jobs are handed out there now."""
        worker, count = self.workers[node], 0
        while worker.ask(request(GRAB_JOB)) != response(NO_JOB):
            count += 1
        return count

    def end(self, node: Node, count: int = 1) -> None:
        peers = [peer for peer in node.server.broker.peers if peer.running]
        handles = [handle for peer in peers for handle in peer.running]
        for handle in handles[:count]:
            self.workers[node].tell(request(WORK_COMPLETE, handle, b""))

    def running(self) -> int:
        return sum(node.server.broker.dispatcher.running for node in self.nodes if not node.is_gone)

    def shares(self) -> list[Share]:
        return [node.server.broker.functions.share for node in self.nodes]

    # Shares

    def test_one_alone(self) -> None:
        """It has all at once."""
        node = self.world.join("a")
        self.assertEqual(node.server.broker.functions.share, NONE)
        self.world.run(0.1)
        self.assertEqual(node.server.broker.functions.share, Share(1, 0))

    def test_two(self) -> None:
        a, b = self.join("a", "b", concurrency=5)
        self.assertEqual(sorted(self.shares()), [Share(2, 0), Share(2, 1)])
        self.fill()
        self.assertEqual(sorted([self.start(a), self.start(b)]), [2, 3])
        self.world.run(3)
        self.assertEqual(self.start(a) + self.start(b), 0)

    def test_one_that_joins(self) -> None:
        """It starts nothing before the others have looked."""
        (a,) = self.join("a", concurrency=4)
        self.fill(4)
        self.assertEqual(self.start(a), 4)
        b = self.world.join("b")
        self.set(b, concurrency=4)
        self.nodes.append(b)
        self.workers[b] = b.connect()
        self.workers[b].tell(request(CAN_DO, b"f"))
        self.fill(4)
        self.world.run(JOINING_SECONDS - 0.5)
        self.end(a, 2)
        self.assertEqual((self.start(a), self.start(b)), (0, 0))
        self.world.run(1.5)
        self.assertEqual((self.start(a), self.start(b)), (0, 2))

    def test_one_that_dies(self) -> None:
        a, b = self.join("a", "b", concurrency=4)
        self.fill()
        self.assertEqual(self.start(a), 2)
        b.kill()
        self.world.run(LEASE - 1.5)
        self.assertEqual(self.start(a), 0)
        self.world.run(3)
        self.assertEqual(self.start(a), 2)

    def test_one_that_leaves(self) -> None:
        a, b = self.join("a", "b", concurrency=4)
        self.fill()
        self.assertEqual(self.start(a), 2)
        _ = b.leave()
        self.world.run(PROMPT)
        self.assertEqual(self.start(a), 2)

    def test_rates(self) -> None:
        self.join("a", "b", rate="4/s")
        self.fill(50)
        begun = 0
        for _ in range(100):
            begun += sum(self.start(node) for node in self.nodes)
            self.world.run(0.05)
        # Each asks in vain for up to a twentieth of a second.
        self.assertIn(begun, range(18, 23))

    def test_each_by_itself(self) -> None:
        a, b = self.join("a", "b", concurrency=1, scope="server")
        self.fill()
        self.assertEqual([self.start(a), self.start(b)], [1, 1])

    def test_a_database_that_is_away(self) -> None:
        """Each keeps to its own."""
        a, b = self.join("a", "b", concurrency=2)
        for node in self.nodes:
            node.store.is_cut = True
        self.world.run(30)
        self.fill(packet=request(SUBMIT_JOB, b"f", b"", b""))
        self.assertEqual([self.start(a), self.start(b)], [1, 1])

    # Slots

    def test_one_job_at_once(self) -> None:
        self.join("a", "b", "c", concurrency=1)
        self.fill(100)
        begun = dict.fromkeys(self.nodes, 0)
        for _ in range(600):
            for node in self.nodes:
                begun[node] += self.start(node)
                self.assertLessEqual(self.running(), 1)
                self.end(node)
            self.world.run(0.05)
        for node in self.nodes:
            self.assertGreater(begun[node], 50, begun)

    def test_a_job_that_takes_long(self) -> None:
        """It is waited for."""
        a, b = self.join("a", "b", concurrency=1)
        self.fill()
        self.world.run(2)
        first, second = (a, b) if self.start(a) else (b, a)
        if first is b:
            self.assertEqual(self.start(b), 1)
        self.world.run(3 * TURN_SECONDS)
        self.assertEqual((self.start(first), self.start(second)), (0, 0))
        self.end(first)
        # Its turn is over.
        self.assertEqual(self.start(first), 0)
        self.world.run(2 * PROMPT)
        self.assertEqual(self.start(second), 1)

    def test_who_alone_has_jobs_has_them_all(self) -> None:
        a, _, _ = self.join("a", "b", "c", concurrency=2)
        for _ in range(10):
            a.connect().tell(submit())
        self.world.run(PROMPT)
        self.assertEqual(self.start(a), 2)
        self.end(a, 2)
        self.world.run(5)
        self.assertEqual(self.start(a), 2)

    def test_nothing_is_left_in_the_store(self) -> None:
        a, _ = self.join("a", "b", concurrency=1)
        a.connect().tell(submit())
        self.world.run(PROMPT)
        self.assertEqual(self.start(a), 1)
        self.assertIn(SLOTS, [value.kind for value in self.world.database.rows.values()])
        self.end(a)
        self.world.run(15)
        self.assertEqual(self.world.database.rows.values(), [])

    def test_one_that_dies_with_a_slot(self) -> None:
        a, b, c = self.join("a", "b", "c", concurrency=1)
        self.fill()
        self.world.run(PROMPT)
        for node in (a, b, c):
            if self.start(node):
                break
        left = [each for each in self.nodes if each is not node]
        node.kill()
        self.world.run(LEASE - 1.5)
        self.assertEqual([self.start(each) for each in left], [0, 0])
        self.world.run(5)
        self.assertEqual(sum(self.start(each) for each in left), 1)

    def test_one_that_is_cut_off_with_a_slot(self) -> None:
        """It does not use it for longer than others know that it lives."""
        a, b = self.join("a", "b", concurrency=1)
        a.connect().tell(request(SUBMIT_JOB, b"f", b"", b""))
        self.world.run(PROMPT)
        self.assertEqual(self.start(a), 1)
        a.store.is_cut = True
        self.world.run(LEASE)
        self.end(a)
        a.connect().tell(request(SUBMIT_JOB, b"f", b"", b""))
        self.assertEqual(self.start(a), 0)
        b.connect().tell(request(SUBMIT_JOB, b"f", b"", b""))
        self.world.run(4)
        self.assertEqual(self.start(b), 1)

    def test_a_change_of_which_nothing_is_heard(self) -> None:
        a, _ = self.join("a", "b", concurrency=1)
        a.store.faults.append("swap")
        a.connect().tell(submit())
        self.world.run(4)
        self.assertEqual(self.start(a), 1)

    def test_what_is_paused_needs_none(self) -> None:
        a, b = self.join("a", "b", concurrency=1)
        self.assertEqual(a.connect().ask(b"pause f\n"), b"OK\r\n")
        self.fill(1)
        self.world.run(3)
        self.assertNotIn(SLOTS, [value.kind for value in self.world.database.rows.values()])
        self.assertEqual(b.connect().ask(b"resume f\n"), b"OK\r\n")
        self.world.run(3)
        self.assertEqual(self.start(a) + self.start(b), 1)

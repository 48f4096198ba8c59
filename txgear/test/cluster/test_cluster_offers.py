"""Workers that have jobs of a server that is gone: the one that takes over has them with the jobs."""

from __future__ import annotations

from txgear.protocol.constants import (
    EXTENSION_OPTION,
    GRAB_JOB,
    GRAB_JOB_OPTIONS,
    NO_JOB,
    OPTION_REQ,
    PRE_SLEEP,
    WORK_COMPLETE,
    WORKER_HELLO,
    WORKER_OFFER,
    WORKER_WELCOME,
)
from txgear.protocol.hello import Hello, offer
from txgear.protocol.packets import request, response
from txgear.test.cluster.test_member import PROMPT, ClusterTestCase, assigned, handle
from txgear.test.support.cluster import LEASE, Node
from txgear.test.support.server import FakePeer

KEY = "0123456789abcdef" * 2
GRACE = 20.0


def welcome(*held: bytes) -> bytes:
    names = ",".join(f'"{each.decode()}"' for each in held)
    return response(WORKER_WELCOME, f'{{"grace":{GRACE},"held":[{names}],"offers":true}}'.encode())


class OfferTests(ClusterTestCase):
    def join(self, *names: str) -> list[Node]:
        nodes = [self.world.join(name, worker_grace=GRACE) for name in names]
        self.world.run(PROMPT)
        return nodes

    def known(self, node: Node, *claimed: int) -> FakePeer:
        """A worker that has said hello there."""
        worker = self.worker(node)
        worker.tell(request(OPTION_REQ, EXTENSION_OPTION))
        worker.heard()
        jobs = {handle(number): 1 for number in claimed}
        self.assertEqual(worker.ask(request(WORKER_HELLO, Hello(KEY, jobs=jobs).to_bytes())), welcome())
        return worker

    def got(self, node: Node, *workloads: bytes) -> FakePeer:
        """A worker that has all jobs of a server."""
        worker = self.known(node)
        for workload in workloads:
            self.submit(node, workload)
        for _ in workloads:
            worker.tell(request(GRAB_JOB_OPTIONS))
        self.assertEqual(len(worker.protocol.peer.running), len(workloads))
        return worker

    def offered(self, worker: FakePeer, *numbers: int, attempt: int = 1) -> bytes:
        heard = worker.ask(request(WORKER_OFFER, offer({handle(number): attempt for number in numbers})))
        self.world.run(0.2)
        return heard + worker.heard()

    def waiting(self, node: Node) -> FakePeer:
        """Another worker, which sleeps."""
        worker = self.worker(node)
        worker.tell(request(GRAB_JOB), request(PRE_SLEEP))
        self.assertEqual(worker.heard(), response(NO_JOB))
        return worker

    def assert_has(self, worker: FakePeer, *numbers: int) -> None:
        self.assertEqual(sorted(worker.protocol.peer.running), [handle(number) for number in numbers])

    def test_one_that_ends(self) -> None:
        """Its jobs go to those that are at work on them, and the others to others."""
        a, b = self.join("a", "b")
        self.got(a, b"1", b"2")
        self.submit(a, b"3")
        worker, other = self.known(b), self.waiting(b)
        self.assertEqual(self.offered(worker, 1, 2), b"")
        _ = a.leave()
        self.world.run(PROMPT)
        self.assertEqual(worker.heard(), welcome(handle(1), handle(2)))
        self.assert_has(worker, 1, 2)
        other.heard()
        self.assertEqual(other.ask(request(GRAB_JOB)), assigned(3, b"3"))
        worker.tell(request(WORK_COMPLETE, handle(1), b""), request(WORK_COMPLETE, handle(2), b""))
        self.world.run(0.2)
        self.assertEqual(list(self.world.database.kept), [3])

    def test_one_that_is_killed(self) -> None:
        a, b = self.join("a", "b")
        self.got(a, b"1")
        worker, other = self.known(b), self.waiting(b)
        self.offered(worker, 1)
        a.kill()
        self.world.run(LEASE + 2)
        self.assertEqual(worker.heard(), welcome(handle(1)))
        other.heard()
        self.assertEqual(other.ask(request(GRAB_JOB)), response(NO_JOB))

    def test_offered_when_it_is_here(self) -> None:
        a, b = self.join("a", "b")
        self.got(a, b"1", b"2")
        _ = a.leave()
        self.world.run(PROMPT)
        self.assertEqual(self.grab(b), assigned(1, b"1"))
        worker = self.known(b)
        self.assertEqual(self.offered(worker, 1, 2), welcome(handle(2)))
        self.assert_has(worker, 2)

    def test_claimed_from_the_server_that_has_come_back(self) -> None:
        """It has an empty part, and takes the other one up like anybody."""
        (a,) = self.join("a")
        self.got(a, b"1")
        _ = a.leave()
        again = self.world.join("a", worker_grace=GRACE)
        worker = self.known(again, 1)
        self.world.run(PROMPT)
        self.assertEqual(worker.heard(), welcome(handle(1)))
        self.assert_has(worker, 1)

    def test_what_is_not_its_own(self) -> None:
        """Another attempt, what it offers no more, what was sent of before, what one has that is gone."""
        a, b = self.join("a", "b")
        self.got(a, b"1", b"2", b"3")
        worker = self.known(b)
        self.offered(worker, 1)
        self.offered(worker, 2, attempt=2)
        sent = b'{"jobs":[["H:test:3",1,true]]}'
        self.known(b)
        third = self.worker(b)
        third.tell(request(OPTION_REQ, EXTENSION_OPTION))
        third.tell(request(WORKER_HELLO, Hello("f" * 32).to_bytes()), request(WORKER_OFFER, sent))
        gone = self.worker(b)
        gone.tell(request(OPTION_REQ, EXTENSION_OPTION), request(WORKER_HELLO, Hello("e" * 32).to_bytes()))
        self.offered(gone, 3)
        gone.leave()
        _ = a.leave()
        self.world.run(PROMPT)
        for each in (worker, third):
            self.assert_has(each)
        self.assertEqual(self.grab(b), assigned(1, b"1"))

    def test_a_store_that_does_not_answer(self) -> None:
        """They are asked for again when it does."""
        a, b = self.join("a", "b")
        self.got(a, b"1")
        worker = self.known(b)
        self.offered(worker, 1)
        b.store.faults.append("rows")
        _ = a.leave()
        self.world.run(3 * PROMPT)
        b.server.broker.check()
        self.assert_has(worker, 1)

    def test_mistakes(self) -> None:
        (a,) = self.join("a")
        worker = self.worker(a)
        worker.tell(request(OPTION_REQ, EXTENSION_OPTION))
        worker.heard()
        self.assertIn(b"says hello before", self.offered(worker, 1))
        self.assertIn(b"INVALID_ARGUMENT", worker.ask(request(WORKER_OFFER, b"[]")))

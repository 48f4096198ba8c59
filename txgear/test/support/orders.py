"""Two servers over one database in memory, of which one is asked for jobs of the other."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import CAN_DO, GRAB_JOB, STATUS_RES
from txgear.protocol.packets import request, response
from txgear.test.support.cluster import Node, World
from txgear.test.support.server import FakePeer, submit

ANSWERED = 1.5
"""Seconds in which another server has answered: two is what users are promised."""


def handle(number: int) -> bytes:
    return b"H:test:%d" % number


def status(number: int, *columns: int) -> bytes:
    return response(STATUS_RES, handle(number), *(b"%d" % each for each in columns))


class OrdersTestCase(SynchronousTestCase):
    """
    Two servers. The jobs of the first have the numbers from 1 on.
    """

    def setUp(self) -> None:
        self.world = World()
        self.a, self.b = (self.world.join(name) for name in ("a", "b"))
        self.world.run(1.7)
        self.client = self.b.connect()

    def submit(
        self, count: int = 1, function: bytes = b"f", unique: bytes = b"", node: Node | None = None
    ) -> None:
        peer = (node or self.a).connect()
        for _ in range(count):
            peer.tell(submit(function=function, unique=unique))
        self.world.run(0.2)

    def grab(self) -> FakePeer:
        """A worker that has got a job."""
        worker = self.a.connect()
        worker.tell(request(CAN_DO, b"f"), request(GRAB_JOB))
        self.world.run(0.2)
        worker.heard()
        return worker

    def ask(self, asked: bytes, seconds: float = ANSWERED, peer: FakePeer | None = None) -> bytes:
        peer = peer or self.client
        peer.tell(asked)
        self.world.run(seconds)
        return peer.heard()

    def keep_results(self, **bounds: Any) -> None:
        """Have the first server keep what jobs bring, within these bounds."""
        policies = Policies([("f", CLASSIC.with_settings({"results": {"keep": "1h", **bounds}}))])
        self.a.server.broker.operations.set_policies(policies, self.world.clock.seconds())

    def rows(self) -> int:
        """Orders that the database has, a moment later."""
        self.world.run(0.5)
        return len(self.world.database.orders)

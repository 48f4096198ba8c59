"""Tests of L{txgear.broker.operators.connections}: what is shown to peers that may not know of all others."""

from __future__ import annotations

from txgear.broker.rights import PEERS, SEE
from txgear.broker.tenants import Tenant
from txgear.test.broker.operators.test_connections import ConnectionsTests
from txgear.test.support.broker import FakeRights


class RightsTests(ConnectionsTests):
    """Whoever may know of all finds all that stands in the tests above."""

    def setUp(self) -> None:
        super().setUp()
        self.rights = self.peer.rights = FakeRights()

    def test_ones_own(self) -> None:
        """Others count nowhere."""
        self.peer.tenant = tenant = Tenant("web")
        mine, other, plain = self.marked(), self.marked(), self.fixture.connect()
        mine.tenant = plain.tenant = tenant
        other.tenant = Tenant("mail")
        self.rights.denied = {(PEERS, b"")}
        self.assertEqual(self.descriptors(), [1, 3])
        self.assertEqual(self.page()["total"], {"connections": 2, "quickack": 1, "quickacks": 1})
        self.assertEqual(self.descriptors(quickack=b"yes"), [1])
        self.assertEqual(self.descriptors(worker=other.name.encode()), [])

    def test_their_functions(self) -> None:
        """Those are named and counted that may be known."""
        self.fixture.worker(b"f", b"g", b"h")
        self.rights.denied = {(SEE, b"g")}
        (found,) = self.page()["connections"]
        self.assertEqual((found["functions"], found["names"]), (2, ["f", "h"]))

    def test_many_functions_are_work(self) -> None:
        """As each is looked at."""
        for _ in range(2):
            self.fixture.worker(b"f", b"g", b"h")
        page = self.page(work=4)
        self.assertEqual(([found["descriptor"] for found in page["connections"]], page["next"]), ([1], 1))
        page = self.page(work=4, after=b"1")
        self.assertEqual(([found["descriptor"] for found in page["connections"]], page["next"]), ([2], None))

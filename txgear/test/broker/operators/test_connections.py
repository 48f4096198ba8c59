"""Tests of L{txgear.broker.operators.connections}."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Peer
from txgear.broker.operators.connections import MOST_NAMES, connections
from txgear.broker.operators.search import OF_CONNECTIONS, Bounds, Search
from txgear.broker.quickacks import SUSPICIONS, QuickAcks, Tally
from txgear.errors import InvalidArgument
from txgear.test.support.broker import BrokerFixture


class Way:
    """A way of 2 ms to a peer."""

    def __init__(self, tally: Tally) -> None:
        self.acks = QuickAcks(tally)

    def round_trip(self) -> float:
        return 0.002

    def heard(self) -> float:
        return 0.5


class ConnectionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fixture = BrokerFixture()
        self.tally = Tally()
        # Who asks.
        self.peer = Peer(0, "192.0.2.9")

    def marked(self) -> Peer:
        """A new peer that has been acknowledged once."""
        peer = self.fixture.connect()
        way = peer.link = Way(self.tally)
        for _ in range(SUSPICIONS):
            way.acks.came(0.041, 0.0)
        way.acks.unanswered()
        return peer

    def page(self, work: int = 100, **words: bytes) -> dict[str, Any]:
        search = Search.parse(words, OF_CONNECTIONS)
        page = connections(self.fixture.broker, self.peer, self.tally, search, Bounds(work=work))
        json.dumps(page)
        return page

    def descriptors(self, **words: bytes) -> list[int]:
        page = self.page(100, **words)
        return [found["descriptor"] for found in page["connections"]]

    def test_nobody(self) -> None:
        total = {"connections": 0, "quickack": 0, "quickacks": 0}
        self.assertEqual(self.page(), {"connections": [], "next": None, "total": total})

    def test_what_is_known_of_each(self) -> None:
        worker = self.marked()
        worker.client_id = b"caf\xc3\xa9"
        self.fixture.broker.can_do(worker, b"f", 0.0, self.fixture.now)
        self.fixture.broker.can_do(worker, b"g", 0.0, self.fixture.now)
        self.fixture.connect()
        first, second = self.page()["connections"]
        self.assertEqual(
            first,
            {
                "descriptor": 1,
                "address": "192.0.2.1",
                "client_id": "caf\xe9",
                "identity": None,
                "encrypted": False,
                "heard": 0.5,
                "kind": "other",
                "round_trip": 0.002,
                "quickack": True,
                "quickacks": 1,
                "functions": 2,
                "names": ["f", "g"],
            },
        )
        self.assertEqual(
            [second[name] for name in ("client_id", "round_trip", "quickack", "quickacks", "functions")],
            [None, None, False, 0, 0],
        )

    def test_of_many_functions_the_first_are_named(self) -> None:
        functions = [b"f%d" % number for number in range(MOST_NAMES + 5)]
        self.fixture.worker(*functions)
        (found,) = self.page()["connections"]
        self.assertEqual(found["functions"], MOST_NAMES + 5)
        self.assertEqual(found["names"], [f"f{number}" for number in range(MOST_NAMES)])

    def test_those_that_are_acknowledged_at_once(self) -> None:
        self.fixture.connect()
        self.marked()
        gone = self.marked()
        self.fixture.leave(gone)
        self.assertEqual(self.descriptors(quickack=b"yes"), [2])
        self.assertEqual(self.page()["total"], {"connections": 2, "quickack": 1, "quickacks": 2})
        self.assertEqual(self.descriptors(quickack=b"no"), [1])
        self.assertRaises(InvalidArgument, self.page, quickack=b"1")

    def test_by_name(self) -> None:
        self.fixture.connect().client_id = b"mailer-7"
        self.fixture.connect()
        self.assertEqual(self.descriptors(worker=b"mailer"), [1])
        self.assertEqual(self.descriptors(worker=b"192.0.2"), [2])

    def test_by_what_they_speak(self) -> None:
        self.fixture.connect()
        self.fixture.connect().kind = "web"
        found = connections(self.fixture.broker, self.peer, self.tally, Search(), kind="web")
        self.assertEqual([each["descriptor"] for each in found["connections"]], [2])

    def test_pages(self) -> None:
        for _ in range(5):
            self.fixture.connect()
        page = self.page(limit=b"2")
        self.assertEqual(([found["descriptor"] for found in page["connections"]], page["next"]), ([1, 2], 2))
        page = self.page(limit=b"2", after=b"4")
        self.assertEqual(([found["descriptor"] for found in page["connections"]], page["next"]), ([5], None))

    def test_a_page_is_no_more_than_so_much_work(self) -> None:
        for _ in range(5):
            self.fixture.connect()
        page = self.page(3, worker=b"nobody")
        self.assertEqual((page["connections"], page["next"]), ([], 3))
        self.assertEqual(self.page(3, worker=b"nobody", after=b"3")["next"], None)

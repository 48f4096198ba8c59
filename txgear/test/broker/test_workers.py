"""Tests of L{txgear.broker.workers}."""

from __future__ import annotations

import json
from typing import Any

from txgear.broker.inspection import moment
from txgear.broker.model import Peer
from txgear.broker.rights import PEERS, SEE
from txgear.broker.search import Bounds, Search
from txgear.broker.workers import MOST_NAMES, find, worker, workers
from txgear.broker.workforce import SILENT_SECONDS
from txgear.test.support.broker import BrokerTestCase, FakeRights
from txgear.test.support.clock import START


class Way:
    """A way to a peer that was last heard of half a second ago."""

    acks: Any = None

    def round_trip(self) -> float:
        return 0.002

    def heard(self) -> float:
        return 0.5


class WorkersTests(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        # Who asks.
        self.peer = Peer(0, "192.0.2.9")

    def page(self, work: int = 100, how: str = "", **words: bytes) -> dict[str, Any]:
        search = Search.parse(words, ("function", "worker", "after", "limit"))
        page = workers(
            self.broker, self.peer, search, self.fixture.now, (how,) if how else (), Bounds(work=work)
        )
        json.dumps(page)
        return page

    def descriptors(self, how: str = "", **words: bytes) -> list[int]:
        return [found["descriptor"] for found in self.page(100, how, **words)["workers"]]

    def test_nobody(self) -> None:
        self.fixture.connect()
        self.assertEqual(self.page(), {"workers": [], "next": None})

    def test_what_is_known_of_each(self) -> None:
        peer = self.fixture.tenant("team")
        peer.client_id, peer.link, peer.encrypted = b"caf\xc3\xa9", Way(), True
        for name in (b"f", b"g"):
            self.broker.can_do(peer, name, 0.0, self.fixture.now)
        self.fixture.now += 1
        job = self.grabbed(peer, self.fixture.submit(None))
        self.fixture.now += 2
        (found,) = self.page()["workers"]
        self.assertEqual(
            found,
            {
                "descriptor": 1,
                "address": "192.0.2.1",
                "client_id": "caf\xe9",
                "identity": "team",
                "encrypted": True,
                "condition": "busy",
                "asleep": False,
                "silent": False,
                "functions": 2,
                "names": ["f", "g"],
                "jobs": 1,
                "in_hand": [
                    {
                        "handle": job.handle.decode(),
                        "number": job.number,
                        "function": "f",
                        "numerator": 0,
                        "denominator": 0,
                        "began": moment(START + 1),
                        "seconds": 2.0,
                    }
                ],
                "enrolled": moment(START),
                "asked": moment(START + 1),
                "heard": 0.5,
                "idle": None,
                "words": [],
            },
        )

    def test_one_that_does_nothing(self) -> None:
        self.fixture.worker(b"f")
        self.fixture.now += SILENT_SECONDS
        (found,) = self.page()["workers"]
        names = ("condition", "asleep", "silent", "asked", "heard", "idle", "identity", "encrypted")
        self.assertEqual(
            [found[name] for name in names], ["silent", False, True, None, None, SILENT_SECONDS, None, False]
        )

    def test_one_that_sleeps(self) -> None:
        self.fixture.sleeper(b"f")
        (found,) = self.page()["workers"]
        self.assertEqual([found[name] for name in ("condition", "asleep", "idle")], ["asleep", True, None])

    def test_of_many_functions_and_jobs_the_first_are_shown(self) -> None:
        peer = self.fixture.worker(*(b"f%d" % number for number in range(MOST_NAMES + 5)))
        jobs = [self.fixture.submit(None, b"f0") for _ in range(MOST_NAMES + 1)]
        self.fixture.grab_all(peer)
        (found,) = self.page()["workers"]
        self.assertEqual((found["functions"], found["jobs"]), (MOST_NAMES + 5, MOST_NAMES + 1))
        self.assertEqual(found["names"], [f"f{number}" for number in range(MOST_NAMES)])
        handles = [row["handle"] for row in found["in_hand"]]
        self.assertEqual(handles, [job.handle.decode() for job in jobs[:MOST_NAMES]])
        alone = worker(self.broker, self.peer, peer, self.fixture.now, 100)
        self.assertEqual((len(alone["names"]), len(alone["in_hand"])), (MOST_NAMES + 5, MOST_NAMES + 1))

    def test_which_are_wanted(self) -> None:
        self.fixture.worker(b"mail.send").client_id = b"mailer-7"
        self.fixture.sleeper(b"mail.send", b"resize")
        self.assertEqual(self.descriptors(), [1, 2])
        self.assertEqual(self.descriptors(worker=b"mailer"), [1])
        self.assertEqual(self.descriptors(function=b"re*"), [2])
        self.assertEqual(self.descriptors(function=b"mail.send"), [1, 2])
        self.assertEqual(self.descriptors("asleep"), [2])
        self.assertEqual(self.descriptors("silent"), [])

    def test_pages(self) -> None:
        for _ in range(5):
            self.fixture.worker(b"f")
        page = self.page(limit=b"2")
        self.assertEqual(([found["descriptor"] for found in page["workers"]], page["next"]), ([1, 2], 2))
        page = self.page(limit=b"2", after=b"4")
        self.assertEqual(([found["descriptor"] for found in page["workers"]], page["next"]), ([5], None))

    def test_a_page_is_no_more_than_so_much_work(self) -> None:
        for _ in range(5):
            self.fixture.worker(b"f", b"g")
        page = self.page(3, worker=b"nobody")
        self.assertEqual((page["workers"], page["next"]), ([], 3))
        page = self.page(3, function=b"h")
        self.assertEqual((page["workers"], page["next"]), ([], 1))

    def test_those_of_others_are_not_shown(self) -> None:
        self.fixture.worker(b"f")
        own = self.fixture.tenant("team", (PEERS, b""), (SEE, b"g"))
        self.peer = own
        for name in (b"f", b"g"):
            self.broker.can_do(own, name, 0.0, self.fixture.now)
        self.grabbed(own, self.fixture.submit(None, b"g"))
        (found,) = self.page()["workers"]
        self.assertEqual((found["descriptor"], found["functions"], found["names"]), (2, 1, ["f"]))
        self.assertEqual((found["jobs"], found["in_hand"]), (0, []))
        self.assertEqual(self.descriptors(function=b"g"), [])

    def test_one_by_its_descriptor(self) -> None:
        client, peer = self.fixture.connect(), self.fixture.worker(b"f")
        self.assertIs(find(self.broker, self.peer, peer.descriptor), peer)
        self.assertIsNone(find(self.broker, self.peer, client.descriptor))
        self.assertIsNone(find(self.broker, self.peer, 99))
        self.peer.rights = FakeRights((PEERS, b""))
        self.assertIsNone(find(self.broker, self.peer, peer.descriptor))

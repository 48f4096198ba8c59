"""Tests of L{txgear.broker.operators.workers}."""

from __future__ import annotations

import json
from typing import Any

from txgear.broker.about import About, State, Told
from txgear.broker.model import Peer
from txgear.broker.operators.inspection import moment
from txgear.broker.operators.search import OF_WORKERS, Bounds, Search
from txgear.broker.operators.workers import MOST_NAMES, find, matching, worker, workers
from txgear.broker.operators.workforce import SILENT_SECONDS
from txgear.broker.rights import PEERS, SEE
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
        search = Search.parse(words, OF_WORKERS)
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
                "id": "caf\xe9",
                "group": None,
                "host": None,
                "pid": None,
                "version": None,
                "started": None,
                "concurrency": None,
                "memory": None,
                "condition": "busy",
                "absent": None,
                "until": None,
                "asleep": False,
                "silent": False,
                "functions": 2,
                "names": ["f", "g"],
                "counts": [
                    {"function": "f", "in_use": True, "running": 1, "done": None, "failed": None},
                    {"function": "g", "in_use": True, "running": 0, "done": None, "failed": None},
                ],
                "done": None,
                "failed": None,
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

    def test_what_it_says_of_itself(self) -> None:
        peer = self.fixture.worker(b"f", b"g")
        self.grabbed(peer, self.fixture.submit(None))
        peer.about = about = About()
        about.id, about.group, about.host, about.pid = "images-3", "images", "vm", 7
        about.version, about.started = "txgear 1", START
        about.state = State(
            ("pause",),
            False,
            (Told(b"h", False, 2, 1, 0), Told(b"f", True, 30, 4, 9)),
            concurrency=8,
            memory=1000,
        )
        (found,) = self.page()["workers"]
        names = ("id", "group", "host", "pid", "version", "started", "concurrency", "memory", "words")
        self.assertEqual(
            [found[name] for name in names],
            ["images-3", "images", "vm", 7, "txgear 1", moment(START), 8, 1000, ["pause"]],
        )
        self.assertEqual(
            found["counts"],
            [
                {"function": "f", "in_use": True, "running": 1, "done": 30, "failed": 4},
                {"function": "g", "in_use": True, "running": 0, "done": None, "failed": None},
                {"function": "h", "in_use": False, "running": 0, "done": 2, "failed": 1},
            ],
        )
        self.assertEqual((found["done"], found["failed"]), (32, 5))
        # What is not in use may not be seen either, if the function may not.
        self.peer.rights = FakeRights((SEE, b"g"), (SEE, b"h"))
        (found,) = self.page()["workers"]
        self.assertEqual((found["done"], found["failed"]), (30, 4))
        self.assertEqual([each["function"] for each in found["counts"]], ["f"])

    def test_one_that_does_nothing_now_can_still_be_told(self) -> None:
        peer = self.fixture.connect()
        peer.about = About()
        self.assertEqual(self.descriptors(), [])
        peer.about.state = State(("register",))
        (found,) = self.page()["workers"]
        names = ("condition", "functions", "counts", "enrolled", "idle", "silent")
        self.assertEqual([found[name] for name in names], ["unused", 0, [], None, None, False])
        self.assertEqual(find(self.broker, self.peer, b"1"), [peer])

    def test_filters_of_what_they_say(self) -> None:
        for number, group in enumerate(("images", "images", "mail"), 1):
            peer = self.fixture.worker(b"f%d" % number)
            peer.about = about = About()
            about.id, about.group, about.host = f"{group}-x", group, f"vm{number % 2}"
        self.fixture.worker(b"f").client_id = b"mail-x"
        for words, expected in (
            ({"id": b"images-x"}, [1, 2]),
            ({"id": b"mail-x"}, [3, 4]),
            ({"id": b"images"}, []),
            ({"worker": b"images"}, [1, 2]),
            ({"worker": b"192.0.2"}, [1, 2, 3]),
            ({"group": b"images"}, [1, 2]),
            ({"host": b"vm1"}, [1, 3]),
            ({"group": b"images", "host": b"vm0"}, [2]),
            ({"group": b"mail", "function": b"f1"}, []),
        ):
            self.assertEqual(self.descriptors("", **words), expected, words)
            search = Search.parse(words, OF_WORKERS)
            found = matching(self.broker, self.peer, search)
            self.assertEqual([other.descriptor for other in found], expected, words)
        self.assertEqual(len(matching(self.broker, self.peer, Search())), 4)
        self.peer.rights = FakeRights((PEERS, b""))
        self.assertEqual(matching(self.broker, self.peer, Search()), [])

    def test_one_that_is_absent(self) -> None:
        """It is there as long as it may come back; its number may be another's by now."""
        self.broker.absences.grace = 10.0
        peer, other = self.fixture.worker(b"f"), self.fixture.worker(b"f")
        for each, id in ((peer, "a"), (other, "b")):
            self.broker.absences.greet(each, id * 32, {}, (), self.fixture.now)
            each.about = About()
            each.about.id = id
        peer.link = Way()
        job = self.grabbed(peer, self.fixture.submit(None))
        self.fixture.now += 5
        self.broker.disconnect(peer, self.fixture.now)
        self.broker.disconnect(other, self.fixture.now)
        (found,) = self.page()["workers"]
        names = ("id", "condition", "absent", "until", "heard", "jobs", "functions", "idle")
        self.assertEqual(
            [found[name] for name in names],
            ["a", "absent", moment(START + 5), moment(START + 15), None, 1, 0, None],
        )
        self.assertEqual(self.descriptors("absent"), [peer.descriptor])
        self.assertEqual(find(self.broker, self.peer, b"a"), [peer])
        number = b"%d" % peer.descriptor
        self.assertEqual(find(self.broker, self.peer, number), [peer])
        follower = self.fixture.worker(b"g")
        follower.descriptor = peer.descriptor
        self.assertEqual(find(self.broker, self.peer, number), [follower])
        page = self.page(limit=b"1")
        self.assertEqual([each["condition"] for each in page["workers"]], ["awake", "absent"])
        self.assertIsNone(page["next"])
        self.assertFalse(self.broker.absences.dismiss(follower, self.fixture.now))
        self.assertTrue(self.broker.absences.dismiss(peer, self.fixture.now))
        self.assertEqual((job.worker, self.descriptors("absent")), (None, []))

    def test_by_number_or_id(self) -> None:
        client, peer, other = self.fixture.connect(), self.fixture.worker(b"f"), self.fixture.worker(b"f")
        number = b"%d" % peer.descriptor
        self.assertEqual(find(self.broker, self.peer, number), [peer])
        for word in (b"%d" % client.descriptor, b"99", b"9" * 5000, b"nobody", b"-", b"\xff"):
            self.assertEqual(find(self.broker, self.peer, word), [], word[:10])
        other.client_id = b"mail er"
        peer.about = About()
        peer.about.id = "mail er"
        self.assertEqual(find(self.broker, self.peer, b"mail\\x20er"), [peer, other])
        # What is only digits is a number.
        peer.about.id = str(other.descriptor)
        self.assertEqual(find(self.broker, self.peer, b"%d" % other.descriptor), [other])
        self.peer.rights = FakeRights((PEERS, b""))
        self.assertEqual(find(self.broker, self.peer, number), [])

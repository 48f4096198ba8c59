"""Tests of L{txgear.broker.operators.deadlists}: the dead by groups, and the reviews."""

from __future__ import annotations

from typing import Any

from txgear.broker.history import History
from txgear.broker.model import Job, Peer
from txgear.broker.operators import deadlists
from txgear.broker.operators.inspection import LONGEST_PLACE
from txgear.broker.operators.search import Bounds, Search
from txgear.broker.rights import PEERS, READ, SEE
from txgear.policies import CLASSIC, Policies
from txgear.protocol import textlines
from txgear.protocol.constants import HIGH
from txgear.test.support.broker import BrokerTestCase


class DeadCase(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.fixture.policies = Policies([("*", CLASSIC.with_settings({"retries": 0}))])
        self.broker.operations.set_policies(self.fixture.policies, self.fixture.now)
        self.peer = self.fixture.connect()
        self.bounds = Bounds()

    def die(self, function: bytes = b"f", message: bytes = b"", workload: bytes = b"four") -> Job:
        worker = self.fixture.worker(function)
        job = self.grabbed(worker, self.fixture.submit(None, function, workload=workload, priority=HIGH))
        if message:
            self.broker.reports.work_exception(worker, job.handle, message, self.fixture.now)
        else:
            self.fails(worker, job)
        self.fixture.leave(worker)
        return job

    def review(self, job: Job, name: str, by: str = "") -> None:
        self.broker.operations.review(job, name, self.fixture.now, by)


class GroupsTests(DeadCase):
    def groups(self, peer: Peer | None = None, **words: bytes) -> tuple[list[tuple[Any, ...]], str | None]:
        search = Search.parse(words, ("function", "reason", "behind", "limit"))
        found = deadlists.groups(self.broker, peer or self.peer, search, self.bounds)
        return [(row["function"], row["reason"], row["jobs"]) for row in found["groups"]], found["next"]

    def test_how_many_of_which(self) -> None:
        self.assertEqual(self.groups(), ([], None))
        for function, message in ((b"g", b"x"), (b"f", b""), (b"f", b"x"), (b"f", b"")):
            self.die(function, message)
        every = [("f", "fail", 2), ("f", "exception", 1), ("g", "exception", 1)]
        self.assertEqual(self.groups(), (every, None))
        self.assertEqual(self.groups(reason=b"exception,lost"), (every[1:], None))
        self.assertEqual(self.groups(function=b"[g]"), (every[2:], None))

    def test_what_is_told_of_each(self) -> None:
        self.die(message=b"first")
        self.fixture.now += 5
        last = self.die(message=b"last words")
        (group,) = deadlists.groups(self.broker, self.peer, Search())["groups"]
        expected: dict[str, Any] = {
            "function": "f",
            "reason": "exception",
            "jobs": 2,
            "oldest": "1970-01-01T00:16:40.000Z",
            "newest": "1970-01-01T00:16:45.000Z",
            "handle": textlines.text(last.handle),
            "text": "last words",
        }
        self.assertEqual(group, expected)
        mute = self.fixture.tenant("a", (READ, b"f"))
        (group,) = deadlists.groups(self.broker, mute, Search())["groups"]
        self.assertEqual(group, {**expected, "text": None})
        self.broker.operations.forget(last.handle)
        (group,) = deadlists.groups(self.broker, self.peer, Search())["groups"]
        self.assertEqual((group["newest"], group["text"]), (group["oldest"], "first"))

    def test_one_of_which_nothing_is_known(self) -> None:
        job = self.die()
        until = job.due
        self.broker.archive.ended.remove(job)
        job.archived = b"{}"
        self.broker.archive._add(job, until, History(), self.fixture.now)
        (group,) = deadlists.groups(self.broker, self.peer, Search())["groups"]
        self.assertEqual((group["reason"], group["text"]), ("unknown", None))

    def test_what_a_peer_may_not_see(self) -> None:
        self.die(b"f")
        self.die(b"g")
        self.assertEqual(self.groups(self.fixture.tenant("a", (SEE, b"f"))), ([("g", "fail", 1)], None))

    def test_pages(self) -> None:
        """A function stands on one page with all its groups."""
        long = b"x" * (LONGEST_PLACE + 9)
        for function in (b"a", b"b", long):
            self.die(function)
            self.die(function, b"why")
        rows, following = self.groups(limit=b"1")
        self.assertEqual((rows, following), ([("a", "fail", 1), ("a", "exception", 1)], "a"))
        rows, following = self.groups(limit=b"3", behind=b"a")
        self.assertEqual([name for name, _, _ in rows], ["b", "b", long.decode(), long.decode()])
        self.assertIsNone(following)
        rows, following = self.groups(limit=b"4")
        self.assertEqual(following, "b")
        self.bounds = Bounds(work=5)
        self.assertEqual(self.groups(function=b"[b]"), ([("b", "fail", 1), ("b", "exception", 1)], "b"))
        self.bounds = Bounds(work=4)
        self.assertEqual(self.groups(function=b"[b]"), ([], "a"))

    def test_those_that_are_set_aside_are_in_none(self) -> None:
        jobs = [self.die() for _ in range(3)]
        self.review(jobs[0], "r")
        self.assertEqual(self.groups(), ([("f", "fail", 2)], None))
        self.broker.operations.release(jobs[0])
        self.assertEqual(self.groups(), ([("f", "fail", 3)], None))


class ReviewsTests(DeadCase):
    def test_what_is_told_of_each(self) -> None:
        self.assertEqual(deadlists.reviews(self.broker, self.peer), [])
        jobs = [self.die(b"f"), self.die(b"g", workload=b"sixsix"), self.die(b"g")]
        self.review(jobs[0], "b", "ops")
        self.review(jobs[1], "b", "another")
        self.review(jobs[2], "a")
        self.fixture.set_clock(60)
        since = "1970-01-01T00:16:40.000Z"
        first = {"name": "a", "jobs": 1, "bytes": 4, "since": since, "by": None}
        second = {"name": "b", "jobs": 2, "bytes": 10, "since": since, "by": "ops"}
        self.assertEqual(deadlists.reviews(self.broker, self.peer), [first, second])
        peer = self.fixture.tenant("a", (SEE, b"g"), (PEERS, b""))
        half = {**second, "jobs": 1, "bytes": 4, "by": None}
        self.assertEqual(deadlists.reviews(self.broker, peer), [half])

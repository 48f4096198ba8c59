"""Tests of L{txgear.broker.operators.matching}: which jobs a search is for."""

from __future__ import annotations

from typing import Any

from txgear.broker.model import Job, Peer
from txgear.broker.operators.matching import SELECTIONS, state_name, worker_name
from txgear.broker.operators.search import OF_DEAD, OF_ENDED, OF_JOBS, Search
from txgear.broker.rights import PEERS, READ, SEE
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import HIGH
from txgear.test.support.broker import BrokerFixture, BrokerTestCase


class MatchingTestCase(BrokerTestCase):
    of = "jobs"
    few = 100

    def setUp(self) -> None:
        super().setUp()
        settings = {"retries": 0, "results": 60}
        self.fixture.policies = Policies([("*", CLASSIC.with_settings(settings))])
        self.broker.operations.set_policies(self.fixture.policies, self.fixture.now)
        self.peer = self.fixture.connect()

    def found(self, words: dict[str, bytes], peer: Peer | None = None) -> list[Job]:
        """The jobs that match, in order."""
        search = Search.parse(words, {"jobs": OF_JOBS, "dead": OF_DEAD, "kept": OF_ENDED}[self.of])
        now = self.fixture.now
        candidates, matches = SELECTIONS[self.of](self.broker, peer or self.peer, search, now, self.few)
        found = [job for job in candidates.values() if matches(job)[1]]
        everything = [*self.broker.table.jobs.values(), *self.broker.archive.jobs.values()]
        self.assertEqual(found, [job for job in everything if matches(job)[1] and job in found])
        self.assertTrue(all(matches(job)[0] > 0 for job in everything))
        return found

    def end(self, what: str, function: bytes = b"f", data: bytes = b"done", **rest: Any) -> Job:
        """A job that has ended: done, or dead with this message."""
        worker = self.fixture.worker(function)
        job = self.fixture.submit(None, function, priority=HIGH, **rest)
        self.grabbed(worker, job)
        if what == "done":
            self.complete(worker, job, data)
        else:
            self.broker.reports.work_exception(worker, job.handle, data, self.fixture.now)
        self.fixture.leave(worker)
        return job


class AbsentTests(MatchingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.fixture = BrokerFixture(grace=10.0)
        self.peer = self.fixture.connect()

    def test_what_an_absent_worker_has_runs(self) -> None:
        worker = self.fixture.known_worker("k", b"f")
        worker.client_id = b"away"
        job = self.grabbed(worker, self.fixture.submit(None))
        self.fixture.leave(worker)
        for words in ({"state": b"running"}, {"worker": b"away"}):
            self.assertEqual(self.found(words), [job])


class LiveTests(MatchingTestCase):
    def test_those_of_one_unique_are_in_order(self) -> None:
        """Whichever of their functions had it first."""
        self.end("done", b"g", unique=b"u")
        jobs = [self.fixture.submit(None, name, b"u") for name in (b"f", b"h", b"g")]
        self.assertEqual(self.found({"unique": b"u"}), jobs)

    def test_by_all_that_is_known_of_them(self) -> None:
        old = self.fixture.submit(None, b"mail.a", b"u", b"some text")
        self.fixture.pass_time(10)
        waiting = self.fixture.submit(None, b"mail.b", b"v text", delay=5.0)
        running = self.fixture.submit(None, b"g", b"-", b"more")
        worker = self.fixture.worker(b"g")
        worker.client_id = b"the worker"
        self.grabbed(worker, running)
        self.end("done")
        self.assertEqual(self.found({}), [old, waiting, running])
        searches: list[tuple[dict[str, bytes], list[Job]]] = [
            ({"function": b"mail.*"}, [old, waiting]),
            ({"state": b"waiting,running"}, [waiting, running]),
            ({"state": b"running"}, [running]),
            ({"older": b"5s"}, [old]),
            ({"worker": b"work"}, [running]),
            ({"worker": b"other"}, []),
            ({"unique": b"u"}, [old]),
            ({"unique": b"-"}, [running]),
            ({"unique": b"x"}, []),
            ({"text": b"text"}, [old, waiting]),
            ({"text": b"more", "function": b"g"}, [running]),
        ]
        for words, expected in searches:
            self.assertEqual(self.found(words), expected, words)

    def test_of_what_a_peer_may_not_know(self) -> None:
        seen = self.fixture.submit(None, b"f", b"text")
        self.fixture.submit(None, b"f", workload=b"text")
        self.fixture.submit(None, b"g", b"text")
        peer = self.fixture.tenant("a", (SEE, b"g"), (READ, b"f"), (PEERS, b""))
        self.assertEqual(self.found({"text": b"text"}, peer), [seen])
        worker = self.fixture.worker(b"f")
        self.grabbed(worker, seen)
        self.assertEqual(worker_name(self.peer, seen), worker.name)
        self.assertIsNone(worker_name(peer, seen))
        self.assertEqual(self.found({"worker": b"192"}, peer), [])

    def test_one_whose_age_is_not_known(self) -> None:
        job = self.fixture.submit(None)
        job.created = 0.0
        self.assertEqual((self.found({"older": b"1d"}), state_name(job)), ([job], "queued"))


class DeadTests(MatchingTestCase):
    of = "dead"

    def test_by_all_that_is_known_of_them(self) -> None:
        self.fixture.submit(None, b"f", b"text")
        self.end("done")
        first = self.end("dead", b"mail.a", b"why", unique=b"u", workload=b"some text")
        second = self.end("dead", b"mail.b", b"the text", unique=b"v")
        third = self.end("dead", b"g", b"why", unique=b"-", workload=b"more")
        for few in (100, 2, 0):
            self.few = few
            searches: list[tuple[dict[str, bytes], list[Job]]] = [
                ({}, [first, second, third]),
                ({"function": b"mail.*"}, [first, second]),
                ({"function": b"g"}, [third]),
                ({"function": b"h"}, []),
                ({"unique": b"v"}, [second]),
                ({"unique": b"-"}, [third]),
                ({"text": b"text"}, [first, second]),
                ({"text": b"u"}, [first]),
            ]
            for words, expected in searches:
                self.assertEqual(self.found(words), expected, words)

    def test_one_that_is_not_in_memory(self) -> None:
        """Why it is dead only its history says."""
        job = self.end("dead", b"f", b"text")
        self.broker.archive.take_out(job)
        for reason, matched in ((b"exception", True), (b"fail", False)):
            search = Search.parse({"reason": reason}, OF_DEAD)
            matches = SELECTIONS["dead"](self.broker, self.peer, search, self.fixture.now, 10).matches
            self.assertEqual(matches(job)[1], matched)

    def test_by_reason(self) -> None:
        first, second = self.end("dead", b"f"), self.end("dead", b"g", b"text")
        worker = self.fixture.worker(b"f")
        third = self.fixture.submit(None, unique=b"u")
        self.fails(worker, self.grabbed(worker, third))
        for few in (100, 1, 0):
            self.few = few
            searches: list[tuple[dict[str, bytes], list[Job]]] = [
                ({"reason": b"exception"}, [first, second]),
                ({"reason": b"fail"}, [third]),
                ({"reason": b"fail,exception", "function": b"f"}, [first, third]),
                ({"reason": b"exception", "text": b"text"}, [second]),
                ({"reason": b"exception", "unique": b"u"}, []),
                ({"reason": b"lost"}, []),
            ]
            for words, expected in searches:
                self.assertEqual(self.found(words), expected, words)

    def test_those_that_are_set_aside(self) -> None:
        """They are found only by the name of their review."""
        jobs = [self.end("dead", name, b"why", unique=b"u") for name in (b"f", b"f", b"g")]
        for job in jobs[1:]:
            self.broker.operations.review(job, "r", self.fixture.now)
        for few in (100, 0):
            self.few = few
            searches: list[tuple[dict[str, bytes], list[Job]]] = [
                ({}, jobs[:1]),
                ({"unique": b"u"}, jobs[:1]),
                ({"reason": b"exception"}, jobs[:1]),
                ({"review": b"r"}, jobs[1:]),
                ({"review": b"r", "function": b"g"}, jobs[2:]),
                ({"review": b"r", "unique": b"u"}, jobs[1:]),
                ({"review": b"r", "reason": b"exception", "text": b"why"}, jobs[1:]),
                ({"review": b"r", "reason": b"fail"}, []),
                ({"review": b"other"}, []),
            ]
            for words, expected in searches:
                self.assertEqual(self.found(words), expected, words)

    def test_what_a_peer_may_not_read(self) -> None:
        job = self.end("dead", b"f", b"text", unique=b"u")
        peer = self.fixture.tenant("a", (READ, b"f"))
        self.assertEqual((self.found({"text": b"text"}, peer), self.found({"text": b"u"}, peer)), ([], [job]))


class KeptTests(MatchingTestCase):
    of = "kept"

    def test_by_all_that_is_known_of_them(self) -> None:
        self.fixture.submit(None, b"f", b"text")
        self.end("dead", data=b"text")
        first = self.end("done", b"mail.a", b"some text", unique=b"u")
        second = self.end("done", b"g", unique=b"v text")
        searches: list[tuple[dict[str, bytes], list[Job]]] = [
            ({}, [first, second]),
            ({"function": b"mail.*"}, [first]),
            ({"unique": b"u"}, [first]),
            ({"text": b"text"}, [first, second]),
            ({"text": b"none"}, []),
        ]
        for words, expected in searches:
            self.assertEqual(self.found(words), expected, words)

    def test_what_a_peer_may_not_read(self) -> None:
        job = self.end("done", b"f", b"text", unique=b"u")
        peer = self.fixture.tenant("a", (READ, b"f"))
        self.assertEqual((self.found({"text": b"text"}, peer), self.found({"text": b"u"}, peer)), ([], [job]))

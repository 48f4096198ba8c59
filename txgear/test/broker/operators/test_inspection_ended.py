"""Tests of L{txgear.broker.operators.inspection}: jobs that have ended."""

from __future__ import annotations

from typing import Any

from txgear.broker.model import Job
from txgear.broker.operators.search import Bounds
from txgear.test.broker.operators.test_inspection import PAST, InspectionTestCase, numbers


class DeadTests(InspectionTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.set_policy(retries=1, backoff=0)
        self.worker = self.fixture.worker(b"f", b"g")

    def kill_one(self, function: bytes = b"f", said: bytes = b"no", **rest: Any) -> Job:
        """A job that dies one second later."""
        job = self.fixture.submit(None, function, **rest)
        for _ in range(2):
            self.fail_one(self.worker, said)
        self.fixture.now += 1
        return job

    def test_a_row(self) -> None:
        self.kill_one(said=b"no \xff\n", workload=b"xyz", unique=b"u")
        self.assertEqual(
            self.dead(),
            {
                "jobs": [
                    {
                        "handle": "H:test:1",
                        "function": "f",
                        "died": PAST,
                        "age": 1.0,
                        "attempts": 2,
                        "reason": "exception",
                        "text": "no \\xff\n",
                        "size": 3,
                        "unique": "u",
                    }
                ],
                "next": None,
            },
        )

    def test_what_is_looked_for(self) -> None:
        jobs = [
            self.kill_one(b"f", b"\xc3\xa4rger", unique=b"one"),
            self.kill_one(b"g", workload=b"two"),
            self.kill_one(b"g", workload=b"one"),
        ]
        first, second, third = (job.number for job in jobs)
        for few in (0, 100):
            self.bounds = Bounds(few=few)
            self.assertEqual(numbers(self.dead()), [first, second, third])
            self.assertEqual(numbers(self.dead(function=b"g")), [second, third])
            self.assertEqual(numbers(self.dead(function=b"h")), [])
            self.assertEqual(numbers(self.dead(text=b"one")), [first, third])
            self.assertEqual(numbers(self.dead(text=b"\xc3\xa4")), [first])
            self.assertEqual(numbers(self.dead(text=b"no")), [second, third])
            self.assertEqual(numbers(self.dead(limit=b"1", after=b"%d" % first)), [second])

    def test_uniques(self) -> None:
        for function, unique in ((b"f", b"u"), (b"f", b"u"), (b"g", b"u"), (b"g", b"-")):
            self.kill_one(function, unique=unique, workload=b"w")
        self.assertEqual(numbers(self.dead(unique=b"u")), [1, 3, 5])
        self.assertEqual(numbers(self.dead(unique=b"-")), [7])
        self.assertEqual(numbers(self.dead(unique=b"v")), [])
        self.assertEqual(numbers(self.kept(unique=b"u")), [])

    def test_the_others_are_not_dead(self) -> None:
        self.set_policy(retries=0, results="1h")
        self.fixture.submit(None, b"f")
        self.complete(self.worker)
        self.fixture.submit(None, b"g")
        self.fail_one(self.worker, b"")
        self.bounds = Bounds(few=0)
        self.assertEqual(numbers(self.dead()), [2])
        self.assertEqual(numbers(self.kept()), [1])

    def test_nothing_is_known_of_the_attempts(self) -> None:
        self.kill_one().archived = b"{}"
        (row,) = self.dead()["jobs"]
        self.assertEqual((row["reason"], row["text"]), (None, None))


class KeptTests(InspectionTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.set_policy(results={"keep": "1h", "bytes": 10}, unique_for="1h", expires="30m")
        self.worker = self.fixture.worker(b"f")

    def do_one(self, result: bytes, unique: bytes = b"") -> Job:
        self.fixture.submit(None, unique=unique)
        return self.complete(self.worker, result)

    def test_rows(self) -> None:
        self.do_one(b"result", b"u")
        self.fixture.now += 60
        self.do_one(b"a large result")
        self.assertEqual(
            self.kept()["jobs"],
            [
                {
                    "handle": "H:test:1",
                    "function": "f",
                    "outcome": "done",
                    "age": 60.0,
                    "size": 6,
                    "left": 3540.0,
                    "unique": "u",
                },
                {
                    "handle": "H:test:2",
                    "function": "f",
                    "outcome": "done",
                    "age": 0.0,
                    "size": None,
                    "left": 3600.0,
                    "unique": "",
                },
            ],
        )

    def test_what_is_looked_for(self) -> None:
        for result, unique in ((b"one", b""), (b"", b"one"), (b"two", b"x")):
            self.do_one(result, unique)
        self.assertEqual(numbers(self.kept(text=b"one")), [1, 2])
        self.assertEqual(numbers(self.kept(function=b"g")), [])
        self.assertEqual(numbers(self.kept(after=b"1", limit=b"1")), [2])
        self.assertEqual(numbers(self.kept(unique=b"x")), [3])

    def test_outcomes(self) -> None:
        self.fixture.submit(None)
        self.fixture.cancel(self.fixture.submit(None))
        self.fixture.pass_time(1800)
        self.assertEqual(
            sorted((job["handle"], job["outcome"]) for job in self.kept()["jobs"]),
            [("H:test:1", "expired"), ("H:test:2", "cancelled")],
        )

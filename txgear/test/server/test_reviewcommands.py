"""Tests of L{txgear.server.reviewcommands}."""

from __future__ import annotations

import json

from txgear.broker.ended.reviews import MOST_REVIEWED
from txgear.security.audit import AuditLog
from txgear.test.server.test_taskcommands import TaskTestCase


class ReviewTests(TaskTestCase):
    def test_one_job(self) -> None:
        self.kill(2)
        self.assertEqual(self.say(b"reviews"), b".\n")
        self.assertEqual(self.say(b"review job H:test:1 mail-1"), b"OK\r\n")
        self.assertEqual(self.say(b"reviews"), b"mail-1\t1\t0\t1970-01-01T00:16:40.001Z\t192.0.2.1\n.\n")
        self.assertEqual(self.say(b"dead").count(b"H:test:"), 1)
        self.assertIn(b"H:test:1\t", self.say(b"dead review=mail-1"))
        self.assertIn(b"\nreview\tmail-1\n", self.say(b"job H:test:1"))
        self.assertEqual(self.say(b"review job H:test:1 -"), b"OK\r\n")
        self.assertIn(b"ERR NOT_REVIEWED", self.say(b"review job H:test:1 -"))
        self.assertEqual(self.say(b"reviews"), b".\n")

    def test_many(self) -> None:
        self.kill(5)
        self.assertEqual(self.say(b"review dead r most=2 reason=fail"), b"OK 1 5\n")
        self.assertEqual(self.say(b"requeue function f"), b"OK 3\n")
        self.assertEqual(self.say(b"review dead r2 review=r function=f"), b"OK 2 2\n")
        self.assertEqual(self.say(b"requeue dead review=r2 unique=x"), b"OK 3 0\n")
        self.assertEqual(self.say(b"review dead - review=r2"), b"OK 4 2\n")
        self.assertEqual(self.say(b"forget dead review=r2"), b"OK 5 0\n")
        self.assertEqual(self.say(b"forget dead f"), b"OK 2\n")
        rows = [row.split(b"\t")[1::9] for row in self.say(b"tasks").split(b"\n")[:4]]
        self.assertEqual(rows, [[b"review", b"r"], [b"review", b"r2"], [b"requeue", b"-"], [b"review", b"-"]])

    def test_as_many_as_there_is_room_for(self) -> None:
        self.kill(MOST_REVIEWED + 1)
        self.say(b"review job H:test:7 r")
        self.operator.tell(b"review dead r function=f\n")
        self.fixture.clock.pump([0.001] * 40)
        (task,) = self.fixture.server.bulk_acts.all(self.fixture.clock.seconds())
        self.assertEqual((task.matched, task.done, task.failed), (MOST_REVIEWED, MOST_REVIEWED - 1, 0))
        self.assertIn(b"ERR REVIEW_FULL", self.say(b"review dead r function=f"))

    def test_what_makes_no_sense(self) -> None:
        self.kill(1)
        self.submit(b"g")
        for line, code in (
            (b"review", b"INVALID_ARGUMENTS"),
            (b"review jobs r function=f", b"INVALID_ARGUMENTS"),
            (b"review job H:test:1 r s", b"INVALID_ARGUMENTS"),
            (b"review job H:test:1 a/b", b"INVALID_ARGUMENT"),
            (b"review job H:test:2 r", b"NOT_DEAD"),
            (b"review job H:test:9 r", b"UNKNOWN_JOB"),
            (b"review dead r", b"INVALID_ARGUMENTS"),
            (b"review dead r most=1", b"INVALID_ARGUMENT"),
            (b"review dead a/b function=f", b"INVALID_ARGUMENT"),
            (b"review dead - function=f", b"INVALID_ARGUMENT"),
            (b"review dead r function=f most=1001", b"INVALID_ARGUMENTS"),
            (b"review dead r function=f most=-1", b"INVALID_ARGUMENTS"),
            (b"review dead r function=f most=all", b"INVALID_ARGUMENTS"),
            (b"review dead r function=f preview=1", b"INVALID_ARGUMENTS"),
            (b"requeue dead function=f most=1", b"INVALID_ARGUMENT"),
            (b"reviews r", b"INVALID_ARGUMENTS"),
        ):
            self.assertEqual(self.say(line).split()[:2], [b"ERR", code], line)
        self.assertEqual(self.fixture.server.bulk_acts.all(self.fixture.clock.seconds()), [])

    def test_recorded(self) -> None:
        path = self.mktemp()
        self.kill(2)
        self.fixture.server.audit = AuditLog(path, self.fixture.clock, self.fixture.clock.seconds)
        for line in (b"job H:test:1 r", b"job H:test:1 -", b"dead r function=f", b"dead - review=r"):
            self.say(b"review " + line)
        with open(path, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        found = [(line["act"], line.get("handle"), line.get("jobs"), line["arguments"]) for line in lines]
        self.assertEqual(
            found,
            [
                ("review", "H:test:1", None, "r"),
                ("review", "H:test:1", None, "-"),
                *[("review", None, "dead function=f", "r")] * 2,
                *[("review", None, "dead review=r", "-")] * 2,
            ],
        )

"""Tests of L{txgear.broker.archive}: what operators do to the dead."""

from __future__ import annotations

from typing import Any

from txgear.broker.model import Job
from txgear.broker.states import DEAD
from txgear.errors import QUEUE_FULL, QueueError
from txgear.policies import CLASSIC, Policies
from txgear.test.support.broker import BrokerTestCase


class MoveTests(BrokerTestCase):
    """There is room for three of 20 bytes among the dead of g."""

    def setUp(self) -> None:
        super().setUp()
        rules: dict[str, dict[str, Any]] = {
            "f": {"retries": 0, "dead": 60.0},
            "g": {"dead": {"keep": 9.0, "jobs": 3, "bytes": 20}},
        }
        self.fixture.policies = Policies(
            [(name, CLASSIC.with_settings(settings)) for name, settings in rules.items()]
        )
        self.broker.operations.set_policies(self.fixture.policies, self.fixture.now)
        self.worker = self.fixture.worker(b"f")

    def die(self, unique: bytes = b"") -> Job:
        job = self.fixture.submit(None, unique=unique, workload=b"four")
        self.fails(self.worker, self.grabbed(self.worker, job))
        self.assertEqual(job.state, DEAD)
        return job

    def move(self, job: Job, name: bytes = b"g") -> None:
        self.broker.archive.move(job, self.broker.functions.get(name), self.fixture.now)
        self.broker.archive.check()

    def test_it_is_found_and_counted_there_until_its_time_is_over(self) -> None:
        job, left = self.die(b"u"), self.die(b"v")
        until = job.due
        self.move(job)
        self.assertIs(self.broker.named(b"g", b"u"), job)
        self.assertIsNone(self.broker.named(b"f", b"u"))
        shelves = [self.broker.archive.shelf(each.function, dead=True).jobs for each in (job, left)]
        self.assertEqual(shelves, [{job.number: job}, {left.number: left}])
        self.assertEqual(job.due, until)
        self.fixture.pass_time(60)
        self.assertEqual(self.broker.archive.jobs, {})

    def test_how_much_room_there_is(self) -> None:
        for _ in range(2):
            self.move(self.die())
        function = self.broker.functions.by_name[b"g"]
        check = self.broker.archive.check_room
        check(function, 1, 12)
        check(function, 0, 12)
        check(function, 0, -1)
        for jobs, size in ((2, 0), (1, 13), (0, 13)):
            error = self.assertRaises(QueueError, check, function, jobs, size)
            self.assertEqual(error.why, QUEUE_FULL)
        check(self.broker.functions.get(b"h"), 1, 10**6)

"""Tests of L{txgear.broker.ended.archive}: what operators do to the dead."""

from __future__ import annotations

from sys import getsizeof
from typing import Any

from txgear.broker.ended.archive import history_of
from txgear.broker.history import Aside
from txgear.broker.model import Job
from txgear.broker.states import DEAD
from txgear.errors import QUEUE_FULL, QueueError
from txgear.policies import CLASSIC, Policies
from txgear.test.support.broker import BrokerTestCase, DurableBrokerTestCase


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
        shelves = [self.broker.archive.shelf(each.function).jobs for each in (job, left)]
        self.assertEqual(shelves, [{job.number: job}, {left.number: left}])
        self.assertEqual(job.due, until)
        self.fixture.pass_time(60)
        self.assertEqual(self.broker.archive.jobs, {})

    def test_one_that_stays_keeps_no_room_for_many_that_were_there(self) -> None:
        for _ in range(100):
            self.die()
        self.fixture.pass_time(50)
        last = self.die()
        self.fixture.pass_time(10)
        self.assertEqual(list(self.broker.archive.jobs.values()), [last])
        self.assertLess(getsizeof(self.broker.archive.jobs), 500)

    def test_one_that_is_set_aside_and_given_back_is_the_last_one(self) -> None:
        first, second = self.die(), self.die()
        archive, shelf = self.broker.archive, self.broker.archive.shelf(first.function)
        archive.set_aside(first, Aside("r", 1.0, ""))
        self.assertEqual(list(shelf.in_order()), [second])
        archive.give_back(first)
        self.assertEqual(list(shelf.in_order()), [second, first])
        # Nobody needs another place.
        self.assertEqual((first.place, second.place), (first.number, second.number))

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


class StoredReviewTests(DurableBrokerTestCase):
    """A server that starts again finds the groups and the reviews as they were."""

    def setUp(self) -> None:
        super().setUp()
        self.fixture.set(retries=0)

    def die(self, **rest: Any) -> Job:
        (job,) = self.fixture.store(b"four", **rest)
        worker = self.fixture.worker(b"f")
        self.fails(worker, self.grabbed(worker, job))
        self.fixture.leave(worker)
        return job

    def found(self) -> tuple[dict[str, list[int]], dict[str, tuple[float, str, list[int]]]]:
        ended = self.broker.archive.ended
        groups = ended.groups.of(self.broker.functions.by_name[b"f"])
        reviews = {
            name: (review.aside.since, review.aside.by, list(review.jobs))
            for name, review in ended.reviews.by_name.items()
        }
        return {reason: [job.number for job in group.in_order()] for reason, group in groups.items()}, reviews

    def test_they_come_back(self) -> None:
        owner = self.fixture.tenant("somebody")
        jobs = [self.die() for _ in range(4)]
        jobs.append(self.broker.submit(owner, b"f", b"", b"x", self.fixture.now, background=True))
        self.fixture.commit()
        worker = self.fixture.worker(b"f")
        self.fails(worker, self.grabbed(worker, jobs[4]))
        numbers = [job.number for job in jobs]
        aside = Aside("r", 2000.0, "ops")
        for job in (jobs[1], jobs[4], jobs[2]):
            self.broker.archive.set_aside(job, aside)
        self.broker.archive.give_back(jobs[2])
        expected = {"r": (2000.0, "ops", [numbers[1], numbers[4]])}
        self.assertEqual(self.found(), ({"fail": [numbers[0], numbers[3], numbers[2]]}, expected))
        for recalled in (False, True):
            self.fixture.restart()
            self.broker.check()
            self.assertEqual(self.found(), ({"fail": []}, expected))
            if recalled:
                self.fixture.recall()
                self.broker.check()
                self.assertEqual(self.found(), ({"fail": [numbers[0], numbers[3], numbers[2]]}, expected))
        job = self.broker.archive.jobs[numbers[4]]
        assert job.tenant is not None
        self.assertEqual((history_of(job).aside, job.tenant.name), (aside, "somebody"))
        self.broker.archive.give_back(job)
        self.fixture.restart()
        self.broker.check()
        self.assertEqual(self.found()[1], {"r": (2000.0, "ops", [numbers[1]])})

    def test_one_with_settings_of_its_own(self) -> None:
        """It counts for the ceiling of these again when it is given back."""
        self.fixture.set("g", retries=0)
        job = self.die(settings={"retries": 0})
        own = self.broker.archive.ended.own
        for _ in range(2):
            self.assertEqual(own.jobs, {job.number: job})
            self.broker.archive.set_aside(job, Aside("r", 1.0, ""))
            self.assertEqual(own.jobs, {})
            self.broker.archive.give_back(job)

"""Tests of L{txgear.broker.life.changes}: with a store, which may refuse a new workload."""

from __future__ import annotations

from typing import Any

from txgear.broker.model import Job
from txgear.broker.records import JobChange
from txgear.broker.states import DEAD, PAGED, QUEUED, STORING
from txgear.errors import (
    STORE_UNAVAILABLE,
)
from txgear.protocol.constants import HIGH, LOW, NORMAL
from txgear.test.broker.life.test_changes import ChangesTestCase
from txgear.test.support.broker import BrokerFixture
from txgear.test.support.fakejournal import FakeJournal


class StoredCase(ChangesTestCase):
    """With a store."""

    def setUp(self) -> None:
        super().setUp()
        self.begin()

    def begin(self, **rest: Any) -> None:
        self.journal = FakeJournal()
        self.fixture = BrokerFixture(journal=self.journal, **rest)

    def restart(self) -> list[Job]:
        return self.fixture.restart()


class StoredTests(StoredCase):
    def test_it_is_so_after_a_restart(self) -> None:
        """Each in its place."""
        jobs = self.fixture.store(b"one", b"two", b"three", b"four", b"five")
        self.reprioritise(jobs[0], HIGH)
        self.move(jobs[1])
        self.reprioritise(jobs[1], LOW)
        self.correct(jobs[2], b"corrected")
        self.move(jobs[3])
        self.move(jobs[3], b"f")
        numbers = [job.number for job in jobs]
        found = self.restart()
        self.broker.check()
        self.assertEqual([job.number for job in found], numbers)
        self.assertEqual(
            [(job.function.name, job.priority, job.size) for job in found],
            [(b"f", HIGH, 3), (b"g", LOW, 3), (b"f", NORMAL, 9), (b"f", NORMAL, 4), (b"f", NORMAL, 4)],
        )
        worker = self.fixture.worker(b"f")
        for number, workload in (
            (numbers[0], b"one"),
            (numbers[2], b"corrected"),
            (numbers[4], b"five"),
            (numbers[3], b"four"),
        ):
            while self.journal.loading is not None:
                self.fixture.read()
            job = self.fixture.grab(worker)
            assert job is not None
            self.assertEqual((job.number, job.workload), (number, workload))

    def test_one_that_is_on_its_way(self) -> None:
        """The store is told after it; until then nobody can have it."""
        jobs = self.submit(3, workload=b"old")
        self.reprioritise(jobs[0], HIGH)
        self.move(jobs[1])
        self.correct(jobs[2], b"new")
        self.broker.check()
        self.assertEqual({job.state for job in jobs}, {STORING})
        self.assertEqual(
            self.journal.changes,
            [
                JobChange(1, b"f", HIGH, None),
                JobChange(2, b"g", NORMAL, None),
                JobChange(3, b"f", NORMAL, None, b"new"),
            ],
        )
        self.fixture.commit()
        self.broker.check()
        self.assertEqual(self.fixture.memory, 9)
        self.assertEqual(self.fixture.grab_all(self.fixture.worker(b"f")), [jobs[0], jobs[2]])
        self.assertEqual(jobs[2].workload, b"new")
        self.assertEqual([record.function for record in self.journal.kept()], [b"f", b"g", b"f"])

    def test_a_job_that_is_not_kept_is_nobodys_affair(self) -> None:
        job = self.fixture.submit(self.fixture.connect(), workload=b"old")
        self.journal.unavailable = "away"
        self.reprioritise(job, HIGH)
        self.move(job)
        self.correct(job, b"new")
        self.assertEqual((self.journal.changes, self.journal.updates), ([], []))
        self.assertEqual(job.workload, b"new")

    def test_while_the_store_is_away_no_workload_is_taken(self) -> None:
        (job,) = self.fixture.store(b"old")
        self.journal.unavailable = "away"
        text = self.refused("QUEUE_ERROR", self.operations.correct, job, b"new", why=STORE_UNAVAILABLE)
        self.assertEqual((text, self.journal.asked), ("away", 1))
        self.move(job)

    def test_the_digest_goes_with_the_workload(self) -> None:
        (job,) = self.fixture.store(b"one", unique=b"-")
        self.correct(job, b"two")
        (job,) = self.restart()
        self.assertIs(self.fixture.submit(None, unique=b"-", workload=b"two"), job)
        self.correct(job, b"")
        self.assertEqual(self.journal.changes[-1], JobChange(job.number, b"f", NORMAL, None, b"", b"-"))

    def test_what_is_not_in_memory_is_read_when_it_is_wanted(self) -> None:
        """What is read is the new one, also where it was asked for before."""
        self.begin(queue_memory=0)
        jobs = self.fixture.store_waited_for(*[b"old"] * 4)
        worker = self.fixture.worker(b"f")
        self.assertEqual(self.journal.loading, jobs[:1])
        self.correct(jobs[0], b"newer")
        self.correct(jobs[1], b"new")
        self.broker.check()
        for job, workload in zip(jobs[:2], (b"newer", b"new"), strict=True):
            self.fixture.read()
            self.assertEqual((self.grabbed(worker, job), job.workload), (job, workload))
            self.complete(worker, job)

    def test_one_that_is_empty_need_not_be_read(self) -> None:
        self.begin(queue_memory=0)
        jobs = self.fixture.store_waited_for(*[b"old"] * 2)
        self.correct(jobs[0], b"")
        self.assertEqual(jobs[0].state, QUEUED)
        self.broker.check()

    def test_between_lanes_that_are_longer_than_the_memory(self) -> None:
        self.begin(queue_memory=0)
        jobs = self.fixture.store_waited_for(*[b"%d" % number for number in range(8)])
        self.assertEqual({job.state for job in jobs}, {PAGED})
        for job in jobs[::2]:
            self.reprioritise(job, HIGH)
            self.broker.check()
        self.move(jobs[1])
        self.move(jobs[0])
        self.move(jobs[0], b"f")
        self.broker.check()
        worker = self.fixture.worker(b"f")
        found = []
        while self.journal.loading is not None:
            self.fixture.read()
            found += self.fixture.grab_all(worker)
        self.assertEqual(found, [jobs[2], jobs[4], jobs[6], jobs[0], jobs[3], jobs[5], jobs[7]])

    def test_a_dead_one(self) -> None:
        self.fixture.set(retries=0)
        (job,) = self.fixture.store(b"old")
        self.kill(job)
        self.correct(job, b"newer")
        self.move(job)
        self.reprioritise(job, LOW)
        found: list[bytes | None] = []
        self.broker.archive.read(job, found.append)
        self.journal.answer_readings()
        self.assertEqual(found, [b"newer"])
        (record,) = self.journal.kept()
        self.assertEqual((record.function, record.priority, record.size, record.state), (b"g", LOW, 5, DEAD))
        self.restart()
        self.fixture.recall()
        (job,) = self.broker.archive.jobs.values()
        self.assertEqual((job.function.name, job.priority, job.size), (b"g", LOW, 5))
        self.broker.check()


class RefusedTests(StoredCase):
    """The store does not keep a new workload."""

    def refuse(self, job: Job) -> None:
        size = len(self.journal.refuse_workload(job.number))
        self.broker.store_events.workload_refused(job.number, size, self.fixture.now)
        self.broker.check()

    def read_and_grab(self, name: bytes = b"f") -> list[bytes]:
        worker = self.fixture.worker(name)
        found = [bytes(job.workload) for job in self.fixture.grab_all(worker)]
        while self.journal.loading is not None:
            self.fixture.read()
            found += [bytes(job.workload) for job in self.fixture.grab_all(worker)]
        return found

    def test_it_has_its_old_one(self) -> None:
        jobs = self.fixture.store(b"one", b"two")
        self.correct(jobs[0], b"longer")
        self.refuse(jobs[0])
        self.assertEqual((jobs[0].state, jobs[0].function.bytes), (PAGED, 6))
        self.assertEqual(self.read_and_grab(), [b"two", b"one"])

    def test_one_that_waits(self) -> None:
        (job,) = self.fixture.store(b"one", delay=5.0)
        self.correct(job, b"longer")
        self.refuse(job)
        self.fixture.pass_time(5)
        self.assertEqual(self.read_and_grab(), [b"one"])

    def test_one_that_runs_may_go_on_with_it(self) -> None:
        """If its worker is lost it is read again, and has lost its place."""
        jobs = self.fixture.store(b"one", b"two")
        self.correct(jobs[0], b"longer")
        worker = self.fixture.worker(b"f")
        self.assertEqual(self.grabbed(worker, jobs[0]).workload, b"longer")
        self.refuse(jobs[0])
        self.fixture.leave(worker)
        self.broker.check()
        self.assertEqual(self.read_and_grab(), [b"two", b"one"])

    def test_nobody_joins_what_it_was_to_be(self) -> None:
        (job,) = self.fixture.store(b"one", unique=b"-")
        self.correct(job, b"two")
        self.refuse(job)
        self.assertIsNot(self.fixture.submit(None, unique=b"-", workload=b"two"), job)

    def test_a_dead_one_has_it_too(self) -> None:
        self.fixture.set(retries=0)
        (job,) = self.fixture.store(b"one")
        self.kill(job)
        self.correct(job, b"longer")
        self.refuse(job)
        self.operations.requeue(job.handle, self.fixture.now)
        self.assertEqual(self.read_and_grab(), [b"one"])

    def test_one_that_died_with_it(self) -> None:
        """The next server is not to look for more than there is."""
        self.fixture.set(retries=0)
        (job,) = self.fixture.store(b"one")
        self.correct(job, b"longer")
        self.kill(job)
        self.refuse(job)
        self.assertEqual([record.size for record in self.journal.kept()], [3])
        self.restart()
        self.fixture.recall()
        (job,) = self.broker.archive.jobs.values()
        self.operations.requeue(job.handle, self.fixture.now)
        self.assertEqual(self.read_and_grab(), [b"one"])

    def test_an_old_one_that_is_empty_need_not_be_read(self) -> None:
        """Its turn came while another was being read, and nobody else comes who would look."""
        self.begin(queue_memory=0)
        (other,) = self.fixture.store_waited_for(b"one", function=b"g")
        first, job = self.fixture.store_waited_for(b"one", b"")
        self.correct(job, b"longer")
        self.fixture.cancel(first)
        self.fixture.worker(b"g")
        sleeper = self.fixture.sleeper(b"f")
        self.assertEqual(self.journal.loading, [other])
        self.fixture.woken()
        self.refuse(job)
        self.assertEqual((job.state, self.fixture.woken()), (QUEUED, [sleeper]))
        self.fixture.read()
        self.assertIs(self.fixture.grab(sleeper), job)

    def test_one_that_is_over(self) -> None:
        self.fixture.set(results=60)
        jobs = self.fixture.store(b"one", b"two")
        for job in jobs:
            self.correct(job, b"longer")
        worker = self.fixture.worker(b"f")
        self.complete(worker, self.grabbed(worker, jobs[0]))
        self.fixture.cancel(jobs[1])
        self.operations.forget(jobs[1].handle)
        for job in jobs:
            self.refuse(job)
        self.assertEqual(jobs[0].size, 4)

"""Tests of L{txgear.broker.life.lifecycle}: jobs that end because they have not begun in time."""

from __future__ import annotations

from math import inf

from txgear.broker.model import Job
from txgear.broker.states import CANCELLED, DELAYED, DONE, EXPIRED, PAGED, QUEUED, RUNNING, STORING
from txgear.protocol.constants import WORK_FAIL
from txgear.test.support.broker import BrokerFixture, BrokerTestCase, DurableBrokerTestCase
from txgear.test.support.clock import START
from txgear.test.support.fakejournal import FakeJournal


class ExpiryTests(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.worker = self.fixture.worker(b"f")

    def test_one_that_is_queued(self) -> None:
        self.fixture.set(expires=10)
        job = self.fixture.submit(self.client)
        self.fixture.pass_time(9.9)
        self.assertEqual(job.state, QUEUED)
        self.fixture.pass_time(0.1)
        self.assertEqual((job.state, self.fixture.next_call), (EXPIRED, inf))
        self.assertEqual(self.fixture.heard(self.client), [(WORK_FAIL, job.handle)])
        self.assertIsNone(self.fixture.grab(self.worker))
        self.assert_gone(job)

    def test_each_has_its_own_time(self) -> None:
        self.fixture.set(expires=10)
        first = self.fixture.submit(None)
        self.fixture.pass_time(5)
        second, third = self.fixture.submit(None), self.fixture.submit(None, settings={"expires": 100})
        forever = self.fixture.submit(None, settings={"expires": 0})
        self.fixture.pass_time(5)
        self.assertEqual((first.state, second.state), (EXPIRED, QUEUED))
        self.fixture.pass_time(5)
        self.assertEqual((second.state, third.state), (EXPIRED, QUEUED))
        self.fixture.pass_time(1000)
        self.assertEqual((third.state, forever.state), (EXPIRED, QUEUED))

    def test_a_job_of_a_function_without_a_policy(self) -> None:
        job = self.fixture.submit(None, settings={"expires": 10})
        self.fixture.pass_time(10)
        self.assertEqual(job.state, EXPIRED)

    def test_one_that_has_begun_does_not(self) -> None:
        self.fixture.set(expires=10, retries=9, backoff=20)
        job = self.fixture.submit(None)
        self.grabbed(self.worker, job)
        self.fixture.pass_time(100)
        self.assertEqual(job.state, RUNNING)
        self.fails(self.worker, job)
        self.fixture.pass_time(100)
        self.assertEqual(job.state, QUEUED)
        self.grabbed(self.worker, job)
        self.complete(self.worker, job)
        self.assertEqual((job.state, self.fixture.next_call), (DONE, inf))

    def test_nor_one_that_was_lost(self) -> None:
        self.fixture.set(expires=10)
        job = self.fixture.submit(None)
        self.grabbed(self.worker, job)
        self.fixture.leave(self.worker)
        self.fixture.pass_time(100)
        self.assertEqual((job.state, job.retries), (QUEUED, 1))

    def test_one_that_waits_for_its_time(self) -> None:
        self.fixture.set(expires=10)
        early, late = self.fixture.submit(None, due=START + 5), self.fixture.submit(None, due=START + 20)
        self.assertEqual((early.state, late.state), (DELAYED, DELAYED))
        self.fixture.pass_time(9)
        self.assertEqual((early.state, late.state), (QUEUED, DELAYED))
        self.fixture.pass_time(1)
        self.assertEqual((early.state, late.state), (EXPIRED, EXPIRED))

    def test_one_whose_function_is_held(self) -> None:
        self.fixture.set(expires=10, concurrency=1)
        first, second = self.fixture.submit(None), self.fixture.submit(None)
        self.grabbed(self.worker, first)
        self.broker.operations.pause(b"f", self.fixture.now)
        self.fixture.pass_time(10)
        self.assertEqual((first.state, second.state), (RUNNING, EXPIRED))

    def test_one_that_is_cancelled_before(self) -> None:
        self.fixture.set(expires=10)
        job = self.fixture.submit(None)
        self.fixture.cancel(job)
        self.assertEqual((job.state, self.fixture.next_call), (CANCELLED, inf))

    def test_its_unique_is_free(self) -> None:
        self.fixture.set(expires=10)
        job = self.fixture.submit(None, unique=b"u")
        self.fixture.pass_time(10)
        self.assertIsNot(self.fixture.submit(None, unique=b"u"), job)

    def test_times_that_were_fixed_stay(self) -> None:
        self.fixture.set(expires=10)
        job = self.fixture.submit(None)
        self.fixture.set(expires=100)
        other = self.fixture.submit(None)
        self.fixture.pass_time(10)
        self.assertEqual((job.state, other.state), (EXPIRED, QUEUED))

    def test_while_the_server_drains_none_ends_that_nobody_waits_for(self) -> None:
        self.fixture.set(expires=10)
        waited_for, left = self.fixture.submit(self.client), self.fixture.submit(None)
        self.fixture.drain()
        self.fixture.pass_time(10)
        self.assertEqual((waited_for.state, left.state), (EXPIRED, DELAYED))
        self.assertTrue(self.broker.drained)


class StoredExpiryTests(DurableBrokerTestCase):
    def job(self) -> Job:
        (job,) = self.broker.table.jobs.values()
        return job

    def test_the_journal_is_told(self) -> None:
        self.fixture.set(expires=10)
        (job,) = self.fixture.store(b"work")
        self.fixture.pass_time(10)
        self.assertEqual(self.journal.deleted, [job.number])

    def test_one_that_is_read_when_its_turn_comes(self) -> None:
        self.journal = FakeJournal()
        self.fixture = BrokerFixture(journal=self.journal, queue_memory=4)
        self.fixture.set(expires=10)
        jobs = self.fixture.store_waited_for(b"1234", b"1234", b"1234")
        worker = self.fixture.worker(b"f")
        self.fixture.read()
        self.assertEqual([job.state for job in jobs], [QUEUED, PAGED, PAGED])
        self.grabbed(worker, jobs[0])
        self.fixture.pass_time(10)
        self.assertEqual([job.state for job in jobs], [RUNNING, EXPIRED, EXPIRED])
        self.assertEqual(self.fixture.counts(), {b"f": (0, 0, 1, 1)})

    def test_one_that_is_not_in_memory_and_is_cancelled_before(self) -> None:
        self.journal = FakeJournal()
        self.fixture = BrokerFixture(journal=self.journal, queue_memory=4)
        self.fixture.set(expires=10)
        jobs = self.fixture.store_waited_for(b"1234", b"1234")
        self.fixture.cancel(jobs[1])
        self.assertEqual((jobs[1].state, jobs[1].due, jobs[0].due > 0), (CANCELLED, 0.0, True))

    def test_one_that_is_on_its_way_when_its_time_is_over(self) -> None:
        self.fixture.set(expires=10)
        worker = self.fixture.worker(b"f")
        job = self.fixture.submit(None, workload=b"work")
        self.fixture.pass_time(20)
        self.assertEqual(job.state, STORING)
        self.fixture.commit()
        self.assertIsNone(self.fixture.grab(worker))
        self.fixture.pass_time(0)
        self.assertEqual((job.state, self.journal.deleted), (EXPIRED, [job.number]))

    def test_one_that_a_background_submit_joins(self) -> None:
        self.fixture.set(expires=10)
        job = self.fixture.submit(self.fixture.connect(), unique=b"u", workload=b"work")
        self.fixture.submit(None, unique=b"u")
        self.fixture.pass_time(10)
        self.assertEqual(job.state, EXPIRED)
        self.fixture.commit()
        self.fixture.restart()
        self.assertEqual(self.broker.table.jobs, {})

    def test_the_time_goes_on_while_the_server_is_down(self) -> None:
        self.fixture.set(expires=10)
        self.fixture.store(b"work")
        self.fixture.pass_time(4)
        self.fixture.restart()
        self.fixture.pass_time(5.9)
        job = self.job()
        self.assertFalse(job.ended)
        self.fixture.pass_time(0.1)
        self.assertEqual(job.state, EXPIRED)

    def test_one_whose_time_is_over_is_not_handed_out_after_that(self) -> None:
        self.fixture.set(expires=10)
        self.fixture.store(b"", b"")
        self.journal.put(self.journal.kept()[0]._replace(number=9, place=9, due=START + 5))
        self.fixture.now += 20
        self.fixture.restart()
        jobs = list(self.broker.table.jobs.values())
        self.assertIsNone(self.fixture.grab(self.fixture.worker(b"f")))
        self.fixture.pass_time(0)
        self.assertEqual([job.state for job in jobs], [EXPIRED] * 3)

    def test_one_that_waits_for_its_time_over_a_restart(self) -> None:
        self.fixture.set(expires=10)
        self.fixture.store(b"work", due=START + 60)
        self.fixture.restart()
        job = self.job()
        self.assertEqual((job.state, job.due), (DELAYED, START + 10))

    def test_one_that_was_tried_before_does_not_end(self) -> None:
        self.fixture.set(expires=10, retries=5, backoff=0)
        worker = self.fixture.worker(b"f")
        (job,) = self.fixture.store(b"work")
        self.grabbed(worker, job)
        self.fails(worker, job)
        self.fixture.restart()
        self.fixture.pass_time(100)
        self.assertEqual(self.job().state, PAGED)

    def test_nor_one_that_was_dead_and_is_to_be_done_again(self) -> None:
        self.fixture.set(expires=10, retries=0)
        worker = self.fixture.worker(b"f")
        (job,) = self.fixture.store(b"work")
        self.grabbed(worker, job)
        self.fails(worker, job)
        self.assertTrue(self.broker.operations.requeue(job.handle, self.fixture.now))
        self.fixture.restart()
        self.fixture.pass_time(100)
        self.assertEqual(self.job().state, PAGED)

    def test_one_from_an_older_store_has_its_time_from_the_start_on(self) -> None:
        self.fixture.set(expires=10)
        self.fixture.store(b"work")
        (kept,) = self.journal.kept()
        self.journal.put(kept._replace(created=0.0, wake=0.0))
        self.fixture.pass_time(9)
        self.fixture.restart()
        self.fixture.pass_time(9)
        job = self.job()
        self.assertFalse(job.ended)
        self.fixture.pass_time(1)
        self.assertEqual(job.state, EXPIRED)

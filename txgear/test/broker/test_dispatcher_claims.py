"""Tests of L{txgear.broker.dispatcher}: jobs that a worker has already, and is not handed."""

from __future__ import annotations

from math import inf

from txgear.broker.states import PAGED, QUEUED, RUNNING
from txgear.broker.tenants import Quota
from txgear.test.broker.test_dispatcher import DispatcherTestCase, PagerTestCase
from txgear.test.support.broker import BrokerFixture, BrokerTestCase, DurableBrokerTestCase


class ClaimTests(DispatcherTestCase):
    def test_it_is_taken_out_of_the_middle(self) -> None:
        """Those before and behind it stay where they are."""
        jobs = [self.put() for _ in range(3)]
        worker = self.worker()
        self.dispatcher.claim(jobs[1], worker, self.now + 2.0)
        self.assertEqual((jobs[1].state, jobs[1].worker, jobs[1].since), (RUNNING, worker, self.now + 2.0))
        self.assertEqual(worker.running, {jobs[1].handle: jobs[1]})
        self.assertEqual((self.dispatcher.running, jobs[1].function.running), (1, 1))
        self.assertEqual(jobs[1].function.counts.new_waits, [2.0])
        self.assertEqual([self.take(worker) for _ in range(3)], [jobs[0], jobs[2], None])

    def test_it_comes_back_as_any_other(self) -> None:
        jobs = [self.put() for _ in range(3)]
        worker = self.worker()
        self.dispatcher.claim(jobs[1], worker, self.now)
        self.dispatcher.leave(jobs[1], self.now)
        self.dispatcher.enqueue(jobs[1], self.now, first=True)
        self.assertEqual([self.take(worker) for _ in range(4)], [jobs[1], jobs[0], jobs[2], None])

    def test_the_only_one(self) -> None:
        """Its function's turn comes no more."""
        job = self.put()
        self.dispatcher.claim(job, self.worker(), self.now)
        self.assertEqual(self.dispatcher.rings, ({}, {}, {}))

    def test_it_counts_where_only_so_many_may_run(self) -> None:
        """It runs itself however many there are."""
        function = self.set(concurrency=1, rate="1/s")
        first, second, third = (self.put() for _ in range(3))
        worker = self.worker()
        self.dispatcher.claim(first, worker, self.now)
        self.assertTrue(function.throttled)
        self.dispatcher.claim(second, worker, self.now)
        self.assertEqual((function.running, self.take(worker)), (2, None))
        for job in (first, second):
            self.dispatcher.leave(job, self.now)
        self.assertTrue(function.throttled)
        self.now += 2.0
        self.dispatcher.throttle_due(function, self.now)
        self.assertIs(self.take(worker), third)


class PagedClaimTests(PagerTestCase):
    def test_it_need_not_be_in_memory(self) -> None:
        jobs = [self.paged() for _ in range(3)]
        worker = self.worker()
        self.dispatcher.claim(jobs[1], worker, self.now)
        self.assertEqual((jobs[1].state, jobs[1].workload), (RUNNING, b""))
        self.dispatcher.leave(jobs[1], self.now)
        self.dispatcher.enqueue(jobs[1], self.now, first=True)
        self.assertEqual([job.state for job in jobs], [PAGED] * 3)
        self.assertEqual(jobs[0].function.lanes.all(), jobs)

    def test_what_is_behind_it_comes_into_the_lane(self) -> None:
        """It was all that was not in memory."""
        first, second = self.paged(), self.put()
        worker = self.worker()
        self.assertEqual(second.state, PAGED)
        self.dispatcher.claim(first, worker, self.now)
        self.assertEqual(second.state, QUEUED)
        self.assertIs(self.take(worker), second)


class ExpiringClaimTests(DurableBrokerTestCase):
    """One that would expire has begun."""

    def claim(self, state: int) -> None:
        self.fixture.set(expires=5)
        job, _ = self.fixture.store_waited_for(b"one", b"two")
        self.assertEqual(job.state, state)
        self.assertGreater(job.due, 0)
        self.broker.dispatcher.claim(job, self.fixture.worker(b"g"), self.fixture.now)
        self.assertEqual(job.due, 0.0)
        self.fixture.pass_time(10)
        self.assertEqual((job.state, self.fixture.next_call), (RUNNING, inf))

    def test_of_a_lane(self) -> None:
        self.claim(QUEUED)

    def test_of_what_is_behind_it(self) -> None:
        self.fixture = BrokerFixture(journal=self.journal, queue_memory=0)
        self.claim(PAGED)


class TenantClaimTests(BrokerTestCase):
    def test_it_counts_for_its_tenant(self) -> None:
        """Who has as many at workers as it may gets no other."""
        self.fixture.quotas(a=Quota(running=1))
        client = self.fixture.tenant("a")
        first, second, third = (self.fixture.submit(client) for _ in range(3))
        worker = self.fixture.worker(b"f")
        for number, job in enumerate((second, first), 1):
            self.broker.dispatcher.claim(job, worker, self.fixture.now)
            assert job.tenant is not None
            self.assertEqual((job.tenant.running, self.fixture.grab(worker)), (number, None))
        self.complete(worker, first)
        self.assertIsNone(self.fixture.grab(worker))
        self.complete(worker, second)
        self.assertIs(self.fixture.grab(worker), third)

    def test_where_it_may_have_any_number(self) -> None:
        job = self.fixture.submit(self.fixture.tenant("b"))
        self.broker.dispatcher.claim(job, self.fixture.worker(b"f"), self.fixture.now)
        self.assertEqual(job.tenant and job.tenant.running, 1)

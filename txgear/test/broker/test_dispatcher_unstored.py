"""Tests of L{txgear.broker.dispatcher}: what is handed out while another server may have what is stored."""

from __future__ import annotations

from txgear.broker.model import Job
from txgear.broker.shares import Share
from txgear.broker.states import PAGED, RUNNING
from txgear.broker.tenants import Quota, Tenant
from txgear.protocol.constants import HIGH, LOW, NORMAL
from txgear.test.broker.test_dispatcher import DispatcherTestCase, PagerTestCase


class UnstoredTests(DispatcherTestCase):
    def stored(self, name: bytes = b"f", priority: int = NORMAL) -> Job:
        """A job that the store has, and that may be handed out otherwise."""
        job = self.job(name, priority)
        job.stored = True
        self.dispatcher.enqueue(job, self.now)
        return job

    def only(self) -> None:
        self.dispatcher.trust(self.now, self.now)

    def test_the_others_wait(self) -> None:
        stored = self.stored()
        other = self.put()
        self.only()
        worker = self.worker()
        self.assertEqual(self.take_all(worker), [other])
        self.assertEqual((other.state, other.worker, other.function.running), (RUNNING, worker, 1))
        self.dispatcher.trust(self.now + 1.0, self.now)
        self.assertEqual(self.take_all(worker), [stored])

    def test_from_that_time_on(self) -> None:
        stored = [self.stored() for _ in range(2)]
        self.dispatcher.trust(self.now + 1.0, self.now)
        worker = self.worker()
        self.assertIs(self.take(worker), stored[0])
        self.now += 1.0
        self.assertIsNone(self.take(worker))

    def test_priorities_and_turns(self) -> None:
        self.only()
        self.stored(b"f", HIGH)
        low, first, second = self.put(b"f", LOW), self.put(b"f"), self.put(b"f")
        other, high = self.put(b"g"), self.put(b"g", HIGH)
        self.assertEqual(self.take_all(self.worker(b"f", b"g")), [high, first, other, second, low])
        self.assertEqual(self.take_all(self.worker(b"h")), [])

    def test_only_what_may_run(self) -> None:
        self.set(concurrency=1)
        first, second = self.put(), self.put()
        self.only()
        worker = self.worker()
        self.assertEqual(self.take_all(worker), [first])
        self.end(first)
        self.assertEqual(self.take_all(worker), [second])

    def test_nothing_of_what_is_borrowed(self) -> None:
        """Another server may have borrowed that place by now."""
        self.functions.share = Share(2, 0)
        self.functions.borrowed = {b"f": 1}
        self.set(concurrency=1)
        first, other = self.put(), self.put(b"g")
        self.only()
        worker = self.worker(b"f", b"g")
        self.assertEqual(self.take_all(worker), [other])
        self.dispatcher.trust(self.now + 1.0, self.now)
        self.assertEqual(self.take_all(worker), [first])

    def test_nobody_is_woken_in_vain(self) -> None:
        self.only()
        worker = self.sleeper()
        self.stored()
        self.assertEqual(self.woken(), [])
        self.put()
        self.assertEqual(self.woken(), [worker])
        late = self.sleeper()
        self.assertEqual(self.woken(), [])
        self.put()
        self.assertEqual(self.woken(), [late])

    def test_who_falls_asleep_is_woken_for_another(self) -> None:
        self.only()
        self.stored(b"g")
        self.put()
        worker = self.sleeper(b"g", b"f")
        self.assertEqual(self.woken(), [worker])

    def test_all_are_woken_when_that_is_over(self) -> None:
        self.only()
        for _ in range(2):
            self.stored()
        workers = [self.sleeper() for _ in range(3)]
        self.assertEqual(self.woken(), [])
        self.dispatcher.trust(self.now + 1.0, self.now)
        self.assertEqual(self.woken(), workers[:2])

    def test_one_whose_tenant_has_enough(self) -> None:
        tenant = Tenant("shop")
        tenant.quota = Quota(running=1)
        jobs = []
        for _ in range(2):
            job = self.job()
            job.tenant = tenant
            tenant.queued += 1
            self.dispatcher.enqueue(job, self.now)
            jobs.append(job)
        self.only()
        self.assertEqual(self.take_all(self.worker()), jobs[:1])


class BehindTests(PagerTestCase):
    def test_one_behind_those_that_are_not_in_memory(self) -> None:
        self.paged()
        self.dispatcher.trust(self.now, self.now)
        worker = self.sleeper()
        behind = self.put()
        self.assertEqual(behind.state, PAGED)
        self.assertEqual(self.woken(), [worker])
        self.assertEqual(self.take_all(worker), [behind])

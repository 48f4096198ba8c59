"""Tests of L{txgear.broker.model}: nothing leads from a job that is over back to itself."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Appointment, Job, Peer
from txgear.test.support.broker import BrokerTestCase, DurableBrokerTestCase, make_job


def held_by(item: Any) -> Iterator[Any]:
    """What an object holds, as far as it may lead to a job; of a job the collector does not know that."""
    if isinstance(item, Job):
        yield from (getattr(item, name) for name in Job.__struct_fields__)
    elif isinstance(item, FunctionType):
        yield from item.__closure__ or ()
    elif not isinstance(item, type | ModuleType | SynchronousTestCase):
        yield from gc.get_referents(item)


def leads_back(job: Job) -> bool:
    """Whether there is a way from a job to itself, which would keep it in memory for ever."""
    seen: set[int] = set()
    waiting = list(held_by(job))
    while waiting:
        item = waiting.pop()
        if item is job:
            return True
        if id(item) not in seen:
            seen.add(id(item))
            waiting.extend(held_by(item))
    return False


class WayBackTests(SynchronousTestCase):
    """The test tests something."""

    def test_ways(self) -> None:
        job = make_job()
        self.assertFalse(leads_back(job))
        job.appointment = Appointment(job)
        self.assertTrue(leads_back(job))
        job.appointment = None
        job.function.delayed[make_job(job.function)] = None
        self.assertFalse(leads_back(job))
        job.function.delayed[job] = None
        self.assertTrue(leads_back(job))

    def test_one_that_is_given_up_refers_to_nothing_that_refers_to_it(self) -> None:
        job = make_job()
        job.join(Peer(1, "-"))
        job.appointment = Appointment(job)
        job.function.delayed[job] = None
        job.let_go(make_job().function)
        self.assertFalse(leads_back(job))


class ReleaseTests(BrokerTestCase):
    def over(self, job: Job) -> None:
        """A job is over, and may leave the memory; before, it was in some place."""
        self.assertTrue(job.ended)
        self.assertFalse(leads_back(job))

    def test_one_that_is_done_for_many(self) -> None:
        clients = [self.fixture.connect() for _ in range(3)]
        jobs = [self.fixture.submit(client, unique=b"u") for client in clients]
        job = jobs[0]
        said: list[object] = []
        self.broker.watch(job, lambda *outcome: said.append((job, outcome)))
        self.broker.lifecycle.follow(job, lambda kind, arguments: said.append((job, kind)))
        worker = self.fixture.worker(b"f", timeout=5.0)
        self.assertTrue(leads_back(self.grabbed(worker, job)))
        self.data(worker, job, b"some")
        self.complete(worker, job)
        self.assertEqual(len(said), 3)
        self.over(job)

    def test_those_that_wait_are_cancelled(self) -> None:
        jobs = [
            self.fixture.submit(None),
            self.fixture.submit(None, due=self.fixture.now + 99.0),
            self.fixture.submit(None, delay=99.0),
            self.fixture.submit(None, settings={"expires": 99}),
        ]
        for job in jobs:
            self.assertTrue(leads_back(job))
            self.fixture.cancel(job)
            self.over(job)

    def test_one_that_fails_until_it_is_dead(self) -> None:
        """And is kept for a time, done again, and kept again."""
        self.fixture.set(retries=1, backoff=3, dead="60s", timeout=9, results="60s")
        job = self.fixture.submit(None)
        worker = self.fixture.worker(b"f")
        for _ in range(2):
            self.fails(worker, self.grabbed(worker, job))
            self.fixture.pass_time(3.0)
        self.over(job)
        self.assertTrue(self.broker.operations.requeue(job.handle, self.fixture.now))
        self.assertTrue(leads_back(self.grabbed(worker, job)))
        self.complete(worker, job)
        self.fixture.pass_time(61.0)
        self.assertEqual(self.broker.archive.jobs, {})
        self.over(job)

    def test_one_whose_client_has_gone(self) -> None:
        client = self.fixture.connect()
        job = self.fixture.submit(client)
        self.fixture.leave(client)
        self.over(job)

    def test_one_whose_result_was_kept(self) -> None:
        self.fixture.set(results="60s")
        jobs = [self.fixture.submit(None, unique=b"%d" % number) for number in range(3)]
        worker = self.fixture.worker(b"f")
        for job in jobs:
            self.complete(worker, self.grabbed(worker, job))
        self.assertTrue(self.broker.operations.forget(jobs[1].handle))
        self.over(jobs[1])
        self.fixture.pass_time(61.0)
        for job in jobs:
            self.over(job)


class RowTests(DurableBrokerTestCase):
    """Those that leave the memory for the store."""

    queue_memory = 0

    def test_those_that_wait(self) -> None:
        jobs = [
            *self.fixture.store(b"one", b"two", b"three"),
            *self.fixture.store(b"four", due=self.fixture.now + 9999.0),
            *self.fixture.store(b"five", delay=9999.0),
        ]
        self.broker.expire(self.fixture.now)
        gone = [job for job in jobs if job.number not in self.broker.table.jobs]
        self.assertTrue(gone)
        for job in gone:
            self.assertFalse(leads_back(job))

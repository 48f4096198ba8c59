"""
Tests of L{txgear.broker.dispatcher}: jobs of tenants that take turns, or may not have more than so many at
workers.
"""

from __future__ import annotations

from typing import Any

from txgear.broker.lanes import Lanes
from txgear.broker.model import Job, Peer
from txgear.broker.sharedlanes import SharedLanes
from txgear.broker.states import PAGED, QUEUED
from txgear.broker.tenants import UNBOUNDED, Quota
from txgear.protocol.constants import HIGH, LOW
from txgear.test.support.broker import BrokerTestCase, DurableBrokerTestCase


class TurnsTests(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.a, self.b = self.fixture.tenant("a"), self.fixture.tenant("b")
        self.worker = self.fixture.worker(b"f")

    def put(self, *clients: Peer | None) -> list[Job]:
        return [self.fixture.submit(client) for client in clients]

    def test_in_turns(self) -> None:
        """As soon as that is set, for what there is as well, and until it is not any more."""
        a, b = self.put(*[self.a] * 5), self.put(*[self.b] * 3)
        self.assertEqual([self.fixture.grab(self.worker) for _ in range(2)], a[:2])
        self.fixture.set(turns=True)
        self.assertEqual([self.fixture.grab(self.worker) for _ in range(3)], [a[2], b[0], a[3]])
        self.fixture.set(turns=False)
        self.assertIsInstance(b[0].function.lanes, Lanes)
        self.assertEqual(self.fixture.grab_all(self.worker), [a[4], *b[1:]])

    def test_without(self) -> None:
        """The order is that of the submits."""
        jobs = self.put(self.a, self.a, self.b, None, self.a)
        self.assertEqual(self.fixture.grab_all(self.worker), jobs)

    def test_ten_among_many(self) -> None:
        """They are done after twenty."""
        self.fixture.set(turns=True)
        self.put(*[self.a] * 1000)
        mine = self.put(*[self.b] * 10)
        served = [self.fixture.grab(self.worker) for _ in range(20)]
        self.assertEqual([job for job in served if job in mine], mine)

    def test_what_is_tried_again(self) -> None:
        """One that comes back is first among its tenant's own."""
        self.fixture.set(turns=True)
        a, b = self.put(*[self.a] * 3), self.put(*[self.b] * 2)
        other = self.fixture.worker(b"f")
        self.grabbed(other, a[0])
        self.fixture.leave(other)
        self.assertEqual(self.fixture.grab_all(self.worker), [b[0], a[0], b[1], a[1], a[2]])

    def test_priorities_come_first(self) -> None:
        """Turns are within one."""
        self.fixture.set(turns=True)
        low = [self.fixture.submit(client, priority=LOW) for client in (self.a, self.b)]
        high = [self.fixture.submit(self.a, priority=HIGH) for _ in range(2)]
        self.assertEqual(self.fixture.grab_all(self.worker), [*high, *low])

    def test_a_purge(self) -> None:
        """It takes all, whosever they are."""
        self.fixture.set(turns=True)
        self.put(self.a, self.b, None)
        self.assertEqual(self.broker.operations.purge(b"f", self.fixture.now), 3)
        self.fixture.pass_time(0)
        self.assertEqual(self.broker.table.jobs, {})

    def test_draining(self) -> None:
        """Only what clients wait for is handed out, in turns."""
        self.fixture.set(turns=True)
        self.broker.submit(self.a, b"f", b"", b"", self.fixture.now, background=True)
        a, b = self.put(self.a, self.a), self.put(self.b)
        self.fixture.drain()
        self.assertEqual(self.fixture.grab_all(self.worker), [a[0], b[0], a[1]])


class BoundTests(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.fixture.quotas(a=Quota(running=2))
        self.a, self.b = self.fixture.tenant("a"), self.fixture.tenant("b")

    def put(self, *clients: Peer, function: bytes = b"f") -> list[Job]:
        return [self.fixture.submit(client, function) for client in clients]

    def test_others_go_on(self) -> None:
        """Of the tenant there are as many at workers as may be; the order is that of the submits."""
        a, b = self.put(*[self.a] * 4), self.put(self.b)
        worker = self.fixture.worker(b"f", b"g")
        a.append(self.fixture.submit(self.a, b"g"))
        self.assertEqual(self.fixture.grab_all(worker), [a[0], a[4], b[0]])
        self.assertEqual((a[1].function.total, a[4].function.total), (5, 1))
        self.complete(worker, a[0])
        self.assertEqual(self.fixture.grab_all(worker), a[1:2])
        self.complete(worker, a[4])
        self.complete(worker, a[1])
        self.assertEqual(self.fixture.grab_all(worker), a[2:4])

    def test_only_its_own_functions_know_tenants(self) -> None:
        """A function without a job of such a tenant has its plain lanes."""
        self.put(self.a)
        (b,) = self.put(self.b, function=b"g")
        self.assertIsInstance(b.function.lanes, Lanes)

    def test_whoever_sleeps(self) -> None:
        """No NOOP for what may not be handed out; one when it may."""
        worker = self.fixture.worker(b"f")
        self.put(self.a, self.a)
        running = self.fixture.grab_all(worker)
        sleepers = [self.fixture.sleeper(b"f") for _ in range(3)]
        self.put(*[self.a] * 5)
        self.assertEqual(self.fixture.woken(), [])
        for sleeper in sleepers:
            self.fixture.sleep(sleeper)
        self.assertEqual(self.fixture.woken(), [])
        self.complete(worker, running[0])
        self.assertEqual(self.fixture.woken(), sleepers[:1])
        self.complete(worker, running[1])
        self.assertEqual(self.fixture.woken(), sleepers[1:2])
        self.assertEqual(len(self.fixture.grab_all(sleepers[0])), 2)

    def test_the_quota_is_raised(self) -> None:
        """Whoever sleeps is woken, for as many as may start."""
        worker = self.fixture.worker(b"f")
        self.put(*[self.a] * 9)
        self.assertEqual(len(self.fixture.grab_all(worker)), 2)
        sleepers = [self.fixture.sleeper(b"f") for _ in range(5)]
        self.assertEqual(self.fixture.woken(), [])
        self.fixture.quotas(a=Quota(running=4))
        self.assertEqual(self.fixture.woken(), sleepers[:2])
        self.fixture.quotas()
        self.assertEqual(self.fixture.woken(), sleepers[2:])
        self.assertIsInstance(self.broker.functions.by_name[b"f"].lanes, Lanes)

    def test_the_quota_is_lowered(self) -> None:
        """What runs goes on; nothing more starts before there is room."""
        worker = self.fixture.worker(b"f")
        self.put(*[self.a] * 4)
        running = self.fixture.grab_all(worker)
        self.fixture.quotas(a=Quota(running=1))
        self.complete(worker, running[0])
        self.assertIsNone(self.fixture.grab(worker))
        self.complete(worker, running[1])
        self.assertEqual(len(self.fixture.grab_all(worker)), 1)

    def test_a_quota_comes(self) -> None:
        """It counts for what is there, of a tenant that had none before."""
        worker = self.fixture.worker(b"f", b"g")
        b = self.put(*[self.b] * 3)
        self.put(self.a, function=b"h")
        self.fixture.worker(b"i")
        self.grabbed(worker, b[0])
        g = self.put(self.a, function=b"g")
        self.fixture.quotas(a=Quota(running=2), b=Quota(running=1))
        self.assertEqual(self.fixture.grab_all(worker), g)
        self.assertIsInstance(b[1].function.lanes, SharedLanes)

    def test_what_it_has_no_more(self) -> None:
        """It is forgotten where a tenant had jobs, and that is noticed where it has some again."""
        worker = self.fixture.worker(b"f", b"g")
        self.put(self.a, self.a, self.a)
        self.put(self.a, function=b"g")
        jobs = self.fixture.grab_all(worker)
        self.complete(worker, jobs[0])
        jobs += self.fixture.grab_all(worker)
        functions = self.broker.dispatcher._bounded[self.broker.tenants.get("a")]
        self.assertEqual([function.name for function in functions], [b"f"])
        self.put(self.a, function=b"g")
        self.complete(worker, jobs[1])
        self.assertEqual([job.function.name for job in self.fixture.grab_all(worker)], [b"f"])

    def test_no_ring_for_what_is_held(self) -> None:
        """A function of which nothing may be handed out is as one that has nothing."""
        worker = self.fixture.worker(b"f")
        jobs = self.put(*[self.a] * 3)
        self.fixture.grab_all(worker)
        self.assertEqual(self.broker.dispatcher.rings, ({}, {}, {}))
        self.fixture.cancel(jobs[2])
        self.assertEqual(jobs[0].function.total, 2)
        self.complete(worker, jobs[0])
        self.assertEqual(self.broker.dispatcher.rings, ({}, {}, {}))

    def test_one_that_is_lost(self) -> None:
        """It comes back, makes room, and is the first again."""
        worker, other = self.fixture.worker(b"f"), self.fixture.worker(b"f")
        jobs = self.put(*[self.a] * 3)
        self.grabbed(worker, jobs[0])
        self.grabbed(other, jobs[1])
        self.fixture.leave(other)
        self.assertEqual(self.fixture.grab_all(worker), [jobs[1]])

    def test_draining(self) -> None:
        """What is held for now is waited for."""
        worker = self.fixture.worker(b"f")
        self.put(*[self.a] * 3)
        running = self.fixture.grab_all(worker)
        self.fixture.drain()
        self.assertFalse(self.broker.drained)
        self.complete(worker, running[0])
        for job in [*self.fixture.grab_all(worker), running[1]]:
            self.complete(worker, job)
        self.assertTrue(self.broker.drained)

    def test_what_does_not_agree(self) -> None:
        """It is found."""
        (job,) = self.put(self.a)
        function, bounded = job.function, self.broker.dispatcher._bounded
        del bounded[self.broker.tenants.get("a")][function]
        self.assertRaises(AssertionError, self.broker.dispatcher.check)
        bounded[self.broker.tenants.get("a")][function] = None


class PagedTests(DurableBrokerTestCase):
    """Most of what there is are rows."""

    queue_memory = 20

    def setUp(self) -> None:
        super().setUp()
        self.fixture.set(turns=True)
        self.a, self.b = self.fixture.tenant("a"), self.fixture.tenant("b")

    def store(self, client: Peer, *workloads: bytes, **rest: Any) -> list[Job]:
        jobs = []
        for workload in workloads:
            jobs.append(
                self.broker.submit(client, b"f", b"", workload, self.fixture.now, background=True, **rest)
            )
            self.fixture.commit()
        return jobs

    def grab(self, worker: Peer) -> int | None:
        """The number of the job that a worker gets when all that is asked for has been read."""
        self.fixture.read_all()
        job = self.fixture.grab(worker)
        return None if job is None else job.number

    def test_in_turns(self) -> None:
        """What is in the store only has its turn as well."""
        a = self.store(self.a, *[b"%010d" % number for number in range(10)])
        b = self.store(self.b, *[b"%010d" % number for number in range(3)])
        self.assertEqual(a[0].function.lanes.paged, 13)
        worker = self.fixture.worker(b"f")
        expected = [a[0], b[0], a[1], b[1], a[2], b[2], *a[3:]]
        self.assertEqual([self.grab(worker) for _ in range(13)], [job.number for job in expected])

    def test_what_is_held_is_not_read(self) -> None:
        """Until it may be handed out; what has been asked for before that waits in the lane."""
        self.fixture.quotas(a=Quota(running=1))
        worker = self.fixture.worker(b"f")
        a = self.store(self.a, *[b"%010d" % number for number in range(6)])
        self.assertEqual([self.grab(worker), self.grab(worker)], [a[0].number, None])
        self.assertEqual((self.journal.loading, self.journal.asking), (None, []))
        (b,) = self.store(self.b, b"0123456789")
        self.assertEqual([self.grab(worker), self.grab(worker)], [b.number, None])
        self.complete(worker, a[0])
        self.assertEqual([self.grab(worker), self.grab(worker)], [a[1].number, None])

    def test_one_more_of_who_is_held(self) -> None:
        """It goes behind what the tenant has in the store, which does not show in the lanes meanwhile."""
        self.fixture.quotas(a=Quota(running=1))
        worker = self.fixture.worker(b"f")
        a = self.store(self.a, *[b"%010d" % number for number in range(6)])
        self.assertEqual([self.grab(worker), self.grab(worker)], [a[0].number, None])
        self.assertEqual(a[0].function.lanes.overflow, {})
        self.assertEqual(self.fixture.submit(self.a).state, PAGED)

    def test_others_are_read_in_its_place(self) -> None:
        """As soon as a tenant is held, here and in its other functions."""
        self.fixture.quotas(a=Quota(running=1))
        one, two = self.fixture.worker(b"f"), self.fixture.worker(b"f")
        workloads = [b"%010d" % number for number in range(4)]
        self.store(self.a, *workloads)
        b = self.store(self.b, *workloads)
        self.fixture.read_all()
        (mine,) = [self.fixture.submit(self.a, b"g")]
        self.grabbed(self.fixture.worker(b"g"), mine)
        self.assertEqual([self.grab(one), self.grab(two)], [b[0].number, b[1].number])

    def loaded_behind_others(self) -> Job:
        """A client waits for it, and others' that are rows are before it."""
        self.fixture.set()
        self.store(self.a, *[b"%010d" % number for number in range(6)])
        mine = self.fixture.submit(self.b, workload=b"mine")
        self.assertEqual((mine.state, mine.loaded), (PAGED, True))
        return mine

    def test_one_that_is_loaded_behind_others(self) -> None:
        """When functions take turns these are not in its way."""
        mine = self.loaded_behind_others()
        self.fixture.set(turns=True)
        self.assertEqual(mine.state, QUEUED)

    def test_one_that_is_loaded_behind_others_when_a_quota_comes(self) -> None:
        """Nor then."""
        mine = self.loaded_behind_others()
        self.fixture.quotas(b=Quota(running=1))
        self.assertEqual(mine.state, QUEUED)

    def test_one_that_is_loaded_behind_others_when_a_job_comes(self) -> None:
        """Nor when that is of a tenant with a bound."""
        self.fixture.quotas(c=Quota(running=1))
        mine = self.loaded_behind_others()
        self.store(self.fixture.tenant("c"), b"x")
        self.assertEqual(mine.state, QUEUED)

    def test_quotas_go(self) -> None:
        """And no function knows any of it."""
        self.fixture.set()
        self.fixture.quotas(a=Quota(running=1))
        (job,) = self.store(self.a, b"x")
        self.assertIsInstance(job.function.lanes, SharedLanes)
        self.fixture.quotas(a=UNBOUNDED)
        self.assertEqual((type(job.function.lanes), self.broker.dispatcher._bounded), (Lanes, {}))

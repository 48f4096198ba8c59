"""Tests of L{txgear.broker.rows.passage}: jobs that go out of the memory and come into it again."""

from __future__ import annotations

from txgear.broker.counts import TOO_LATE
from txgear.broker.paging import JOB_BYTES
from txgear.broker.records import InOrder
from txgear.broker.sharedlanes import SharedLanes
from txgear.broker.states import DELAYED
from txgear.broker.tenants import Quota
from txgear.protocol.constants import HIGH
from txgear.test.support.broker import BrokerFixture, DurableBrokerTestCase


class RowsTests(DurableBrokerTestCase):
    queue_memory = JOB_BYTES

    def grab(self, *functions: bytes) -> int | None:
        self.fixture.read_all()
        job = self.fixture.grab(self.fixture.worker(*functions))
        return None if job is None else job.number

    def test_those_of_a_tenant_with_a_bound_are_in_nobodys_way(self) -> None:
        self.fixture.quotas(a=Quota(running=1))
        client = self.fixture.tenant("a")
        for peer in (client, client, None):
            self.broker.submit(peer, b"f", b"", b"four", self.fixture.now, background=True)
            self.fixture.commit()
        self.assertIsInstance(self.broker.functions.get(b"f").lanes, SharedLanes)
        worker = self.fixture.worker(b"f")
        found = []
        for _ in range(3):
            self.fixture.read_all()
            found.append(self.fixture.grab(worker))
        self.assertEqual([job and job.number for job in found], [1, 3, None])

    def test_after_a_restart_neither(self) -> None:
        client = self.fixture.tenant("a")
        for peer in (client, None):
            self.broker.submit(peer, b"f", b"", b"four", self.fixture.now, background=True)
        self.fixture.commit()
        self.journal.restart()
        self.fixture = BrokerFixture(journal=self.journal, queue_memory=self.queue_memory)
        self.fixture.quotas(a=Quota(running=1))
        self.fixture.begin()
        self.assertIsInstance(self.broker.functions.get(b"f").lanes, SharedLanes)

    def test_a_function_has_its_turn_for_them(self) -> None:
        """Unless it is held back."""
        self.fixture.store(b"1", function=b"f", priority=HIGH)
        self.fixture.store(b"1", function=b"f")
        self.broker.operations.pause(b"g", self.fixture.now)
        self.fixture.store(b"1", b"2", function=b"g", priority=HIGH)
        f = self.broker.functions.get(b"f")
        self.assertEqual([list(ring) for ring in self.broker.dispatcher.rings[:2]], [[f], [f]])

    def test_one_that_leaves_while_it_is_read_is_asked_for_again(self) -> None:
        """There is somebody who wants it."""
        self.fixture.store(b"x" * 10 * self.queue_memory, function=b"full")
        jobs = self.fixture.store_waited_for(b"1", b"2")
        workers = [self.fixture.worker(b"f") for _ in range(2)]
        for client in list(jobs[1].clients):
            self.fixture.leave(client)
        self.broker.store_events.written([jobs[1].number], self.fixture.now)
        self.assertNotIn(jobs[1].number, self.broker.table.jobs)
        for job, worker in zip(jobs, workers, strict=True):
            self.fixture.read_all()
            found = self.fixture.grab(worker)
            self.assertEqual(found and found.number, job.number)

    def test_one_that_expires_leaves_and_expires(self) -> None:
        """Its time is asked of the store then."""
        self.fixture.set(expires=60)
        self.fixture.store(b"1")
        jobs = self.fixture.store_waited_for(b"1", b"2")
        self.assertNotEqual(jobs[1].due, 0.0)
        for client in list(jobs[1].clients):
            self.fixture.leave(client)
        self.broker.stock.settle(jobs[1], self.fixture.now)
        self.assertNotIn(jobs[1].number, self.broker.table.jobs)
        for _ in range(130):
            self.fixture.pass_time(0.5)
            self.fixture.read_all()
        counts = self.broker.functions.get(b"f").counts
        self.assertEqual((counts.failed, len(self.broker.table)), ({TOO_LATE: 3}, 0))

    def test_where_some_are_missing_a_function_with_no_others_has_no_turn(self) -> None:
        self.fixture.store(b"1", b"2")
        self.fixture.grab(self.fixture.worker(b"f"))
        while self.journal.asking:
            self.journal.asking.pop().done([], {}, self.fixture.now)
        self.assertEqual([list(ring) for ring in self.broker.dispatcher.rings], [[], [], []])

    def test_those_that_are_loaded_while_the_server_drains_wait_for_good(self) -> None:
        self.fixture.store(b"1", b"2", b"3")
        self.fixture.read_all()
        self.fixture.drain()
        seen: list[int] = []
        self.broker.stock.load(
            InOrder(0, 10),
            lambda found, now: seen.extend(job.state for job in self.broker.table.jobs.values()),
            self.fixture.now,
        )
        self.fixture.read_all()
        self.assertEqual((seen, self.broker.functions.get(b"f").waiting), ([DELAYED] * 3, 3))

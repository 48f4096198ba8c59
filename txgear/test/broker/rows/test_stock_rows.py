"""Tests of L{txgear.broker.rows.stock}: what comes in and goes out in cases that are rare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any

from txgear.broker.counts import UNREADABLE
from txgear.broker.history import owned_by
from txgear.broker.model import Job
from txgear.broker.paging import JOB_BYTES
from txgear.broker.records import KEPT, WAITING, ByNumber, InOrder, JobRecord, Lane, LaneCount, Waking
from txgear.broker.states import QUEUED
from txgear.protocol.constants import NORMAL
from txgear.test.broker.life.test_lookups import LookupTestCase
from txgear.test.support.broker import BrokerTestCase, DurableBrokerTestCase, record
from txgear.test.support.clock import START

ALL = InOrder(0, 10**6)


class WithoutJournalTests(BrokerTestCase):
    def test_there_is_always_room(self) -> None:
        self.fixture.submit(None)
        self.assertEqual((self.broker.stock.crowded, self.broker.stock.may_wake), (False, False))


class RareTestCase(DurableBrokerTestCase):
    """There is room for one job."""

    queue_memory = JOB_BYTES + 10

    def store(self, count: int, workload: bytes = b"four", **rest: Any) -> list[Job]:
        return [job for _ in range(count) for job in self.fixture.store(workload, **rest)]

    @property
    def there(self) -> list[int]:
        """The numbers of the jobs in memory."""
        return sorted(self.broker.table.jobs)

    def answer(self, records: Sequence[JobRecord] | None, workloads: Mapping[int, bytes]) -> None:
        self.journal.asking.pop().done(records, workloads, self.fixture.now)


class BeginTests(RareTestCase):
    def test_those_that_have_ended_are_counted_as_kept(self) -> None:
        lanes = [LaneCount(Lane(b"f", "", KEPT), 3, 30), LaneCount(Lane(b"f", "", WAITING), 2, 8)]
        self.broker.store_events.begin(lanes, [], self.fixture.now)
        function = self.broker.functions.get(b"f")
        self.assertEqual((self.broker.archive.rows, function.kept), (3, 3))
        self.assertEqual((self.broker.table.rows, function.total, function.bytes), (2, 2, 8))


class BatchTests(RareTestCase):
    """Jobs that are stored together. There is room for two."""

    queue_memory = 2 * JOB_BYTES + 10

    def submit(self, function: bytes, workload: bytes = b"1") -> int:
        return self.fixture.submit(None, function, workload=workload).number

    def test_there_is_room_without_those_that_follow(self) -> None:
        _, second, _ = self.store(3)
        self.broker.operations.cancel(second.handle, self.fixture.now)
        self.assertEqual((self.there, self.broker.table.rows), ([1], 1))
        self.submit(b"f")
        other = self.submit(b"g")
        self.fixture.commit()
        self.assertEqual((self.there, self.broker.table.rows), ([1, other], 2))
        self.assertTrue(self.broker.table.jobs[other].loaded)
        self.assertEqual(self.broker.functions.get(b"f").lanes.total_of(NORMAL), 3)

    def test_there_is_none_without_them(self) -> None:
        self.store(3)
        for function in (b"f", b"g", b"f"):
            self.submit(function)
        self.fixture.commit()
        self.assertEqual((self.there, self.broker.table.rows), ([1, 2], 4))

    def test_what_is_too_large_stays_without_its_workload(self) -> None:
        self.store(1)
        large = self.submit(b"f", b"x" * 100)
        self.fixture.commit()
        self.assertEqual(self.there, [1, large])
        self.assertFalse(self.broker.table.jobs[large].loaded)

    def test_those_before_what_breaks_are_rows(self) -> None:
        self.store(3)
        jobs = [self.fixture.submit(None, b"f") for _ in range(2)]

        def stored() -> Iterator[Job]:
            for job in jobs:
                job.stored = True
                del job.function.delayed[job]
                job.reply = None
                yield job
            raise RuntimeError

        self.assertRaises(RuntimeError, self.broker.stock.stored, stored(), self.fixture.now)
        self.assertEqual((self.there, self.broker.table.rows), ([1, 2], 3))


class EndedTests(RareTestCase):
    def test_its_name_may_be_there_still(self) -> None:
        self.fixture.set(results=3600)
        (job,) = self.store(1, unique=b"u")
        worker = self.fixture.worker(b"f")
        self.complete(worker, self.grabbed(worker, job))
        self.assertFalse(self.journal.may_hide(b"u"))
        self.broker.store_events.written([job.number], self.fixture.now)
        self.assertEqual((self.broker.archive.jobs, self.broker.archive.rows), ({}, 1))
        self.assertTrue(self.journal.may_hide(b"u"))


class KeepTests(RareTestCase):
    def test_they_stay_until_the_next_turn(self) -> None:
        self.store(4)
        stock, now = self.broker.stock, self.fixture.now
        records = self.journal.kept()[1:3]
        jobs = stock.bring(records, now)
        self.assertEqual([job.number for job in jobs], [2, 3])
        self.assertEqual(stock.bring(records, now), [])
        stock.keep(jobs, now)
        for job in jobs:
            stock.settle(job, now)
        self.assertEqual((self.there, self.broker.timers.deadline), ([1, 2, 3], now))
        self.fixture.pass_time(0)
        self.assertEqual((self.there, stock.held, len(self.broker.table)), ([1], {}, 4))

    def test_none(self) -> None:
        deadline = self.broker.timers.deadline
        self.broker.stock.keep([], self.fixture.now)
        self.assertEqual(
            (self.broker.timers.deadline, self.broker.stock.work(self.fixture.now)), (deadline, inf)
        )

    def test_one_that_two_hold(self) -> None:
        self.store(3)
        stock, now = self.broker.stock, self.fixture.now
        (found,) = self.journal.kept()[2:]
        first, second = stock.hold_all([found], now), stock.hold_all([found], now)
        self.assertEqual(first, second)
        stock.release_all(first, now)
        self.assertEqual(self.there, [1, 3])
        stock.release_all(second, now)
        self.assertEqual((self.there, stock.held), ([1], {}))


class WakeTests(RareTestCase):
    def test_while_the_server_drains_none_come_in(self) -> None:
        self.store(1)
        self.store(1, due=START + 60)
        self.assertEqual(self.there, [1])
        said: list[int | None] = []
        for drains in (True, False):
            self.broker.stock.wake(
                Waking(START + 90, (-inf, 0), 10),
                lambda records, now: said.append(None if records is None else len(records)),
            )
            if drains:
                self.fixture.drain()
            self.fixture.answer()
        self.assertEqual((said, self.there), ([1, 1], [1]))


class HandlesTests(RareTestCase):
    def test_the_store_does_not_answer(self) -> None:
        """So nobody knows whether there is one."""
        row = self.store(2)[1]
        told: list[bool] = []
        self.broker.stock.load_handles([row.handle], lambda found, now: told.append(found), self.fixture.now)
        self.answer(None, {})
        self.assertEqual(told, [False])
        self.assertTrue(self.broker.stock.lacks([row.handle]))


class ReadAheadTests(RareTestCase):
    def test_the_store_does_not_answer(self) -> None:
        """They are asked for again when it does."""
        self.store(2)
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.answer(None, {})
        self.assertIsNone(self.fixture.grab(worker))
        self.assertEqual((self.broker.table.rows, self.journal.asking), (1, []))
        self.broker.stock.read_heads(self.fixture.now)
        self.fixture.read_all()
        found = self.fixture.grab(worker)
        self.assertEqual(found and found.number, 2)

    def test_one_that_has_come_into_memory_meanwhile(self) -> None:
        self.store(3)
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        (asking,) = self.journal.asking
        self.journal.unsettled.add(2)
        asking.done(self.journal.kept()[1:], {2: b"four", 3: b"four"}, self.fixture.now)
        self.journal.asking.remove(asking)
        found = self.fixture.grab(worker)
        self.assertEqual(found and found.number, 3)

    def test_some_have_become_rows_before_them_meanwhile(self) -> None:
        """Their turn is not near: there is no room for them in memory."""
        self.store(4)
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        (asking,) = self.journal.asking
        rows = self.broker.functions.get(b"f").lanes.rows(NORMAL)[None]
        rows.read_to -= 1
        asking.done(self.journal.kept()[2:3], {}, self.fixture.now)
        self.journal.asking.remove(asking)
        self.assertEqual((self.there, rows.count), ([1], 3))
        self.fixture.read_all()
        found = self.fixture.grab(worker)
        self.assertEqual(found and found.number, 2)

    def test_those_of_a_function_with_a_policy(self) -> None:
        """They come with their workloads, too."""
        self.fixture.set(retries=3)
        self.store(3)
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.answer(self.journal.kept()[1:], {2: b"four", 3: b"four"})
        self.assertEqual([self.broker.table.jobs[number].state for number in (2, 3)], [QUEUED] * 2)
        self.assertEqual(self.fixture.memory, 12)

    def test_some_that_are_not_there_any_more_and_are_nobodys(self) -> None:
        for others in (False, True):
            self.setUp()
            self.store(3)
            if others:
                self.store(2, function=b"g")
                self.fixture.read_all()
            worker = self.fixture.worker(b"f")
            self.fixture.grab(worker)
            self.answer([], {})
            function = self.broker.functions.get(b"f")
            self.assertEqual((function.total, function.counts.failed), (1, {UNREADABLE: 2}))
            self.assertEqual(function.bytes, 12 if others else 4)


class StrangeTests(RareTestCase):
    def test_one_of_a_tenant_that_somebody_has_put_into_the_store(self) -> None:
        self.broker.store_events.reserve(50, 10)
        self.journal.put(record(7, size=4, history=owned_by("web")), b"four")
        self.broker.stock.load(ALL, lambda found, now: None, self.fixture.now)
        self.fixture.answer()
        web = self.broker.tenants.get("web")
        self.assertEqual((web.queued, web.bytes, len(self.broker.table)), (1, 4, 1))
        worker = self.fixture.worker(b"f")
        self.fixture.read_all()
        job = self.fixture.grab(worker)
        self.assertEqual(job and (job.number, job.workload, job.tenant), (7, b"four", web))


class MetTests(LookupTestCase):
    """A job comes in of which the store is just asked whether there is such a one."""

    def test_by_its_number(self) -> None:
        number = self.row()
        _, reply = self.asked(None)
        asked = self.journal.asking[:]
        self.broker.stock.load(ByNumber([number]), lambda found, now: None, self.fixture.now)
        (asking,) = [asking for asking in self.journal.asking if asking not in asked]
        self.journal.asking.remove(asking)
        self.journal.asking.insert(0, asking)
        self.journal.answer(self.fixture.now)
        self.assertEqual(reply.packet, self.created(number))
        self.answer()
        self.assertEqual(len(self.broker.table), 3)

    def test_in_its_lane(self) -> None:
        number = self.row(workload=b"")
        _, reply = self.asked(None, workload=b"")
        worker = self.fixture.worker(b"f")
        while number not in self.broker.table.jobs:
            if self.journal.loading is not None:
                self.broker.store_events.loaded(self.journal.fetch(), self.fixture.now)
            for job in self.fixture.grab_all(worker):
                self.complete(worker, job)
            self.in_lane()
        self.assertEqual(reply.packet, self.created(number))
        self.answer()
        self.assertEqual([job.number for job in self.fixture.grab_all(worker)], [number])

"""Tests of L{txgear.broker.rows.stock}: which jobs are in memory, and that this is right whatever is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from txgear.broker.counts import TOO_LATE, UNREADABLE
from txgear.broker.history import History, owned_by
from txgear.broker.model import Job
from txgear.broker.paging import JOB_BYTES
from txgear.broker.records import WAITING, ByNumber, InOrder, JobRecord, Lane, LaneCount
from txgear.broker.rows.stock import NEAR_SECONDS
from txgear.broker.states import DELAYED, PAGED, QUEUED, RUNNING
from txgear.protocol.constants import HIGH, NORMAL
from txgear.test.support.broker import BrokerFixture, BrokerTestCase, DurableBrokerTestCase, record
from txgear.test.support.clock import START

ALL = InOrder(0, 10**6)


class WithoutJournalTests(BrokerTestCase):
    def test_all_are_in_memory(self) -> None:
        job = self.fixture.submit(None)
        told: list[bool] = []
        self.broker.stock.load(ALL, lambda found, now: told.append(found), self.fixture.now)
        self.broker.stock.load_handles([job.handle], lambda found, now: told.append(found), self.fixture.now)
        self.broker.stock.settle(job, self.fixture.now)
        self.assertEqual((told, job.state), ([True, True], QUEUED))


class StockTestCase(DurableBrokerTestCase):
    """There is room for one job."""

    queue_memory = JOB_BYTES + 10

    def setUp(self) -> None:
        super().setUp()
        self.told: list[tuple[bool, list[int]]] = []

    def store(self, count: int, workload: bytes = b"four", **rest: Any) -> list[Job]:
        return [job for _ in range(count) for job in self.fixture.store(workload, **rest)]

    @property
    def there(self) -> list[int]:
        """The numbers of the jobs in memory."""
        return sorted(self.broker.table.jobs)

    def tell(self, found: bool, now: float) -> None:
        self.assertEqual(now, self.fixture.now)
        self.told.append((found, self.there))

    def load(self, question: ByNumber | InOrder = ALL) -> None:
        self.broker.stock.load(question, self.tell, self.fixture.now)

    def load_all(self) -> None:
        self.load()
        self.fixture.read_all()


class BeginTests(StockTestCase):
    def begin(self, *counts: LaneCount) -> None:
        self.broker.store_events.begin(counts, [], self.fixture.now)

    def test_all_is_counted_and_the_first_are_read(self) -> None:
        self.begin(
            LaneCount(Lane(b"f", "", NORMAL), 3, 30),
            LaneCount(Lane(b"f", "web", HIGH), 2, 5),
            LaneCount(Lane(b"g", "web", WAITING), 4, 6),
        )
        f, g = (self.broker.functions.get(name) for name in (b"f", b"g"))
        web = self.broker.tenants.get("web")
        self.assertEqual((f.total, f.bytes, f.counts.restored), (5, 35, 5))
        self.assertEqual((g.total, g.waiting, g.bytes), (4, 4, 6))
        self.assertEqual((web.queued, web.bytes, len(self.broker.table)), (6, 11, 9))
        self.assertEqual([f.lanes.total_of(priority) for priority in (HIGH, NORMAL)], [2, 3])
        self.assertEqual(len(self.journal.asking), 1)
        self.assertEqual([list(ring) for ring in self.broker.dispatcher.rings], [[f], [f], []])

    def test_workers_of_the_server_before_may_come_back(self) -> None:
        self.fixture = BrokerFixture(journal=self.journal, grace=5.0)
        self.broker.store_events.reserve(50, 10)
        self.begin()
        self.assertEqual((self.broker.table.restored, self.broker.stock.restored), (0, 49))
        self.begin(LaneCount(Lane(b"f", "", NORMAL), 1, 0))
        self.assertEqual(self.broker.table.restored, 49)


class LetGoTests(StockTestCase):
    def test_what_is_stored_and_does_not_fit(self) -> None:
        jobs = self.store(3, unique=b"")
        self.assertEqual((self.there, self.broker.table.rows), ([1], 2))
        self.assertEqual([job.workload for job in jobs], [b"four", b"", b""])

    def test_its_unique_may_be_there_still(self) -> None:
        self.store(1)
        self.store(1, unique=b"u")
        self.assertTrue(self.journal.may_hide(b"u"))
        self.assertIsNone(self.broker.table.by_unique(b"u"))

    def test_not_one_that_somebody_waits_for(self) -> None:
        self.store(1)
        job = self.fixture.submit(None, unique=b"u", workload=b"1")
        self.outcome(job)
        self.fixture.commit()
        followed = self.fixture.submit(None, unique=b"v", workload=b"2")
        self.broker.lifecycle.follow(followed, lambda kind, said: None)
        self.fixture.commit()
        waited_for = self.fixture.store_waited_for(b"w")
        jobs = [job, followed, *waited_for]
        self.assertEqual([each.state for each in jobs], [PAGED] * 3)
        for each in jobs:
            self.broker.stock.settle(each, self.fixture.now)
        self.assertEqual([each.state for each in jobs], [PAGED] * 3)

    def test_not_one_before_others_in_memory(self) -> None:
        """Its turn would come after theirs."""
        self.store(1)
        paged = self.fixture.store_waited_for(b"1", b"2")
        for client in list(paged[0].clients):
            self.fixture.leave(client)
        self.broker.stock.settle(paged[0], self.fixture.now)
        self.assertEqual(self.there, [1, 2, 3])

    def test_when_nobody_waits_any_more(self) -> None:
        self.store(1)
        jobs = self.fixture.store_waited_for(b"1", b"2")
        for job in jobs:
            for client in list(job.clients):
                self.fixture.leave(client)
        self.broker.store_events.written([1, 3, 77], self.fixture.now)
        self.assertEqual((self.there, self.broker.table.rows), ([1, 2], 1))
        self.assertTrue(self.journal.may_hide(jobs[1].unique))
        self.load_all()
        self.assertEqual(self.told, [(True, [1, 2, 3])])

    def test_but_the_first_one_which_is_wanted_next(self) -> None:
        self.store(1)
        (job,) = self.fixture.store_waited_for(b"1")
        for client in list(job.clients):
            self.fixture.leave(client)
        self.broker.stock.settle(job, self.fixture.now)
        self.assertEqual(self.there, [1, 2])

    def test_not_while_something_of_it_is_on_its_way(self) -> None:
        self.store(1)
        _, job = self.fixture.store_waited_for(b"1", b"2")
        self.journal.unsettled.add(job.number)
        for client in list(job.clients):
            self.fixture.leave(client)
        self.assertEqual(self.there, [1, 2, 3])
        self.journal.unsettled.clear()
        self.broker.store_events.written([job.number], self.fixture.now)
        self.assertEqual(self.there, [1, 2])

    def test_not_what_was_changed_on_its_way(self) -> None:
        """It stays until that is there as well; the first one behind the lane stays anyway."""
        self.store(1)
        there = [1]
        for change in (self.broker.persistence.update, self.broker.persistence.change):
            job = self.fixture.submit(None, workload=b"two")
            change(job)
            self.fixture.commit()
            self.assertEqual((job.state, job.workload, self.there), (PAGED, b"", [*there, job.number]))
            self.broker.store_events.written([job.number], self.fixture.now)
            there = [1, 2]
            self.assertEqual(self.there, there)

    def test_not_what_can_be_handed_out_or_runs(self) -> None:
        (job,) = self.store(1)
        self.fixture.submit(self.fixture.connect(), b"g")
        worker = self.fixture.worker(b"f")
        for state in (QUEUED, RUNNING):
            self.assertEqual(job.state, state)
            self.broker.stock.settle(job, self.fixture.now)
            self.assertEqual(self.there, [1, 2])
            self.fixture.grab(worker)

    def test_not_where_there_is_room(self) -> None:
        self.fixture = BrokerFixture(journal=self.journal)
        job = self.fixture.submit(None, due=START + 2 * NEAR_SECONDS)
        self.fixture.commit()
        self.broker.stock.settle(job, self.fixture.now)
        self.assertEqual(job.state, DELAYED)

    def test_one_that_is_not_stored(self) -> None:
        job = self.fixture.submit(self.fixture.connect())
        self.broker.stock.settle(job, self.fixture.now)
        self.assertEqual(self.there, [1])

    def test_while_the_server_drains_nothing_is(self) -> None:
        self.store(1)
        job = self.fixture.submit(None)
        self.fixture.drain()
        self.fixture.commit()
        self.assertEqual(job.state, DELAYED)


class WaitingTests(StockTestCase):
    """Jobs that wait for a time."""

    def setUp(self) -> None:
        super().setUp()
        self.store(1)

    def waiting(self) -> int:
        return self.broker.functions.get(b"f").waiting

    def test_that_is_far(self) -> None:
        self.store(1, due=START + NEAR_SECONDS + 1)
        self.store(1, delay=NEAR_SECONDS + 1)
        self.assertEqual((self.there, self.waiting()), ([1], 2))
        self.load_all()
        self.assertEqual((self.told, self.there, self.waiting()), ([(True, [1, 2, 3])], [1], 2))

    def test_that_is_near(self) -> None:
        self.store(1, due=START + NEAR_SECONDS / 2)
        self.store(1, delay=NEAR_SECONDS / 2)
        self.assertEqual((self.there, self.waiting()), ([1, 2, 3], 2))

    def test_one_that_expires_before(self) -> None:
        self.fixture.set(expires=30.0)
        self.store(1, due=START + 60.0)
        self.assertEqual((self.there, self.waiting()), ([1], 1))
        for _ in range(120):
            self.fixture.pass_time(0.25)
            self.fixture.read_all()
        self.assertEqual((self.waiting(), self.broker.functions.get(b"f").counts.failed), (0, {TOO_LATE: 1}))

    def test_one_that_waits_for_good(self) -> None:
        """The server drains, and it is to be counted."""
        self.fixture.submit(self.fixture.connect(), b"g")
        job = self.broker.table.jobs[1]
        self.fixture.drain()
        self.assertEqual(job.state, DELAYED)
        self.broker.stock.settle(job, self.fixture.now)
        self.assertEqual(self.there, [1, 2])

    def test_its_time_comes(self) -> None:
        self.store(1, due=START + 30)
        for _ in range(119):
            self.fixture.pass_time(0.25)
            self.fixture.read_all()
        self.assertEqual((self.there, self.waiting()), ([1, 2], 1))
        self.fixture.pass_time(0.25)
        self.assertEqual((self.broker.table.jobs[2].state, self.waiting()), (PAGED, 0))


class LoadTests(StockTestCase):
    def test_what_is_loaded_is_there_when_something_is_done_to_it(self) -> None:
        """And not longer than that."""
        jobs = self.store(4)
        self.load(ByNumber([jobs[2].number]))
        self.assertEqual(self.told, [])
        self.fixture.read()
        self.assertEqual((self.told, self.there), ([(True, [1, 3])], [1]))
        self.assertEqual((self.broker.table.rows, len(self.broker.table)), (3, 4))

    def test_it_stays_if_somebody_waits_for_it_then(self) -> None:
        jobs = self.store(3)
        client = self.fixture.connect()
        self.broker.stock.load(
            ByNumber([2]), lambda found, now: self.broker.table.jobs[2].join(client), self.fixture.now
        )
        self.fixture.read()
        self.assertEqual(self.there, [1, 2])
        worker = self.fixture.worker(b"f")
        for job in jobs:
            self.fixture.read_all()
            found = self.fixture.grab(worker)
            self.assertEqual(found and found.number, job.number)

    def test_one_that_has_its_turn_at_once(self) -> None:
        """It is empty, and all before it are gone."""
        (first,) = self.store(1)
        (row,) = self.store(1, b"")
        sleeper = self.fixture.sleeper(b"g")
        self.fixture.cancel(first)
        self.journal.asking.clear()
        self.broker.can_do(sleeper, b"f", 0.0, self.fixture.now)
        self.fixture.pass_time(10)
        self.load(ByNumber([row.number]))
        self.journal.answer(self.fixture.now)
        self.assertEqual(self.broker.table.jobs[row.number].state, QUEUED)
        self.assertEqual(self.fixture.woken(), [sleeper])

    def test_the_store_does_not_answer(self) -> None:
        self.store(2)
        self.load()
        self.journal.asking.pop().done(None, {}, self.fixture.now)
        self.assertEqual(self.told, [(False, [1])])

    def test_of_a_job_that_is_in_memory_the_memory_is_right(self) -> None:
        (job,) = self.store(1)
        self.load()
        self.journal.asking.pop().done([record(1, 99, function=b"g")], {}, self.fixture.now)
        self.assertIs(self.broker.table.jobs[1], job)
        self.assertEqual((job.place, job.function.name), (1, b"f"))

    def test_one_of_which_something_is_on_its_way_has_ended(self) -> None:
        self.store(2)
        records = self.journal.kept()
        self.load(ByNumber([2]))
        self.fixture.read()
        self.load()
        asking = self.journal.asking.pop()
        self.broker.stock.load(ByNumber([2]), self.cancel_second, self.fixture.now)
        self.fixture.read()
        self.journal.unsettled.add(2)
        asking.done(records, {}, self.fixture.now)
        self.assertEqual((self.there, self.broker.table.rows), ([1], 0))

    def cancel_second(self, found: bool, now: float) -> None:
        self.fixture.cancel(self.broker.table.jobs[2])

    def test_its_unique_is_known_again(self) -> None:
        self.store(2)
        self.store(1, unique=b"u")
        self.load_all()
        self.assertEqual((self.journal.may_hide(b"u"), self.there), (True, [1, 2]))
        client = self.fixture.connect()
        self.broker.stock.load(
            ByNumber([3]), lambda found, now: self.broker.table.jobs[3].join(client), self.fixture.now
        )
        self.fixture.read()
        self.assertFalse(self.journal.may_hide(b"u"))
        self.assertEqual(self.broker.table.by_unique(b"u"), self.broker.table.jobs[3])


class HandlesTests(StockTestCase):
    def handles(self, *handles: bytes) -> None:
        self.broker.stock.load_handles(handles, self.tell, self.fixture.now)

    def test_at_once_if_all_are_there(self) -> None:
        (job,) = self.store(1)
        self.handles(job.handle)
        self.assertEqual(self.told, [(True, [1])])

    def test_at_once_if_there_cannot_be_such_rows(self) -> None:
        jobs = self.store(2)
        self.handles(jobs[0].handle, b"H:test:99", b"nonsense", b"")
        self.assertEqual(self.told, [(True, [1])])

    def test_those_that_are_rows(self) -> None:
        jobs = self.store(3)
        self.handles(*[job.handle for job in jobs], b"there//" + jobs[2].handle)
        self.assertEqual(self.told, [])
        (asking,) = self.journal.asking
        self.assertEqual(asking.question, ByNumber([2, 3]))
        self.fixture.read()
        self.assertEqual(self.told, [(True, [1, 2, 3])])


class DamageWitness:
    """Writes down what it is told."""

    def __init__(self, told: list[tuple[bytes, str]]) -> None:
        self._told = told

    def taken_back(self, job: Job, reason: str, now: float) -> None:
        raise AssertionError(reason)

    def damaged(self, handle: bytes, why: str) -> None:
        self._told.append((handle, why))

    def missing(self, function: bytes, count: int) -> None:
        self._told.append((function, str(count)))


class RecordTests(StockTestCase):
    """What is made of a record."""

    def one(self, found: JobRecord) -> Job:
        self.fixture = BrokerFixture(journal=self.journal)
        self.journal.put(found)
        (job,) = self.fixture.restart()
        return job

    def test_on_whose_account(self) -> None:
        job = self.one(record(1, history=owned_by("web")))
        self.assertEqual((job.tenant, job.history), (self.broker.tenants.get("web"), None))

    def test_with_a_history_as_well(self) -> None:
        web = self.fixture.broker.tenants.get("web")
        job = self.one(record(1, history=History({"timeout": 3}).to_bytes(web)))
        assert job.history is not None
        self.assertEqual((job.tenant and job.tenant.name, job.history.settings), ("web", {"timeout": 3}))

    def test_what_is_damaged(self) -> None:
        """The job goes on without it, and somebody is told."""
        job = self.one(record(1, history=b"[]"))
        self.assertEqual((job.state, job.history, job.tenant), (QUEUED, None, None))
        told: list[tuple[bytes, str]] = []
        self.fixture = BrokerFixture(journal=self.journal)
        self.broker.stock.witness = witness = DamageWitness(told)
        self.assertIs(self.broker.stock.witness, witness)
        self.fixture.begin()
        self.fixture.worker(b"f")
        self.fixture.answer()
        ((handle, why),) = told
        self.assertEqual(handle, b"H:test:1")
        self.assertTrue(why)

    def test_a_unique_that_stands_for_the_workload(self) -> None:
        self.assertEqual(self.one(record(1, unique=b"-", digest=bytes(15) + b"\7")).key, 7)

    def test_one_that_stands_for_nothing(self) -> None:
        self.assertIsNone(self.one(record(1, unique=b"-")).key)

    def test_since_when_it_is_ready(self) -> None:
        job = self.one(record(1, created=START - 9))
        self.assertEqual((job.created, job.since), (START - 9, START - 9))

    def test_one_that_was_put_behind_others_is_ready_from_now_on(self) -> None:
        self.assertEqual(self.one(record(1, 5, created=START - 9)).since, START)

    def test_one_that_cannot_be_handed_out_any_more(self) -> None:
        self.journal.put(record(1, created=START - 9))
        self.fixture = BrokerFixture(journal=self.journal)
        self.fixture.set(expires=5)
        (job,) = self.fixture.restart()
        self.assertEqual(job.state, DELAYED)
        self.fixture.pass_time(0)
        self.assertEqual(self.there, [])


class ReadAheadTests(StockTestCase):
    """What L{txgear.broker.paging} asks for."""

    def answer(self, records: Sequence[JobRecord] | None, workloads: Mapping[int, bytes]) -> None:
        self.journal.asking.pop().done(records, workloads, self.fixture.now)

    def test_one_more_than_was_known(self) -> None:
        """Somebody has put it there."""
        self.store(2)
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.answer([*self.journal.kept()[1:], record(3)], {2: b"four", 3: b""})
        found = [self.fixture.grab(worker) for _ in range(3)]
        self.assertEqual([job and job.number for job in found], [2, 3, None])

    def test_a_workload_of_another_length_is_not_taken(self) -> None:
        self.store(2)
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.answer(self.journal.kept()[1:], {2: b"other"})
        self.assertEqual(self.broker.table.jobs[2].state, PAGED)

    def test_some_that_are_not_there_any_more(self) -> None:
        """As long as there are others nobody knows how long these were."""
        a = self.fixture.tenant("a")
        for _ in range(3):
            self.broker.submit(a, b"f", b"", b"four", self.fixture.now, background=True)
            self.fixture.commit()
        self.store(2, function=b"g")
        self.fixture.read_all()
        tenant, function = self.broker.tenants.get("a"), self.broker.functions.get(b"f")
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.answer([], {})
        self.assertEqual((function.total, function.bytes, function.counts.failed), (1, 12, {UNREADABLE: 2}))
        self.assertEqual((tenant.queued, tenant.bytes), (1, 12))

    def test_somebody_is_told_of_these(self) -> None:
        told: list[tuple[bytes, str]] = []
        self.broker.stock.witness = DamageWitness(told)
        # One of them is in memory.
        self.store(3)
        self.fixture.grab(self.fixture.worker(b"f"))
        self.answer([], {})
        self.assertEqual(told, [(b"f", "2")])

    def test_and_of_nobody_else(self) -> None:
        a = self.fixture.tenant("a")
        for _ in range(3):
            self.broker.submit(a, b"f", b"", b"four", self.fixture.now, background=True)
            self.fixture.commit()
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.answer([], {})
        tenant, function = self.broker.tenants.get("a"), self.broker.functions.get(b"f")
        self.assertEqual((function.total, function.bytes, tenant.queued, tenant.bytes), (1, 4, 1, 4))

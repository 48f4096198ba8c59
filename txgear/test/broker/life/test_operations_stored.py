"""Tests of L{txgear.broker.life.operations}: with a store, and of jobs that only the store has."""

from __future__ import annotations

from math import inf

from txgear.broker.bulk import BATCH
from txgear.broker.ended.archive import PAUSE, history_of
from txgear.broker.life.operations import PAGE, PATIENCE
from txgear.broker.model import Peer
from txgear.broker.records import InLane
from txgear.broker.states import PAGED, QUEUED, STORING
from txgear.errors import QueueError
from txgear.protocol.constants import HIGH
from txgear.test.broker.life.test_operations import OperationsTestCase
from txgear.test.support.broker import BrokerFixture, DurableBrokerTestCase
from txgear.test.support.fakejournal import FakeJournal


class StoredOperationsTests(DurableBrokerTestCase, OperationsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.worker: Peer = self.fixture.worker(b"f")

    def again(self) -> None:
        self.fixture.restart()
        self.worker = self.fixture.worker(b"f")

    def test_one_that_is_queued_again_outlives_the_server(self) -> None:
        (job,) = self.dead(workload=b"work")
        self.broker.operations.requeue(job.handle, self.fixture.now)
        self.assertEqual(job.state, PAGED)
        self.again()
        self.fixture.read()
        (job,) = self.broker.table.jobs.values()
        self.assertEqual([attempt.reason for attempt in history_of(job).attempts], ["fail"])
        self.assertEqual(history_of(job).counts, {})
        self.grabbed(self.worker, job)
        self.assertEqual(job.workload, b"work")

    def test_many_wait_for_a_store_that_is_behind(self) -> None:
        self.dead(BATCH + 3)
        self.journal.backlogged = True
        self.broker.operations.requeue_all(b"f", self.fixture.now)
        self.broker.expire(self.fixture.now)
        self.assertEqual(self.broker.timers.deadline, self.fixture.now + PAUSE)
        self.fixture.pass_time(1)
        self.assertEqual(len(self.broker.archive.jobs), BATCH + 3)
        self.journal.backlogged = False
        self.fixture.pass_time(PAUSE)
        self.assertEqual((len(self.broker.archive.jobs), self.broker.timers.deadline), (0, inf))

    def write(self) -> None:
        """All that has ended is in the store, and not in memory."""
        self.broker.store_events.written(list(self.broker.archive.jobs), self.fixture.now)
        self.assertEqual(self.broker.archive.jobs, {})

    def asked(self) -> list[InLane]:
        """What is asked of the store of lanes."""
        questions = [asking.question for asking in self.journal.asking]
        return [question for question in questions if isinstance(question, InLane)]

    def test_those_that_are_not_in_memory_are_read_page_by_page(self) -> None:
        """In the order in which they died; each page has a turn of its own, and waits for the store."""
        jobs = self.dead(PAGE * 2 + 3)
        numbers = [job.number for job in jobs]
        self.write()
        self.assertEqual(self.broker.operations.requeue_all(b"f", self.fixture.now), PAGE * 2 + 3)
        later = self.dead(1)
        self.write()
        for left in (PAGE + 4, 4, 1):
            self.assertEqual(self.asked(), [])
            self.broker.expire(self.fixture.now)
            self.assertEqual(len(self.asked()), 1)
            self.fixture.answer()
            self.assertEqual((len(self.broker.archive), self.broker.archive.rows), (left, left))
            self.broker.check()
        self.broker.expire(self.fixture.now)
        self.assertEqual((self.asked(), self.broker.archive.rows), ([], 1))
        queued = sorted(self.broker.table.jobs.values(), key=lambda job: job.place)
        self.assertEqual([job.number for job in queued], numbers)
        self.assertEqual([record.number for record in self.journal.kept() if record.state], [later[0].number])

    def test_a_store_that_does_not_answer_is_asked_again(self) -> None:
        self.dead(3)
        self.write()
        self.assertEqual(self.broker.operations.forget_all(b"f", self.fixture.now), 3)
        self.broker.expire(self.fixture.now)
        for asking in self.journal.asking:
            asking.done(None, {}, self.fixture.now)
        self.journal.asking.clear()
        self.broker.expire(self.fixture.now)
        self.assertEqual(self.asked(), [])
        self.fixture.pass_time(PATIENCE)
        self.fixture.answer()
        self.assertEqual((len(self.broker.archive), len(self.journal.deleted_all)), (0, 3))

    def test_orders_take_turns(self) -> None:
        """One that waits for the store is in nobody's way."""
        self.dead(3)
        self.write()
        waiting = self.fixture.store(b"1", function=b"g")
        self.broker.operations.forget_all(b"f", self.fixture.now)
        self.broker.operations.purge(b"g", self.fixture.now)
        self.broker.expire(self.fixture.now)
        self.assertTrue(waiting[0].ended)
        self.fixture.answer()
        self.assertEqual(len(self.broker.archive), 0)

    def test_what_is_old_waits_for_it_too(self) -> None:
        self.dead(BATCH + 3, settings={"dead": 60})
        self.journal.backlogged = True
        self.fixture.pass_time(60)
        self.assertEqual(self.broker.timers.deadline, self.fixture.now + PAUSE)
        self.assertEqual(len(self.broker.archive.jobs), BATCH + 3)
        self.journal.backlogged = False
        left = [BATCH + 3]
        while self.broker.timers.deadline <= self.fixture.now + PAUSE:
            self.broker.expire(self.fixture.now)
            left.append(len(self.broker.archive.jobs))
        self.assertIn(3, left)
        self.assertEqual((left[-1], self.broker.timers.deadline), (0, inf))

    def test_one_that_was_dead_when_the_server_started(self) -> None:
        self.dead(workload=b"work", unique=b"u")
        self.again()
        self.fixture.recall()
        (job,) = self.broker.archive.jobs.values()
        self.broker.operations.requeue(job.handle, self.fixture.now)
        self.fixture.read()
        self.assertIs(self.fixture.submit(self.client, unique=b"u"), job)
        self.grabbed(self.worker, job)
        self.complete(self.worker, job)
        self.assertEqual(self.journal.deleted, [job.number])

    def test_one_that_is_queued_again_before_it_is_stored(self) -> None:
        self.fixture.set(retries=0)
        job = self.fixture.submit(self.client, unique=b"u", workload=b"work")
        self.grabbed(self.worker, job)
        self.fixture.submit(None, unique=b"u")
        self.fails(self.worker, job)
        self.broker.operations.requeue(job.handle, self.fixture.now)
        self.assertEqual((job.state, job.workload), (QUEUED, b"work"))
        self.fixture.commit()
        self.assertEqual(self.fixture.memory, 4)
        self.grabbed(self.worker, job)

    def test_and_then_refused(self) -> None:
        self.fixture.set(retries=0)
        job = self.fixture.submit(self.client, unique=b"u", workload=b"work")
        self.grabbed(self.worker, job)
        self.fixture.submit(None, unique=b"u")
        self.fails(self.worker, job)
        self.broker.operations.requeue(job.handle, self.fixture.now)
        self.fixture.refuse()
        self.assert_gone(job)

    def test_one_that_is_dropped_is_dropped_for_good(self) -> None:
        (job,) = self.dead(workload=b"work")
        self.broker.operations.forget(job.handle)
        self.assertEqual(self.journal.deleted_all, [job.number])
        self.again()
        self.assertEqual(self.broker.archive.jobs, {})

    def test_a_purge_takes_those_that_are_not_in_memory_and_those_on_their_way(self) -> None:
        self.journal = FakeJournal()
        self.fixture = BrokerFixture(journal=self.journal, queue_memory=4)
        stored = self.fixture.store_waited_for(b"1234", b"1234", b"1234")
        storing = self.fixture.submit(None, workload=b"1234")
        self.assertEqual([job.state for job in (*stored, storing)], [PAGED, PAGED, PAGED, STORING])
        self.assertEqual(self.broker.operations.purge(b"f", self.fixture.now), 4)
        self.fixture.pass_time(0)
        self.fixture.commit()
        for job in (*stored, storing):
            self.assert_gone(job)
        self.assertEqual(len(self.journal.deleted), 4)
        self.assertEqual(self.fixture.counts(), {})


class RowsTests(DurableBrokerTestCase):
    """Purges of functions of which nearly all jobs are in the store only."""

    queue_memory = 0

    def fill(self, count: int, function: bytes = b"f") -> list[bytes]:
        """The handles of so many jobs."""
        jobs = self.fixture.store(*(b"%d" % number for number in range(count)), function=function)
        self.fixture.answer()
        return [job.handle for job in jobs]

    def purge(self) -> int | None:
        return self.broker.operations.purge(b"f", self.fixture.now)

    def go_on(self) -> None:
        for _ in range(20):
            self.fixture.pass_time(0)
            self.fixture.answer()
            if self.journal.loading is not None:
                self.fixture.read()

    def test_all_lanes(self) -> None:
        self.fill(PAGE + 20)
        others = self.fill(3, b"g")
        self.fixture.submit(None, workload=b"w", priority=HIGH)
        self.fixture.submit(None, workload=b"w", delay=9999.0)
        self.fixture.commit()
        self.assertEqual(self.purge(), PAGE + 22)
        self.go_on()
        self.assertEqual(len(self.broker.table), len(others))
        self.assertEqual(len(set(self.journal.deleted)), PAGE + 22)
        self.assertNotIn(b"f", self.broker.functions.by_name)

    def test_none_is_handed_out_meanwhile_and_later_ones_stay(self) -> None:
        self.fill(5)
        self.purge()
        worker = self.fixture.worker(b"f")
        later = self.fill(1)
        self.assertIsNone(self.fixture.grab(worker))
        self.go_on()
        self.assertEqual(len(self.broker.table), 1)
        job = self.fixture.grab(worker)
        assert job is not None
        self.assertEqual([job.handle], later)

    def test_one_that_is_submitted_again_stays(self) -> None:
        handles = self.fill(5)
        self.purge()

        def spare(answered: bool, now: float) -> None:
            job = self.broker.table.by_handle(handles[3])
            assert job is not None
            self.broker.operations.spare(job)

        self.broker.stock.load_handles([handles[3]], spare, self.fixture.now)
        self.go_on()
        self.assertEqual(len(self.broker.table), 1)

    def test_the_store_does_not_answer_for_a_while(self) -> None:
        self.fill(5)
        self.purge()
        self.fixture.pass_time(0)
        while self.journal.asking:
            self.journal.asking.pop(0).done(None, {}, self.fixture.now)
        self.fixture.pass_time(PATIENCE)
        self.go_on()
        self.assertEqual(len(self.broker.table), 0)

    def test_one_that_has_left_the_memory_meanwhile(self) -> None:
        self.fill(3)
        job = next(iter(self.broker.table.jobs.values()))
        self.broker.stock.hold(job)
        self.purge()
        self.broker.stock.release(job, self.fixture.now)
        self.go_on()
        self.assertEqual(len(self.broker.table), 0)

    def test_bounds_count_them(self) -> None:
        self.fill(5)
        self.broker.operations.limit_function(b"f", (5, 5, 5))
        self.assertRaises(QueueError, self.fixture.submit, None)
        self.assertIs(self.broker.operations.drop_function(b"f"), False)
        self.fixture.set(max_bytes=5)
        self.broker.operations.limit_function(b"f", (0, 0, 0))
        self.assertRaises(QueueError, self.fixture.submit, None, workload=b"w")
        self.fixture.submit(None)

"""Tests of L{txgear.broker.paging}: jobs that are in memory, and their workloads are not."""

from __future__ import annotations

from txgear.broker.paging import (
    JOB_BYTES,
    READ_JOBS,
    READ_SHARE,
)
from txgear.broker.records import UNREADABLE_SECONDS, InLane, Lane
from txgear.broker.states import DELAYED, PAGED, QUEUED, RUNNING
from txgear.protocol.constants import HIGH, LOW, NORMAL
from txgear.test.broker.test_paging import PagedTestCase


class WorkloadsTests(PagedTestCase):
    """Jobs that are in memory, as clients wait for them, without their workloads."""

    def big_enough_for(self, jobs: int, workloads: int) -> None:
        self.start(jobs * JOB_BYTES + workloads)

    def test_none_for_a_function_without_workers(self) -> None:
        self.fill()
        self.flood_waited_for(5)
        self.assertTrue(self.idle)

    def test_as_many_as_there_are_workers_where_there_is_no_room(self) -> None:
        self.fill()
        jobs = self.flood_waited_for(9, b"x")
        for _ in range(5):
            self.fixture.worker(b"f")
        self.assertEqual(self.workloads_asked, self.numbers(jobs[:1]))
        self.fixture.read()
        self.assertEqual(self.workloads_asked, self.numbers(jobs[1:5]))
        self.fixture.read()
        self.assertTrue(self.idle)

    def test_only_what_is_not_there_and_still_wanted(self) -> None:
        client = self.fixture.connect()
        self.fill()
        one, other, gone = self.flood_waited_for(3, b"x")
        there = self.fixture.submit(client, workload=b"x")
        (last,) = self.flood_waited_for(1, b"x")
        self.fixture.cancel(gone)
        workers = [self.fixture.worker(b"f") for _ in range(5)]
        self.assertEqual(self.workloads_asked, [one.number])
        self.fixture.read()
        self.assertEqual(self.workloads_asked, [other.number, last.number])
        self.assertEqual(self.drain_queue(*workers), self.numbers([one, other, there, last]))

    def test_a_good_piece_where_there_is_room(self) -> None:
        self.big_enough_for(30, 3000)
        pager = self.broker.pager
        assert pager is not None
        piece = (30 * JOB_BYTES + 3000) // READ_SHARE
        (full,) = self.flood_waited_for(1, b"x" * 30 * JOB_BYTES, function=b"g")
        jobs = self.flood_waited_for(20, b"x" * 100)
        self.fixture.cancel(full)
        self.fixture.worker(b"f")
        self.assertEqual(self.workloads_asked, self.numbers(jobs[: piece // 100]))
        self.fixture.read_all()
        self.assertEqual(self.states(jobs), [QUEUED] * 20)

    def test_one_that_is_larger_than_a_good_piece_is_read_too_if_there_is_room(self) -> None:
        self.big_enough_for(5, 5000)
        (full,) = self.flood_waited_for(1, b"x" * 6000, function=b"g")
        jobs = self.flood_waited_for(3, b"x" * 2000)
        self.fixture.cancel(full)
        self.fixture.worker(b"f")
        self.assertEqual(self.workloads_asked, self.numbers(jobs[:1]))
        self.fixture.read()
        self.assertEqual(self.workloads_asked, self.numbers(jobs[1:2]))
        self.fixture.read_all()
        self.assertEqual(self.states(jobs), [QUEUED] * 3)

    def test_and_not_if_there_is_none(self) -> None:
        self.big_enough_for(5, 3000)
        (full,) = self.flood_waited_for(1, b"x" * 6000, function=b"g")
        jobs = self.flood_waited_for(3, b"x" * 2000)
        self.fixture.cancel(full)
        self.fixture.worker(b"f")
        self.fixture.read_all()
        self.assertEqual((self.states(jobs), self.fixture.memory), ([QUEUED, QUEUED, PAGED], 4000))

    def test_no_more_than_so_many_jobs_at_once(self) -> None:
        self.big_enough_for(READ_JOBS + 500, 0)
        (full,) = self.flood_waited_for(1, b"x" * JOB_BYTES * (READ_JOBS + 499), function=b"g")
        jobs = self.flood_waited_for(READ_JOBS + 2, b"x")
        self.fixture.cancel(full)
        self.fixture.worker(b"f")
        self.assertEqual(self.workloads_asked, self.numbers(jobs[:READ_JOBS]))
        self.fixture.read()
        self.assertEqual(self.workloads_asked, self.numbers(jobs[READ_JOBS:]))

    def test_some_that_have_changed_their_lane_meanwhile(self) -> None:
        """All are in their lanes before it shows what these lack: no more is read than that."""
        self.fill()
        jobs = self.flood_waited_for(4, b"one")
        worker = self.fixture.worker(b"f")
        self.assertEqual(self.workloads_asked, self.numbers(jobs[:1]))
        self.broker.operations.reprioritise(jobs[0], HIGH, self.fixture.now)
        self.fixture.read()
        self.assertEqual(
            (self.states(jobs), self.workloads_asked), ([QUEUED] + [PAGED] * 3, [jobs[1].number])
        )
        self.fixture.read()
        self.assertTrue(self.idle)
        self.assertEqual(self.drain_queue(worker), self.numbers(jobs))

    def test_a_worker_that_falls_asleep_meanwhile_is_woken_when_it_is_there(self) -> None:
        self.fill()
        (job,) = self.flood_waited_for(1)
        sleeper = self.fixture.sleeper(b"f")
        self.assertEqual(self.fixture.outbox.take(), [])
        self.fixture.read()
        self.assertEqual(self.fixture.woken(), [sleeper])
        self.assertIs(self.fixture.grab(sleeper), job)

    def test_workers_that_left_before_it_was_their_turn(self) -> None:
        self.fill()
        self.flood_waited_for(1)
        (other,) = self.flood_waited_for(1, function=b"g")
        self.fixture.worker(b"f")
        self.fixture.leave(self.fixture.worker(b"g"))
        self.fixture.read()
        self.assertTrue(self.idle)
        self.fixture.worker(b"g")
        self.assertEqual(self.workloads_asked, [other.number])

    def test_a_lane_that_is_gone_does_not_keep_the_next_from_its_turn(self) -> None:
        self.fill()
        first, gone, other = [self.flood_waited_for(1, function=name)[0] for name in (b"f", b"g", b"h")]
        for function in (b"f", b"g", b"h"):
            self.fixture.worker(function)
        self.fixture.cancel(gone)
        self.assertEqual(self.workloads_asked, [first.number])
        self.fixture.read()
        self.assertEqual(self.workloads_asked, [other.number])

    def test_husks_do_not_hold_up_the_rest(self) -> None:
        self.fill()
        jobs = self.flood_waited_for(10)
        for job in jobs[:3] + jobs[4:9]:
            self.fixture.cancel(job)
        workers = [self.fixture.worker(b"f") for _ in range(3)]
        self.assertEqual(self.drain_queue(*workers), self.numbers([jobs[3], jobs[9]]))


class UnreadableTests(PagedTestCase):
    """Workloads that the store has, and cannot read."""

    def setUp(self) -> None:
        super().setUp()
        self.fill()
        self.jobs = self.flood_waited_for(3)
        self.worker = self.fixture.worker(b"f")
        assert self.journal.loading is not None
        self.loading = self.journal.loading
        self.journal.loading = None
        self.broker.store_events.loaded([], self.fixture.now, self.loading)

    def test_the_others_go_on(self) -> None:
        self.assertEqual(self.broker.store_events.unreadable, set(self.loading))
        self.assertEqual(self.states(self.loading), [DELAYED] * len(self.loading))
        self.assertEqual(self.drain_queue(self.worker), self.numbers(self.jobs[1:]))

    def test_one_that_is_not_wanted_any_more_is_forgotten(self) -> None:
        for job in self.loading:
            self.fixture.cancel(job)
            self.assert_gone(job)
        self.assertEqual(self.broker.store_events.unreadable, set())

    def test_it_is_tried_again_after_a_while(self) -> None:
        self.fixture.pass_time(UNREADABLE_SECONDS)
        self.assertEqual(set(self.drain_queue(self.worker) or ()), set(self.numbers(self.jobs) or ()))
        self.assertEqual(self.broker.store_events.unreadable, set())

    def test_one_that_goes_behind_others_is_still_not_known_to_be_readable(self) -> None:
        self.fixture.leave(self.worker)
        self.fixture.pass_time(UNREADABLE_SECONDS)
        self.assertEqual(self.states(self.loading), [PAGED] * len(self.loading))
        for job in self.loading:
            self.broker.operations.reprioritise(job, LOW, self.fixture.now)
        self.assertEqual(self.broker.store_events.unreadable, set(self.loading))

    def test_it_is_no_row_until_it_is_known_to_be_readable(self) -> None:
        self.fixture.leave(self.worker)
        self.fixture.pass_time(UNREADABLE_SECONDS)
        self.broker.store_events.written([job.number for job in self.loading], self.fixture.now)
        self.assertEqual(self.states(self.loading), [PAGED] * len(self.loading))

    def test_rows_are_taken_in_without_workloads_that_cannot_be_read(self) -> None:
        """They are asked for once more, and then it shows of which that is true."""
        self.drain_queue(self.worker)
        self.fixture.leave(self.worker)
        jobs = self.flood(2)
        self.fixture.read()
        self.worker = self.fixture.worker(b"f")
        self.fixture.read()
        self.fixture.grab(self.worker)
        (asking,) = self.journal.asking
        self.assertEqual(asking.question, InLane(Lane(b"f", "", NORMAL), jobs[0].number, 1))
        self.journal.asking.clear()
        asking.done(self.journal.kept()[-1:], {}, self.fixture.now)
        self.assertEqual((self.states(jobs), self.workloads_asked), ([RUNNING, PAGED], [jobs[1].number]))

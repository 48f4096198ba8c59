"""Tests of L{txgear.broker.bulk}."""

from __future__ import annotations

import sys

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.bulk import BATCH, BulkTask, BulkTasks, one_by_one
from txgear.test.support.broker import make_job


class ChoresTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chores = BulkTasks()
        self.done: list[tuple[str, float]] = []

    def chore(self, name: str, steps: int) -> BulkTask:
        now = yield
        for _ in range(steps):
            self.done.append((name, now))
            now = yield

    def test_a_short_one_is_done_at_once(self) -> None:
        self.chores.start(self.chore("a", BATCH - 1), 5.0)
        self.assertEqual(self.done, [("a", 5.0)] * (BATCH - 1))
        self.assertEqual(len(self.chores), 0)

    def test_of_a_long_one_the_first_part_is(self) -> None:
        self.chores.start(self.chore("a", BATCH + 2), 5.0)
        self.assertEqual((len(self.done), len(self.chores)), (BATCH, 1))
        self.chores.work(6.0)
        self.assertEqual(self.done[BATCH:], [("a", 6.0)] * 2)
        self.assertEqual(len(self.chores), 0)

    def test_one_that_has_time_begins_later(self) -> None:
        self.chores.add(self.chore("a", 2))
        self.assertEqual((self.done, len(self.chores)), ([], 1))
        self.chores.work(7.0)
        self.assertEqual(self.done, [("a", 7.0)] * 2)

    def test_no_more_than_a_batch_at_once_of_all_together(self) -> None:
        self.chores.add(self.chore("a", BATCH - 3))
        self.chores.add(self.chore("b", BATCH))
        self.chores.work(1.0)
        self.assertEqual(len(self.done), BATCH - 1)  # to find out that the first is done counts too
        self.assertEqual(self.done[-1], ("b", 1.0))

    def test_who_begins_does_not_wait_for_those_that_are_under_way(self) -> None:
        self.chores.start(self.chore("a", 2 * BATCH), 1.0)
        self.chores.start(self.chore("b", 3), 1.0)
        self.assertEqual(self.done[BATCH:], [("b", 1.0)] * 3)

    def test_they_may_be_done_in_turn(self) -> None:
        self.chores.add(self.chore("a", 2 * BATCH))
        self.chores.add(self.chore("b", 2 * BATCH))
        for turn in range(4):
            self.chores.work(float(turn))
            self.chores.turn()
        names = [name for name, _ in self.done]
        self.assertEqual([names[turn * BATCH] for turn in range(4)], ["a", "b", "a", "b"])

    def test_one_with_a_defect_is_not_done_again(self) -> None:
        def broken() -> BulkTask:
            yield
            raise ZeroDivisionError

        self.chores.add(broken())
        self.chores.add(self.chore("a", 1))
        self.assertRaises(ZeroDivisionError, self.chores.work, 1.0)
        self.chores.work(2.0)
        self.assertEqual((self.done, len(self.chores)), ([("a", 2.0)], 0))

    def test_what_is_done_one_by_one_is_let_go_of(self) -> None:
        jobs = [make_job() for _ in range(3)]
        names, watched = [job.handle for job in jobs], [sys.getrefcount(job) for job in jobs]
        left = one_by_one(jobs.copy())
        self.assertEqual([next(left).handle for _ in range(2)], names[:2])
        held = [sys.getrefcount(job) for job in jobs]
        self.assertEqual(held, [*watched[:2], watched[2] + 1])
        self.assertEqual([job.handle for job in left], names[2:])

"""Tests of L{txgear.broker.timerqueue}."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Job
from txgear.broker.timerqueue import SLACK, STEP, TimerQueue
from txgear.test.support.broker import make_job
from txgear.test.support.extras import PROPERTY, given, st


class AgendaTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.agenda: TimerQueue[Job] = TimerQueue()

    def add(self, due: float) -> Job:
        one = make_job()
        self.agenda.add(one, due)
        return one

    def test_nothing_is_due_on_an_empty_one(self) -> None:
        self.assertEqual(self.agenda.next_due(), inf)
        self.assertIsNone(self.agenda.pop_due(1e9))

    def test_the_earliest_first_and_of_the_same_time_the_first_added(self) -> None:
        late, first, second = self.add(30.0), self.add(10.0), self.add(10.0)
        self.assertEqual(self.agenda.next_due(), 10.0)
        self.assertEqual([self.agenda.pop_due(30.0) for _ in range(3)], [first, second, late])
        self.assertEqual(len(self.agenda), 0)

    def test_nothing_before_its_time(self) -> None:
        one = self.add(10.0)
        self.assertIsNone(self.agenda.pop_due(9.9))
        self.assertIs(self.agenda.pop_due(10.0), one)
        self.assertEqual(one.due, 0.0)

    def test_what_is_discarded_is_never_due(self) -> None:
        gone, one = self.add(10.0), self.add(20.0)
        self.agenda.discard(gone)
        self.agenda.discard(gone)
        self.assertEqual((len(self.agenda), self.agenda.next_due()), (1, 20.0))
        self.assertIs(self.agenda.pop_due(30.0), one)
        self.assertEqual(self.agenda.next_due(), inf)

    def test_another_time_replaces_the_first(self) -> None:
        one = self.add(10.0)
        self.agenda.discard(one)
        self.agenda.add(one, 20.0)
        self.assertEqual(self.agenda.next_due(), 20.0)
        self.agenda.discard(one)
        self.agenda.add(one, 10.0)
        self.assertIs(self.agenda.pop_due(10.0), one)
        self.assertIsNone(self.agenda.pop_due(30.0))

    def test_in_whatever_order_they_come(self) -> None:
        """Whether or not others have their second, and whether or not that has come."""
        first = self.add(10.5)
        self.assertIsNone(self.agenda.pop_due(10.0))
        jobs = [self.add(due) for due in (20.1, 10.6, 20.2, 20.0, 9.0)]
        self.assertEqual(len(self.agenda), 6)
        found = [self.agenda.pop_due(30.0) for _ in range(6)]
        self.assertEqual(found, [jobs[4], first, jobs[1], jobs[3], jobs[0], jobs[2]])
        self.assertEqual((len(self.agenda), self.agenda.next_due()), (0, inf))

    def test_what_is_discarded_leaves_nothing_behind(self) -> None:
        one = self.add(1e6)
        for due in range(10 * SLACK):
            self.agenda.discard(self.add(1e5 + due))
            self.agenda.discard(self.add(1e5))
        self.assertLess(len(self.agenda._seconds), 2 * SLACK)
        self.assertEqual(self.agenda._later.keys(), set(self.agenda._seconds))
        self.assertIs(self.agenda.pop_due(1e6), one)
        self.assertEqual((self.agenda._seconds, self.agenda._later, self.agenda._entries), ([], {}, []))

    def test_one_that_is_discarded_when_its_second_has_come(self) -> None:
        gone, first, one = self.add(10.6), self.add(10.5), self.add(10.7)
        self.assertIs(self.agenda.pop_due(10.5), first)
        self.agenda.discard(gone)
        self.agenda.add(gone, 10.8)
        self.assertEqual(self.agenda.next_due(), 10.7)
        self.assertEqual([self.agenda.pop_due(11.0) for _ in range(3)], [one, gone, None])

    def test_one_that_is_added_again_is_behind_those_of_its_time(self) -> None:
        """Whether or not its second has come."""
        for looked in (False, True):
            one, other = self.add(8.5), self.add(8.5)
            if looked:
                self.assertIsNone(self.agenda.pop_due(8.0))
            self.agenda.discard(one)
            self.agenda.add(one, 8.5)
            self.assertEqual([self.agenda.pop_due(9.0) for _ in range(3)], [other, one, None])
            self.agenda = TimerQueue()

    def test_a_great_many_in_one_second(self) -> None:
        """They come in steps, in the order in which they were added where their time is the same."""
        jobs = [self.add(10.5) for _ in range(3 * STEP)]
        self.assertEqual(self.agenda.next_due(), 10.0)
        self.assertIsNone(self.agenda.pop_due(10.0))
        for gone in jobs[STEP // 2 : 2 * STEP]:
            self.agenda.discard(gone)
        left = jobs[: STEP // 2] + jobs[2 * STEP :]
        found = []
        while len(self.agenda):
            self.assertLessEqual(self.agenda.next_due(), 10.5)
            if (job := self.agenda.pop_due(10.5)) is not None:
                found.append(job)
        self.assertEqual(found, left)
        self.assertEqual((self.agenda.next_due(), self.agenda._entries), (inf, []))

    def test_stale_entries_are_passed_over_in_steps(self) -> None:
        jobs = [self.add(10.5) for _ in range(3 * STEP)]
        one = self.add(10.6)
        for _ in range(7):
            self.assertIsNone(self.agenda.pop_due(10.0))
        self.assertEqual(self.agenda.next_due(), 10.5)
        for job in jobs:
            self.agenda.discard(job)
        self.assertIsNone(self.agenda.pop_due(10.6))
        self.assertEqual(self.agenda.next_due(), 10.5)
        self.assertIs(self.agenda.pop_due(10.6), one)

    @PROPERTY
    @given(st.lists(st.tuples(st.sampled_from(("add", "discard", "pop")), st.integers(1, 9)), max_size=60))
    def test_it_agrees_with_a_list(self, events: list[tuple[str, int]]) -> None:
        agenda: TimerQueue[Job] = TimerQueue()
        jobs: list[Job] = []  # those that are on the agenda, in the order of being added
        for event, number in events:
            if event == "add":
                jobs.append(make_job())
                agenda.add(jobs[-1], float(number))
            elif event == "discard" and jobs:
                agenda.discard(jobs.pop(number % len(jobs)))
            elif event == "pop":
                expected = min(jobs, key=lambda one: one.due, default=None)
                if expected is not None and expected.due > number:
                    expected = None
                self.assertIs(agenda.pop_due(float(number)), expected)
                if expected is not None:
                    jobs.remove(expected)
            self.assertEqual(agenda.next_due(), min((one.due for one in jobs), default=inf))
            self.assertEqual(len(agenda), len(jobs))

"""Tests of L{txgear.agenda}."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txgear.agenda import SLACK, Agenda
from txgear.jobs import Job
from txgear.test.support import PROPERTY, make_job


class AgendaTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.agenda = Agenda()

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

    def test_stale_entries_do_not_pile_up(self) -> None:
        one = self.add(1e6)
        for due in range(10 * SLACK):
            self.agenda.discard(self.add(1e5 + due))
        self.assertLess(len(self.agenda._entries), 2 * SLACK)
        self.assertIs(self.agenda.pop_due(1e6), one)

    @PROPERTY
    @given(st.lists(st.tuples(st.sampled_from(("add", "discard", "pop")), st.integers(1, 9)), max_size=60))
    def test_it_agrees_with_a_list(self, events: list[tuple[str, int]]) -> None:
        agenda = Agenda()
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

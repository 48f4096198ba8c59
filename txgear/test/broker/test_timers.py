"""Tests of L{txgear.broker.timers}."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Function
from txgear.broker.timers import LOOK_SECONDS, Timers
from txgear.test.support.broker import make_job


class TimersTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.timers = Timers()
        self.job = make_job()
        self.function = Function(b"f")


class ServerTimeTests(TimersTestCase):
    def test_without_any_nobody_need_be_called(self) -> None:
        self.assertEqual((self.timers.deadline, self.timers.next_due(5.0)), (inf, inf))
        self.assertIsNone(self.timers.pop_due(1e9))

    def test_the_deadline_is_that_of_the_earliest(self) -> None:
        for due, deadline in ((20.0, 20.0), (30.0, 20.0), (10.0, 10.0)):
            self.timers.call_at(due)
            self.assertEqual(self.timers.deadline, deadline)
        self.timers.add(self.job, 5.0)
        self.timers.add(self.function, 7.0)
        self.assertEqual((self.timers.deadline, self.timers.next_due(0.0)), (5.0, 5.0))

    def test_the_earliest_comes_first_and_when_its_time_has_come(self) -> None:
        self.timers.add(self.function, 7.0)
        self.timers.add(self.job, 5.0)
        self.timers.check(1, 1, 0)
        self.assertIsNone(self.timers.pop_due(4.9))
        self.assertIs(self.timers.pop_due(5.0), self.job)
        self.assertEqual(self.job.due, 0.0)
        self.assertIsNone(self.timers.pop_due(6.0))
        self.assertIs(self.timers.pop_due(9.0), self.function)
        self.timers.check(0, 0, 0)

    def test_what_is_discarded_does_not_come(self) -> None:
        self.timers.add(self.job, 5.0)
        self.timers.discard(self.job)
        self.timers.discard(self.function)
        self.assertIsNone(self.timers.pop_due(1e9))
        self.assertEqual(self.timers.next_due(0.0), inf)


class WallClockTests(TimersTestCase):
    def test_the_clocks_are_this_much_apart(self) -> None:
        self.timers.set_offset(3600.0, 10.0)
        self.assertEqual((self.timers.wall(5.0), self.timers.wall(0.0)), (3605.0, 0.0))
        # Whatever waits for a time by it is to be looked at.
        self.assertEqual(self.timers.deadline, 10.0)

    def test_a_job_waits_for_a_time_by_it(self) -> None:
        self.timers.set_offset(100.0, 0.0)
        self.timers.appoint(self.job, 150.0, 0.0)
        assert self.job.appointment is not None
        self.assertEqual(self.job.appointment.due, 150.0)
        self.timers.check(0, 0, 1)
        self.assertIsNone(self.timers.pop_appointment(49.0))
        self.assertIs(self.timers.pop_appointment(50.0), self.job)
        self.timers.check(0, 0, 0)

    def test_the_clock_may_be_set_meanwhile(self) -> None:
        self.timers.appoint(self.job, 1000.0, 0.0)
        self.timers.set_offset(990.0, 5.0)
        self.assertIsNone(self.timers.pop_appointment(9.0))
        self.assertIs(self.timers.pop_appointment(10.0), self.job)

    def test_while_anybody_waits_the_clock_is_looked_at(self) -> None:
        self.timers.appoint(self.job, 1000.0, 10.0)
        self.assertEqual(self.timers.deadline, 10.0 + LOOK_SECONDS)
        self.assertEqual(self.timers.next_due(20.0), 20.0 + LOOK_SECONDS)
        self.assertEqual(self.timers.next_due(999.5), 1000.0)
        self.timers.add(self.function, 20.5)
        self.assertEqual(self.timers.next_due(20.0), 20.5)
        soon = make_job(number=2)
        self.timers.appoint(soon, 10.25, 10.0)
        self.assertEqual(self.timers.deadline, 10.25)

    def test_who_waits_no_more(self) -> None:
        """Whichever of the two it was, or both."""
        self.timers.appoint(self.job, 1000.0, 0.0)
        self.timers.add(self.job, 500.0)
        self.timers.cancel(self.job)
        self.assertEqual((self.job.appointment, self.job.due), (None, 0.0))
        self.timers.cancel(self.job)
        self.timers.check(0, 0, 0)
        self.assertEqual((self.timers.pop_due(1e9), self.timers.pop_appointment(1e9)), (None, None))


class CheckTests(TimersTestCase):
    def test_counts_that_do_not_agree(self) -> None:
        self.timers.add(self.job, 5.0)
        self.timers.add(self.function, 5.0)
        self.timers.appoint(make_job(number=2), 5.0, 0.0)
        self.timers.check(1, 1, 1)
        for wrong in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
            self.assertRaises(AssertionError, self.timers.check, *wrong)

"""Tests of L{txgear.broker.entries}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.entries import SLACK, Returned, Stale
from txgear.broker.model import Job
from txgear.test.support.broker import make_job


class StaleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.stale: Stale[Job] = Stale()
        self.one, self.two = make_job(number=1), make_job(number=2)

    def test_one_that_was_withdrawn_twice_and_is_there_again(self) -> None:
        """Of all its entries the last one counts."""
        for _ in range(2):
            self.stale.add(self.one)
        entries = [self.one, self.two, self.one, self.one]
        self.assertTrue(self.stale)
        self.assertEqual((self.one in self.stale, self.two in self.stale), (True, False))
        self.assertEqual(list(self.stale.without(entries)), [self.two, self.one])
        self.assertEqual([self.stale.passed(item) for item in entries], [True, False, True, False])
        self.assertFalse(self.stale)

    def test_where_there_are_none(self) -> None:
        self.assertFalse(self.stale)
        self.assertEqual(list(self.stale.without([self.one, self.one])), [self.one, self.one])

    def test_all_are_taken_out(self) -> None:
        self.stale.add(self.one)
        self.stale.clear()
        self.assertEqual(list(self.stale.without([self.one])), [self.one])


class ReturnedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.jobs = [make_job(number=number) for number in range(1, 5)]

    def test_by_their_places(self) -> None:
        returned: Returned[Job] = Returned(self.jobs[2:])
        for job in reversed(self.jobs[:2]):
            returned.add(job)
        self.assertEqual((len(returned), returned.in_order()), (4, self.jobs))
        self.assertIs(returned.first(), self.jobs[0])
        returned.remove(self.jobs[0])
        returned.remove(self.jobs[2])
        self.assertEqual((self.jobs[0] in returned, self.jobs[1] in returned), (False, True))
        self.assertIs(returned.first(), self.jobs[1])
        self.assertEqual(returned.in_order(), [self.jobs[1], self.jobs[3]])

    def test_none(self) -> None:
        self.assertIsNone(Returned[Job]().first())

    def test_one_that_comes_again_with_another_place(self) -> None:
        returned: Returned[Job] = Returned(self.jobs)
        returned.remove(self.jobs[0])
        self.jobs[0].place = 9
        returned.add(self.jobs[0])
        self.assertEqual(returned.in_order(), [*self.jobs[1:], self.jobs[0]])
        self.assertIs(returned.first(), self.jobs[1])

    def test_what_is_gone_does_not_pile_up(self) -> None:
        returned: Returned[Job] = Returned(self.jobs[:1])
        for number in range(10, 10 + 3 * SLACK):
            job = make_job(number=number)
            returned.add(job)
            returned.remove(job)
        self.assertLess(len(returned._heap), SLACK + 4)
        self.assertEqual(returned.in_order(), self.jobs[:1])

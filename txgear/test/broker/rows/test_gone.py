"""Tests of L{txgear.broker.rows.gone}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.rows.gone import MOST_GONE, Gone


class GoneTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gone = Gone()

    def test_those_that_were_asked_for_are_known(self) -> None:
        self.gone.update([3, 5])
        self.assertEqual([number in self.gone for number in (3, 4, 5)], [True, False, True])

    def test_the_last_are_remembered(self) -> None:
        for number in range(3 * MOST_GONE):
            self.gone.update([number])
            self.assertIn(number, self.gone)
            self.assertIn(max(number - MOST_GONE + 1, 0), self.gone)
        self.assertNotIn(0, self.gone)

    def test_no_more_than_twice_as_many(self) -> None:
        self.gone.update(range(10 * MOST_GONE))
        known = sum(number in self.gone for number in range(10 * MOST_GONE))
        self.assertTrue(MOST_GONE <= known <= 2 * MOST_GONE, known)

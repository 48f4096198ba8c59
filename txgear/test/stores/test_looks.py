"""Tests of L{txgear.stores.looks}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.stores.looks import SLOW, Looks


class LooksTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.looks = Looks(3.0)
        self.looks.looked(10.0, 10.5)

    def test_one_after_the_other(self) -> None:
        self.assertEqual(self.looks.since, 10.5)
        self.looks.looked(13.0, 13.0 + SLOW)
        self.looks.looked(17.0, 17.0)
        self.assertEqual(self.looks.since, 10.5)

    def test_a_slow_one(self) -> None:
        self.looks.looked(11.0, 11.01 + SLOW)
        self.assertEqual(self.looks.since, 11.01 + SLOW)

    def test_none_for_a_while(self) -> None:
        self.looks.looked(13.51, 13.6)
        self.assertEqual(self.looks.since, 13.6)

    def test_anew(self) -> None:
        self.looks.begin()
        self.looks.looked(10.6, 10.7)
        self.assertEqual(self.looks.since, 10.7)

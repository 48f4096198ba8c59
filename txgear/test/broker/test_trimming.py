"""Tests of L{txgear.broker.trimming}."""

from __future__ import annotations

from sys import getsizeof

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.trimming import trim


class TrimTests(SynchronousTestCase):
    def test_where_nothing_is_left(self) -> None:
        table = dict.fromkeys(range(1000))
        for number in range(1000):
            del table[number]
        self.assertGreater(getsizeof(table), 10_000)
        trim(table)
        self.assertEqual(getsizeof(table), getsizeof({}))

    def test_where_little_is_left_of_much(self) -> None:
        """What is left stays as it is, in the same order, in the same dict."""
        table = {number: str(number) for number in range(1000)}
        for number in range(990):
            del table[number]
        trim(table)
        self.assertLess(getsizeof(table), 1000)
        self.assertEqual(list(table.items()), [(number, str(number)) for number in range(990, 1000)])

    def test_what_fills_its_room_is_not_copied(self) -> None:
        """However many there are: it is asked for after each job."""
        table: dict[int, None] = {}
        for number in range(3000):
            table[number] = None
            size = getsizeof(table)
            trim(table)
            self.assertEqual(getsizeof(table), size)

"""Tests of L{txgear.journal.portion}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.journal.portion import AT_ONCE, PAUSE, Portion


class PortionTests(SynchronousTestCase):
    def find(self, items: list[int], bad: set[int]) -> tuple[list[int], list[int], int]:
        """Read all of it; what was read, what was given up, and how many reads failed."""
        portion = Portion(1000)
        read: list[int] = []
        given_up: list[int] = []
        failures = 0
        while items:
            part = items[: portion.size]
            if bad.isdisjoint(part):
                portion.succeeded()
                read += part
            else:
                failures += 1
                if not portion.failed(len(part)):
                    continue
                given_up += part
            items = items[len(part) :]
        return read, given_up, failures

    def test_all_is_well(self) -> None:
        self.assertEqual(self.find(list(range(2500)), set()), (list(range(2500)), [], 0))

    def test_one_of_a_thousand_is_found(self) -> None:
        for bad in (0, 1, 499, 500, 998, 999):
            items = list(range(1000))
            read, given_up, failures = self.find(items, {bad})
            self.assertEqual((read, given_up), ([item for item in items if item != bad], [bad]))
            # Each is followed by the next at once.
            self.assertLess(failures, AT_ONCE)

    def test_several(self) -> None:
        read, given_up, _ = self.find(list(range(100)), {3, 4, 50, 99})
        self.assertEqual((len(read), given_up), (96, [3, 4, 50, 99]))

    def test_one_that_is_read_the_second_time_is_not_given_up(self) -> None:
        portion = Portion(1)
        for _ in range(3):
            self.assertFalse(portion.failed(1))
            portion.succeeded()

    def test_it_grows_again(self) -> None:
        portion = Portion(16)
        portion.failed(16)
        portion.failed(8)
        sizes = []
        for _ in range(4):
            sizes.append(portion.size)
            portion.succeeded()
        self.assertEqual(sizes, [4, 8, 16, 16])

    def test_where_nothing_can_be_read_there_are_pauses(self) -> None:
        portion = Portion(1)
        for _ in range(AT_ONCE):
            portion.failed(1)
            self.assertEqual(portion.pause, 0.0)
        portion.failed(1)
        self.assertEqual(portion.pause, PAUSE)
        portion.succeeded()
        self.assertEqual(portion.pause, 0.0)

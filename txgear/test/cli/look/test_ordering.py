"""
Tests for L{txgear.cli.look.ordering}.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.statuses import CommandError
from txgear.cli.look.ordering import in_order


def ordered(values: list[Any], down: bool = False) -> list[Any]:
    """The values in their order."""
    rows = ({"key": value, "other": "é\0"} for value in values)
    return [row["key"] for row in in_order(rows, lambda row: row["key"], down)]


class InOrderTests(SynchronousTestCase):
    def test_numbers_are_in_the_order_of_their_size(self) -> None:
        self.assertEqual(ordered([10, 9.5, 2, True]), [True, 2, 9.5, 10])
        self.assertEqual(ordered([10, 9.5, 2], down=True), [10, 9.5, 2])

    def test_text_comes_after_numbers_character_by_character(self) -> None:
        self.assertEqual(ordered(["b", "B", "10", 9, "é"]), [9, "10", "B", "b", "é"])

    def test_what_has_no_value_is_last_both_ways(self) -> None:
        self.assertEqual(ordered([None, 2, 1]), [1, 2, None])
        self.assertEqual(ordered([None, 1, 2], down=True), [2, 1, None])

    def test_what_has_parts_is_in_the_order_of_its_json(self) -> None:
        self.assertEqual(ordered([{"b": 1}, {"a": 2}]), [{"a": 2}, {"b": 1}])

    def test_those_that_are_alike_stay_in_their_order(self) -> None:
        for down in (False, True):
            rows = [{"key": 1, "number": number} for number in range(50)]
            found = [row["number"] for row in in_order(rows, lambda row: row["key"], down)]
            self.assertEqual(found, list(range(50)))

    def test_rows_come_back_whole(self) -> None:
        row = {"key": 1, "text": "a\0b\u2028é\\x", "parts": [None, {"x": [1.5]}]}
        self.assertEqual(list(in_order([row], lambda row: row["key"])), [row])

    def test_nothing(self) -> None:
        self.assertEqual(ordered([]), [])

    def test_an_error_of_who_brings_the_rows_passes(self) -> None:
        """It is not taken for one of the file."""

        def rows() -> Iterator[dict[str, int]]:
            yield {"key": 1}
            raise CommandError("the server is gone")

        error = self.assertRaises(CommandError, list, in_order(rows(), lambda row: row["key"]))
        self.assertEqual(error.text, "the server is gone")

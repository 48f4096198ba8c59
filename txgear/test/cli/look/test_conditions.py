"""
Tests for L{txgear.cli.look.conditions}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base import quantities
from txgear.cli.base.output import Column
from txgear.cli.base.statuses import MISUSED, CommandError
from txgear.cli.look.conditions import condition

COLUMNS = {
    column.name: column
    for column in (
        Column("name"),
        Column("age", show=quantities.age),
        Column("size", show=quantities.size),
        Column("paused"),
        Column("twice", of=lambda row: 2 * row["age"]),
    )
}
ROW = {"name": "a>b=c", "age": 7200.0, "size": 65536, "paused": False}


def holds(text: str, **row: Any) -> bool:
    """Whether it holds for a row."""
    return condition(text, COLUMNS)({**ROW, **row})


class ConditionTests(SynchronousTestCase):
    def test_a_pattern_is_for_all_of_the_value(self) -> None:
        self.assertTrue(holds("name=a*"))
        self.assertTrue(holds("name=a>b=c"))
        self.assertFalse(holds("name=a"))
        self.assertFalse(holds("name=A*"))
        self.assertTrue(holds("name!=a"))
        self.assertFalse(holds("name!=*c"))

    def test_it_is_for_what_is_shown_as_well(self) -> None:
        for text in ("age=2h", "age=7200", "size=64K", "size=65536", "paused=no", "twice=14400"):
            self.assertTrue(holds(text), text)

    def test_nothing_is_a_dash(self) -> None:
        self.assertTrue(holds("name=-", name=None))
        self.assertTrue(holds("name=-", name=""))
        self.assertFalse(holds("name=-", name="-x"))
        self.assertTrue(holds("name!=-"))

    def test_numbers_are_compared_by_their_size(self) -> None:
        for text in (
            "age>1h",
            "age>=2h",
            "age<=7200",
            "age<9000",
            "size>=64K",
            "size<1M",
            "age>90s",
            "twice>3h",
        ):
            self.assertTrue(holds(text), text)
        for text in ("age>2h", "age<2h", "size>64K", "age>=2.5h", "size<=65535"):
            self.assertFalse(holds(text), text)

    def test_text_is_compared_character_by_character(self) -> None:
        when = "2026-11-28T09:00:00.000Z"
        self.assertTrue(holds("name>2026-11-28T08", name=when))
        self.assertFalse(holds("name<2026-11-28T08", name=when))

    def test_nothing_is_neither_less_nor_more(self) -> None:
        for sign in ("<", ">", "<=", ">="):
            self.assertFalse(holds(f"age{sign}5", age=None))

    def test_a_number_is_not_compared_with_a_word(self) -> None:
        error = self.assertRaises(CommandError, holds, "age>old")
        self.assertEqual(error.status, MISUSED)
        self.assertIn("no number", error.text)

    def test_what_is_no_condition_is_refused(self) -> None:
        for text in ("", "age", "=5", "AGE=5", "other=5"):
            error = self.assertRaises(CommandError, condition, text, COLUMNS)
            self.assertEqual(error.status, MISUSED)
        self.assertIn("there are name, age", error.text)

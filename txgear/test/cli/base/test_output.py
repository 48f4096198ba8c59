"""
Tests for L{txgear.cli.base.output}.
"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.output import fitting, json_text, note, plain, printable, shown, write_facts
from txgear.test.cli.support import writing


class WordsTests(SynchronousTestCase):
    def test_values(self) -> None:
        for value, text in (
            (True, "yes"),
            (False, "no"),
            (1.0, "1"),
            (1.5, "1.5"),
            (7, "7"),
            ("a", "a"),
            (["a", None], '["a", null]'),
            ({"é": 1}, '{"é": 1}'),
        ):
            self.assertEqual(plain(value), text)

    def test_nothing_is_a_dash_and_what_is_called_so_is_not(self) -> None:
        self.assertEqual([shown(value) for value in (None, "", "-", "--", 0)], ["-", "-", "\\x2d", "--", "0"])

    def test_nothing_controls_a_terminal(self) -> None:
        self.assertEqual(
            printable("a\x1b[2J\r\n\t\x7f\x9bé\u2028\udc80"),
            r"a\x1b[2J\x0d\x0a\x09\x7f\xc2\x9bé\xe2\x80\xa8\udc80",
        )
        turned = printable("a\u202eb\u2066\u200f")
        self.assertEqual(turned, r"a\xe2\x80\xaeb\xe2\x81\xa6\xe2\x80\x8f")
        odd = "\x1b\x7f\x9b2J\u202e\u2028 \u00e9"
        self.assertEqual(json_text(odd), r'"\u001b\u007f\u009b2J\u202e\u2028 é"')
        self.assertEqual(json.loads(json_text(odd)), odd)
        with writing() as written:
            note("\x1b]0;x\x07")
        self.assertEqual(written.err, "\\x1b]0;x\\x07\n")


class FittingTests(SynchronousTestCase):
    def test_where_there_is_room_nothing_changes(self) -> None:
        self.assertEqual(fitting([10, 5], [4, 4], 17), (2, [10, 5]))
        self.assertEqual(fitting([10, 5], [4, 4], 16), (1, [10, 5]))

    def test_the_widest_gives_way(self) -> None:
        self.assertEqual(fitting([30, 10, 5], [8, 8, 5], 30), (1, [13, 10, 5]))
        self.assertEqual(fitting([30, 30, 5], [8, 8, 5], 30), (1, [11, 12, 5]))

    def test_what_is_narrow_stays(self) -> None:
        """Then it is too long."""
        self.assertEqual(fitting([30, 30, 5], [8, 8, 5], 10), (1, [8, 8, 5]))

    def test_huge_text(self) -> None:
        self.assertEqual(fitting([10**9, 5], [8, 5], 30), (1, [24, 5]))


class FactsTests(SynchronousTestCase):
    def test_plain(self) -> None:
        with writing() as written:
            write_facts({"a": 1, "long": None, "b": "x\ty"}, lambda name, value: f"{name}={plain(value)}")
        self.assertEqual(written.out, "a\ta=1\nlong\t-\nb\tb=x\\x09y\n")

    def test_on_a_terminal(self) -> None:
        with writing(terminal=True) as written:
            write_facts({"a": 1, "long": "[bold]w"})
        self.assertEqual([line.rstrip() for line in written.out.splitlines()], ["a     1", "long  [bold]w"])

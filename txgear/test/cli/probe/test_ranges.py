"""
Tests for L{txgear.cli.probe.ranges}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.statuses import MISUSED, CommandError
from txgear.cli.probe.ranges import MOST_DIGITS, Range, figure, number, parse_range


class RangeTests(SynchronousTestCase):
    def test_the_table_of_the_guidelines(self) -> None:
        """Each range with values that are well, and values that are not; the bounds belong to it."""
        for text, well, wrong in (
            ("10", (0, 10, 5.5), (-1, 10.1, 11)),
            ("10:", (10, 11, 1e9), (9.99, 0, -1)),
            ("~:10", (-1e9, 0, 10), (10.01, 11)),
            ("10:20", (10, 15, 20), (9, 21)),
            ("@10:20", (9, 21, -5), (10, 15, 20)),
            (":10", (0, 10), (-1, 11)),
            ("0:0", (0,), (1, -1)),
            ("-5:-1", (-5, -1), (0, -6)),
            ("@~:5", (6,), (5, -100)),
            (".5:1.5", (0.5, 1.5), (0.4, 1.6)),
        ):
            found = parse_range(text)
            self.assertEqual([value for value in well if found.wrong(value)], [], text)
            self.assertEqual([value for value in wrong if not found.wrong(value)], [], text)

    def test_units_of_time(self) -> None:
        self.assertEqual(parse_range("90s"), Range(0, 90))
        self.assertEqual(parse_range("1.5m:2h"), Range(90, 7200))
        self.assertEqual(parse_range("1d:").start, 86400)

    def test_it_is_written_without_units(self) -> None:
        for text, said in (
            ("10", "10"),
            ("5m", "300"),
            ("3:", "3:"),
            ("0:", "0:"),
            ("0:0", "0:0"),
            ("~:", "~:"),
            ("~:10", "~:10"),
            ("@1:2.5", "@1:2.5"),
        ):
            self.assertEqual(str(parse_range(text)), said)
            self.assertEqual(parse_range(str(parse_range(text))), parse_range(text))

    def test_what_is_none(self) -> None:
        for text in ("", ":", "@", "x", "10x", "1:2:3", "~", "10:~", "20:10", "1e3", "\u0661", "nan", "inf"):
            error = self.assertRaises(CommandError, parse_range, text)
            self.assertEqual(error.status, MISUSED)
            self.assertIn(repr(text), error.text)
        self.assertRaises(CommandError, parse_range, "1" * (MOST_DIGITS + 1))


class FigureTests(SynchronousTestCase):
    def test_a_figure(self) -> None:
        self.assertEqual(
            figure("mail_queued", 12, "", Range(0, 100), Range(0, 1000)), "'mail_queued'=12;100;1000;0"
        )
        self.assertEqual(figure("oldest", 1.25, "s"), "'oldest'=1.25s;;;0")

    def test_no_name_ends_it(self) -> None:
        """Neither the name, nor the list, nor the line."""
        self.assertEqual(figure("a=b'c|d\ne f", 1), "'a_b''c_d\\x0ae f'=1;;;0")

    def test_numbers_have_no_powers(self) -> None:
        self.assertEqual(number(1e21), "1000000000000000000000")
        self.assertEqual(number(0.0000004), "0")

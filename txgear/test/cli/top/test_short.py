"""Tests of L{txgear.cli.top.short}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.top import short


class ShortTests(SynchronousTestCase):
    def test_counts(self) -> None:
        for number, text in (
            (0, "0"),
            (9999, "9999"),
            (10_000, "10k"),
            (12_345, "12k"),
            (999_499, "999k"),
            (3_400_000, "3.4M"),
            (25e9, "25G"),
        ):
            self.assertEqual(short.count(number), text)

    def test_rates(self) -> None:
        for per_second, text in (
            (0, "0"),
            (0.004, "0"),
            (0.021, "0.02"),
            (3.44, "3.4"),
            (119.6, "120"),
            (12_000, "12k"),
        ):
            self.assertEqual(short.rate(per_second), text)

    def test_spans(self) -> None:
        for seconds, text in (
            (0.0031, "3ms"),
            (0.25, "0.25s"),
            (7.12, "7.1s"),
            (59, "59s"),
            (119, "119s"),
            (720, "12m"),
            (7199, "119m"),
            (108_000, "30h"),
            (345_600, "4d"),
        ):
            self.assertEqual(short.span(seconds), text)

    def test_there_is_room_for_all(self) -> None:
        """Five characters are enough for whatever a server may say."""
        for power in range(-4, 12):
            for digit in (1, 3.337, 9.994):
                number = digit * 10**power
                for said in (short.count(number), short.rate(number)):
                    self.assertLessEqual(len(said), 5, (number, said))
                if number < 8e9:
                    self.assertLessEqual(len(short.span(number)), 6, number)

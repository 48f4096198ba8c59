"""
Tests for L{txgear.cli.base.quantities}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base import quantities


class AgeTests(SynchronousTestCase):
    def test_two_units_at_the_most(self) -> None:
        for seconds, text in (
            (0, "0s"),
            (0.00012, "0.12ms"),
            (0.0123, "12.3ms"),
            (0.25, "250ms"),
            (0.9994, "999ms"),
            (0.9996, "1s"),
            (1.25, "1.25s"),
            (7.0, "7s"),
            (59.9, "59s"),
            (60, "1m"),
            (725.9, "12m5s"),
            (3600, "1h"),
            (3 * 86400 + 4 * 3600 + 59, "3d4h"),
            (86400 * 1000, "1000d"),
        ):
            self.assertEqual(quantities.age(seconds), text)


class SizeTests(SynchronousTestCase):
    def test_units(self) -> None:
        for octets, text in (
            (0, "0"),
            (17, "17"),
            (1023, "1023"),
            (3500, "3.4K"),
            (12 << 20, "12M"),
            (5 << 40, "5.0T"),
            (5 << 50, "5120T"),
        ):
            self.assertEqual(quantities.size(octets), text)


class MomentTests(SynchronousTestCase):
    def test_without_milliseconds(self) -> None:
        self.assertEqual(quantities.moment("2026-11-28T09:00:00.123Z"), "2026-11-28T09:00:00Z")
        self.assertEqual(quantities.moment("2026-11-28T09:00:00Z"), "2026-11-28T09:00:00Z")

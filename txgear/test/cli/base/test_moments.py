"""
Tests for L{txgear.cli.base.moments}.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import click
from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.moments import moment, moment_value, span_value

NOW = datetime(2026, 3, 10, 12, 0, 30)


class MomentTests(SynchronousTestCase):
    """Times of the wall clock."""

    def local(self, *parts: int) -> float:
        return datetime(*parts).timestamp()  # type: ignore[arg-type]

    def test_clock(self) -> None:
        """The next time that a clock shows it: today, or tomorrow."""
        now = NOW.timestamp()
        self.assertEqual(moment("18:30", now), self.local(2026, 3, 10, 18, 30))
        self.assertEqual(moment("8:05:07", now), self.local(2026, 3, 11, 8, 5, 7))
        self.assertEqual(moment("12:00:30", now), (NOW + timedelta(days=1)).timestamp())

    def test_dates(self) -> None:
        """Here, or where the offset says."""
        self.assertEqual(moment("2026-12-24", 0.0), self.local(2026, 12, 24))
        self.assertEqual(moment(" 2026-12-24 18:30 ", 0.0), self.local(2026, 12, 24, 18, 30))
        self.assertEqual(moment("2026-01-01T00:00:00Z", 0.0), 1767225600.0)
        self.assertEqual(moment("2026-01-01T01:00+01:00", 0.0), 1767225600.0)

    def test_seconds(self) -> None:
        """Since 1970."""
        self.assertEqual(moment("1767225600.5", 0.0), 1767225600.5)
        self.assertEqual(moment("@1767225600", 0.0), 1767225600.0)

    def test_no_times(self) -> None:
        """What is none, or beyond the calendar, is a mistake."""
        for text in ("", "soon", "25:00", "12:61", "2026-13-01", "-5", "999999999999", "1e9"):
            with self.subTest(text):
                self.assertRaises((ValueError, OverflowError), moment, text, 0.0)
                self.assertRaises(click.BadParameter, moment_value, text)

    def test_spans(self) -> None:
        """Seconds, or words."""
        self.assertEqual(span_value("1.5h"), 5400.0)
        self.assertEqual(span_value("90"), 90.0)
        self.assertRaises(click.BadParameter, span_value, "-1")

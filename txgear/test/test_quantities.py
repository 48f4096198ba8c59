"""Tests of L{txgear.quantities}."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timezone
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import PolicyError
from txgear.quantities import (
    MOST_BYTES,
    MOST_COUNT,
    MOST_SECONDS,
    brief,
    byte_words,
    count,
    duration,
    duration_text,
    fraction,
    interval,
    rate_text,
    second_words,
    size,
    size_text,
)


class QuantityTests(SynchronousTestCase):
    def assert_refused(self, parse: Callable[[Any], Any], *values: Any) -> None:
        for value in values:
            with self.assertRaises(PolicyError, msg=repr(value)) as caught:
                parse(value)
            self.assertEqual(caught.exception.key, "")
            self.assertLess(len(str(caught.exception)), 200)

    def test_times(self) -> None:
        for value, seconds in (
            (0, 0.0),
            (90, 90.0),
            (0.25, 0.25),
            ("90", 90.0),
            ("90s", 90.0),
            ("250ms", 0.25),
            ("2 m", 120.0),
            ("1.5h", 5400.0),
            ("30d", 2592000.0),
            (MOST_SECONDS, MOST_SECONDS),
            ("3650d", MOST_SECONDS),
        ):
            found = duration(value)
            self.assertEqual((found, type(found)), (seconds, float))

    def test_times_as_text(self) -> None:
        """In the largest unit that makes them whole; what has parts of a thousandth is seconds."""
        for text in ("250ms", "1s", "90s", "90m", "36h", "30d", "3650d"):
            self.assertEqual(duration_text(duration(text)), text)
        for seconds, text in ((0.0, "0s"), (0.1 + 0.2, "300ms"), (60.0, "1m"), (0.0001, "0.0001s")):
            self.assertEqual(duration_text(seconds), text)
            self.assertAlmostEqual(duration(text), seconds)

    def test_sizes_as_text(self) -> None:
        """Likewise."""
        for number, text in ((0, "0"), (1023, "1023"), (1024, "1K"), (3 << 19, "1536K"), (5 << 40, "5T")):
            self.assertEqual(size_text(number), text)
            self.assertEqual(size(text), number)
        for number, text in ((64 << 20, "64 MiB"), (2048, "2 KiB"), (1000, "1,000 bytes"), (1, "1 byte")):
            self.assertEqual(byte_words(number), text)

    def test_what_was_written_instead(self) -> None:
        """As in TOML and in JSON, at any depth, and cut where it is long."""
        for value, text in (
            (True, "true"),
            ([False, {"a": None}], "[false, {'a': null}]"),
            (datetime(2026, 11, 30, 6, tzinfo=timezone.utc), "2026-11-30T06:00:00+00:00"),
            (time(7, 30), "07:30:00"),
            (date(2026, 11, 30), "2026-11-30"),
            ("90x", "'90x'"),
            (1.5, "1.5"),
        ):
            self.assertEqual(brief(value), text)
        self.assertLess(len(brief("x" * 10**6)), 40)
        error = self.assertRaises(PolicyError, duration, True)
        self.assertIn("not true", str(error))

    def test_seconds_in_words(self) -> None:
        """One is one; a part of one is said as most people do."""
        for seconds, text in ((1.0, "1 second"), (0.5, "0.5 seconds"), (0, "0 seconds"), (90, "90 seconds")):
            self.assertEqual(second_words(seconds), text)

    def test_what_is_no_time(self) -> None:
        self.assert_refused(
            duration,
            *(-1, -0.1, True, None, [], {}, b"9s", "", "s", "-1s", "1.s", "1 y", "1h30m", " 1s", "1s\n"),
            *(float("nan"), float("inf"), MOST_SECONDS + 1, "3651d", 10**400, "9" * 13, "x" * 10**6),
        )

    def test_sizes(self) -> None:
        for value, number in (
            (0, 0),
            (65536, 65536),
            ("65536", 65536),
            ("64K", 65536),
            ("64k", 65536),
            ("64 KiB", 65536),
            ("1M", 1 << 20),
            ("1GiB", 1 << 30),
            ("2T", 2 << 40),
            (MOST_BYTES, MOST_BYTES),
            ("1024T", MOST_BYTES),
        ):
            self.assertEqual(size(value), number)

    def test_what_is_no_size(self) -> None:
        self.assert_refused(
            size,
            -1,
            1.0,
            True,
            None,
            [],
            "",
            "K",
            "-1",
            "1.5G",
            "1KB",
            "1P",
            "1025T",
            MOST_BYTES + 1,
            10**400,
        )

    def test_counts(self) -> None:
        self.assertEqual([count(0), count(7), count(MOST_COUNT)], [0, 7, MOST_COUNT])
        self.assert_refused(count, -1, 1.0, True, None, "7", [], MOST_COUNT + 1, 10**400)

    def test_fractions(self) -> None:
        self.assertEqual([fraction(0), fraction(0.5), fraction(1)], [0.0, 0.5, 1.0])
        self.assert_refused(fraction, -0.1, 1.1, True, None, "0.5", float("nan"), 10**400)

    def test_rates(self) -> None:
        for text, seconds in (("10/s", 0.1), ("100 / m", 0.6), ("1000/h", 3.6), ("5/d", 17280.0)):
            self.assertAlmostEqual(interval(text), seconds)
        self.assert_refused(interval, 10, "10", "0/s", "-1/s", "1.5/s", "1/w", "1/10s", None, True)

    def test_a_rate_is_written_in_the_first_unit_that_makes_it_whole(self) -> None:
        for text, shown in (("10/s", "10/s"), ("120/m", "2/s"), ("90/m", "90/m"), ("5/d", "5/d")):
            self.assertEqual(rate_text(interval(text)), shown)

    def test_a_part_of_a_rate(self) -> None:
        """It may be no whole number in any unit."""
        for text, servers, shown in (
            ("10/s", 3, "200/m"),
            ("100/s", 7, "14.3/s"),
            ("1/s", 7, "8.57/m"),
            ("1/m", 7, "8.57/h"),
            ("1/d", 7, "0.143/d"),
        ):
            self.assertEqual(rate_text(interval(text) * servers), shown)

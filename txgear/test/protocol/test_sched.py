"""Tests of L{txgear.protocol.sched}."""

from __future__ import annotations

import os
import time

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from txgear.errors import InvalidArgument
from txgear.protocol.sched import next_moment, parse_fields


class FieldsTests(SynchronousTestCase):
    def test_numbers_and_any(self) -> None:
        self.assertEqual(parse_fields([b"0", b"23", b"", b"012", b"6"]), [0, 23, None, 12, 6])
        self.assertEqual(parse_fields([b"59", b"0", b"31", b"1", b"0"]), [59, 0, 31, 1, 0])

    def test_out_of_bounds(self) -> None:
        for place, texts, complaint in (
            (
                0,
                (b"60", b"-1", b"+1", b"*", b"1.5", b" 1", b"00000", b"\xb2"),
                "The minute is a number from 0 to 59",
            ),
            (1, (b"24",), "The hour is a number from 0 to 23"),
            (2, (b"0", b"32"), "The day of the month is a number from 1 to 31"),
            (3, (b"0", b"13"), "The month is a number from 1 to 12"),
            (4, (b"7",), "The day of the week is a number from 0 to 6"),
        ):
            for text in texts:
                fields = [b""] * 5
                fields[place] = text
                with self.assertRaisesRegex(InvalidArgument, complaint):
                    parse_fields(fields)


class MomentTestCase(SynchronousTestCase):
    """@cvar zone: where the test takes place."""

    zone = "UTC"

    def setUp(self) -> None:
        before = os.environ.get("TZ")
        self.addCleanup(self.move, before)
        self.move(self.zone)

    def move(self, zone: str | None) -> None:
        if zone is None:
            os.environ.pop("TZ", None)
        else:
            os.environ["TZ"] = zone
        time.tzset()

    def check(self, now: str, fields: str, expected: str) -> None:
        """
        @param now: local time, to the second.
        @param fields: the five fields, C{*} for any.
        @param expected: local time, to the minute.
        """
        start = time.mktime(time.strptime(now, "%Y-%m-%d %H:%M:%S"))
        moment = next_moment([None if each == "*" else int(each) for each in fields.split()], start)
        self.assertGreater(moment, start)
        self.assertEqual(time.strftime("%Y-%m-%d %H:%M", time.localtime(moment)), expected)
        self.assertEqual(moment % 60, 0)


class MomentTests(MomentTestCase):
    def test_any_is_the_next_full_minute(self) -> None:
        self.check("2026-05-17 10:20:30", "* * * * *", "2026-05-17 10:21")
        self.check("2026-12-31 23:59:59", "* * * * *", "2027-01-01 00:00")

    def test_the_minute_that_begins_now_is_not_after_now(self) -> None:
        self.check("2026-05-17 10:20:00", "20 * * * *", "2026-05-17 11:20")
        self.check("2026-05-17 10:19:59", "20 * * * *", "2026-05-17 10:20")

    def test_an_hour(self) -> None:
        self.check("2026-05-17 10:20:30", "* 10 * * *", "2026-05-17 10:21")
        self.check("2026-05-17 10:20:30", "5 10 * * *", "2026-05-18 10:05")

    def test_a_day_of_the_month(self) -> None:
        self.check("2026-05-17 10:20:30", "0 0 31 * *", "2026-05-31 00:00")
        self.check("2026-05-31 10:20:30", "0 0 31 * *", "2026-07-31 00:00")

    def test_a_month(self) -> None:
        self.check("2026-05-17 10:20:30", "* * * 5 *", "2026-05-17 10:21")
        self.check("2026-05-17 10:20:30", "* * * 4 *", "2027-04-01 00:00")
        self.check("2026-11-17 10:20:30", "* * * 12 *", "2026-12-01 00:00")

    def test_a_day_of_the_week_counts_from_monday(self) -> None:
        self.check("2026-05-17 10:20:30", "0 8 * * 0", "2026-05-18 08:00")  # a Sunday
        self.check("2026-05-17 10:20:30", "0 12 * * 6", "2026-05-17 12:00")

    def test_both_kinds_of_day_must_match(self) -> None:
        self.check("2026-05-17 10:20:30", "0 0 13 * 4", "2026-11-13 00:00")

    def test_the_29th_of_february(self) -> None:
        self.check("2026-05-17 10:20:30", "0 0 29 2 *", "2028-02-29 00:00")
        self.check("2028-05-17 10:20:30", "0 0 29 2 1", "2056-02-29 00:00")

    def test_the_29th_of_february_across_a_year_that_is_no_leap_year(self) -> None:
        self.check("2072-03-01 00:00:00", "0 0 29 2 0", "2112-02-29 00:00")

    def test_days_that_never_come(self) -> None:
        for month_day, month in ((31, 2), (30, 2), (31, 4), (31, 11)):
            with self.assertRaisesRegex(InvalidArgument, "No day matches"):
                next_moment([0, 0, month_day, month, None], 1e9)


class ClockChangeTests(MomentTestCase):
    # Central Europe's rules, spelled out: there need not be a database of zones.
    zone = "CET-1CEST,M3.5.0,M10.5.0/3"

    def test_local_time_counts(self) -> None:
        self.assertEqual(next_moment([0, 12, 1, 7, None], 1767225600.0), 1782900000.0)  # 10:00 UTC

    def test_a_time_that_the_clock_skips_is_of_another_day(self) -> None:
        self.check("2026-03-29 01:10:00", "30 2 * * *", "2026-03-30 02:30")
        self.check("2026-03-29 01:59:00", "* * * * *", "2026-03-29 03:00")
        self.check("2026-03-28 12:00:00", "30 2 29 3 *", "2027-03-29 02:30")

    def test_a_time_that_the_clock_shows_twice_matches_the_first_time(self) -> None:
        first = 1792888200.0  # 00:30 UTC
        for asked_before in ("2026-07-01", "2026-12-01"):
            # The C library guesses from what it was asked before.
            time.mktime(time.strptime(asked_before, "%Y-%m-%d"))
            self.assertEqual(next_moment([30, 2, None, None, None], first - 3600), first)
            self.assertEqual(next_moment([30, 2, None, None, None], first), first + 25 * 3600)

    def test_between_the_two_times_both_are_over(self) -> None:
        self.assertEqual(next_moment([None, 2, 25, 10, None], 1792890000.0 - 60), 1824422400.0)


class SkippedDayTests(MomentTestCase):
    zone = "Pacific/Apia"

    def setUp(self) -> None:
        super().setUp()
        if time.localtime(1325239200.0)[2:4] != (31, 0):
            raise SkipTest("this system has no database of time zones")

    def test_a_day_that_the_calendar_skips_does_not_match(self) -> None:
        self.check("2011-12-29 13:00:00", "0 12 30 12 *", "2012-12-30 12:00")
        self.check("2011-12-29 13:00:00", "0 12 * * *", "2011-12-31 12:00")

"""
Tests for L{txgear.server.crontimes}.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice, takewhile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear.server.crontimes import check_cron, check_timezone, times
from txgear.test.server.test_schedules import BERLIN, at, shown


class TimesTests(SynchronousTestCase):
    """When a schedule runs."""

    def assert_times(self, cron: str, zone: str, after: str, *expected: str) -> None:
        found = islice(times(cron, zone, at(after)), len(expected))
        self.assertEqual([shown(seconds) for seconds in found], list(expected))

    def test_utc(self) -> None:
        """A time is after the one that was asked for, if only by a second."""
        self.assert_times("30 2 * * *", "UTC", "2026-03-01 02:29:59", "2026-03-01 02:30", "2026-03-02 02:30")
        self.assert_times("30 2 * * *", "UTC", "2026-03-01 02:30", "2026-03-02 02:30")
        self.assert_times("0 0 * * FRI", "UTC", "2026-03-01", "2026-03-06 00:00", "2026-03-13 00:00")

    def test_fractions(self) -> None:
        """Nobody runs twice within a second."""
        self.assertEqual(next(times("* * * * *", "UTC", 60.4)), 120.0)
        self.assertEqual(next(times("* * * * *", "UTC", 59.6)), 60.0)

    def test_zone(self) -> None:
        """It is that zone's clock that counts."""
        self.assert_times("30 2 * * *", BERLIN, "2026-01-01", "2026-01-01 01:30", "2026-01-02 01:30")
        self.assert_times("30 2 * * *", BERLIN, "2026-07-01", "2026-07-01 00:30", "2026-07-02 00:30")
        self.assert_times("0 0 * * *", "Asia/Kathmandu", "2026-07-01", "2026-07-01 18:15")

    def test_clocks_put_forward(self) -> None:
        """A fixed time that is skipped is made up for at once; a line for each hour simply goes on."""
        self.assert_times("30 2 * * *", BERLIN, "2026-03-28 12:00", "2026-03-29 01:00", "2026-03-30 00:30")
        self.assert_times("10,40 2 * * *", BERLIN, "2026-03-28 12:00", "2026-03-29 01:00", "2026-03-30 00:10")
        self.assert_times("30 * * * *", BERLIN, "2026-03-29 00:00", "2026-03-29 00:30", "2026-03-29 01:30")

    def test_clocks_put_back(self) -> None:
        """A fixed time that is shown twice counts the first time; a line for each hour runs both times."""
        self.assert_times("30 2 * * *", BERLIN, "2026-10-24 12:00", "2026-10-25 00:30", "2026-10-26 01:30")
        self.assert_times("30 2 * * *", BERLIN, "2026-10-25 01:10", "2026-10-26 01:30")
        self.assert_times("30 * * * *", BERLIN, "2026-10-25 00:00", "2026-10-25 00:30", "2026-10-25 01:30")

    def test_asked_for_within_the_hour_that_comes_twice(self) -> None:
        """A line for each half an hour, from within both of them, and from long before."""
        rest = [
            "2026-10-25 00:00",
            "2026-10-25 00:30",
            "2026-10-25 01:00",
            "2026-10-25 01:30",
            "2026-10-25 02:00",
        ]
        for number in range(4):
            after = shown(at(rest[number]) + 60)
            assert after is not None
            self.assert_times("*/30 * * * *", BERLIN, after, *rest[number + 1 :])
        self.assert_times("*/30 2 * * *", BERLIN, "2026-10-24 23:00", *rest[:4], "2026-10-26 01:00")

    def test_a_day_that_is_skipped(self) -> None:
        """Samoa had no 30th of December in 2011."""
        self.assert_times(
            "0 12 * * *",
            "Pacific/Apia",
            "2011-12-28 23:00",
            "2011-12-29 22:00",
            "2011-12-30 10:00",
            "2011-12-30 22:00",
        )
        self.assert_times(
            "0 */12 30 12 *", "Pacific/Apia", "2011-12-28 12:00", "2012-12-29 10:00", "2012-12-29 22:00"
        )

    def test_no_time_left(self) -> None:
        """Where there is none within the library's fifty years, it never comes."""
        self.assertEqual(list(times("0 0 */31 2 SUN#2", "UTC", 1000.0)), [])


class DebianTests(SynchronousTestCase):
    """
    What Debian's cron did.

    C{debiancron.json} was taken from real runs of Debian's C{cron}, 3.0pl1-162, under libfaketime 0.9.10,
    each from three or four hours before a change of the clocks to five or six after it, with the time
    zone in C{TZ} and the clock 120 times as fast. Each job wrote down when it ran, and a line for each
    minute told that none was left out. All moments are in UTC, and C{from} is the first minute. Where
    one stands there twice, the job was started twice.
    """

    def setUp(self) -> None:
        self.periods = json.loads(Path(__file__).with_name("debiancron.json").read_bytes())

    def runs(self) -> Iterator[tuple[str, str, float, float, list[float]]]:
        for period in self.periods:
            for line, runs in period["runs"].items():
                start, end = at(period["from"]), at(period["until"])
                yield line, period["timezone"], start, end, [at(run) for run in runs]

    def test_they_run_when_debians_do(self) -> None:
        """But for several times that are skipped at once: ours is one run for all of them."""
        for line, zone, start, end, expected in self.runs():
            found = list(takewhile(lambda moment: moment < end, times(line, zone, start - 1)))  # noqa: B023
            self.assertEqual([*map(shown, found)], [*map(shown, dict.fromkeys(expected))], f"{line} {zone}")

    def test_whenever_that_is_asked(self) -> None:
        """The next run is the same from any minute before it."""
        for line, zone, start, end, expected in self.runs():
            after = start - 1
            for following in dict.fromkeys(expected):
                while after < following:
                    self.assertEqual(
                        shown(next(times(line, zone, after))), shown(following), (line, zone, after)
                    )
                    after += 600
            self.assertGreaterEqual(next(times(line, zone, max(after, end - 1))), end)

    def test_the_table_knows_what_is_asked_of_it(self) -> None:
        """It has changes of an hour and of half of one, at midnight too, and lines that run twice at once."""
        self.assertEqual(len(self.periods), 10)
        twice = {line for line, _, _, _, runs in self.runs() if len(set(runs)) < len(runs)}
        self.assertIn("10,40 2 * * *", twice)


class CheckTests(SynchronousTestCase):
    """What makes no sense."""

    def problem(self, cron: str) -> str:
        return str(self.assertRaises(ValueError, check_cron, cron))

    def test_cron(self) -> None:
        for good in ("* * * * *", "*/5 1-3,5 L * mon-fri", "0 0 29 2 MON#5"):
            self.assertEqual(check_cron(good), good)

    def test_wrong_cron(self) -> None:
        """The field is named; a line for each second is none, nor is a day that never comes."""
        self.assertEqual(
            self.problem("0 22-2 * * *"),
            "bad hour '22-2' in '0 22-2 * * *': 0 to 23 are wanted, and ranges go upwards",
        )
        for wrong, field in (
            ("60 * * * *", "minute '60'"),
            ("0 0 0 * *", "day of the month '0'"),
            ("0 0 1 13 *", "month '13'"),
            ("0 0 * * someday", "day of the week 'someday'"),
        ):
            self.assertTrue(self.problem(wrong).startswith(f"bad {field} in"), wrong)
        for never in ("0 0 31 4 *", "0 0 */31 2 SUN#2"):
            self.assertEqual(self.problem(never), f"there is no such day, it would never run: {never!r}")
        for wrong in ("", "* * * *", "* * * * * *", "@reboot"):
            self.assertTrue(self.problem(wrong).endswith(f", not {wrong!r}"), wrong)

    def test_words_of_cron(self) -> None:
        """What they are here is said."""
        self.assertEqual(
            self.problem("@daily"),
            "five fields are wanted, as in '30 2 * * MON-FRI', not '@daily', which is '0 0 * * *'",
        )

    def test_zone(self) -> None:
        for good in ("UTC", BERLIN, "America/Argentina/Buenos_Aires"):
            self.assertEqual(check_timezone(good), good)

    def test_wrong_zone(self) -> None:
        """Whatever the library says of them."""
        for wrong in ("", "Mars", "America", "../x", "/etc/localtime", "a" * 300, "tzdata.zi"):
            error = self.assertRaises(ValueError, check_timezone, wrong)
            self.assertTrue(str(error).startswith(f"there is no time zone {wrong!r}"), wrong)

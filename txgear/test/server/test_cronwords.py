"""Tests for L{txgear.server.cronwords}."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import product

from cronsim import CronSim, CronSimError
from twisted.trial.unittest import SynchronousTestCase

from txgear.server.cronwords import in_words, remarks

MINUTES = "* 0 5 0,30 */15 */30 */45 */70 0/15 5/15 5/58 10-20 10-11 10-20/5 0-59 1-59/2 59/9"
HOURS = "* 0 4 0,12 */2 */6 */12 */30 9-17 9-17/4 0-23 5/20 23/2"
DAYS = "* 1 15 1,15 21,22,31 */2 */16 */31 1-31 1-30 1/2 5/30 1-7/9 L LW L/2 LW/5 L,15 LW,1 */1 *,5"
MONTHS = "* 1 JAN JAN,FEB 1-12 */2 */6 */13 2-4 6/9"
WEEKDAYS = "* 0 7 0,7 1-5 MON-FRI mon,wed 5-7 0-6 0-7 1-7 */2 */7 */1 1-5/2 6/3 5L MON#2 1-5,SAT#1 *,1 1#5"
DECADE = datetime(2000, 1, 1, tzinfo=timezone.utc)


DATES = [
    DECADE + timedelta(days=day)
    # In 28 years each weekday is on each date, also of leap years.
    for day in range(28 * 366)
]


def runs(cron: str) -> tuple[object, ...]:
    """What a line matches: the same for two lines that always run together."""
    sim = CronSim(cron, DECADE)
    days = tuple(date.month in sim.months and sim.match_day(date) for date in DATES)
    return frozenset(sim.minutes), frozenset(sim.hours), days


def lines(*fields: str) -> Iterator[str]:
    """The lines of all these fields that are valid."""
    for found in product(*map(str.split, fields)):
        line = " ".join(found)
        try:
            CronSim(line, DECADE)
        except CronSimError:
            continue
        yield line


class WordsTests(SynchronousTestCase):
    def test_words(self) -> None:
        for cron, expected in (
            ("* * * * *", "Every minute"),
            ("*/5 * * * *", "Every fifth minute of every hour"),
            ("30 2 * * MON-FRI", "At 02:30 on Monday through Friday"),
            ("0 0,12 1 */2 *", "At 00:00 and 12:00 on the first day of every second month"),
            ("0 0 L * *", "At 00:00 on the last day of every month"),
            ("0 0 * * 5L", "At 00:00 on the last Friday of the month"),
            ("0 0 * * mon#2", "At 00:00 on the second Monday of the month"),
            ("0 0 21,22,31 * *", "At 00:00 on the 21st, the 22nd, and the 31st day of month"),
            ("0 0 11,12 * *", "At 00:00 on the 11th and the 12th day of month"),
        ):
            self.assertEqual(in_words(cron), expected, cron)

    def test_what_cronsim_alone_would_say_wrongly(self) -> None:
        for cron, expected in (
            # Where neither field has a star, one of them is enough: all days are.
            ("0 0 1-31 * MON", "At 00:00 every day"),
            ("0 0 1 * 0-6", "At 00:00 every day"),
            ("0 0 1 * 0-7", "At 00:00 every day"),
            ("0 0 *,5 * MON", "At 00:00 on Monday"),
            ("*/70 * * * *", "At the start of every hour"),
            ("0 */30 * * *", "At 00:00 every day"),
            (
                "0 0 */31 2 SUN#2",
                "At 00:00 on the first day of month if it's on the second Sunday of the month in February",
            ),
            ("0 0 * * */2", "At 00:00 on Sunday, Tuesday, Thursday, and Saturday"),
            ("0 0 * * 0,7", "At 00:00 on Sunday"),
        ):
            self.assertEqual(in_words(cron), expected, cron)

    def test_lines_with_the_same_words_run_at_the_same_times(self) -> None:
        """What is said of a line is said of no line that runs at other times."""
        said = defaultdict(list)
        for line in (
            *lines(MINUTES, HOURS, "*", "*", "*"),
            *lines("0", "4", DAYS, "* 2", WEEKDAYS),
            *lines("0", "4", "* 1 L", MONTHS, "* MON"),
        ):
            said[in_words(line)].append(line)
        self.assertGreater(len(said), 500)
        for words, same in said.items():
            if len(same) > 1:
                self.assertEqual(len({runs(line) for line in same}), 1, (words, same))


class RemarksTests(SynchronousTestCase):
    def test_a_skipped_time(self) -> None:
        self.check(
            "30 2 * * *",
            0,
            "2026-03-29 the clock there goes from 02:00 to 03:00: the run for 02:30 comes at 03:00",
        )
        self.check("0,30 2 * * *", 0, "the run for 02:00, 02:30 comes at 03:00, once")
        self.check("*/30 2 * * *", 0, "no run for 02:00, 02:30")
        self.check("* 2 * * *", 0, "no run for 02:00, 02:01, 02:02 and so on")

    def test_a_time_that_comes_twice(self) -> None:
        self.check(
            "30 2 * * *",
            1,
            "2026-10-25 the clock there goes back from 03:00 to 02:00: the run for 02:30 comes once,"
            " the first time",
        )
        self.check("*/30 2 * * *", 1, "each run for 02:00, 02:30 comes twice")
        self.check("0,30 2 * * *", 1, "each run for 02:00, 02:30 comes once, the first time")
        self.check("0 */2 * * *", 1, "the run for 02:00 comes twice")

    def test_half_an_hour(self) -> None:
        self.check("0 */2 * * *", 0, "from 02:00 to 02:30: no run for 02:00", "Australia/Lord_Howe")

    def test_nothing_to_say(self) -> None:
        for cron, zone in (
            ("0 4 * * *", "Europe/Berlin"),
            ("*/5 * * * *", "Europe/Berlin"),
            ("30 2 * * *", "UTC"),
            ("30 2 * * *", "Asia/Tokyo"),
            ("30 2 1 1 *", "Europe/Berlin"),
        ):
            self.assertEqual(remarks(cron, zone, self.after), [], (cron, zone))

    after = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()

    def check(self, cron: str, which: int, expected: str, zone: str = "Europe/Berlin") -> None:
        found = remarks(cron, zone, self.after)[which]
        self.assertTrue(found.text.endswith(expected), found.text)
        self.assertGreater(found.at, self.after)

"""Tests of L{txgear.broker.words}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.words import clock, number, span, verb

NOON = 1_800_014_400.0
"""2027-01-15, 12:00:00 UTC."""


class ClockTests(SynchronousTestCase):
    def test_within_an_hour_the_second_counts(self) -> None:
        self.assertEqual(clock(NOON + 127, NOON), "12:02:07 UTC")
        self.assertEqual(clock(NOON - 3599, NOON), "11:00:01 UTC")

    def test_on_the_same_day_the_minute_does(self) -> None:
        self.assertEqual(clock(NOON - 3 * 3600 + 610, NOON), "09:10 UTC")

    def test_on_another_day_that_is_said(self) -> None:
        self.assertEqual(clock(NOON - 86400, NOON), "2027-01-14 12:00 UTC")
        # Midnight is near, but not today.
        self.assertEqual(clock(NOON + 43200, NOON + 43190), "2027-01-16 00:00 UTC")

    def test_what_no_calendar_has_is_its_end(self) -> None:
        self.assertEqual(clock(1e300, NOON), "9999-12-31 23:59 UTC")
        self.assertEqual(clock(1e300, 1e300), "23:59:59 UTC")


class SpanTests(SynchronousTestCase):
    def test_spans(self) -> None:
        for seconds, words in (
            (-3.0, "less than 1 s"),
            (0.4, "less than 1 s"),
            (4.9, "4 s"),
            (119, "119 s"),
            (120, "2 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (11520, "3 h 12 min"),
            (43200, "12 h"),
            (90000, "1 d 1 h"),
            (86400 * 12 + 7200, "12 d"),
        ):
            self.assertEqual(span(seconds), words)


class NumberTests(SynchronousTestCase):
    def test_one_and_several(self) -> None:
        self.assertEqual((number(1, "job"), number(1200, "job")), ("1 job", "1,200 jobs"))
        self.assertEqual(number(0, "identity", "identities"), "0 identities")
        self.assertEqual((verb(1, "waits", "wait"), verb(0, "waits", "wait")), ("waits", "wait"))

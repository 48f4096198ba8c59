"""Tests of L{txgear.web.api.orders}: what is not seen by requests."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear import policies
from txgear.errors import InvalidArgument
from txgear.quantities import LAST_SECOND
from txgear.web.api.orders import (
    SETTINGS,
    header_name,
    moment,
    seconds_of,
    settings_in_headers,
)


class SettingTests(SynchronousTestCase):
    def test_all_that_a_job_can_have(self) -> None:
        """The API takes what SUBMIT_JOB_OPTIONS takes."""
        self.assertEqual(set(SETTINGS), set(policies._JOB_SETTINGS))

    def test_headers(self) -> None:
        self.assertEqual(header_name("unique_for"), "Txgear-Unique-For")

    def test_others_are_for_others(self) -> None:
        self.assertEqual(settings_in_headers([("Host", "x"), ("X-Txgear-Retries", "3")]), {})


class MomentTests(SynchronousTestCase):
    def test_bounds(self) -> None:
        for value in (0, 0.5, LAST_SECOND, "0", "1.5", str(LAST_SECOND)):
            self.assertEqual(moment(value), float(value))
        for wrong in (-1, LAST_SECOND + 1, float("nan"), float("inf"), "", "x", "1e5", "0x10", "10 s"):
            self.assertRaises(InvalidArgument, moment, wrong)

    def test_forms(self) -> None:
        for text in (
            "2001-09-09T01:46:40Z",
            " 2001-09-09T01:46:40Z ",
            "2001-09-09 01:46:40Z",
            "2001-09-09t03:46:40+02:00",
            "2001-09-09T03:46:40 02:00",
            "2001-09-09T01:46:40.000Z",
        ):
            self.assertEqual(moment(text), 1_000_000_000.0, text)
        for wrong in ("2001-09-09", "2001-09-09T01:46:40", "2001-09-09 01:46:40", "2001-13-09T01:46:40Z"):
            self.assertRaises(InvalidArgument, moment, wrong)


class SecondsTests(SynchronousTestCase):
    def test_words_and_numbers(self) -> None:
        for value, seconds in ((5, 5.0), ("5", 5.0), ("0.5", 0.5), ("1.5h", 5400.0)):
            self.assertEqual(seconds_of("delay", value), seconds)
        for wrong in (-1, "-1", "", "soon", float("nan"), 10**12):
            error = self.assertRaises(InvalidArgument, seconds_of, "delay", wrong)
            self.assertTrue(error.text.startswith("delay: "))

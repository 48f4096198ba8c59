"""
Tests for L{txgear.cli.probe.judging}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.statuses import MISUSED, CommandError
from txgear.cli.probe.judging import (
    CRITICAL,
    OK,
    UNKNOWN,
    WARNING,
    Problem,
    Rules,
    Threshold,
    missing,
    of_server,
    parse_threshold,
    sums,
    worst,
)
from txgear.cli.probe.ranges import Range


def function(name: str = "mail", **facts: Any) -> dict[str, Any]:
    """A function, as the API has it."""
    usual = {"queued": 0, "running": 0, "waiting": 0, "workers": 1, "dead": 0, "kept": 0}
    return {"function": name, **usual, "oldest": None, "paused": False, **facts}


def rules(*texts: str, workers_wanted: bool = False) -> Rules:
    """Of C{w:THRESHOLD} and C{c:THRESHOLD}."""
    statuses = {"w": WARNING, "c": CRITICAL}
    return Rules([parse_threshold(text[2:], statuses[text[0]], "queued") for text in texts], workers_wanted)


class ThresholdTests(SynchronousTestCase):
    def test_forms(self) -> None:
        for text, made in (
            ("100", ("queued", "*", Range(0, 100))),
            ("oldest=5m", ("oldest", "*", Range(0, 300))),
            ("queued@mail.*=@1:2", ("queued", "mail.*", Range(1, 2, True))),
            ("workers@a=b@c=3:", ("workers", "a=b@c", Range(3, float("inf")))),
            ("0", ("queued", "*", None)),
            ("dead=0:0", ("dead", "*", Range(0, 0))),
        ):
            self.assertEqual(parse_threshold(text, WARNING, "queued"), Threshold(WARNING, *made))

    def test_what_is_none(self) -> None:
        for text in ("size=1", "queued@=1", "=1", "queued@mail.*", ""):
            error = self.assertRaises(CommandError, parse_threshold, text, WARNING, "queued")
            self.assertEqual(error.status, MISUSED)


class RulesTests(SynchronousTestCase):
    def test_critical_before_a_warning(self) -> None:
        """A figure that is both is said once."""
        of = rules("w:10", "c:100", "w:oldest=1m")
        self.assertEqual(list(of.problems(function(queued=10))), [])
        self.assertEqual(
            list(of.problems(function(queued=11))), [Problem(WARNING, "mail has queued 11 (10)")]
        )
        self.assertEqual(
            list(of.problems(function(queued=101, oldest=90.0))),
            [Problem(CRITICAL, "mail has queued 101 (100)"), Problem(WARNING, "mail has oldest 1m30s (60)")],
        )

    def test_the_last_that_is_for_it_counts(self) -> None:
        of = rules("w:10", "w:queued@mail.*=1000", "w:queued@mail.spam=0")
        for name, count in (("print", 1), ("mail.x", 0), ("mail.spam", 0)):
            self.assertEqual(len(list(of.problems(function(name, queued=500)))), count, name)
        self.assertEqual(len(list(of.problems(function("mail.x", queued=1001)))), 1)

    def test_nothing_in_the_queue_is_old_by_nothing(self) -> None:
        self.assertEqual(list(rules("c:oldest=1m").problems(function())), [])
        self.assertEqual(len(list(rules("c:oldest=1:").problems(function()))), 1)

    def test_a_figure_that_is_not_known_is_not_wrong(self) -> None:
        of = rules("c:wait_p95=0:0")
        self.assertEqual(list(of.problems(function(wait_p95=None))), [])
        self.assertEqual(len(list(of.problems(function(wait_p95=2.0)))), 1)

    def test_jobs_and_no_worker(self) -> None:
        lonely = function(queued=2, workers=0)
        self.assertEqual(
            list(rules().problems(lonely)), [Problem(CRITICAL, "mail has no worker, and 2 jobs wait")]
        )
        self.assertEqual(
            list(rules().problems({**lonely, "queued": 1, "paused": True})),
            [Problem(WARNING, "mail is paused, and 1 job waits")],
        )
        self.assertEqual(list(rules().problems({**lonely, "queued": 0})), [])
        wanted = rules(workers_wanted=True)
        self.assertEqual(
            list(wanted.problems({**lonely, "queued": 0})), [Problem(CRITICAL, "mail has no worker")]
        )
        self.assertEqual(len(list(wanted.problems(lonely))), 1)

    def test_figures(self) -> None:
        of = rules("w:10", "c:queued@mail=100", "c:run_p95=1m")
        found = list(of.figures_of(function(queued=3, oldest=1.5, run_p95=0.25), "a "))
        self.assertEqual(found[0], "'a mail_queued'=3;10;100;0")
        self.assertIn("'a mail_oldest'=1.5s;;;0", found)
        self.assertEqual(found[-1], "'a mail_run_p95'=0.25s;;60;0")
        self.assertFalse([each for each in found if "run_p50" in each or "rate" in each])


class WholeTests(SynchronousTestCase):
    def test_the_server(self) -> None:
        ready = {"store": "ok", "draining": "ok", "port": "ok"}
        self.assertEqual(list(of_server(ready, "")), [])
        self.assertEqual(
            list(of_server({**ready, "store": "unavailable", "draining": "draining"}, "the disk is full")),
            [
                Problem(CRITICAL, "its store is away: the disk is full"),
                Problem(WARNING, "it is about to end, and takes no jobs"),
            ],
        )
        self.assertEqual(
            list(of_server({**ready, "store": "unavailable"}, "")), [Problem(CRITICAL, "its store is away")]
        )

    def test_missing(self) -> None:
        self.assertEqual(
            list(missing(["a", "b"], [function("a")], CRITICAL)),
            [Problem(CRITICAL, "there is no function b")],
        )

    def test_sums(self) -> None:
        found = sums([function(queued=2, oldest=3.0), function(queued=1, workers=4, oldest=9.0)])
        self.assertEqual((found["queued"], found["workers"], found["oldest"]), (3, 5, 9.0))
        self.assertEqual(sums([])["oldest"], 0.0)

    def test_worst(self) -> None:
        for statuses, expected in (
            ((), OK),
            ((WARNING,), WARNING),
            ((WARNING, UNKNOWN), UNKNOWN),
            ((UNKNOWN, CRITICAL, WARNING), CRITICAL),
        ):
            self.assertEqual(worst([Problem(status, "") for status in statuses]), expected)

"""Tests of L{txgear.web.pages.policywords}."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.counts import FAILURES
from txgear.policies import CEILING, CLASSIC, REASONS
from txgear.web.pages.policywords import ENDINGS, ceiling, settings


class SettingsTests(SynchronousTestCase):
    def said(self, share: dict[str, Any] | None = None, **values: Any) -> dict[str, str]:
        return dict(settings(CLASSIC.with_settings(values), share))

    def test_nothing_is_set(self) -> None:
        self.assertEqual(self.said(), {})
        self.assertEqual(self.said(timeout=0, concurrency=0, turns=False), {})

    def test_retries(self) -> None:
        self.assertEqual(self.said(retries=1)["retries"], "A job that fails is tried again, up to 1 time.")
        self.assertEqual(self.said(retries=0)["retries"], "A job that fails is not tried again.")
        each = self.said(retries={"lost": 5, "fail": 1, "timeout": 0})["retries"]
        words = "up to 5 times where its worker went away, up to 1 time where its worker said that it failed"
        self.assertEqual(each, f"A job is tried again {words}.")
        self.assertEqual(self.said(retries={"fail": 0})["retries"], "A job that fails is not tried again.")

    def test_backoff(self) -> None:
        self.assertNotIn("backoff", self.said(backoff="2s"))
        known = {
            "2s": "The next attempt comes after 2 s.",
            "250ms": "The next attempt comes after 250 ms.",
        }
        for backoff, words in known.items():
            self.assertEqual(self.said(retries=1, backoff=backoff)["backoff"], words)
        for kind, words in (("linear", "as much longer than"), ("exponential", "twice as long as")):
            table = {"kind": kind, "first": "10s", "most": "1h", "jitter": 0.1}
            self.assertEqual(
                self.said(retries=1, backoff=table)["backoff"],
                f"The next attempt comes after 10 s, each wait {words} the last, up to 1 h;"
                " chance takes off up to 10 %.",
            )

    def test_what_is_kept(self) -> None:
        dead = self.said(retries=1, dead={"keep": "7d", "jobs": 0, "bytes": 0})["dead"]
        self.assertEqual(dead, "A background job that has no attempt left is kept as dead for 7 d.")
        dead = self.said(retries=1)["dead"]
        self.assertTrue(dead.endswith("for 30 d, at most 100,000 of them and 1 GiB."), dead)
        self.assertTrue(self.said(retries=1, dead=0)["dead"].endswith("for no time."))
        results = self.said(results={"keep": "1h", "jobs": 10})["results"]
        self.assertEqual(results, "The result of a background job is kept for 1 h, at most 10 of them.")

    def test_times(self) -> None:
        self.assertEqual(
            self.said(timeout="90s", lease="5s", expires="1d", unique_for="1.5h"),
            {
                "timeout": "An attempt may take 90 s.",
                "lease": "A worker that can beat may be silent for 5 s.",
                "expires": "A job is given up that has not begun within 1 d.",
                "unique_for": "The unique of a job that is done stays taken for 1 h 30 min.",
            },
        )

    def test_bounds(self) -> None:
        self.assertEqual(
            self.said(rate="100/m", concurrency=1, max_queue=1000, max_bytes="1G", turns=True),
            {
                "rate": "100 jobs a minute may start.",
                "concurrency": "1 job may run at once.",
                "max_queue": "Submits are refused from 1,000 jobs on.",
                "max_bytes": "The workloads of all its jobs may have 1 GiB.",
                "turns": "Jobs are handed out in turns between the identities that submitted them.",
            },
        )
        burst = self.said(rate={"jobs": "10/s", "burst": 5})["rate"]
        self.assertEqual(burst, "10 jobs a second may start, 5 of them at once.")

    def test_several_servers(self) -> None:
        share = {"servers": 3, "rate": {"jobs": "200/m", "burst": 1}, "concurrency": 2}
        self.assertEqual(
            self.said(share, rate="10/s", concurrency=5),
            {
                "rate": "10 jobs a second may start, at all 3 servers of the cluster together,"
                " 200/m at this one.",
                "concurrency": "5 jobs may run at once, at all 3 servers of the cluster together,"
                " 2 at this one.",
            },
        )
        share["concurrency"] = 0
        self.assertTrue(
            self.said(share, concurrency=2)["concurrency"].endswith(", at this one when it is its turn.")
        )
        share = {"servers": 1, "rate": None, "concurrency": 5}
        words = "5 jobs may run at once, at all servers of the cluster together, 5 at this one."
        self.assertEqual(self.said(share, concurrency=5)["concurrency"], words)
        share = {"servers": 0, "rate": None, "concurrency": 0}
        words = "at all servers of the cluster together: this one has just joined them, and has to wait."
        self.assertEqual(self.said(share, concurrency=5)["concurrency"], f"5 jobs may run at once, {words}")
        said = self.said(concurrency=5, scope="server")
        self.assertEqual(said["scope"], "That is for each server of a cluster by itself.")
        self.assertNotIn("scope", self.said(timeout=5, scope="server"))

    def test_each_ending_has_words(self) -> None:
        self.assertEqual(set(ENDINGS), {*REASONS, *FAILURES})


class CeilingTests(SynchronousTestCase):
    def test_what_jobs_may_ask(self) -> None:
        self.assertEqual(
            ceiling(CEILING),
            "What jobs ask by settings of their own to be kept, of all functions together, is kept for 30 d,"
            " at most 100,000 of them and 1 GiB.",
        )

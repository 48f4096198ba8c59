"""Tests of L{txgear.server.recently}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.counts import Counts
from txgear.broker.statistics import MOST_COUNTED, Statistics
from txgear.server import turns
from txgear.server.recently import KNOWN_SECONDS, LOOK_SECONDS, Recently, Times

NO_TIMES = Times(None, None, None, None)


class RecentlyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.statistics = Statistics()
        self.counts = self.statistics.begin(b"f")
        self.cooperator = turns.cooperator(self.clock, self.clock.seconds)
        self.recently = Recently(self.statistics, self.clock, self.cooperator)
        self.recently.start()
        self.addCleanup(self.recently.stop)

    def happen(self, jobs: int, wait: float = 0.1, run: float = 1.0) -> None:
        self.counts.submitted += 2 * jobs
        self.counts.completed += jobs
        for _ in range(jobs):
            self.counts.new_waits.append(wait)
            self.counts.new_runs.append(run)
        self.counts.fail("timeout", self.clock.seconds())

    def look(self) -> None:
        """The time comes, and all pieces are done."""
        self.clock.advance(LOOK_SECONDS)
        self.clock.pump([0] * 3)

    def rates(self) -> tuple[float, ...]:
        return tuple(round(rate, 3) for rate in self.recently.rates(b"f", self.counts))

    def test_from_the_first_second(self) -> None:
        self.assertEqual(self.rates(), (0, 0, 0))
        self.assertGreater(self.recently.seconds, 0.0)
        self.clock.advance(2)
        self.happen(10)
        self.assertEqual(self.rates(), (10.0, 5.0, 0.5))
        times = self.recently.times(b"f", self.counts)
        for found, wanted in zip(times, (0.1, 0.1, 1.0, 1.0), strict=True):
            self.assertTrue(abs((found or 0.0) - wanted) <= wanted / 6, times)

    def test_what_is_long_ago_does_not_count(self) -> None:
        self.happen(1000, wait=100.0, run=100.0)
        self.look()
        self.assertEqual(self.recently.seconds, LOOK_SECONDS)
        self.assertEqual(self.rates()[1], round(1000 / LOOK_SECONDS, 3))
        self.look()
        self.assertEqual((self.rates(), self.recently.seconds), ((0, 0, 0), LOOK_SECONDS))
        self.assertEqual(self.recently.times(b"f", self.counts), NO_TIMES)
        self.clock.advance(LOOK_SECONDS / 2)
        self.happen(45)
        self.assertEqual(self.rates()[1], 1.0)
        wait = self.recently.times(b"f", self.counts).wait_p95
        self.assertLess(wait or 100.0, 1.0)

    def test_jobs_that_only_began(self) -> None:
        """An attempt that is followed by another ends no job, and has waited all the same."""
        self.happen(1)
        self.look()
        self.counts.new_waits.append(50.0)
        self.look()
        self.look()
        self.assertEqual(self.recently.times(b"f", self.counts), NO_TIMES)
        self.counts.new_waits.append(0.001)
        self.clock.advance(KNOWN_SECONDS)
        self.assertLess(self.recently.times(b"f", self.counts).wait_p95 or 1.0, 0.01)

    def test_times_are_known_for_some_seconds(self) -> None:
        self.happen(1, wait=0.1)
        first = self.recently.times(b"f", self.counts)
        self.happen(1000, wait=50.0)
        self.assertIs(self.recently.times(b"f", self.counts), first)
        self.clock.advance(KNOWN_SECONDS)
        self.assertGreater(self.recently.times(b"f", self.counts).wait_p50 or 0.0, 40.0)

    def test_nothing_new_is_kept_of_who_does_nothing(self) -> None:
        self.happen(1)
        self.look()
        kept = self.recently._later[b"f"]
        self.look()
        self.assertIs(self.recently._later[b"f"], kept)

    def test_a_function_that_was_forgotten_meanwhile(self) -> None:
        """One of its name begins anew."""
        self.happen(100)
        self.look()
        self.look()
        self.statistics.end(b"f", self.counts)
        for place in range(MOST_COUNTED):
            self.statistics.begin(b"%d" % place)
        self.assertNotIn(b"f", self.statistics.by_name)
        self.recently.times(b"f", self.counts)
        self.counts = Counts()
        self.clock.advance(KNOWN_SECONDS / 2)
        self.happen(int(self.recently.seconds))
        self.assertEqual(self.rates()[1], round(int(self.recently.seconds) / self.recently.seconds, 3))
        self.assertNotEqual(self.recently.times(b"f", self.counts), NO_TIMES)

    def test_the_end(self) -> None:
        self.recently.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        with capturedLogs() as events:
            self.recently.start()
            self.clock.advance(LOOK_SECONDS)
            self.cooperator.stop()
            self.clock.pump([0] * 3)
        self.assertEqual(events, [])

    def test_a_defect(self) -> None:
        self.statistics.by_name[b"f"] = None  # type: ignore[assignment]
        with capturedLogs() as events:
            self.look()
        self.assertIn("is not known", events[0]["log_format"])
        self.flushLoggedErrors(AttributeError)

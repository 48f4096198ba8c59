"""Tests of L{txgear.server.lag}."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txgear.server.lag import BEAT, KEPT, PARTS, SPAN, Lag


class HeldClock(Clock):
    """A clock like a reactor's: what holds it makes all timers late."""

    def hold(self, seconds: float, then: Callable[[], object] = lambda: None) -> None:
        """Time passes, and no timer is called before it has."""
        self.rightNow += seconds
        then()
        self.advance(0)


class LagTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = HeldClock()
        self.clock.advance(1000)
        self.lag = Lag(self.clock)

    def test_a_reactor_that_is_in_time_has_none(self) -> None:
        self.lag.start()
        self.clock.pump([BEAT] * 10)
        self.assertEqual((self.lag.last, self.lag.worst()), (0.0, 0.0))
        self.assertEqual(self.lag.measured.counts[0], 10)

    def test_by_how_much_it_was_held(self) -> None:
        self.lag.start()
        self.clock.hold(BEAT + 0.3)
        self.assertAlmostEqual(self.lag.last, 0.3)
        self.assertAlmostEqual(self.lag.measured.sum, 0.3)
        self.assertEqual(sum(self.lag.measured.counts), 1)
        # The next one is measured from there on.
        self.clock.advance(BEAT)
        self.assertAlmostEqual(self.lag.last, 0.0)
        self.assertAlmostEqual(self.lag.worst(), 0.3)

    def test_the_worst_is_remembered_for_a_minute(self) -> None:
        self.lag.start()
        self.clock.hold(BEAT + 2.0)
        self.clock.hold(BEAT + 0.5)
        beats = [BEAT] * int(SPAN / BEAT)
        self.clock.pump(beats[:-20])
        self.assertAlmostEqual(self.lag.worst(), 2.0)
        self.clock.pump([BEAT] * int(20 + 2 * SPAN / PARTS / BEAT))
        self.assertEqual(self.lag.worst(), 0.0)

    def test_the_last_ten_minutes(self) -> None:
        self.assertEqual(self.lag.recent(), [None] * KEPT)
        self.lag.start()
        self.clock.hold(BEAT + 2.0)
        self.assertAlmostEqual(self.lag.recent()[-1] or 0.0, 2.0)
        self.clock.pump([BEAT] * int(SPAN / BEAT))
        recent = self.lag.recent()
        self.assertAlmostEqual(recent[-PARTS - 1] or 0.0, 2.0)
        self.assertEqual(recent[-PARTS:], [0.0] * PARTS)
        self.assertEqual(recent[: -PARTS - 1], [None] * (KEPT - PARTS - 1))
        self.clock.pump([BEAT] * int(11 * SPAN / BEAT))
        self.assertEqual((self.lag.recent(), len(self.lag._worst)), ([0.0] * KEPT, KEPT))

    def test_one_that_is_under_way_counts(self) -> None:
        self.lag.start()
        seen: list[float] = []
        self.clock.hold(BEAT + 1.0, lambda: seen.append(self.lag.worst()))
        self.assertAlmostEqual(seen[0], 1.0)

    def test_it_measures_only_between_start_and_stop(self) -> None:
        self.lag.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.lag.start()
        self.lag.start()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.lag.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.hold(10)
        self.assertEqual((self.lag.last, self.lag.worst()), (0.0, 0.0))

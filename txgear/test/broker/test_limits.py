"""Tests of L{txgear.broker.limits}."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.limits import Bucket, Throttle
from txgear.policies import Rate


class BucketTests(SynchronousTestCase):
    def test_a_token_at_a_time(self) -> None:
        """As many as there are, at the moments at which they come."""
        bucket = Bucket()
        self.assertTrue(bucket.take(100.0))
        bucket.set_rate(Rate(10.0, 3), 100.0)
        taken = [now for now in (100.0, 100.0, 100.0, 109.9, 110.0, 119.9, 125.0, 129.9) if bucket.take(now)]
        self.assertEqual(taken, [100.0, 100.0, 100.0, 110.0, 125.0])
        self.assertEqual([bucket.take(200.0) for _ in range(4)], [True, True, True, False])


class ThrottleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.throttle = Throttle()

    def start(self, count: int, now: float) -> None:
        for _ in range(count):
            self.throttle.started(now)

    def test_a_new_one_holds_nothing_back(self) -> None:
        self.assertFalse(self.throttle.needed)
        self.throttle.started(0.0)
        self.assertEqual((self.throttle.available(0, 0.0), self.throttle.opens()), (None, -inf))

    def test_it_says_whether_there_is_another_token(self) -> None:
        self.assertTrue(self.throttle.started(0.0))
        self.throttle.set_rate(Rate(10.0, 3), 100.0)
        said = [
            self.throttle.started(now) for now in (100.0, 100.0, 100.0, 110.0, 125.0, 1000.0, 1000.0, 1000.0)
        ]
        self.assertEqual(said, [True, True, False, False, False, True, True, False])

    def test_each_reason_makes_it_needed(self) -> None:
        for name, value in (("paused", True), ("suspended", 1), ("concurrency", 1), ("rate", Rate(1.0, 1))):
            throttle = Throttle()
            setattr(throttle, name, value)
            self.assertTrue(throttle.needed)

    def test_who_paused_and_when(self) -> None:
        self.throttle.pause(5.0, "alice")
        known = self.throttle.paused, self.throttle.paused_since, self.throttle.paused_by
        self.assertEqual((known, self.throttle.available(0, 0.0)), ((True, 5.0, "alice"), 0))
        self.throttle.resume()
        known = self.throttle.paused, self.throttle.paused_since, self.throttle.paused_by
        self.assertEqual((known, self.throttle.needed), ((False, 0.0, ""), False))

    def test_nothing_starts_while_it_is_paused_or_suspended(self) -> None:
        self.throttle.concurrency = 5
        self.throttle.paused = True
        self.assertEqual(self.throttle.available(0, 0.0), 0)
        self.throttle.paused = False
        self.throttle.suspended = 2
        self.assertEqual(self.throttle.available(0, 0.0), 0)
        self.throttle.suspended = 0
        self.assertEqual(self.throttle.available(0, 0.0), 5)

    def test_as_many_run_at_once(self) -> None:
        self.throttle.concurrency = 2
        for running, room in ((0, 2), (1, 1), (2, 0), (3, 0)):
            self.assertEqual(self.throttle.available(running, 0.0), room)

    def test_the_bucket_empties_and_fills(self) -> None:
        self.throttle.set_rate(Rate(10.0, 3), 100.0)
        self.assertEqual(self.throttle.available(0, 100.0), 3)
        self.start(2, 100.0)
        self.assertEqual((self.throttle.available(0, 100.0), self.throttle.opens()), (1, 100.0))
        self.start(1, 100.0)
        self.assertEqual((self.throttle.available(0, 100.0), self.throttle.opens()), (0, 110.0))
        for now, room in ((109.9, 0), (110.0, 1), (119.9, 1), (120.0, 2), (130.0, 3), (1e9, 3)):
            self.assertEqual(self.throttle.available(0, now), room)

    def test_at_the_moment_that_was_named_there_is_a_token(self) -> None:
        """Whatever becomes of the last digits."""
        for jobs in range(1, 200):
            for burst in (1, 7):
                gate = Throttle()
                gate.set_rate(Rate(1 / jobs, burst), 0.0)
                now = 1.7e9 + jobs / 7
                for _ in range(burst):
                    gate.started(now)
                for _ in range(20):
                    self.assertEqual(gate.available(0, now), 0)
                    self.assertGreater(gate.opens(), now)
                    now = gate.opens()
                    self.assertEqual(gate.available(0, now), 1)
                    gate.started(now)

    def test_both_bounds_hold(self) -> None:
        self.throttle.concurrency = 2
        self.throttle.set_rate(Rate(1.0, 4), 0.0)
        self.assertEqual(self.throttle.available(0, 0.0), 2)
        self.start(3, 0.0)
        self.assertEqual(self.throttle.available(0, 0.0), 1)

    def test_at_another_rate_what_was_taken_stays_taken(self) -> None:
        self.throttle.set_rate(Rate(3600.0, 4), 0.0)
        self.start(3, 0.0)
        self.throttle.set_rate(Rate(1.0, 10), 0.0)
        self.assertEqual((self.throttle.available(0, 0.0), self.throttle.full), (7, 3.0))

    def test_a_slow_rate_does_not_outlast_a_fast_one(self) -> None:
        self.throttle.set_rate(Rate(86400.0, 5), 0.0)
        self.start(5, 0.0)
        self.throttle.set_rate(Rate(0.5, 1), 0.0)
        self.assertEqual((self.throttle.available(0, 0.0), self.throttle.opens()), (0, 0.5))

    def test_the_same_rate_again_changes_nothing(self) -> None:
        self.throttle.set_rate(Rate(10.0, 1), 0.0)
        self.start(1, 0.0)
        self.throttle.set_rate(Rate(10.0, 1), 5.0)
        self.assertEqual(self.throttle.opens(), 10.0)

    def test_without_a_rate_the_bucket_is_forgotten(self) -> None:
        self.throttle.set_rate(Rate(10.0, 1), 0.0)
        self.start(1, 0.0)
        self.throttle.set_rate(None, 0.0)
        self.assertEqual((self.throttle.available(0, 0.0), self.throttle.full), (None, -inf))
        self.throttle.set_rate(Rate(10.0, 1), 0.0)
        self.assertEqual(self.throttle.available(0, 0.0), 1)

    def test_a_bucket_that_is_full_needs_no_time(self) -> None:
        self.throttle.set_rate(Rate(10.0, 1), 0.0)
        self.start(1, 0.0)
        self.throttle.refill(9.9)
        self.assertEqual(self.throttle.full, 10.0)
        self.throttle.refill(10.0)
        self.assertEqual((self.throttle.full, self.throttle.available(0, 10.0)), (-inf, 1))

"""Tests of L{txgear.broker.limits}."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.limits import Gate
from txgear.broker.queues import Function
from txgear.policies import Rate


class GateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.queue = Function(b"f")
        self.gate = Gate(self.queue)

    def start(self, count: int, now: float) -> None:
        for _ in range(count):
            self.gate.started(now)

    def test_a_new_one_holds_nothing_back(self) -> None:
        self.assertFalse(self.gate.needed)
        self.gate.started(0.0)
        self.assertEqual((self.gate.room(0.0), self.gate.opens()), (None, -inf))

    def test_each_reason_makes_it_needed(self) -> None:
        for name, value in (("paused", True), ("closed", 1), ("concurrency", 1), ("rate", Rate(1.0, 1))):
            gate = Gate(self.queue)
            setattr(gate, name, value)
            self.assertTrue(gate.needed)

    def test_nothing_starts_while_it_is_paused_or_closed(self) -> None:
        self.gate.concurrency = 5
        self.gate.paused = True
        self.assertEqual(self.gate.room(0.0), 0)
        self.gate.paused = False
        self.gate.closed = 2
        self.assertEqual(self.gate.room(0.0), 0)
        self.gate.closed = 0
        self.assertEqual(self.gate.room(0.0), 5)

    def test_as_many_run_at_once(self) -> None:
        self.gate.concurrency = 2
        for running, room in ((0, 2), (1, 1), (2, 0), (3, 0)):
            self.queue.running = running
            self.assertEqual(self.gate.room(0.0), room)

    def test_the_bucket_empties_and_fills(self) -> None:
        self.gate.set_rate(Rate(10.0, 3), 100.0)
        self.assertEqual(self.gate.room(100.0), 3)
        self.start(2, 100.0)
        self.assertEqual((self.gate.room(100.0), self.gate.opens()), (1, 100.0))
        self.start(1, 100.0)
        self.assertEqual((self.gate.room(100.0), self.gate.opens()), (0, 110.0))
        for now, room in ((109.9, 0), (110.0, 1), (119.9, 1), (120.0, 2), (130.0, 3), (1e9, 3)):
            self.assertEqual(self.gate.room(now), room)

    def test_at_the_moment_that_was_named_there_is_a_token(self) -> None:
        """Whatever becomes of the last digits."""
        for jobs in range(1, 200):
            for burst in (1, 7):
                gate = Gate(self.queue)
                gate.set_rate(Rate(1 / jobs, burst), 0.0)
                now = 1.7e9 + jobs / 7
                for _ in range(burst):
                    gate.started(now)
                for _ in range(20):
                    self.assertEqual(gate.room(now), 0)
                    self.assertGreater(gate.opens(), now)
                    now = gate.opens()
                    self.assertEqual(gate.room(now), 1)
                    gate.started(now)

    def test_both_bounds_hold(self) -> None:
        self.gate.concurrency = 2
        self.gate.set_rate(Rate(1.0, 4), 0.0)
        self.assertEqual(self.gate.room(0.0), 2)
        self.start(3, 0.0)
        self.assertEqual(self.gate.room(0.0), 1)

    def test_at_another_rate_what_was_taken_stays_taken(self) -> None:
        self.gate.set_rate(Rate(3600.0, 4), 0.0)
        self.start(3, 0.0)
        self.gate.set_rate(Rate(1.0, 10), 0.0)
        self.assertEqual((self.gate.room(0.0), self.gate.full), (7, 3.0))

    def test_a_slow_rate_does_not_outlast_a_fast_one(self) -> None:
        self.gate.set_rate(Rate(86400.0, 5), 0.0)
        self.start(5, 0.0)
        self.gate.set_rate(Rate(0.5, 1), 0.0)
        self.assertEqual((self.gate.room(0.0), self.gate.opens()), (0, 0.5))

    def test_the_same_rate_again_changes_nothing(self) -> None:
        self.gate.set_rate(Rate(10.0, 1), 0.0)
        self.start(1, 0.0)
        self.gate.set_rate(Rate(10.0, 1), 5.0)
        self.assertEqual(self.gate.opens(), 10.0)

    def test_without_a_rate_the_bucket_is_forgotten(self) -> None:
        self.gate.set_rate(Rate(10.0, 1), 0.0)
        self.start(1, 0.0)
        self.gate.set_rate(None, 0.0)
        self.assertEqual((self.gate.room(0.0), self.gate.full), (None, -inf))
        self.gate.set_rate(Rate(10.0, 1), 0.0)
        self.assertEqual(self.gate.room(0.0), 1)

    def test_a_bucket_that_is_full_needs_no_time(self) -> None:
        self.gate.set_rate(Rate(10.0, 1), 0.0)
        self.start(1, 0.0)
        self.gate.refill(9.9)
        self.assertEqual(self.gate.full, 10.0)
        self.gate.refill(10.0)
        self.assertEqual((self.gate.full, self.gate.room(10.0)), (-inf, 1))

"""
Tests for L{txgear.runtime.backoff}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.runtime.backoff import MOST_SECONDS, QUICK_SECONDS, Backoff


class BackoffTests(SynchronousTestCase):
    def test_doubles(self) -> None:
        """A second, and twice as long each time, up to a minute."""
        backoff = Backoff()
        self.assertEqual(0.0, backoff.not_before)
        waits = []
        for _ in range(8):
            backoff.has_ended(100.0, 0.5)
            waits.append(backoff.not_before - 100.0)
        self.assertEqual([1, 2, 4, 8, 16, 32, MOST_SECONDS, MOST_SECONDS], waits)

    def test_for_days(self) -> None:
        """It is tried each minute for as long as it takes."""
        backoff = Backoff()
        for _ in range(2000):
            backoff.has_ended(100.0, 0.5)
        self.assertEqual((backoff.not_before, backoff.failures), (100.0 + MOST_SECONDS, 2000))

    def test_lived(self) -> None:
        """One that has lived for a while is replaced at once, and what was before is forgotten."""
        backoff = Backoff()
        backoff.has_ended(100.0, 0.0)
        backoff.has_ended(200.0, QUICK_SECONDS)
        self.assertEqual((0.0, 0), (backoff.not_before, backoff.failures))

    def test_forget(self) -> None:
        """What was wrong has been changed."""
        backoff = Backoff()
        backoff.has_ended(100.0, 0.0)
        backoff.forget()
        self.assertEqual((0.0, 0), (backoff.not_before, backoff.failures))

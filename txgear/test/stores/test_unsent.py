"""Tests of L{txgear.stores.unsent}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txgear.stores.unsent import LAST_LOOK, until_sent


class UntilSentTests(SynchronousTestCase):
    """Waiting for what a socket still has."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.looks = 0

    def wait(self, waiting: object) -> bool:
        """@param waiting: called with the time, says how many bytes wait."""

        def look() -> int:
            self.looks += 1
            return waiting(self.clock.seconds())  # type: ignore[operator, no-any-return]

        return until_sent(look, 100, 5.0, self.clock.seconds, self.clock.advance)

    def test_what_is_gone_is_not_waited_for(self) -> None:
        self.assertTrue(self.wait(lambda now: 100))
        self.assertEqual((self.looks, self.clock.seconds()), (1, 0.0))

    def test_a_near_server_has_it_in_a_moment(self) -> None:
        """A batch does not wait for as long as the looks at a slow line are apart."""
        self.assertTrue(self.wait(lambda now: 101 if now < 0.001 else 0))
        self.assertLess(self.clock.seconds(), 0.002)

    def test_a_slow_line_may_take_any_time(self) -> None:
        self.assertTrue(self.wait(lambda now: 1000 - int(now)))
        self.assertGreaterEqual(self.clock.seconds(), 900.0)
        self.assertLess(self.looks, 900 / LAST_LOOK + 20)

    def test_a_dead_line_is_given_up(self) -> None:
        self.assertFalse(self.wait(lambda now: 1000 - min(int(now), 20)))
        self.assertGreater(self.clock.seconds(), 25.0)
        self.assertLess(self.clock.seconds(), 25.1)

"""Tests of L{txgear.broker.quickacks}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.quickacks import (
    DELAYED_FROM,
    DELAYED_TO,
    FIRST_TRIAL,
    LONGEST_TRIAL,
    MOST_SUSPICIONS,
    SUSPICIONS,
    VAIN,
    QuickAcks,
    Tally,
)

DELAYED = 0.041
"""Seconds after which a packet comes that has waited for our acknowledgement."""


class QuickAcksTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tally = Tally()
        self.acks = QuickAcks(self.tally)

    def come(self, times: int, gap: float = DELAYED, round_trip: float = 0.0) -> None:
        for _ in range(times):
            self.acks.came(gap, round_trip)

    def mark(self) -> None:
        self.come(SUSPICIONS)
        self.assertTrue(self.acks.marked)

    def acknowledge(self, times: int) -> int:
        """That many packets are not answered, and what follows is not late; how many are acknowledged."""
        return [self.acks.unanswered() for _ in range(times)].count(True)

    def in_vain(self) -> None:
        """Every packet is late, whatever is done."""
        for _ in range(VAIN):
            self.assertTrue(self.acks.marked)
            self.assertTrue(self.acks.unanswered())
            self.come(1)

    def test_three_delayed_packets_mark_a_connection(self) -> None:
        self.come(SUSPICIONS - 1)
        self.assertFalse(self.acks.marked)
        self.come(1)
        self.assertTrue(self.acks.marked)

    def test_the_delay_is_that_of_an_acknowledgement(self) -> None:
        for gap in (DELAYED_FROM - 0.001, DELAYED_TO + 0.001, 1.0, 3600.0):
            self.come(10, gap)
            self.assertFalse(self.acks.marked)
        for gap in (DELAYED_FROM, DELAYED_TO, DELAYED):
            self.come(1, gap)
        self.assertTrue(self.acks.marked)

    def test_the_way_to_the_peer_is_no_delay(self) -> None:
        self.come(10, 0.040, 0.040)
        self.assertFalse(self.acks.marked)
        self.come(SUSPICIONS, 0.081, 0.040)
        self.assertTrue(self.acks.marked)

    def test_what_helps_goes_on(self) -> None:
        self.mark()
        self.assertEqual(self.acknowledge(500), 500)
        self.assertEqual((self.acks.marked, self.acks.given, self.tally.given), (True, 500, 500))

    def test_a_peer_that_works_as_long_is_let_go(self) -> None:
        self.mark()
        self.in_vain()
        self.assertFalse(self.acks.marked)

    def test_it_has_to_be_in_vain_several_times_running(self) -> None:
        self.mark()
        for _ in range(10):
            for _ in range(VAIN - 1):
                self.acks.unanswered()
                self.come(1)
            self.acknowledge(2)
        self.assertTrue(self.acks.marked)

    def test_after_it_was_in_vain_it_takes_longer_each_time(self) -> None:
        wanted = SUSPICIONS
        for _ in range(10):
            self.come(wanted - 1)
            self.assertFalse(self.acks.marked)
            self.come(1)
            self.in_vain()
            self.assertFalse(self.acks.marked)
            wanted = min(2 * wanted, MOST_SUSPICIONS)
        self.assertEqual(wanted, MOST_SUSPICIONS)

    def test_one_that_does_not_need_it_is_found_out(self) -> None:
        """Marked by chance: its packets come as soon without."""
        self.mark()
        self.assertEqual(self.acknowledge(FIRST_TRIAL), FIRST_TRIAL - 1)
        self.assertTrue(self.acks.marked)
        self.assertFalse(self.acks.unanswered())
        self.assertFalse(self.acks.marked)

    def test_one_that_needs_it_loses_a_delay_now_and_then(self) -> None:
        self.mark()
        trial = FIRST_TRIAL
        for _ in range(8):
            self.assertEqual(self.acknowledge(trial), trial - 1)
            self.come(1)
            self.assertTrue(self.acks.marked)
            trial = min(2 * trial, LONGEST_TRIAL)
        self.assertEqual(trial, LONGEST_TRIAL)
        self.assertTrue(self.acks.unanswered())

    def test_all_connections_are_counted_together(self) -> None:
        other = QuickAcks(self.tally)
        for _ in range(SUSPICIONS):
            other.came(DELAYED, 0.0)
        self.mark()
        self.assertEqual([self.acks.unanswered(), self.acks.unanswered(), other.unanswered()], [True] * 3)
        self.assertEqual((self.acks.given, other.given, self.tally.given), (2, 1, 3))

"""Tests of L{txgear.security.guesses}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.security.guesses import AT_ONCE, MOST_ADDRESSES, SECONDS, Guesses, network_of
from txgear.test.support.extras import PROPERTY, given, st


class NetworkTests(SynchronousTestCase):
    def test_of_addresses(self) -> None:
        for address, place in (
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
            ("::1", "::/64"),
            ("fe80::1%eth0", "fe80::%eth0/64"),
            ("-", "-"),
            ("", ""),
            ("C:\\pipe", "C:\\pipe"),
        ):
            self.assertEqual(network_of(address), place)


class GuessesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.guesses = Guesses()

    def answered(self, times: int, address: str = "192.0.2.1", now: float = 0.0) -> int:
        """How many of these that fail at once are answered."""
        return sum(self.guesses.failed(address, now) for _ in range(times))

    def test_the_first_are_answered(self) -> None:
        self.assertEqual(self.answered(AT_ONCE), AT_ONCE)
        self.assertEqual(self.answered(1000), 0)

    def test_one_more_each_time(self) -> None:
        self.answered(1000)
        self.assertEqual(self.answered(1000, now=SECONDS - 0.001), 0)
        self.assertEqual(self.answered(1000, now=SECONDS), 1)
        self.assertEqual(self.answered(1000, now=4 * SECONDS), 3)

    def test_it_is_as_before_after_a_while(self) -> None:
        self.answered(1000)
        self.assertEqual(self.answered(1000, now=AT_ONCE * SECONDS), AT_ONCE)
        self.assertEqual(self.answered(1000, now=1e9), AT_ONCE)

    def test_each_address_for_itself(self) -> None:
        self.answered(1000)
        self.assertEqual(self.answered(1000, "192.0.2.2"), AT_ONCE)

    def test_a_network_of_one_machine_is_one(self) -> None:
        self.assertEqual(self.answered(6, "2001:db8::1"), 6)
        self.assertEqual(self.answered(6, "2001:db8::2"), 4)
        self.assertEqual(self.answered(6, "2001:db8:0:1::2"), 6)

    def test_what_is_over_is_forgotten(self) -> None:
        self.answered(1, "192.0.2.1", 0.0)
        self.answered(2, "192.0.2.2", 1.0)
        self.answered(1, "192.0.2.3", SECONDS)
        self.assertEqual(len(self.guesses), 2)
        self.answered(1, "192.0.2.3", 1000.0)
        self.assertEqual(len(self.guesses), 1)

    def test_memory_is_bounded(self) -> None:
        """Who failed least lately is forgotten first, and who fails again is not."""
        self.answered(AT_ONCE, "first")
        self.answered(AT_ONCE, "second")
        for number in range(MOST_ADDRESSES - 2):
            self.answered(1, str(number))
        self.assertEqual(len(self.guesses), MOST_ADDRESSES)
        self.assertEqual(self.answered(1, "first"), 0)
        self.assertEqual(len(self.guesses), MOST_ADDRESSES)
        self.answered(1, "one more")
        self.assertEqual(len(self.guesses), MOST_ADDRESSES)
        self.assertEqual(self.answered(1, "first"), 0)
        self.assertEqual(self.answered(1, "second"), 1)

    @PROPERTY
    @given(st.lists(st.floats(0, 100), max_size=300))
    def test_the_rate(self, moments: list[float]) -> None:
        """In any time no more are answered than those at once, and those that the time brings."""
        guesses = Guesses()
        answered = [now for now in sorted(moments) if guesses.failed("192.0.2.1", now)]
        for first, begin in enumerate(answered):
            for last, end in enumerate(answered[first:], first):
                self.assertLessEqual(last - first + 1, AT_ONCE + (end - begin) / SECONDS + 1e-6)

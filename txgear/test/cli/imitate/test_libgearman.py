"""
Tests for L{txgear.cli.imitate.libgearman}.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.imitate.libgearman import Failure, address, atoi, murmur3, parsed, timed_out


class NumberTests(SynchronousTestCase):
    def test_atoi(self) -> None:
        """As C reads it, and as a variable of 32 bits keeps it."""
        for text, number in (
            (b"12", 12),
            (b" \t-7x", -7),
            (b"+3.5", 3),
            (b"", 0),
            (b"x1", 0),
            (b"2147483648", -(2**31)),
            (b"4294967297", 1),
            (b"9" * 40, -1),
            (b"-" + b"9" * 29, 0),
        ):
            self.assertEqual(atoi(text), number, text)
        self.assertEqual(atoi(b"-1", signed=False), 2**32 - 1)
        self.assertEqual(atoi(b"65537", 16, signed=False), 1)

    def test_murmur3(self) -> None:
        """What libgearman 1.1.20 has sent for these."""
        self.assertEqual(murmur3(b"hello"), 1067880409)
        self.assertEqual(len({murmur3(b"x" * length) for length in range(40)}), 40)


class AddressTests(SynchronousTestCase):
    def test_address(self) -> None:
        self.assertEqual(address("", ""), ("localhost", 4730))
        self.assertEqual(address("h", "0"), ("h", 4730))
        self.assertEqual(address("h", "65537"), ("h", 1))

    def test_list(self) -> None:
        self.assertEqual(parsed(None), [])
        self.assertEqual(parsed("a,b:1,:2"), [("a", 4730), ("b", 1), ("localhost", 2)])
        self.assertEqual(parsed(""), [("localhost", 4730)])


class FailureTests(SynchronousTestCase):
    def test_text(self) -> None:
        """As libgearman writes it, with the place in its source and the process."""
        where = f"libgearman/universal.cc:346: pid({os.getpid()})"
        what = "timeout reached, 2 servers were poll(), no servers were available, pipe:true"
        self.assertEqual(timed_out(2, True).text, f"gearman_wait(GEARMAN_TIMEOUT) {what} -> {where}")
        made = Failure.at("CODE", "f", "x.cc:1", "what", "system")
        self.assertEqual((made.code, made.text[:15]), ("CODE", "f(system) what "))

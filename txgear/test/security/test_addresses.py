"""
Tests of L{txgear.security.addresses}.
"""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from txgear.security.addresses import UNIX, Ranges, network


class NetworkTests(SynchronousTestCase):
    """What an operator writes."""

    def test_taken(self) -> None:
        for text in ("10.1.0.0/16", "10.1.2.3", "0.0.0.0/0", "2001:db8::/32", "::1", "::/0"):
            self.assertEqual(network(text), ip_network(text))

    def test_refused(self) -> None:
        """What would never fit an address, or a smaller one than was meant, is no network."""
        for text, words in (
            ("10.1.0.0/8", "this network is written 10.0.0.0/8"),
            ("2001:db8::1/32", "this network is written 2001:db8::/32"),
            ("::ffff:10.1.0.1", "IPv4 is written without ::ffff:"),
            ("::ffff:10.0.0.0/104", "IPv4 is written without ::ffff:"),
            ("[::1]", "does not appear to be"),
            ("10.1.0.1:4730", "does not appear to be"),
        ):
            self.assertIn(words, str(self.assertRaises(ValueError, network, text)))


class RangesTests(SynchronousTestCase):
    def test_the_smallest_range_counts(self) -> None:
        """Whatever the order in which ranges were named, the smallest one that an address is in counts."""
        named = [
            (ip_network("10.0.0.0/8"), "wide"),
            (ip_network("10.1.2.3/32"), "one"),
            (ip_network("10.1.0.0/16"), "team"),
        ]
        for order in (named, named[::-1]):
            ranges = Ranges(order)
            self.assertEqual(
                [ranges.find(address) for address in ("10.1.2.3", "10.1.2.4", "10.9.9.9", "11.0.0.1")],
                ["one", "team", "wide", None],
            )

    def test_versions_are_told_apart(self) -> None:
        """A range of IPv6 says nothing of IPv4, whatever the bits; an IPv4 address in IPv6's form is one."""
        ranges = Ranges([(ip_network("::/0"), "six"), (ip_network("127.0.0.1"), "local")])
        self.assertEqual(ranges.find("::1"), "six")
        self.assertEqual(ranges.find("fe80::1%eth0"), "six")
        self.assertEqual(ranges.find("::ffff:127.0.0.1"), "local")
        self.assertEqual(ranges.find("127.0.0.1"), "local")
        self.assertIsNone(ranges.find("127.0.0.2"))

    def test_what_is_no_address(self) -> None:
        """Who comes by a Unix socket has no address, and only the word for that is for them."""
        ranges = Ranges([(ip_network("0.0.0.0/0"), "all")])
        self.assertIsNone(ranges.find("-"))
        self.assertIsNone(ranges.find("/run/gear.sock"))
        self.assertEqual(Ranges([(UNIX, "local")]).find("-"), "local")
        self.assertIsNone(Ranges([(UNIX, "local")]).find("10.0.0.1"))

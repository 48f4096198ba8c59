"""Tests of L{txgear.protocol.constants}, and of the package's own names."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

import txgear
from txgear.protocol import constants
from txgear.protocol.packets import PACKETS, PRIVATE_PACKETS


class ConstantsTests(SynchronousTestCase):
    def test_every_packet_type_has_the_number_of_its_name(self) -> None:
        self.assertEqual(sorted(PACKETS), list(range(1, constants.LAST_TYPE + 1)))
        for number, (name, _, _) in PACKETS.items():
            self.assertEqual(getattr(constants, name), number)

    def test_the_private_ones_are_far_from_all_others(self) -> None:
        first = constants.PRIVATE + 1
        self.assertEqual(sorted(PRIVATE_PACKETS), list(range(first, first + len(PRIVATE_PACKETS))))
        self.assertEqual(constants.PRIVATE.to_bytes(4, "big"), b"TX\0\0")
        for number, (name, _, _) in PRIVATE_PACKETS.items():
            self.assertEqual(getattr(constants, name), number)

    def test_the_decoders_own_kinds_are_no_packet_types(self) -> None:
        for kind in (constants.TEXT, constants.WRONG_MAGIC, constants.MALFORMED):
            self.assertNotIn(kind, PACKETS)


class PackageTests(SynchronousTestCase):
    def test_the_public_names_are_there(self) -> None:
        for name in txgear.__all__:
            self.assertIsNotNone(getattr(txgear, name), name)
        self.assertIs(txgear.HIGH, constants.HIGH)

    def test_other_names_are_not(self) -> None:
        with self.assertRaisesRegex(AttributeError, "'txgear' has no attribute 'Handler'"):
            txgear.Handler  # noqa: B018

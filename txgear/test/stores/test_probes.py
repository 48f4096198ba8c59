"""Tests of L{txgear.stores.probes}."""

from __future__ import annotations

import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.stores.probes import PROBES, Probes, probes_for
from txgear.stores.tenure import BEAT_SECONDS, LENGTH
from txgear.test.support.extras import given, st


class FakeSocket:
    """A socket of a family, which notes what is set."""

    def __init__(self, family: socket.AddressFamily) -> None:
        self.family = family
        self.options: list[tuple[int, int, int]] = []

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.options.append((level, option, value))


class ProbesTests(SynchronousTestCase):
    def test_by_default(self) -> None:
        probes = probes_for(6.0)
        self.assertEqual(probes, Probes(4, 2, PROBES))
        self.assertEqual(probes.seconds, 12)

    @given(st.floats(1.0, 3601.0))
    def test_the_server_gives_up_first(self, patience: float) -> None:
        probes = probes_for(patience)
        self.assertGreater(probes.seconds, BEAT_SECONDS + patience)
        self.assertGreater(probes.seconds, LENGTH)
        # What Linux takes.
        self.assertLessEqual(probes.idle, 32767)
        # And PostgreSQL, in milliseconds.
        self.assertLess(1000 * probes.seconds, 2**31)

    def test_on_a_socket(self) -> None:
        """All that the system has; on one of another family nothing."""
        probes = Probes(1, 2, 3)
        asked = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        for name, value in (("TCP_KEEPIDLE", 1), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3)):
            if option := getattr(socket, name, None):
                asked.append((socket.IPPROTO_TCP, option, value))
        for family, expected in ((socket.AF_INET, asked), (socket.AF_INET6, asked), (socket.AF_UNIX, [])):
            fake: Any = FakeSocket(family)
            probes.apply(fake)
            self.assertEqual(fake.options, expected)

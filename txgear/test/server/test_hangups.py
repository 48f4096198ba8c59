"""Tests of L{txgear.server.hangups}; the kernel's part is tested with real clients."""

from __future__ import annotations

from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from txgear.server.hangups import HERE, state_of
from txgear.test.support.net import FakeTcpConnection
from txgear.test.support.server import ServerFixture


class StateTests(SynchronousTestCase):
    def test_no_socket(self) -> None:
        self.assertEqual(state_of(StringTransport()), HERE)

    def test_a_socket_that_is_closed(self) -> None:
        transport = FakeTcpConnection(
            ServerFixture().factory.buildProtocol(None), MemoryReactorClock(), descriptor=-1
        )
        self.assertEqual(state_of(transport), HERE)

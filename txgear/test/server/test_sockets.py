"""Tests of L{txgear.server.sockets}; the kernel's part is tested with real clients."""

from __future__ import annotations

from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.trial.unittest import SynchronousTestCase

from txgear.server.sockets import HERE, socket_of, state_of
from txgear.test.support.net import FakeTcpConnection
from txgear.test.support.server import ServerFixture


class SocketTests(SynchronousTestCase):
    def test_the_socket_under_a_wrapper(self) -> None:
        connection = FakeTcpConnection(Protocol(), MemoryReactorClock())
        wrapper = ProtocolWrapper(WrappingFactory(None), Protocol())
        wrapper.transport = connection
        self.assertIs(socket_of(wrapper), connection.fake)
        self.assertIsNone(socket_of(StringTransport()))


class StateTests(SynchronousTestCase):
    def test_no_socket(self) -> None:
        self.assertEqual(state_of(StringTransport()), HERE)

    def test_a_socket_that_is_closed(self) -> None:
        transport = FakeTcpConnection(
            ServerFixture().factory.buildProtocol(None), MemoryReactorClock(), descriptor=-1
        )
        self.assertEqual(state_of(transport), HERE)

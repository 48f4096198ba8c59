"""
Tests for L{txgear.net.login}: when somebody is warned that a token can be read on its way.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from OpenSSL.SSL import VERIFY_NONE, VERIFY_PEER
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from txgear.net.login import Login
from txgear.net.servers import Server
from txgear.protocol.constants import LOGIN
from txgear.protocol.packets import request
from txgear.test.support.client import ScriptedServer

TOKEN = b"txg_abcd1234_" + b"s" * 43


def callers_tls(mode: int) -> StringTransport:
    """A connection of a caller's own endpoint."""
    transport: Any = StringTransport()
    directlyProvides(transport, ISSLTransport)
    transport.getHandle = lambda: SimpleNamespace(get_verify_mode=lambda: mode)
    return cast(StringTransport, transport)


class LoginTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.login = Login(TOKEN)
        self.server = Server("gear.example:4730", ScriptedServer(Clock()))

    def warnings(self, transport: Any, server: Server | None = None) -> list[str | None]:
        with capturedLogs() as events:
            self.login.begin(server or self.server, transport)
        return [formatEvent(event) for event in events]

    def over_tcp(self, address: IAddress) -> list[str | None]:
        return self.warnings(StringTransport(peerAddress=address))

    def test_packet(self) -> None:
        self.assertEqual(request(LOGIN, TOKEN), self.login.packet)
        self.assertNotIn("sss", repr(self.login))

    def test_within_one_machine(self) -> None:
        for address in (
            IPv4Address("TCP", "127.0.0.1", 4730),
            IPv4Address("TCP", "127.1.2.3", 4730),
            IPv6Address("TCP", "::1", 4730),
            IPv6Address("TCP", "::ffff:127.0.0.1", 4730),
            UNIXAddress("/run/gear"),
        ):
            self.assertEqual([], self.over_tcp(address))

    def test_over_a_network(self) -> None:
        """It is said once for each server."""
        warning = "the token goes to {} without TLS: whoever sees the packets on the way can use it"
        self.assertEqual(
            [warning.format("gear.example:4730")], self.over_tcp(IPv4Address("TCP", "192.0.2.1", 4730))
        )
        self.assertEqual([], self.over_tcp(IPv4Address("TCP", "192.0.2.1", 4730)))
        another = Server("::2", self.server.endpoint)
        transport = StringTransport(peerAddress=IPv6Address("TCP", "2001:db8::127.0", 4730))
        self.assertEqual([warning.format("::2")], self.warnings(transport, another))

    def test_tls_of_a_caller(self) -> None:
        self.assertEqual([], self.warnings(callers_tls(VERIFY_PEER)))
        (warning,) = self.warnings(callers_tls(VERIFY_NONE))
        self.assertIn("over TLS that verifies no certificate", str(warning))

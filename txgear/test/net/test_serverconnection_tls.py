"""
Tests for L{txgear.net.serverconnection} over TLS: nothing leaves before the server has shown who it is.
"""

from __future__ import annotations

import ssl
from typing import Any

from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.logger import capturedLogs, formatEvent

from txgear.net.connector import connect_once
from txgear.net.login import Login
from txgear.net.serverconnection import Limits, ServerConnection
from txgear.net.servers import server_list
from txgear.net.watchdog import ATTEMPT_SECONDS
from txgear.protocol.constants import CAN_DO, ECHO_RES, LOGGED_IN, OPTION_RES
from txgear.protocol.packets import request
from txgear.security.clienttls import ClientTLS
from txgear.security.servername import ServerName
from txgear.test.support.clienttls import PAST, Certificates, TLSLine, TLSServer
from txgear.test.support.clock import ClockTestCase
from txgear.test.support.extras import needs

NAME = "gear.example"
GREETING = ("CAN_DO", b"f")
ECHO = ("ECHO_REQ", b"txgear")
TOKEN = b"txg_abcd1234_" + b"s" * 43


@needs("trustme")
class TLSTestCase(ClockTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.files = Certificates(self.mktemp())

    def connect(self, context: ssl.SSLContext, login: Login | None = None, **tls: Any) -> TLSLine:
        """A connection that is made, before the handshake."""
        below = TLSServer(self.clock, context)
        how = ClientTLS(**{"ca": self.files.path("ca.pem"), "name": NAME, **tls})
        (server,) = server_list(self.clock, below, how)
        self.connection = ServerConnection(self.clock, server, Limits(), [request(CAN_DO, b"f")], login)
        self.successResultOf(connect_once(self.clock, server, lambda: self.connection))
        return below.line

    def end(self) -> None:
        """Let it end, if it has not."""
        if self.connection.ended is None:
            self.connection.abort()
            self.clock.advance(0)


class VerifiedTests(TLSTestCase):
    def test_nothing_before_the_handshake(self) -> None:
        """What is sent meanwhile follows the greeting."""
        line = self.connect(self.files.server())
        self.addCleanup(self.end)
        self.connection.send(request(CAN_DO, b"g"))
        self.assertEqual([GREETING, ("CAN_DO", b"g"), ECHO], line.packets())
        line.send(ECHO_RES, b"txgear")
        self.assertTrue(self.connection.ready)
        self.connection.send(request(CAN_DO, b"h"))
        self.assertEqual([("CAN_DO", b"h")], line.packets())

    def test_the_token_before_the_greeting(self) -> None:
        line = self.connect(self.files.server(), Login(TOKEN))
        self.addCleanup(self.end)
        with capturedLogs() as events:
            self.assertEqual([("OPTION_REQ", b"txgear-1")], line.packets())
            line.send(OPTION_RES, b"txgear-1")
            self.assertEqual([("LOGIN", TOKEN)], line.packets())
        # There is nothing to warn of.
        self.assertEqual([], [formatEvent(event) for event in events])
        line.send(LOGGED_IN, b"web")
        self.assertEqual([GREETING, ECHO], line.packets())

    def test_closed(self) -> None:
        """It ends as others do; in the middle of the handshake it is cut off, and nothing leaves any more."""
        for ready in (True, False):
            line = self.connect(self.files.server())
            if ready:
                line.packets()
                line.send(ECHO_RES, b"txgear")
            self.connection.close()
            self.assertEqual(ready, not line.transport.disconnected)
            line.heard()
            self.clock.advance(0)
            self.end()


class NotVerifiedTests(TLSTestCase):
    def assert_refused(self, why: str, context: ssl.SSLContext, **tls: Any) -> None:
        """Nothing has come at the server, neither token nor greeting."""
        line = self.connect(context, Login(TOKEN), **tls)
        self.assertEqual([], line.packets())
        self.assertEqual(f"it {why}", self.connection.ended)
        self.assertFalse(self.connection.ready)

    def test_certificates(self) -> None:
        unknown = "has a certificate whose authority is not among those that are trusted"
        self.assert_refused("has a certificate that is not for gear.example", self.files.server("a.example"))
        self.assert_refused("has a certificate that has expired", self.files.server(not_after=PAST))
        self.assert_refused(unknown, self.files.server(by=self.files.stranger))
        self.assert_refused(unknown, self.files.server(), ca=None)

    def test_what_the_handshake_has_let_pass(self) -> None:
        """The name is looked at once more, and what waits to be sent does not leave."""
        line = self.connect(self.files.server())
        self.connection.send(request(CAN_DO, b"g"))
        verified = self.connection.transport
        look_again = verified.look_again  # type: ignore[union-attr]

        def look() -> str:
            verified.expected = ServerName("other.example")  # type: ignore[union-attr]
            return str(look_again())

        verified.look_again = look  # type: ignore[union-attr]
        self.assertEqual(b"", line.heard())
        self.assertEqual("it has a certificate that is not for other.example", self.connection.ended)

    def test_our_certificate(self) -> None:
        """With TLS 1.3 a server judges it when the handshake is over for us."""
        self.assert_after_handshake("it wants a certificate of this side, and was shown none")
        strange = self.files.issue("strange.pem", "me.example", by=self.files.stranger)
        self.assert_after_handshake("it does not take the certificate of this side", certificate=strange)

    def assert_after_handshake(self, why: str, **tls: Any) -> None:
        line = self.connect(self.files.server(asks=True), **tls)
        self.assertEqual([], line.packets())
        self.assertIn(why, str(self.connection.ended))

    def test_hangs_up(self) -> None:
        """Where it is no error of TLS, it is told when that was."""
        words = "Connection to the other side was lost in a non-clean fashion: Connection lost. "
        line = self.connect(self.files.server())
        line.lose(ConnectionDone())
        self.assertEqual(f"{words}(in the TLS handshake)", self.connection.ended)
        line = self.connect(self.files.server())
        line.packets()
        line.lose(ConnectionDone())
        hint = "(after the TLS handshake: it may want a certificate of this side, or another one)"
        self.assertEqual(words + hint, self.connection.ended)

    def test_hangs_up_on_the_token(self) -> None:
        """Then it is not the certificate."""
        line = self.connect(self.files.server(), Login(TOKEN))
        line.packets()
        line.send(OPTION_RES, b"txgear-1")
        line.lose(ConnectionDone())
        words = "Connection lost. (after the token was sent: it may be refused)"
        self.assertIn(words, str(self.connection.ended))

    def test_no_tls(self) -> None:
        line = self.connect(self.files.server())
        self.connection.transport.dataReceived(b"ERR unknown_command\r\n")  # type: ignore[union-attr]
        self.clock.advance(0)
        self.assertEqual("it does not speak TLS (wrong version number)", self.connection.ended)
        self.assertNotIn(b"CAN_DO", line.transport.value())

    def test_silence(self) -> None:
        """Half a handshake has the time that a first answer has."""
        self.connect(self.files.server())
        self.clock.advance(ATTEMPT_SECONDS)
        self.clock.advance(0)
        self.assertEqual("it did not answer within 10 seconds, in the TLS handshake", self.connection.ended)


class CallersEndpointTests(TLSTestCase):
    """What a caller's own endpoint verifies is the caller's affair. It is waited for."""

    def test_waited_for(self) -> None:
        below = TLSServer(self.clock, self.files.server())
        endpoint = wrapClientTLS(CertificateOptions(), below)
        (server,) = server_list(self.clock, endpoint)
        self.connection = ServerConnection(self.clock, server, Limits(), [], Login(TOKEN))
        self.addCleanup(self.end)
        self.successResultOf(connect_once(self.clock, server, lambda: self.connection))
        self.assertTrue(below.line.transport.value().startswith(b"\x16\x03"))
        self.connection.transport.factory._clock = self.clock  # type: ignore[union-attr]
        self.connection.transport._aggregator._clock = self.clock  # type: ignore[union-attr]
        with capturedLogs() as events:
            self.assertEqual([("OPTION_REQ", b"txgear-1")], below.line.packets())
            below.line.send(OPTION_RES, b"txgear-1")
            self.assertEqual([("LOGIN", TOKEN)], below.line.packets())
        (warning,) = [formatEvent(event) for event in events]
        self.assertIn("over TLS that verifies no certificate", warning)

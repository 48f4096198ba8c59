"""Tests of L{txgear.cli.ping}."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.ping import MAX_TIMEOUT, parser, ping, prepare
from txgear.errors import ConfigurationError
from txgear.net.servers import server_list
from txgear.protocol.constants import ECHO_REQ, ECHO_RES, NOOP
from txgear.protocol.packets import request, response


class PingTests(SynchronousTestCase):
    """One echo, and no more."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        [server] = server_list(self.reactor, "127.0.0.1")
        self.asked: Deferred[float] = ping(self.reactor, server, None, 3.0)

    def tearDown(self) -> None:
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def connected(self) -> tuple[Any, StringTransport]:
        factory: Any = self.reactor.tcpClients[0][2]
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        self.assertEqual(transport.value(), request(ECHO_REQ, b"txgear"))
        return protocol, transport

    def why_not(self, kind: type[Exception]) -> str:
        return str(self.failureResultOf(self.asked, kind).value)

    def test_answer(self) -> None:
        """It fires with the time that it took, and hangs up."""
        self.assertEqual(self.reactor.tcpClients[0][:2], ("127.0.0.1", 4730))
        protocol, transport = self.connected()
        self.reactor.advance(0.25)
        self.assertNoResult(self.asked)
        protocol.dataReceived(response(NOOP) + response(ECHO_RES, b"txgear"))
        self.assertEqual(self.successResultOf(self.asked), 0.25)
        self.assertTrue(transport.disconnected)
        protocol.connectionLost(Failure(ConnectionDone()))

    def test_another_echo(self) -> None:
        """What was not asked for is no answer."""
        protocol, _ = self.connected()
        protocol.dataReceived(response(ECHO_RES, b"something else"))
        self.reactor.advance(3.0)
        self.assertEqual(self.why_not(TimeoutError), "no answer within 3 seconds")
        protocol.connectionLost(Failure(ConnectionDone()))

    def test_no_connection(self) -> None:
        self.reactor.advance(3.0)
        self.assertEqual(self.why_not(TimeoutError), "no answer within 3 seconds")

    def test_refused(self) -> None:
        factory: Any = self.reactor.tcpClients[0][2]
        factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.assertIn("refused", self.why_not(Exception))

    def test_hangs_up(self) -> None:
        protocol, _ = self.connected()
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertIn("closed", self.why_not(ConnectionError))

    def test_speaks_something_else(self) -> None:
        protocol, transport = self.connected()
        protocol.dataReceived(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertTrue(transport.disconnected)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertIn("does not speak the protocol", self.why_not(ConnectionError))


class CommandLineTests(SynchronousTestCase):
    """What the words mean."""

    def prepared(self, *words: str) -> tuple[str, bool]:
        server, login = prepare(parser().parse_args(words), MemoryReactorClock())
        return server.name, login is not None

    def refusal(self, *words: str) -> str:
        return str(self.assertRaises(ConfigurationError, self.prepared, *words))

    def test_servers(self) -> None:
        for word in ("gear.example", "[::1]:4731", "unix:/run/gear.sock", "tcp:127.0.0.1:4730"):
            self.assertEqual(self.prepared(word), (word, False))
        self.assertEqual(self.prepared("--timeout", "10"), ("127.0.0.1:4730", False))
        self.assertEqual(self.prepared("--tls", "gear.example")[0], "gear.example")
        self.assertEqual(self.prepared("--tls-name=gear", "unix:/run/gear.sock")[0], "unix:/run/gear.sock")

    def test_mistakes(self) -> None:
        for number in ("0", "-1", "nan", str(MAX_TIMEOUT + 1)):
            self.assertIn("up to 10 are wanted", self.refusal(f"--timeout={number}"))
        self.assertIn("neither a host", self.refusal("127.0.0.1:0"))
        self.assertIn("a key is given, and no certificate", self.refusal("--tls-key=x"))
        self.assertIn("no-such-file", self.refusal("--tls-ca=no-such-file"))
        self.assertIn("cannot read no-such-file", self.refusal("--token-file=no-such-file"))
        self.assertIn("is not known", self.refusal("--tls", "unix:/run/gear.sock"))

    def test_tokens(self) -> None:
        """The file's first line; a mistake shows nothing of it."""
        path = self.mktemp()
        for content, good in ((f"txg_abcdefgh_{'x' * 43}\nmore", True), ("secret", False)):
            with open(path, "w", encoding="utf-8") as file:
                file.write(content)
            if good:
                self.assertEqual(self.prepared(f"--token-file={path}"), ("127.0.0.1:4730", True))
            else:
                said = self.refusal(f"--token-file={path}")
                self.assertIn("has not the form", said)
                self.assertNotIn("secret", said.replace("txg_ID_SECRET", ""))

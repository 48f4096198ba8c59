"""
Tests for L{txgear._connection} and L{txgear._arguments}: what client and worker share.
"""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

from twisted.internet._resolver import SimpleResolverComplexifier
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
)
from twisted.internet.interfaces import IReactorPluggableNameResolver
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from txgear import _arguments
from txgear._connection import Connector, Limits, Server, ServerConnection, connect_once, server_list
from txgear.constants import NO_JOB
from txgear.test.scripted import ClockTestCase, ScriptedServer
from txgear.test.support import FakeConnection
from txgear.wire import request


class ServerListTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def endpoint(self, server: str) -> Any:
        (found,) = server_list(self.reactor, server)
        self.assertEqual(server, found.name)
        return found.endpoint

    def test_addresses(self) -> None:
        """An address stands for itself, with the default port or one of its own."""
        for text, kind, host, port in (
            ("192.0.2.1", TCP4ClientEndpoint, "192.0.2.1", 4730),
            ("192.0.2.1:4731", TCP4ClientEndpoint, "192.0.2.1", 4731),
            ("::1", TCP6ClientEndpoint, "::1", 4730),
            ("[::1]", TCP6ClientEndpoint, "::1", 4730),
            ("[2001:db8::7]:4731", TCP6ClientEndpoint, "2001:db8::7", 4731),
        ):
            endpoint = self.endpoint(text)
            self.assertIsInstance(endpoint, kind)
            _ = endpoint.connect(Factory())
            self.assertEqual((host, port), self.reactor.tcpClients[-1][:2])

    def test_names(self) -> None:
        """A name is resolved at each attempt."""
        for text, port in (("gear.example", 4730), ("gear.example:4731", 4731)):
            endpoint = self.endpoint(text)
            self.assertIsInstance(endpoint, HostnameEndpoint)
            self.assertIn(f"gear.example:{port}", repr(endpoint))
        resolved: list[str] = []

        def look_up(name: str, timeout: object = None) -> Deferred[str]:
            resolved.append(name)
            return succeed(f"192.0.2.{len(resolved)}")

        names: Any = SimpleNamespace(getHostByName=look_up)
        self.reactor.nameResolver = SimpleResolverComplexifier(names)
        # Older releases of Twisted leave it to the test to say so.
        alsoProvides(self.reactor, IReactorPluggableNameResolver)
        endpoint = self.endpoint("gear.example")
        for _ in range(2):
            _ = endpoint.connect(Factory())
        self.assertEqual(["gear.example"] * 2, resolved)
        self.assertEqual(["192.0.2.1", "192.0.2.2"], [client[0] for client in self.reactor.tcpClients])

    def test_endpoint_strings(self) -> None:
        """Anything else is an endpoint string."""
        self.assertIsInstance(self.endpoint("tcp:192.0.2.1:4730"), TCP4ClientEndpoint)
        self.assertIsInstance(self.endpoint("unix:/run/gear"), UNIXClientEndpoint)
        _ = self.endpoint("tls:gear.example:4730").connect(Factory())

    def test_objects(self) -> None:
        """An endpoint is taken as it is, alone or among others."""
        endpoint = ScriptedServer(self.reactor, "mine")
        (found,) = server_list(self.reactor, endpoint)
        self.assertEqual(("mine", endpoint), (found.name, found.endpoint))
        self.assertEqual(2, len(server_list(self.reactor, ["192.0.2.1", endpoint])))

    def test_refused(self) -> None:
        """What is none of these is refused."""
        for bad in ("", ":4730", "host:0", "host:65536", "[::1]x", "[::1]:x", "[name]:1", "no such:thing"):
            self.assertRaises(ValueError, server_list, self.reactor, bad)
        self.assertRaises(ValueError, server_list, self.reactor, [])


class ConnectorTests(ClockTestCase):
    """Which server is connected next, and when."""

    def setUp(self) -> None:
        super().setUp()
        self.random = 1.0
        self.servers = [ScriptedServer(self.clock, name) for name in ("one", "two", "three")]

    def connector(self, count: int) -> Connector[ServerConnection]:
        servers = [Server(repr(endpoint), endpoint) for endpoint in self.servers[:count]]
        connector: Connector[ServerConnection] = Connector(
            self.clock, servers, self.build, lambda: self.random
        )

        def stop() -> None:
            stopped = connector.stop()
            self.clock.advance(0)
            self.successResultOf(stopped)

        self.addCleanup(stop)
        connector.start()
        connector.start()
        return connector

    def build(self, server: Server) -> ServerConnection:
        return ServerConnection(self.clock, server, Limits(), [])

    def moments(self, seconds: float) -> list[tuple[str, float]]:
        """Which server is tried when."""
        found = []
        before = [server.attempts for server in self.servers]
        for _ in range(round(seconds * 100)):
            self.clock.advance(0.01)
            for n, server in enumerate(self.servers):
                if server.attempts != before[n]:
                    before[n] = server.attempts
                    found.append((repr(server), round(self.clock.seconds(), 1)))
        return found

    def test_rounds(self) -> None:
        """All servers are tried in turn without a wait; waits double, up to ten seconds, with some chance."""
        for server in self.servers:
            server.refusing = True
        self.random = 0.0
        self.connector(3)
        self.assertEqual(
            [("two", 0.0), ("three", 0.0), ("one", 0.3), ("two", 0.3), ("three", 0.3), ("one", 0.8)],
            self.moments(1)[:6],
        )
        self.assertEqual(
            [("one", 1.8), ("one", 3.8), ("one", 7.8), ("one", 12.8), ("one", 17.8)],
            [moment for moment in self.moments(19) if moment[0] == "one"],
        )

    def test_name(self) -> None:
        """Twisted's log of attempts names the server."""
        connector = self.connector(2)
        self.assertEqual("one", str(connector))

    def test_short_success(self) -> None:
        """A server that answers and then goes at once is not tried faster and faster."""
        connector = self.connector(1)
        (server,) = self.servers[:1]
        waits = []
        for _ in range(4):
            server.line.welcome()
            connector.proved()
            server.line.lose()
            before = self.clock.seconds()
            waits.append(round(self.moments(6)[0][1] - before, 1))
        self.assertEqual([0.5, 1.0, 2.0, 4.0], waits)
        server.line.welcome()
        connector.proved()
        self.clock.advance(10)
        server.line.lose()
        before = self.clock.seconds()
        self.assertEqual(0.5, round(self.moments(6)[0][1] - before, 1))

    def test_connect_once(self) -> None:
        """An endpoint that raises is one that fails."""

        class Broken:
            def connect(self, factory: object) -> None:
                raise ZeroDivisionError

        server = Server("broken", Broken())  # type: ignore[arg-type]
        attempt = connect_once(self.clock, server, lambda: self.build(server))
        self.failureResultOf(attempt, ZeroDivisionError)


class ServerConnectionTests(ClockTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.endpoint = ScriptedServer(self.clock)
        server = Server("server", self.endpoint)
        self.connection = ServerConnection(self.clock, server, Limits(), [b"\0REQgreeting"])
        _ = connect_once(self.clock, server, lambda: self.connection)
        self.line = self.endpoint.line
        self.addCleanup(self.line.lose)

    def test_greeting(self) -> None:
        """The greeting and the first echo leave in one write; a connection can do without a subclass."""
        self.assertEqual(1, self.line.transport.writes)
        self.assertTrue(self.line.transport.value().startswith(b"\0REQgreeting\0REQ"))
        self.line.transport.clear()
        self.line.send(16 + 1, b"txgear")
        self.assertTrue(self.connection.ready)
        self.line.send(NO_JOB)
        self.assertFalse(self.line.ended)

    def test_no_packet_waits_for_the_acknowledgement_of_another(self) -> None:
        """Nagle's algorithm is off where there is TCP."""
        connection = ServerConnection(self.clock, Server("server", self.endpoint), Limits(), [])
        fake = FakeConnection(connection, MemoryReactorClock()).fake
        self.addCleanup(connection.connectionLost)
        self.assertIn((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), fake.options)

    def test_another_echo(self) -> None:
        """Only the answer to its own echo makes it ready."""
        self.line.send(17, b"other")
        self.assertFalse(self.connection.ready)

    def test_gathered(self) -> None:
        """What is sent within leaves in one write, also where one is within the other."""
        self.line.transport.clear()
        with self.connection.gathered():
            self.connection.send(request(NO_JOB))
            with self.connection.gathered():
                self.connection.send(request(NO_JOB), request(NO_JOB))
            self.assertEqual(b"", self.line.transport.value())
        self.assertEqual(2, self.line.transport.writes)

    def test_gathered_nothing(self) -> None:
        """Where nothing is sent, nothing is written."""
        with self.connection.gathered():
            pass
        self.assertEqual(1, self.line.transport.writes)

    def test_drop_once(self) -> None:
        """A connection that has been given up is not given up again."""
        self.connection.close()
        self.connection.drop("is slow")
        self.assertFalse(self.line.transport.disconnected)

    def test_unanswered(self) -> None:
        """A connection without a subclass has nothing to learn from a missing answer."""
        self.line.transport.clear()
        self.line.send(17, b"txgear")
        self.connection.waits_for_answer(True)
        for _ in range(6):
            self.clock.advance(10)
            self.line.send(17, b"")
        self.assertTrue(self.line.ended)


class ArgumentTests(SynchronousTestCase):
    """What is not seen in the tests of client and worker."""

    def test_absent(self) -> None:
        """A signature in the documentation shows what stands for "not given"."""
        self.assertEqual("ABSENT", repr(_arguments.ABSENT))

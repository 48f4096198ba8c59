"""
Tests for L{txgear.net.connector}: which server is connected next, and when, and which problems are reported.
"""

from __future__ import annotations

from itertools import product

from twisted.internet.defer import Deferred

from txgear.net.connector import Connector, connect_once
from txgear.net.serverconnection import Limits, ServerConnection
from txgear.net.servers import Server
from txgear.test.support.client import ScriptedServer
from txgear.test.support.clock import ClockTestCase


class ConnectorTests(ClockTestCase):
    """Which server is connected next, and when."""

    def setUp(self) -> None:
        super().setUp()
        self.random = 1.0
        self.problems: list[tuple[str, str]] = []
        self.servers = [ScriptedServer(self.clock, name) for name in ("one", "two", "three")]

    def connector(self, count: int) -> Connector[ServerConnection]:
        servers = [Server(repr(endpoint), endpoint) for endpoint in self.servers[:count]]
        connector: Connector[ServerConnection] = Connector(
            self.clock,
            servers,
            self.build,
            lambda server, why: self.problems.append((server.name, why)),
            lambda: self.random,
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

    def test_patience(self) -> None:
        """Who has little of it tries again soon, each time."""
        (server,) = self.servers[:1]
        server.refusing = True
        self.connector(1).patience = 1.0
        waits = [moment for _, moment in self.moments(6)]
        self.assertEqual([0.5, 1.5, 2.5, 3.5, 4.5, 5.5], waits)

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

    def test_why(self) -> None:
        """A reason is reported once, and again when it is another one, or after the server has answered."""
        one, two = self.servers[:2]
        one.refusing = two.hanging = True
        connector = self.connector(2)
        refused = ("one", "Connection was refused by other side.")
        late = ("two", "no connection within 10 seconds")
        self.assertEqual([refused], self.problems)
        self.moments(60)
        self.assertEqual([refused, late], self.problems)
        one.refusing = False
        self.moments(60)
        silent = ("one", "it did not answer within 10 seconds")
        self.assertEqual([refused, late, silent], self.problems)
        while one.line.ended:
            self.clock.advance(0.1)
        one.line.welcome()
        connector.proved()
        one.refusing = True
        one.line.lose()
        self.assertEqual([refused, late, silent], self.problems)
        self.moments(60)
        self.assertEqual([refused, late, silent, refused], self.problems)

    def test_stopped_when_told(self) -> None:
        """The callback for problems may stop it."""
        self.servers[0].refusing = True
        stopping: list[Deferred[None]] = []
        connector = Connector(
            self.clock,
            [Server("one", self.servers[0])],
            self.build,
            lambda server, why: stopping.append(connector.stop()),
            lambda: self.random,
        )
        connector.start()
        self.successResultOf(stopping[0])
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_too_late(self) -> None:
        """The connection of an attempt that could not be stopped is not wanted any more."""
        (server,) = self.servers[:1]
        server.stubborn = True
        connector = self.connector(1)
        self.successResultOf(connector.stop())
        self.assertFalse(server.go_on())
        connector.start()
        self.assertTrue(server.go_on())
        server.line.lose()
        self.clock.pump([1] * 11)
        self.assertFalse(server.go_on())

    def test_leave(self) -> None:
        """The next server is connected at once, and the connection to the last one stays until it ends."""
        connector = self.connector(2)
        one, two = self.servers[:2]
        one.line.welcome()
        connector.proved()
        self.clock.advance(10)
        connector.leave()
        connector.leave()
        self.assertEqual([("two", 10.0)], self.moments(5))
        self.assertFalse(one.line.ended)
        self.assertEqual(2, len(connector.connections))
        one.line.lose()
        self.assertEqual({two.line.protocol}, connector.connections)
        self.moments(5)
        self.assertEqual((1, 1), (one.attempts, two.attempts))

    def test_stop_ends_all(self) -> None:
        """Also the connection that was left."""
        connector = self.connector(2)
        self.servers[0].line.welcome()
        connector.leave()
        self.clock.advance(0)
        stopped = connector.stop()
        self.assertTrue(all(server.line.ended for server in self.servers[:2]))
        self.assertNoResult(stopped)
        self.clock.advance(0)
        self.successResultOf(stopped)

    def test_any_order(self) -> None:
        """It may be stopped and started at any time: connecting, connected, waiting, while it stops."""
        for orders in product(("start", "stop"), repeat=4):
            for state in ("hanging", "connected", "ready", "refusing"):
                self.servers[0] = server = ScriptedServer(self.clock, "one")
                server.hanging, server.refusing = state == "hanging", state == "refusing"
                connector = self.connector(1)
                if state == "ready":
                    server.line.welcome()
                stopping = []
                for order in orders:
                    if order == "start":
                        connector.start()
                    else:
                        stopping.append(connector.stop())
                server.hanging = server.refusing = False
                self.clock.advance(0)
                self.clock.advance(9)
                for stopped in stopping:
                    self.successResultOf(stopped)
                alive = [line for line in server.lines if not line.ended]
                self.assertEqual(
                    int(orders[-1] == "start" and state != "hanging"), len(alive), (orders, state)
                )

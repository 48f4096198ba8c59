"""
Tests for L{txgear.net.serverconnection}: the greeting, what is written together, and the end.
"""

from __future__ import annotations

import socket

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock

from txgear.net.connector import connect_once
from txgear.net.serverconnection import Limits, ServerConnection
from txgear.net.servers import Server
from txgear.protocol.constants import NO_JOB
from txgear.protocol.packets import request
from txgear.test.support.client import ScriptedServer
from txgear.test.support.clock import ClockTestCase
from txgear.test.support.net import FakeTcpConnection


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
        fake = FakeTcpConnection(connection, MemoryReactorClock()).fake
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

    def test_closed_cleanly(self) -> None:
        """The reason has one text, whichever of its errors Twisted has for it."""
        self.line.lose(ConnectionDone("Connection done"))
        self.assertEqual("Connection was closed cleanly.", self.connection.ended)

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

"""
Tests for L{txgear.net.serverconnection}: whether a server still lives.
"""

from __future__ import annotations

import socket

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from txgear.net.connector import connect_once
from txgear.net.serverconnection import ATTEMPT_SECONDS, Limits, ServerConnection
from txgear.net.servers import Server
from txgear.net.steady import Steady
from txgear.protocol.constants import ECHO_RES, NO_JOB
from txgear.protocol.packets import Data, request
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
        """It is said in one way, whichever of its errors Twisted has for it."""
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


class PauseTests(ClockTestCase):
    """
    We stand still for a while: a function blocks, the process is stopped, the machine sleeps.

    As in a reactor, all timers that are due run before anything is read.
    """

    heartbeat = 30.0

    def setUp(self) -> None:
        super().setUp()
        self.endpoint = ScriptedServer(self.clock)
        self.connection = self.connect(Steady(self.clock, self.clock.seconds))

    def connect(self, clock: IReactorTime) -> Asking:
        server = Server("server", self.endpoint)
        connection = Asking(clock, server, Limits(heartbeat=self.heartbeat), [])
        _ = connect_once(clock, server, lambda: connection)
        self.line = self.endpoint.line
        self.addCleanup(self.line.lose)
        return connection

    def pause(self, seconds: float, *answers: int) -> None:
        """Stand still; then these packets lie in the socket."""
        for kind in answers:
            self.clock.callLater(seconds, self.line.send, kind, *([b""] if kind == ECHO_RES else []))
        self.clock.advance(seconds)

    def echoes(self) -> int:
        return [packet[0] for packet in self.line.packets()].count("ECHO_REQ")

    def test_nothing_was_due(self) -> None:
        """Before the echo is sent nothing can be missed, however long it takes."""
        self.line.welcome()
        self.pause(1000)
        self.assertEqual(1, self.echoes())
        self.clock.pump([1] * 29)
        self.assertFalse(self.line.ended)
        self.clock.advance(1)
        self.assertTrue(self.line.ended)

    def test_the_echo_is_there(self) -> None:
        """What has come meanwhile is read before the server is judged."""
        self.line.welcome()
        self.clock.advance(30)
        self.assertEqual(1, self.echoes())
        self.pause(1000, ECHO_RES)
        self.assertFalse(self.line.ended)
        self.clock.pump([1] * 30)
        self.assertEqual(1, self.echoes())

    def test_the_echo_comes_later(self) -> None:
        """The server, or the line, may have stood still as well: it has its time again, but only once."""
        self.line.welcome()
        self.clock.advance(30)
        self.pause(1000)
        self.clock.pump([1] * 29)
        self.assertFalse(self.line.ended)
        self.pause(1000)
        self.assertTrue(self.line.ended)

    def test_spared_again_after_life(self) -> None:
        """A server that was heard has its time again after the next pause."""
        self.line.welcome()
        for _ in range(3):
            self.clock.advance(30)
            self.pause(1000)
            self.clock.pump([1] * 29)
            self.line.send(ECHO_RES, b"")
        self.assertFalse(self.line.ended)

    def test_a_little_late(self) -> None:
        """A busy turn is no pause, but what is in the socket counts even so."""
        self.line.welcome()
        self.clock.advance(30)
        self.pause(31, ECHO_RES)
        self.assertFalse(self.line.ended)
        self.clock.advance(30)
        self.pause(31)
        self.assertTrue(self.line.ended)

    def test_greeting(self) -> None:
        self.pause(1000, ECHO_RES)
        self.assertFalse(self.line.ended)

    def test_greeting_comes_later(self) -> None:
        self.pause(1000)
        self.clock.advance(ATTEMPT_SECONDS - 1)
        self.line.welcome()
        self.assertTrue(self.connection.ready)

    def test_greeting_never_comes(self) -> None:
        self.pause(1000)
        self.clock.advance(ATTEMPT_SECONDS)
        self.assertTrue(self.line.ended)

    def test_the_answer_is_there(self) -> None:
        """A server that has answered is not taken for one that does not know the request."""
        self.line.welcome()
        self.connection.waits_for_answer(True)
        self.pause(62, NO_JOB)
        self.assertEqual((False, 0), (self.line.ended, self.connection.left))
        self.clock.pump([1] * 29)
        self.assertFalse(self.line.ended)

    def test_the_answer_comes_later(self) -> None:
        """The pause is not the server's time; what was left of it is."""
        self.line.welcome()
        self.connection.waits_for_answer(True)
        self.pause(1000, ECHO_RES)
        for _ in range(29):
            self.clock.advance(1)
            self.line.send(ECHO_RES, b"")
        self.assertFalse(self.line.ended)
        self.clock.advance(1)
        self.assertEqual((True, 1), (self.line.ended, self.connection.left))

    def test_clock_set_forward(self) -> None:
        """The reactor's timers run too early then."""
        now = 0.0
        wall = Clock()
        self.connection = self.connect(Steady(wall, lambda: now))
        self.line.welcome()
        self.connection.waits_for_answer(True)
        wall.advance(120)
        self.assertEqual(0, self.echoes())
        now = 30.0
        wall.advance(30)
        self.assertEqual((False, 1), (self.line.ended, self.echoes()))
        self.line.send(NO_JOB)
        now = 60.0
        wall.advance(30)
        self.assertFalse(self.line.ended)

    def test_clock_set_back(self) -> None:
        """Spans that are measured then are right."""
        now = 0.0
        wall = Clock()
        wall.advance(3600)
        self.connection = self.connect(Steady(wall, lambda: now))
        self.line.welcome()
        wall.rightNow -= 3600
        now = 20.0
        wall.advance(20)
        self.line.send(NO_JOB)
        now = 50.0
        wall.advance(3610)
        self.assertEqual((False, 1), (self.line.ended, self.echoes()))


class Asking(ServerConnection):
    """
    One whose requests are answered by NO_JOB.

    @ivar left: how many were left unanswered.
    """

    left = 0

    def packet_received(self, kind: int, arguments: list[Data]) -> None:
        if kind == NO_JOB:
            self.waits_for_answer(False)
        super().packet_received(kind, arguments)

    def unanswered(self) -> None:
        self.left += 1
        super().unanswered()

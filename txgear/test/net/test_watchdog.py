"""
Tests for L{txgear.net.watchdog}, through a connection: a server that does not answer, and pauses of our own.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

from txgear.net.connector import connect_once
from txgear.net.serverconnection import Limits, ServerConnection
from txgear.net.servers import Server
from txgear.net.steady import Steady
from txgear.net.watchdog import ATTEMPT_SECONDS
from txgear.protocol.constants import ECHO_RES, NO_JOB
from txgear.protocol.packets import Data
from txgear.test.support.client import ScriptedServer
from txgear.test.support.clock import ClockTestCase


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

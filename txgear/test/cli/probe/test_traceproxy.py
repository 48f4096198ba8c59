"""
Tests for L{txgear.cli.probe.traceproxy}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IAddress
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.probe.traceproxy import NearSide, Side, Tracer
from txgear.net.servers import Server
from txgear.protocol.constants import CAN_DO, GRAB_JOB, NO_JOB, SUBMIT_JOB
from txgear.protocol.packets import request, response

CLIENT = IPv4Address("TCP", "127.0.0.1", 50000)


class HalfTransport(StringTransport):
    """
    One whose writing can be ended alone.

    @ivar said_all: whether it was.
    """

    said_all = False

    def loseWriteConnection(self) -> None:
        self.said_all = True


class TracerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.lines: list[str] = []
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", 4730)
        self.tracer = Tracer(
            self.reactor, Server("127.0.0.1:4730", endpoint), lambda seen: self.lines.append(str(seen))
        )

    def accept(self, peer: IAddress = CLIENT) -> tuple[NearSide, Any]:
        """A connection that was made to us; our own to the server is being made."""
        near = self.tracer.buildProtocol(None)
        transport = HalfTransport(peerAddress=peer)
        near.makeConnection(transport)
        return near, transport

    def reached(self) -> HalfTransport:
        """The server takes the connection that is being made."""
        transport = HalfTransport()
        made = self.reactor.tcpClients[-1][2].buildProtocol(None)
        assert made is not None
        made.makeConnection(transport)
        return transport

    def connected(self) -> tuple[NearSide, Any, Side, Any]:
        """Both connections of a pair, and what was written to them."""
        near, near_transport = self.accept()
        far_transport = self.reached()
        del self.lines[:]
        [far] = [side for side in (near.other,) if side is not None]
        return near, near_transport, far, far_transport

    def test_nothing_is_read_before_the_server_is_connected(self) -> None:
        _, transport = self.accept()
        self.assertEqual(transport.producerState, "paused")
        self.assertEqual(self.reactor.tcpClients[0][:2], ("127.0.0.1", 4730))
        self.assertEqual(self.lines, ["   0.000 #1 from 127.0.0.1:50000"])
        self.reached()
        self.assertEqual(transport.producerState, "producing")

    def test_a_peer_without_a_port(self) -> None:
        self.accept(UNIXAddress(b"/run/x"))
        self.assertEqual(self.lines, ["   0.000 #1 from a Unix socket"])

    def test_both_directions_are_shown_and_passed_on(self) -> None:
        """Bytes go on as they came, also of packets that are not whole; lines have time and number."""
        near, near_transport, far, far_transport = self.connected()
        asked = request(CAN_DO, b"f") + request(GRAB_JOB)
        self.reactor.advance(1.5)
        near.dataReceived(asked[:15])
        self.assertEqual(far_transport.value(), asked[:15])
        near.dataReceived(asked[15:])
        far.dataReceived(response(NO_JOB))
        self.assertEqual(far_transport.value(), asked)
        self.assertEqual(near_transport.value(), response(NO_JOB))
        self.assertEqual(
            self.lines, ["   1.500 #1 -> CAN_DO f", "   1.500 #1 -> GRAB_JOB", "   1.500 #1 <- NO_JOB"]
        )

    def test_connections_have_numbers(self) -> None:
        self.connected()
        near, *_ = self.connected()
        near.dataReceived(b"status\n")
        self.assertEqual(self.lines, ["   0.000 #2 -> text: status"])

    def test_who_does_not_read_is_not_written_for(self) -> None:
        """Each side produces for the other's transport, which pauses it as it likes."""
        _, near_transport, _, far_transport = self.connected()
        self.assertIs(near_transport.producer, far_transport)
        self.assertIs(far_transport.producer, near_transport)
        self.assertTrue(near_transport.streaming and far_transport.streaming)

    def test_a_side_that_sends_no_more_may_still_be_answered(self) -> None:
        near, near_transport, far, far_transport = self.connected()
        near.dataReceived(b"status\nsta")
        near.readConnectionLost()
        self.assertTrue(far_transport.said_all)
        self.assertFalse(near_transport.disconnecting or far_transport.disconnecting)
        self.assertIsNone(far_transport.producer)
        far.writeConnectionLost()
        far.dataReceived(b".\n")
        self.assertEqual(near_transport.value(), b".\n")
        far.readConnectionLost()
        self.assertTrue(far_transport.disconnecting)
        far.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(near_transport.disconnecting)
        near.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(
            [line.partition("#1 ")[2] for line in self.lines],
            ["-> text: status", "-> text: sta [no end of line]", "<- text: .", "ended"],
        )

    def test_a_side_that_ends_ends_the_other(self) -> None:
        """Whatever was passed on before leaves first: it is not aborted. Half a packet is told."""
        near, near_transport, far, far_transport = self.connected()
        near.dataReceived(request(SUBMIT_JOB, b"f", b"", b"workload")[:20])
        near.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(far_transport.disconnecting)
        self.assertIsNone(far_transport.producer)
        # The server's last words come too late to be passed on.
        far.dataReceived(response(NO_JOB))
        self.assertEqual(near_transport.value(), b"")
        far.readConnectionLost()
        far.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(
            [line.partition("#1 ")[2] for line in self.lines],
            ["-> SUBMIT_JOB [20 of 23 bytes]", "ended", "<- NO_JOB"],
        )

    def test_the_server_ends_first(self) -> None:
        near, near_transport, far, _ = self.connected()
        far.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(near_transport.disconnecting)
        self.assertIsNone(near_transport.producer)
        near.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.lines, ["   0.000 #1 ended"])

    def test_a_server_that_cannot_be_reached(self) -> None:
        near, transport = self.accept()
        factory: Any = self.reactor.tcpClients[0][2]
        factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.assertTrue(transport.disconnecting)
        near.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(
            [line.partition("#1 ")[2] for line in self.lines[1:]],
            ["127.0.0.1:4730 cannot be reached: Connection was refused by other side.", "ended"],
        )

"""Tests of L{txgear.server.tcplink}, and of the server's use of it, without a socket."""

from __future__ import annotations

import socket
from typing import Any
from unittest import skipUnless

from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.quickacks import SUSPICIONS, VAIN, Tally
from txgear.protocol.constants import (
    CAN_DO,
    ECHO_REQ,
    GRAB_JOB,
    PRE_SLEEP,
    SUBMIT_JOB_BG,
    WORK_COMPLETE,
    WORK_STATUS,
)
from txgear.protocol.packets import request
from txgear.server.gear import GearProtocol
from txgear.server.tcplink import AVAILABLE, TcpLink
from txgear.test.support.net import FakeSocket, FakeTcpConnection
from txgear.test.support.server import ServerFixture

DELAYED = 0.041
"""Seconds after which a packet comes that has waited for our acknowledgement."""
QUICKACK: tuple[int, int, Any] = (socket.IPPROTO_TCP, getattr(socket, "TCP_QUICKACK", 0), 1)
"""What the socket is told to acknowledge at once."""


class OverTests(SynchronousTestCase):
    def over(self, family: int) -> TcpLink | None:
        fake: Any = FakeSocket(family=family)
        return TcpLink.over(fake, Tally())

    def test_only_tcp_delays(self) -> None:
        found = [self.over(family) is not None for family in (socket.AF_INET, socket.AF_INET6)]
        self.assertEqual(found, [AVAILABLE] * 2)
        self.assertIsNone(self.over(socket.AF_UNIX))
        self.assertIsNone(TcpLink.over(None, Tally()))


@skipUnless(AVAILABLE, "this system has no TCP_QUICKACK")
class LinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fake = FakeSocket()
        sock: Any = self.fake
        link = TcpLink.over(sock, Tally())
        assert link is not None
        self.link = link

    def late(self, gap: float, times: int = SUSPICIONS) -> bool:
        return [self.link.came_late(gap) for _ in range(times)][-1]

    def test_it_is_acknowledged_once_marked(self) -> None:
        self.assertFalse(self.late(DELAYED, SUSPICIONS - 1))
        self.assertTrue(self.link.came_late(DELAYED))
        self.assertTrue(self.link.unanswered())
        self.assertEqual(self.fake.options, [QUICKACK])

    def test_a_peer_that_is_far_away(self) -> None:
        self.fake.round_trips = 40_000, 40_000
        self.assertFalse(self.late(0.040))
        self.assertTrue(self.late(0.081))
        self.assertEqual(self.link.round_trip(), 0.04)

    def test_when_it_was_heard_of(self) -> None:
        self.fake.waited = 1500
        self.assertEqual(self.link.heard(), 1.5)

    def test_its_own_delays_do_not_make_it_far_away(self) -> None:
        self.fake.round_trips = 40_000, 50
        self.assertTrue(self.late(DELAYED))

    def test_a_system_that_knows_no_shortest_round_trip(self) -> None:
        self.fake.round_trips = (2_000,)
        self.assertEqual(self.link.round_trip(), 0.002)
        self.fake.round_trips = 2_000, 0xFFFFFFFF
        self.assertEqual(self.link.round_trip(), 0.002)

    def test_what_has_lain_here_was_not_late(self) -> None:
        """The server was at something else, or did not want to read this peer."""
        self.fake.waited = 40
        self.assertFalse(self.late(DELAYED))

    def test_a_socket_that_is_closed_is_left_alone(self) -> None:
        self.late(DELAYED)
        self.fake.descriptor = -1
        self.assertTrue(self.link.unanswered())
        self.assertEqual((self.fake.options, self.link.round_trip()), ([], 0.0))


@skipUnless(AVAILABLE, "this system has no TCP_QUICKACK")
class ServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fixture = ServerFixture()
        self.client = self.fixture.connect()

    def connect(self) -> tuple[GearProtocol, FakeSocket]:
        protocol = self.fixture.factory.buildProtocol(None)
        fake: FakeSocket = FakeTcpConnection(protocol, MemoryReactorClock()).fake
        fake.options.clear()
        return protocol, fake

    def worker(self) -> None:
        """A worker with Nagle's algorithm, which has a job."""
        self.protocol, self.fake = self.connect()
        self.tell(request(CAN_DO, b"f"), request(GRAB_JOB))

    def submit(self, count: int) -> None:
        for _ in range(count):
            self.client.ask(request(SUBMIT_JOB_BG, b"f", b"", b""))

    def tell(self, *packets: bytes) -> None:
        self.protocol.dataReceived(b"".join(packets))

    def complete(self, number: int) -> None:
        self.tell(request(WORK_COMPLETE, b"H:test:%d" % number, b""))

    def job(self, number: int, gap: float) -> None:
        """A job ends, and some seconds later the next one is asked for."""
        self.complete(number)
        self.fixture.clock.advance(gap)
        self.tell(request(GRAB_JOB))

    @property
    def quickacks(self) -> int:
        return self.fake.options.count(QUICKACK)

    @property
    def marked(self) -> bool:
        link = self.protocol.peer.link
        assert link is not None
        return link.acks.marked

    def test_a_worker_that_waits_for_acknowledgements_gets_them(self) -> None:
        self.submit(20)
        self.worker()
        for number in range(1, SUSPICIONS + 1):
            self.assertEqual(self.quickacks, 0)
            self.job(number, DELAYED)
        for number in range(SUSPICIONS + 1, 20):
            self.job(number, 0.0001)
        self.assertEqual(self.quickacks, 19 - SUSPICIONS)
        self.assertEqual(self.fixture.server.quick_acks.given, 19 - SUSPICIONS)

    def test_one_that_asks_in_the_same_packet_is_left_alone(self) -> None:
        self.submit(20)
        self.worker()
        for number in range(1, 20):
            self.tell(request(WORK_COMPLETE, b"H:test:%d" % number, b""), request(GRAB_JOB))
            self.fixture.clock.advance(DELAYED)
        self.assertEqual((self.quickacks, self.marked), (0, False))

    def test_one_that_is_sent_something_meanwhile_has_not_waited(self) -> None:
        self.worker()
        for _ in range(10):
            self.tell(request(PRE_SLEEP))
            self.fixture.clock.advance(DELAYED)
            self.submit(1)  # a NOOP, which carries the acknowledgement
            self.tell(request(GRAB_JOB))
        self.assertFalse(self.marked)

    def test_one_that_works_as_long_is_let_go(self) -> None:
        self.submit(1)
        self.worker()
        for _ in range(1 + SUSPICIONS + VAIN):
            self.tell(request(WORK_STATUS, b"H:test:1", b"1", b"9"))
            self.fixture.clock.advance(DELAYED)
        self.assertEqual((self.marked, self.quickacks), (False, VAIN))
        self.tell(request(WORK_STATUS, b"H:test:1", b"1", b"9"))
        self.assertEqual(self.quickacks, VAIN)

    def test_parts_of_a_packet(self) -> None:
        """Some libraries write the head of a packet and its body."""
        self.worker()
        whole = request(SUBMIT_JOB_BG, b"g", b"", b"x")
        for _ in range(SUSPICIONS):
            self.tell(whole[:12])
            self.fixture.clock.advance(DELAYED)
            self.tell(whole[12:])
        self.tell(whole[:12])
        self.assertEqual((self.marked, self.quickacks), (True, 1))

    def test_in_a_turn_of_several_an_answer_may_be_on_its_way(self) -> None:
        self.submit(20)
        self.worker()
        for number in range(1, SUSPICIONS + 1):
            self.job(number, DELAYED)
        reads: Any = type("Reads", (), {"reading": True})()
        self.fixture.server.reads = reads
        self.tell(request(ECHO_REQ, b""))
        self.assertEqual(self.quickacks, 0)
        reads.reading = False
        self.fixture.server.end_turn()
        reads.reading = True
        self.complete(SUSPICIONS + 1)
        self.assertEqual(self.quickacks, 1)
        self.fixture.server.reads = None

    def test_one_that_is_closed_is_left_alone(self) -> None:
        self.submit(20)
        self.worker()
        for number in range(1, SUSPICIONS + 1):
            self.job(number, DELAYED)
        self.protocol.readConnectionLost()
        self.complete(SUSPICIONS + 1)
        self.tell(b"\0XXX" + bytes(8))
        self.assertTrue(self.protocol.closing)
        self.assertEqual(self.quickacks, 0)

    def test_the_first_packet_follows_none(self) -> None:
        self.worker()
        self.assertFalse(self.marked)

    def test_a_connection_that_is_none_of_tcp(self) -> None:
        for _ in range(5):
            self.client.tell(request(PRE_SLEEP))
            self.fixture.clock.advance(DELAYED)
        self.assertIsNone(self.client.protocol.peer.link)

    def test_under_tls(self) -> None:
        below = FakeTcpConnection(Protocol(), MemoryReactorClock())
        wrapper = ProtocolWrapper(WrappingFactory(None), Protocol())
        wrapper.makeConnection(below)
        self.protocol = self.fixture.factory.buildProtocol(None)
        self.protocol.makeConnection(wrapper)
        self.fake = below.fake
        for _ in range(SUSPICIONS + 1):
            self.tell(request(PRE_SLEEP))
            self.fixture.clock.advance(DELAYED)
        self.assertEqual((self.marked, self.quickacks), (True, 1))

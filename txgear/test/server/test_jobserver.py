"""Tests of L{txgear.server.jobserver}."""

from __future__ import annotations

import socket
from typing import Any
from unittest import skipUnless

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.haproxy import proxyEndpoint
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from txgear.broker.paging import JOB_BYTES
from txgear.broker.sleepers import WAKE_SECONDS
from txgear.interfaces import IJobServer, IServerSettings
from txgear.net.batchedreads import AVAILABLE
from txgear.protocol.constants import (
    CAN_DO,
    ECHO_REQ,
    ECHO_RES,
    GRAB_JOB,
    NOOP,
    PRE_SLEEP,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    WORK_COMPLETE,
)
from txgear.protocol.packets import request, response
from txgear.server.gear import GearFactory
from txgear.server.http import HttpFactory
from txgear.server.jobserver import JobServer
from txgear.server.settings import Settings
from txgear.server.sockets import KeepAlive
from txgear.test.support.clock import START
from txgear.test.support.net import FakeTcpConnection
from txgear.test.support.server import DurableServerTestCase, ServerFixture, submit


class PromisesTests(SynchronousTestCase):
    def test_all_that_a_plugin_may_use_is_there(self) -> None:
        server = ServerFixture().server
        self.assertTrue(verifyObject(IJobServer, server))
        self.assertTrue(verifyObject(IServerSettings, server.settings))


class SeemingTests(SynchronousTestCase):
    """Connections that are not what they seem at first."""

    def setUp(self) -> None:
        self.fixture = ServerFixture()

    def test_a_client_behind_a_proxy(self) -> None:
        for factory in (self.fixture.factory, HttpFactory(self.fixture.server)):
            wrapper = proxyEndpoint(CatchingEndpoint())
            wrapper.listen(factory)
            outer = CatchingEndpoint.caught.buildProtocol(None)
            outer.makeConnection(StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.9", 1)))
            peer = outer.wrappedProtocol.peer
            outer.dataReceived(b"PROXY TCP4 192.0.2.7 192.0.2.8 4000 4730\r\n")
            self.assertEqual(peer.address, "192.0.2.9")
            outer.dataReceived(b"GET / HTTP/1.1\r\n")
            self.assertEqual(peer.address, "192.0.2.7")
            outer.dataReceived(b"\r\n")
            self.assertIn(peer, self.fixture.server.broker.peers)


@implementer(IStreamServerEndpoint)
class CatchingEndpoint:
    """
    An endpoint that does not listen.

    @cvar caught: the factory that was to listen last.
    """

    caught: Any = None

    def listen(self, factory: Any) -> Deferred[Any]:
        CatchingEndpoint.caught = factory
        return succeed(None)


class TimerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fixture = ServerFixture()
        self.client = self.fixture.connect()

    def times(self) -> list[float]:
        """When timers fire, in seconds from the start."""
        return [call.getTime() - START for call in self.fixture.clock.getDelayedCalls()]

    def submit(self, delay: int) -> None:
        self.client.tell(request(SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % (START + delay), b""))

    def test_there_is_none_without_need(self) -> None:
        self.client.tell(request(SUBMIT_JOB, b"f", b"", b""))
        self.assertEqual(self.times(), [])

    def test_there_is_one_for_all(self) -> None:
        server = self.fixture.server
        for delay, at in ((30, 30), (20, 20), (25, 20)):
            server.broker.submit(None, b"f", b"", b"", START, background=True, delay=delay)
            server.end_turn()
            self.assertEqual(self.times(), [at])
        self.fixture.clock.advance(20)
        self.assertEqual(self.times(), [25])
        self.fixture.clock.advance(5)
        self.assertEqual(self.times(), [30])
        self.fixture.clock.advance(5)
        self.assertEqual(self.times(), [])

    def test_the_wall_clock_is_looked_at_while_a_job_waits_for_it(self) -> None:
        self.submit(3)
        for second in (1, 2, 3):
            self.assertEqual(self.times(), [second])
            self.fixture.clock.advance(1)
        self.assertEqual(self.times(), [])

    def test_jobs_begin_at_their_time(self) -> None:
        worker = self.fixture.connect()
        worker.tell(request(CAN_DO, b"f"), request(PRE_SLEEP))
        self.submit(10)
        self.fixture.clock.advance(9.9)
        self.assertEqual(worker.heard(), b"")
        self.fixture.clock.advance(0.1)
        self.assertEqual(worker.heard(), response(NOOP))

    def test_workers_that_do_not_grab_are_given_up(self) -> None:
        workers = [self.fixture.connect() for _ in range(2)]
        for worker in workers:
            worker.tell(request(CAN_DO, b"f"), request(PRE_SLEEP))
        self.client.tell(request(SUBMIT_JOB, b"f", b"", b""))
        self.assertEqual([worker.heard() for worker in workers], [response(NOOP), b""])
        self.fixture.clock.advance(WAKE_SECONDS)
        self.assertEqual([worker.heard() for worker in workers], [b"", response(NOOP)])

    def test_a_time_that_is_over_when_it_is_looked_at_is_now(self) -> None:
        server = self.fixture.server
        server.broker.submit(None, b"f", b"", b"", START - 10, background=True, due=START - 5)
        server.end_turn()
        self.assertEqual(self.times(), [0])
        self.fixture.clock.advance(0)
        self.assertEqual(self.times(), [])

    def test_it_may_be_the_furthest_time_there_is(self) -> None:
        self.client.tell(request(SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % (2**63 - 1), b""))
        self.assertEqual(len(self.times()), 1)

    def test_a_server_that_stopped_has_none(self) -> None:
        self.submit(10)
        self.fixture.server.census.start()
        self.fixture.server.stop()
        self.submit(5)
        self.assertEqual(self.times(), [])
        self.fixture.server.stop()


class HeldTests(DurableServerTestCase):
    """What the jobs in memory take."""

    def test_without_a_store(self) -> None:
        fixture = ServerFixture()
        client = fixture.connect()
        self.assertEqual(fixture.server.held(), 0)
        client.tell(submit(), submit())
        self.assertEqual(fixture.server.held(), 2 * JOB_BYTES)

    def test_with_one(self) -> None:
        """Jobs that are rows take nothing."""
        self.begin(queue_memory=JOB_BYTES + 10)
        server = self.fixture.server
        for _ in range(4):
            self.client.tell(submit(b"1234567"))
            self.thread.run_all()
        self.assertEqual(server.held(), JOB_BYTES + 7)


class DrainTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fixture = ServerFixture()
        self.client = self.fixture.connect()
        self.worker = self.fixture.connect()
        self.worker.tell(request(CAN_DO, b"f"))

    def test_an_idle_server_is_drained_at_once(self) -> None:
        self.assertIsNone(self.successResultOf(self.fixture.server.drain()))

    def test_it_waits_for_the_jobs_that_clients_wait_for(self) -> None:
        self.client.tell(request(SUBMIT_JOB, b"f", b"", b""), request(SUBMIT_JOB_BG, b"f", b"", b""))
        drained = [self.fixture.server.drain() for _ in range(2)]
        self.worker.tell(request(GRAB_JOB))
        self.assertNoResult(drained[0])
        self.worker.tell(request(WORK_COMPLETE, b"H:test:1", b""))
        for waiter in drained:
            self.assertIsNone(self.successResultOf(waiter))
        self.assertIsNone(self.successResultOf(self.fixture.server.drain()))

    def test_or_for_the_clients_to_go(self) -> None:
        self.client.tell(request(SUBMIT_JOB, b"f", b"", b""))
        drained = self.fixture.server.drain()
        self.client.leave()
        self.assertIsNone(self.successResultOf(drained))

    def test_waiting_may_be_given_up(self) -> None:
        self.client.tell(request(SUBMIT_JOB, b"f", b"", b""))
        drained = self.fixture.server.drain()
        drained.cancel()
        self.failureResultOf(drained, CancelledError)
        self.client.leave()
        self.assertTrue(self.fixture.server.broker.dispatcher.draining)


class CloseTests(SynchronousTestCase):
    def test_everybody_hears_what_was_written_and_goes(self) -> None:
        fixture = ServerFixture()
        lines = [fixture.connect() for _ in range(2)]
        fixture.server.outbox.send(lines[0].protocol.peer, ECHO_RES, b"last")
        closed = fixture.server.close_connections()
        self.assertEqual([line.closed for line in lines], [True, True])
        self.assertEqual(lines[0].heard(), response(ECHO_RES, b"last"))
        lines[0].leave()
        self.assertNoResult(closed)
        lines[1].leave()
        self.assertIsNone(self.successResultOf(closed))

    def test_giving_way(self) -> None:
        """What is asked from then on is left to the next server; our side ends, and then the peer's."""
        reactor = MemoryReactorClock()
        server = JobServer(reactor, Settings(prefix=b"H:test"))
        server.stop()  # and read the connections one by one
        connection: Any = FakeTcpConnection(GearFactory(server).buildProtocol(None), reactor)
        server.outbox.send(connection.protocol.peer, ECHO_RES, b"last")
        server.give_way()
        connection.arrive(request(ECHO_REQ, b"next"))
        self.assertEqual(connection.written, b"")
        closed = server.close_connections()
        self.assertEqual(connection.written, response(ECHO_RES, b"last"))
        self.assertTrue(connection.ends_output)
        # It is read, so that no reset follows, and dropped.
        connection.arrive(request(ECHO_REQ, b"more"))
        connection.doRead()
        self.assertEqual((connection.written, connection.fake.arrived), (b"", []))
        self.assertNoResult(closed)
        connection.make_room()
        connection.readConnectionLost(Failure(ConnectionDone()))
        connection.make_room()
        self.successResultOf(closed)

    def test_with_nobody_there_it_is_done(self) -> None:
        self.assertIsNone(self.successResultOf(ServerFixture().server.close_connections()))

    def test_waiting_may_be_given_up(self) -> None:
        fixture = ServerFixture()
        line = fixture.connect()
        closed = fixture.server.close_connections()
        closed.cancel()
        self.failureResultOf(closed, CancelledError)
        line.leave()


class AcceptTests(SynchronousTestCase):
    def accepted(self, transport: Any, **choices: Any) -> tuple[int, str]:
        """Where a peer on this transport comes from, as the text commands show it."""
        fixture = ServerFixture(**choices)
        protocol = fixture.factory.buildProtocol(None)
        protocol.makeConnection(transport)
        return protocol.peer.descriptor, protocol.peer.address

    def test_a_connection_without_a_socket_has_a_number(self) -> None:
        fixture = ServerFixture()
        self.assertEqual([fixture.connect().protocol.peer.descriptor for _ in range(3)], [1, 2, 3])

    def test_its_address(self) -> None:
        for host in ("192.0.2.7", "2001:db8::1"):
            self.assertEqual(ServerFixture().connect(host).protocol.peer.address, host)
        self.assertEqual(self.accepted(StringTransport(peerAddress=object())), (1, "-"))

    def test_a_socket_is_set_up(self) -> None:
        for keep_alive, expected in (
            (KeepAlive(), []),
            (
                KeepAlive(idle=1, interval=2, count=3),
                [("TCP_KEEPIDLE", 1), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3)],
            ),
        ):
            reactor = MemoryReactorClock()
            connection = FakeTcpConnection(Protocol(), reactor, 12)
            self.assertEqual(self.accepted(connection, keep_alive=keep_alive), (12, "192.0.2.1"))
            probes = [
                (socket.IPPROTO_TCP, getattr(socket, name), value)
                for name, value in expected
                if hasattr(socket, name)
            ]
            always = [
                (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE, True),
            ]
            self.assertEqual(connection.fake.options, always + probes)


@skipUnless(AVAILABLE, "this system has no epoll")
class BatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.server = JobServer(self.reactor, Settings())
        self.addCleanup(self.server.stop)

    def test_a_turn_of_several_connections_ends_once(self) -> None:
        protocol = GearFactory(self.server).buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        reads = self.server.reads
        assert reads is not None
        reads.reading = True
        protocol.dataReceived(request(ECHO_REQ, b"x"))
        self.assertEqual(transport.value(), b"")
        reads.reading = False
        self.server.end_turn()
        self.assertEqual(transport.value(), response(ECHO_RES, b"x"))

    def test_the_reactor_is_let_go_of(self) -> None:
        self.assertEqual(len(self.reactor.getReaders()), 1)
        self.server.stop()
        self.assertEqual(self.reactor.getReaders(), [])

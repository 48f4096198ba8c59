"""Tests of L{txgear.net.undertls}: a server's stream and OpenSSL as its peer, without a socket."""

from __future__ import annotations

import select
from datetime import datetime, timedelta, timezone
from errno import EPIPE
from functools import cache
from typing import Any, cast
from unittest import skipUnless

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from OpenSSL.crypto import X509, PKey
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.net.batchedreads import AVAILABLE, BatchedReads
from txgear.net.stream import CLOSE_SECONDS, Stream
from txgear.net.undertls import FULL_FROM, HEADER, PORTION, RECORD, UnderTls
from txgear.protocol.constants import ECHO_REQ
from txgear.protocol.packets import Data, Decoder, request
from txgear.test.net.test_batchedreads import FakeEpoll
from txgear.test.support.net import FakeTcpConnection


@cache
def options() -> CertificateOptions:
    """What a server needs to speak TLS."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gear.example")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, SHA256())
    )
    return CertificateOptions(PKey.from_cryptography_key(key), X509.from_cryptography(certificate))


class Noting(Stream):
    """
    A stream that notes what comes.

    @ivar answers: what it writes to the next packets.
    """

    def __init__(self, clock: Any, reads: BatchedReads | None) -> None:
        super().__init__(clock, Decoder(), reads)
        self.packets: list[bytes] = []
        self.answers: list[list[bytes]] = []
        self.turns = 0
        self.reason: Failure | None = None

    def packet_received(self, kind: int, arguments: list[Data]) -> None:
        assert kind == ECHO_REQ
        self.packets.append(bytes(arguments[0]))
        if self.answers:
            self.write_chunks(self.answers.pop(0))

    def turn_ended(self) -> None:
        self.turns += 1

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        super().connectionLost(reason)
        self.reason = reason


class Successor(Protocol):
    """Has a connection that another protocol had before."""

    def __init__(self) -> None:
        self.data = b""
        self.shaken = False

    def handshakeCompleted(self) -> None:
        self.shaken = True

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...


class Noters(Factory):
    """Makes one, and keeps it."""

    def __init__(self, clock: Any, reads: BatchedReads | None) -> None:
        self.stream = Noting(clock, reads)

    def buildProtocol(self, addr: object) -> Noting:
        return self.stream


class Meeting:
    """
    A peer and a server's stream over TLS.

    @ivar tcp: the server's side of the TCP connection.
    @ivar stream: what the server has over TLS.
    @ivar peer: the other end.
    """

    def __init__(self, reactor: MemoryReactorClock, reads: BatchedReads | None, version: int) -> None:
        factory = Noters(reactor, reads)
        self.stream = factory.stream
        self.tls = TLSMemoryBIOFactory(options(), False, factory, reactor).buildProtocol(None)
        self.tcp = FakeTcpConnection(self.tls, reactor)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        self.peer = SSL.Connection(context, None)
        self.peer.set_connect_state()

    def shake(self) -> None:
        """Make the handshake."""
        for _ in range(4):
            try:
                self.peer.do_handshake()
            except SSL.WantReadError:
                self.arrive(self.out())
                self.take()
            else:
                self.arrive(self.out())
                self.heard()
                return
        raise AssertionError("no end of the handshake")

    def out(self) -> bytes:
        """What the peer sends."""
        try:
            return self.peer.bio_read(1 << 20)
        except SSL.WantReadError:
            return b""

    def arrive(self, data: bytes) -> None:
        """It comes to the server, in one read."""
        if data:
            self.tcp.fake.arrived.append(data)
            self.tcp.doRead()

    def say(self, *data: bytes) -> bytes:
        """What the peer sends when it says this, in records of its own each."""
        for each in data:
            while each:
                each = each[self.peer.send(each) :]
        return self.out()

    def take(self) -> None:
        """Give the peer what the server's socket took."""
        if written := self.tcp.written:
            self.peer.bio_write(written)

    def heard(self) -> bytes:
        """What the peer can read of it."""
        self.take()
        pieces = []
        while True:
            try:
                pieces.append(self.peer.recv(1 << 16))
            except (SSL.WantReadError, SSL.ZeroReturnError):
                return b"".join(pieces)


ONE, TWO, THREE = (request(ECHO_REQ, letter * 40) for letter in (b"1", b"2", b"3"))


class UnderTlsTests(SynchronousTestCase):
    version = SSL.TLS1_3_VERSION

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.meeting = Meeting(self.reactor, None, self.version)
        self.stream, self.tcp = self.meeting.stream, self.meeting.tcp
        self.meeting.shake()

    # Writing

    def test_an_answer_leaves_at_once_and_in_one_call(self) -> None:
        self.stream.write_chunks([b"one", b"two"])
        self.assertEqual(len(self.tcp.fake.sent), 1)
        self.assertEqual(self.meeting.heard(), b"onetwo")
        self.assertEqual((self.reactor.getDelayedCalls(), self.reactor.getWriters()), ([], []))

    def test_a_large_one_leaves_in_large_pieces(self) -> None:
        data = bytes(range(256)) * 4096
        self.stream.write_chunks([b"head", data, b"tail"])
        self.assertEqual(len(self.tcp.fake.sent), len(data) // PORTION + 1)
        self.assertTrue(self.meeting.heard() == b"head" + data + b"tail")

    def test_what_fills_a_record(self) -> None:
        for size in (RECORD - 1, RECORD, RECORD + 1):
            self.stream.write_chunks([b"x" * size])
            self.assertEqual(len(self.tcp.fake.sent), 1)
            self.assertEqual(len(self.meeting.heard()), size)

    def test_the_reactor_writes_what_the_socket_does_not_take(self) -> None:
        self.tcp.fake.room = 10
        self.stream.write_chunks([b"one"])
        self.stream.write_chunks([b"two"])
        self.assertEqual((self.reactor.getWriters(), self.stream.caught_up), ([self.tcp], True))
        self.tcp.make_room()
        self.stream.write_chunks([b"three"])
        self.assertEqual(self.meeting.heard(), b"onetwothree")
        self.assertEqual(self.reactor.getWriters(), [])

    def test_a_peer_that_does_not_read(self) -> None:
        data = bytes(range(256)) * 4096
        self.tcp.fake.room = 0
        self.stream.write_chunks([data, b"then"])
        self.stream.write_chunks([b"last"])
        self.assertFalse(self.stream.caught_up)
        self.assertEqual(self.stream.unwritten, len(data) - PORTION + 8)
        self.stream.check()
        heard = b""
        for _ in range(20):
            self.tcp.make_room(PORTION)
            heard += self.meeting.heard()
            self.stream.check()
        self.assertTrue(heard == data + b"thenlast")
        self.assertTrue(self.stream.caught_up)

    def test_it_pauses_from_a_bound_on(self) -> None:
        self.tcp.fake.room = 0
        self.stream.write_chunks([b"x" * (FULL_FROM - 1000)])
        self.assertTrue(self.stream.caught_up)
        self.stream.write_chunks([b"y" * 1000])
        self.assertFalse(self.stream.caught_up)
        self.stream.close()
        self.assertFalse(self.tcp.disconnecting)
        self.tcp.make_room()
        self.assertEqual(len(self.meeting.heard()), FULL_FROM)
        self.assertTrue(self.meeting.peer.get_shutdown() & SSL.RECEIVED_SHUTDOWN)

    def test_a_peer_that_has_gone_reads_no_answer_and_what_it_sent_is_read(self) -> None:
        self.tcp.fake.broken = True
        self.tcp.fake.error = BrokenPipeError(EPIPE, "gone")
        self.stream.write_chunks([b"one"])
        self.assertEqual(self.reactor.getWriters(), [])
        self.tcp.fake.broken = False
        self.meeting.arrive(self.meeting.say(ONE))
        self.assertEqual(self.stream.packets, [b"1" * 40])

    def test_a_broken_connection_is_the_reactors(self) -> None:
        self.tcp.fake.broken = True
        self.stream.write_chunks([b"one"])
        self.assertEqual(self.reactor.getWriters(), [self.tcp])
        reason = self.tcp.doWrite()
        assert isinstance(reason, Exception)
        self.tcp.connectionLost(Failure(reason))
        cast("Any", self.stream.reason).trap(ConnectionLost)

    def test_what_is_written_when_tls_has_ended_goes_nowhere(self) -> None:
        under: Any = self.meeting.tls.transport
        self.stream.close()
        self.meeting.take()
        under.send([b"late"])
        self.assertEqual(self.tcp.fake.sent, [])

    # Reading

    def test_a_record(self) -> None:
        self.meeting.arrive(self.meeting.say(ONE))
        self.assertEqual((self.stream.packets, self.stream.turns), ([b"1" * 40], 1))

    def test_records_that_come_together_are_one_turn(self) -> None:
        self.meeting.arrive(self.meeting.say(ONE, TWO, THREE))
        self.assertEqual((self.stream.packets, self.stream.turns), ([b"1" * 40, b"2" * 40, b"3" * 40], 1))

    def test_records_in_any_pieces(self) -> None:
        for size in (1, 2, 3, 4, 5, 6, 7, 30, 64, 65, 73, 74, 75, 146, 200):
            self.stream.packets.clear()
            data = self.meeting.say(ONE, TWO, THREE, ONE + TWO, THREE)
            for at in range(0, len(data), size):
                self.meeting.arrive(data[at : at + size])
            self.assertEqual([packet[:1] for packet in self.stream.packets], [b"1", b"2", b"3"] * 2)
            # And it knows where it is: the next one is taken as a whole.
            turns = self.stream.turns
            self.meeting.arrive(self.meeting.say(ONE, TWO))
            self.assertEqual(self.stream.turns, turns + 1)

    def test_a_large_packet(self) -> None:
        data = bytes(range(256)) * 1000
        self.meeting.arrive(self.meeting.say(request(ECHO_REQ, data)))
        while self.tcp.fake.arrived:
            self.tcp.doRead()
        self.assertTrue(self.stream.packets == [data])

    def test_short_records(self) -> None:
        for byte in ONE:
            self.meeting.arrive(self.meeting.say(bytes([byte])))
        self.assertEqual(self.stream.packets, [b"1" * 40])

    def test_what_comes_with_the_end(self) -> None:
        data = self.meeting.say(ONE)
        self.meeting.peer.shutdown()
        self.meeting.arrive(data + self.meeting.out())
        self.assertEqual(self.stream.packets, [b"1" * 40])
        self.assertTrue(self.tcp.disconnecting)
        self.tcp.make_room()
        cast("Any", self.stream.reason).trap(ConnectionDone)

    def test_an_answer_after_the_peers_end(self) -> None:
        """Who sends no more may still read: where several are read together, answers come later."""
        stream = self.stream
        ended = stream.readConnectionLost

        def answer() -> None:
            stream.write_chunks([TWO])
            ended()

        stream.readConnectionLost = answer  # type: ignore[method-assign]
        data = self.meeting.say(ONE)
        self.meeting.peer.shutdown()
        self.meeting.arrive(data + self.meeting.out())
        self.assertEqual(self.meeting.heard(), TWO)
        self.tcp.make_room()
        self.assertFalse(self.tcp.connected)

    def end_unread(self, data: bytes) -> None:
        """The peer ends after that, and does not take the answer: it may be so long about it."""
        self.stream.answers = [[TWO]]
        self.meeting.peer.shutdown()
        self.meeting.arrive(data + self.meeting.out())
        self.assertEqual(self.stream.packets, [b"1" * 40])
        self.reactor.advance(CLOSE_SECONDS - 1)
        self.assertIsNone(self.stream.reason)
        self.reactor.advance(1)
        self.reactor.advance(0)
        self.assertIsNotNone(self.stream.reason)
        self.assertFalse(self.tcp.connected)

    def test_a_peer_that_ends_and_does_not_read(self) -> None:
        self.tcp.fake.room = 10
        self.end_unread(self.meeting.say(ONE))

    def test_a_peer_that_ends_with_the_handshake_and_does_not_read(self) -> None:
        """Of TLS 1.3, whose handshake the peer completes."""
        self.meeting = meeting = Meeting(self.reactor, None, SSL.TLS1_3_VERSION)
        self.stream, self.tcp = meeting.stream, meeting.tcp
        self.assertRaises(SSL.WantReadError, meeting.peer.do_handshake)
        meeting.arrive(meeting.out())
        meeting.take()
        meeting.peer.do_handshake()
        self.tcp.fake.room = 10
        self.end_unread(self.meeting.say(ONE))

    def test_a_record_that_is_not_the_peers(self) -> None:
        data = bytearray(self.meeting.say(ONE, TWO))
        data[-1] ^= 1
        self.meeting.arrive(bytes(data))
        self.assertEqual(self.stream.packets, [b"1" * 40])
        self.reactor.advance(0)
        cast("Any", self.stream.reason).trap(SSL.Error)

    def test_a_record_that_is_not_the_peers_after_an_abort(self) -> None:
        data = bytearray(self.meeting.say(ONE, TWO))
        data[-1] ^= 1
        self.stream.packet_received = lambda kind, arguments: self.tcp.connectionLost(  # type: ignore[method-assign]
            Failure(ConnectionDone())
        )
        self.meeting.arrive(bytes(data))
        cast("Any", self.stream.reason).trap(ConnectionLost)

    def test_a_record_too_large_for_its_kind(self) -> None:
        """It looks like data, and is none."""
        data = self.meeting.say(ONE)
        self.meeting.arrive(data[:HEADER] + bytes(len(data) - HEADER))
        self.reactor.advance(0)
        cast("Any", self.stream.reason).trap(SSL.Error)

    def test_a_peer_that_leaves(self) -> None:
        self.tcp.readConnectionLost(Failure(ConnectionDone()))
        cast("Any", self.stream.reason).trap(ConnectionLost)

    def test_it_ends_without_the_peers_word(self) -> None:
        """What was written is sent, and TLS's own end; and then nobody waits for the peer's."""
        self.tcp.fake.room = 10
        self.stream.write_chunks([ONE])
        self.stream.close()
        self.assertTrue(self.tcp.connected)
        self.tcp.make_room()
        self.assertEqual(self.meeting.heard(), ONE)
        self.assertEqual(self.meeting.peer.get_shutdown(), SSL.RECEIVED_SHUTDOWN)
        self.assertFalse(self.tcp.connected)

    def test_it_lingers_until_the_peer_ends(self) -> None:
        self.stream.close(linger=True)
        self.tcp.make_room()
        self.assertTrue(self.tcp.connected)
        self.meeting.heard()
        self.meeting.peer.shutdown()
        self.meeting.arrive(self.meeting.out())
        self.tcp.make_room()
        self.assertFalse(self.tcp.connected)

    def test_another_protocol_has_it_with_what_is_unsent(self) -> None:
        """Twisted writes that, and all that follows."""
        self.meeting.tcp.fake.room = 0
        self.meeting.stream.write_chunks([b"unsent"])
        successor = Successor()
        self.meeting.stream.hand_over(successor, b"rest")
        self.assertEqual((successor.data, successor.shaken), (b"rest", True))
        successor.transport.registerProducer(successor, True)  # type: ignore[union-attr]
        successor.transport.write(b" and new")  # type: ignore[union-attr]
        self.reactor.advance(0)
        self.meeting.tcp.make_room()
        self.assertEqual(self.meeting.heard(), b"unsent and new")
        self.meeting.arrive(self.meeting.say(b"more"))
        self.assertEqual(successor.data, b"restmore")

    def test_it_is_not_read_while_it_is_paused(self) -> None:
        self.stream.pause_reading()
        self.assertEqual(self.reactor.getReaders(), [])
        self.stream.resume_reading()
        self.assertEqual(self.reactor.getReaders(), [self.tcp])


class OldUnderTlsTests(UnderTlsTests):
    """With TLS 1.2, where each record says what it is."""

    version = SSL.TLS1_2_VERSION


@skipUnless(AVAILABLE, "this system has no epoll")
class TogetherTests(SynchronousTestCase):
    """Read together with others."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.epoll = FakeEpoll()
        self.reads = BatchedReads(
            self.reactor, lambda: None, self.reactor.seconds, cast("select.epoll", self.epoll)
        )
        self.meeting = Meeting(self.reactor, self.reads, SSL.TLS1_3_VERSION)
        self.stream, self.tcp = self.meeting.stream, self.meeting.tcp

    def watched(self) -> tuple[bool, bool]:
        """Whether it is read here, and whether by the reactor."""
        return self.tcp.fake.descriptor in self.epoll.registered, self.tcp in self.reactor.getReaders()

    def test_it_joins_after_the_handshake(self) -> None:
        self.assertEqual(self.watched(), (False, True))
        self.meeting.shake()
        self.assertEqual(self.watched(), (True, False))
        self.tcp.fake.arrived.append(self.meeting.say(ONE))
        self.epoll.ready = [(self.tcp.fileno(), select.EPOLLIN)]
        self.reads.doRead()
        self.assertEqual(self.stream.packets, [b"1" * 40])

    def test_it_pauses(self) -> None:
        self.meeting.shake()
        self.stream.pause_reading()
        self.assertEqual(self.watched(), (False, False))
        self.stream.resume_reading()
        self.assertEqual(self.watched(), (True, False))

    def test_it_does_not_join_while_it_is_paused(self) -> None:
        self.stream.pause_reading()
        self.assertEqual(self.watched(), (False, False))
        self.meeting.shake()
        self.assertEqual(self.watched(), (False, False))
        self.stream.resume_reading()
        self.assertEqual(self.watched(), (True, False))

    def test_it_is_closed(self) -> None:
        self.meeting.shake()
        self.stream.close()
        self.tcp.make_room()
        self.meeting.peer.shutdown()
        self.assertEqual(self.watched(), (False, False))

    def test_it_is_aborted(self) -> None:
        self.meeting.shake()
        self.stream.abort()
        self.assertEqual(self.watched(), (False, False))
        self.reactor.advance(0)
        self.assertIsNotNone(self.stream.reason)

    def test_the_peer_leaves(self) -> None:
        self.meeting.shake()
        self.epoll.ready = [(self.tcp.fileno(), select.EPOLLIN | select.EPOLLHUP)]
        self.reads.doRead()
        self.assertEqual(self.watched(), (False, True))
        self.tcp.readConnectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.watched(), (False, False))

    def test_it_ends_before_the_handshake_does(self) -> None:
        self.stream.abort()
        cast("Any", self.meeting.tls.transport).join()
        self.assertEqual(self.watched(), (False, False))


class PlaceTests(SynchronousTestCase):
    """Where it has no place."""

    def test_tls_over_something_else(self) -> None:
        reactor = MemoryReactorClock()
        factory = Noters(reactor, None)
        tls = TLSMemoryBIOFactory(options(), False, factory, reactor).buildProtocol(None)
        transport = StringTransport()
        tls.makeConnection(transport)
        self.assertIs(tls.transport, transport)
        factory.stream.handshakeCompleted()
        self.assertIsNone(UnderTls.put(transport, None))

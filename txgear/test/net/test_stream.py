"""Tests of L{txgear.net.stream}, and of the transports under it, without a socket."""

from __future__ import annotations

from errno import ECONNRESET, EPIPE
from typing import Any, cast
from unittest import skipUnless

from twisted.internet.address import HostnameAddress, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import AccumulatingProtocol, MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import ProtocolError
from txgear.net.batchedreads import AVAILABLE, BatchedReads
from txgear.net.stream import (
    BROKEN,
    CLOSE_SECONDS,
    CLOSED,
    CLOSING,
    LARGE_READ_SIZE,
    LINGERING,
    OPEN,
    READ_SIZE,
    SENDMSG_CHUNKS,
    STALL_SECONDS,
    Stream,
    Traffic,
    shown_peer,
)
from txgear.protocol.constants import CAN_DO, ECHO_REQ, TEXT
from txgear.protocol.packets import PIECES_FROM, Data, Decoder, request
from txgear.test.net.test_batchedreads import FakeEpoll
from txgear.test.support.extras import PROPERTY, given, st
from txgear.test.support.net import FakeTcpConnection

STEPS = ("write", "write", "room", "room", "broken", "stall", "pause", "resume", "close", "linger", "abort")
"""What may happen to a connection."""


class Listening(Stream):
    """A stream that keeps what arrives; it is paused and dropped early."""

    pause_from = 1000
    drop_from = 4000

    def __init__(self, clock: Any, reads: BatchedReads | None = None) -> None:
        super().__init__(clock, Decoder(), reads)
        self.packets: list[tuple[int, list[Data]]] = []
        self.turns = 0
        self.close_at: int | None = None

    def packet_received(self, kind: int, arguments: list[Data]) -> None:
        self.packets.append((kind, arguments))
        if len(self.packets) == self.close_at:
            self.close()

    def turn_ended(self) -> None:
        self.turns += 1


class ReadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.stream = Listening(self.clock)
        self.transport = StringTransport()
        self.stream.makeConnection(self.transport)

    def test_packets_that_arrive_together_are_one_turn(self) -> None:
        self.stream.dataReceived(request(CAN_DO, b"f") + b"status\n" + request(CAN_DO, b"g")[:5])
        self.assertEqual(self.stream.packets, [(CAN_DO, [b"f"]), (TEXT, [b"status"])])
        self.assertEqual(self.stream.turns, 1)
        self.stream.dataReceived(request(CAN_DO, b"g")[5:])
        self.assertEqual(self.stream.packets[2:], [(CAN_DO, [b"g"])])
        self.assertEqual(self.stream.turns, 2)

    def test_what_is_not_gearman_ends_the_connection_after_what_came_before(self) -> None:
        self.stream.dataReceived(request(CAN_DO, b"f") + request(99) + request(CAN_DO, b"g"))
        self.assertEqual(self.stream.packets, [(CAN_DO, [b"f"])])
        self.assertEqual(self.stream.turns, 1)
        self.assertTrue(self.transport.disconnected)
        self.stream.dataReceived(request(CAN_DO, b"h"))
        self.assertEqual(len(self.stream.packets), 1)

    def test_nothing_is_looked_at_after_the_close(self) -> None:
        self.stream.close_at = 1
        self.stream.dataReceived(b"quit\nstatus\n")
        self.assertEqual(self.stream.packets, [(TEXT, [b"quit"])])
        self.assertEqual(self.stream.turns, 1)

    def test_a_subclass_says_what_packets_are_for(self) -> None:
        stream = Stream(self.clock, Decoder())
        stream.makeConnection(StringTransport())
        self.assertRaises(NotImplementedError, stream.dataReceived, b"status\n")

    def test_bytes_are_counted_for_several_connections_together(self) -> None:
        traffic = Traffic()
        for _ in range(2):
            stream = Stream(self.clock, Decoder(), traffic=traffic)
            stream.packet_received = lambda kind, arguments: None  # type: ignore[method-assign]
            stream.makeConnection(StringTransport())
            stream.dataReceived(b"status\n")
            stream.dataReceived(b"sta")
            stream.write_chunks([b"an", b"swer"])
        self.assertEqual((traffic.received, traffic.sent), (20, 12))

    def test_the_end_of_a_turn_may_be_of_no_interest(self) -> None:
        stream = Stream(self.clock, Decoder())
        stream.makeConnection(StringTransport())
        stream.dataReceived(b"stat")
        self.assertEqual((stream.closing, stream.decoder.missing), (False, 1))

    def test_it_knows_its_peer_for_the_log(self) -> None:
        self.assertEqual(self.stream.peer_name, "192.168.1.1:54321")
        self.assertEqual(Listening(self.clock).peer_name, "a peer")
        for address, shown in (
            (IPv6Address("TCP", "2001:db8::1", 5), "[2001:db8::1]:5"),
            (UNIXAddress(None), "a Unix socket"),
            (HostnameAddress(b"gear.example", 5), "HostnameAddress(hostname=b'gear.example', port=5)"),
        ):
            self.assertEqual(shown_peer(address), shown)


class Answering(Listening):
    """A stream that does not end where the peer breaks the protocol: something is written before."""

    def protocol_broken(self, error: ProtocolError) -> None:
        self.write_chunks([b"no"])


class StateTests(SynchronousTestCase):
    """The life of a connection, from L{OPEN} to L{CLOSED}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.stream = Answering(self.clock)
        self.transport = StringTransport()
        self.stream.makeConnection(self.transport)

    def test_a_close_that_waits(self) -> None:
        for linger, state in ((False, CLOSING), (True, LINGERING)):
            self.setUp()
            self.assertEqual((self.stream.state, self.stream.closing), (OPEN, False))
            self.stream.pauseProducing()
            self.stream.write_chunks([b"one"])
            self.assertFalse(self.stream.caught_up)
            self.stream.close(linger)
            self.assertEqual((self.stream.state, self.stream.closing), (state, True))
            self.stream.resumeProducing()
            self.assertEqual((self.stream.state, self.stream.caught_up), (state, True))
            self.stream.connectionLost(Failure(ConnectionDone()))
            self.assertEqual((self.stream.state, self.stream.closing), (CLOSED, True))

    def test_an_abort(self) -> None:
        self.stream.pauseProducing()
        self.stream.write_chunks([b"one"])
        self.stream.abort()
        self.assertEqual((self.stream.state, self.stream.caught_up), (CLOSED, True))
        self.stream.pauseProducing()
        self.stream.resumeProducing()
        self.assertEqual((self.stream.state, self.transport.value()), (CLOSED, b""))

    def test_after_a_broken_protocol_there_are_answers_but_no_more_requests(self) -> None:
        self.stream.dataReceived(request(99) + b"status\n")
        self.assertEqual((self.stream.state, self.stream.closing), (BROKEN, False))
        self.stream.dataReceived(b"status\n")
        self.stream.write_chunks([b" more"])
        self.assertEqual((self.stream.packets, self.transport.value()), ([], b"no more"))
        self.stream.close(linger=True)
        self.assertEqual(self.stream.state, LINGERING)

    def test_a_protocol_that_is_broken_where_the_connection_ends_is_no_step_back(self) -> None:
        self.stream.close_at = 1
        self.stream.dataReceived(request(CAN_DO, b"f") + request(99))
        self.stream.break_off(ProtocolError("too late"))
        self.assertEqual(self.stream.state, CLOSING)


class TransportTests(SynchronousTestCase):
    """Over a transport that is no plain TCP connection, such as TLS."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.stream = Listening(self.clock)
        self.transport = StringTransport()
        self.stream.makeConnection(self.transport)

    def connection_lost(self) -> None:
        self.stream.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def written(self) -> bytes:
        value: bytes = self.transport.value()
        self.transport.clear()
        return value

    def test_it_is_the_transports_producer(self) -> None:
        self.assertIs(self.transport.producer, self.stream)
        self.assertTrue(self.transport.streaming)

    def test_a_large_packet_arrives(self) -> None:
        whole = request(ECHO_REQ, b"x" * LARGE_READ_SIZE)
        self.stream.dataReceived(whole[:100])
        self.stream.dataReceived(whole[100:])
        self.assertEqual(self.stream.packets, [(ECHO_REQ, [b"x" * LARGE_READ_SIZE])])

    def test_chunks_are_written_in_order(self) -> None:
        self.stream.write_chunks([b"one", b"two"])
        self.stream.write_chunks([b"three"])
        self.assertEqual(self.written(), b"onetwothree")

    def test_what_follows_waits_while_the_transport_is_full(self) -> None:
        self.stream.pauseProducing()
        self.stream.write_chunks([b"one"])
        self.stream.write_chunks([b"two"])
        self.assertEqual((self.written(), self.stream.unwritten), (b"", 6))
        self.stream.resumeProducing()
        self.assertEqual((self.written(), self.stream.unwritten), (b"onetwo", 0))
        self.stream.resumeProducing()
        self.assertEqual(self.written(), b"")

    def test_when_all_has_left(self) -> None:
        calls: list[int] = []
        self.stream.when_caught_up(lambda: calls.append(1))
        self.assertEqual(calls, [1])
        self.stream.pauseProducing()
        self.stream.write_chunks([b"one"])
        self.stream.when_caught_up(lambda: calls.append(len(self.written())))
        self.assertEqual(calls, [1])
        self.stream.resumeProducing()
        self.stream.resumeProducing()
        self.assertEqual(calls, [1, 3])
        self.connection_lost()
        self.stream.when_caught_up(lambda: calls.append(2))
        self.assertEqual(calls, [1, 3])

    def test_a_peer_that_does_not_read_is_not_read(self) -> None:
        self.stream.pauseProducing()
        self.stream.write_chunks([b"x" * 1000])
        self.assertEqual(self.transport.producerState, "producing")
        self.stream.write_chunks([b"x"])
        self.assertEqual(self.transport.producerState, "paused")
        self.stream.write_chunks([b"y"])
        self.stream.resumeProducing()
        self.assertEqual(self.transport.producerState, "producing")
        self.assertEqual(len(self.written()), 1002)
        self.clock.advance(STALL_SECONDS)
        self.assertFalse(self.transport.disconnected)

    def test_a_peer_that_never_reads_is_given_up(self) -> None:
        self.stream.pauseProducing()
        self.stream.write_chunks([b"x" * 1001])
        self.clock.advance(STALL_SECONDS - 1)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnected)
        self.connection_lost()

    def test_a_peer_that_leaves_far_too_much_unread_is_given_up_at_once(self) -> None:
        self.stream.pauseProducing()
        self.stream.write_chunks([b"x" * 4000])
        self.assertFalse(self.transport.disconnected)
        self.stream.write_chunks([b"x"])
        self.assertTrue(self.transport.disconnected)
        self.stream.write_chunks([b"x"])
        self.connection_lost()

    def test_a_close_waits_for_what_was_written(self) -> None:
        self.stream.pauseProducing()
        self.stream.write_chunks([b"one"])
        self.stream.close()
        self.stream.close()
        self.stream.write_chunks([b"two"])
        self.assertFalse(self.transport.disconnecting)
        self.stream.resumeProducing()
        self.assertEqual(self.written(), b"one")
        self.assertTrue(self.transport.disconnecting)
        self.assertIsNone(self.transport.producer)
        self.connection_lost()

    def test_but_not_for_ever(self) -> None:
        for linger in (True, False):
            self.setUp()
            self.stream.pauseProducing()
            self.stream.write_chunks([b"one"])
            self.stream.close(linger)
            self.clock.advance(CLOSE_SECONDS - 1)
            self.assertFalse(self.transport.disconnected)
            self.clock.advance(1)
            self.assertTrue(self.transport.disconnected)
            self.connection_lost()

    def test_a_close_with_nothing_unwritten_is_at_once(self) -> None:
        self.stream.close()
        self.assertTrue(self.transport.disconnecting)
        self.connection_lost()

    def test_a_paused_peer_may_be_closed(self) -> None:
        self.stream.pauseProducing()
        self.stream.write_chunks([b"x" * 1001])
        self.stream.close()
        self.stream.resumeProducing()
        self.assertEqual(len(self.written()), 1001)
        self.assertTrue(self.transport.disconnecting)
        self.connection_lost()

    def test_the_end_leaves_nothing_behind(self) -> None:
        self.stream.pauseProducing()
        self.stream.write_chunks([b"x" * 1001])
        self.stream.stopProducing()
        self.connection_lost()
        self.stream.write_chunks([b"y"])
        self.stream.dataReceived(b"status\n")
        self.assertEqual((self.written(), self.stream.packets), (b"", []))


class SocketTests(SynchronousTestCase):
    """Over a plain TCP connection: bytes go straight to its socket."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.stream = Listening(self.reactor)
        self.transport = FakeTcpConnection(self.stream, self.reactor)
        self.fake = self.transport.fake

    def writing(self) -> bool:
        """Whether the reactor is asked to write."""
        return self.transport in self.reactor.getWriters()

    def reading(self) -> bool:
        return self.transport in self.reactor.getReaders()

    def test_one_write_is_one_system_call(self) -> None:
        self.stream.write_chunks([b"one"])
        self.stream.write_chunks([b"two", b"three"])
        self.assertEqual(self.fake.sent, [b"one", b"twothree"])
        self.assertFalse(self.writing())

    def test_large_chunks_are_not_joined(self) -> None:
        large = b"x" * PIECES_FROM
        self.stream.write_chunks([b"head", large, large])
        self.assertEqual(self.fake.sent, [b"head" + large + large])
        self.stream.write_chunks([large + large])
        self.assertEqual(self.fake.sent[1:], [large + large])

    def test_more_chunks_than_one_system_call_takes(self) -> None:
        chunks = [b"%05d" % number * 20 for number in range(SENDMSG_CHUNKS + 500)]
        self.stream.drop_from = 10**6
        self.stream.write_chunks(list(chunks))
        self.assertEqual(len(self.fake.sent), 1)
        self.transport.make_room()
        self.assertEqual(self.transport.written, b"".join(chunks))
        self.assertEqual((self.stream.unwritten, self.writing()), (0, False))

    def test_what_the_socket_does_not_take_is_written_later_in_order(self) -> None:
        for room in (0, 1, 3, 4, 6, 7):
            self.setUp()
            self.fake.room = room
            self.stream.write_chunks([b"one", b"two"])
            self.assertEqual(b"".join(self.fake.sent), b"onetwo"[:room])
            self.assertEqual(self.writing(), room < 6)
            self.stream.write_chunks([b"three"])
            self.transport.make_room()
            self.assertEqual(self.transport.written, b"onetwothree")
            self.assertFalse(self.writing())

    def test_large_chunks_that_the_socket_takes_in_parts(self) -> None:
        self.stream.drop_from = 10**6
        chunks = [b"%03d" % number * 10000 for number in range(10)]
        for step in (999, 30000, 45000, 100000):
            self.setUp()
            self.stream.drop_from = 10**6
            self.fake.room = 0
            self.stream.write_chunks(list(chunks))
            for _ in range(300000 // step + 10):
                self.transport.make_room(step)
            self.assertEqual(self.transport.written, b"".join(chunks))
            self.assertEqual((self.stream.unwritten, self.writing()), (0, False))

    def test_another_protocol_has_it_with_what_is_unsent(self) -> None:
        """The transport writes that, and reads for the other."""
        self.fake.room = 2
        self.stream.write_chunks([b"unsent"])
        successor = AccumulatingProtocol()
        self.stream.hand_over(successor, b"rest")
        self.assertIs(self.transport.producer, None)
        self.transport.registerProducer(self.stream, True)
        self.transport.make_room()
        self.transport.arrive(b" and more")
        self.assertEqual((self.transport.written, successor.data), (b"unsent", b"rest and more"))
        self.assertEqual(self.stream.packets, [])

    def test_another_protocol_has_it_although_it_was_not_read(self) -> None:
        self.stream.pause_reading()
        self.assertFalse(self.reading())
        successor = AccumulatingProtocol()
        self.stream.hand_over(successor)
        self.assertTrue(self.reading())
        self.assertEqual((successor.made, successor.data), (1, b""))

    def test_another_protocol_that_hangs_up_at_once_gets_nothing(self) -> None:
        successor = AccumulatingProtocol()
        successor.connectionMade = self.transport.loseConnection  # type: ignore[method-assign]
        self.stream.hand_over(successor, b"rest")
        self.assertEqual(successor.data, b"")

    @PROPERTY
    @given(st.lists(st.lists(st.sampled_from([1, 30, 40000, 70000]), max_size=4), max_size=20), st.data())
    def test_nothing_is_lost_and_order_is_kept(self, writes: list[list[int]], data: st.DataObject) -> None:
        self.setUp()
        self.stream.pause_from = self.stream.drop_from = 10**8
        everything = b""
        for number, sizes in enumerate(writes):
            self.transport.make_room(data.draw(st.sampled_from([0, 0, 20, 50000, 100000])))
            chunks = [b"%c" % (64 + number) * size for size in sizes]
            everything += b"".join(chunks)
            if chunks:
                self.stream.write_chunks(chunks)
            self.stream.check()
        self.transport.make_room()
        self.stream.check()
        self.assertEqual(self.transport.written, everything)
        self.assertEqual(self.stream._traffic.sent, len(everything))
        self.assertEqual((self.stream.unwritten, self.writing()), (0, False))

    @PROPERTY
    @given(st.lists(st.sampled_from(STEPS), max_size=12))
    def test_whatever_happens_its_life_goes_forward_and_ends(self, steps: list[str]) -> None:
        self.setUp()
        self.fake.room = 10
        life = [self.stream.state]
        for step in steps:
            if step == "write":
                self.stream.write_chunks([b"x" * 700])
            elif step == "room":
                self.transport.make_room(800)
            elif step == "broken":
                if self.reading():
                    self.transport.arrive(request(99))
            elif step == "stall":
                self.reactor.advance(STALL_SECONDS)
            elif step == "pause":
                self.stream.pause_reading()
            elif step == "resume":
                self.stream.resume_reading()
            elif step == "abort":
                self.stream.abort()
            else:
                self.stream.close(linger=step == "linger")
            self.stream.check()
            life.append(self.stream.state)
        self.assertEqual(life, sorted(life))
        self.stream.close()
        self.transport.make_room()
        self.reactor.advance(CLOSE_SECONDS)
        self.reactor.advance(0)
        self.stream.check()
        self.assertEqual((self.stream.state, self.transport.connected), (CLOSED, 0))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_broken_connection_is_the_reactors_affair(self) -> None:
        self.fake.broken = True
        self.stream.write_chunks([b"one"])
        self.assertTrue(self.writing())
        self.transport.make_room()
        self.assertTrue(self.stream.closing)
        self.assertFalse(self.transport.connected)

    def test_what_a_peer_sent_before_it_left_is_read(self) -> None:
        """Answers that nobody reads are dropped; the end is found where reading finds it."""
        for error in (BrokenPipeError(EPIPE, "broken"), ConnectionResetError(ECONNRESET, "reset")):
            self.setUp()
            self.fake.broken, self.fake.error = True, error
            self.stream.write_chunks([b"one"])
            self.assertEqual((self.writing(), self.reading()), (False, True))
            self.fake.broken = False
            self.transport.arrive(b"two\n")
            self.stream.write_chunks([b"answer"])
            self.assertEqual((self.stream.packets[-1], self.transport.written), ((TEXT, [b"two"]), b""))

    def test_a_peer_that_does_not_read_is_not_read(self) -> None:
        self.fake.room = 0
        self.stream.write_chunks([b"x" * 500, b"x" * 500])
        self.stream.write_chunks([b"x" * 1001])
        self.assertFalse(self.reading())
        self.transport.make_room()
        self.assertTrue(self.reading())
        self.assertEqual(len(self.transport.written), 2001)

    def test_a_peer_that_reads_slowly_is_not_given_up(self) -> None:
        self.stream.drop_from = 10**6
        self.fake.room = 0
        self.stream.write_chunks([b"x" * PIECES_FROM] * 5)
        for _ in range(4):
            self.reactor.advance(STALL_SECONDS - 1)
            self.transport.make_room(PIECES_FROM)
        self.assertTrue(self.stream.unwritten or self.writing())
        self.assertFalse(self.stream.closing)
        self.transport.make_room()
        self.assertTrue(self.reading())
        self.assertEqual(len(self.transport.written), 5 * PIECES_FROM)

    def test_a_peer_that_stops_reading_is_given_up(self) -> None:
        self.fake.room = 0
        self.stream.write_chunks([b"x"])
        self.stream.write_chunks([b"x" * 1001])
        self.reactor.advance(STALL_SECONDS)
        self.assertTrue(self.stream.closing)
        self.reactor.advance(0)
        self.assertFalse(self.transport.connected)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_large_packet_is_read_in_large_pieces(self) -> None:
        whole = request(ECHO_REQ, b"x" * (2 * LARGE_READ_SIZE))
        self.transport.arrive(whole[:100])
        self.assertEqual(self.transport.bufferSize, LARGE_READ_SIZE)
        self.transport.arrive(whole[100:LARGE_READ_SIZE])
        self.transport.arrive(whole[LARGE_READ_SIZE:-100000])
        self.assertEqual(self.transport.bufferSize, 100000)
        self.transport.arrive(whole[-100000:])
        self.assertEqual(self.transport.bufferSize, READ_SIZE)
        self.assertEqual(len(self.stream.packets), 1)

    def test_a_close_waits_for_what_was_written(self) -> None:
        self.fake.room = 1
        self.stream.write_chunks([b"one", b"two"])
        self.stream.close()
        self.assertFalse(self.reading())
        self.assertTrue(self.transport.connected)
        self.transport.make_room()
        self.assertEqual(self.transport.written, b"onetwo")
        self.assertFalse(self.transport.connected)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_lingering_close_ends_our_side_and_waits_for_the_peers(self) -> None:
        self.stream.write_chunks([b"no"])
        self.stream.close(linger=True)
        self.transport.make_room()
        self.transport.arrive(b"more\n")
        self.assertTrue(self.transport.connected)
        self.assertEqual(self.stream.packets, [])
        self.stream.readConnectionLost()
        self.transport.make_room()
        self.assertFalse(self.transport.connected)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_peer_that_ends_its_side_gets_what_it_asked_for(self) -> None:
        self.fake.room = 0
        self.transport.arrive(b"status\n")
        self.stream.write_chunks([b".\n"])
        self.stream.readConnectionLost()
        self.assertTrue(self.transport.connected)
        self.transport.make_room()
        self.assertEqual(self.transport.written, b".\n")
        self.assertFalse(self.transport.connected)


class PauseTests(SynchronousTestCase):
    """A connection that is not to be read, for two reasons."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.begin()

    def begin(self, reads: BatchedReads | None = None) -> None:
        self.stream = Listening(self.reactor, reads)
        self.transport = FakeTcpConnection(self.stream, self.reactor)
        self.transport.fake.room = 0
        self.stream.write_chunks([b"x"])

    def reading(self) -> bool:
        """Whether it is read; on every transport and in a batch alike."""
        return self.transport in self.reactor.getReaders()

    def fall_behind(self) -> None:
        """The peer reads nothing of a lot."""
        self.stream.write_chunks([b"x" * 1001])

    def test_each_alone(self) -> None:
        self.stream.pause_reading()
        self.assertFalse(self.reading())
        self.stream.resume_reading()
        self.assertTrue(self.reading())
        self.fall_behind()
        self.assertFalse(self.reading())
        self.transport.make_room()
        self.assertTrue(self.reading())

    def test_twice_is_once(self) -> None:
        self.stream.pause_reading()
        self.stream.pause_reading()
        self.stream.resume_reading()
        self.assertTrue(self.reading())

    def test_the_last_that_ends_counts(self) -> None:
        for held_first in (True, False):
            for freed_first in (True, False):
                self.setUp()
                steps = [self.stream.pause_reading, self.fall_behind]
                for step in steps if held_first else reversed(steps):
                    step()
                    self.assertFalse(self.reading())
                ends = [self.stream.resume_reading, self.transport.make_room]
                first, last = ends if freed_first else reversed(ends)
                first()
                self.assertFalse(self.reading())
                last()
                self.assertTrue(self.reading())
                self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_the_end_is_no_reason_to_read(self) -> None:
        for abort in (True, False):
            self.begin()
            self.stream.pause_reading()
            if abort:
                self.stream.abort()
            else:
                self.stream.close()
            self.stream.resume_reading()
            self.assertFalse(self.reading())

    def test_a_lingering_close_reads_what_still_comes(self) -> None:
        """Else the peer could not send it to its end, and would never look at the answer."""
        self.stream.pause_reading()
        self.stream.close(linger=True)
        self.assertTrue(self.reading())
        self.transport.arrive(b"status\n")
        self.assertEqual(self.stream.packets, [])

    def test_unless_the_peer_does_not_read_either(self) -> None:
        self.fall_behind()
        self.stream.pause_reading()
        self.stream.close(linger=True)
        self.assertFalse(self.reading())

    def test_over_another_transport(self) -> None:
        stream, transport = Listening(self.reactor), StringTransport()
        stream.makeConnection(transport)
        stream.pause_reading()
        self.assertEqual(transport.producerState, "paused")
        stream.resume_reading()
        self.assertEqual(transport.producerState, "producing")

    @skipUnless(AVAILABLE, "this system has no epoll")
    def test_among_others_that_are_read_together(self) -> None:
        """It is taken out of the batch, and put back; the reactor does not read it in either case."""
        epoll = FakeEpoll()
        self.begin(BatchedReads(self.reactor, lambda: None, self.reactor.seconds, cast(Any, epoll)))
        self.assertEqual(set(epoll.registered), {7})
        self.stream.pause_reading()
        self.assertEqual(epoll.registered, {})
        self.stream.resume_reading()
        self.assertEqual(set(epoll.registered), {7})
        self.assertFalse(self.reading())

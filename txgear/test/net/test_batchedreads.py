"""Tests of L{txgear.net.batchedreads}, with an epoll in memory."""

from __future__ import annotations

import select
from typing import Any, cast
from unittest import skipUnless

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from txgear.net.batchedreads import AVAILABLE, MAX_EVENTS, MERGE_FROM, MOST_ROUNDS, READ_SECONDS, BatchedReads
from txgear.net.stream import Stream
from txgear.protocol.constants import TEXT
from txgear.protocol.packets import Data, Decoder
from txgear.test.support.net import FakeTcpConnection


class FakeEpoll:
    """
    An epoll for which the test sets what is ready.

    @ivar registered: the descriptors that are watched.
    @ivar ready: what the next polls return, each event once, as after a read nothing is left.
    """

    def __init__(self) -> None:
        self.registered: dict[int, int] = {}
        self.ready: list[tuple[int, int]] = []
        self.closed = False

    def register(self, descriptor: int, events: int) -> None:
        assert descriptor not in self.registered
        self.registered[descriptor] = events

    def unregister(self, descriptor: int) -> None:
        del self.registered[descriptor]

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        assert timeout == 0
        ready, self.ready = self.ready[:most], self.ready[most:]
        return ready

    def fileno(self) -> int:
        return 99

    def close(self) -> None:
        self.closed = True


class Noting(Stream):
    """A stream that notes its turns, and raises an error where the test wants one."""

    def __init__(self, clock: Any, reads: BatchedReads, notes: list[str]) -> None:
        super().__init__(clock, Decoder(), reads)
        self.reads = reads
        self.notes = notes

    def packet_received(self, kind: int, arguments: list[Data]) -> None:
        assert (kind, arguments) != (TEXT, [b"fail"])
        if arguments == [b"stop"]:
            self.reads.stop()

    def turn_ended(self) -> None:
        if not self.reads.reading:
            self.notes.append("turn")


@skipUnless(AVAILABLE, "this system has no epoll")
class BatchedReadsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.notes: list[str] = []
        self.turn_seconds = 0.0
        self.epoll = FakeEpoll()
        self.reads = self.make(cast("select.epoll", self.epoll))

    def make(self, epoll: select.epoll | None = None) -> BatchedReads:
        return BatchedReads(self.reactor, self.end, self.reactor.seconds, epoll)

    def end(self) -> None:
        self.notes.append("end")
        if self.turn_seconds:
            self.reactor.advance(self.turn_seconds)

    def connect(self, count: int) -> list[FakeTcpConnection]:
        return [
            FakeTcpConnection(Noting(self.reactor, self.reads, self.notes), self.reactor, descriptor)
            for descriptor in range(10, 10 + count)
        ]

    def arrive(self, *arrived: tuple[FakeTcpConnection, bytes]) -> None:
        """Something comes in for these connections; the reactor finds the epoll ready."""
        for connection, data in arrived:
            connection.fake.arrived.append(data)
        self.epoll.ready = [(connection.fileno(), select.EPOLLIN) for connection, _ in arrived]
        self.reads.doRead()

    def watched(self, connection: FakeTcpConnection) -> tuple[bool, bool]:
        """Whether a connection is read here, and whether by the reactor."""
        return connection.fake.descriptor in self.epoll.registered, connection in self.reactor.getReaders()

    def test_it_is_a_descriptor_to_the_reactor(self) -> None:
        verifyObject(IReadDescriptor, self.reads)
        self.assertEqual(self.reactor.getReaders(), [self.reads])
        self.assertEqual((self.reads.fileno(), self.reads.logPrefix()), (99, "txgear"))

    def test_it_has_an_epoll_of_its_own(self) -> None:
        reads = self.make()
        self.assertGreater(reads.fileno(), 0)
        reads.doRead()
        reads.stop()
        self.assertEqual((self.notes, self.reactor.getReaders()), ([], [self.reads]))

    def test_connections_are_read_here_and_not_by_the_reactor(self) -> None:
        for connection in self.connect(2):
            self.assertEqual(self.watched(connection), (True, False))

    def test_a_few_that_are_ready_are_turns_of_their_own(self) -> None:
        connections = self.connect(MERGE_FROM)
        self.arrive(*[(connection, b"a\nb\n") for connection in connections[1:]])
        self.assertEqual(self.notes, ["turn"] * (MERGE_FROM - 1))

    def test_many_that_are_ready_are_one_turn(self) -> None:
        connections = self.connect(MERGE_FROM)
        self.arrive(*[(connection, b"a\n") for connection in connections])
        self.assertEqual(self.notes, ["end"])
        self.assertFalse(self.reads.reading)

    def test_where_many_are_ready_those_after_them_are_read_as_well(self) -> None:
        """Each round ends with a turn; what is ready then needs no turn of the reactor."""
        connections = self.connect(MAX_EVENTS + 5)
        self.arrive(*[(connection, b"a\n") for connection in connections])
        self.assertFalse(any(connection.fake.arrived for connection in connections))
        self.assertEqual(self.notes, ["end", "end"])

    def test_the_rounds_have_an_end(self) -> None:
        """The reactor has other descriptors, and timers."""
        connections = self.connect(MERGE_FROM)
        again = [(connection.fileno(), select.EPOLLIN) for connection in connections] * (
            MAX_EVENTS // MERGE_FROM
        )
        self.epoll.ready = again * (MOST_ROUNDS + 1)
        self.reads.doRead()
        self.assertEqual((self.notes, len(self.epoll.ready)), (["end"] * MOST_ROUNDS, MAX_EVENTS))

    def test_slow_rounds_end_sooner(self) -> None:
        connections = self.connect(MERGE_FROM)
        self.epoll.ready = [(connection.fileno(), select.EPOLLIN) for connection in connections] * MAX_EVENTS
        self.turn_seconds = READ_SECONDS / 2
        self.reads.doRead()
        self.assertEqual(self.notes, ["end"] * 3)

    def test_a_peer_that_leaves_is_gone_at_once(self) -> None:
        gone, other = self.connect(2)
        self.arrive((gone, b""))
        self.assertFalse(gone.connected)
        self.assertTrue(gone.disconnected)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.watched(other), (True, False))

    def test_one_that_only_sends_no_more_gets_what_is_left_for_it(self) -> None:
        [connection] = self.connect(1)
        connection.fake.room = 0
        cast("Noting", connection.protocol).write_chunks([b"an answer"])
        self.arrive((connection, b""))
        self.assertTrue(connection.connected)
        self.assertEqual(self.watched(connection), (False, False))
        connection.make_room()
        self.assertEqual(connection.written, b"an answer")
        self.assertFalse(connection.connected)

    def test_any_other_end_is_the_reactors_affair(self) -> None:
        reset, hung_up, other = self.connect(3)
        reset.fake.broken = True
        self.epoll.ready = [
            (reset.fileno(), select.EPOLLIN),
            (hung_up.fileno(), select.EPOLLIN | select.EPOLLHUP),
        ]
        self.reads.doRead()
        for connection in (reset, hung_up):
            self.assertEqual(self.watched(connection), (False, True))
            self.assertTrue(connection.connected)
        self.assertEqual(self.watched(other), (True, False))

    def test_one_that_goes_leaves_nothing_behind(self) -> None:
        [connection] = self.connect(1)
        descriptor = connection.fileno()
        # The system forgets a descriptor that is closed.
        del self.epoll.registered[descriptor]
        connection.connectionLost(Failure(ConnectionResetError()))
        self.epoll.ready = [(descriptor, select.EPOLLIN)]
        self.reads.doRead()
        self.assertEqual(self.notes, [])

    def test_its_descriptor_may_be_used_again(self) -> None:
        [first] = self.connect(1)
        del self.epoll.registered[first.fileno()]
        first.connectionLost(Failure(ConnectionResetError()))
        [second] = self.connect(1)
        self.reads.remove(second.fileno(), first)
        self.assertEqual(self.watched(second), (True, False))

    def test_a_defect_costs_one_connection(self) -> None:
        connections = self.connect(MERGE_FROM)
        self.arrive(*[(each, b"fail\n" if each is connections[1] else b"a\n") for each in connections])
        self.assertEqual(len(self.flushLoggedErrors(AssertionError)), 1)
        self.assertEqual(self.notes, ["end"])
        del self.epoll.registered[connections[1].fileno()]
        self.reactor.advance(0)
        self.assertEqual([bool(each.connected) for each in connections], [True, False, True, True])

    def test_one_that_is_paused_is_not_read_until_it_goes_on(self) -> None:
        [connection] = self.connect(1)
        stream = cast("Noting", connection.protocol)
        stream.pause_from = 1000
        connection.fake.room = 0
        for size in (1, 1001):
            stream.write_chunks([b"x" * size])
        self.assertEqual(self.watched(connection), (False, False))
        connection.make_room()
        self.assertEqual(self.watched(connection), (True, False))

    def test_one_that_is_aborted_or_closed_is_not_read(self) -> None:
        aborted, closed = self.connect(2)
        cast("Noting", aborted.protocol).abort()
        cast("Noting", closed.protocol).close()
        for connection in (aborted, closed):
            self.assertEqual(self.watched(connection), (False, False))

    def test_once_it_has_stopped_the_reactor_reads(self) -> None:
        [connection] = self.connect(1)
        self.reads.stop()
        self.reads.connectionLost(Failure(ConnectionResetError()))
        self.assertTrue(self.epoll.closed)
        self.assertEqual(self.reactor.getReaders(), [connection])
        [late] = self.connect(1)
        late.arrive(b"a\n")
        self.assertEqual(self.notes, ["turn"])

    def test_it_may_be_stopped_within_a_turn(self) -> None:
        connections = self.connect(MERGE_FROM)
        self.arrive(*[(connection, b"stop\n") for connection in connections])
        self.assertEqual(self.notes, ["turn", "end"])
        self.assertEqual(set(self.reactor.getReaders()), set(connections))

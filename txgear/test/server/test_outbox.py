"""Tests of L{txgear.server.outbox}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Peer, Reply
from txgear.protocol.constants import ECHO_RES, NOOP
from txgear.protocol.packets import Packet
from txgear.server.outbox import Outbox


class NotingLine:
    """
    A line that keeps what it was to write; each item is one write.

    @ivar aborted: whether it was ended.
    """

    def __init__(self) -> None:
        self.writes: list[list[Packet]] = []
        self.aborted = False

    def write_packets(self, packets: list[Packet]) -> None:
        self.writes.append(packets)

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def drain(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None:
        self.aborted = True


class BrokenLine(NotingLine):
    def write_packets(self, packets: list[Packet]) -> None:
        raise ValueError("broken")


class EagerLine(NotingLine):
    """A line that begins another turn while it is written to: something for itself, and for another."""

    def __init__(self, outbox: Outbox, peer: Peer, other: Peer) -> None:
        super().__init__()
        self.outbox = outbox
        self.peer = peer
        self.other = other

    def write_packets(self, packets: list[Packet]) -> None:
        super().write_packets(packets)
        if len(self.writes) == 1:
            self.outbox.send(self.other, ECHO_RES, b"second turn")
            self.outbox.send(self.peer, ECHO_RES, b"second turn")
            self.outbox.flush()


class OutboxTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.outbox = Outbox()
        self.peers = [Peer(number, "192.0.2.1") for number in range(2)]
        self.lines = [NotingLine(), NotingLine()]
        for peer, line in zip(self.peers, self.lines, strict=True):
            self.outbox.connect(peer, line)

    def test_what_a_turn_brought_is_one_write_to_each_peer(self) -> None:
        first, second = self.peers
        self.outbox.send(first, NOOP)
        self.outbox.send(second, ECHO_RES, b"x")
        self.outbox.send(first, ECHO_RES, b"y")
        self.assertEqual([line.writes for line in self.lines], [[], []])
        self.outbox.flush()
        self.assertEqual(
            [line.writes for line in self.lines], [[[(NOOP,), (ECHO_RES, b"y")]], [[(ECHO_RES, b"x")]]]
        )
        self.outbox.flush()
        self.assertEqual([len(line.writes) for line in self.lines], [1, 1])

    def test_nothing_goes_to_who_has_gone(self) -> None:
        gone, other = self.peers
        self.outbox.send(gone, NOOP)
        self.outbox.send(other, NOOP)
        self.outbox.disconnect(gone)
        self.outbox.send(gone, NOOP)
        self.outbox.flush()
        self.assertEqual([line.writes for line in self.lines], [[], [[(NOOP,)]]])
        self.assertEqual(self.outbox.lines(), [self.lines[1]])

    def test_what_is_sent_while_it_writes_is_written_after_the_rest(self) -> None:
        first, second = self.peers
        eager = EagerLine(self.outbox, first, second)
        self.outbox.connect(first, eager)
        self.outbox.send(first, ECHO_RES, b"first turn")
        self.outbox.send(second, ECHO_RES, b"first turn")
        self.outbox.flush()
        expected = [[(ECHO_RES, b"first turn")], [(ECHO_RES, b"second turn")]]
        self.assertEqual(eager.writes, expected)
        self.assertEqual(self.lines[1].writes, expected)

    def test_a_defect_of_one_line_costs_the_others_nothing(self) -> None:
        first, second = self.peers
        broken = BrokenLine()
        self.outbox.connect(first, broken)
        for _ in range(2):
            self.outbox.send(first, NOOP)
            self.outbox.send(second, NOOP)
            self.outbox.flush()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)
        self.assertEqual(self.lines[1].writes, [[(NOOP,)], [(NOOP,)]])
        # Its peer would wait for the answer that is lost, and take the next one for it.
        self.assertEqual([broken.aborted, self.lines[1].aborted], [True, False])

    def test_whether_there_is_something_for_a_peer(self) -> None:
        peer, other = self.peers
        self.outbox.send(peer, NOOP)
        self.assertEqual([self.outbox.nothing_for(each) for each in (peer, other)], [False, True])
        self.outbox.flush()
        self.assertTrue(self.outbox.nothing_for(peer))
        self.outbox.hold(peer, Reply(0))
        self.assertFalse(self.outbox.nothing_for(peer))

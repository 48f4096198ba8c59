"""Tests of L{txgear.server.outbox}: answers that wait for the disk, and what stays behind them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import AskedReply, Peer, Reply
from txgear.protocol.constants import ECHO_RES, JOB_CREATED, NOOP, TEXT
from txgear.protocol.packets import Packet, Pieces
from txgear.server.outbox import MOST_HELD, MOST_HELD_BYTES, Outbox


class PausableLine:
    """
    A line that keeps what was asked of it.

    @ivar written: the packets, in order.
    @ivar paused: whether it is not to be read; each change must be one.
    """

    def __init__(self) -> None:
        self.written: list[Packet] = []
        self.paused = False

    def write_packets(self, packets: list[Packet]) -> None:
        self.written += packets

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False

    def drain(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def take(self) -> list[Packet]:
        """What was written since the last time."""
        taken, self.written = self.written, []
        return taken


class ClosingLine(PausableLine):
    """A line that closes another peer's once it is written to."""

    def __init__(self, outbox: Outbox, other: Peer) -> None:
        super().__init__()
        self.outbox = outbox
        self.other = other
        self.closed: list[list[Packet]] = []

    def write_packets(self, packets: list[Packet]) -> None:
        super().write_packets(packets)
        self.outbox.send(self.other, NOOP)
        self.outbox.afterwards(self.other, lambda: self.closed.append(list(self.written)))
        self.outbox.flush()


class NumberedReply(Reply):
    """The reply to a submit of the job with this number."""

    def __init__(self, number: int, size: int = 1) -> None:
        super().__init__(size)
        self.number = number


def echo(text: bytes) -> Packet:
    return (ECHO_RES, text)


class HeldTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.outbox = Outbox()
        self.peer, self.other = Peer(1, "192.0.2.1"), Peer(2, "192.0.2.2")
        self.line, self.other_line = PausableLine(), PausableLine()
        self.outbox.connect(self.peer, self.line)
        self.outbox.connect(self.other, self.other_line)

    def hold(self, number: int, size: int = 1, *, crowded: bool = False) -> NumberedReply:
        reply = NumberedReply(number, size)
        self.outbox.hold(self.peer, reply, crowded)
        return reply

    def send(self, text: bytes) -> None:
        self.outbox.send(self.peer, *echo(text))

    def answer(self, *answered: NumberedReply) -> list[Packet]:
        """The disk has answered; what the peer hears."""
        for reply in answered:
            self.outbox.release(reply, *self.created(reply.number))
        self.outbox.flush()
        return self.line.take()

    def created(self, number: int) -> Packet:
        return (JOB_CREATED, b"H:test:%d" % number)


class OrderTests(HeldTestCase):
    """Each connection's output is one line."""

    def test_what_comes_later_stays_behind_an_answer_that_waits(self) -> None:
        self.send(b"before")
        held = self.hold(1)
        self.send(b"behind")
        self.outbox.flush()
        self.assertEqual(self.line.take(), [echo(b"before")])
        self.assertEqual(self.answer(held), [self.created(1), echo(b"behind")])
        self.send(b"after")
        self.outbox.flush()
        self.assertEqual(self.line.take(), [echo(b"after")])

    def test_nothing_is_let_go_before(self) -> None:
        self.hold(1)
        self.send(b"behind")
        self.assertEqual(self.answer(), [])
        self.assertEqual(self.answer(NumberedReply(2)), [])

    def test_in_one_write_with_what_was_sent_before(self) -> None:
        self.send(b"before")
        held = self.hold(1)
        self.assertEqual(self.answer(held), [echo(b"before"), self.created(1)])

    def test_several_places(self) -> None:
        first, second, third = self.hold(1), self.hold(2), self.hold(3)
        self.send(b"a")
        fourth = self.hold(4)
        self.send(b"b")
        # What is not the first stays, whatever is known of it.
        self.assertEqual(self.answer(second), [])
        self.assertEqual(self.answer(first), [self.created(1), self.created(2)])
        self.assertEqual(self.answer(third), [self.created(3), echo(b"a")])
        self.assertEqual(self.answer(fourth), [self.created(4), echo(b"b")])

    def test_one_answer_may_hold_several_places(self) -> None:
        shared = self.hold(1)
        self.outbox.hold(self.peer, shared)
        self.outbox.hold(self.other, shared)
        self.assertEqual(self.answer(shared), [self.created(1)] * 2)
        self.assertEqual(self.other_line.take(), [self.created(1)])

    def test_some_hear_another_answer(self) -> None:
        shared = AskedReply(1)
        self.outbox.hold(self.peer, shared)
        self.outbox.hold(self.other, shared)
        shared.others = {self.other: echo(b"no")}
        self.outbox.release(shared, *self.created(1))
        self.outbox.hold(self.other, shared)
        self.assertEqual(self.answer(), [self.created(1)])
        self.assertEqual(self.other_line.take(), [echo(b"no")] * 2)

    def test_the_answer_may_be_there_already(self) -> None:
        reply = NumberedReply(1)
        self.outbox.release(reply, *self.created(1))
        self.outbox.hold(self.peer, reply)
        self.assertEqual(self.answer(), [self.created(1)])

    def test_the_answer_to_a_text_command(self) -> None:
        later = Reply(MOST_HELD_BYTES + 1)
        self.outbox.hold(self.peer, later)
        self.assertTrue(self.line.paused)
        self.send(b"behind")
        self.assertEqual(self.answer(), [])
        self.outbox.release(later, TEXT, b".\n")
        self.assertEqual(self.answer(), [(TEXT, b".\n"), echo(b"behind")])
        self.assertFalse(self.line.paused)

    def test_other_peers_do_not_wait(self) -> None:
        held = self.hold(1)
        self.outbox.send(self.other, NOOP)
        self.outbox.flush()
        self.assertEqual(self.other_line.take(), [(NOOP,)])
        waiting = NumberedReply(2)
        self.outbox.hold(self.other, waiting)
        self.assertEqual(self.answer(held), [self.created(1)])
        self.assertEqual(self.other_line.take(), [])
        self.answer(waiting)
        self.assertEqual(self.other_line.take(), [self.created(2)])

    def test_who_has_gone_is_forgotten(self) -> None:
        held = self.hold(1, MOST_HELD_BYTES + 1)
        self.send(b"behind")
        self.outbox.afterwards(self.peer, lambda: self.fail("it has gone"))
        self.outbox.disconnect(self.peer)
        self.assertEqual(self.answer(held), [])


class BoundsTests(HeldTestCase):
    """A peer that asks faster than the disk takes is not read."""

    def test_many_packets(self) -> None:
        held = self.hold(1)
        for _ in range(MOST_HELD - 1):
            self.send(b"")
        self.assertFalse(self.line.paused)
        self.send(b"")
        self.assertTrue(self.line.paused)
        self.send(b"")
        self.assertEqual(len(self.answer(held)), MOST_HELD + 2)
        self.assertFalse(self.line.paused)

    def test_many_bytes(self) -> None:
        held = self.hold(1, MOST_HELD_BYTES)
        self.assertFalse(self.line.paused)
        self.outbox.send(self.peer, ECHO_RES, b"", Pieces([b"x"]))
        self.assertTrue(self.line.paused)
        self.answer(held)
        self.assertFalse(self.line.paused)

    def test_a_crowd(self) -> None:
        """Whatever others have brought: who adds to it is not read."""
        held = self.hold(1, crowded=True)
        self.assertTrue(self.line.paused)
        second = self.hold(2, crowded=True)
        self.answer(held)
        self.assertTrue(self.line.paused)
        self.answer(second)
        self.assertFalse(self.line.paused)

    def test_it_is_read_again_when_nothing_waits(self) -> None:
        first, second = self.hold(1, MOST_HELD_BYTES), self.hold(2)
        self.answer(first)
        self.assertTrue(self.line.paused)
        self.answer(second)
        self.assertFalse(self.line.paused)
        self.hold(3)
        self.assertFalse(self.line.paused)

    def test_what_has_left_counts_no_more(self) -> None:
        """There may always be something behind what leaves."""
        waiting = self.hold(0, MOST_HELD_BYTES // 4)
        for number in range(1, 10):
            self.send(b"x" * (MOST_HELD_BYTES // 4))
            following = self.hold(number, MOST_HELD_BYTES // 4)
            self.answer(waiting)
            waiting = following
            self.assertFalse(self.line.paused)

    def test_who_is_out_of_reach_is_not_paused(self) -> None:
        """A protocol may speak for a peer that has just gone."""
        self.outbox.disconnect(self.peer)
        self.hold(1, crowded=True)
        self.assertFalse(self.line.paused)


class AfterwardsTests(HeldTestCase):
    """What is done once all is written."""

    def setUp(self) -> None:
        super().setUp()
        self.done: list[int] = []

    def finish(self) -> None:
        """How much had been written by then."""
        self.done.append(len(self.line.written))

    def test_at_the_end_of_the_turn(self) -> None:
        self.send(b"last")
        self.outbox.afterwards(self.peer, self.finish)
        self.assertEqual(self.done, [])
        self.outbox.flush()
        self.assertEqual(self.done, [1])
        self.outbox.flush()
        self.assertEqual(self.done, [1])
        self.assertFalse(self.line.paused)

    def test_behind_what_waits(self) -> None:
        first, second = self.hold(1), self.hold(2)
        self.send(b"last")
        self.outbox.afterwards(self.peer, self.finish)
        self.assertTrue(self.line.paused)
        self.outbox.flush()
        self.answer(first)
        self.assertEqual(self.done, [])
        self.answer(second)
        self.assertEqual(self.done, [2])
        # It is read no more, whatever waited.
        self.assertTrue(self.line.paused)

    def test_of_one_that_is_not_read_already(self) -> None:
        held = self.hold(1, crowded=True)
        self.outbox.afterwards(self.peer, self.finish)
        self.answer(held)
        self.assertEqual((self.done, self.line.paused), ([1], True))

    def test_the_last_one_counts(self) -> None:
        """A connection may be about to end for two reasons."""
        held = self.hold(1)
        self.outbox.afterwards(self.peer, lambda: self.fail("it was replaced"))
        self.outbox.afterwards(self.peer, self.finish)
        self.answer(held)
        self.assertEqual(self.done, [1])

    def test_not_for_who_has_gone(self) -> None:
        for held in (True, False):
            self.setUp()
            if held:
                self.hold(1)
            self.outbox.afterwards(self.peer, self.finish)
            self.outbox.disconnect(self.peer)
            self.outbox.flush()
            self.assertEqual(self.done, [])

    def test_while_another_line_is_written_to(self) -> None:
        """What was sent before it, in a turn that began within this one, is written first."""
        line = ClosingLine(self.outbox, self.other)
        self.outbox.connect(self.peer, line)
        line.written = self.other_line.written
        self.send(b"x")
        self.outbox.flush()
        self.assertEqual(line.closed, [[echo(b"x"), (NOOP,)]])


class ReentryTests(HeldTestCase):
    """A turn that begins while another's packets are written."""

    def test_it_may_hold_and_release(self) -> None:
        outbox, peer, other = self.outbox, self.peer, self.other
        held = NumberedReply(1)

        class Eager(PausableLine):
            def write_packets(self, packets: list[Packet]) -> None:
                super().write_packets(packets)
                if len(self.written) == 1:
                    outbox.hold(peer, held)
                    outbox.send(peer, *echo(b"behind"))
                    outbox.hold(other, held)
                    outbox.release(held, JOB_CREATED, b"H:test:1")
                    outbox.flush()

        line = Eager()
        outbox.connect(peer, line)
        self.send(b"first")
        outbox.send(other, NOOP)
        outbox.flush()
        self.assertEqual(line.written, [echo(b"first"), self.created(1), echo(b"behind")])
        self.assertEqual(self.other_line.written, [(NOOP,), self.created(1)])

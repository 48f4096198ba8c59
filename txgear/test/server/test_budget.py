"""Tests of L{txgear.server.budget}: what has not arrived whole, of all peers together."""

from __future__ import annotations

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txgear.protocol.constants import ECHO_REQ, REQUEST_MAGIC, SUBMIT_JOB_BG
from txgear.protocol.packets import Decoder, request
from txgear.server.budget import LARGE, LOOK_SECONDS, PATIENCE, SILENT_SECONDS, Budget
from txgear.server.http import HttpFactory
from txgear.test.support.net import packet
from txgear.test.support.server import FakePeer, ServerFixture

MIB = 1024 * 1024
SIZE = 100 * MIB
LARGEST = 10 * MIB


class Sender:
    """A connection whose peer sends packets, as much at a time as it is told, where it is read."""

    def __init__(self, budget: Budget, size: int = LARGEST) -> None:
        self.budget = budget
        self.size = size
        self.sent = 0
        self.is_read = True
        self.finished = 0
        self.dropped = ""

    @property
    def missing(self) -> int:
        return self.size - self.sent

    def send(self, count: int = MIB) -> None:
        """The next bytes of its packet."""
        if not self.is_read or self.dropped:
            return
        self.sent += min(count, self.missing)
        if not self.missing:
            self.sent = 0
            self.finished += 1
        self.budget.holds(self, self.sent)

    def wait_for_memory(self) -> None:
        assert self.is_read
        self.is_read = False

    def go_on(self) -> None:
        assert not self.is_read
        self.is_read = True

    def drop(self, why: str) -> None:
        self.dropped = why
        self.sent = 0
        self.budget.holds(self, 0)


class BudgetTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.budget = Budget(self.clock, self.clock.seconds, SIZE, LARGEST)

    def tearDown(self) -> None:
        self.budget.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def senders(self, count: int, size: int = LARGEST) -> list[Sender]:
        return [Sender(self.budget, size) for _ in range(count)]

    def test_within_it_nobody_waits(self) -> None:
        senders = self.senders(9)
        for _ in range(9):
            for sender in senders:
                sender.send()
        self.assertEqual([sender.is_read for sender in senders], [True] * 9)
        self.assertEqual(self.budget.used, 81 * MIB)

    def test_beyond_it_all_but_one_wait_and_all_finish(self) -> None:
        senders = self.senders(50)
        most = 0
        for _ in range(5000):
            for sender in senders:
                if not sender.finished:
                    sender.send()
            self.assertEqual(self.budget.used, sum(sender.sent for sender in senders))
            most = max(most, self.budget.used)
        self.assertEqual([sender.finished for sender in senders], [1] * 50)
        self.assertGreater(most, SIZE - LARGEST)
        self.assertLessEqual(most, SIZE)
        self.assertEqual(self.budget.used, 0)

    def test_small_ones_never_wait(self) -> None:
        for sender in self.senders(20):
            sender.send(9 * MIB)
        [small, other] = self.senders(2, 2 * LARGE)
        small.send(LARGE)
        other.send(LARGE + 1)
        self.assertEqual([small.is_read, other.is_read], [True, False])
        self.assertGreater(self.budget.used, SIZE - LARGEST)

    def test_room_is_given_to_who_waits_longest(self) -> None:
        senders = self.senders(14)
        for sender in senders:
            sender.send(9 * MIB)
        waiting = [number for number, sender in enumerate(senders) if not sender.is_read]
        self.assertEqual(len(waiting), 13)
        for _ in range(30):
            finished = [sender for sender in senders if sender.finished]
            for sender in senders:
                if not sender.finished:
                    sender.send(MIB)
            self.assertLessEqual(len([s for s in senders if s.finished]) - len(finished), 14)
        self.assertEqual([sender.finished for sender in senders], [1] * 14)

    def test_who_leaves_makes_room(self) -> None:
        senders = self.senders(11)
        for sender in senders:
            sender.send(9 * MIB)
        for sender in senders[:5]:
            sender.drop("it leaves")
        self.assertEqual([sender.is_read for sender in senders[5:]], [True] * 6)
        for sender in senders[5:]:
            sender.drop("it leaves")
        self.assertEqual(self.budget.used, 0)

    def test_who_goes_on_too_slowly_while_others_wait_is_given_up(self) -> None:
        senders = self.senders(12)
        for sender in senders:
            sender.send(9 * MIB)
        for count in range(3):
            self.assertEqual(len([sender for sender in senders if sender.dropped]), count)
            self.clock.advance(PATIENCE)
            for sender in senders:
                sender.send(100)
        # Now there is room for all.
        self.assertEqual([sender.is_read for sender in senders if not sender.dropped], [True] * 9)

    def test_who_goes_on_slowly_enough_is_not(self) -> None:
        self.budget = Budget(self.clock, self.clock.seconds, 200 * MIB, 100 * MIB)
        senders = self.senders(3, 100 * MIB)
        for sender in senders:
            sender.send(50 * MIB)
        going_on = next(sender for sender in senders if sender.is_read)
        for _ in range(20):
            self.clock.advance(PATIENCE / 2)
            going_on.send(MIB)
        # Nor are those that wait, who could not send.
        self.assertEqual([sender.dropped for sender in senders], ["", "", ""])
        self.budget.stop()

    def test_who_is_silent_is_given_up(self) -> None:
        [silent, slow, waiting, whole] = self.senders(4)
        for sender in (silent, slow, waiting):
            sender.send(5)
        waiting.is_read = False
        whole.send(LARGEST)
        for _ in range(int(SILENT_SECONDS / LOOK_SECONDS) + 1):
            slow.send(1)
            self.clock.advance(LOOK_SECONDS)
        self.assertEqual(bool(silent.dropped), True)
        self.assertEqual([bool(sender.dropped) for sender in (slow, waiting, whole)], [False] * 3)
        waiting.is_read = True
        self.clock.pump([LOOK_SECONDS] * (int(SILENT_SECONDS / LOOK_SECONDS) + 1))
        self.assertTrue(waiting.dropped)
        self.assertTrue(slow.dropped)

    def test_whatever_happens_it_goes_on(self) -> None:
        for seed in range(30):
            random = Random(seed)
            self.setUp()
            senders = self.senders(40)
            for _ in range(3000):
                sender = random.choice(senders)
                choice = random.random()
                if choice < 0.9:
                    sender.send(random.choice([1, 1000, MIB]))
                elif choice < 0.92:
                    sender.drop("it leaves")
                    senders[senders.index(sender)] = Sender(self.budget)
                else:
                    self.clock.advance(0.01)
                self.assertLessEqual(self.budget.used, SIZE + MIB)
            finished = sum(sender.finished for sender in senders)
            for _ in range(2000):
                for sender in senders:
                    sender.send()
            self.assertGreater(sum(sender.finished for sender in senders), finished + 40)
            self.budget.stop()


class ConnectionTests(SynchronousTestCase):
    """Connections as holders."""

    def setUp(self) -> None:
        self.fixture = ServerFixture(max_packet=LARGEST, unfinished_memory=2 * LARGEST)
        self.budget = self.fixture.server.budget

    def begin(self, count: int, sent: int = 9 * MIB) -> list[FakePeer]:
        lines = [self.fixture.connect() for _ in range(count)]
        for line in lines:
            line.tell(packet(REQUEST_MAGIC, ECHO_REQ, bytes(LARGEST))[:sent])
        return lines

    def reading(self, line: FakePeer) -> bool:
        return line.transport.producerState == "producing"

    def test_they_wait_unread_and_go_on(self) -> None:
        first, second, third = self.begin(3)
        self.assertEqual(self.budget.used, 27 * MIB)
        self.assertEqual([self.reading(line) for line in (first, second, third)], [True, False, False])
        rest = packet(REQUEST_MAGIC, ECHO_REQ, bytes(LARGEST))[9 * MIB :]
        self.assertEqual(len(first.ask(rest)), LARGEST + 12)
        self.assertTrue(self.reading(second))
        self.assertEqual(len(second.ask(rest)), LARGEST + 12)
        self.assertEqual(len(third.ask(rest)), LARGEST + 12)
        self.assertEqual(self.budget.used, 0)

    def test_ordinary_packets_do_not_wait(self) -> None:
        self.begin(3)
        other = self.fixture.connect()
        self.assertIn(b"H:test:1", other.ask(request(SUBMIT_JOB_BG, b"f", b"", b"w")))
        whole = request(SUBMIT_JOB_BG, b"f", b"", b"w")
        other.tell(whole[:5])
        self.assertIn(b"H:test:2", other.ask(whole[5:]))

    def test_the_end_of_a_connection_gives_back_what_it_held(self) -> None:
        for end in ("leave", "abort", "close"):
            self.setUp()
            for line in self.begin(3):
                if end == "leave":
                    line.leave()
                else:
                    getattr(line.protocol, end)()
            self.assertEqual(self.budget.used, 0)
            self.budget.stop()

    def test_half_a_line_or_a_header_is_not_kept_for_ever(self) -> None:
        lines = [self.fixture.connect() for _ in range(4)]
        for line, sent in zip(lines, (b"stat", b"\0REQ\0", request(ECHO_REQ, b"x"), b""), strict=True):
            line.tell(sent)
        self.fixture.clock.pump([LOOK_SECONDS] * (int(SILENT_SECONDS / LOOK_SECONDS) + 1))
        dropped = [line.transport.disconnected for line in lines]
        self.assertEqual(dropped, [True, True, False, False])

    def test_a_decoder_tells_how_much_it_holds(self) -> None:
        decoder = Decoder()
        self.assertEqual(list(decoder.feed(request(ECHO_REQ, b"xyz")[:-2])), [])
        self.assertEqual((decoder.buffered, decoder.missing), (13, 2))
        self.assertEqual(len(list(decoder.feed(b"yz"))), 1)
        self.assertEqual((decoder.buffered, decoder.missing), (0, 0))

    def test_http_bodies_are_part_of_it(self) -> None:
        http = HttpFactory(self.fixture.server)
        [gear] = self.begin(1)
        lines = []
        for _ in range(2):
            line = self.fixture.connect()
            line.leave()
            line.protocol = http.buildProtocol(None)  # type: ignore[assignment]
            line.transport.clear()
            line.transport.producer = None
            line.protocol.makeConnection(line.transport)
            line.tell(b"POST /f HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % LARGEST + bytes(9 * MIB))
            lines.append(line)
        first, second = lines
        self.assertEqual(self.budget.used, 27 * MIB)
        self.assertEqual([self.reading(line) for line in (gear, first, second)], [True, False, False])
        gear.leave()
        self.assertTrue(self.reading(first))
        first.tell(bytes(MIB))
        self.assertEqual(len(self.fixture.server.broker.table.jobs), 1)
        self.assertTrue(self.reading(second))
        self.fixture.clock.pump([LOOK_SECONDS] * (int(SILENT_SECONDS / LOOK_SECONDS) + 1))
        self.assertTrue(second.transport.disconnected or second.transport.disconnecting)

"""Tests of L{txgear.server.turns} and L{txgear.server.listings}: much that one peer asks for in one go."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from txgear import __version__
from txgear.net.stream import PAUSE_FROM
from txgear.protocol.constants import (
    CAN_DO,
    ECHO_REQ,
    ECHO_RES,
    GRAB_JOB,
    GRAB_JOB_ALL,
    GRAB_JOB_UNIQ,
    NOOP,
    PRE_SLEEP,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    TEXT,
)
from txgear.protocol.packets import request, response
from txgear.server import listings
from txgear.server.gear import GearFactory, GearProtocol
from txgear.server.jobserver import JobServer
from txgear.server.listings import AT_ONCE, LISTS_AT_ONCE
from txgear.server.settings import Settings
from txgear.server.turns import LOOK_EVERY, TURN_BYTES
from txgear.test.support.clock import START
from txgear.test.support.net import FakeTcpConnection
from txgear.test.support.server import DurableServerTestCase, FakePeer, ServerFixture, submit

VERSION = b"OK %s\n" % __version__.encode("ascii")
MANY = 1000
"""Requests that no turn gets through, where each look at the clock finds it a millisecond later."""
WRONG = b"\0wrong......."


class TickingClock(Clock):
    """A clock that goes on a little whenever it is looked at, and does one turn of a reactor's at a time."""

    step = 0.001

    def seconds(self) -> float:
        self.rightNow += self.step
        return self.rightNow

    def turn(self) -> None:
        """What is due now, and nothing that comes of it."""
        due = [call for call in self.calls if call.getTime() <= self.rightNow]
        for call in due:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


class BusyServerFixture(ServerFixture):
    """A server for which everything takes time."""

    def __init__(self) -> None:
        self.clock = self.ticking = TickingClock()
        self.clock.advance(START)
        self.server = JobServer(self.clock, Settings(prefix=b"H:test"))
        self.factory = GearFactory(self.server)


class Failing(GearProtocol):
    """A connection with a defect: text commands."""

    requests: ClassVar[dict[int, Callable[..., int | None]]] = {
        **GearProtocol.requests,
        TEXT: lambda protocol, line: int(line),
    }


class FailingFactory(GearFactory):
    def buildProtocol(self, addr: IAddress | None) -> GearProtocol:
        return Failing(self._server)


def echoes(count: int) -> bytes:
    return b"".join([request(ECHO_REQ, b"%d" % number) for number in range(count)])


def echoed(count: int) -> bytes:
    return b"".join([response(ECHO_RES, b"%d" % number) for number in range(count)])


class TurnTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.fixture = BusyServerFixture()
        self.peer = self.fixture.connect()
        self.other = self.fixture.connect()

    def turn(self) -> None:
        self.fixture.ticking.turn()

    def run_all(self) -> None:
        """All that was put off."""
        for _ in range(1000):
            if not any(call.getTime() <= self.fixture.clock.rightNow for call in self.fixture.clock.calls):
                return
            self.turn()
        self.fail("it has no end")

    def paused(self, line: FakePeer) -> bool:
        return line.transport.producerState == "paused"


class TimeTests(TurnTestCase):
    def test_what_takes_long_takes_several_turns(self) -> None:
        self.peer.tell(echoes(MANY))
        heard = self.peer.heard()
        self.assertEqual(heard, echoed(MANY)[: len(heard)])
        self.assertGreater(len(heard), 0)
        self.assertLess(len(heard), len(echoed(MANY)) / 5)
        self.assertTrue(self.paused(self.peer))
        # Others are served between.
        self.assertEqual(self.other.ask(request(ECHO_REQ, b"me")), response(ECHO_RES, b"me"))
        self.turn()
        more = self.peer.heard()
        self.assertGreater(len(more), 0)
        self.assertLess(len(more), len(echoed(MANY)) / 5)
        self.run_all()
        self.assertEqual(heard + more + self.peer.heard(), echoed(MANY))
        self.assertFalse(self.paused(self.peer))
        self.assertEqual(self.peer.ask(request(ECHO_REQ, b"more")), response(ECHO_RES, b"more"))

    def test_a_few_are_one_turn_however_long_they_take(self) -> None:
        self.fixture.ticking.step = 10.0
        self.assertEqual(self.peer.ask(echoes(LOOK_EVERY)), echoed(LOOK_EVERY))
        self.assertFalse(self.paused(self.peer))

    def test_what_arrives_meanwhile_comes_behind(self) -> None:
        """A transport may have taken it from the socket before it was paused, as TLS does."""
        whole = echoes(MANY)
        for part in (whole[:15000], whole[15000:15005], whole[15005:]):
            self.peer.tell(part)
        self.run_all()
        self.assertEqual(self.peer.heard(), echoed(MANY))

    def test_a_request_that_is_cut_there_arrives_whole(self) -> None:
        self.peer.tell(echoes(MANY) + request(ECHO_REQ, b"the last")[:-3])
        self.run_all()
        self.peer.heard()
        self.assertEqual(self.peer.ask(b"ast"), response(ECHO_RES, b"the last"))

    def test_a_peer_that_sends_no_more_gets_all_answers(self) -> None:
        self.peer.tell(echoes(MANY))
        self.peer.protocol.readConnectionLost()
        self.assertFalse(self.peer.closed)
        self.run_all_but_the_close()
        self.assertEqual(self.peer.heard(), echoed(MANY))
        self.assertTrue(self.peer.closed)

    def run_all_but_the_close(self) -> None:
        for _ in range(1000):
            if self.peer.closed:
                return
            self.turn()

    def test_what_a_peer_sent_before_it_left_is_done(self) -> None:
        self.peer.tell(request(SUBMIT_JOB_BG, b"f", b"", b"w") * MANY, request(SUBMIT_JOB, b"f", b"", b"w"))
        self.peer.leave()
        broker = self.fixture.server.broker
        self.assertLess(len(broker.table.jobs), MANY)
        self.assertIn(self.peer.protocol.peer, broker.peers)
        self.run_all()
        # Nobody waits for the last one.
        self.assertEqual(len(broker.table.jobs), MANY)
        self.assertNotIn(self.peer.protocol.peer, broker.peers)

    def test_unless_the_server_ends_the_connection(self) -> None:
        for end in (self.peer.protocol.abort, self.peer.protocol.close):
            self.setUp()
            end = getattr(self.peer.protocol, end.__name__)
            self.peer.tell(request(SUBMIT_JOB_BG, b"f", b"", b"w") * MANY)
            some = len(self.fixture.server.broker.table.jobs)
            end()
            self.peer.tell(request(SUBMIT_JOB_BG, b"f", b"", b"w"))
            self.peer.leave()
            self.run_all()
            self.assertEqual(len(self.fixture.server.broker.table.jobs), some)
            self.assertEqual(list(self.fixture.server.broker.peers), [self.other.protocol.peer])

    def test_what_cannot_be_understood_ends_it_after_what_came_before(self) -> None:
        self.peer.tell(echoes(MANY) + WRONG + echoes(1))
        self.peer.tell(echoes(1))
        self.assertFalse(self.peer.closed)
        self.run_all_but_the_close()
        self.assertEqual(self.peer.heard(), echoed(MANY))
        self.assertTrue(self.peer.closed)

    def test_a_defect_costs_the_one_connection(self) -> None:
        self.fixture.factory = FailingFactory(self.fixture.server)
        self.peer = self.fixture.connect()
        self.peer.tell(echoes(MANY) + b"fail\n")
        self.run_all()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertTrue(self.peer.transport.disconnected)
        self.peer.leave()
        self.run_all()
        self.assertNotIn(self.peer.protocol.peer, self.fixture.server.broker.peers)

    def test_the_server_may_stop_when_the_last_has_left(self) -> None:
        self.peer.tell(echoes(MANY))
        closed = self.fixture.server.close_connections()
        closed = closed.addCallback(lambda result: self.fixture.server.stop())
        for line in (self.other, self.peer):
            line.leave()
        self.run_all()
        self.assertIsNone(self.successResultOf(closed))

    def test_the_end_of_the_server_is_no_defect(self) -> None:
        self.peer.tell(echoes(MANY))
        self.fixture.server.stop()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_several_that_are_behind_take_turns(self) -> None:
        for line in (self.peer, self.other):
            line.tell(echoes(MANY))
            line.heard()
        for _ in range(4):
            self.turn()
        self.assertTrue(self.peer.heard())
        self.assertTrue(self.other.heard())


class SizeTests(SynchronousTestCase):
    """What a turn brings is counted, where it may be much more than what it was asked with."""

    def setUp(self) -> None:
        self.fixture = ServerFixture()
        self.peer = self.fixture.connect()

    def test_large_jobs_are_handed_out_in_several_turns(self) -> None:
        for grab in (GRAB_JOB, GRAB_JOB_UNIQ, GRAB_JOB_ALL):
            self.setUp()
            size, count = TURN_BYTES // 4, 20
            for _ in range(count):
                self.fixture.connect().tell(request(SUBMIT_JOB_BG, b"f", b"", b"x" * size))
            self.peer.tell(request(CAN_DO, b"f"), request(grab) * (count + 1))
            self.assertLess(len(self.peer.heard()), 2 * TURN_BYTES)
            self.assertEqual(self.peer.transport.producerState, "paused")
            self.fixture.clock.advance(0)
            self.assertGreater(len(self.peer.heard()), (count - 5) * size)
            self.assertEqual(len(self.peer.protocol.peer.running), count)
            self.assertEqual(self.peer.transport.producerState, "producing")

    def test_text_commands_are_counted_for_more_than_they_bring(self) -> None:
        self.peer.tell(b"version\n" * 200)
        first = self.peer.heard()
        self.assertLess(len(first), 100 * len(VERSION))
        self.fixture.clock.advance(0)
        self.assertEqual(first + self.peer.heard(), VERSION * 200)

    def test_a_peer_that_reads_nothing_is_not_served_on(self) -> None:
        protocol = self.peer.protocol
        protocol.pauseProducing()
        self.peer.tell(request(ECHO_REQ, b"x" * (PAUSE_FROM // 4)) * 5 + request(ECHO_REQ, b"y") * MANY)
        self.assertGreater(protocol.unwritten, PAUSE_FROM)
        self.fixture.clock.advance(0)
        self.assertEqual(self.peer.heard(), b"")
        protocol.resumeProducing()
        self.fixture.clock.advance(0)
        self.assertEqual(self.peer.heard().count(response(ECHO_RES, b"y")), MANY)


class HeldTests(DurableServerTestCase):
    def test_a_peer_for_whom_too_much_waits_is_not_served_on(self) -> None:
        self.client.tell(submit(b"x" * 2**20) * 20 + b"version\n" * 100)
        self.assertLess(len(self.fixture.server.broker.table.jobs), 20)
        while self.thread.waiting:
            self.thread.run()
            self.fixture.clock.advance(0)
        self.assertEqual(len(self.fixture.server.broker.table.jobs), 20)
        self.assertTrue(self.client.heard().endswith(VERSION * 100))


class ListTests(TurnTestCase):
    """Lists that are too long for one turn."""

    def setUp(self) -> None:
        super().setUp()
        self.worker = self.fixture.connect()
        for number in range(MANY):
            self.worker.tell(request(CAN_DO, b"%d" % number))
        self.status = b"".join([b"%d\t0\t0\t1\n" % number for number in range(MANY)]) + b".\n"

    def test_it_is_gathered_in_several_turns_and_written_at_once(self) -> None:
        self.peer.tell(b"status\n")
        turns = 0
        while not (heard := self.peer.heard()):
            self.assertTrue(self.paused(self.peer))
            self.assertEqual(self.other.ask(request(ECHO_REQ, b"me")), response(ECHO_RES, b"me"))
            self.turn()
            turns += 1
        self.assertEqual(heard, self.status)
        self.assertGreater(turns, 5)
        self.run_all()
        self.assertFalse(self.paused(self.peer))

    def test_each_list(self) -> None:
        self.fixture.connect().tell(request(SUBMIT_JOB_BG, b"0", b"u", b""))
        for number in range(AT_ONCE + 5):
            self.fixture.connect().tell(request(SUBMIT_JOB_BG, b"0", b"u%d" % number, b""))
        queued = AT_ONCE + 6
        for line, first, rows in (
            (b"status", b"0\t%d\t0\t1\n" % queued, MANY),
            (b"prioritystatus", b"0\t0\t%d\t0\t1\n" % queued, MANY),
            (b"show jobs", b"H:test:1\t0\t0\t1\n", queued),
            (b"show unique jobs", b"u\n", queued),
        ):
            self.peer.tell(line + b"\n")
            self.assertEqual(self.peer.heard(), b"")
            self.run_all()
            heard = self.peer.heard()
            self.assertTrue(heard.startswith(first), line)
            self.assertTrue(heard.endswith(b"\n.\n"), line)
            self.assertEqual(heard.count(b"\n"), rows + 1)
        self.peer.tell(b"workers\n")
        self.run_all()
        abilities = b" ".join([b"%d" % number for number in reversed(range(MANY))])
        self.assertIn(
            b"3 192.0.2.1 - : %s\n2 192.0.2.1 - :\n1 192.0.2.1 - :\n.\n" % abilities, self.peer.heard()
        )

    def test_what_follows_is_answered_behind_it(self) -> None:
        self.peer.tell(b"version\nstatus\nversion\n", request(ECHO_REQ, b"x"), b"status\n")
        self.run_all()
        self.assertEqual(
            self.peer.heard(), VERSION + self.status + VERSION + response(ECHO_RES, b"x") + self.status
        )

    def test_a_peer_that_sends_no_more_gets_it(self) -> None:
        self.peer.tell(b"status\n")
        self.peer.protocol.readConnectionLost()
        while not self.peer.closed:
            self.turn()
        self.assertEqual(self.peer.heard(), self.status)

    def test_a_peer_hears_of_other_things_meanwhile(self) -> None:
        self.peer.tell(request(CAN_DO, b"mine"), request(PRE_SLEEP), b"status\n")
        self.other.tell(request(SUBMIT_JOB_BG, b"mine", b"", b""))
        self.assertEqual(self.peer.heard(), response(NOOP))
        self.run_all()
        self.assertEqual(self.peer.heard(), self.status[:-2] + b"mine\t1\t0\t1\n.\n")

    def test_what_changes_meanwhile(self) -> None:
        for number in range(MANY):
            self.fixture.connect().tell(request(SUBMIT_JOB_BG, b"0", b"u%d" % number, b""))
        self.peer.tell(b"show unique jobs\n")
        for _ in range(5):
            self.turn()
        self.other.tell(b"cancel job H:test:%d\n" % MANY, request(SUBMIT_JOB_BG, b"0", b"new", b""))
        self.run_all()
        self.assertEqual(
            self.peer.heard(), b"".join([b"u%d\n" % number for number in range(MANY - 1)]) + b".\n"
        )

    def test_one_that_has_gone_is_not_gathered_for(self) -> None:
        for turns in range(5):
            self.setUp()
            self.peer.tell(b"status\n" * 2)
            for _ in range(turns):
                self.turn()
            self.peer.leave()
            self.run_all()
            self.assertNotIn(self.peer.protocol.peer, self.fixture.server.broker.peers)
            self.assertEqual(self.fixture.server.list_slots.tokens, LISTS_AT_ONCE)

    def test_a_peer_that_asks_and_does_not_read_is_brought_one(self) -> None:
        self.peer.tell(b"status\n" * 20)
        while not (heard := self.peer.heard()):
            self.turn()
        self.peer.protocol.pauseProducing()
        self.run_all()
        self.assertEqual(self.peer.heard(), b"")
        self.assertLessEqual(self.peer.protocol.unwritten, len(self.status))
        self.assertTrue(self.paused(self.peer))
        self.peer.protocol.resumeProducing()
        self.run_all()
        self.assertEqual(heard + self.peer.heard(), self.status * 20)

    def test_who_leaves_meanwhile_is_forgotten(self) -> None:
        self.peer.protocol.pauseProducing()
        self.peer.protocol.write_chunks([b"unread"])
        self.peer.tell(b"status\n")
        self.run_all()
        self.peer.leave()
        self.run_all()
        self.assertNotIn(self.peer.protocol.peer, self.fixture.server.broker.peers)

    def test_some_are_gathered_at_the_same_time(self) -> None:
        lines = [self.fixture.connect() for _ in range(LISTS_AT_ONCE + 3)]
        for line in lines:
            line.tell(b"status\n")
        while len(self.fixture.server.list_slots.waiting) < 3:
            self.turn()
        self.assertEqual([line.heard() for line in lines], [b""] * len(lines))
        self.run_all()
        self.assertEqual([line.heard() for line in lines], [self.status] * len(lines))

    def test_one_that_nobody_could_take_is_refused(self) -> None:
        name = b"n" * 8000
        for number in range(listings.MOST_BYTES // 8000 + 2):
            self.worker.tell(request(CAN_DO, b"%d%s" % (number, name)))
        self.fixture.ticking.step = 0.0
        self.peer.tell(b"status\nversion\n")
        self.run_all()
        refusal = b"ERR TOO_LONG The+list+has+more+than+%d+bytes\r\n" % listings.MOST_BYTES
        self.assertEqual(self.peer.heard(), refusal + VERSION)


class SocketTests(SynchronousTestCase):
    """Over a plain TCP connection."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.server = JobServer(self.reactor, Settings(prefix=b"H:test"))
        if self.server.reads is not None:
            # An epoll knows no descriptor that is none.
            self.server.reads.stop()
        self.connection = FakeTcpConnection(GearFactory(self.server).buildProtocol(None), self.reactor)

    def test_it_is_read_again_afterwards(self) -> None:
        self.connection.arrive(b"version\n" * 200)
        self.assertNotIn(self.connection, self.reactor.getReaders())
        self.reactor.advance(0)
        self.assertIn(self.connection, self.reactor.getReaders())
        self.assertEqual(self.connection.written, VERSION * 200)

    def tearDown(self) -> None:
        self.server.stop()

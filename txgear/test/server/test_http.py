"""
Tests for the connections of L{txgear.server.http}: many requests on one, slow
readers, time, the server's end; and for L{txgear.plugins.http}.
"""

from __future__ import annotations

import http.client
import itertools
import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from txgear.interfaces import ITlsProtocolModule
from txgear.plugins.http import http as http_module
from txgear.protocol.constants import CAN_DO, PRE_SLEEP, RESPONSE_MAGIC, WORK_COMPLETE, WORK_DATA, WORK_FAIL
from txgear.protocol.packets import request
from txgear.server import httpchannel, httpexchange
from txgear.server.http import HttpFactory, JobChannel
from txgear.server.sockets import ENDED, GONE, HERE
from txgear.test.support.http import TRANSPORT_BUFFER, GearmanWorker, HttpPeer, HttpTestCase
from txgear.test.support.net import FakeTcpConnection, packet
from txgear.test.support.server import ServerFixture


class ConnectionTests(HttpTestCase):
    """More than one request on a connection."""

    def test_keep_alive(self) -> None:
        """One request after the other."""
        client, worker = self.connect(), self.worker()
        for number in (b"1", b"2"):
            client.ask("POST", "/f", body=number)
            handle, _, workload = worker.grab()
            worker.say(WORK_COMPLETE, handle, b"result " + workload)
            self.assertEqual(client.answer().body, b"result " + number)

    def test_close(self) -> None:
        """A client may ask for the end."""
        client, worker, handle = self.under_way("Connection: close")
        worker.say(WORK_COMPLETE, handle, b"result")
        self.assertEqual(client.answer().headers["Connection"], "close")
        self.assertTrue(client.closed)

    def test_pipelined(self) -> None:
        """Requests that were sent ahead are looked at one by one."""
        client, worker = self.connect(), self.worker()
        client.send(
            b"".join(b"POST /f HTTP/1.1\r\nContent-Length: 1\r\n\r\n%d" % number for number in range(5))
        )
        for _ in range(5):
            self.assertEqual(len(self.queued()), 1)
            handle, _, workload = worker.grab()
            worker.say(WORK_COMPLETE, handle, b"result " + workload)
        self.assertEqual([answer.body for answer in client.answers()], [b"result %d" % n for n in range(5)])

    def test_pipelined_background(self) -> None:
        """A thousand of them are a loop, not a recursion."""
        client = self.connect()
        client.ask("POST", "/f", body=b"first")
        head = b"POST /f HTTP/1.1\r\nX-Gearman-Background: true\r\nContent-Length: 4\r\n\r\n"
        client.send(b"".join(head + b"%04d" % number for number in range(200)))
        self.assertEqual(len(self.queued()), 1)
        worker = self.worker()
        worker.say(WORK_COMPLETE, worker.grab()[0])
        self.assertEqual([answer.status for answer in client.answers()], [200] + [202] * 200)
        client.send(b"".join(head + b"%04d" % number for number in range(200, 1200)))
        self.assertEqual([answer.status for answer in client.answers()], [202] * 1000)
        self.assertEqual(len(self.queued()), 1200)

    def test_order_for_others(self) -> None:
        """
        The next request begins while the outbox is emptied; what it brings for
        others comes after what they are yet to get.
        """
        client, worker, handle = self.under_way()
        client.ask("POST", "/f", body=b"next")
        other = self.fixture.connect()
        other.tell(request(CAN_DO, b"f"), request(PRE_SLEEP))
        # One turn: the result for the client first, then what the sleeper is sent.
        self.broker.reports.work_complete(worker.line.protocol.peer, handle, b"result", 0.0)
        self.server.outbox.send(other.protocol.peer, 17, b"first")
        self.server.end_turn()
        self.assertEqual(client.answer().body, b"result")
        self.assertEqual(other.heard(), packet(RESPONSE_MAGIC, 17, b"first") + packet(RESPONSE_MAGIC, 6))

    def test_answers_nobody_reads(self) -> None:
        """A client that only asks is not read any more, nor are its requests looked at, until it reads."""
        client = self.connect()
        client.transport.stuck = True
        ask = b"HEAD /f HTTP/1.1\r\n\r\n"
        client.send(ask * 5000)
        answered = client.transport.value().count(b"HTTP/1.1 404")
        self.assertLess(answered, 500)
        self.assertEqual(client.transport.producerState, "paused")
        # Whatever was on its way.
        client.send(ask)
        self.assertEqual(client.transport.value().count(b"HTTP/1.1 404"), answered)
        self.assertEqual(client.heard_all().count(b"HTTP/1.1 404"), 5001)
        self.assertEqual(client.transport.producerState, "producing")

    def test_pipelined_behind_a_full_connection(self) -> None:
        """What was sent ahead keeps its order, when the answer before it fills the connection."""
        client, worker, handle = self.under_way()
        client.transport.stuck = True
        client.send(b"POST /f HTTP/1.1\r\nContent-Length: 6\r\n\r\nse")
        worker.say(WORK_COMPLETE, handle, b"r" * (TRANSPORT_BUFFER + 1))
        client.send(b"cond")
        self.assertEqual(self.queued(), [])
        self.assertEqual(len(client.answer().body), TRANSPORT_BUFFER + 1)
        self.assertEqual(self.queued(), [(b"f", b"second")])


class HangUpTests(HttpTestCase):
    """A client that sends no more: gone, or only silent?"""

    PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"

    def assert_dropped(self, client: HttpPeer) -> None:
        """It was noticed that the client has gone, and so its job has."""
        self.assertTrue(client.aborted)
        client.leave()
        self.assertEqual(self.queued(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def waiting(self, *headers: str, version: str = "1.1") -> HttpPeer:
        """A client that waits for a worker."""
        client = self.connect()
        client.ask("POST", "/f", *headers, body=b"x", version=version)
        return client

    def test_half_closed_and_answered_at_once(self) -> None:
        """A short job is answered as ever, and then the connection ends."""
        client, worker, handle = self.under_way()
        client.end_input()
        self.assertFalse(client.closed)
        worker.say(WORK_COMPLETE, handle, b"result")
        self.assertEqual(client.answer().body, b"result")
        self.assertTrue(client.closed)
        self.clock.advance(1)

    def test_half_closed_long_ago(self) -> None:
        """What was sent ahead of an answer that took its time is done, and only then comes the end."""
        client, worker, handle = self.under_way()
        client.send(b"POST /f HTTP/1.1\r\nX-Gearman-Background: true\r\nContent-Length: 4\r\n\r\nlast")
        client.end_input()
        self.clock.advance(0.1)
        worker.say(WORK_COMPLETE, handle)
        self.clock.advance(0)
        self.assertEqual([answer.status for answer in client.answers()], [200, 202])
        self.assertTrue(client.closed)

    def test_half_closed_and_answered_in_time(self) -> None:
        """Until then it is told now and then that the server is at it."""
        client, worker, handle = self.under_way()
        client.end_input()
        self.clock.advance(httpchannel.LOOK_SECONDS)
        self.assertEqual(client.heard(), self.PROCESSING)
        self.clock.pump([0.5] * 59)
        self.assertEqual(client.heard(), b"")
        self.clock.pump([0.5] * 2)
        self.assertEqual(client.heard(), self.PROCESSING)
        worker.say(WORK_COMPLETE, handle, b"result")
        self.assertEqual(client.answer().body, b"result")
        self.assertTrue(client.closed)

    def test_several_are_answered(self) -> None:
        """All that was asked for before the end; half a request is none."""
        client, worker = self.connect(), self.worker()
        for number in (b"1", b"2"):
            client.ask("POST", "/f", body=number)
        client.send(b"POST /f HT")
        client.end_input()
        for number in (b"1", b"2"):
            handle, _, workload = worker.grab()
            self.assertEqual(workload, number)
            worker.say(WORK_COMPLETE, handle, workload)
        self.assertEqual([answer.body for answer in client.answers()], [b"1", b"2"])
        self.assertTrue(client.closed)

    def test_answers_that_are_not_read_yet(self) -> None:
        """The end waits for those requests that wait for the client to read."""
        client = self.connect()
        client.transport.stuck = True
        client.send(b"HEAD /f HTTP/1.1\r\n\r\n" * 5000)
        client.end_input()
        self.assertFalse(client.closed)
        self.assertEqual(client.heard_all().count(b"HTTP/1.1 404"), 5000)
        self.assertTrue(client.closed)

    def test_no_request_under_way(self) -> None:
        """A client that has nothing to wait for is hung up on."""
        for part in (b"", b"POST /f HT", b"POST /f HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"):
            client = self.connect()
            client.send(part)
            client.end_input()
            self.assertTrue(client.closed)

    def test_gone(self) -> None:
        """A reset is the answer to what was said to it."""
        client = self.waiting()
        client.end_input()
        self.clock.advance(httpchannel.LOOK_SECONDS)
        self.assertEqual(client.heard(), self.PROCESSING)
        client.transport.state = GONE
        self.clock.advance(httpchannel.LOOK_SECONDS)
        self.assert_dropped(client)

    def test_gone_behind_what_it_sent_ahead(self) -> None:
        """The end is seen, though it is not read; and what it asked for next is never looked at."""
        for size in (10, 17_000, 40_000):
            client = self.waiting()
            client.ask("POST", "/g", body=bytes(size))
            self.clock.pump([httpchannel.LOOK_SECONDS] * 3)
            self.assertEqual(client.heard(), b"")
            client.transport.state = ENDED
            self.clock.advance(httpchannel.LOOK_SECONDS)
            self.assertEqual(client.heard(), self.PROCESSING)
            client.transport.state = GONE
            self.clock.advance(httpchannel.LOOK_SECONDS)
            self.assert_dropped(client)

    def test_sent_ahead_and_answered(self) -> None:
        """No look is left over when nothing is under way."""
        client, worker, handle = self.under_way()
        client.ask("POST", "/f", "X-Gearman-Background: true", body=bytes(20_000))
        self.assertEqual(client.transport.producerState, "paused")
        worker.say(WORK_COMPLETE, handle, b"result")
        self.assertEqual([answer.status for answer in client.answers()], [200, 202])
        self.assertEqual(client.transport.producerState, "producing")
        client.transport.state = GONE
        self.clock.advance(httpchannel.LOOK_SECONDS)
        self.assertFalse(client.aborted)

    def test_nothing_can_be_said(self) -> None:
        """To HTTP/1.0, and within an answer: the system's probes find out."""
        for version, kind in (("1.0", None), ("1.1", WORK_DATA)):
            client, worker, handle = self.under_way(body=version.encode(), version=version)
            if kind is not None:
                worker.say(kind, handle, b"data")
            client.heard()
            client.end_input()
            self.clock.advance(httpchannel.LOOK_SECONDS)
            self.assertEqual(client.heard(), b"")
            client.transport.state = GONE
            self.clock.advance(httpchannel.LOOK_SECONDS)
            self.assertTrue(client.aborted)
            client.leave()

    def test_the_systems_probes(self) -> None:
        """They are made soon, then."""
        channel = HttpFactory(self.server, lambda transport: HERE).buildProtocol(None)
        transport = FakeTcpConnection(channel, MemoryReactorClock())
        channel.dataReceived(b"GET /f HTTP/1.0\r\n\r\n")
        transport.fake.options.clear()
        channel.readConnectionLost()
        self.clock.advance(httpchannel.LOOK_SECONDS)
        options = {option: value for _, option, value in transport.fake.options}
        self.assertEqual(options[socket.SO_KEEPALIVE], 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            self.assertEqual(options[socket.TCP_KEEPIDLE], 10)


class GivingWayTests(HttpTestCase):
    """The server ends, and another one will answer."""

    def connection(self) -> FakeTcpConnection:
        channel = HttpFactory(self.server, lambda transport: HERE).buildProtocol(None)
        return FakeTcpConnection(channel, MemoryReactorClock())

    def test_idle(self) -> None:
        """Only our side ends; a request that comes now is read and dropped, so that no reset follows."""
        connection = self.connection()
        self.server.give_way()
        connection.arrive(b"GET /f HTTP/1.1\r\n\r\n")
        closed = self.server.close_connections()
        self.assertTrue(connection.ends_output)
        connection.arrive(b"GET /f HTTP/1.1\r\n\r\n")
        self.assertEqual((connection.written, connection.fake.arrived), (b"", []))
        self.assertEqual(self.queued(), [])
        self.assertNoResult(closed)
        connection.make_room()
        connection.readConnectionLost(Failure(ConnectionDone()))
        connection.make_room()
        self.successResultOf(closed)

    def test_under_way(self) -> None:
        """A client whose job is under way is told that no answer will come."""
        connection = self.connection()
        connection.arrive(b"GET /f HTTP/1.1\r\n\r\n")
        self.server.end_turn()
        self.server.give_way()
        self.assertNoResult(self.server.close_connections())
        self.assertTrue(connection.ends_output)
        connection.make_room()
        self.assertTrue(connection.written.startswith(b"HTTP/1.1 503 "))


class SlowReaderTests(HttpTestCase):
    """A client that reads slowly, or not at all."""

    def stuck(self, result: bytes, kind: int = WORK_COMPLETE) -> tuple[HttpPeer, GearmanWorker, bytes]:
        """A client that reads nothing of this result."""
        client, worker, handle = self.under_way()
        client.transport.stuck = True
        worker.line.tell(request(kind, handle, result))
        return client, worker, handle

    def test_waits(self) -> None:
        """What the connection does not take waits, and is all written in the end."""
        result = bytes(range(256)) * 4096
        client, _, _ = self.stuck(result)
        heard = b""
        for _ in range(3):
            self.assertLess(len(client.transport.value()), 3 * TRANSPORT_BUFFER)
            self.assertEqual(client.transport.producerState, "paused")
            self.clock.advance(59)
            heard += client.heard()
        heard += client.heard_all()
        self.assertEqual(heard.partition(b"\r\n\r\n")[2], result)
        self.assertFalse(client.closed)

    def test_still_listens(self) -> None:
        """A client that has caught up is listened to again, while its job goes on: it may hang up."""
        client, _, _ = self.stuck(b"d" * 4 * TRANSPORT_BUFFER, WORK_DATA)
        self.assertEqual(client.transport.producerState, "paused")
        client.heard_all()
        self.assertEqual(client.transport.producerState, "producing")

    def test_next_request(self) -> None:
        """The connection goes on after a slow answer."""
        client, worker, _ = self.stuck(b"r" * 4 * TRANSPORT_BUFFER)
        client.ask("POST", "/f", body=b"next")
        client.transport.stuck = False
        client.heard()
        self.assertEqual(worker.grab()[2], b"next")

    def test_stalled(self) -> None:
        """A client that reads nothing for a minute is dropped, and its job is not."""
        client, worker, handle = self.stuck(b"d" * 4 * TRANSPORT_BUFFER, WORK_DATA)
        self.clock.advance(59)
        self.assertFalse(client.aborted)
        self.clock.advance(1)
        self.assertTrue(client.aborted)
        worker.say(WORK_DATA, handle, b"more")
        client.leave()
        worker.say(WORK_COMPLETE, handle)
        self.server.notices.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_much(self) -> None:
        """Data that comes faster than it is read does not fill the memory."""
        self.patch(httpexchange, "DROP_FROM", 10 * TRANSPORT_BUFFER)
        client, worker, handle = self.stuck(b"d" * 4 * TRANSPORT_BUFFER, WORK_DATA)
        self.assertFalse(client.aborted)
        worker.line.tell(request(WORK_DATA, handle, b"d" * 4 * TRANSPORT_BUFFER))
        self.assertFalse(client.aborted)
        worker.line.tell(request(WORK_DATA, handle, b"d" * 4 * TRANSPORT_BUFFER))
        self.assertTrue(client.aborted)
        client.leave()
        self.server.notices.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failure_waits_for_the_data(self) -> None:
        """An answer is broken off behind what was sent of it."""
        client, worker, handle = self.stuck(b"d" * 4 * TRANSPORT_BUFFER, WORK_DATA)
        worker.line.tell(request(WORK_FAIL, handle))
        self.assertFalse(client.closed)
        with self.assertRaises(http.client.IncompleteRead) as caught:
            client.answer()
        self.assertEqual(caught.exception.partial, b"d" * 4 * TRANSPORT_BUFFER)
        self.assertTrue(client.closed)
        self.assertFalse(client.aborted)

    def test_client_leaves(self) -> None:
        """Nothing is left of an answer that nobody waits for."""
        client, _, _ = self.stuck(b"r" * 4 * TRANSPORT_BUFFER)
        client.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class TimeTests(HttpTestCase):
    """How long things may take."""

    def test_long_job(self) -> None:
        """A job may take as long as it likes; a silent client waits for it."""
        client, worker, handle = self.under_way()
        self.clock.pump([60] * 60 * 24)
        self.assertFalse(client.closed)
        worker.say(WORK_DATA, handle, b"at ")
        self.clock.pump([60] * 60 * 24)
        self.assertFalse(client.closed)
        worker.say(WORK_COMPLETE, handle, b"last")
        self.assertEqual(client.answer().body, b"at last")

    def assert_bounded(self, client: HttpPeer, seconds: float = 60) -> None:
        """The connection is ended after this time, and cut off if that takes too long."""
        self.clock.advance(seconds - 1)
        self.assertFalse(client.closed)
        self.clock.advance(1)
        self.assertTrue(client.closed)
        self.assertFalse(client.aborted)
        self.clock.advance(10)
        self.assertTrue(client.aborted)
        client.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silence(self) -> None:
        """A connection without a request ends after a minute."""
        self.assert_bounded(self.connect())

    def test_silence_after_a_request(self) -> None:
        """The minute begins anew with an answer."""
        client, worker, handle = self.under_way()
        self.clock.advance(3600)
        worker.say(WORK_COMPLETE, handle)
        self.assert_bounded(client)

    def test_half_a_request(self) -> None:
        """So does it with each part of a request, of its head or its body."""
        for part in (b"POST /f HT", b"POST /f HTTP/1.1\r\nContent-Length: 10\r\n\r\n12345"):
            client = self.connect()
            self.clock.advance(59)
            client.send(part)
            self.assert_bounded(client)

    def test_refused_twice(self) -> None:
        """A connection that is being ended already is not ended again."""
        client = self.connect()
        client.send(b"nonsense\r\n\r\n")
        self.assertTrue(client.transport.ended)
        self.clock.advance(9)
        client.send(b"nonsense\r\n\r\n" * 2)
        self.assertEqual(client.heard().count(b"HTTP/1.1 400"), 1)
        self.assertFalse(client.aborted)
        self.clock.advance(1)
        self.assertTrue(client.aborted)

    def test_refused_and_hung_up(self) -> None:
        """Once the client has ended as well, nothing is waited for."""
        client = self.connect()
        client.send(b"nonsense\r\n\r\n")
        self.assertFalse(client.transport.disconnecting)
        client.end_input()
        self.assertTrue(client.transport.disconnecting)


class EndTests(HttpTestCase):
    """The server ends."""

    def closing(self) -> Deferred[None]:
        """Have it hang up on everybody; fires when everybody has gone."""
        return self.server.close_connections()

    def test_idle(self) -> None:
        """A connection without a request, or with a part of one, is closed."""
        for part in (b"", b"POST /f HTTP/1.1\r\n"):
            client = self.connect()
            client.send(part)
            gone = self.closing()
            self.assertTrue(client.closed)
            self.assertNoResult(gone)
            client.leave()
            self.successResultOf(gone)

    def test_waiting(self) -> None:
        """Who waits for a result is told that it does not come; what comes nevertheless is too late."""
        client, worker, handle = self.under_way()
        gone = self.closing()
        answer = client.answer()
        self.assertEqual((answer.status, answer.headers["Connection"]), (503, "close"))
        self.assertEqual((answer.handle, answer.body), (handle, b"The server is shutting down\n"))
        self.assertTrue(client.closed)
        self.broker.reports.work_complete(worker.line.protocol.peer, handle, b"result", 0.0)
        self.server.end_turn()
        self.assertEqual(client.heard(), b"")
        self.assertNoResult(gone)
        client.leave()
        worker.line.leave()
        self.successResultOf(gone)

    def test_streaming(self) -> None:
        """A part of a result stays one."""
        client, worker, handle = self.under_way()
        worker.say(WORK_DATA, handle, b"part")
        gone = self.closing()
        self.assertTrue(client.closed)
        self.assertRaises(http.client.IncompleteRead, client.answer)
        self.assertNoResult(gone)

    def test_answer_under_way(self) -> None:
        """An answer that is known is written to its end before the connection is closed."""
        client, worker, handle = self.under_way()
        client.transport.stuck = True
        worker.line.tell(request(WORK_COMPLETE, handle, b"r" * 4 * TRANSPORT_BUFFER))
        gone = self.closing()
        self.assertFalse(client.closed)
        self.assertTrue(client.heard_all().endswith(b"r" * 4 * TRANSPORT_BUFFER))
        self.assertTrue(client.closed)
        self.assertNoResult(gone)

    def test_result_in_the_last_turn(self) -> None:
        """The last result of a server that drains leaves before the connection counts as gone."""
        client, worker, handle = self.under_way()
        drained = self.server.drain()
        worker.say(WORK_COMPLETE, handle, b"last")
        self.successResultOf(drained)
        gone = self.closing()
        self.assertEqual(client.answer().body, b"last")
        self.assertTrue(client.closed)
        worker.line.leave()
        self.assertNoResult(gone)
        client.leave()
        self.successResultOf(gone)

    def test_nobody_leaves(self) -> None:
        """Twice is once, and a client that does not let go is cut off."""
        client = self.connect()
        gone = self.closing()
        client.protocol.close()
        self.clock.advance(10)
        self.assertTrue(client.aborted)
        self.assertNoResult(gone)


class ModuleTests(SynchronousTestCase):
    """The plugin."""

    def test_provides(self) -> None:
        """It is what the server looks for, and makes what listens."""
        verifyObject(ITlsProtocolModule, http_module)
        self.assertEqual((http_module.name, http_module.port_option), ("http", "http-port"))
        fixture = ServerFixture()
        factory: Any = http_module.factory(fixture.server, {"http-port": 8080})
        self.assertIsInstance(factory.buildProtocol(None), JobChannel)

    def test_option(self) -> None:
        """Its port is a number, 8080 by default."""
        (name, short, default, _, coerce), over_tls = http_module.parameters
        self.assertEqual((name, short, default), ("http-port", None, 8080))
        self.assertEqual(over_tls[:3], ("http-tls-port", None, None))
        self.assertEqual(http_module.tls_port_option, over_tls[0])
        self.assertEqual([coerce(text) for text in ("0", "80", "65535")], [0, 80, 65535])
        for text in ("", "x", "-1", "8080.0", "65536", "9" * 5000, " 80"):
            error = self.assertRaises(ValueError, coerce, text)
            self.assertIn("--http-port: a whole number from 0 to 65535 is wanted, not ", str(error))


class TurnTests(HttpTestCase):
    """What one client has sent ahead does not keep all others waiting."""

    def setUp(self) -> None:
        super().setUp()
        # Each answer, which has the date, takes a millisecond.
        self.server._time._wall_seconds = self.slow
        self.client = self.connect()
        head = b"POST /f HTTP/1.1\r\nX-Gearman-Background: true\r\nContent-Length: 3\r\n\r\n"
        self.bodies = [b"%03d" % number for number in range(100)]
        self.client.send(b"".join(head + body for body in self.bodies))

    def slow(self) -> float:
        self.clock.rightNow += 0.001
        return self.clock.rightNow

    def test_short(self) -> None:
        """They are done in turns of some milliseconds, in order, and more is not read meanwhile."""
        counts = [0, len(self.queued())]

        def between() -> None:
            counts.append(len(self.queued()))
            if counts[-1] < 100:
                self.assertEqual(self.client.transport.producerState, "paused")
                self.clock.callLater(0, between)

        between()
        self.clock.advance(0)
        self.assertEqual(counts[-1], 100)
        self.assertLess(max(after - before for before, after in itertools.pairwise(counts)), 12)
        self.assertEqual([body for _, body in self.queued()], self.bodies)
        self.assertEqual([answer.status for answer in self.client.answers()], [202] * 100)
        self.assertEqual(self.client.transport.producerState, "producing")

    def test_others(self) -> None:
        """They are served between."""
        answer = self.ask("POST", "/g", "X-Gearman-Background: true", body=b"x")
        self.assertEqual(answer.status, 202)
        self.assertLess(len(self.queued()), 12)

    def test_leaves(self) -> None:
        """What was not begun is not done for one who has gone."""
        self.client.leave()
        self.clock.advance(1)
        self.assertLess(len(self.queued()), 12)

    def test_half_closed(self) -> None:
        """One that sends no more gets all its answers, and then the end."""
        self.client.end_input()
        self.assertFalse(self.client.closed)
        self.clock.advance(0)
        self.assertEqual([answer.status for answer in self.client.answers()], [202] * 100)
        self.assertTrue(self.client.closed)

    def test_reads_nothing(self) -> None:
        """Both reasons not to go on hold at once."""
        client = self.connect()
        client.transport.stuck = True
        client.send(b"HEAD /g HTTP/1.1\r\n\r\n" * 5000)
        found = 0
        while client.transport.value():
            found += client.heard().count(b"HTTP/1.1 404")
            self.clock.advance(0)
        self.assertEqual(found, 5000)

"""Tests of L{txgear.server.gear}: submits that are refused, and clients of a server that drains."""

from __future__ import annotations

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import StoreRefused, StoreUnavailable
from txgear.protocol.constants import (
    CAN_DO,
    CANT_DO,
    ECHO_REQ,
    ECHO_RES,
    EXTENSION_OPTION,
    GET_RESULT,
    GRAB_JOB,
    JOB_CREATED,
    LEAVING_OPTION,
    OPTION_REQ,
    OPTION_RES,
    RESULT,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_SCHED,
    SUBMIT_REDUCE_JOB,
    WORK_COMPLETE,
    WORK_FAIL,
)
from txgear.protocol.packets import request, response
from txgear.server.gear import GearFactory, GearProtocol
from txgear.server.gearconnection import SUBMITS
from txgear.server.jobserver import JobServer
from txgear.server.settings import Settings
from txgear.test.support.http import HttpTestCase
from txgear.test.support.net import FakeTcpConnection, error
from txgear.test.support.server import DurableServerTestCase, FakePeer, ServerFixture, created, submit

GOING = error(b"QUEUE_ERROR", b"The server is shutting down")
ECHO, ECHOED = request(ECHO_REQ, b"x"), response(ECHO_RES, b"x")


class DrainTests(SynchronousTestCase):
    """Clients are sent to the next server; the others stay."""

    def setUp(self) -> None:
        self.fixture = ServerFixture()
        self.client = self.fixture.connect()

    def drain(self) -> None:
        _ = self.fixture.server.drain()

    def waiting(self, client: FakePeer, unique: bytes = b"") -> bytes:
        """Its answer to a job that a worker has by now, so that the drain takes a while."""
        worker = self.fixture.connect()
        worker.tell(request(CAN_DO, b"f"))
        handle = client.ask(request(SUBMIT_JOB, b"f", unique, b""))[12:]
        worker.tell(request(GRAB_JOB))
        self.worker = worker
        return handle

    def test_who_waits_for_nothing_is_hung_up_on(self) -> None:
        self.client.tell(request(SUBMIT_JOB_BG, b"f", b"", b""))
        fresh = self.fixture.connect()
        self.drain()
        self.assertTrue(self.client.closed and fresh.closed)

    def test_who_waits_for_a_job_stays_until_its_end(self) -> None:
        handle = self.waiting(self.client)
        self.drain()
        self.assertFalse(self.client.closed)
        self.assertEqual(self.client.ask(ECHO), ECHOED)
        self.worker.tell(request(WORK_COMPLETE, handle, b"done"))
        self.assertEqual(self.client.heard(), response(WORK_COMPLETE, handle, b"done"))
        self.assertTrue(self.client.closed)
        self.assertFalse(self.worker.closed)

    def test_for_all_of_them(self) -> None:
        handles = [self.waiting(self.client, unique) for unique in (b"1", b"2")]
        workers = self.fixture.server.broker.peers
        self.drain()
        for handle, closed in zip(handles, (False, True), strict=True):
            (peer,) = [peer for peer in workers if handle in peer.running]
            self.fixture.server.broker.reports.work_fail(peer, handle, 0.0)
            self.fixture.server.end_turn()
            self.assertEqual(self.client.heard(), response(WORK_FAIL, handle))
            self.assertEqual(self.client.closed, closed)

    def test_a_refused_submit_is_answered_and_then_hung_up_on(self) -> None:
        handle = self.waiting(self.client)
        self.drain()
        self.assertEqual(self.client.ask(request(SUBMIT_JOB, b"f", b"", b""), ECHO), GOING + ECHOED)
        self.assertFalse(self.client.closed)
        self.worker.tell(request(WORK_COMPLETE, handle, b"done"))
        self.assertTrue(self.client.closed)

    def test_workers_stay(self) -> None:
        """Until they have taken back what they can do, and ask for something that they are refused."""
        both = self.fixture.connect()
        both.tell(request(CAN_DO, b"f"))
        self.waiting(self.client)
        self.drain()
        self.assertFalse(both.closed)
        self.assertEqual(both.ask(request(SUBMIT_JOB, b"f", b"", b"")), GOING)
        self.assertFalse(both.closed)
        both.tell(request(CANT_DO, b"f"), ECHO)
        self.assertTrue(both.closed)

    def test_operators_stay(self) -> None:
        self.client.ask(b"status\n")
        self.drain()
        self.assertFalse(self.client.closed)
        self.assertEqual(self.client.ask(b"status\n"), b".\n")

    def ask_for_farewell(self, client: FakePeer) -> None:
        option = client.ask(request(OPTION_REQ, LEAVING_OPTION))
        self.assertEqual(option, response(OPTION_RES, LEAVING_OPTION))

    def test_who_has_asked_for_it_is_told(self) -> None:
        """At the moment at which nobody carries out any more what it sends."""
        handle = self.waiting(self.client)
        idle = self.fixture.connect()
        for client in (self.client, idle):
            self.ask_for_farewell(client)
        self.drain()
        self.assertEqual(idle.heard(), GOING)
        self.assertTrue(idle.closed)
        self.assertEqual(self.client.heard(), b"")
        self.worker.tell(request(WORK_COMPLETE, handle, b"done"))
        self.assertEqual(self.client.heard(), response(WORK_COMPLETE, handle, b"done") + GOING)
        self.assertTrue(self.client.closed)

    def test_it_is_told_at_the_end_of_the_server(self) -> None:
        self.ask_for_farewell(self.client)
        _ = self.fixture.server.close_connections()
        self.assertEqual(self.client.heard(), GOING)

    def test_it_is_not_told_what_is_not_so(self) -> None:
        self.ask_for_farewell(self.client)
        self.client.protocol.close()
        self.assertEqual(self.client.heard(), b"")

    def test_half_a_request_is_waited_for(self) -> None:
        """It is answered, which is more than a connection that ends tells."""
        self.waiting(self.fixture.connect())
        whole = request(SUBMIT_JOB, b"f", b"", b"workload")
        self.client.tell(whole[:20])
        self.drain()
        self.assertFalse(self.client.closed)
        self.assertEqual(self.client.ask(whole[20:]), GOING)
        self.assertTrue(self.client.closed)

    def test_half_a_request_behind_the_last_job(self) -> None:
        handle = self.waiting(self.client)
        self.drain()
        whole = request(SUBMIT_JOB, b"f", b"", b"workload")
        self.client.tell(whole[:20])
        self.worker.tell(request(WORK_COMPLETE, handle, b"done"))
        self.client.heard()
        self.assertFalse(self.client.closed)
        self.assertEqual(self.client.ask(whole[20:]), GOING)
        self.assertTrue(self.client.closed)

    def test_questions_are_answered(self) -> None:
        handle = self.waiting(self.fixture.connect())
        self.client.ask(request(OPTION_REQ, EXTENSION_OPTION))
        self.client.tell(request(GET_RESULT, b"1", handle, b"", b"", b"1"))
        self.drain()
        self.assertFalse(self.client.closed)
        self.worker.tell(request(WORK_COMPLETE, handle, b"done"))
        self.assertEqual(self.client.heard(), response(RESULT, b"1", handle, b"done", b"0", b"done"))
        self.assertTrue(self.client.closed)

    def test_our_side_ends_first(self) -> None:
        """A client that is still sending then sees what it was answered."""
        reactor = MemoryReactorClock()
        # It cannot be watched, so connections are read one by one.
        server = JobServer(self.fixture.clock, Settings(prefix=b"H:test"))
        protocol = GearFactory(server).buildProtocol(None)
        transport = FakeTcpConnection(protocol, reactor)
        transport.arrive(request(SUBMIT_JOB, b"f", b"", b""))
        _ = server.drain()
        transport.arrive(request(SUBMIT_JOB, b"f", b"", b""))
        transport.written  # noqa: B018
        server.broker.operations.cancel(b"H:test:1", 0.0)
        server.end_turn()
        self.assertTrue(transport.ends_output)
        self.assertIn(transport, reactor.getReaders())


class HttpDrainTests(HttpTestCase):
    def test_idle_connections_end(self) -> None:
        """One with a request, or with a part of one, is answered."""
        idle, half = self.connect(), self.connect()
        half.send(b"POST /f HTTP/1.1\r\n")
        client, worker, handle = self.under_way()
        _ = self.server.drain()
        self.assertEqual((idle.closed, half.closed, client.closed), (True, False, False))
        half.send(b"Content-Length: 0\r\n\r\n")
        self.assertEqual(half.answer().status, 503)
        self.assertTrue(half.closed)
        worker.say(WORK_COMPLETE, handle, b"result")
        self.assertEqual(client.answer().body, b"result")
        self.assertTrue(client.closed)


class StoredDrainTests(DurableServerTestCase):
    def test_an_answer_that_waits_for_the_disk(self) -> None:
        self.client.tell(submit(b"w"))
        _ = self.fixture.server.drain()
        self.assertFalse(self.client.closed)
        self.thread.run()
        self.assertEqual(self.client.heard(), created(1))
        self.assertTrue(self.client.closed)


class ClosingTests(SynchronousTestCase):
    """C{--refuse-by-closing}: for libraries that take each ERROR for the answer to another request."""

    def setUp(self) -> None:
        self.fixture = ServerFixture(refuse_by_closing=True)
        self.client = self.fixture.connect()

    def test_all_that_came_before_is_answered(self) -> None:
        self.client.tell(b"maxqueue f 1\n")
        self.client.heard()
        submit = request(SUBMIT_JOB_BG, b"f", b"", b"")
        self.assertEqual(
            self.client.ask(submit, ECHO, submit, ECHO), response(JOB_CREATED, b"H:test:1") + ECHOED
        )
        self.assertTrue(self.client.closed)

    def test_whatever_the_reason(self) -> None:
        for packet in (
            request(SUBMIT_JOB, b"f", b"u" * 65, b""),
            request(SUBMIT_REDUCE_JOB, b"f", b"", b"r" * 65, b""),
            request(SUBMIT_JOB_SCHED, b"f", b"", b"61", b"", b"", b"", b"", b""),
        ):
            client = self.fixture.connect()
            self.assertEqual(client.ask(packet), b"")
            self.assertTrue(client.closed)

    def test_all_else_is_answered(self) -> None:
        answer = error(b"JOB_NOT_FOUND", b"Job given in work result not found")
        self.assertEqual(self.client.ask(request(WORK_FAIL, b"H:test:1")), answer)
        self.assertFalse(self.client.closed)

    def test_who_understands_is_answered(self) -> None:
        option = self.client.ask(request(OPTION_REQ, EXTENSION_OPTION))
        self.assertEqual(option, response(OPTION_RES, EXTENSION_OPTION))
        self.assertEqual(
            self.client.ask(request(SUBMIT_JOB, b"f", b"u" * 65, b"")),
            error(b"ARGUMENT_TOO_LARGE", b"Unique value too large"),
        )

    def test_every_submit_is_known(self) -> None:
        for kind in SUBMITS:
            self.assertIn(kind, GearProtocol.requests)


class StoreAwayTests(DurableServerTestCase):
    def test_who_has_other_servers(self) -> None:
        """It can tell that from a queue that is full."""
        self.client.ask(request(OPTION_REQ, LEAVING_OPTION))
        for call in ("write", "open"):
            self.store.fail(call, StoreUnavailable("gone"), times=100)
        self.other.tell(submit(b"1"))
        self.run_on(10)
        self.other.heard()
        unavailable = self.fixture.journal.unavailable
        assert unavailable is not None
        words = unavailable.encode()
        self.assertEqual(self.client.ask(submit(b"2")), error(b"STORE_UNAVAILABLE", words))
        self.assertEqual(self.other.ask(submit(b"2")), error(b"QUEUE_ERROR", words))


class StoredClosingTests(DurableServerTestCase):
    """What the store refuses is refused later."""

    def test_the_store_refuses(self) -> None:
        self.begin_anew(refuse_by_closing=True)
        client = self.client
        client.tell(submit(b"1"), ECHO)
        self.thread.run()
        self.assertEqual(client.heard(), created(1) + ECHOED)
        self.store.fail("write", StoreRefused("The disk is full"), times=2)
        client.tell(ECHO, submit(b"2"), ECHO)
        self.thread.run()
        self.assertEqual(client.heard(), ECHOED)
        self.assertTrue(client.closed)

    def test_nothing_comes_behind_what_the_store_refuses(self) -> None:
        # The answer to the next submit would be taken for the one that is left out.
        self.begin_anew(refuse_by_closing=True)
        client = self.client
        self.store.too_large = 1
        client.tell(submit(b"too large"), submit(b"2"))
        client.tell(submit(b"3"), ECHO)
        self.thread.run_all()
        self.assertEqual(client.heard(), b"")
        self.assertTrue(client.closed)

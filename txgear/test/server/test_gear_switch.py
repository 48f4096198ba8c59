"""Tests of L{txgear.server.gear}: connections that go on with HTTP."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.protocol.constants import (
    CAN_DO,
    ECHO_REQ,
    ECHO_RES,
    EXTENSION_OPTION,
    GET_RESULT,
    GRAB_JOB,
    OPTION_REQ,
    OPTION_RES,
    RESET_ABILITIES,
    SUBMIT_JOB,
    SWITCH_HTTP,
    SWITCHED_HTTP,
    WORK_COMPLETE,
)
from txgear.protocol.packets import request, response
from txgear.stores.memory import MemoryStore
from txgear.test.support.net import error
from txgear.test.support.server import DurableServerFixture, FakePeer, ServerFixture, created, submit

OPTION = request(OPTION_REQ, EXTENSION_OPTION)
SWITCH = request(SWITCH_HTTP)
OPTED = response(OPTION_RES, EXTENSION_OPTION)
SWITCHED = response(SWITCHED_HTTP)


class Successor(Protocol):
    """Notes what comes, and is a peer of the server, as a channel is."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.data = b""
        self.half_closed = False

    def connectionMade(self) -> None:
        self.peer = self._server.accept(self, self.transport)

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def readConnectionLost(self) -> None:
        self.half_closed = True

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        self._server.disconnect(self.peer)


class SwitchTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.use(ServerFixture())

    def use(self, fixture: ServerFixture) -> None:
        self.fixture = fixture
        self.server = fixture.server
        self.successors: list[Successor] = []
        self.server.web_channel = self.channel
        self.client = fixture.connect()

    def channel(self) -> Successor:
        self.successors.append(Successor(self.server))
        return self.successors[-1]

    def refused(self, text: bytes) -> bytes:
        return error(b"NOT_SWITCHED", text)

    def successor_of(self, client: FakePeer) -> Successor:
        """Who has the connection of a client now."""
        (found,) = self.successors
        self.assertIs(found.transport, client.transport)
        self.assertEqual(list(self.server.broker.peers), [found.peer])
        return found


class SwitchTests(SwitchTestCase):
    def test_what_is_behind_it_is_the_successors(self) -> None:
        made = self.server.made
        self.assertEqual(self.client.ask(OPTION + SWITCH + b"GET / HTTP/1.1\r\n"), OPTED + SWITCHED)
        self.assertEqual(self.successor_of(self.client).data, b"GET / HTTP/1.1\r\n")
        self.assertEqual(self.server.made, made)
        self.assertEqual(self.client.protocol.state, 4)

    def test_nothing_is_behind_it(self) -> None:
        self.client.tell(OPTION)
        for byte in SWITCH:
            self.client.tell(bytes([byte]))
        self.assertEqual(self.client.heard(), OPTED + SWITCHED)
        self.assertEqual(self.successor_of(self.client).data, b"")

    def test_answers_to_what_came_before(self) -> None:
        found = self.client.ask(OPTION + request(ECHO_REQ, b"x") + SWITCH)
        self.assertEqual(found, OPTED + response(ECHO_RES, b"x") + SWITCHED)

    def test_http_is_not_spoken(self) -> None:
        self.server.web_channel = None
        told = self.refused(b"HTTP is not spoken here")
        found = self.client.ask(OPTION + SWITCH + request(ECHO_REQ, b"x") + SWITCH)
        self.assertEqual(found, OPTED + told + response(ECHO_RES, b"x") + told)

    def test_a_peer_with_functions_or_jobs(self) -> None:
        """They would be lost."""
        told = self.refused(b"This connection has functions or jobs; HTTP wants one of its own")
        self.client.ask(OPTION + submit())
        self.assertEqual(self.client.ask(request(CAN_DO, b"f") + SWITCH), told)
        self.client.ask(request(GRAB_JOB))
        self.assertEqual(self.client.ask(SWITCH), told)
        done = request(WORK_COMPLETE, b"H:test:1", b"") + request(RESET_ABILITIES)
        self.assertEqual(self.client.ask(done + SWITCH), SWITCHED)
        waiting = self.fixture.connect()
        waiting.ask(OPTION + request(SUBMIT_JOB, b"f", b"", b""))
        self.assertEqual(waiting.ask(SWITCH), told)

    def test_a_peer_that_waits_for_a_result(self) -> None:
        worker = self.fixture.connect()
        worker.ask(request(CAN_DO, b"f"))
        self.client.ask(OPTION + submit())
        worker.ask(request(GRAB_JOB))
        self.client.ask(request(GET_RESULT, b"t", b"H:test:1", b"", b"", b"1"))
        found = self.client.ask(SWITCH)
        self.assertEqual(found, self.refused(b"This connection still waits for answers"))
        self.assertEqual(self.successors, [])

    def test_a_peer_whose_answer_waits_for_the_disk(self) -> None:
        fixture = DurableServerFixture(MemoryStore())
        self.use(fixture)
        self.client.ask(OPTION)
        self.assertEqual(self.client.ask(submit() + SWITCH), b"")
        fixture.thread.run()
        found = self.client.heard()
        self.assertEqual(found, created(1) + self.refused(b"This connection still waits for answers"))

    def test_while_the_web_is_being_made(self) -> None:
        made: Deferred[None] = Deferred()
        self.server.web_channel = lambda: made
        self.assertEqual(self.client.ask(OPTION + SWITCH + b"GET"), OPTED)
        self.fixture.clock.advance(0)
        self.client.tell(b" / ")
        self.server.web_channel = self.channel
        made.callback(None)
        self.fixture.clock.pump([0] * 3)
        self.assertEqual(self.client.heard(), SWITCHED)
        found = self.successor_of(self.client)
        self.assertEqual((found.data, found.half_closed), (b"GET / ", False))
        found.transport.protocol.dataReceived(b"HTTP")  # type: ignore[union-attr]
        self.assertEqual(found.data, b"GET / HTTP")

    def test_it_cannot_be_made(self) -> None:
        """All that is behind it is Gearman's."""
        made: Deferred[None] = Deferred()
        self.server.web_channel = lambda: made
        self.client.tell(OPTION + SWITCH + request(ECHO_REQ, b"x"))
        self.fixture.clock.advance(0)
        self.server.web_channel = None
        made.callback(None)
        self.fixture.clock.pump([0] * 3)
        told = self.refused(b"HTTP is not spoken here") + response(ECHO_RES, b"x")
        self.assertEqual(self.client.heard(), OPTED + told)
        self.assertEqual(self.client.ask(request(ECHO_REQ, b"y")), response(ECHO_RES, b"y"))

    def test_who_ends_its_side_meanwhile(self) -> None:
        made: Deferred[None] = Deferred()
        self.server.web_channel = lambda: made
        self.client.tell(OPTION + SWITCH)
        self.fixture.clock.advance(0)
        self.client.protocol.readConnectionLost()
        self.server.web_channel = self.channel
        made.callback(None)
        self.fixture.clock.pump([0] * 3)
        self.assertTrue(self.successor_of(self.client).half_closed)

    def test_who_leaves_meanwhile(self) -> None:
        made: Deferred[None] = Deferred()
        self.server.web_channel = lambda: made
        self.client.tell(OPTION + SWITCH)
        self.fixture.clock.advance(0)
        self.client.leave()
        self.server.web_channel = self.channel
        made.callback(None)
        self.fixture.clock.pump([0] * 3)
        self.assertEqual(list(self.server.broker.peers), [])

    def test_behind_much_else(self) -> None:
        """It comes in a later turn."""
        self.client.tell(OPTION + b"version\n" * 100 + SWITCH + b"GET")
        self.assertEqual(self.successors, [])
        self.fixture.clock.pump([0] * 100)
        self.assertTrue(self.client.heard().endswith(SWITCHED))
        self.assertEqual(self.successor_of(self.client).data, b"GET")

"""Tests of L{txgear.server.descriptors}, and of those who get the last ones."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.rights import SEE
from txgear.protocol.constants import ECHO_REQ
from txgear.protocol.packets import request
from txgear.security.access import NOBODY, Access, Rule
from txgear.security.audit import LOGIN
from txgear.server.descriptors import FOR_OPERATORS, FOR_OURSELVES, SPOKEN_SECONDS, Descriptors, soft_limit
from txgear.server.gear import GearFactory
from txgear.server.gearconnection import LOGIN_SECONDS
from txgear.server.http import HttpFactory
from txgear.server.jobserver import JobServer
from txgear.server.settings import Settings
from txgear.test.support.net import FakeTcpConnection

LIMIT = 100
TEXT_ONLY = LIMIT - FOR_OURSELVES - FOR_OPERATORS


class DescriptorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.server = JobServer(self.reactor, Settings())
        if self.server.reads is not None:
            # An epoll knows no descriptor that is none.
            self.server.reads.stop()
        self.server.descriptors = Descriptors(LIMIT)

    def tearDown(self) -> None:
        self.server.stop()

    def connect(self, descriptor: int, factory: Any = None) -> FakeTcpConnection:
        protocol = (factory or GearFactory(self.server)).buildProtocol(None)
        return FakeTcpConnection(protocol, self.reactor, descriptor)

    def test_the_system_has_a_bound(self) -> None:
        self.assertGreater(soft_limit(), 10)
        self.assertEqual(Descriptors().refused, float("inf"))

    def test_most_are_for_everybody(self) -> None:
        connection = self.connect(TEXT_ONLY - 1)
        connection.arrive(request(ECHO_REQ, b"x"))
        self.assertIn(b"x", connection.written)

    def test_the_last_are_for_text_commands(self) -> None:
        connection = self.connect(TEXT_ONLY)
        for _ in range(2):
            connection.arrive(b"version\n")
            self.assertTrue(connection.written.startswith(b"OK "))
            self.reactor.advance(SPOKEN_SECONDS + 1)
        connection.arrive(request(ECHO_REQ, b"x") * 2)
        self.reactor.advance(0)
        self.assertEqual(connection.written, b"")
        self.assertFalse(connection.connected)

    def test_who_says_nothing_has_none(self) -> None:
        connection = self.connect(TEXT_ONLY)
        self.reactor.advance(SPOKEN_SECONDS)
        self.reactor.advance(0)
        self.assertFalse(connection.connected)

    def test_who_is_to_identify_itself_first(self) -> None:
        """A command that is refused keeps no descriptor, and nothing is told of a peer that has gone."""
        self.server.guard.replace(Access([], [Rule(True, ("ops",), frozenset((SEE,)))]))
        asks, leaves = self.connect(TEXT_ONLY), self.connect(TEXT_ONLY + 1)
        leaves.connectionLost(Failure(ConnectionDone()))
        self.reactor.advance(SPOKEN_SECONDS - 1)
        asks.arrive(b"status\n")
        self.assertIn(b"ACCESS_DENIED", asks.written)
        self.reactor.advance(LOGIN_SECONDS - 1)
        self.assertTrue(asks.connected)
        self.reactor.advance(1)
        self.reactor.advance(0)
        self.assertFalse(asks.connected or leaves.connected)
        self.assertEqual(self.server.guard.refused, {(NOBODY, "unidentified"): 1, (NOBODY, LOGIN): 1})

    def test_beyond_them_there_is_nothing(self) -> None:
        for connection in (
            self.connect(LIMIT - FOR_OURSELVES),
            self.connect(TEXT_ONLY, HttpFactory(self.server)),
        ):
            self.assertFalse(connection.connected)
        self.assertEqual(list(self.server.broker.peers), [])

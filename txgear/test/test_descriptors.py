"""Tests of L{txgear._descriptors}, and of those who get the last ones."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from txgear._descriptors import FOR_OPERATORS, FOR_OURSELVES, SPOKEN_SECONDS, Descriptors, soft_limit
from txgear.constants import ECHO_REQ
from txgear.httpserver import HttpFactory
from txgear.jobserver import JobServer, Settings
from txgear.server import GearFactory
from txgear.test.support import FakeConnection
from txgear.wire import request

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

    def connect(self, descriptor: int, factory: Any = None) -> FakeConnection:
        protocol = (factory or GearFactory(self.server)).buildProtocol(None)
        return FakeConnection(protocol, self.reactor, descriptor)

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

    def test_beyond_them_there_is_nothing(self) -> None:
        for connection in (
            self.connect(LIMIT - FOR_OURSELVES),
            self.connect(TEXT_ONLY, HttpFactory(self.server)),
        ):
            self.assertFalse(connection.connected)
        self.assertEqual(list(self.server.broker.roster.peers), [])

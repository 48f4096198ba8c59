"""Tests of L{txgear.server.descriptors}, and of those who get the last ones."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from txgear.protocol.constants import ECHO_REQ
from txgear.protocol.packets import request
from txgear.server.descriptors import FOR_OPERATORS, FOR_OURSELVES, SPOKEN_SECONDS, Descriptors, soft_limit
from txgear.server.gear import GearFactory
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

    def test_beyond_them_there_is_nothing(self) -> None:
        for connection in (
            self.connect(LIMIT - FOR_OURSELVES),
            self.connect(TEXT_ONLY, HttpFactory(self.server)),
        ):
            self.assertFalse(connection.connected)
        self.assertEqual(list(self.server.broker.peers), [])
